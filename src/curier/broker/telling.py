"""What happens, counted and told to the hooks that want to hear of it: all events but packets.

A hook that fails here costs its client the connection where the event is about a client that is there to
answer for it, and nobody anything where it is not.
"""

from __future__ import annotations

from curier.broker.model import BrokerConnection, ServerSession, SharedGroup
from curier.broker.state import BrokerState
from curier.errors import ProtocolError
from curier.session.message import ApplicationMessage


def connected(broker: BrokerState, connection: BrokerConnection, is_present: bool) -> None:
    """The CONNACK of ``connection`` is on its way."""
    hooks = broker.hooks.connect
    if hooks is not None:
        broker.hooks.tell(hooks, connection, (connection, is_present))


def refused(broker: BrokerState, connection: BrokerConnection, reason_code: int, why: str) -> None:
    """Something was refused within the rules."""
    broker.statistics.refused += 1
    _tell_refusal(broker, connection, reason_code, why)


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


def session_ended(broker: BrokerState, session: ServerSession, why: str) -> None:
    """A Session is gone."""
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
    hooks = broker.hooks.delivered
    if hooks is not None:
        broker.hooks.tell(hooks, None, (connection.client_id, message, reason_code))


def dropped(broker: BrokerState, session: ServerSession, message: ApplicationMessage, why: str) -> None:
    """A message for ``session`` will not arrive; ``why`` says so to hooks and logs."""
    broker.statistics.dropped += 1
    _tell_drop(broker, session.client_id, message, why)


def expired(broker: BrokerState, session: ServerSession, message: ApplicationMessage) -> None:
    """A message for ``session`` has waited too long [MQTT-3.3.2-5]."""
    broker.statistics.expired_messages += 1
    _tell_drop(broker, session.client_id, message, "its Message Expiry Interval has passed")


def dropped_shared(broker: BrokerState, group: SharedGroup, message: ApplicationMessage) -> None:
    """A message for a Shared Subscription will not arrive."""
    broker.statistics.dropped += 1
    _tell_drop(
        broker, group.topic_filter.decode(), message, "no member of the Shared Subscription can take it"
    )


def _tell_drop(broker: BrokerState, client_id: str, message: ApplicationMessage, why: str) -> None:
    hooks = broker.hooks.drop
    if hooks is not None:
        broker.hooks.tell(hooks, None, (client_id, message, why))
