"""The clocks of one connection: connect timeout, Keep Alive, timed re-sending."""

from __future__ import annotations

from typing import Final, final

from curier.broker import telling
from curier.broker.deadlines import Deadline
from curier.broker.faults import WHY
from curier.broker.model import BrokerConnection
from curier.broker.output import send_entry
from curier.broker.state import BrokerState
from curier.codec.constants import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    KEEP_ALIVE_TIMEOUT,
    MQTT_50,
    NOT_AUTHORIZED,
    SERVER_BUSY,
    UNSPECIFIED_ERROR,
)
from curier.codec.primitives import encode_two
from curier.protocol.connection import AUTHENTICATING, CONNECTED

EXPIRED: Final = "its authentication has expired"
UNFINISHED: Final = "the re-authentication was not finished in time"


def await_connect(broker: BrokerState, connection: BrokerConnection, now: float) -> None:
    """Give a new connection its time to get as far as CONNACK."""
    connection.watch = ConnectionWatch(broker, connection)
    broker.deadlines.add(connection.watch, now + broker.options.connect_timeout)


def keep_alive(broker: BrokerState, connection: BrokerConnection, now: float) -> None:
    """A connection has its CONNACK: begin with Keep Alive, and with timed re-sending where that is wanted."""
    watch = connection.watch
    limit = now + connection.keep_alive
    if connection.keep_alive and watch is not None and limit < watch.when:
        broker.deadlines.move(watch, limit)
    if broker.options.retry_interval and connection.version != MQTT_50:
        broker.deadlines.add(RetryWatch(broker, connection), now + broker.options.retry_interval)


def stop(broker: BrokerState, connection: BrokerConnection) -> None:
    """The connection has ended."""
    if connection.watch is not None:
        broker.deadlines.cancel(connection.watch)
        connection.watch = None
    if connection.identity_watch is not None:
        broker.deadlines.cancel(connection.identity_watch)
        connection.identity_watch = None


def identity(broker: BrokerState, connection: BrokerConnection, now: float) -> None:
    """Look when the identity expires, or a re-authentication has to be finished; that may be sooner or later
    than it was before.
    """
    present = connection.identity_watch
    if present is not None:
        broker.deadlines.cancel(present)
        connection.identity_watch = None
    when = _first(connection.known.expires_at, connection.reauthenticate_until)
    if when:
        connection.identity_watch = IdentityWatch(broker, connection)
        broker.deadlines.add(connection.identity_watch, max(now, when))


def _first(one: float, other: float) -> float:
    """The earlier of two points in time, of which 0 is none."""
    return min(one, other) if one and other else one or other


def expel(
    broker: BrokerState,
    connection: BrokerConnection,
    reason_code: int,
    reason: str,
    why: str,
    now: float,
    server_reference: str | None = None,
) -> None:
    """Disconnect a client that was let in, with this Reason String; ``why`` is for hooks and the log."""
    if connection.state == AUTHENTICATING:  # its CONNACK waits for the disk
        telling.refused(broker, connection, reason_code, why)
        connection.refuse_connect(reason_code, reason, server_reference, now)
    else:
        connection.send_disconnect(reason_code, reason, server_reference)
        connection.end(reason_code, why, now)


@final
class IdentityWatch(Deadline):
    """The end of the time for which a client was known to be who it is, or in which it had to show that anew
    [MQTT-4.12.1-2]; its will is published.
    """

    def __init__(self, broker: BrokerState, connection: BrokerConnection) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.connection: BrokerConnection = connection

    def fire(self, now: float) -> float:
        connection = self.connection
        connection.identity_watch = None
        why, reason_code = EXPIRED, NOT_AUTHORIZED
        expires_at, until = connection.known.expires_at, connection.reauthenticate_until
        if until and _first(expires_at, until) == until:
            why = UNFINISHED
            if connection.paused:  # it has said all that it was asked for
                reason_code = SERVER_BUSY
        expel(self.broker, connection, reason_code, why, why, now)
        return 0.0

    def failed(self, error: Exception, now: float) -> float:
        self.broker.faults.end_soon(self.connection, IMPLEMENTATION_SPECIFIC_ERROR, WHY)
        return 0.0


@final
class ConnectionWatch(Deadline):
    """Connect timeout, then Keep Alive [MQTT-3.1.2-22], of one connection."""

    def __init__(self, broker: BrokerState, connection: BrokerConnection) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.connection: BrokerConnection = connection

    def fire(self, now: float) -> float:
        connection = self.connection
        if connection.state == CONNECTED and connection.keep_alive:
            if connection.paused:  # it is not read from meanwhile: the silence is ours
                return now + connection.keep_alive
            limit = connection.received_at + connection.keep_alive
            if now < limit:
                return limit
        connection.watch = None
        if connection.state == AUTHENTICATING and connection.paused:
            why = "the login was not finished in time"
            telling.refused(self.broker, connection, SERVER_BUSY, why)
            connection.refuse_connect(SERVER_BUSY, why, None, now)
            return 0.0
        if connection.state != CONNECTED:
            why = "no complete CONNECT in time"
            telling.refused(self.broker, connection, UNSPECIFIED_ERROR, why)
            connection.end(UNSPECIFIED_ERROR, why, now)
            return 0.0
        if not connection.keep_alive:
            return 0.0
        why = f"no packet for {connection.keep_alive:g} seconds, 1.5 times the Keep Alive [MQTT-3.1.2-22]"
        connection.send_disconnect(KEEP_ALIVE_TIMEOUT, why, None)
        connection.end(KEEP_ALIVE_TIMEOUT, why, now)
        return 0.0

    def failed(self, error: Exception, now: float) -> float:
        self.connection.watch = None
        self.broker.faults.end_soon(self.connection, IMPLEMENTATION_SPECIFIC_ERROR, WHY)
        return 0.0


@final
class RetryWatch(Deadline):
    """Timed re-sending to a 3.1 or 3.1.1 client (3.1.1: 4.4); never to a 5.0 one [MQTT-4.4.0-1]."""

    def __init__(self, broker: BrokerState, connection: BrokerConnection) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.connection: BrokerConnection = connection

    def fire(self, now: float) -> float:
        connection = self.connection
        session = connection.server_session
        if connection.state != CONNECTED or session is None or session.connection is not connection:
            return 0.0
        interval = self.broker.options.retry_interval
        if not interval:  # since a while ago
            return 0.0
        oldest = now
        outgoing = session.outgoing
        outgoing.settle()
        for entry in [*outgoing.inflight.values(), *outgoing.releasing.values()]:
            if connection.is_congested:
                break  # it has not even taken what was sent
            if now - entry.sent_at < interval:
                oldest = min(oldest, entry.sent_at)
            elif entry.packet_id in outgoing.releasing:
                entry.sent_at = now
                connection.answer(b"\x62\x02" + encode_two(entry.packet_id), connection.journal_length())
            elif entry.on_wire:
                entry.sent_at = now
                send_entry(self.broker, connection, entry, True, now, 0)
        return oldest + interval

    def failed(self, error: Exception, now: float) -> float:
        self.broker.faults.end_soon(self.connection, IMPLEMENTATION_SPECIFIC_ERROR, WHY)
        return 0.0
