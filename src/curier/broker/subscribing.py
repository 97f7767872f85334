"""SUBSCRIBE and UNSUBSCRIBE (3.8.4, 3.10.4)."""

from __future__ import annotations

from collections import deque
from typing import Final

from curier.broker import permissions, shapes, shares, telling
from curier.broker.attaching import attach, detach
from curier.broker.effects import SUBSCRIBE_ACTION
from curier.broker.model import (
    NO_SENDS,
    BrokerConnection,
    Member,
    RetainedSend,
    ServerSession,
)
from curier.broker.state import BrokerState
from curier.codec.constants import (
    MQTT_50,
    NO_SUBSCRIPTION_EXISTED,
    PACKET_TOO_LARGE,
    QUOTA_EXCEEDED,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    SUBACK,
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
    TOPIC_FILTER_INVALID,
    UNSPECIFIED_ERROR,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
)
from curier.codec.encode import encode
from curier.codec.packets import Suback, Subscribe, Unsuback, Unsubscribe
from curier.codec.properties import Properties
from curier.codec.reasons import sendable
from curier.codec.subscribe import PlainSubscribe, plain_suback
from curier.errors import RemoteProtocolError
from curier.session.records import Subscribed, Unsubscribed
from curier.topics.filters import check_topic_filter, check_wildcards, has_wildcard, is_shared, split_shared
from curier.topics.reserved import why_not_subscribed

BRIDGE_OPTIONS: Final = 0x0C
"""No Local and Retain As Published (3.8.3.1): a bridge before 5.0 cannot ask for them, and means them."""


def plain(broker: BrokerState, packet: Subscribe) -> PlainSubscribe:
    """A decoded SUBSCRIBE as ``subscribe`` takes it."""
    identifier = subscription_identifier(broker, packet.properties)
    filters = [topic_filter.encode() for topic_filter, _ in packet.subscriptions]
    options = [each for _, each in packet.subscriptions]
    return PlainSubscribe(packet.packet_id, filters, options, identifier)


def subscription_identifier(broker: BrokerState, properties: Properties | None) -> int:
    """The Subscription Identifier of a SUBSCRIBE, or 0."""
    if properties is None or not properties.subscription_identifiers:
        return 0
    if not broker.options.subscription_identifiers_available:
        raise RemoteProtocolError(
            SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
            "Subscription Identifiers are not supported here (3.2.2.3.12)",
        )
    return properties.subscription_identifiers[0]


def check_count(broker: BrokerState, count: int) -> None:
    """Refuse a packet with too many filters; the client cannot know how many, so this is no rule of MQTT."""
    most = broker.options.max_filters_per_packet
    if count > most:
        why = f"more than the {most} Topic Filters that a packet may have here"
        raise RemoteProtocolError(QUOTA_EXCEEDED, why)


def ask(broker: BrokerState, connection: BrokerConnection, topic_filter: bytes, options: int) -> int:
    """The verdict on a subscription, or ``UNDECIDED`` after asking. What is refused anyway is not asked."""
    limits = broker.options
    if check_topic_filter(topic_filter, limits.max_topic_levels, limits.max_topic_length):
        return 0
    return permissions.verdict(broker, connection, SUBSCRIBE_ACTION, topic_filter, options & 3, False)


def subscribe(broker: BrokerState, connection: BrokerConnection, packet: PlainSubscribe, now: float) -> bool:
    """Make the subscriptions of one SUBSCRIBE and answer with one SUBACK [MQTT-3.8.4-5].

    False where a permission must be asked for first: nothing has happened yet.
    """
    session = connection.server_session
    assert session is not None
    check_count(broker, len(packet.filters))
    mount = connection.mount
    if mount is not None:
        packet.filters = [mount.filter(topic_filter) for topic_filter in packet.filters]
    verdicts: list[int] = []
    if connection.has_permissions:
        for index, topic_filter in enumerate(packet.filters):
            verdicts.append(ask(broker, connection, topic_filter, packet.options[index]))
        if connection.paused:
            return False

    before = connection.journal_length()
    reason_codes: list[int] = []
    why = ""
    for index, topic_filter in enumerate(packet.filters):
        verdict = verdicts[index] if verdicts else 0
        reason_code, text = subscribe_to(
            broker, connection, session, topic_filter, packet.options[index], packet.identifier, verdict
        )
        reason_codes.append(reason_code)
        why = text or why
    connection.answer(encode_suback(connection, packet.packet_id, reason_codes, why), before)
    if session.retained_sends:
        connection.pump(now)
    return True


def subscribe_to(
    broker: BrokerState,
    connection: BrokerConnection,
    session: ServerSession,
    topic_filter: bytes,
    options: int,
    identifier: int,
    verdict: int,
) -> tuple[int, str]:
    """Make one subscription: its Reason Code, and plain words where that is 0x80 or more."""
    if connection.is_bridge:
        options |= BRIDGE_OPTIONS
    reason_code, why = _check(broker, connection, session, topic_filter, verdict)
    if reason_code >= 0x80:
        if reason_code == verdict:  # for the log
            permissions.why_not(broker, connection, SUBSCRIBE_ACTION, topic_filter, options & 3, False)
        reason_code = sendable(SUBACK, reason_code)
        broker.statistics.refused += 1
    else:
        reason_code = min(options & 3, broker.options.maximum_qos)
        _add(broker, session, topic_filter, options, reason_code, identifier)
    telling.subscribed(broker, connection, topic_filter, reason_code)
    return reason_code, why


def encode_suback(connection: BrokerConnection, packet_id: int, reason_codes: list[int], why: str) -> bytes:
    """The SUBACK for a SUBSCRIBE whose filters had these Reason Codes, in order."""
    if connection.version != MQTT_50:  # one code for every failure [3.1.1: MQTT-3.9.3-2]
        reason_codes = [code if code < 0x80 else UNSPECIFIED_ERROR for code in reason_codes]
    if why or connection.peer_max_packet_size:
        return _encode_within(connection, Suback(packet_id, reason_codes, connection.problem(why)))
    return plain_suback(packet_id, reason_codes, connection.version)


def _check(
    broker: BrokerState,
    connection: BrokerConnection,
    session: ServerSession,
    topic_filter: bytes,
    verdict: int,
) -> tuple[int, str]:
    """Reason Code of 0x80 or more and plain words for a subscription that cannot be, or (0, "")."""
    limits = broker.options
    why = check_topic_filter(topic_filter, limits.max_topic_levels, limits.max_topic_length)
    if not why:
        why = check_wildcards(topic_filter, limits.max_wildcard_levels)
    if not why:
        why = why_not_subscribed(split_shared(topic_filter)[1] if is_shared(topic_filter) else topic_filter)
    if not why and connection.mount is not None:
        why = connection.mount.why_not_subscribed(topic_filter)
    if why:
        return TOPIC_FILTER_INVALID, why
    if not limits.shared_subscription_available and is_shared(topic_filter):
        return _not_available(
            connection, SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, "Shared Subscriptions are not supported here"
        )
    if not limits.wildcard_subscription_available and has_wildcard(topic_filter):
        return _not_available(
            connection, WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED, "Wildcard Subscriptions are not supported here"
        )
    most = limits.max_subscriptions
    if topic_filter not in session.subscriptions:
        if len(session.subscriptions) >= most:
            return QUOTA_EXCEEDED, f"a session may have {most} subscriptions"
        if session.filter_bytes + len(topic_filter) > limits.max_subscription_bytes:
            why = f"the Topic Filters of a session may have {limits.max_subscription_bytes} bytes together"
            return QUOTA_EXCEEDED, why
        why = shares.why_no_subscription(broker, session.source)
        if why:
            return QUOTA_EXCEEDED, why
    why = shapes.why_not(session, topic_filter, limits.max_wildcard_shapes)
    if why:
        return QUOTA_EXCEEDED, why
    if session.retained_sends and len(session.retained_sends) >= most:  # again and again, unsent
        return QUOTA_EXCEEDED, "too many subscriptions wait for their retained messages"
    if verdict >= 0x80:
        return verdict, "not authorized to subscribe to this Topic Filter"
    return 0, ""


def _not_available(connection: BrokerConnection, reason_code: int, why: str) -> tuple[int, str]:
    """CONNACK has told a 5.0 client that this is not available: asking for it is a Protocol Error
    (3.2.2.3).
    """
    if connection.version == MQTT_50:
        raise RemoteProtocolError(reason_code, why)
    return reason_code, why


def _add(
    broker: BrokerState, session: ServerSession, topic_filter: bytes, options: int, qos: int, identifier: int
) -> None:
    """Make or replace one subscription [MQTT-3.8.4-3], and have retained messages sent as it asks."""
    known = len(session.subscriptions)
    subscription = attach(broker, session, topic_filter, options, qos, identifier)
    if session.journal is not None:
        session.journal.add(Subscribed(session.number, topic_filter, (options & ~3) | qos, identifier))
    handling = (options >> 4) & 3
    is_new = len(session.subscriptions) != known
    if not isinstance(subscription, Member) and (
        handling == 0 or (handling == 1 and is_new)
    ):  # [MQTT-3.3.1-9 to -11]
        if broker.retained.may_match(topic_filter):
            if session.retained_sends is NO_SENDS:
                session.retained_sends = deque()
            walk = broker.retained.walk(topic_filter)
            session.retained_sends.append(RetainedSend(topic_filter, walk, subscription))


def unsubscribe(broker: BrokerState, connection: BrokerConnection, packet: Unsubscribe, now: float) -> None:
    """Remove subscriptions and answer [MQTT-3.10.4-4]; messages on their way still arrive [MQTT-3.10.4-3]."""
    session = connection.server_session
    assert session is not None
    connection.steps += len(packet.topic_filters)  # each is about as much as two small packets
    check_count(broker, len(packet.topic_filters))
    before = connection.journal_length()
    filters = [text.encode() for text in packet.topic_filters]
    mount = connection.mount
    if mount is not None:
        filters = [mount.filter(topic_filter) for topic_filter in filters]
    reason_codes = [unsubscribe_from(broker, connection, session, topic_filter) for topic_filter in filters]
    forget_sends(session, filters)
    connection.answer(encode_unsuback(connection, packet.packet_id, reason_codes), before)


def unsubscribe_from(
    broker: BrokerState, connection: BrokerConnection, session: ServerSession, topic_filter: bytes
) -> int:
    """Remove one subscription, if there is one: the Reason Code. ``forget_sends`` is to follow."""
    subscription = session.subscriptions.pop(topic_filter, None)
    if subscription is None:
        return NO_SUBSCRIPTION_EXISTED
    detach(broker, session, topic_filter, subscription)
    if session.journal is not None:
        session.journal.add(Unsubscribed(session.number, topic_filter))
    telling.unsubscribed(broker, connection, topic_filter)
    return 0


def forget_sends(session: ServerSession, filters: list[bytes]) -> None:
    """Send no more retained messages for these filters [MQTT-3.10.4-2]."""
    if session.retained_sends:
        gone = set(filters)
        session.retained_sends = deque(
            [send for send in session.retained_sends if send.topic_filter not in gone]
        )


def encode_unsuback(connection: BrokerConnection, packet_id: int, reason_codes: list[int]) -> bytes:
    """The UNSUBACK for an UNSUBSCRIBE whose filters had these Reason Codes, in order."""
    if connection.version != MQTT_50:
        reason_codes = []
    return _encode_within(connection, Unsuback(packet_id, reason_codes, None))


def _encode_within(connection: BrokerConnection, packet: Suback | Unsuback) -> bytes:
    """Encode, without its Reason String where that makes it larger than the client takes [MQTT-3.9.2-1].

    Raises ``RemoteProtocolError`` where it is too large all the same: the client could wait for ever.
    """
    data = encode(packet, connection.version)
    if not connection.fits(data) and packet.properties is not None:
        packet.properties = None
        data = encode(packet, connection.version)
    if not connection.fits(data):
        why = "the answer is larger than the client's Maximum Packet Size"
        raise RemoteProtocolError(PACKET_TOO_LARGE, why, "MQTT-3.1.2-24")
    return data
