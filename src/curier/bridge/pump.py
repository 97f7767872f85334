"""One direction of a bridge: messages taken from one broker are given to another, in order.

A message with QoS 1 or 2 is acknowledged to the one only when the other has acknowledged it, with the QoS
that it goes on with. Until then the one keeps it. What the other one refuses for good is given up, told by
the log, and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from curier.bridge.hops import Pairs, why_not_on, with_hop
from curier.bridge.topics import Map
from curier.errors import LocalProtocolError, MqttError, PublishRefused, QueueFull
from curier.loglines import logger, printable
from curier.types import ReasonCode

if TYPE_CHECKING:
    from curier.bridge.end import End
    from curier.client.outbox import Receipt
    from curier.client.received import ReceivedMessage
    from curier.client.streams import Stream

log = logger("curier.bridge")

PASSING: Final = frozenset(
    (
        ReasonCode.UNSPECIFIED_ERROR,
        ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,  # a disk that takes nothing now, for one
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.SERVER_BUSY,
        ReasonCode.SERVER_UNAVAILABLE,
        ReasonCode.MESSAGE_RATE_TOO_HIGH,
    )
)
"""Refusals that may be none a while later: the message stays where it is, and is tried again."""


NEVER_TAKEN: Final = (PublishRefused, LocalProtocolError)
"""Of our own client: more than the server takes, or what is no message there, such as one whose topic is too
long with the prefix before it.
"""

MOST_TAKEN: Final = 10_000
"""Messages that wait for those before them; then those with QoS 0 are dropped."""


class TryAgain(MqttError):
    """The other broker does not take a message now."""


class Counts:
    """What one direction has carried, since the bridge was made."""

    def __init__(self) -> None:
        self.carried = 0
        self.bytes = 0  # of payloads
        self.refused = 0  # by the other broker, for good
        self.dropped = 0  # with QoS 0, for want of a connection or of room
        self.stopped = 0  # that would have gone in a circle
        self.waiting = 0  # taken from the one broker, and not acknowledged by the other


class Pump:
    """Carries what a stream brings to another broker, which the log calls ``where``. A message passes
    ``most_hops`` brokers at most.
    """

    def __init__(
        self, name: str, where: str, topics: Map, most_hops: int, window: int, counts: Counts
    ) -> None:
        self._name = name
        self._where = where
        self._topics = topics
        self._most_hops = most_hops
        self._source_id = self._target_id = ""
        self._window = window
        self._counts = counts
        self._open: deque[tuple[Receipt, ReceivedMessage]] = deque()  # in order
        self._taken: asyncio.Queue[ReceivedMessage] = asyncio.Queue()
        self._news = asyncio.Event()  # one more of them, or one fewer

    async def run(self, stream: Stream, target: End, known: Awaitable[tuple[str, str]]) -> None:
        """Until it is cancelled. Raises ``TryAgain``, and what ends the stream or the target. ``known`` is
        over when it is known what the target takes; it gives the names of the brokers that messages go from
        and to, for the trace of hops, or "".
        """
        works = (self._take(stream, target), self._send(target, known), self._acknowledge())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._counts.waiting = 0

    async def _take(self, stream: Stream, target: End) -> None:
        """Take what comes: with QoS 1 and 2 as much as the window has room for, by Receive Maximum."""
        async for message in stream:
            if not message.qos and (not target.is_connected or self._taken.qsize() >= MOST_TAKEN):
                self._counts.dropped += 1
            else:
                self._taken.put_nowait(message)

    async def _send(self, target: End, known: Awaitable[tuple[str, str]]) -> None:
        self._source_id, self._target_id = await known
        while True:
            await self._forward(await self._taken.get(), target)

    async def _acknowledge(self) -> None:
        """Work off what is on its way, from the first: what was taken first is acknowledged first."""
        while True:
            while not self._open:
                await self._change()
            receipt, message = self._open[0]
            try:
                await receipt
            except PublishRefused as error:
                if error.reason_code in PASSING:
                    raise TryAgain(f"{printable(message.topic)} is not taken for now: {error}") from error
                self._refused(message, error)
            else:
                self._count(message)
                message.ack()
            self._open.popleft()
            self._changed()

    async def _forward(self, message: ReceivedMessage, target: End) -> None:
        found = self._topics.find(message.topic)
        if found is None:  # of a subscription that is none of ours any more
            message.ack()
            return
        topic, most_qos = found
        why = why_not_on(message.user_properties, self._source_id, self._target_id, self._most_hops)
        if why:
            self._counts.stopped += 1
            log.debug("%s: %s is not carried %s: %s", self._name, printable(topic), self._where, why)
            message.ack()
            return
        qos = min(int(message.qos), most_qos, target.most_qos)
        if not qos:
            self._send_once(message, topic, target)
            return
        while len(self._open) >= self._window:
            await self._change()
        entry = target.taken_up(message, topic, qos, self._properties(message)) if message.dup else None
        while entry is None:
            try:
                entry = self._publish(message, topic, qos, target)
            except QueueFull:  # our own are in front, or a slow network
                await self._change()
            except NEVER_TAKEN as error:
                self._refused(message, error)
                return
        self._open.append((entry, message))
        self._changed()

    def _send_once(self, message: ReceivedMessage, topic: str, target: End) -> None:
        """With QoS 0: now, or not at all."""
        try:
            if not target.is_connected:
                raise QueueFull("there is no connection")
            self._publish(message, topic, 0, target)
        except QueueFull:
            self._counts.dropped += 1
        except NEVER_TAKEN as error:
            self._refused(message, error)
            return
        else:
            self._count(message)
        message.ack()

    def _publish(self, message: ReceivedMessage, topic: str, qos: int, target: End) -> Receipt:
        return target.publish_nowait(
            topic,
            message.payload,
            qos=qos,
            retain=target.retains(message),
            message_expiry=message.message_expiry,
            content_type=message.content_type,
            response_topic=message.response_topic,
            correlation_data=message.correlation_data,
            user_properties=self._properties(message),
            payload_is_text=message.payload_is_text,
        )

    def _properties(self, message: ReceivedMessage) -> Pairs:
        return with_hop(message.user_properties, self._source_id or self._name)

    async def _change(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _changed(self) -> None:
        self._counts.waiting = len(self._open)
        self._news.set()

    def _count(self, message: ReceivedMessage) -> None:
        self._counts.carried += 1
        self._counts.bytes += len(message.payload)

    def _refused(self, message: ReceivedMessage, error: MqttError) -> None:
        self._counts.refused += 1
        log.warning(
            "%s: %s with %d bytes is not taken %s, and given up: %s",
            self._name,
            printable(message.topic),
            len(message.payload),
            self._where,
            printable(str(error)),
        )
        message.ack()
