"""Messages on their way in: from clients, wills, and the broker itself (3.3.4, 3.1.2.5)."""

from __future__ import annotations

from typing import Final

from curier.broker import permissions, retaining, spreading, telling
from curier.broker.delivery import deliver, who_would_lose
from curier.broker.effects import PUBLISH_ACTION, UNDECIDED
from curier.broker.hooks import HOOK_FAILED
from curier.broker.judging import Who
from curier.broker.model import BrokerConnection, Route, ServerSession
from curier.broker.options import REFUSE
from curier.broker.outbound import tell
from curier.broker.queueing import NOBODY_HAS_ROOM
from curier.broker.stalling import stall
from curier.broker.state import BrokerState
from curier.codec.constants import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    MQTT_50,
    NO_MATCHING_SUBSCRIBERS,
    NOT_AUTHORIZED,
    PAYLOAD_FORMAT_INVALID,
    QUOTA_EXCEEDED,
    TOPIC_NAME_INVALID,
)
from curier.codec.publish import IncomingPublish
from curier.protocol.server import PAUSED
from curier.session.message import NEVER, ApplicationMessage
from curier.session.records import Logged, WillRemoved
from curier.topics.filters import check_topic_name
from curier.topics.reserved import is_told_by_server, why_not_published

WORK_OF_MESSAGE: Final = 2  # besides what its receivers take


def accept(broker: BrokerState, connection: BrokerConnection, publish: IncomingPublish, now: float) -> int:
    """Take ownership of a client's message, or refuse it (3.3.4, 4.5): the Reason Code, or ``PAUSED``."""
    spread = connection.spread
    if spread is not None:  # it is taken, and was given to all its receivers
        connection.spread = None
        return _given(connection, spread.route, spread.lost is None, publish.retain)
    records_before = connection.journal_length() if broker.journal is not None else 0
    if connection.mount is not None:
        why = connection.mount.enter(publish)
        if why:
            return _refuse(broker, connection, publish, TOPIC_NAME_INVALID, why)
    topic = publish.topic
    why = check_topic_name(topic, broker.options.max_topic_levels, broker.options.max_topic_length)
    if why:
        return _refuse(broker, connection, publish, TOPIC_NAME_INVALID, why)
    why = why_not_published(topic)  # 4.7.2: not for clients to exchange messages
    if why:
        return _refuse(broker, connection, publish, NOT_AUTHORIZED, why)
    if connection.has_permissions:
        verdict = permissions.verdict(broker, connection, PUBLISH_ACTION, topic, publish.qos, publish.retain)
        if verdict == UNDECIDED:
            return PAUSED
        if verdict >= 0x80:
            connection.why = "not authorized to publish to this topic"
            why = permissions.why_not(broker, connection, PUBLISH_ACTION, topic, publish.qos, publish.retain)
            telling.not_taken(broker, connection, topic, publish.packet_id, verdict, why)
            return verdict
    # A message that takes less than half of a turn's work has time in the first half; a larger one is split.
    if broker.spent * 2 > broker.work_per_turn or broker.router.held or not broker.may_split:
        if not spreading.may_begin(broker, connection, topic, publish.qos):
            return PAUSED
    return _take(broker, connection, publish, records_before, now)


def _take(
    broker: BrokerState,
    connection: BrokerConnection,
    publish: IncomingPublish,
    records_before: int,
    now: float,
) -> int:
    """Take a message on a topic that its client may publish to, now that there is time for it."""
    topic = publish.topic
    if publish.is_text and broker.options.check_payload_format and not _is_text(publish.payload):
        why = "the payload is not the UTF-8 it claims to be"
        return _refuse(broker, connection, publish, PAYLOAD_FORMAT_INVALID, why)
    expires_at = now + publish.expiry_interval if publish.expiry_interval >= 0 else NEVER
    message = ApplicationMessage(
        topic, publish.payload, publish.qos, publish.retain, publish.properties, expires_at
    )
    if broker.store_trouble and publish.qos and _must_be_durable(broker, connection, publish):
        return _refuse(broker, connection, publish, IMPLEMENTATION_SPECIFIC_ERROR, broker.store_trouble)
    if publish.qos and broker.options.when_full == REFUSE:
        loser = who_would_lose(broker, broker.router.route(topic), message, connection.server_session, now)
        if loser is not None:
            why = "the queue of a receiver is full, and no message for it is dropped here"
            if connection.version == MQTT_50:
                return _refuse(broker, connection, publish, QUOTA_EXCEEDED, why)
            stall(broker, connection, loser, message.size(), now)
            return PAUSED
    reason_code = _ask_hooks(broker, connection, publish, message)
    if reason_code:
        return reason_code
    is_retained = publish.retain and (publish.qos > 0 or not connection.disk_is_behind())
    if broker.is_clustered and (publish.qos or is_retained):
        return _log(broker, connection, publish, message, now)
    if is_retained:
        why = retaining.retain(broker, message, connection.server_session, now)
        if why:
            return _refuse(broker, connection, publish, QUOTA_EXCEEDED, why)
    route = broker.router.route(topic)
    if broker.hooks.witness is not None:
        telling.arrived(broker, connection, message, publish.packet_id, is_retained, not route.is_empty)
    if broker.is_clustered:
        tell(broker, connection.client_id, connection.version, message, now)
    if connection.has_permissions:
        if connection.generation != broker.router.cache.generation:
            permissions.forget_routes(broker, connection)
        permissions.remember_route(connection, publish.qos, publish.retain, route)
    broker.spent += WORK_OF_MESSAGE
    spreading.count_routes(broker)
    if spreading.work_of(route, publish.qos) > broker.work_per_turn - broker.spent and spreading.may_split(
        broker
    ):
        packet_id = publish.packet_id if publish.qos == 2 else 0
        spread = spreading.begin(broker, connection, route, message, records_before, packet_id, now)
        if not spread.is_done:
            return PAUSED
        is_kept = spread.lost is None
    else:
        is_kept = deliver(broker, route, message, connection.server_session, now)
    return _given(connection, route, is_kept, publish.retain)


def _ask_hooks(
    broker: BrokerState, connection: BrokerConnection, publish: IncomingPublish, message: ApplicationMessage
) -> int:
    """The Reason Code with which a hook refuses a message, or 0."""
    reason_code = telling.published(broker, connection, message)
    if reason_code == HOOK_FAILED:
        # It would fail again: a 3.x client, which can be told nothing, must not come with it for ever.
        reason_code = IMPLEMENTATION_SPECIFIC_ERROR if connection.version == MQTT_50 else NOT_AUTHORIZED
        return _refuse(broker, connection, publish, reason_code, "a hook has failed")
    if reason_code >= 0x80:
        return _refuse(broker, connection, publish, reason_code, "refused by a hook")
    return 0


def _log(
    broker: BrokerState,
    connection: BrokerConnection,
    publish: IncomingPublish,
    message: ApplicationMessage,
    now: float,
) -> int:
    """Have a message written to the log of the cluster, where the nodes of its receivers read it. It is
    acknowledged when it stands there, so nobody knows yet who they are.
    """
    session = connection.server_session
    journal = broker.journal
    assert session is not None
    assert journal is not None
    if publish.retain:
        why = retaining.why_no_room(broker, message, session, now)
        if why:
            return _refuse(broker, connection, publish, QUOTA_EXCEEDED, why)
        message.written_at = now
    if broker.hooks.witness is not None:
        telling.arrived(broker, connection, message, publish.packet_id, publish.retain, True)
    packet_id = publish.packet_id if publish.qos == 2 else 0
    journal.add_logged(Logged(session.number, packet_id, message, False))
    broker.spent += WORK_OF_MESSAGE
    return 0


def _given(connection: BrokerConnection, route: Route, is_kept: bool, is_retained: bool) -> int:
    """The Reason Code for a message that was given to its receivers."""
    if not is_kept and not is_retained and connection.version == MQTT_50:
        connection.why = NOBODY_HAS_ROOM
        return QUOTA_EXCEEDED
    return NO_MATCHING_SUBSCRIBERS if route.is_empty and connection.version == MQTT_50 else 0


def _refuse(
    broker: BrokerState, connection: BrokerConnection, publish: IncomingPublish, reason_code: int, why: str
) -> int:
    connection.why = why
    telling.not_taken(broker, connection, publish.topic, publish.packet_id, reason_code, why)
    return reason_code


def _must_be_durable(broker: BrokerState, connection: BrokerConnection, publish: IncomingPublish) -> bool:
    """Would the acknowledgement of this message promise something that has to be on disk?"""
    if publish.retain or broker.router.route(publish.topic).is_durable:
        return True
    session = connection.session
    return publish.qos == 2 and session is not None and session.journal is not None


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def publish(
    broker: BrokerState, message: ApplicationMessage, sender: ServerSession | None, now: float
) -> str:
    """Publish ``message`` as the broker, or as the will of ``sender``; plain words where that cannot be.

    It is retained now. Its receivers get it now or, where there is no time left, in one of the next turns.
    """
    why = check_topic_name(message.topic, broker.options.max_topic_levels, broker.options.max_topic_length)
    if broker.is_clustered and not why and not is_told_by_server(message.topic):
        if message.qos or message.retain:
            return _log_own(broker, message, sender, now)
        name, version = (sender.client_id, sender.version) if sender is not None else ("", MQTT_50)
        tell(broker, name, version, message, now)
    if not why and message.retain:
        why = retaining.retain(broker, message, sender, now)
    if why:
        return why
    route = broker.router.route(message.topic)
    if broker.hooks.witness is not None:
        telling.arrived(broker, None, message, 0, message.retain, not route.is_empty)
    spreading.give(broker, route, message, sender, now)
    return ""


def _log_own(
    broker: BrokerState, message: ApplicationMessage, sender: ServerSession | None, now: float
) -> str:
    """Have the log of the cluster take a message of the broker, or the will of ``sender``."""
    if message.retain:
        why = retaining.why_no_room(broker, message, sender, now)
        if why:
            return why
        message.written_at = now
    journal = broker.journal
    assert journal is not None
    number = sender.number if sender is not None else 0
    journal.add_logged(Logged(number, 0, message, sender is not None))
    return ""


def publish_will(broker: BrokerState, session: ServerSession, now: float) -> None:
    """Publish the Will Message of ``session`` and forget it [MQTT-3.1.2-8] [MQTT-3.1.2-10]."""
    will = session.will
    session.will = None
    session.will_due_at = 0.0
    if will is None:
        return
    if session.journal is not None:
        session.journal.add(WillRemoved(session.number))
    expires_at = now + session.will_expiry if session.will_expiry >= 0 else NEVER
    message = ApplicationMessage(will.topic, will.payload, will.qos, will.retain, will.properties, expires_at)
    judge = broker.router.judge
    rights = session.rights_by(judge)
    if rights is None and judge is not None:  # older than the broker; its groups and claims are not known
        rights = judge.rights(Who(session.user or None, session.client_id))
        if rights.refuses_wills:  # it was asked about at CONNECT
            rights = None
    if rights is not None and not rights.may_publish(message.topic, message.qos, message.retain):
        telling.dropped(
            broker, session, message, f"the will of a client that may not publish it: {rights.why}"
        )
        return
    if telling.published(broker, None, message) != 0:
        return
    try:
        publish(broker, message, session, now)
    except Exception as error:
        broker.faults.note(f"the will of {session.client_id!r} cannot be published", error)
