"""PUBLISH packets of the fast lane that receivers are not sent as they came, with RETAIN or with Properties,
or whose receivers' sessions are in the journal.

``fast_lane`` knows them by a flag, a length or their route. Each is a message of its own, encoded once for
all receivers of a version that are plain. QoS 0 and 1 only; QoS 2 takes the general way, which means the same
(``tests/broker/test_lanes.py``). What is not finished here is not touched.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from curier.broker import retaining
from curier.broker.answers import puback, refusal, two_bytes
from curier.broker.delivery import deliver_receiver, deliver_shared
from curier.broker.finding import find_route
from curier.broker.layouts import LONGEST_KNOWN, MOST_KNOWN, KnownProperties
from curier.broker.model import MOST_IDENTIFIERS, RETAINED, BrokerConnection, Route, ServerSession
from curier.broker.options import REFUSE
from curier.broker.outbound import tell
from curier.broker.spreading import work_of
from curier.broker.state import BrokerState
from curier.codec.constants import MQTT_50, NO_MATCHING_SUBSCRIBERS, PUBACK, TOPIC_ALIAS
from curier.codec.encode import encode_ack
from curier.codec.primitives import LARGE_PIECE, encode_two
from curier.codec.publish import IncomingPublish, Layout, encode_expiry, parse_properties, publish_layout
from curier.errors import ProtocolError
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Burst

ALIAS_ONLY: Final = 3  # bytes of Properties that are a Topic Alias and nothing else
SPECIAL: Final = 1  # as ``Burst`` has it
AS_RETAINED: Final = 0  # the same, sent with RETAIN
MOST_AROUND: Final = 24  # bytes of a packet besides Topic Name, payload and Properties


def take_special(
    broker: BrokerState,
    connection: BrokerConnection,
    session: ServerSession,
    data: bytes,
    at: i64,
    topic_at: i64,
    topic_end: i64,
    payload_at: i64,
    stop: i64,
    now: float,
) -> bool:
    """Work on the PUBLISH in ``data[at:stop]``, whose payload, but for Properties, is at ``payload_at``.
    False: it is for the general way.
    """
    first: i64 = data[at]
    qos = (first >> 1) & 3
    if first & 0x0C or stop - at > LARGE_PIECE:  # DUP, or QoS 2
        return False
    topic = data[topic_at:topic_end]
    alias: i64 = 0
    properties, expires_at = b"", NEVER
    if connection.version == MQTT_50:
        length: i64 = data[payload_at - 1]
        if length == ALIAS_ONLY and payload_at + ALIAS_ONLY <= stop and data[payload_at] == TOPIC_ALIAS:
            alias = two_bytes(data, payload_at + 1)
            payload_at += ALIAS_ONLY
        elif length:
            known = read_properties(broker, connection, data, payload_at - 1, stop)
            if known is None:
                return False
            payload_at += known.size - 1
            alias = known.alias
            properties, expires_at = known.properties, known.expires_at(now)
        if alias and not topic:
            topic = connection.aliases.get(alias, b"")
        if alias > connection.topic_alias_maximum or (length == ALIAS_ONLY and not alias):
            return False
    packet_id: i64 = two_bytes(data, topic_end) if qos else 0
    if qos and (not packet_id or connection.receive_quota <= 0):
        return False
    route = _route(broker, connection, topic, first)
    if route is None or (route.is_durable and not may_be_kept(broker, qos)):
        return False
    before = connection.journal_length() if broker.journal is not None else -1
    payload = data[payload_at:stop]
    message = ApplicationMessage(route.topic, payload, qos, first & 1 != 0, properties, expires_at)
    if message.retain and not retain_special(broker, connection, session, message, route, now):
        return False
    if alias:
        connection.aliases[alias] = topic
    if broker.is_clustered and session.number:
        tell(broker, session.client_id, connection.version, message, now)
    is_kept = give(broker, session, route, message, now)
    if qos:
        _acknowledge(connection, packet_id, route, is_kept or message.retain, before)
    connection.traffic.packets_received += 1
    connection.traffic.publishes_received += 1
    connection.traffic.publish_bytes_received += len(payload)
    return True


def read_properties(
    broker: BrokerState, connection: BrokerConnection, data: bytes, at: i64, stop: i64
) -> KnownProperties | None:
    """What the Properties at ``at`` say; None for what is wrong with them, which the general way says."""
    most = connection.max_user_properties
    size: i64 = 1 + data[at]
    is_short: bool = size <= 1 + LONGEST_KNOWN and at + size <= stop
    block = data[at : at + size] if is_short else b""
    known = broker.layouts.known.get(block) if is_short else None
    if known is not None and known.most_repeats == most:
        return known
    publish = IncomingPublish(0x30)
    try:
        size = parse_properties(data, at, stop, publish, most) - at
    except ProtocolError:
        return None
    if publish.has_subscription_identifier:
        return None
    known = KnownProperties(publish, block[1:], size, most)
    if is_short:
        if len(broker.layouts.known) >= MOST_KNOWN:
            broker.layouts.known.clear()
        broker.layouts.known[block] = known
    return known


def _route(broker: BrokerState, connection: BrokerConnection, topic: bytes, first: i64) -> Route | None:
    """The route of a message, if it may go there now; ``first`` is the first byte of its packet."""
    qos = (first >> 1) & 3
    route = connection.routes[qos + RETAINED if first & 1 else qos].get(topic)
    if route is None:
        route = find_route(broker, connection, topic)
    elif route.is_fast:
        route.is_used = True
    else:
        return None
    if route is None or broker.spent >= broker.work_per_turn:
        return None
    return route if work_of(route, qos) <= broker.work_per_turn - broker.spent else None


def may_be_kept(broker: BrokerState, qos: i64) -> bool:
    """May a message be taken here that goes to sessions in the journal? Or it is for the general way to say
    why not, or to keep it where nobody promised to.
    """
    options = broker.options
    if not qos:
        return not options.queue_qos0
    return not broker.store_trouble and options.when_full != REFUSE


def retain_special(
    broker: BrokerState,
    connection: BrokerConnection,
    session: ServerSession,
    message: ApplicationMessage,
    route: Route,
    now: float,
) -> bool:
    """Retain a message. False: it may not be, or not just now."""
    if not connection.retain_available:
        return False
    if message.qos:
        if broker.store_trouble:
            return False
    elif connection.disk_is_behind():
        return True
    return not retaining.retain(broker, message, session, now, route)


def give(
    broker: BrokerState, session: ServerSession, route: Route, message: ApplicationMessage, now: float
) -> bool:
    """Give a message to all receivers. False where there were some, and none of them had room."""
    broker.spent += len(route.receivers)
    is_kept: bool = route.is_empty
    qos = message.qos
    size: i64 = message.size()
    old: Layout | None = None  # for 3.1.1
    new: Layout | None = None  # for 5.0
    sent: i64 = 0
    for receiver in route.receivers:
        target = receiver.session
        other = target.connection
        outgoing = target.outgoing
        if (
            not target.lane
            or size + MOST_AROUND + MOST_IDENTIFIERS > target.largest  # perhaps
            or other is None
            or not receiver.is_in_trains
            or (receiver.has_no_local and target is session)  # [MQTT-3.8.3-3]
            or (qos and (not receiver.qos or not outgoing.burst_room(1, size)))
        ):
            if deliver_receiver(broker, route, message, session, now, receiver):
                is_kept = True
            continue
        retain: bool = message.retain and receiver.retain_as_published  # [MQTT-3.3.1-13]
        identifiers = receiver.identifiers
        if retain or identifiers:
            layout = _layout(message, target.lane == MQTT_50, now, retain, identifiers)
        elif target.lane == MQTT_50:
            if new is None:
                new = _layout(message, True, now)
            layout = new
        else:
            if old is None:
                old = _layout(message, False, now)
            layout = old
        output = other.output
        output.append(layout.head)
        if qos:
            packet_id = outgoing.burst_id()
            size_of: i64 = AS_RETAINED if retain else SPECIAL
            outgoing.add_burst(Burst(b"", b"", size_of, 0, packet_id, 1, b"", now, [message], identifiers))
            output.append(encode_two(packet_id))
        output.append(layout.tail)
        if not other.is_dirty:
            other.is_dirty = True
            other.dirty.append(other)
        sent += 1
        is_kept = True
    broker.traffic.count_sent(sent, sent * len(message.payload))
    if route.groups and deliver_shared(broker, route, message, now):
        is_kept = True
    return is_kept


def _layout(
    message: ApplicationMessage, is_50: bool, now: float, retain: bool = False, identifiers: bytes = b""
) -> Layout:
    """A message as it goes to those who are subscribed already: without RETAIN, but for those who ask for it
    [MQTT-3.3.1-12].
    """
    if not is_50:
        return publish_layout(message.topic, message.payload, message.qos, False, retain, None)
    properties = message.properties
    if message.expires_at != NEVER:
        properties = encode_expiry(message.remaining_expiry(now)) + properties
    properties += identifiers
    return publish_layout(message.topic, message.payload, message.qos, False, retain, properties)


def _acknowledge(
    connection: BrokerConnection, packet_id: i64, route: Route, is_taken: bool, before: int
) -> None:
    """PUBACK of a message that somebody has taken, or is retained; or nobody had room for it. ``before``: of
    the journal's records, so many were there; -1: there is no journal.
    """
    answer = puback(packet_id)
    if connection.version == MQTT_50:
        if route.is_empty:
            answer = encode_ack(PUBACK, packet_id, NO_MATCHING_SUBSCRIBERS, None, MQTT_50)
        elif not is_taken:
            answer = refusal(connection, PUBACK, packet_id)
    if before >= 0:
        connection.receive_quota -= 1
        connection.answer(answer, before, 1)
        return
    connection.output.append(answer)
    if not connection.is_dirty:
        connection.is_dirty = True
        connection.dirty.append(connection)
    connection.traffic.packets_sent += 1
