"""From CONNECT to CONNACK, and from the end of a connection to the end of its session (3.1.4, 4.1, 4.12).

CONNECT ─ begin ─▶ (Authenticate) ─ decided ─▶ (Authorize the will) ─ admit ─▶ (Commit) ─ welcome ─▶ CONNACK
                        ▲     │ AUTH, AUTH …
                        └─────┘ exchange
"""

from __future__ import annotations

from typing import Final

from curier.broker import client_ids, connack, keeping, permissions, rejudging, shares, telling, watches
from curier.broker.effects import (
    PUBLISH_ACTION,
    UNDECIDED,
    Answer,
    Authenticate,
    CatchUp,
    Claim,
    Close,
    Question,
)
from curier.broker.entrances import Entrance
from curier.broker.lanes import set_lanes
from curier.broker.model import BrokerConnection, ServerSession
from curier.broker.mounting import OTHER_MOUNT, RESPONSE_TOO_LONG
from curier.broker.state import Arrival, BrokerState
from curier.broker.watches import EXPIRED
from curier.codec.constants import (
    BAD_AUTHENTICATION_METHOD,
    CLIENT_IDENTIFIER_NOT_VALID,
    CONTINUE_AUTHENTICATION,
    IMPLEMENTATION_SPECIFIC_ERROR,
    MQTT_31,
    MQTT_50,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    PAYLOAD_FORMAT_INVALID,
    PROTOCOL_ERROR,
    QOS_NOT_SUPPORTED,
    QUOTA_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
    SERVER_BUSY,
    SERVER_UNAVAILABLE,
    SESSION_TAKEN_OVER,
    TOPIC_NAME_INVALID,
)
from curier.codec.encode import encode
from curier.codec.packets import Auth, Connect, Disconnect, Will
from curier.codec.primitives import encode_two
from curier.codec.properties import Properties
from curier.codec.publish import forwarded_properties
from curier.errors import RemoteProtocolError
from curier.protocol.connection import AUTHENTICATING, CLOSED, CONNECTED
from curier.session.message import ApplicationMessage
from curier.topics.filters import check_topic_name
from curier.topics.reserved import why_not_published

WORK_OF_END: Final = 12  # with its socket, and besides what its session takes


def begin(broker: BrokerState, connection: BrokerConnection, packet: Connect, now: float) -> None:
    """A well-formed CONNECT: check what can be checked, then ask who it is."""
    broker.statistics.connects += 1
    reason_code, why = _check(broker, connection, packet)
    if reason_code:
        telling.refused(broker, connection, reason_code, why)
        connection.refuse_connect(reason_code, why, None, now)
        return
    if not packet.client_id:  # [MQTT-3.1.3-6]
        packet.client_id = client_ids.new(broker)
        connection.client_id = packet.client_id
        connection.assigned_client_id = True
    connection.connect = packet
    connection.state = AUTHENTICATING
    if not broker.asks_authentication:
        decided(broker, connection, Answer(0, identity=packet.username), now)
        return
    data = packet.properties.authentication_data if packet.properties is not None else None
    connection.paused = True
    broker.effects.append(Authenticate(connection, packet, False, data, None))


def _why_full(broker: BrokerState, entrance: Entrance, session: ServerSession | None) -> str:
    """Plain words where there is no room for one more client, which is that of ``session``; or ""."""
    before: BrokerConnection | None = None  # one comes, one goes
    if session is not None:
        before = session.connection if session.connection is not None else session.arriving
    most = broker.options.max_connections
    if broker.statistics.admitted >= most and before is None:
        return f"all {most} connections are in use (max_connections)"
    most = entrance.max_connections
    if most and entrance.admitted >= most and (before is None or before.entrance is not entrance):
        return f"all {most} connections of this listener are in use (max_connections)"
    return ""


def _check(broker: BrokerState, connection: BrokerConnection, packet: Connect) -> tuple[int, str]:
    """Reason Code and plain words for a CONNECT that cannot be, or (0, "")."""
    options = broker.options
    session = broker.sessions.get(packet.client_id)
    why = _why_full(broker, connection.entrance, session)
    if why:
        return SERVER_BUSY, why
    if broker.store_trouble and connack.expiry_interval(broker, packet):
        return SERVER_UNAVAILABLE, broker.store_trouble  # its session could not be kept
    if not packet.client_id:
        if packet.version == MQTT_31:
            return CLIENT_IDENTIFIER_NOT_VALID, "MQTT 3.1 needs a Client Identifier"
        if packet.version != MQTT_50 and not packet.clean_start:  # [3.1.1: MQTT-3.1.3-8]
            return CLIENT_IDENTIFIER_NOT_VALID, "an empty Client Identifier needs Clean Session 1"
    if connack.expiry_interval(broker, packet):
        why = shares.why_no_session(broker, "", session)  # the source is not known before authentication
        if why:
            return QUOTA_EXCEEDED, why
    properties = packet.properties
    if properties is not None and properties.authentication_method is not None:
        if properties.authentication_method not in broker.authentication_methods:  # [MQTT-4.12.0-1]
            return BAD_AUTHENTICATION_METHOD, "this Authentication Method is not supported here"
    will = packet.will
    if will is None:
        return 0, ""
    if will.qos > options.maximum_qos:  # [MQTT-3.2.2-12]
        return QOS_NOT_SUPPORTED, f"Will QoS {will.qos} is not supported here"
    if will.retain and not options.retain_available:  # [MQTT-3.2.2-13]
        return RETAIN_NOT_SUPPORTED, "retained messages are not supported here"
    topic = _will_topic(connection, will)
    why = ""
    if connection.mount is not None:
        why = connection.mount.why_not_published(will.topic.encode())
        if not why and _will_properties(connection, will) is None:
            why = RESPONSE_TOO_LONG
    if not why:
        why = check_topic_name(topic, options.max_topic_levels, options.max_topic_length)
    if why:
        return TOPIC_NAME_INVALID, f"Will Topic: {why}"
    why = why_not_published(topic)
    if why:
        return NOT_AUTHORIZED, f"Will Topic: {why}"
    if (
        options.check_payload_format
        and will.properties is not None
        and will.properties.payload_format_indicator
    ):
        try:
            will.payload.decode()
        except UnicodeDecodeError:
            return PAYLOAD_FORMAT_INVALID, "the Will Payload is not the UTF-8 it claims to be"
    return 0, ""


def exchange(broker: BrokerState, connection: BrokerConnection, packet: Auth, now: float) -> None:
    """An AUTH packet in an exchange, before CONNACK or in a re-authentication (4.12)."""
    connect = connection.connect
    assert connect is not None
    connection.paused = True
    if connection.is_reauthenticating and not connection.reauthenticate_until:
        connection.reauthenticate_until = now + broker.options.connect_timeout
        watches.identity(broker, connection, now)
    data = packet.properties.authentication_data if packet.properties is not None else None
    broker.effects.append(Authenticate(connection, connect, True, data, connection.authentication_state))


def go_on(broker: BrokerState, question: Question, answer: Answer, now: float) -> None:
    """A question about a connection is answered: it goes on with the bytes that waited."""
    connection = question.connection
    if connection.state == CLOSED:
        return
    connection.now = now
    if isinstance(question, Authenticate):
        connection.paused = False
        decided(broker, connection, answer, now)
    elif isinstance(question, Claim):
        connection.paused = False
        _claimed(broker, connection, answer, now)
    elif isinstance(question, CatchUp):
        connection.paused = False
        connection.has_caught_up = True
    else:
        permissions.remember(connection, question, answer.reason_code)
        if connection.paused:
            if connection.work is not None and not connection.questions:
                broker.continue_later(connection)
            return
        if connection.state == AUTHENTICATING:  # it was about the will
            admit(broker, connection, now)
    connection.proceed(now)


def _claimed(broker: BrokerState, connection: BrokerConnection, answer: Answer, now: float) -> None:
    """The answer to ``Claim``."""
    connection.has_claim = answer.reason_code == 0
    if connection.has_claim:
        admit(broker, connection, now)
    else:
        _refuse(broker, connection, answer, now)


def _refuse(broker: BrokerState, connection: BrokerConnection, answer: Answer, now: float) -> None:
    telling.refused(broker, connection, answer.reason_code, answer.why or answer.reason_string)
    connection.refuse_connect(answer.reason_code, answer.reason_string, answer.server_reference, now)


def decided(broker: BrokerState, connection: BrokerConnection, answer: Answer, now: float) -> None:
    """The answer to ``Authenticate``."""
    connection.authentication_state = answer.state
    why = _why_not_this_client(connection, answer, now)
    if why:
        answer = Answer(NOT_AUTHORIZED, why)
    if answer.reason_code == CONTINUE_AUTHENTICATION and connection.authentication_method is not None:
        _send_auth(broker, connection, CONTINUE_AUTHENTICATION, answer.data, now)  # [MQTT-4.12.0-2]
        return
    if connection.is_reauthenticating:
        connection.is_reauthenticating = False
        connection.reauthenticate_until = 0.0
        if answer.reason_code == 0:
            _identify(broker, connection, answer, now)
            permissions.forget(broker, connection)
            if connection.server_session is not None:
                _came(broker, connection.server_session, connection, now)
            _send_auth(broker, connection, 0, answer.data, now)
        else:  # [MQTT-4.12.1-2]
            telling.refused(broker, connection, answer.reason_code, answer.why or answer.reason_string)
            connection.send_disconnect(answer.reason_code, answer.reason_string, answer.server_reference)
            connection.end(answer.reason_code, answer.reason_string, now)
        return
    if answer.reason_code != 0:
        _refuse(broker, connection, answer, now)
        return
    _identify(broker, connection, answer, now)
    if connection.authentication_method is not None:  # [MQTT-4.12.0-6]
        connection.authentication_data = answer.data
    admit(broker, connection, now)


def _why_not_this_client(connection: BrokerConnection, answer: Answer, now: float) -> str:
    """Plain words where whoever was asked agrees, and yet this cannot be the client; or ""."""
    if answer.reason_code != 0:
        return ""
    if connection.is_reauthenticating and answer.identity != connection.identity:
        return "a connection stays with the user that it began with"
    if answer.known.expires_at and answer.known.expires_at <= now:
        return EXPIRED
    return ""


def _identify(broker: BrokerState, connection: BrokerConnection, answer: Answer, now: float) -> None:
    """This is who it is, until that expires."""
    connection.identity = answer.identity
    connection.known = answer.known
    watches.identity(broker, connection, now)


def _send_auth(
    broker: BrokerState, connection: BrokerConnection, reason_code: int, data: bytes | None, now: float
) -> None:
    properties = Properties()
    properties.authentication_method = connection.authentication_method  # [MQTT-4.12.0-5]
    properties.authentication_data = data
    packet = encode(Auth(reason_code, properties), MQTT_50)
    if connection.fits(packet):
        connection.send(packet)
        return
    why = "AUTH is larger than the client's Maximum Packet Size [MQTT-3.1.2-24]"
    telling.refused(broker, connection, PACKET_TOO_LARGE, why)
    if connection.state == CONNECTED:
        connection.send_disconnect(PACKET_TOO_LARGE, why, None)
        connection.end(PACKET_TOO_LARGE, why, now)
    else:
        connection.refuse_connect(IMPLEMENTATION_SPECIFIC_ERROR, why, None, now)


def admit(broker: BrokerState, connection: BrokerConnection, now: float) -> None:
    """The client may come in, with its will: find or make its session; CONNACK goes when that is durable."""
    packet = connection.connect
    assert packet is not None
    if connection.has_permissions and packet.will is not None:
        if not _may_leave(broker, connection, packet.will, now):
            return  # refused; or comes back here with the answer
    if _must_claim(broker, connection, packet.client_id, now):
        return
    session = broker.sessions.get(packet.client_id)
    reason_code, why, details = client_ids.why_not(broker, connection, packet.client_id, session)
    if reason_code:
        telling.refused(broker, connection, reason_code, details)
        connection.refuse_connect(reason_code, why, None, now)
        return
    expiry_interval = connack.expiry_interval(broker, packet)
    source = shares.source_of(broker, connection)
    reason_code, why = _check_room(broker, connection, packet, session, source)
    if reason_code:
        telling.refused(broker, connection, reason_code, why)
        connection.refuse_connect(reason_code, why, None, now)
        return
    before = broker.journal.length if broker.journal is not None else 0
    if session is not None:
        other = session.connection if session.connection is not None else session.arriving
        if other is not None:  # [MQTT-3.1.4-3] [3.1.1: MQTT-3.1.4-2]
            why = "another connection uses this Client Identifier [MQTT-3.1.4-3]"
            other.send_disconnect(SESSION_TAKEN_OVER, why, None)
            other.end(SESSION_TAKEN_OVER, why, now)
            session = broker.sessions.get(packet.client_id)  # it may have ended with its connection
    if session is not None and (packet.clean_start or session.mount is not connection.mount):
        why = "Clean Start" if packet.clean_start else OTHER_MOUNT  # [MQTT-3.1.2-4]
        keeping.end_session(broker, session, why, now)
        session = None
    is_present = session is not None
    if session is None:  # [MQTT-3.1.2-6]
        session = keeping.new_session(broker, packet.client_id, expiry_interval > 0, connection.mount)
    client_ids.own(broker, session, connection)
    _came(broker, session, connection, now)
    session.version = packet.version
    session.expiry_interval = expiry_interval
    shares.stored(broker, session, expiry_interval > 0, source)
    session.ends_at = 0.0
    session.will_due_at = 0.0  # a new connection in time: the will of the last one is not sent [MQTT-3.1.3-9]
    keeping.save_session(session)
    _set_will(connection, session, packet)
    session.arriving = connection
    connection.server_session = session
    connection.session = session
    broker.statistics.admitted += 1
    connection.entrance.admitted += 1
    shares.count_clients(broker, source, 1)
    if broker.journal is not None and broker.journal.length != before:
        connection.paused = True
        broker.arrivals.append(Arrival(broker.journal.number, connection, is_present))
    else:
        welcome(broker, connection, is_present, now)


def _must_claim(broker: BrokerState, connection: BrokerConnection, client_id: str, now: float) -> bool:
    """Is it yet to be found out whether this node of a cluster is to have the session? True also where it is
    refused.
    """
    if not broker.is_clustered or connection.has_claim:
        return False
    reason_code, why, details = client_ids.why_not(broker, connection, client_id, None)
    if reason_code:  # before its client at another node is disconnected
        telling.refused(broker, connection, reason_code, details)
        connection.refuse_connect(reason_code, why, None, now)
        return True
    connection.paused = True
    broker.effects.append(Claim(connection, client_id))
    return True


def _came(broker: BrokerState, session: ServerSession, connection: BrokerConnection, now: float) -> None:
    """Have the rights of a client in its session."""
    if permissions.came(broker, session, connection):
        rejudging.look_at(broker, session, now)


def _may_leave(broker: BrokerState, connection: BrokerConnection, will: Will, now: float) -> bool:
    """May it publish this will? False where that has to be asked, or where it is refused."""
    rights = permissions.rights_of(broker, connection)
    if rights is not None and not rights.refuses_wills and not broker.asks_authorization:
        return True
    topic = _will_topic(connection, will)
    verdict = permissions.verdict(broker, connection, PUBLISH_ACTION, topic, will.qos, will.retain)
    if verdict < 0x80:
        return verdict != UNDECIDED
    why = permissions.why_not(broker, connection, PUBLISH_ACTION, topic, will.qos, will.retain)
    telling.refused(broker, connection, verdict, f"Will Topic: {why}")
    connection.refuse_connect(  # [MQTT-3.1.4-2]
        verdict, "not authorized to publish to the Will Topic", None, now
    )
    return False


def _check_room(
    broker: BrokerState,
    connection: BrokerConnection,
    packet: Connect,
    session: ServerSession | None,
    source: str,
) -> tuple[int, str]:
    """Reason Code and plain words where there is no room for a client that is known now, or (0, "")."""
    if not connack.is_taken(broker, connection, packet):
        why = "CONNACK is larger than the client's Maximum Packet Size [MQTT-3.1.2-24]"
        return IMPLEMENTATION_SPECIFIC_ERROR, why
    why = _why_full(broker, connection.entrance, session)  # others may have come while one was asked
    if why:
        return SERVER_BUSY, why
    why = shares.why_no_client(broker, source, session)
    if why:
        return QUOTA_EXCEEDED, why
    if connack.expiry_interval(broker, packet):
        why = shares.why_no_session(broker, source, session)
        if why:
            return QUOTA_EXCEEDED, why
    return 0, ""


def _set_will(connection: BrokerConnection, session: ServerSession, packet: Connect) -> None:
    """Keep the Will Message with the session [MQTT-3.1.2-7]."""
    will = packet.will
    if will is None:
        keeping.forget_will(session)
        return
    properties = will.properties
    session.will_delay = (properties.will_delay_interval or 0) if properties is not None else 0
    session.will_expiry = -1
    if properties is not None and properties.message_expiry_interval is not None:
        session.will_expiry = properties.message_expiry_interval
    session.will = ApplicationMessage(
        _will_topic(connection, will),
        will.payload,
        will.qos,
        will.retain,
        _will_properties(connection, will) or b"",
    )
    keeping.save_will(session)


def _will_topic(connection: BrokerConnection, will: Will) -> bytes:
    """The whole Will Topic."""
    topic = will.topic.encode()
    return topic if connection.mount is None else connection.mount.name(topic)


def _will_properties(connection: BrokerConnection, will: Will) -> bytes | None:
    """Properties that the Will Message takes along, User Properties in order [MQTT-3.1.3-10]; None where its
    Response Topic is too long.
    """
    properties = forwarded_properties(will.properties) if will.properties is not None else b""
    return properties if connection.mount is None else connection.mount.enter_properties(properties)


def let_in(broker: BrokerState, arrival: Arrival, now: float) -> None:
    """The session is durable, which the CONNACK waited for."""
    connection = arrival.connection
    connection.paused = False
    connection.now = now
    broker.welcomed.append(connection)
    welcome(broker, connection, arrival.is_present, now)
    connection.proceed(now)


def welcome(broker: BrokerState, connection: BrokerConnection, is_present: bool, now: float) -> None:
    """The session is in order, and durable: CONNACK, then what waits in it."""
    session = connection.server_session
    packet = connection.connect
    if connection.state == CLOSED or session is None or packet is None:
        return
    options = broker.options
    connection.send(encode(connack.made(broker, connection, packet, is_present), packet.version))
    session.arriving = None
    session.connection = connection
    connection.state = CONNECTED
    shares.connecting_at(broker, connection, "")
    broker.statistics.connected += 1
    entrance = connection.entrance
    entrance.connected += 1
    entrance.connected_maximum = max(entrance.connected_maximum, entrance.connected)
    connection.maximum_qos = options.maximum_qos
    connection.retain_available = options.retain_available
    connection.max_packet_size = entrance.largest_packet(options.max_packet_size)
    client_quota = 65535
    properties = packet.properties
    if packet.version == MQTT_50:
        connection.receive_quota = connection.receive_quota_maximum = options.receive_maximum
        connection.topic_alias_maximum = options.topic_alias_maximum
        if properties is not None:
            client_quota = properties.receive_maximum or 65535
            maximum = min(properties.topic_alias_maximum or 0, options.outgoing_topic_aliases)
            if maximum:
                connection.outgoing_alias_maximum = maximum
                connection.topic_aliases = {}
    connection.keep_alive = connack.keep_alive(broker, packet) * 1.5
    if connection.authentication_method is None:
        connection.connect = None  # re-authentication is the only thing that needs it again
    statistics = broker.statistics
    statistics.connected_maximum = max(statistics.connected_maximum, statistics.connected)
    watches.keep_alive(broker, connection, now)
    session.outgoing.open(min(client_quota, options.max_inflight), options.max_inflight_bytes)
    for entry in session.outgoing.releasing.values():  # [MQTT-4.4.0-1]
        entry.sent_at = now
        connection.send(b"\x62\x02" + encode_two(entry.packet_id))
    set_lanes(broker, connection)
    telling.connected(broker, connection, is_present)
    connection.pump(now)


def disconnect(broker: BrokerState, connection: BrokerConnection, packet: Disconnect, now: float) -> None:
    """DISCONNECT from the client (3.14.4)."""
    session = connection.server_session
    if session is not None:
        properties = packet.properties
        if properties is not None and properties.session_expiry_interval is not None:
            interval = properties.session_expiry_interval
            maximum = broker.options.session_expiry_maximum
            if interval and maximum and not session.expiry_interval:  # with maximum 0 all are 0, asked or not
                raise RemoteProtocolError(
                    PROTOCOL_ERROR,
                    "Session Expiry Interval was 0 in CONNECT and is not 0 in DISCONNECT (3.14.2.2.2)",
                )
            session.expiry_interval = min(interval, maximum)
        if packet.reason_code == 0:  # [MQTT-3.14.4-3]: the will is deleted, not published
            connection.discard_will = True
    connection.has_left = True  # and sends nothing more [MQTT-3.14.4-1]
    connection.end(packet.reason_code, "the client disconnected", now)


def ended(
    broker: BrokerState,
    connection: BrokerConnection,
    was_connected: bool,
    reason_code: int,
    why: str,
    now: float,
) -> None:
    """The Network Connection is over, whoever ended it: session and will get their due."""
    broker.spent += WORK_OF_END
    broker.ends += 1
    broker.effects.append(Close(connection))
    broker.connections.pop(connection.number, None)
    watches.stop(broker, connection)
    shares.connecting_at(broker, connection, "")
    connection.entrance.attached -= 1
    if connection.server_session is not None:
        broker.statistics.admitted -= 1
        connection.entrance.admitted -= 1
        shares.count_clients(broker, connection.server_session.source, -1)
    if was_connected:
        broker.statistics.connected -= 1
        connection.entrance.connected -= 1
    session = connection.server_session
    if session is not None:
        try:
            keeping.leave(broker, session, connection, now)
        except Exception as error:
            broker.faults.note(f"leaving the session of {session.client_id!r}", error)
    if was_connected:
        telling.disconnected(broker, connection, reason_code, why)
