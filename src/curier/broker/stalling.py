"""Messages that wait because a receiver has no room, where ``when_full`` is ``refuse``.

A 5.0 publisher is told so (0x97). One of 3.1 or 3.1.1 can be told nothing: its message is put off and not
acknowledged until there is room, and all it publishes behind it waits with it. Its other packets are worked
on: they may be what makes room. When it has put off too much it is not read from.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from curier.broker.deadlines import Deadline
from curier.broker.lanes import set_lanes
from curier.broker.model import BrokerConnection, ServerSession, Stalled
from curier.broker.queueing import has_no_room
from curier.broker.state import BrokerState
from curier.errors import ProtocolError
from curier.protocol.connection import CLOSED, STEPS_AT_ONCE

LOOK_AGAIN: Final = 0.02  # seconds
LOOKS: Final = 1000  # at connections with messages put off, before others have their turn
MOST_BYTES: Final = 1024 * 1024  # put off by one connection, before it is not read from
COST: Final = 64  # what a packet counts for besides its own bytes


def stall(
    broker: BrokerState, connection: BrokerConnection, session: ServerSession, size: int, now: float
) -> None:
    """What ``connection`` publishes is put off until ``session`` has room for ``size`` bytes."""
    connection.stalled = Stalled(session, size)
    set_lanes(broker, connection)
    watch = broker.stalls
    if not isinstance(watch, StallWatch):
        watch = broker.stalls = StallWatch(broker)
    watch.connections.append(connection)
    if not watch.is_scheduled():
        broker.deadlines.add(watch, now + LOOK_AGAIN)


def put_off(connection: BrokerConnection, stalled: Stalled, packet: bytes) -> None:
    """Keep a PUBLISH of a connection that is stalled."""
    stalled.packets.append(packet)
    stalled.bytes += len(packet) + COST
    if stalled.bytes > MOST_BYTES:
        connection.paused = True


@final
class StallWatch(Deadline):
    """Looks at who may go on, in the order in which they came to wait."""

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.connections: list[BrokerConnection] = []

    def fire(self, now: float) -> float:
        looked = self.connections[:LOOKS]
        rest = self.connections[LOOKS:]
        self.connections = []
        for connection in looked:
            try:
                if self._has_to_wait(connection, now):
                    rest.append(connection)
            except Exception as error:
                self.broker.faults.met("going on with what was put off", error, connection)
        self.connections = [*rest, *self.connections]
        return now + LOOK_AGAIN if self.connections else 0.0

    def failed(self, error: Exception, now: float) -> float:
        return now + LOOK_AGAIN if self.connections else 0.0

    def _has_to_wait(self, connection: BrokerConnection, now: float) -> bool:
        """Is there no room yet? If there is, the connection goes on."""
        stalled = connection.stalled
        if connection.state == CLOSED or stalled is None:
            connection.stalled = None
        elif connection.questions or self._is_full(stalled, now):
            return True
        else:
            self.broker.welcomed.append(connection)
            self._go_on(connection, stalled.packets, now)
        return False

    def _is_full(self, stalled: Stalled, now: float) -> bool:
        session = stalled.session
        if session is None or self.broker.sessions.get(session.client_id) is not session:
            return False
        return has_no_room(self.broker, session, stalled.size, now)

    def _go_on(self, connection: BrokerConnection, packets: deque[bytes], now: float) -> None:
        """Work on what was put off, until there is no room again."""
        connection.stalled = None
        connection.paused = False
        connection.now = now
        done = 0
        while packets and connection.state != CLOSED:
            packet = packets.popleft()
            try:
                is_done = connection.packet(packet, 0, len(packet), now)
            except ProtocolError as error:
                connection.fail(error, now)
                return
            stalled = connection.stalled
            done += 1
            if done == STEPS_AT_ONCE and stalled is None and is_done and packets:  # others have their turn
                stalled = connection.stalled = Stalled(None, 0)
                self.connections.append(connection)
            if not is_done:  # a permission is asked for, and the packet worked on when it is there
                stalled = connection.stalled = Stalled(None, 0)
                put_off(connection, stalled, packet)
                self.connections.append(connection)
            if stalled is not None:
                for rest in packets:
                    put_off(connection, stalled, rest)
                return
        set_lanes(self.broker, connection)
        connection.proceed(now)
