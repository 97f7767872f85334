"""What was received and waits for its readers: bounded in bytes for a client, for a stream in messages.

A chunk of the network may hold more messages than a bound allows, and a reader has no turn before all of it
is here. So nothing is decided when a message comes. In the link's turn, behind the readers, what they have
left is counted; what is over a bound is dropped where its stream asks for that (QoS 0 only), and otherwise
the network is not read until half of the bound is free again: the server has to wait, which TCP tells it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from curier.client.arguments import Acknowledge, Overflow
from curier.client.link import Link
from curier.client.received import Delivery, ReceivedMessage, Receiver
from curier.codec.packets import Publish
from curier.types import Subscription

OVERHEAD: Final = 400
"""Bytes that a message takes besides its topic and payload, about."""


def size_of(message: ReceivedMessage) -> int:
    """Bytes that a message counts for."""
    packet = message._packet
    return len(packet.topic) + len(packet.payload) + OVERHEAD


class Intake:
    """Everything that waits in the buffers of one client; decides whether more is read."""

    def __init__(self, link: Link, most_bytes: int, overflowed: Callable[[Buffer], None]) -> None:
        self.link = link
        self.most_bytes = most_bytes
        self.bytes = 0  # of what is counted
        self.is_held = False  # is the network not read?
        self.laden: dict[Buffer, None] = {}  # those with something that is counted
        self.full: dict[Buffer, None] = {}  # of these, those over their own bound, which drop nothing
        self._overflowed = overflowed  # a buffer has begun to drop
        self._touched: list[Buffer] = []

    def connected(self, link: Link) -> None:
        """A connection begins."""
        self.link = link
        if self.is_held:
            link.hold(True)

    def touch(self, buffer: Buffer) -> None:
        """Messages have come into ``buffer``."""
        self._touched.append(buffer)

    def settle(self) -> None:
        """Readers have taken what they wanted; what is left counts."""
        if not self._touched:
            return
        touched, self._touched = self._touched, []
        for buffer in touched:
            # Who waits for SUBACK cannot read yet; nor could SUBACK come, were the network not read.
            if buffer.is_open or buffer.is_closed:
                buffer.settle()
            else:
                self._touched.append(buffer)
        for buffer in touched:
            if self.bytes > self.most_bytes and buffer.drops:
                buffer.drop_bytes(self.bytes - self.most_bytes)
        self.look()

    def fullest(self) -> Buffer | None:
        """Whose reader could make most room."""
        laden = self.full or self.laden
        return max(laden, key=lambda buffer: buffer.bytes, default=None)

    def freed(self, size: int) -> None:
        """Bytes that were counted are gone."""
        self.bytes -= size
        if self.is_held:
            self.look()

    def look(self) -> None:
        """Read, or do not."""
        bound = self.most_bytes // 2 if self.is_held else self.most_bytes
        is_held = bool(self.full) or self.bytes > bound
        if is_held != self.is_held:
            self.is_held = is_held
            self.link.hold(is_held)

    def overflowed(self, buffer: Buffer) -> None:
        """``buffer`` drops messages."""
        self._overflowed(buffer)


class Buffer(Receiver):
    """The messages of one stream that nobody has taken yet."""

    def __init__(
        self,
        intake: Intake,
        filters: tuple[Subscription, ...],
        most: int | None,
        overflow: Overflow,
        ack: Acknowledge,
        user_properties: list[tuple[str, str]] | None,
    ) -> None:
        super().__init__(filters, user_properties)
        self.drops = overflow != "block"
        self.bytes = 0  # of the first `_counted` messages
        self._intake = intake
        self._most = most
        self._drops_newest = overflow == "drop_newest"
        self.is_auto = ack == "auto"
        self._is_prompt = ack == "received"
        self._messages: deque[ReceivedMessage] = deque()
        self._handed: deque[ReceivedMessage] | None = None  # to whom some were handed over
        self._counted = 0
        self._is_touched = False
        self._is_overflowing = False

    def put(self, packet: Publish, delivery: Delivery | None) -> None:
        """A message came."""
        if self._is_prompt and delivery is not None:
            delivery.taken()
            delivery = None
        self._messages.append(ReceivedMessage(packet, delivery))
        if not self._is_touched:
            self._is_touched = True
            self._intake.touch(self)

    def take(self) -> ReceivedMessage:
        """The next message is the reader's. There has to be one."""
        message = self._messages.popleft()
        if self._counted:
            self._counted -= 1
            self._uncount(message)
        if self.is_auto:
            delivery = message._delivery
            if delivery is not None:
                message._delivery = None
                delivery.taken()
        return message

    def hand_over(self, most: int, most_bytes: int, into: deque[ReceivedMessage]) -> None:
        """Take as many as ``most`` messages, and no more than the one with which they have ``most_bytes``,
        for a reader who acknowledges each when it is really taken.
        """
        self._handed = into
        messages = self._messages
        while messages and most > 0 and most_bytes > 0:
            message = messages.popleft()
            if self._counted:
                self._counted -= 1
                self._uncount(message)
            into.append(message)
            most -= 1
            most_bytes -= size_of(message)

    def take_back(self, messages: deque[ReceivedMessage]) -> None:
        """Messages that were handed over and not taken are the next again."""
        self._messages.extendleft(reversed(messages))
        size, self.bytes, self._counted = self.bytes, 0, 0  # they are counted anew
        self._intake.freed(size)
        if not self._is_touched:
            self._is_touched = True
            self._intake.touch(self)

    def _uncount(self, message: ReceivedMessage) -> None:
        size = size_of(message)
        self.bytes -= size
        if not self._counted:
            self._is_overflowing = False
            self._intake.laden.pop(self, None)
        if self._most is not None and len(self._messages) <= self._most // 2:
            self._intake.full.pop(self, None)
        self._intake.freed(size)

    def settle(self) -> None:
        """Count what is new, and drop or hold back what is too much."""
        self._is_touched = False
        messages = self._messages
        new = sum(map(size_of, islice(reversed(messages), len(messages) - self._counted)))
        self._counted = len(messages)
        self.bytes += new
        self._intake.bytes += new
        if messages:
            self._intake.laden[self] = None
        if self._most is not None and len(messages) >= self._most:
            if self.drops:
                self._drop(len(messages) - self._most, self.bytes)
            else:
                self._intake.full[self] = None

    def drop_bytes(self, excess: int) -> None:
        """Make room for ``excess`` bytes of the client's, if this alone can."""
        if self.bytes > excess:
            self._drop(len(self._messages), excess)

    def _drop(self, most: int, most_bytes: int) -> None:
        """Drop messages with QoS 0: as many as ``most``, and no further once they have ``most_bytes``."""
        messages = self._messages
        kept: list[ReceivedMessage] = []
        gone = gone_bytes = 0
        for message in reversed(messages) if self._drops_newest else messages:
            if message._packet.qos or gone >= most or gone_bytes >= most_bytes:
                kept.append(message)
            else:
                gone += 1
                gone_bytes += size_of(message)
        if not gone:
            return
        messages.clear()
        messages.extend(reversed(kept) if self._drops_newest else kept)
        self._counted = len(messages)
        self.bytes -= gone_bytes
        self.dropped += gone
        self._intake.bytes -= gone_bytes
        if not self._is_overflowing:
            self._is_overflowing = True
            self._intake.overflowed(self)

    def holds(self, delivery: Delivery) -> bool:
        return any(message._delivery is delivery for message in self._messages)

    def __len__(self) -> int:
        """Messages that wait to be taken."""
        return len(self._messages)

    def leave_unacknowledged(self) -> None:
        left = [message for message in self._messages if message._delivery is None]
        self._empty()
        self._messages.extend(left)

    def forget(self) -> None:
        self._messages.clear()
        self._counted = 0
        if self._handed is not None:
            self._handed.clear()

    def leave(self) -> list[ReceivedMessage]:
        messages = list(self._messages)
        self._empty()
        return messages

    def _empty(self) -> None:
        size, self.bytes, self._counted = self.bytes, 0, 0
        self._messages.clear()
        self._intake.laden.pop(self, None)
        self._intake.full.pop(self, None)
        self._intake.freed(size)
