"""What clients hold in the broker's memory, all together, and who has to go where that is too much.

Counted at once: packets that have not come to their end, output that the network has not taken, messages in
queues. Counted from time to time, while there is much: messages that are not acknowledged, answers that wait
for the disk, Topic Aliases. Over ``memory_limit`` connections end, those first that hold most and have done
so longest. Queues of sessions that outlive a connection are promises and stay: they have no room for more
before that (``queueing.why_full``).
"""

from __future__ import annotations

from typing import Final, final

from curier.broker import telling
from curier.broker.deadlines import Deadline
from curier.broker.model import BrokerConnection
from curier.broker.options import MIB
from curier.broker.state import NO_LIMIT, BrokerState
from curier.codec.constants import QUOTA_EXCEEDED
from curier.protocol.connection import CLOSED

LOOKS: Final = 1000  # at connections, before others have their turn
STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now
LOOK_AGAIN: Final = 1.0  # while there is much
SMALL: Final = 16 * 1024  # bytes of one connection that are not worth its end
ANSWER_SIZE: Final = 200  # bytes of an answer that waits for the disk
ROUTES_SHARE: Final = 5  # bits: the route cache has a 32nd of the memory limit
MOST_ROUTES: Final = 64 * MIB  # if it is to be said otherwise: some 250 000, to drop which takes milliseconds


def bound(broker: BrokerState) -> None:
    """Set the bounds that follow from the settings, and from the memory of the machine."""
    options = broker.options
    # Whoever was below the soft limit may always be sent one more packet, however large.
    broker.output_hard_limit = max(
        options.output_hard_limit, options.output_soft_limit + options.max_packet_size + MIB
    )
    broker.memory_limit = options.memory_limit or broker.host.most_memory() // 2 or NO_LIMIT
    share = min(broker.memory_limit >> ROUTES_SHARE, MOST_ROUTES)
    broker.router.cache.limit = options.route_cache_size or share


def held(broker: BrokerState) -> int:
    """Bytes that all clients hold, as far as it is known now."""
    statistics = broker.statistics
    return (
        statistics.input_bytes
        + statistics.output_bytes
        + statistics.queued_bytes
        + statistics.looked_up_bytes
    )


def grown(broker: BrokerState, now: float) -> None:
    """A client holds more: see to it that all together do not hold too much."""
    size = held(broker)
    if size > broker.memory_limit >> 1:
        watch = broker.memory_watch
        if not isinstance(watch, MemoryWatch):
            watch = broker.memory_watch = MemoryWatch(broker)
        watch.wake(size > broker.memory_limit, now)


def look_always(broker: BrokerState, now: float) -> None:
    """Begin to look from time to time whether there is much, as the process sees it."""
    watch = broker.memory_watch = MemoryWatch(broker)
    broker.deadlines.add(watch, now + LOOK_AGAIN)


def input_waits(broker: BrokerState, connection: BrokerConnection, change: int, now: float) -> None:
    """``change`` more bytes of a client wait for the end of their packet, or fewer."""
    broker.statistics.input_bytes += change
    if change > 0 and broker.statistics.input_bytes > broker.memory_limit >> 3:
        grown(broker, now)


def output_waits(broker: BrokerState, connection: BrokerConnection, unsent: int, now: float) -> None:
    """The network has not taken ``unsent`` bytes for a client."""
    change = unsent - connection.counted_unsent
    if not connection.counted_unsent:
        connection.unsent_since = now
    connection.counted_unsent = unsent
    broker.statistics.output_bytes += change
    if change > 0 and broker.statistics.output_bytes > broker.memory_limit >> 3:
        grown(broker, now)


def _looked_up(connection: BrokerConnection) -> int:
    """Bytes that are not counted as they come and go."""
    size = connection.held_count * ANSWER_SIZE
    for topic in connection.aliases.values():
        size += len(topic)
    if connection.topic_aliases is not None:
        for topic in connection.topic_aliases:
            size += len(topic)
    if connection.stalled is not None:
        size += connection.stalled.bytes
    session = connection.server_session
    if session is not None:
        size += session.outgoing.sent_bytes
    return size


def _given_back(connection: BrokerConnection) -> int:
    """Bytes that the end of the connection would give back."""
    size = connection.waiting_bytes() + connection.counted_unsent
    session = connection.server_session
    if session is None or not session.expiry_interval:
        size += _looked_up(connection)
        if session is not None:
            size += session.outgoing.queued_bytes
    return size


def _score(connection: BrokerConnection, size: int, now: float) -> float:
    """Who goes first: large, and slow to let go of it."""
    since = now
    if connection.counted_unsent:
        since = connection.unsent_since
    if connection.waiting_bytes() and connection.unfinished_since < since:
        since = connection.unfinished_since
    return size * (1.0 + now - since)


@final
class MemoryWatch(Deadline):
    """Looks through all connections, a piece at a time, and ends the worst of them where it must.

    Those are found in a second walk, without sorting: all that are at least half as bad as the worst.
    """

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self._left: list[BrokerConnection] = []  # to be looked at in this walk
        self._all: list[BrokerConnection] = []
        self._looked_up: int = 0  # bytes of those that have been
        self._worst: float = 0.0  # of their scores
        self._is_ending: bool = False

    def wake(self, is_urgent: bool, now: float) -> None:
        """Look soon, or at once."""
        if not self.is_scheduled():
            self.broker.deadlines.add(self, now if is_urgent else now + LOOK_AGAIN)
        elif is_urgent and self.when > now + STEP_PAUSE:
            self.broker.deadlines.move(self, now)

    def fire(self, now: float) -> float:
        broker = self.broker
        if not self._left:
            if not self._is_much():
                broker.statistics.looked_up_bytes = 0
                return now + LOOK_AGAIN if broker.host.memory() else 0.0
            self._begin()
        looked = self._left[-LOOKS:]
        del self._left[-LOOKS:]
        for connection in looked:
            if connection.state == CLOSED:
                continue
            if self._is_ending:
                self._end_if_bad(connection, now)
            else:
                self._look_at(connection, now)
        if self._left:
            return now + STEP_PAUSE
        if self._is_ending:
            self._is_ending = False
            self._all = []
            return now + (STEP_PAUSE if held(broker) > broker.memory_limit else LOOK_AGAIN)
        broker.statistics.looked_up_bytes = self._looked_up
        if held(broker) > broker.memory_limit and self._worst:
            self._is_ending = True
            self._left = self._all
            return now + STEP_PAUSE
        self._all = []
        return now + LOOK_AGAIN

    def _is_much(self) -> bool:
        half = self.broker.memory_limit >> 1
        return held(self.broker) > half or self.broker.host.memory() > half

    def _begin(self) -> None:
        self._left = list(self.broker.connections.values())
        self._all = self._left.copy()
        self._looked_up = 0
        self._worst = 0.0

    def _look_at(self, connection: BrokerConnection, now: float) -> None:
        self._looked_up += _looked_up(connection)
        size = _given_back(connection)
        if size >= SMALL:
            self._worst = max(self._worst, _score(connection, size, now))

    def _end_if_bad(self, connection: BrokerConnection, now: float) -> None:
        broker = self.broker
        total = held(broker)
        if total <= broker.memory_limit - (broker.memory_limit >> 3):  # enough for a while
            return
        size = _given_back(connection)
        if size < SMALL or _score(connection, size, now) < self._worst / 2:
            return
        broker.statistics.looked_up_bytes -= min(_looked_up(connection), broker.statistics.looked_up_bytes)
        why = f"{size} bytes are held for this client, and for all together {total} of {broker.memory_limit}"
        telling.refused(broker, connection, QUOTA_EXCEEDED, why)
        connection.send_disconnect(QUOTA_EXCEEDED, why, None)
        connection.end(QUOTA_EXCEEDED, why, now)
