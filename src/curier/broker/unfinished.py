"""Packets that have begun to come and do not end: each has its time, which grows with what has come of it."""

from __future__ import annotations

from typing import Final, final

from curier.broker import telling
from curier.broker.deadlines import Deadline
from curier.broker.model import BrokerConnection
from curier.broker.state import BrokerState
from curier.codec.constants import QUOTA_EXCEEDED
from curier.protocol.connection import CLOSED, CONNECTED

LOOK_AGAIN: Final = 1.0  # seconds
LOOKS: Final = 1000  # at connections, before others have their turn
STEP_PAUSE: Final = 0.001  # seconds


def begun(broker: BrokerState, connection: BrokerConnection, now: float) -> None:
    """A packet of ``connection`` has begun to come."""
    if connection.is_unfinished or not broker.options.packet_timeout:
        return
    connection.is_unfinished = True
    watch = broker.packet_watch
    if not isinstance(watch, PacketWatch):
        watch = broker.packet_watch = PacketWatch(broker)
    watch.connections.append(connection)
    if not watch.is_scheduled():
        broker.deadlines.add(watch, now + LOOK_AGAIN)


@final
class PacketWatch(Deadline):
    """Looks at connections with an unfinished packet, as long as there are any, a piece at a time."""

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.connections: list[BrokerConnection] = []
        self._looking: list[BrokerConnection] = []  # those that are left of this walk

    def fire(self, now: float) -> float:
        if not self._looking:
            self._looking, self.connections = self.connections, []
        looked = self._looking[-LOOKS:]
        del self._looking[-LOOKS:]
        for connection in looked:
            if connection.state == CLOSED or not connection.waiting_bytes():
                connection.is_unfinished = False
            elif not self._ends(connection, now):
                self.connections.append(connection)
        if self._looking:
            return now + STEP_PAUSE
        return now + LOOK_AGAIN if self.connections else 0.0

    def _ends(self, connection: BrokerConnection, now: float) -> bool:
        """End a connection that takes too long; has it been?"""
        if connection.state != CONNECTED:
            return False  # it has its time for CONNECT
        if connection.paused or connection.is_behind or connection.held:
            connection.unfinished_since = now  # it is not read from, perhaps: the silence is ours
            return False
        options = self.broker.options
        size = connection.waiting_bytes()
        took = now - connection.unfinished_since
        if took <= options.packet_timeout + size / options.packet_rate:
            return False
        why = (
            f"{size} bytes of a packet came in {took:.0f} seconds: fewer than {options.packet_rate} a second"
        )
        telling.refused(self.broker, connection, QUOTA_EXCEEDED, why)
        connection.send_disconnect(QUOTA_EXCEEDED, why, None)
        connection.end(QUOTA_EXCEEDED, why, now)
        return True
