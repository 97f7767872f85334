"""Clients that send faster than they may (``max_message_rate``, ``max_byte_rate``) are slowed.

Such a client is paused, so not read from, until its bucket has room; TCP tells it to wait. Between two
packets it is looked whether there is room, and a packet is counted when it has been worked on: the last one
may take more than there was, for which the pause is longer. The fast lane is given a part of a chunk that
is about what may come.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.buckets import Bucket
from curier.broker.deadlines import Deadline
from curier.broker.model import BrokerConnection
from curier.broker.state import BrokerState
from curier.protocol.connection import CONNECTED

RATES: Final = frozenset(("max_message_rate", "max_byte_rate"))
"""The settings."""

LEAST_PAUSE: Final = 0.1  # seconds, so that what is slowed is woken seldom
MESSAGE_BYTES: Final = 16  # what a small message has, about: the smallest has 5


def pace(broker: BrokerState, connection: BrokerConnection, now: float) -> Pace | None:
    """What a connection is to be slowed by; None: by nothing."""
    options = broker.options
    if not options.max_message_rate and not options.max_byte_rate:
        return None
    return Pace(broker, connection, now)


@final
class Pace(Deadline):
    """What one client has sent lately; as a deadline, the end of its pause."""

    def __init__(self, broker: BrokerState, connection: BrokerConnection, now: float) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.connection: BrokerConnection = connection
        self.messages: Bucket = Bucket(broker.options.max_message_rate, now)
        self.bytes: Bucket = Bucket(broker.options.max_byte_rate, now)
        self.is_pausing: bool = False  # is it paused for this, and for nothing else?

    def part(self, pos: int, end: int) -> int:
        """Where the fast lane is to stop, which looks at a chunk from ``pos`` to ``end``."""
        if self.messages.rate:
            end = min(end, pos + MESSAGE_BYTES * int(self.messages.tokens))
        if self.bytes.rate:
            end = min(end, pos + int(self.bytes.tokens))
        return end

    def count(self, messages: int, size: int) -> None:
        """So many came, in so many bytes."""
        self.is_pausing = False
        self.messages.take(messages)
        self.bytes.take(size)

    def worked_on(self, is_done: bool, is_publish: bool, size: int) -> None:
        """A packet of ``size`` bytes was worked on; it counts when that is done, and not when it is put
        off.
        """
        self.is_pausing = False
        if is_done and not (is_publish and self.connection.stalled is not None):
            self.count(1 if is_publish else 0, size)

    def is_over(self, now: float) -> bool:
        """Did more come than may? Then the connection is paused from now on."""
        connection = self.connection
        if connection.paused or connection.state != CONNECTED:
            return connection.paused
        missing = self._missing(now)
        self.is_pausing = connection.paused = missing > 0
        if missing > 0 and not self.is_scheduled():
            self.broker.deadlines.add(self, now + missing)
        return missing > 0

    def _missing(self, now: float) -> float:
        """Seconds until there is room."""
        missing = max(self.messages.missing(now), self.bytes.missing(now))
        return max(missing, LEAST_PAUSE) if missing > 0 else 0.0

    def fire(self, now: float) -> float:
        if self.is_pausing:
            missing = self._missing(now)
            if missing > 0:
                return now + missing
            self._go_on()
        return 0.0

    def _go_on(self) -> None:
        connection = self.connection
        self.is_pausing = False
        if connection.paused and connection.state == CONNECTED:
            connection.is_resting = True  # it goes on as those do that others had their turn before
            self.broker.continue_later(connection)

    def end(self) -> None:
        """The connection has ended, or is slowed by this no more."""
        if self.is_scheduled():
            self.broker.deadlines.cancel(self)
        if self.is_pausing:
            self._go_on()

    def failed(self, error: Exception, now: float) -> float:
        return now + LEAST_PAUSE
