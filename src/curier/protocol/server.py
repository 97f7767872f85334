"""The server's role on one Network Connection: what a client may send, when, and what it is answered.

This class knows the rules of MQTT for one connection and nothing of other clients. The broker completes it
(``broker.connection``) with the methods under "what a broker decides".
"""

from __future__ import annotations

from typing import Final

from curier.codec.constants import (
    AUTH,
    BAD_AUTHENTICATION_METHOD,
    BANNED,
    CLIENT_IDENTIFIER_NOT_VALID,
    CONNACK,
    CONNECT,
    CONTINUE_AUTHENTICATION,
    DISCONNECT,
    MQTT_50,
    NOT_AUTHORIZED,
    PAYLOAD_FORMAT_INVALID,
    PINGREQ,
    PROTOCOL_ERROR,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    QOS_NOT_SUPPORTED,
    RE_AUTHENTICATE,
    RECEIVE_MAXIMUM_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
    SERVER_BUSY,
    SERVER_UNAVAILABLE,
    SUBSCRIBE,
    TOPIC_ALIAS_INVALID,
    TOPIC_NAME_INVALID,
    UNSPECIFIED_ERROR,
    UNSUBSCRIBE,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from curier.codec.decode import claimed_limit, claimed_version, decode
from curier.codec.encode import encode, encode_ack
from curier.codec.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Subscribe,
    Unsubscribe,
)
from curier.codec.primitives import NO_LIMIT
from curier.codec.properties import Properties
from curier.codec.publish import IncomingPublish, parse_publish
from curier.codec.reasons import sendable
from curier.errors import ProtocolError, RemoteProtocolError
from curier.greetings import GREETING_BYTES, HTTP, MQTT, greeting, told_in_http, way_out
from curier.protocol.arriving import Arriving
from curier.protocol.connection import AUTHENTICATING, CLOSED, CONNECTED, CONNECTING, Connection, Traffic

PAUSED: Final = -1  # what ``accept_publish`` answers when it has to ask first

PINGRESP_PACKET: Final = b"\xd0\x00"

# Reason Codes that mean "not accepted, and never will be": a 3.1.1 client, which can be told nothing, gets
# its acknowledgement [MQTT-3.3.5-2]. After any other refusal the connection is closed, so that it tries
# again.
LASTING: Final = frozenset((NOT_AUTHORIZED, TOPIC_NAME_INVALID, PAYLOAD_FORMAT_INVALID))

NOT_CONNECT: Final = "the first packet is not CONNECT"

LONGEST_REASON: Final = 500  # characters of a Reason String: it may quote what strangers sent


class ServerConnection(Connection):
    """The server's end of a Network Connection. Rules a broker may set are attributes, set before CONNACK."""

    def __init__(self, number: int, max_packet_size: int, dirty: list[Connection], traffic: Traffic) -> None:
        super().__init__(number, max_packet_size, dirty, traffic)
        self.client_id: str = ""
        self.is_bridge: bool = False  # of 3.1 or 3.1.1, and has said so
        self.authentication_method: str | None = None
        self.is_reauthenticating: bool = False
        self.reauthenticate_until: float = 0.0  # when that has to be finished; 0: nothing goes on
        self.maximum_qos: int = 2
        self.records_before: int = -1  # those before a PUBLISH that is being given to its receivers; -1: none
        self.retain_available: bool = True
        self.wants_problem_information: bool = True  # Request Problem Information (3.1.2.11.7)
        self.topic_alias_maximum: int = 0  # what this client may use
        self.max_user_properties: int = NO_LIMIT  # of one packet
        self.aliases: dict[int, bytes] = {}  # set by this client; gone with the connection [MQTT-3.3.2-7]
        self.why: str = ""  # Reason String that goes with the Reason Code just decided

    def is_authenticating(self) -> bool:
        """Has it sent CONNECT, and waits for CONNACK?"""
        return self.state == AUTHENTICATING

    # ---- what a broker decides ----

    def accept_connect(self, packet: Connect, now: float) -> None:
        """A valid CONNECT: pause and ask, or answer it."""

    def accept_auth(self, packet: Auth, now: float) -> None:
        """An AUTH that is in order: pause and ask, or answer it."""

    def accept_publish(self, publish: IncomingPublish, now: float) -> int:
        """Take ownership of a message or refuse it: the Reason Code; ``PAUSED`` when it has to ask first."""
        return UNSPECIFIED_ERROR

    def accept_subscribe(self, packet: Subscribe, now: float) -> bool:
        """Answer a SUBSCRIBE. False when it has to ask first."""
        return True

    def accept_unsubscribe(self, packet: Unsubscribe, now: float) -> None:
        """Answer an UNSUBSCRIBE."""

    def accept_disconnect(self, packet: Disconnect, now: float) -> None:
        """The client says goodbye; the Network Connection is to be closed [MQTT-3.14.4-1]."""

    def end(self, reason_code: int, why: str, now: float) -> None:
        """The broker's side of closing: state becomes CLOSED, session and will get their due."""

    # ---- packets in ----

    def begins(self, data: bytes, pos: int) -> None:
        """The first packet is CONNECT or nothing [MQTT-3.1.0-1]: its first byte says it. Errors of CONNECT
        are answered as its version has it.
        """
        if self.state == CONNECTING:
            if data[pos] >> 4 != CONNECT:
                raise RemoteProtocolError(PROTOCOL_ERROR, NOT_CONNECT, "MQTT-3.1.0-1")
            self.version = claimed_version(data, pos, len(data))
            if self.version == MQTT_50:  # of a CONNECT that is refused for something else
                self.peer_max_packet_size = claimed_limit(data, pos, len(data))

    def explained(self, error: ProtocolError, data: bytes) -> ProtocolError:
        """Who does not even begin to speak MQTT is named, as far as one knows them, and told in HTTP if that
        is what they speak.
        """
        what = greeting(data[:GREETING_BYTES]) if self.state == CONNECTING else ""
        if what in ("", MQTT):
            return error
        if what == HTTP:
            self._tell_stranger(told_in_http(f"This port speaks MQTT. {way_out(what)}.\n"))
        why = f"{NOT_CONNECT}: this looks like {what}, which is not spoken at this listener; {way_out(what)}"
        return RemoteProtocolError(error.reason_code, why, "MQTT-3.1.0-1")

    def _tell_stranger(self, words: bytes) -> None:
        """Send what is no Control Packet, and not counted as one."""
        self.output.append(words)
        if not self.is_dirty:
            self.is_dirty = True
            self.dirty.append(self)

    def packet(self, data: bytes, pos: int, stop: int, now: float) -> bool:
        """Work on one whole packet. False: paused, give it to me again."""
        kind = data[pos] >> 4
        if self.state == CONNECTED and kind == PUBLISH:
            return self._publish(parse_publish(data, pos, stop, self.version, self.max_user_properties), now)
        if self.state == CONNECTING:
            self.begins(data, pos)
        packet = decode(data, pos, stop, self.version, self.max_user_properties)
        if self.state == CONNECTED:
            return self._dispatch(kind, packet, now)
        if isinstance(packet, Connect) and self.state == CONNECTING:
            self._connect(packet, now)
        elif isinstance(packet, Auth):
            self._auth(packet, now)
        elif isinstance(packet, Disconnect) and self.state == AUTHENTICATING:
            self.accept_disconnect(packet, now)
        else:  # [MQTT-3.1.2-30]
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "only AUTH and DISCONNECT may come before CONNACK", "MQTT-3.1.2-30"
            )
        return True

    def large_publish(self, arriving: Arriving, now: float) -> bool:
        head = arriving.head
        publish = parse_publish(head, 0, len(head), self.version, self.max_user_properties)
        publish.payload = arriving.payload()
        return self._publish(publish, now)

    def _dispatch(self, kind: int, packet: Packet, now: float) -> bool:
        if kind == PUBACK and isinstance(packet, Puback):
            self.on_puback(packet.packet_id, packet.reason_code, now)
        elif kind == PUBREC and isinstance(packet, Pubrec):
            self.on_pubrec(packet.packet_id, packet.reason_code, now)
        elif kind == PUBREL and isinstance(packet, Pubrel):
            self.on_pubrel(packet.packet_id, now)
        elif kind == PUBCOMP and isinstance(packet, Pubcomp):
            self.on_pubcomp(packet.packet_id, packet.reason_code, now)
        elif kind == PINGREQ:
            self.send(PINGRESP_PACKET)  # [MQTT-3.12.4-1]
        elif kind == SUBSCRIBE and isinstance(packet, Subscribe):
            return self.accept_subscribe(packet, now)
        elif kind == UNSUBSCRIBE and isinstance(packet, Unsubscribe):
            self.accept_unsubscribe(packet, now)
        elif kind == DISCONNECT and isinstance(packet, Disconnect):
            self.accept_disconnect(packet, now)
        elif kind == AUTH and isinstance(packet, Auth):
            self._auth(packet, now)
        elif kind == CONNECT:  # [MQTT-3.1.0-2]
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "a second CONNECT on the same connection", "MQTT-3.1.0-2"
            )
        else:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, f"a client must not send packet type {kind} (section 2.1.2)"
            )
        return True

    def _connect(self, packet: Connect, now: float) -> None:
        self.version = packet.version
        self.client_id = packet.client_id
        self.is_bridge = packet.is_bridge
        properties = packet.properties
        if properties is not None:
            self.authentication_method = properties.authentication_method
            self.wants_problem_information = properties.request_problem_information != 0
            self.peer_max_packet_size = properties.maximum_packet_size or 0
        self.accept_connect(packet, now)

    def _auth(self, packet: Auth, now: float) -> None:
        """AUTH, in the exchange before CONNACK or in one begun with Re-authenticate (4.12)."""
        method = packet.properties.authentication_method if packet.properties is not None else None
        if self.authentication_method is None:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "AUTH without Authentication Method in CONNECT", "MQTT-4.12.0-7"
            )
        if method != self.authentication_method:
            raise RemoteProtocolError(
                BAD_AUTHENTICATION_METHOD if self.state != CONNECTED else PROTOCOL_ERROR,
                "Authentication Method is not the one in CONNECT",
                "MQTT-4.12.1-1" if self.state == CONNECTED else "MQTT-4.12.0-5",
            )
        if self.state == CONNECTED and not self.is_reauthenticating:
            if packet.reason_code != RE_AUTHENTICATE:
                raise RemoteProtocolError(PROTOCOL_ERROR, "AUTH outside of an exchange", "MQTT-4.12.1-1")
            self.is_reauthenticating = True
        elif packet.reason_code != CONTINUE_AUTHENTICATION:
            raise RemoteProtocolError(PROTOCOL_ERROR, "AUTH does not continue the exchange", "MQTT-4.12.0-3")
        self.accept_auth(packet, now)

    # ---- PUBLISH in (3.3.4) ----

    def _publish(self, publish: IncomingPublish, now: float) -> bool:
        if publish.has_subscription_identifier:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "PUBLISH from a client has a Subscription Identifier", "MQTT-3.3.4-6"
            )
        if publish.qos > self.maximum_qos:  # [MQTT-3.2.2-11]
            raise RemoteProtocolError(
                QOS_NOT_SUPPORTED, f"QoS {publish.qos} is not supported here", "MQTT-3.2.2-11"
            )
        if publish.retain and not self.retain_available:
            raise RemoteProtocolError(
                RETAIN_NOT_SUPPORTED, "retained messages are not supported here", "MQTT-3.2.2-14"
            )
        if publish.topic_alias:
            self._resolve_alias(publish)
        qos = publish.qos
        if not qos:
            reason_code = self.accept_publish(publish, now)
            if reason_code == PAUSED:
                return False
            self.why = ""  # there is no answer to put it in
            self._count(publish)
            return True
        session = self.session
        assert session is not None
        if self.receive_quota <= 0:
            raise RemoteProtocolError(
                RECEIVE_MAXIMUM_EXCEEDED,
                f"more than {self.receive_quota_maximum} unfinished QoS 1 and 2 messages",
                "MQTT-3.3.4-7",
            )
        before = self.journal_length() if self.records_before < 0 else self.records_before
        packet_id = publish.packet_id
        if qos == 2 and session.incoming.is_duplicate(packet_id):
            if self.version == MQTT_50:  # others may send again whenever they like (3.1.1: 4.4)
                self.receive_quota -= 1
            self._count(publish)
            self._acknowledge(PUBREC, packet_id, 0, before)  # [MQTT-4.3.3-10]
            return True
        reason_code = self.accept_publish(publish, now)
        if reason_code == PAUSED:
            return False
        self.records_before = -1
        if self.state == CLOSED:
            return True
        self.receive_quota -= 1
        self._count(publish)
        if qos == 2 and reason_code < 0x80:
            session.incoming.take(packet_id)
        self._acknowledge(PUBACK if qos == 1 else PUBREC, packet_id, reason_code, before)
        return True

    def _count(self, publish: IncomingPublish) -> None:
        self.traffic.publishes_received += 1
        self.traffic.publish_bytes_received += len(publish.payload)

    def _resolve_alias(self, publish: IncomingPublish) -> None:
        """Topic Alias (3.3.4): set a mapping or use one."""
        alias = publish.topic_alias
        if alias > self.topic_alias_maximum:
            raise RemoteProtocolError(
                TOPIC_ALIAS_INVALID,
                f"Topic Alias {alias} is over the maximum of {self.topic_alias_maximum}",
                "MQTT-3.3.2-9",
            )
        if publish.topic:
            self.aliases[alias] = publish.topic
            return
        topic = self.aliases.get(alias)
        if topic is None:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, f"Topic Alias {alias} has not been set on this connection"
            )
        publish.topic = topic

    def _acknowledge(self, kind: int, packet_id: int, reason_code: int, before: int) -> None:
        """PUBACK or PUBREC for one PUBLISH [MQTT-3.3.4-1]; a PUBREC that accepts keeps its Receive
        Maximum.
        """
        why = self.why
        self.why = ""
        credit = 1 if kind == PUBACK or reason_code >= 0x80 else 0
        if self.version != MQTT_50:
            if reason_code >= 0x80 and reason_code not in LASTING:
                raise RemoteProtocolError(
                    reason_code, why or "the message cannot be taken now", "MQTT-3.3.5-2"
                )
            reason_code = 0
        self.answer(self.acknowledgement(kind, packet_id, reason_code, why), before, credit)

    def acknowledgement(self, kind: int, packet_id: int, reason_code: int, why: str) -> bytes:
        """PUBACK or PUBREC with that Reason Code, and the Reason String if it is wanted and there is room."""
        if reason_code >= 0x80:
            reason_code = sendable(kind, reason_code)
        packet = encode_ack(kind, packet_id, reason_code, self.problem(why), self.version)
        if why and not self.fits(packet):  # [MQTT-3.4.2-2] [MQTT-3.5.2-2]
            packet = encode_ack(kind, packet_id, reason_code, None, self.version)
        return packet

    # ---- refusals ----

    def fits(self, packet: bytes) -> bool:
        """Is ``packet`` within the client's Maximum Packet Size [MQTT-3.1.2-24]?"""
        return not self.peer_max_packet_size or len(packet) <= self.peer_max_packet_size

    def problem(self, why: str) -> Properties | None:
        """Properties with a Reason String, where the client wants them [MQTT-3.1.2-29] and there is
        something to say.
        """
        if not why or not self.wants_problem_information or self.version != MQTT_50:
            return None
        properties = Properties()
        properties.reason_string = why[:LONGEST_REASON]
        return properties

    def fail(self, error: ProtocolError, now: float) -> None:
        """Answer a broken rule as 4.13 (5.0) and 4.8 (3.1.1) have it, and close [MQTT-4.13.1-1]
        [MQTT-4.8.0-1].
        """
        self.give_up(error.reason_code, str(error), now)

    def give_up(self, reason_code: int, why: str, now: float) -> None:
        """Say why, as far as the client's version and state can be told, and close."""
        if self.state == CONNECTING or self.state == AUTHENTICATING:
            # 3.1.1: no CONNACK for what is not a CONNECT [3.1.1: MQTT-3.1.4-1], unless its level is the
            # fault.
            if self.version == MQTT_50 or reason_code == UNSUPPORTED_PROTOCOL_VERSION:
                self.refuse_connect(reason_code, why, None, now)
                return
        elif self.state == CONNECTED:
            self.send_disconnect(reason_code, why, None)
        self.end(reason_code, why, now)

    def refuse_connect(self, reason_code: int, why: str, reference: str | None, now: float) -> None:
        """CONNACK with a Reason Code of 0x80 or more, then close [MQTT-3.2.2-7]; 3.x: its own codes."""
        if self.version == MQTT_50:
            properties = Properties()
            properties.reason_string = why[:LONGEST_REASON] or None
            properties.server_reference = reference
            reason_code = sendable(CONNACK, reason_code)
            packet = encode(Connack(False, reason_code, properties), MQTT_50)
            if not self.fits(packet):  # [MQTT-3.2.2-19]
                packet = encode(Connack(False, reason_code, None), MQTT_50)
            if self.fits(packet):
                self.send(packet)
        else:
            code = _return_code(reason_code)
            if code:  # otherwise closed without CONNACK [3.1.1: MQTT-3.2.2-6]
                self.send(encode(Connack(False, code, None), self.version))
        self.end(reason_code, why, now)

    def send_disconnect(self, reason_code: int, why: str, reference: str | None) -> None:
        """Tell a connected 5.0 client why it is closed on; 3.x has no such packet from the server."""
        if self.version != MQTT_50 or self.state != CONNECTED:  # [MQTT-3.14.0-1]
            return
        properties = Properties()
        properties.reason_string = why[:LONGEST_REASON] or None
        properties.server_reference = reference
        reason_code = sendable(DISCONNECT, reason_code)
        packet = encode(Disconnect(reason_code, properties), MQTT_50)
        if not self.fits(packet):  # [MQTT-3.14.2-3]
            packet = encode(Disconnect(reason_code, None), MQTT_50)
        self.send(packet)


def _return_code(reason_code: int) -> int:
    """The 3.1.1 Connect Return code for a 5.0 Reason Code (3.1.1: table 3.1), 0 where none applies."""
    if reason_code == UNSUPPORTED_PROTOCOL_VERSION:
        return 1
    if reason_code == CLIENT_IDENTIFIER_NOT_VALID:
        return 2
    if reason_code in (SERVER_UNAVAILABLE, SERVER_BUSY):
        return 3
    if reason_code == 0x86:
        return 4
    if reason_code in (NOT_AUTHORIZED, BANNED):
        return 5
    return 0
