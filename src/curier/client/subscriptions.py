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
from typing import Final

from curier.client.arguments import OWN
from curier.client.buffers import Intake
from curier.client.events import Event, SubscriptionLost
from curier.client.link import Link, note
from curier.client.overlaps import Overlaps
from curier.client.received import Receiver
from curier.client.router import Router, bare_filter
from curier.codec.constants import MQTT_31, MQTT_50, PACKET_TOO_LARGE, PROTOCOL_ERROR
from curier.errors import ConnectionLost, LocalProtocolError, MqttError, SubscribeRefused
from curier.protocol.events import SubscribeDone, UnsubscribeDone
from curier.types import QoS, RetainHandling, Subscription

MOST_ASKED: Final = 256
"""Requests without an answer at a time."""


NOTHING: Final[deque[Receiver | list[str]]] = deque()  # to ask for; a deque of its own is not small


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
        intake: Intake,
        tell: Callable[[Event], None],
        hold: Callable[[], None],
        patience: float,
    ) -> None:
        self.link = link
        self.intake = intake
        self.error: MqttError | None = None  # the client is over
        self._router = router
        self._tell = tell
        self._hold = hold
        self._patience = patience
        self._receivers: dict[Receiver, None] = {}  # in the order of their opening
        self._users: dict[str, dict[Receiver, None]] = {}  # by Topic Filter
        self._overlaps: Overlaps[Receiver] = Overlaps()
        self._confirmed: dict[Receiver, None] = {}  # by a SUBACK in the session there is
        self._renaming: dict[
            Receiver, int
        ] = {}  # Packet Identifier of the SUBSCRIBE that names it, 0: not sent
        self._opening: dict[Receiver, Opening] = {}
        # Filters to unsubscribe from, no answer yet, and the User Properties that go with them.
        self._unwanted: dict[str, list[tuple[str, str]]] = {}
        self._todo = NOTHING  # to be asked for: SUBSCRIBE or UNSUBSCRIBE
        self._asked: dict[int, Receiver] = {}  # by Packet Identifier
        self._leaving: dict[int, list[str]] = {}
        self._left: list[asyncio.Future[None]] = []  # who waits until nothing is unwanted
        self._ended: dict[str, asyncio.Future[int]] = {}  # who waits for the end of one, and its Reason Code

    # ---- streams ----

    async def open(self, receiver: Receiver) -> None:
        """Subscribe for ``receiver``; see ``Stream.open``."""
        if self.error is not None:
            raise self.error
        if receiver.is_closed:
            raise ConnectionLost("the stream is closed")
        if receiver.is_open:
            return
        opening = self._opening.get(receiver) or self._begin(receiver)
        opening.wanted += 1
        try:
            await asyncio.shield(opening.future)
        except asyncio.CancelledError:
            opening.wanted -= 1
            if not opening.wanted and receiver in self._receivers:
                self._drop(receiver, False)
            raise

    def _begin(self, receiver: Receiver) -> Opening:
        opening = self._opening[receiver] = Opening(self.link.loop.create_future())
        self._receivers[receiver] = None
        for subscription in receiver.filters:
            self._users.setdefault(subscription.topic_filter, {})[receiver] = None
            self._unwanted.pop(subscription.topic_filter, None)
        self._tell_apart(receiver)
        self._router.add(receiver)
        self._ask(receiver)
        return opening

    def _tell_apart(self, receiver: Receiver) -> None:
        """Give identifiers to ``receiver`` and to all that overlap with it, if any does."""
        filters = [bare_filter(topic_filter) for topic_filter in receiver.topic_filters]
        others: dict[Receiver, None] = {}
        for topic_filter in filters:
            others.update(self._overlaps.find(topic_filter))
        for topic_filter in filters:
            self._overlaps.add(topic_filter, receiver)
        for other in (*others, receiver) if others else ():
            if not other.identifier:
                other.identifier = self._router.names.choose(other.topic_filters)
            if other.is_nameless() and other not in self._renaming and self._takes_identifiers():
                self._renaming[other] = 0
                self._ask(other)

    def _takes_identifiers(self) -> bool:
        connection = self.link.connection
        return connection.version == MQTT_50 and connection.identifiers_available

    async def close(self, receiver: Receiver, keep: bool, waits: bool = True) -> None:
        """End ``receiver``; with ``keep`` the subscription stays, for the next stream or the next program.

        ``waits``: for UNSUBACK, though not for ever.
        """
        if receiver not in self._receivers:
            receiver.end(None)
            return
        self._drop(receiver, keep)
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

    def _drop(self, receiver: Receiver, keep: bool) -> None:
        """Nothing for ``receiver`` any more; unsubscribe from what no other uses."""
        del self._receivers[receiver]
        self._opening.pop(receiver, None)
        self._confirmed.pop(receiver, None)
        self._renaming.pop(receiver, None)
        for topic_filter in receiver.topic_filters:
            self._overlaps.remove(bare_filter(topic_filter), receiver)
        self._router.names.release(receiver.identifier)
        self._router.remove(receiver, keep)
        unused = []
        for topic_filter in dict.fromkeys(receiver.topic_filters):
            users = self._users[topic_filter]
            del users[receiver]
            if not users:
                del self._users[topic_filter]
                unused.append(topic_filter)
        receiver.end(None)
        if not keep and unused and self.error is None:
            self._unwanted.update((topic_filter, []) for topic_filter in unused)
            self._ask(unused)

    async def unsubscribe(self, filters: tuple[str, ...], user_properties: list[tuple[str, str]]) -> None:
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
        self._unwanted.update((topic_filter, user_properties) for topic_filter in filters)
        self._ask(list(filters))
        for topic_filter, future in waiting.items():
            code = await asyncio.shield(future)
            if code >= 0x80:
                raise SubscribeRefused(code, "", topic_filter)

    def is_durable(self) -> bool:
        """Does the session outlive the program?"""
        return self._router.disk is not None

    def dropped(self) -> dict[tuple[str, ...], int]:
        """How many messages the streams that are here have dropped, where they have, by their filters."""
        counts: dict[tuple[str, ...], int] = {}
        for receiver in self._receivers:
            if receiver.dropped:
                filters = receiver.topic_filters
                counts[filters] = counts.get(filters, 0) + receiver.dropped
        return counts

    # ---- the connection's side ----

    def connected(self, link: Link, session_present: bool) -> None:
        """A connection begins: what the server does not know is asked for, ends first."""
        self.link = link
        if not session_present:
            self._confirmed.clear()
            self._renaming.clear()
            for receiver in self._receivers:
                receiver.is_named = receiver.was_nameless = False
            for topic_filter in list(self._unwanted):
                self._has_ended(topic_filter, 0)
        elif link.connection.version == MQTT_31:  # whose CONNACK cannot say that the session is present
            self._confirmed.clear()
        todo: list[Receiver | list[str]] = [list(self._unwanted)] if self._unwanted else []
        # What had no answer yet is asked for as if for the first time.
        self._renaming = {receiver: 0 for receiver in self._renaming if receiver in self._confirmed}
        wanting = self._receivers.keys() - self._confirmed.keys() | self._renaming.keys()
        todo += [receiver for receiver in self._receivers if receiver in wanting]
        self._todo = deque(todo) if todo else NOTHING
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
            receiver = self._asked.pop(event.packet_id)
            if receiver in self._receivers:
                self._answered(receiver, event)
        self._pump()

    def _answered(self, receiver: Receiver, event: SubscribeDone) -> None:
        for subscription, code in zip(receiver.filters, event.reason_codes, strict=True):
            if code >= 0x80:
                self._refused(
                    receiver, SubscribeRefused(code, event.reason_string, subscription.topic_filter)
                )
                return
        receiver.granted = tuple([QoS(code) for code in event.reason_codes])
        receiver.is_open = True
        self._confirmed[receiver] = None
        if self._renaming.get(receiver) == event.packet_id:
            del self._renaming[receiver]
        opening = self._opening.pop(receiver, None)
        if opening is not None:
            opening.end(None)

    def _refused(self, receiver: Receiver, error: MqttError) -> None:
        opening = self._opening.get(receiver)
        if opening is not None:
            self._drop(receiver, False)
            opening.end(error)
            return
        receiver.end(error)
        self._drop(receiver, False)
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

    def forget(self) -> None:
        """This process is a fork: what waits to be read is for the one it is a fork of."""
        for receiver in self._receivers:
            receiver.forget()

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
        for receiver in self._receivers:
            if self._router.disk is not None:
                receiver.leave_unacknowledged()
            receiver.end(error)
        self._router.disk = None
        self._done_leaving()

    # ---- asking ----

    def _ask(self, request: Receiver | list[str]) -> None:
        if self.link.is_connected:
            if self._todo is NOTHING:
                self._todo = deque()
            self._todo.append(request)
            self._pump()

    def _pump(self) -> None:
        while self._todo and len(self._asked) + len(self._leaving) < MOST_ASKED:
            request = self._todo.popleft()
            if isinstance(request, list):
                filters = [topic_filter for topic_filter in request if topic_filter in self._unwanted]
                if filters:
                    self._unsubscribe(filters, self._unwanted[filters[0]])
            elif request in self._receivers:
                self._subscribe(request)
        if not self._todo:
            self._todo = NOTHING

    def _unsubscribe(self, filters: list[str], pairs: list[tuple[str, str]]) -> None:
        """UNSUBSCRIBE from those of ``filters`` that have these User Properties; later from the others."""
        link = self.link
        others = [topic_filter for topic_filter in filters if self._unwanted[topic_filter] != pairs]
        if others:
            filters = [topic_filter for topic_filter in filters if topic_filter not in others]
            self._todo.appendleft(others)
        try:
            packet_id = link.connection.unsubscribe(
                filters, link.clock(), pairs if link.connection.version == MQTT_50 else None
            )
        except LocalProtocolError:  # too many filters for the server's Maximum Packet Size: one by one
            for topic_filter in filters:
                if len(filters) > 1:
                    self._todo.appendleft([topic_filter])
                else:
                    self._has_ended(topic_filter, PACKET_TOO_LARGE)
            return
        self._leaving[packet_id] = filters
        link.schedule()

    def _subscribe(self, receiver: Receiver) -> None:
        link = self.link
        version = link.connection.version
        is_renaming = receiver in self._renaming
        pairs = [
            (subscription.topic_filter, self._options(subscription, version, is_renaming))
            for subscription in receiver.filters
        ]
        user_properties = receiver.user_properties if version == MQTT_50 else None
        # One for the whole SUBSCRIBE (3.8.2.1.2). One that the user wants the server has to take.
        identifier = receiver.identifier if version == MQTT_50 else 0
        if identifier >= OWN and not self._takes_identifiers():
            identifier = 0
        try:
            packet_id = link.connection.subscribe(pairs, link.clock(), identifier, user_properties)
        except LocalProtocolError as error:
            if is_renaming:  # the subscription stands as it is
                del self._renaming[receiver]
            else:
                self._refused(receiver, error)
            return
        self._asked[packet_id] = receiver
        if is_renaming:
            self._renaming[receiver] = packet_id
        self._router.asked(receiver, identifier)
        link.schedule()

    def _options(self, subscription: Subscription, version: int, is_renaming: bool) -> int:
        """Subscription Options (3.8.3.1); before 5.0 there is only the QoS.

        A subscription that is there and only gets its identifier brings no retained messages.
        """
        users = self._users[subscription.topic_filter]
        qos = max(
            int(other.qos)
            for receiver in users
            for other in receiver.filters
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
