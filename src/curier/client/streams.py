"""Streams of received messages, and the router that finds the streams of each.

A message goes to every stream whose filter matches its topic, found in a tree of filters and remembered by
topic; where several match, ``naming`` tells for whom of them it is. With QoS 1 and 2 it is acknowledged when
each of them has taken it, in the order of receiving, which the core sees to. What nobody takes is not
acknowledged, and the server stops at Receive Maximum: this is how a slow reader slows it, while PINGRESP and
everybody else's answers still come through.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from curier.client.link import Link
from curier.client.naming import OWN, Names, Place
from curier.codec.packets import Publish
from curier.codec.properties import Properties
from curier.errors import ConnectionLost, MqttError
from curier.topics.filters import is_shared, split_shared
from curier.topics.tree import SubscriptionTree
from curier.types import Message, QoS, Subscription

if TYPE_CHECKING:
    from curier.client.arguments import Acknowledge, Overflow
    from curier.client.session import Session
    from curier.client.subscriptions import Subscriptions

MOST_ROUTES: Final = 10_000
"""Topics whose streams are remembered; then the memory starts anew."""

LONGEST_ROUTE: Final = 1024
"""Characters; the streams of longer topics are looked up each time, rather than let a server fill memory."""

MOST_CHOICES: Final = 100
"""Sets of identifiers that are remembered for each topic."""

NO_PROPERTIES: Final = Properties()
QOS: Final = (QoS(0), QoS(1), QoS(2))


class Delivery:
    """A received QoS 1 or 2 message on its way to all its streams; ``missing`` have not taken it yet."""

    __slots__ = ("link", "missing", "packet_id", "qos", "reason_code", "reason_string", "router", "topic")

    def __init__(self, router: Router, link: Link, publish: Publish, missing: int) -> None:
        self.router = router
        self.link: Link | None = link  # None: its connection has ended
        self.packet_id = publish.packet_id
        self.qos = publish.qos
        self.topic = publish.topic
        self.missing = missing
        self.reason_code = 0  # the worst that anyone acknowledged with
        self.reason_string = ""

    def taken(self) -> None:
        """One more stream has taken the message."""
        self.missing -= 1
        if self.missing <= 0:
            if self.link is not None:
                del self.router.deliveries[self.packet_id]
                self.link.acknowledge(self.packet_id, self.reason_code, self.reason_string)
            if self.qos == 2 and self.router.disk is not None:
                self.router.note_taken(self, self.router.disk)


class ReceivedMessage(Message):
    """A ``Message`` that was received; equal to a ``Message`` with the same fields.

    It reads its fields from the packet when they are asked for. Pickled or copied it becomes a ``Message``.
    """

    __slots__ = ("_delivery", "_packet")

    # The dataclass's own would look at the name of each attribute; all that it protects are properties here.
    __setattr__ = object.__setattr__

    def __init__(self, packet: Publish, delivery: Delivery | None) -> None:
        self._packet = packet
        self._delivery = delivery

    @property
    def topic(self) -> str:
        """The Topic Name."""
        return self._packet.topic

    @property
    def payload(self) -> bytes:
        """The payload."""
        return self._packet.payload

    @property
    def qos(self) -> QoS:
        """At which QoS it was delivered."""
        return QOS[self._packet.qos]

    @property
    def retain(self) -> bool:
        """Is it a retained message (or was published as one, with Retain As Published)?"""
        return self._packet.retain

    @property
    def dup(self) -> bool:
        """Was DUP set: may the message have come before (3.3.1.1)?"""
        return self._packet.dup

    @property
    def properties(self) -> Properties:
        """All Properties of the packet."""
        return self._packet.properties or NO_PROPERTIES

    @property
    def payload_is_text(self) -> bool:
        """Payload Format Indicator."""
        return self.properties.payload_format_indicator == 1

    @property
    def message_expiry(self) -> int | None:
        """What is left of the Message Expiry Interval, in seconds."""
        return self.properties.message_expiry_interval

    @property
    def content_type(self) -> str | None:
        """Content Type."""
        return self.properties.content_type

    @property
    def response_topic(self) -> str | None:
        """Where a response is wanted."""
        return self.properties.response_topic

    @property
    def correlation_data(self) -> bytes | None:
        """What the response is to carry."""
        return self.properties.correlation_data

    @property
    def user_properties(self) -> tuple[tuple[str, str], ...]:
        """User Properties, in order."""
        return tuple(self.properties.user_properties)

    @property
    def subscription_identifiers(self) -> tuple[int, ...]:
        """Subscription Identifiers, without those that the client has chosen itself."""
        identifiers = self.properties.subscription_identifiers
        return tuple([identifier for identifier in identifiers if identifier < OWN])

    def ack(self, reason_code: int = 0, reason_string: str = "") -> None:
        """Acknowledge, with ``ack="manual"``; at QoS 0 and the second time nothing happens.

        0x80 and more refuses the message (5.0). What was received on a connection that has ended is sent
        again by the server, is not delivered twice, and is acknowledged then.
        """
        delivery = self._delivery
        if delivery is not None:
            self._delivery = None
            if reason_code > delivery.reason_code:
                delivery.reason_code = reason_code
                delivery.reason_string = reason_string
            delivery.taken()

    def _fields(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in Message.__dataclass_fields__])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        names = Message.__dataclass_fields__
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        return hash(self._fields())

    def __reduce__(self) -> tuple[Any, ...]:
        return Message, self._fields()


class Stream:
    """The messages of one ``Client.subscribe``: a context manager and an async iterator.

    It ends (``StopAsyncIteration``) when it is closed; where the client has failed it raises what ended it,
    behind the messages that were there. A cancelled read loses nothing. Several may read from one stream.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        filters: tuple[Subscription, ...],
        buffer: int = 1000,
        overflow: Overflow = "drop_oldest",
        ack: Acknowledge = "auto",
        user_properties: list[tuple[str, str]] | None = None,
        keep: bool = False,
    ) -> None:
        self.filters = filters
        self.keep = keep
        self.granted: tuple[QoS, ...] = ()
        """What the server granted, for each filter."""
        self.dropped: int = 0
        """Messages with QoS 0 that found the buffer full."""
        self.user_properties = user_properties or []
        self.error: MqttError | None = None
        self.is_open = False
        self.is_closed = False
        self.identifier = next((one.identifier for one in filters if one.identifier is not None), 0)
        self.is_named = False  # did its last SUBSCRIBE in this session have its identifier?
        self.was_nameless = False  # was there one without?
        self._subscriptions = subscriptions
        self._buffer = buffer
        self._drops_newest = overflow == "drop_newest"
        self._is_auto = ack == "auto"
        self._messages: deque[ReceivedMessage] = deque()
        self._readers: deque[asyncio.Future[None]] = deque()
        self._is_overflowing = False

    @property
    def topic_filters(self) -> tuple[str, ...]:
        """The Topic Filters."""
        return tuple([subscription.topic_filter for subscription in self.filters])

    def is_nameless(self) -> bool:
        """Has it a subscription whose messages carry no identifier?"""
        return self.was_nameless and not self.is_named

    # ---- the reader's side ----

    async def open(self) -> Self:
        """Subscribe, and wait for the answer, over reconnections if need be. Raises ``SubscribeRefused``.

        Cancelling it unsubscribes.
        """
        await self._subscriptions.open(self)
        return self

    async def close(self) -> None:
        """Unsubscribe, and end the stream. Messages that were not taken are acknowledged and gone.

        Waits for UNSUBACK while connected, but no longer than ``linger``.
        """
        await self._subscriptions.close(self, False)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Who leaves by an error, such as the cancelling by Ctrl-C, is not to wait for the server.
        await self._subscriptions.close(self, self.keep, waits=error is None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedMessage:
        if not self._messages:
            await self._message()
            if not self._messages:
                raise StopAsyncIteration
        return self._take()

    async def get(self, timeout: float | None = None) -> ReceivedMessage:
        """The next message. Raises ``TimeoutError`` after ``timeout`` seconds (None: never),
        ``ConnectionLost`` where the stream has ended.
        """
        if not self._messages:
            async with asyncio.timeout(timeout):
                await self._message()
            if not self._messages:
                raise ConnectionLost("the stream is closed")
        return self._take()

    def get_nowait(self) -> ReceivedMessage | None:
        """The next message, if one is there."""
        return self._take() if self._messages else None

    def __len__(self) -> int:
        """Messages that wait to be taken."""
        return len(self._messages)

    def __bool__(self) -> bool:
        return True

    def _take(self) -> ReceivedMessage:
        messages = self._messages
        message = messages.popleft()
        if self._is_auto:
            delivery = message._delivery
            if delivery is not None:
                message._delivery = None
                delivery.taken()
        if self._is_overflowing and not messages:
            self._is_overflowing = False
        return message

    async def _message(self) -> None:
        """Wait until there is a message, or none will come."""
        if not self.is_open and not self.is_closed and self.error is None:
            await self.open()
        while not self._messages:
            if self.error is not None:
                raise self.error
            if self.is_closed:
                return
            future = asyncio.get_running_loop().create_future()
            self._readers.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._wake()  # the message this reader was woken for is another's
                raise

    # ---- the router's side ----

    def put(self, packet: Publish, delivery: Delivery | None) -> None:
        """A message came."""
        if delivery is None and len(self._messages) >= self._buffer and not self._make_room():
            return
        self._messages.append(ReceivedMessage(packet, delivery))
        if self._readers:
            self._wake()

    def _make_room(self) -> bool:
        """The buffer is full: drop the oldest or newest message with QoS 0. True: the new one may come in."""
        self.dropped += 1
        if not self._is_overflowing:
            self._is_overflowing = True
            self._subscriptions.overflowed(self)
        if self._drops_newest or not self._buffer:
            return False
        for index, message in enumerate(self._messages):
            if message._delivery is None:
                del self._messages[index]
                return True
        return False

    def _wake(self) -> None:
        while self._readers:
            future = self._readers.popleft()
            if not future.done():
                future.set_result(None)
                return

    def end(self, error: MqttError | None) -> None:
        """Nothing comes any more."""
        self.error = self.error or error
        self.is_closed = True
        for future in self._readers:
            if not future.done():
                future.set_result(None)
        self._readers.clear()

    def leave_unacknowledged(self) -> None:
        """What the server sends again, to the next life of the program, is not for this one any more."""
        self._messages = deque(message for message in self._messages if message._delivery is None)

    def leave(self) -> list[ReceivedMessage]:
        """What was not taken, to be disposed of."""
        messages = list(self._messages)
        self._messages.clear()
        return messages


class Route:
    """Where the messages of one topic go."""

    __slots__ = ("chosen", "places", "streams")

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        self.streams = _once([place.stream for place in places])
        self.chosen: dict[tuple[int, ...], tuple[Stream, ...]] = {}  # by RETAIN and identifiers


class Router:
    """Finds the streams of each message."""

    def __init__(self, told: Callable[[int], None], disk: Session | None = None) -> None:
        """``disk`` is the session where it outlives the program, until the client is over."""
        self.disk = disk
        self.deliveries: dict[int, Delivery] = {}  # by Packet Identifier, on the connection there is
        self.unclaimed: deque[tuple[Publish, Delivery]] = deque()  # nobody has subscribed to them yet
        self.holds = False  # do such messages wait?
        self.unclaimed_dropped = 0
        self._told = told
        self._carried: dict[int, Delivery] = {}  # of the connections before: the server sends them again
        self.names = Names()
        self._tree: SubscriptionTree[Place] = SubscriptionTree()
        self._places: dict[Stream, list[Place]] = {}
        self._routes: dict[str, Route] = {}
        self._last = 0  # key of the tree

    def add(self, stream: Stream) -> None:
        """``stream`` takes part from now on, beginning with what waited for it."""
        places = self._places[stream] = []
        for subscription in stream.filters:
            self._last += 1
            place = Place(self._last, stream, subscription)
            self._tree.add(bare_filter(place.topic_filter).encode(), place)
            places.append(place)
        self._routes.clear()
        waiting, self.unclaimed = self.unclaimed, deque()
        for publish, delivery in waiting:
            if stream in self._choose(self._find(publish.topic), publish, False):
                delivery.missing = 1
                stream.put(publish, delivery)
            else:
                self.unclaimed.append((publish, delivery))

    def remove(self, stream: Stream, keep: bool) -> None:
        """``stream`` gets nothing more; what it has not taken waits for another (``keep``), or is gone."""
        for place in self._places.pop(stream):
            self._tree.remove(bare_filter(place.topic_filter).encode(), place.key)
        self._routes.clear()
        for message in stream.leave():
            delivery = message._delivery
            if delivery is None:
                continue
            if keep and delivery.missing == 1:
                self.unclaimed.append((message._packet, delivery))
            else:
                message.ack()

    def asked(self, stream: Stream, identifier: int) -> None:
        """A SUBSCRIBE of ``stream`` is sent, with its identifier or, 0, with none."""
        stream.is_named = bool(identifier)
        if identifier:
            self.names.asked(identifier, stream.topic_filters)
        else:
            stream.was_nameless = True
        self._routes.clear()

    def ended(self, topic_filter: str) -> None:
        """The server has no such subscription any more."""
        self.names.ended(topic_filter)
        self._routes.clear()

    def message_received(self, link: Link, publish: Publish) -> None:
        """A message came: to its streams, or where messages wait that are nobody's."""
        topic = publish.topic
        route = self._routes.get(topic) or self._find(topic)
        streams = route.streams
        if self.names.known:
            streams = self._choose(route, publish, publish.retain)
        if not publish.qos:
            for stream in streams:
                stream.put(publish, None)
            if not streams:
                self.unclaimed_dropped += 1
            return
        if self._carried and self._goes_on(link, publish):
            return
        delivery = Delivery(self, link, publish, len(streams))
        self.deliveries[publish.packet_id] = delivery
        for stream in streams:
            stream.put(publish, delivery)
        if not streams:
            if self.holds:
                self.unclaimed.append((publish, delivery))
            else:
                self.unclaimed_dropped += 1
                delivery.taken()

    def _find(self, topic: str) -> Route:
        route = Route(self._tree.match(topic.encode()))
        if len(topic) <= LONGEST_ROUTE:
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[topic] = route
        return route

    def _choose(self, route: Route, publish: Publish, retain: bool) -> tuple[Stream, ...]:
        """The streams of a message, by its identifiers."""
        properties = publish.properties
        identifiers = properties.subscription_identifiers if properties is not None else []
        key = (retain, *identifiers)
        streams = route.chosen.get(key)
        if streams is None:
            streams = _once(self.names.streams(route.places, identifiers, retain))
            if len(route.chosen) >= MOST_CHOICES:
                route.chosen.clear()
            route.chosen[key] = streams
        return streams

    def _goes_on(self, link: Link, publish: Publish) -> bool:
        """Is this a message that came on an earlier connection and was not acknowledged there?

        Its streams have it already, or had it: it is the same delivery, to be acknowledged on this link.
        """
        delivery = self._carried.pop(publish.packet_id, None)
        if delivery is None or not publish.dup or delivery.topic != publish.topic:
            return False
        delivery.link = link
        self.deliveries[publish.packet_id] = delivery
        if delivery.missing <= 0:
            delivery.missing = 1
            delivery.taken()
        return True

    def connected(self, session_present: bool) -> None:
        """A connection begins."""
        if not session_present:
            self._carried.clear()
            self.unclaimed.clear()

    def lost(self) -> None:
        """The connection is over; what is not acknowledged comes again, if the server keeps the session."""
        for packet_id, delivery in self.deliveries.items():
            delivery.link = None
            self._carried[packet_id] = delivery
        self.deliveries = {}

    def note_taken(self, delivery: Delivery, disk: Session) -> None:
        """A QoS 2 message is the application's: on the disk, before it gets it.

        Where its connection has ended, the server will send it again, maybe to the next life of the program.
        """
        if delivery.link is not None:
            disk.write()
        elif delivery.reason_code < 0x80 and self._carried.get(delivery.packet_id) is delivery:
            del self._carried[delivery.packet_id]
            disk.took(delivery.packet_id)

    def drop_unclaimed(self) -> None:
        """Nobody has come for what waits."""
        self.holds = False
        waiting, self.unclaimed = self.unclaimed, deque()
        self.unclaimed_dropped += len(waiting)
        if waiting:
            self._told(len(waiting))
        for _, delivery in waiting:
            delivery.missing = 1
            delivery.taken()


def bare_filter(topic_filter: str) -> str:
    """What a Topic Filter matches, without the ShareName of a Shared Subscription (4.8.2)."""
    encoded = topic_filter.encode()
    return split_shared(encoded)[1].decode() if is_shared(encoded) else topic_filter


def _once(streams: list[Stream]) -> tuple[Stream, ...]:
    """Each stream once, though several of its filters may match."""
    return tuple(dict.fromkeys(streams))
