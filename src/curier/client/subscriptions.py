"""What a client subscribes to: SUBSCRIBE and UNSUBSCRIBE, and subscriptions made anew for a lost session.

A server keeps one subscription for each Topic Filter, however many streams here use it. Where several do, it
is made with the highest QoS of them and the other options of the newest, and ends with the last of them.

A stream that overlaps with another has a Subscription Identifier (``naming``). Where it was there before and
had none, it subscribes again, to have one before the other's subscription is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from curier.client.events import Event, MessagesDropped, SubscriptionLost
from curier.client.link import Link, note
from curier.client.naming import OWN
from curier.client.overlaps import Overlaps
from curier.client.streams import bare_filter
from curier.codec.constants import MQTT_31, MQTT_50, PACKET_TOO_LARGE, PROTOCOL_ERROR
from curier.errors import ConnectionLost, LocalProtocolError, MqttError, SubscribeRefused
from curier.protocol.events import SubscribeDone, UnsubscribeDone
from curier.types import QoS, RetainHandling, Subscription

if TYPE_CHECKING:
    from curier.client.streams import Router, Stream

MOST_ASKED: Final = 256
"""Requests without an answer at a time."""


class Opening:
    """A subscription that is asked for; several may wait for it, and it is over when none does any more."""

    __slots__ = ("future", "wanted")

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.future.add_done_callback(note)
        self.wanted = 0  # so many have waited and not given up

    def end(self, error: MqttError | None) -> None:
        """It is there, or failed."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class Subscriptions:
    """All subscriptions of one client, over its connections.

    ``patience``: seconds that closing a stream waits for UNSUBACK.
    """

    def __init__(
        self,
        link: Link,
        router: Router,
        tell: Callable[[Event], None],
        hold: Callable[[], None],
        patience: float,
    ) -> None:
        self.link = link
        self.error: MqttError | None = None  # the client is over
        self._router = router
        self._tell = tell
        self._hold = hold
        self._patience = patience
        self._streams: dict[Stream, None] = {}  # in the order of their opening
        self._users: dict[str, dict[Stream, None]] = {}  # by Topic Filter
        self._overlaps: Overlaps[Stream] = Overlaps()
        self._confirmed: set[Stream] = set()  # by a SUBACK in the session there is
        self._renaming: dict[
            Stream, int
        ] = {}  # Packet Identifier of the SUBSCRIBE that names it, 0: not sent
        self._opening: dict[Stream, Opening] = {}
        self._unwanted: dict[str, None] = {}  # filters to unsubscribe from, no answer yet
        self._todo: deque[Stream | list[str]] = deque()  # to be asked for: SUBSCRIBE or UNSUBSCRIBE
        self._asked: dict[int, Stream] = {}  # by Packet Identifier
        self._leaving: dict[int, list[str]] = {}
        self._left: list[asyncio.Future[None]] = []  # who waits until nothing is unwanted
        self._ended: dict[str, asyncio.Future[int]] = {}  # who waits for the end of one, and its Reason Code

    # ---- streams ----

    async def open(self, stream: Stream) -> None:
        """Subscribe for ``stream``; see ``Stream.open``."""
        if self.error is not None:
            raise self.error
        if stream.is_closed:
            raise ConnectionLost("the stream is closed")
        if stream.is_open:
            return
        opening = self._opening.get(stream) or self._begin(stream)
        opening.wanted += 1
        try:
            await asyncio.shield(opening.future)
        except asyncio.CancelledError:
            opening.wanted -= 1
            if not opening.wanted and stream in self._streams:
                self._drop(stream, False)
            raise

    def _begin(self, stream: Stream) -> Opening:
        opening = self._opening[stream] = Opening(self.link.loop.create_future())
        self._streams[stream] = None
        for subscription in stream.filters:
            self._users.setdefault(subscription.topic_filter, {})[stream] = None
            self._unwanted.pop(subscription.topic_filter, None)
        self._tell_apart(stream)
        self._router.add(stream)
        self._ask(stream)
        return opening

    def _tell_apart(self, stream: Stream) -> None:
        """Give identifiers to ``stream`` and to all that overlap with it, if any does."""
        filters = [bare_filter(topic_filter) for topic_filter in stream.topic_filters]
        others: dict[Stream, None] = {}
        for topic_filter in filters:
            others.update(self._overlaps.find(topic_filter))
        for topic_filter in filters:
            self._overlaps.add(topic_filter, stream)
        for other in (*others, stream) if others else ():
            if not other.identifier:
                other.identifier = self._router.names.choose(other.topic_filters)
            if other.is_nameless() and other not in self._renaming and self._takes_identifiers():
                self._renaming[other] = 0
                self._ask(other)

    def _takes_identifiers(self) -> bool:
        connection = self.link.connection
        return connection.version == MQTT_50 and connection.identifiers_available

    async def close(self, stream: Stream, keep: bool, waits: bool = True) -> None:
        """End ``stream``; with ``keep`` the subscription stays, for the next stream or the next program.

        ``waits``: for UNSUBACK, though not for ever.
        """
        if stream not in self._streams:
            stream.end(None)
            return
        self._drop(stream, keep)
        if keep:
            self._hold()
        elif waits:
            try:
                async with asyncio.timeout(self._patience):
                    while self._leaving and self.link.is_connected and self.error is None:
                        future = self.link.loop.create_future()
                        self._left.append(future)
                        await future
            except TimeoutError:
                pass

    def _drop(self, stream: Stream, keep: bool) -> None:
        """Nothing for ``stream`` any more; unsubscribe from what no other uses."""
        del self._streams[stream]
        self._opening.pop(stream, None)
        self._confirmed.discard(stream)
        self._renaming.pop(stream, None)
        for topic_filter in stream.topic_filters:
            self._overlaps.remove(bare_filter(topic_filter), stream)
        self._router.names.release(stream.identifier)
        self._router.remove(stream, keep)
        unused = []
        for topic_filter in dict.fromkeys(stream.topic_filters):
            users = self._users[topic_filter]
            del users[stream]
            if not users:
                del self._users[topic_filter]
                unused.append(topic_filter)
        stream.end(None)
        if not keep and unused and self.error is None:
            self._unwanted.update(dict.fromkeys(unused))
            self._ask(unused)

    async def unsubscribe(self, filters: tuple[str, ...]) -> None:
        """End subscriptions that the session has and no stream; see ``Client.unsubscribe``."""
        if self.error is not None:
            raise self.error
        for topic_filter in filters:
            if topic_filter in self._users:
                raise LocalProtocolError(PROTOCOL_ERROR, f"{topic_filter!r} belongs to a stream: close that")
        waiting = {}
        for topic_filter in filters:
            if topic_filter not in self._ended:
                self._ended[topic_filter] = self.link.loop.create_future()
                self._ended[topic_filter].add_done_callback(note)
            waiting[topic_filter] = self._ended[topic_filter]
        self._unwanted.update(dict.fromkeys(filters))
        self._ask(list(filters))
        for topic_filter, future in waiting.items():
            code = await asyncio.shield(future)
            if code >= 0x80:
                raise SubscribeRefused(code, "", topic_filter)

    def overflowed(self, stream: Stream) -> None:
        """``stream`` has begun to drop messages."""
        self._tell(MessagesDropped(stream.topic_filters, stream.dropped))

    # ---- the connection's side ----

    def connected(self, link: Link, session_present: bool) -> None:
        """A connection begins: what the server does not know is asked for, ends first."""
        self.link = link
        if not session_present:
            self._confirmed.clear()
            self._renaming.clear()
            for stream in self._streams:
                stream.is_named = stream.was_nameless = False
            for topic_filter in list(self._unwanted):
                self._has_ended(topic_filter, 0)
        elif link.connection.version == MQTT_31:  # whose CONNACK cannot say that the session is present
            self._confirmed.clear()
        self._todo.clear()
        if self._unwanted:
            self._todo.append(list(self._unwanted))
        # What had no answer yet is asked for as if for the first time.
        self._renaming = {stream: 0 for stream in self._renaming if stream in self._confirmed}
        wanting = self._streams.keys() - self._confirmed | self._renaming.keys()
        self._todo.extend([stream for stream in self._streams if stream in wanting])
        self._pump()

    def lost(self) -> None:
        """The connection is over; the next one begins anew with what had no answer."""
        self._asked.clear()
        self._leaving.clear()
        self._todo.clear()
        self._done_leaving()

    def answered(self, event: SubscribeDone | UnsubscribeDone) -> None:
        """SUBACK or UNSUBACK came."""
        if isinstance(event, UnsubscribeDone):
            for topic_filter, code in zip(
                self._leaving.pop(event.packet_id), event.reason_codes, strict=True
            ):
                self._has_ended(topic_filter, code)
            if not self._leaving:
                self._done_leaving()
        else:
            stream = self._asked.pop(event.packet_id)
            if stream in self._streams:
                self._answered(stream, event)
        self._pump()

    def _answered(self, stream: Stream, event: SubscribeDone) -> None:
        for subscription, code in zip(stream.filters, event.reason_codes, strict=True):
            if code >= 0x80:
                self._refused(stream, SubscribeRefused(code, event.reason_string, subscription.topic_filter))
                return
        stream.granted = tuple([QoS(code) for code in event.reason_codes])
        stream.is_open = True
        self._confirmed.add(stream)
        if self._renaming.get(stream) == event.packet_id:
            del self._renaming[stream]
        opening = self._opening.pop(stream, None)
        if opening is not None:
            opening.end(None)

    def _refused(self, stream: Stream, error: MqttError) -> None:
        opening = self._opening.get(stream)
        if opening is not None:
            self._drop(stream, False)
            opening.end(error)
            return
        stream.end(error)
        self._drop(stream, False)
        if isinstance(error, SubscribeRefused):
            self._tell(SubscriptionLost(error.topic_filter, error.reason_code, error.reason_string))

    def _has_ended(self, topic_filter: str, code: int) -> None:
        self._unwanted.pop(topic_filter, None)
        if topic_filter not in self._users:
            self._router.ended(topic_filter)
        ended = self._ended.pop(topic_filter, None)
        if ended is not None and not ended.done():
            ended.set_result(code)

    def _done_leaving(self) -> None:
        for future in self._left:
            if not future.done():
                future.set_result(None)
        self._left.clear()

    def end(self, error: MqttError) -> None:
        """The client is over."""
        self.error = error
        for opening in self._opening.values():
            opening.end(error)
        self._opening.clear()
        for ended in self._ended.values():
            if not ended.done():
                ended.set_exception(error)
        self._ended.clear()
        for stream in self._streams:
            if self._router.disk is not None:
                stream.leave_unacknowledged()
            stream.end(error)
        self._router.disk = None
        self._done_leaving()

    # ---- asking ----

    def _ask(self, request: Stream | list[str]) -> None:
        if self.link.is_connected:
            self._todo.append(request)
            self._pump()

    def _pump(self) -> None:
        while self._todo and len(self._asked) + len(self._leaving) < MOST_ASKED:
            request = self._todo.popleft()
            if isinstance(request, list):
                filters = [topic_filter for topic_filter in request if topic_filter in self._unwanted]
                if filters:
                    self._unsubscribe(filters)
            elif request in self._streams:
                self._subscribe(request)

    def _unsubscribe(self, filters: list[str]) -> None:
        link = self.link
        try:
            packet_id = link.connection.unsubscribe(filters, link.clock())
        except LocalProtocolError:  # too many filters for the server's Maximum Packet Size: one by one
            for topic_filter in filters:
                if len(filters) > 1:
                    self._todo.appendleft([topic_filter])
                else:
                    self._has_ended(topic_filter, PACKET_TOO_LARGE)
            return
        self._leaving[packet_id] = filters
        link.schedule()

    def _subscribe(self, stream: Stream) -> None:
        link = self.link
        version = link.connection.version
        is_renaming = stream in self._renaming
        pairs = [
            (subscription.topic_filter, self._options(subscription, version, is_renaming))
            for subscription in stream.filters
        ]
        user_properties = stream.user_properties if version == MQTT_50 else None
        # One for the whole SUBSCRIBE (3.8.2.1.2). One that the user wants the server has to take.
        identifier = stream.identifier if version == MQTT_50 else 0
        if identifier >= OWN and not self._takes_identifiers():
            identifier = 0
        try:
            packet_id = link.connection.subscribe(pairs, link.clock(), identifier, user_properties)
        except LocalProtocolError as error:
            if is_renaming:  # the subscription stands as it is
                del self._renaming[stream]
            else:
                self._refused(stream, error)
            return
        self._asked[packet_id] = stream
        if is_renaming:
            self._renaming[stream] = packet_id
        self._router.asked(stream, identifier)
        link.schedule()

    def _options(self, subscription: Subscription, version: int, is_renaming: bool) -> int:
        """Subscription Options (3.8.3.1); before 5.0 there is only the QoS.

        A subscription that is there and only gets its identifier brings no retained messages.
        """
        users = self._users[subscription.topic_filter]
        qos = max(
            int(other.qos)
            for stream in users
            for other in stream.filters
            if other.topic_filter == subscription.topic_filter
        )
        if version != MQTT_50:
            return qos
        return (
            qos
            | subscription.no_local << 2
            | subscription.retain_as_published << 3
            | int(RetainHandling.DO_NOT_SEND if is_renaming else subscription.retain_handling) << 4
        )
