"""Clients that send faster than they may, or would be sent more, are slowed.

Rates are those of a client (``max_message_rate``, ``max_byte_rate``), of a user's clients together
(``max_user_...``) and of all who came in at a listener (``rates``). Who sends too fast is paused, so not read
from, until there is room; TCP tells it to wait. Between two packets it is looked whether there is room, and a
packet is counted when it has been worked on: the last one may take more than there was, for which the pause
is longer. The fast lane is given a part of a chunk that is about what may come.

Towards a client (``max_output_...``) messages wait in its session as if it were slow to take them, and those
with QoS 0 are dropped.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker import telling
from curier.broker.buckets import Bucket
from curier.broker.deadlines import Deadline
from curier.broker.faults import WHY
from curier.broker.model import BrokerConnection
from curier.broker.rates import NEVER, Allowance, Outflow, Stake
from curier.broker.state import BrokerState
from curier.codec.constants import IMPLEMENTATION_SPECIFIC_ERROR
from curier.protocol.connection import CONNECTED

RATES: Final = frozenset(
    (
        *("max_message_rate", "max_byte_rate"),
        *("max_output_message_rate", "max_output_byte_rate"),
        *("max_user_message_rate", "max_user_byte_rate"),
    )
)
"""The settings."""

LEAST_PAUSE: Final = 0.1  # seconds, so that what is slowed is woken seldom
MESSAGE_BYTES: Final = 16  # what a small message has, about: the smallest has 5
TOLD_SECONDS: Final = 60.0  # between two times that it is told of the same connection


def pace(broker: BrokerState, connection: BrokerConnection, now: float) -> Pace | None:
    """What a connection is to be slowed by; None: by nothing."""
    options = broker.options
    entrance = connection.entrance
    if options.max_message_rate or options.max_byte_rate:
        return Pace(broker, connection, now)
    if options.max_user_message_rate or options.max_user_byte_rate:
        return Pace(broker, connection, now)
    if entrance.max_message_rate or entrance.max_byte_rate:
        return Pace(broker, connection, now)
    return None


@final
class Pace(Deadline):
    """What one client has sent lately; as a deadline, the end of its pause."""

    def __init__(self, broker: BrokerState, connection: BrokerConnection, now: float) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.connection: BrokerConnection = connection
        self.messages: Bucket = Bucket(broker.options.max_message_rate, now)
        self.bytes: Bucket = Bucket(broker.options.max_byte_rate, now)
        self.stakes: list[Stake] | None = None  # None: it has not logged in
        self.is_pausing: bool = False  # is it paused for this, and for nothing else?
        self.until: float = 0.0  # when what it was promised is there
        self.told_at: float = NEVER

    def part(self, pos: int, end: int) -> int:
        """Where the fast lane is to stop, which looks at a chunk from ``pos`` to ``end``."""
        if self.messages.rate:
            end = min(end, pos + MESSAGE_BYTES * int(self.messages.tokens))
        if self.bytes.rate:
            end = min(end, pos + int(self.bytes.tokens))
        for stake in self.stakes or ():
            if stake.allowance.messages.rate:
                end = min(end, pos + MESSAGE_BYTES * int(stake.message_room()))
            if stake.allowance.bytes.rate:
                end = min(end, pos + int(stake.byte_room()))
        return end

    def count(self, messages: int, size: int) -> None:
        """So many came, in so many bytes."""
        self.is_pausing = False
        self.messages.take(messages)
        self.bytes.take(size)
        for stake in self.stakes or ():
            stake.take(messages, size)

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
        if self.stakes is None:
            self.stakes = self._join(now)
        missing = self._missing(now)
        for stake in self.stakes:
            missing = max(missing, stake.missing(now))
        if missing <= 0:
            return False
        missing = max(missing, LEAST_PAUSE)
        self.until = now + missing
        self.is_pausing = connection.paused = True
        if not self.is_scheduled():
            self.broker.deadlines.add(self, self.until)
        if now - self.told_at >= TOLD_SECONDS:
            self.told_at = now
            telling.slowed(self.broker, connection, self._why(now))
        return True

    def _missing(self, now: float) -> float:
        """Seconds until there is room, as far as only this client counts."""
        return max(self.messages.missing(now), self.bytes.missing(now))

    def _join(self, now: float) -> list[Stake]:
        """Have a part in what may come from many, now that it is known who the client is."""
        stakes: list[Stake] = []
        options = self.broker.options
        session = self.connection.server_session
        if session is not None and (options.max_user_message_rate or options.max_user_byte_rate):
            allowances = self.broker.holdings.allowances
            allowance = allowances.get(session.source)
            if allowance is None:
                settings = ("max_user_message_rate", "max_user_byte_rate")
                allowance = Allowance(session.source, settings, now, allowances)
                allowances[session.source] = allowance
            allowance.change(options.max_user_message_rate, options.max_user_byte_rate, now)
            stakes.append(Stake(allowance))
        entrance = self.connection.entrance
        if entrance.max_message_rate or entrance.max_byte_rate:
            if entrance.allowance is None:
                settings = ("max_message_rate of the listener", "max_byte_rate of the listener")
                entrance.allowance = Allowance(f"listener {self.connection.listener_name}", settings, now)
            entrance.allowance.change(entrance.max_message_rate, entrance.max_byte_rate, now)
            stakes.append(Stake(entrance.allowance))
        return stakes

    def _why(self, now: float) -> str:
        """In words."""
        if self.messages.missing(now) > 0:
            return f"it sends more than {self.messages.rate:.0f} messages a second (max_message_rate)"
        if self.bytes.missing(now) > 0:
            return f"it sends more than {self.bytes.rate:.0f} bytes a second (max_byte_rate)"
        for stake in self.stakes or ():
            if stake.is_waiting:
                return stake.why
        return ""

    def fire(self, now: float) -> float:
        if self.is_pausing:
            if now < self.until:
                return self.until
            missing = self._missing(now)
            for stake in self.stakes or ():
                if stake.owes():  # it pays a part, though it may have nothing more to say
                    missing = max(missing, stake.missing(now))
            if missing > 0:
                self.until = now + max(missing, LEAST_PAUSE)
                return self.until
            self._go_on()
        return 0.0

    def _go_on(self) -> None:
        connection = self.connection
        self.is_pausing = False
        for stake in self.stakes or ():
            stake.go_on()
        if connection.paused and connection.state == CONNECTED:
            connection.is_resting = True  # it goes on as those do that others had their turn before
            self.broker.continue_later(connection)

    def end(self, now: float) -> None:
        """The connection has ended, or is slowed by this no more."""
        if self.is_scheduled():
            self.broker.deadlines.cancel(self)
        if self.is_pausing:
            self._go_on()
        for stake in self.stakes or ():
            stake.leave()
            allowance = stake.allowance
            if allowance.table is not None and not allowance.members and not allowance.is_scheduled():
                self.broker.deadlines.add(allowance, now + allowance.full_in(now))
        self.stakes = None

    def failed(self, error: Exception, now: float) -> float:
        return now + LEAST_PAUSE


def outflow(broker: BrokerState, connection: BrokerConnection, now: float) -> Holding | None:
    """What bounds how much a connection is sent; None: nothing."""
    options = broker.options
    if not options.max_output_message_rate and not options.max_output_byte_rate:
        return None
    return Holding(broker, connection, now)


@final
class Holding(Outflow):
    """What one client was sent lately; as a deadline, the end of a pause in which it is sent nothing."""

    def __init__(self, broker: BrokerState, connection: BrokerConnection, now: float) -> None:
        options = broker.options
        super().__init__(options.max_output_message_rate, options.max_output_byte_rate, now)
        self.broker: BrokerState = broker
        self.connection: BrokerConnection = connection

    def fire(self, now: float) -> float:
        missing = max(self.messages.missing(now), self.bytes.missing(now))
        if missing > 0:
            return now + max(missing, LEAST_PAUSE)
        self._go_on(now)
        return 0.0

    def _go_on(self, now: float) -> None:
        self.is_holding = False
        connection = self.connection
        if connection.state == CONNECTED and not connection.is_behind and not connection.is_ending:
            connection.is_congested = False
            connection.now = now
            connection.pump(now)

    def end(self, now: float) -> None:
        """The connection has ended, or has no such rate any more."""
        if self.is_scheduled():
            self.broker.deadlines.cancel(self)
        if self.is_holding:
            self._go_on(now)

    def failed(self, error: Exception, now: float) -> float:
        self.broker.faults.end_soon(self.connection, IMPLEMENTATION_SPECIFIC_ERROR, WHY)
        return 0.0


def sent(broker: BrokerState, connection: BrokerConnection, flow: Outflow, size: int, now: float) -> None:
    """A PUBLISH of ``size`` bytes goes to a client that may be sent so much in so much time. Where that was
    all, the next ones wait, or are dropped.
    """
    flow.messages.take(1)
    flow.bytes.take(size)
    messages, bytes_ = flow.messages.missing(now), flow.bytes.missing(now)
    missing = max(messages, bytes_)
    if missing <= 0 or flow.is_holding:
        return
    flow.is_holding = connection.is_congested = True
    broker.deadlines.add(flow, now + max(missing, LEAST_PAUSE))
    rate, what, setting = (
        (flow.messages.rate, "messages", "max_output_message_rate")
        if messages > 0
        else (flow.bytes.rate, "bytes", "max_output_byte_rate")
    )
    flow.why = f"more than {rate:.0f} {what} a second would go to it ({setting})"
    if now - flow.told_at >= TOLD_SECONDS:
        flow.told_at = now
        telling.slowed(broker, connection, flow.why)
