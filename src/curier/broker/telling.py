"""What happens, counted and told to the hooks that want to hear of it: all events but packets.

A hook that fails here costs its client the connection where the event is about a client that is there to
answer for it, and nobody anything where it is not.
"""

from __future__ import annotations

from typing import Final

from curier.broker.model import BrokerConnection, ServerSession, SharedGroup
from curier.broker.state import BrokerState
from curier.broker.witness import (
    DELIVERED,
    DENIED,
    DROPPED,
    EXPIRED,
    NOBODY,
    NOT_FOR,
    PUBLISHED,
    QUEUED,
    REFUSED,
    RETAINED,
    SESSION_ENDED,
)
from curier.codec.constants import NOT_AUTHORIZED, PACKET_IDENTIFIER_NOT_FOUND
from curier.errors import ProtocolError
from curier.session.message import ApplicationMessage
from curier.types import reason_name

MOST_KEPT_FROM: Final = 1000  # receivers of one message, of whom it is told that rules deny it to them

WITHOUT_DISCONNECT: Final = "the client closed the connection without DISCONNECT"
AWAY: Final = "its client is away, and QoS 0 waits for nobody"
NO_LOCAL: Final = "its own message, and it subscribes with No Local"


def connected(broker: BrokerState, connection: BrokerConnection, is_present: bool) -> None:
    """The CONNACK of ``connection`` is on its way."""
    hooks = broker.hooks.connect
    if hooks is not None:
        broker.hooks.tell(hooks, connection, (connection, is_present))


def refused(broker: BrokerState, connection: BrokerConnection, reason_code: int, why: str) -> None:
    """Something was refused within the rules."""
    broker.statistics.refused += 1
    _tell_refusal(broker, connection, reason_code, why)


def not_taken(
    broker: BrokerState, connection: BrokerConnection, topic: bytes, packet_id: int, code: int, why: str
) -> None:
    """A client's PUBLISH was refused."""
    refused(broker, connection, code, why)
    hooks = broker.hooks.refuse_publish
    if hooks is not None:
        broker.hooks.tell(hooks, None, (connection, topic, packet_id, code, why))
    witness = broker.hooks.witness
    if witness is not None:
        kind = DENIED if code == NOT_AUTHORIZED else REFUSED
        try:
            witness.refused(connection, kind, topic, packet_id, why)
        except Exception as error:
            broker.hooks.no_more(error)


def broke_rule(broker: BrokerState, connection: BrokerConnection, error: ProtocolError) -> None:
    """A client is disconnected for breaking a rule."""
    broker.statistics.protocol_errors += 1
    _tell_refusal(broker, connection, error.reason_code, str(error))


def _tell_refusal(broker: BrokerState, connection: BrokerConnection, reason_code: int, why: str) -> None:
    hooks = broker.hooks.refuse
    if hooks is not None:
        broker.hooks.tell(hooks, None, (connection, reason_code, why))


def disconnected(broker: BrokerState, connection: BrokerConnection, reason_code: int, why: str) -> None:
    """A client that was connected is no more."""
    hooks = broker.hooks.disconnect
    if hooks is not None:
        broker.hooks.tell(hooks, None, (connection, reason_code, why))


def slowed(broker: BrokerState, connection: BrokerConnection, why: str) -> None:
    """A rate slows a client, to which it was not told lately."""
    broker.statistics.slowed += 1
    hooks = broker.hooks.slow
    if hooks is not None:
        broker.hooks.tell(hooks, None, (connection, why))


def session_ended(broker: BrokerState, session: ServerSession, why: str) -> None:
    """A Session is gone."""
    broker.hooks.witnessed(SESSION_ENDED, session.client_id, session.connection, None, why)
    hooks = broker.hooks.session_end
    if hooks is not None:
        broker.hooks.tell(hooks, None, (session.client_id, why))


def subscribed(
    broker: BrokerState, connection: BrokerConnection, topic_filter: bytes, reason_code: int
) -> None:
    """A subscription was granted, or refused."""
    hooks = broker.hooks.subscribe
    if hooks is not None:
        broker.hooks.tell(hooks, connection, (connection, topic_filter, reason_code))


def unsubscribed(broker: BrokerState, connection: BrokerConnection, topic_filter: bytes) -> None:
    """A subscription was removed by its client."""
    hooks = broker.hooks.unsubscribe
    if hooks is not None:
        broker.hooks.tell(hooks, connection, (connection, topic_filter))


def revoked(broker: BrokerState, session: ServerSession, topic_filter: bytes, why: str) -> None:
    """A subscription has ended because rules have changed; ``why`` names the rule."""
    hooks = broker.hooks.revoke
    if hooks is not None:
        broker.hooks.tell(hooks, None, (session.client_id, topic_filter, why))


def published(broker: BrokerState, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
    """A client wants to publish, or its will is due (None): the first refusal by a hook, 0, or
    ``HOOK_FAILED``.
    """
    hooks = broker.hooks.publish
    return broker.hooks.ask(hooks, connection, message) if hooks is not None else 0


def delivered(
    broker: BrokerState, connection: BrokerConnection, message: ApplicationMessage, reason_code: int
) -> None:
    """A client acknowledged, or refused, a QoS 1 or 2 message."""
    if broker.hooks.witness is not None:
        # 0x92 comes in PUBCOMP alone: the client took it by its PUBREC, and knows no more of it (3.7.2.1).
        is_refused = reason_code >= 0x80 and reason_code != PACKET_IDENTIFIER_NOT_FOUND
        kind = DROPPED if is_refused else DELIVERED
        why = f"its client refused it: {reason_name(reason_code)}" if is_refused else ""
        broker.hooks.witnessed(kind, connection.client_id, connection, message, why)
    hooks = broker.hooks.delivered
    if hooks is not None:
        broker.hooks.tell(hooks, None, (connection.client_id, message, reason_code))


def dropped(broker: BrokerState, session: ServerSession, message: ApplicationMessage, why: str) -> None:
    """A message for ``session`` will not arrive; ``why`` says so to hooks and logs."""
    broker.statistics.dropped += 1
    broker.hooks.witnessed(DROPPED, session.client_id, session.connection, message, why)
    _tell_drop(broker, session.client_id, message, why)


def expired(broker: BrokerState, session: ServerSession, message: ApplicationMessage) -> None:
    """A message for ``session`` has waited too long [MQTT-3.3.2-5]."""
    broker.statistics.expired_messages += 1
    why = "its Message Expiry Interval has passed"
    broker.hooks.witnessed(EXPIRED, session.client_id, session.connection, message, why)
    _tell_drop(broker, session.client_id, message, why)


def dropped_shared(broker: BrokerState, group: SharedGroup, message: ApplicationMessage) -> None:
    """A message for a Shared Subscription will not arrive."""
    broker.statistics.dropped += 1
    client_id, why = group.topic_filter.decode(), "no member of the Shared Subscription can take it"
    broker.hooks.witnessed(DROPPED, client_id, None, message, why)
    _tell_drop(broker, client_id, message, why)


def _tell_drop(broker: BrokerState, client_id: str, message: ApplicationMessage, why: str) -> None:
    hooks = broker.hooks.drop
    if hooks is not None:
        broker.hooks.tell(hooks, None, (client_id, message, why))


# ---- for who looks on, and nobody else (``witness``): called where somebody does ----


def opened(broker: BrokerState, connection: BrokerConnection) -> None:
    """A Network Connection begins."""
    witness = broker.hooks.witness
    if witness is not None:
        try:
            witness.opened(connection)
        except Exception as error:
            broker.hooks.no_more(error)


def closed(broker: BrokerState, connection: BrokerConnection, why: str) -> None:
    """A Network Connection has ended."""
    witness = broker.hooks.witness
    if witness is not None:
        by = "client" if connection.has_left else "network" if why == WITHOUT_DISCONNECT else "server"
        try:
            witness.closed(connection, by, why)
        except Exception as error:
            broker.hooks.no_more(error)


def arrived(
    broker: BrokerState,
    connection: BrokerConnection | None,
    message: ApplicationMessage,
    packet_id: int,
    is_retained: bool,
    has_receivers: bool,
) -> None:
    """A message was taken, and goes to its receivers next."""
    hooks = broker.hooks
    witness = hooks.witness
    if witness is None:
        return
    try:
        witness.arrived(connection, message, packet_id)
    except Exception as error:
        hooks.no_more(error)
    client_id = connection.client_id if connection is not None else ""
    hooks.witnessed(PUBLISHED, client_id, connection, message, "")
    if is_retained and message.payload:
        hooks.witnessed(RETAINED, client_id, connection, message, "")
    if not has_receivers:
        hooks.witnessed(NOBODY, "", connection, message, "no subscription matches its topic")
    if broker.router.is_seen(message.topic):
        for session in broker.router.kept_from(message.topic, MOST_KEPT_FROM):
            rule = session.rights.why if session.rights is not None else ""
            why = f"its client may not receive it{f': {rule}' if rule else ''}"
            hooks.witnessed(DENIED, session.client_id, session.connection, message, why)


def meets(broker: BrokerState, connection: BrokerConnection, packet: bytes) -> bool:
    """Is this PUBLISH, of a client that is not seen yet, on one of the topics that are?"""
    witness = broker.router.witness
    if witness is not None and broker.hooks.witness is witness:
        try:
            return witness.meets(connection, packet)
        except Exception as error:
            broker.hooks.no_more(error)
    return False


def stored(broker: BrokerState, connection: BrokerConnection, batch: int) -> None:
    """Batch ``batch`` is durable: what this connection has held for it goes next."""
    witness = broker.hooks.witness
    if witness is not None:
        try:
            for item in connection.held:
                if item.batch > batch:
                    break
                for packet in item.packets():
                    witness.stored(connection, packet)
        except Exception as error:
            broker.hooks.no_more(error)


def sending(
    broker: BrokerState, connection: BrokerConnection, message: ApplicationMessage, qos: int, packet_id: int
) -> bool:
    """A message is about to be sent. True: its client is seen from now on."""
    witness = broker.hooks.witness
    if witness is not None:
        try:
            return witness.sending(connection, message, qos, packet_id)
        except Exception as error:
            broker.hooks.no_more(error)
    return False


def queued(broker: BrokerState, session: ServerSession, message: ApplicationMessage) -> None:
    """A message waits in a session, and what for."""
    connection = session.connection
    if connection is None:
        why = "its client is away"
    elif connection.is_congested:
        why = "its client takes too slowly what it is sent"
    elif not session.outgoing.has_room():
        why = "as much is unacknowledged as may be (Receive Maximum)"
    else:
        why = "others wait before it"
    broker.hooks.witnessed(QUEUED, session.client_id, connection, message, why)


def away(broker: BrokerState, session: ServerSession, message: ApplicationMessage) -> None:
    """A QoS 0 message has a receiver that is not there: it is not dropped, since nobody promised it."""
    broker.hooks.witnessed(DROPPED, session.client_id, None, message, AWAY)


def not_for_itself(broker: BrokerState, session: ServerSession, message: ApplicationMessage) -> None:
    """A client does not get its own message [MQTT-3.8.3-3]."""
    broker.hooks.witnessed(NOT_FOR, session.client_id, session.connection, message, NO_LOCAL)
