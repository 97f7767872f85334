"""What is published and not complete: receipts, the bounds on what waits, and who waits for room.

Where messages wait is the session's outgoing flow (``session/outgoing.py``), connected or not; here is who is
to be told, and whether one more may wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any, Final

from curier.client.arguments import check_pairs, check_qos, check_texts
from curier.client.link import HIGH_WATER, Link
from curier.client.session import Session
from curier.client.settings import ClientSettings
from curier.codec.constants import (
    PACKET_TOO_LARGE,
    QOS_NOT_SUPPORTED,
    RETAIN_NOT_SUPPORTED,
    TOPIC_NAME_INVALID,
)
from curier.codec.properties import Properties
from curier.codec.publish import forwarded_properties
from curier.errors import (
    ConnectionLost,
    LocalProtocolError,
    MqttError,
    PublishRefused,
    PublishWithdrawn,
    QueueFull,
)
from curier.frozen import dataclass
from curier.protocol.connection import CONNECTED
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.types import Payload, to_bytes

OVERHEAD: Final = 64
"""Bytes that a message takes besides its payload, about."""

MOST_IN_MEMORY: Final = 10_000
"""Messages that may wait, where ``offline_messages`` does not say and they are not on a disk."""

UNBOUNDED: Final = 1 << 62

KEPT: Final = 96
"""Bytes that a message takes on a disk besides its topic, payload and Properties, about."""

MOST_WOKEN: Final = 1000
"""Of those who wait for room, at a time."""

NOBODY: Final[deque[asyncio.Future[None]]] = deque()  # waits; a deque of its own is not small

LIMITS_OF_SERVERS: Final = (PACKET_TOO_LARGE, QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED)


@dataclass(frozen=True, slots=True)
class PublishResult:
    """How the server acknowledged a message: a Reason Code below 0x80, such as 0x10, nobody subscribes."""

    reason_code: int = 0
    reason_string: str = ""


SUCCESS: Final = PublishResult()


class Waiter:
    """Is told when a delivery is over."""

    __slots__ = ()

    def finish(self, reason_code: int, reason_string: str) -> None:
        """The message is complete, or refused with 0x80 or more."""

    def fail(self, error: MqttError) -> None:
        """The client has ended; nobody will know."""


class Receipt(Waiter):
    """For a message that was accepted: await it for its ``PublishResult``, as often as you like, or do not.

    Cancelling who awaits it does not touch the delivery.
    """

    __slots__ = ("_entry", "_outbox", "_outcome", "_waiting")

    def __init__(
        self,
        outcome: PublishResult | None = None,
        outbox: Outbox | None = None,
        entry: Outgoing | None = None,
    ) -> None:
        self._outbox = outbox
        self._entry = entry
        self._outcome: PublishResult | MqttError | None = outcome
        self._waiting: list[asyncio.Future[None]] | None = None

    def done(self) -> bool:
        """Is the delivery over?"""
        return self._outcome is not None

    def result(self) -> PublishResult:
        """The result; raises what ended the delivery, ``asyncio.InvalidStateError`` while it is not over."""
        outcome = self._outcome
        if outcome is None:
            raise asyncio.InvalidStateError("the delivery is not over")
        if isinstance(outcome, PublishResult):
            return outcome
        raise outcome

    def withdraw(self) -> bool:
        """Have the message not sent, while nothing of it was; then who awaits it gets ``PublishWithdrawn``.

        False, and nothing happens, where it is over or under way: that can no more be undone.
        """
        return self._outbox is not None and self._entry is not None and self._outbox.withdraw(self._entry)

    def __await__(self) -> Generator[Any, None, PublishResult]:
        if self._outcome is None:
            loop = asyncio.get_running_loop()
            if self._outbox is not None and self._outbox.link.loop is not loop:
                raise MqttError("the receipt is awaited in another event loop than that of its client")
            future = loop.create_future()
            if self._waiting is None:
                self._waiting = [future]
            else:
                self._waiting.append(future)
            yield from future
        return self.result()

    def finish(self, reason_code: int, reason_string: str) -> None:
        if reason_code >= 0x80:
            self._end(PublishRefused(reason_code, reason_string))
        elif reason_code or reason_string:
            self._end(PublishResult(reason_code, reason_string))
        else:
            self._end(SUCCESS)

    def fail(self, error: MqttError) -> None:
        self._end(error)

    def _end(self, outcome: PublishResult | MqttError) -> None:
        self._outcome = outcome
        if self._waiting is not None:
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting = None


SENT: Final = Receipt(SUCCESS)
"""Of every QoS 0 message that was sent at once."""


class Window(Waiter):
    """The messages of one ``publish_many``: counted together, with no receipt each."""

    __slots__ = ("_room", "error", "size", "unfinished")

    def __init__(self, size: int) -> None:
        self.size = size
        self.unfinished = 0
        self.error: MqttError | None = None  # the first
        self._room: asyncio.Future[None] | None = None

    def finish(self, reason_code: int, reason_string: str) -> None:
        self.unfinished -= 1
        if reason_code >= 0x80 and self.error is None:
            self.error = PublishRefused(reason_code, reason_string)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def fail(self, error: MqttError) -> None:
        self.finish(0, "")
        self.error = self.error or error

    async def fewer_than(self, count: int) -> None:
        """Wait until fewer than ``count`` are unfinished. Raises the first refusal."""
        while self.unfinished >= count and self.error is None:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        if self.error is not None:
            raise self.error


class Outbox:
    """Accepts messages for the link of the day."""

    link: Link
    """The connection there is, or was last; set by the client."""

    def __init__(self, settings: ClientSettings, disk: Session | None) -> None:
        self.mode = settings.offline
        self._disk = disk
        self._overhead = 0 if disk is None else KEPT
        most = settings.offline_messages
        if most is None:
            most = MOST_IN_MEMORY if disk is None else UNBOUNDED
        self.most_messages = most
        self.most_bytes = settings.offline_bytes
        self.error: MqttError | None = None  # nothing is accepted any more
        self.waiters: dict[Outgoing, Waiter] = {}
        self._for_room = NOBODY
        self._for_idle: list[asyncio.Future[None]] = []

    def send(self, message: ApplicationMessage, is_one_of_many: bool = False) -> Outgoing | None:
        """Publish, or have it wait in the session; None where that was all (QoS 0, connected). For any other
        the caller puts whom to tell into ``waiters``.

        Raises ``QueueFull`` or ``ConnectionLost`` where no more may wait, ``PublishRefused`` for more than
        the server takes, ``StoreError`` where the disk does not keep it; then nothing has happened.
        """
        link = self.link
        if link.unwritten > HIGH_WATER:  # whoever publishes without a pause has to know that none is taken
            link.turn()
        connection = link.connection
        is_waiting = connection.state != CONNECTED
        if is_waiting or link.is_paused or connection.client_session.outgoing.queue:
            self._check_room(message)
        if not link.is_scheduled:
            link.now = link.clock()
            link.schedule()
        try:
            if self._disk is None or not message.qos:
                entry = connection.publish(message, link.now)
            else:
                entry, layout = connection.prepare(message, link.now)
                if is_one_of_many:
                    self._disk.note(entry)
                else:
                    self._disk.keep(entry)
                connection.submit(entry, layout, link.now)
        except LocalProtocolError as error:
            if error.reason_code in LIMITS_OF_SERVERS:
                raise PublishRefused(error.reason_code, str(error)) from None
            raise
        link.unwritten += len(message.payload) + OVERHEAD
        return entry if is_waiting or message.qos else None

    def _check_room(self, message: ApplicationMessage) -> None:
        if self.error is not None:
            raise self.error
        link = self.link
        if link.connection.state != CONNECTED:
            if self.mode == "raise":
                raise ConnectionLost('there is no connection (offline="raise")')
            if self.mode == "wait":
                raise QueueFull('there is no connection, and offline="wait" queues nothing: await publish')
        outgoing = link.connection.client_session.outgoing
        unsent = outgoing.queued_bytes + message.size() + self._overhead * (len(outgoing.queue) + 1)
        if link.is_paused and link.transport is not None:
            unsent += link.transport.get_write_buffer_size()
        if len(outgoing.queue) >= self.most_messages:
            raise QueueFull(f"{len(outgoing.queue)} messages wait already (offline_messages)")
        if unsent > self.most_bytes:
            raise QueueFull(f"with this message {unsent} bytes would wait (offline_bytes)")

    def has_room(self, message: ApplicationMessage) -> bool:
        """May ``message`` be accepted now, and without piling up before a slow network?"""
        if self.is_free():
            return True
        if self.link.is_paused:
            return False
        try:
            self._check_room(message)
        except QueueFull:
            return False
        return True

    async def room(self, message: ApplicationMessage) -> None:
        """Wait until ``message`` may be accepted, behind those who wait already.

        Raises ``ConnectionLost`` where there is no connection and ``offline="raise"``.
        """
        has_waited = False
        while (self._for_room and not has_waited) or not self.has_room(message):
            future = self.link.loop.create_future()
            if self._for_room is NOBODY:
                self._for_room = deque()
            if has_waited:
                self._for_room.appendleft(future)
            else:
                self._for_room.append(future)
            has_waited = True
            try:
                await future
            except asyncio.CancelledError:
                if future in self._for_room:
                    self._for_room.remove(future)
                else:
                    self.room_changed()  # there is room for another
                raise

    def room_changed(self) -> None:
        """A turn is over: as many as there is room for look again, in order."""
        if self._for_room and self._is_open():
            outgoing = self.link.connection.client_session.outgoing
            most = max(1, min(self.most_messages - len(outgoing.queue), MOST_WOKEN))
            while self._for_room and most:
                future = self._for_room.popleft()
                if not future.done():  # else it is being cancelled
                    future.set_result(None)
                    most -= 1
        if self._for_idle and (self.error is not None or self._is_idle()):
            for idle in self._for_idle:
                if not idle.done():
                    idle.set_result(None)
            self._for_idle.clear()

    def _is_idle(self) -> bool:
        outgoing = self.link.connection.client_session.outgoing
        return not (self.waiters or outgoing.inflight or outgoing.releasing or outgoing.queue)

    def _is_open(self) -> bool:
        """May a message be accepted, if it is small?"""
        if self.link.is_paused:
            return False
        outgoing = self.link.connection.client_session.outgoing
        return self.is_free() or (
            (self.mode != "wait" or self.link.connection.state == CONNECTED)
            and len(outgoing.queue) < self.most_messages
            and outgoing.queued_bytes + self._overhead * len(outgoing.queue) < self.most_bytes
        )

    def is_free(self) -> bool:
        """Is there a connection, and does nothing wait for it?"""
        link = self.link
        connection = link.connection
        return (
            connection.state == CONNECTED
            and not link.is_paused
            and not connection.client_session.outgoing.queue
        )

    def unfinished(self) -> int:
        """How many messages are accepted and not over, those of an earlier life of the session as well."""
        outgoing = self.link.connection.client_session.outgoing
        return len(outgoing.inflight) + len(outgoing.releasing) + len(outgoing.queue)

    def withdraw(self, entry: Outgoing) -> bool:
        """See ``Receipt.withdraw``. What was sent once has begun, though it waits again in a new session."""
        outgoing = self.link.connection.client_session.outgoing
        if self.error is not None or entry.sent_at or not outgoing.withdraw(entry):
            return False
        if self._disk is not None:
            self._disk.write()
        waiter = self.waiters.pop(entry, None)
        if waiter is not None:
            waiter.fail(PublishWithdrawn("the message was withdrawn before it was sent"))
        self.room_changed()
        return True

    def published(self, entry: Outgoing, reason_code: int, reason_string: str) -> None:
        """The connection says that a message is over."""
        waiter = self.waiters.pop(entry, None)
        if waiter is not None:
            waiter.finish(reason_code, reason_string)

    async def idle(self) -> None:
        """Wait until every message is over, those of an earlier life of the session as well."""
        if not self._is_idle():
            future = self.link.loop.create_future()
            self._for_idle.append(future)
            await future

    def close(self, error: MqttError) -> None:
        """The client has ended: tell everybody who waits."""
        self.error = error
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters.values():
            waiter.fail(error)
        while self._for_room:
            future = self._for_room.popleft()
            if not future.done():
                future.set_result(None)
        self.room_changed()


def application_message(
    topic: str,
    payload: Payload,
    qos: int,
    retain: bool,
    properties: bytes = b"",
    expires_at: float = NEVER,
) -> ApplicationMessage:
    """The core's form of what is published."""
    if type(payload) is not bytes:
        payload = to_bytes(payload)
    if type(qos) is not int:
        qos = check_qos(qos)
    if type(retain) is not bool:
        raise TypeError(f"retain: True or False, not {retain!r}")
    try:
        name = topic.encode()
    except AttributeError:
        raise TypeError(f"a topic is text, not {type(topic).__name__}") from None
    except UnicodeEncodeError:
        why = f"the topic {topic!r} cannot be written in UTF-8"
        raise LocalProtocolError(TOPIC_NAME_INVALID, why, "MQTT-1.5.4-1") from None
    return ApplicationMessage(name, payload, qos, retain, properties, expires_at)


def encode_message_properties(
    content_type: str | None,
    response_topic: str | None,
    correlation_data: bytes | None,
    user_properties: Sequence[tuple[str, str]],
    payload_is_text: bool,
) -> bytes:
    """The Properties of a message that go to every receiver, encoded, without length."""
    check_texts(content_type, response_topic, correlation_data)
    properties = Properties()
    properties.payload_format_indicator = 1 if payload_is_text else None
    properties.content_type = content_type
    properties.response_topic = response_topic
    properties.correlation_data = correlation_data
    properties.user_properties = check_pairs("user_properties", user_properties)
    return forwarded_properties(properties)
