"""The client's role on one Network Connection: what a server may send, when, and what it is answered.

    connection = ClientConnection(session)
    connection.connect(Connect(MQTT_50, "me"), now)
    connection.receive(chunk, now)                    # as often as bytes come
    connection.deadline_reached(now)                  # when ``next_deadline()`` has come
    for event in connection.take_events(): ...
    write(connection.take_output())                   # and close behind it where ``state`` is CLOSED
    connection.detach(now)                            # when the network has closed it

The session outlives the connection: give it to the next one, with Clean Start 0 in its CONNECT, and what is
unfinished goes on. Where it has a journal, whoever drives this makes each batch durable and calls
``release``, or where there is no connection sets the journal's ``durable``. What the server announces in
CONNACK (3.2.2.3) is kept here: asking for more raises ``LocalProtocolError`` and sends nothing. What the
server breaks ends the connection, and raises nothing.
"""

from __future__ import annotations

from typing import Final, final

from curier.codec.constants import (
    AUTH,
    CLIENT_IDENTIFIER_NOT_VALID,
    CONNACK,
    CONNECT,
    CONTINUE_AUTHENTICATION,
    DISCONNECT,
    DISCONNECT_WITH_WILL_MESSAGE,
    KEEP_ALIVE_TIMEOUT,
    MQTT_31,
    MQTT_50,
    PACKET_TOO_LARGE,
    PINGREQ,
    PINGRESP,
    PROTOCOL_ERROR,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    QUOTA_EXCEEDED,
    RE_AUTHENTICATE,
    SESSION_NEVER_EXPIRES,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    SUBACK,
    SUBSCRIBE,
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
    UNSPECIFIED_ERROR,
    UNSUBACK,
    UNSUBSCRIBE,
    UNSUPPORTED_PROTOCOL_VERSION,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
)
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from curier.codec.primitives import has_wildcard
from curier.codec.properties import Properties
from curier.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from curier.protocol.client_alive import ClientAlive
from curier.protocol.client_messages import LARGEST_PACKET, NOT_SET
from curier.protocol.connection import CLOSED, CONNECTED, CONNECTING
from curier.protocol.events import (
    AuthContinue,
    AuthDone,
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    PingAnswered,
    SubscribeDone,
    UnsubscribeDone,
    reason_string,
)
from curier.protocol.older import REASON_CODES, knows_no_50, why_no_50
from curier.session.outgoing import MAXIMUM_PACKET_ID, Outgoing
from curier.session.session import Session

# Packet Identifiers that are left for SUBSCRIBE and UNSUBSCRIBE, however many PUBLISH packets are unfinished
MOST_REQUESTS: Final = 535

PINGREQ_PACKET: Final = b"\xc0\x00"
DISCONNECT_PACKET: Final = b"\xe0\x00"  # before 5.0
NEVER_FROM_SERVER: Final = (CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ)

# Reason Codes of DISCONNECT that a client may send (table 3-10)
CLIENT_REASONS: Final = frozenset(b"\x00\x04\x80\x81\x82\x83\x90\x93\x94\x95\x96\x97\x98\x99")


@final
class ClientConnection(ClientAlive):
    """The client's end of a Network Connection.

    ``manual_acks``: QoS 1 and 2 messages are acknowledged by ``acknowledge``, not by themselves.
    ``resumes``: False where there is no Session State for this Client Identifier, not even an empty one; a
    server that has some is then closed on [MQTT-3.2.2-4].
    ``requeues``: when Session State is lost or ends, what it had of messages out is published anew.
    ``tells_sent``: a QoS 0 message that is sent at once has a ``Published`` as well.
    ``max_inflight``: unfinished QoS 1 and 2 PUBLISH packets sent, 1 to 65535, within the server's limit.
    ``topic_aliases``: how many are chosen for what is published, within the server's maximum.
    ``connect_timeout``: seconds to wait for CONNACK, and for the end of a re-authentication.
    ``ping_timeout``: seconds of silence after a PINGREQ that mean the server is dead.
    ``retry_interval``: seconds after which what is unanswered is sent again, 0: never; only to 3.1 and 3.1.1
    servers, in 5.0 that is forbidden [MQTT-4.4.0-1].
    ``tolerance``: 0 ends the connection with a server that breaks a rule. Otherwise some breaches that do no
    harm are taken, told as ``Tolerated``: messages over Receive Maximum up to so many bytes, and PUBACK
    for QoS 2.
    ``starts``: what waits in the session is sent when CONNACK comes; False: when ``start`` is called, which
    lets a driver subscribe anew first.
    """

    def __init__(
        self,
        session: Session,
        manual_acks: bool = False,
        resumes: bool = True,
        max_inflight: int = 1024,
        topic_aliases: int = 32,
        connect_timeout: float = 10.0,
        ping_timeout: float = 10.0,
        retry_interval: float = 20.0,
        starts: bool = True,
        requeues: bool = False,
        tells_sent: bool = True,
        tolerance: int = 0,
    ) -> None:
        super().__init__(session)
        self.manual_acks = manual_acks
        self.requeues = requeues
        self.tells_sent = tells_sent
        self.tolerance = tolerance
        self.resumes: bool = resumes
        self.max_inflight: int = max_inflight
        self.topic_alias_limit: int = topic_aliases
        self.connect_timeout: float = connect_timeout
        self.ping_timeout = ping_timeout
        self.retry_interval = retry_interval
        self.starts: bool = starts
        self.connect_packet: Connect | None = None  # once it is sent
        self.connect_at: float = 0.0
        self.session_expiry: int = 0  # seconds; 0: the session ends with this connection
        self.authentication_method: str | None = None
        self.is_asked: bool = False  # the server waits for an AUTH
        self.reauthenticate_until: float = NOT_SET  # NOT_SET: no re-authentication goes on
        self.wants_problem_information: bool = True  # Request Problem Information (3.1.2.11.7)
        self.wildcards_available: bool = True
        self.identifiers_available: bool = True
        self.shared_available: bool = True
        self.subscribing: dict[int, int] = {}  # Packet Identifier of a SUBSCRIBE: how many Topic Filters
        self.unsubscribing: dict[int, int] = {}

    # ---- the connection begins and ends ----

    def connect(self, packet: Connect, now: float) -> None:
        """Send CONNECT; what it says of limits and expiry is kept here from now on."""
        if self.connect_packet is not None or self.state != CONNECTING:
            raise LocalProtocolError(PROTOCOL_ERROR, "CONNECT is sent once on a connection", "MQTT-3.1.0-2")
        session = self.client_session
        if session.client_id and session.client_id != packet.client_id and not packet.clean_start:
            why = f"the session is that of {session.client_id!r}, not of {packet.client_id!r}"
            raise LocalProtocolError(CLIENT_IDENTIFIER_NOT_VALID, why, "MQTT-3.1.3-2")  # [MQTT-3.1.3-2]
        if not packet.client_id and packet.version != MQTT_50:
            if packet.version == MQTT_31 or not packet.clean_start:  # [3.1.1: MQTT-3.1.3-7]
                why = "an empty Client Identifier needs Clean Session 1, and MQTT 3.1 has none"
                raise LocalProtocolError(CLIENT_IDENTIFIER_NOT_VALID, why, "3.1.1/MQTT-3.1.3-7")
        data = encode(packet, packet.version)
        session.client_id = packet.client_id
        self.connect_packet = packet
        self.connect_at = self.now = now
        self.version = packet.version
        self.keep_alive = float(packet.keep_alive)
        properties = packet.properties
        if packet.version != MQTT_50:
            self.session_expiry = 0 if packet.clean_start else SESSION_NEVER_EXPIRES
        elif properties is not None:
            self.session_expiry = properties.session_expiry_interval or 0
            self.receive_quota = self.receive_quota_maximum = properties.receive_maximum or 65535
            self.max_packet_size = properties.maximum_packet_size or LARGEST_PACKET
            self.topic_alias_maximum = properties.topic_alias_maximum or 0
            self.authentication_method = properties.authentication_method
            self.wants_problem_information = properties.request_problem_information != 0
        self.send(data)  # [MQTT-3.1.0-1]; nothing but AUTH and DISCONNECT until CONNACK [MQTT-3.1.2-30]

    def disconnect(
        self, now: float, reason_code: int = 0, session_expiry: int | None = None, why: str = ""
    ) -> None:
        """Say goodbye and end the connection; Reason Code 0x04 has the server publish the will.

        ``session_expiry`` (5.0, seconds) replaces that of CONNECT. Before 5.0 DISCONNECT means 0x00: for any
        other Reason Code the connection is closed without one.
        """
        if self.state == CLOSED:
            return
        if reason_code not in CLIENT_REASONS:  # [MQTT-3.14.2-1]
            said = f"a client does not send DISCONNECT with Reason Code 0x{reason_code:02X}"
            raise LocalProtocolError(PROTOCOL_ERROR, said, "MQTT-3.14.2-1")
        if session_expiry is not None and self.version == MQTT_50:
            if session_expiry and not self.session_expiry:  # 3.14.2.2.2
                raise LocalProtocolError(PROTOCOL_ERROR, "Session Expiry Interval was 0 in CONNECT")
            self.session_expiry = session_expiry
        self.now = now
        self._send_disconnect(reason_code, session_expiry, why)
        self._end(reason_code, why or "this client disconnected", False, None)

    def detach(self, now: float) -> None:
        """The network has closed the connection; harmless where it was over already."""
        self.now = now
        self._end(UNSPECIFIED_ERROR, "the Network Connection was lost", False, None)

    def fail(self, error: ProtocolError, now: float) -> None:
        """The server broke a rule: DISCONNECT with the Reason Code (5.0), then close [MQTT-4.13.1-1]
        [MQTT-4.8.0-1].
        """
        if self.version == MQTT_50:  # before, DISCONNECT would delete the will
            self._send_disconnect(error.reason_code, None, str(error))
        self._end(error.reason_code, str(error), False, None)

    def _send_disconnect(self, reason_code: int, session_expiry: int | None, why: str) -> None:
        if self.connect_packet is None:
            return
        if self.version != MQTT_50:
            if not reason_code:
                self.send(DISCONNECT_PACKET)
            return
        properties = Properties()
        properties.session_expiry_interval = session_expiry
        properties.reason_string = why or None
        packet = encode(Disconnect(reason_code, properties), MQTT_50)
        if self.is_too_large(len(packet)):  # [MQTT-3.14.2-3]
            properties.reason_string = None
            packet = encode(Disconnect(reason_code, properties), MQTT_50)
        self.send(packet)

    def _end(self, reason_code: int, why: str, by_server: bool, properties: Properties | None) -> None:
        """The connection is over, once; nothing more is sent [MQTT-3.14.4-1]."""
        if self.state == CLOSED:
            return
        was_connected = self.state == CONNECTED
        self.state = CLOSED
        self.held.clear()
        self.pending_acks.clear()
        self.acks_in_order.clear()
        self.drop_waiting(self.now)
        lost: list[Outgoing] = []
        if was_connected:
            self.client_session.outgoing.close()
            if not self.session_expiry:
                lost = self.discard_begun()
        if self.connect_packet is not None:
            self.events.append(Disconnected(reason_code, why, by_server, properties, lost))

    # ---- requests ----

    def subscribe(
        self,
        subscriptions: list[tuple[str, int]],
        now: float,
        identifier: int = 0,
        user_properties: list[tuple[str, str]] | None = None,
    ) -> int:
        """Send SUBSCRIBE for pairs of Topic Filter and Subscription Options (3.8.3.1); its Packet Identifier.

        ``identifier`` is a Subscription Identifier (5.0), 0 for none. ``SubscribeDone`` is the answer, unless
        the connection ends first.
        """
        self._need_connected()
        if identifier and (self.version != MQTT_50 or not self.identifiers_available):
            raise LocalProtocolError(
                SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "this server takes no Subscription Identifiers"
            )
        for topic_filter, _ in subscriptions:
            if not self.shared_available and topic_filter.startswith("$share/"):
                raise LocalProtocolError(
                    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, "this server takes no Shared Subscriptions"
                )
            if not self.wildcards_available and has_wildcard(topic_filter):
                raise LocalProtocolError(
                    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED, "this server takes no Wildcard Subscriptions"
                )
        properties = Properties()
        properties.user_properties = user_properties or []
        properties.subscription_identifiers = [identifier] if identifier else []
        packet_id = self.client_session.outgoing.next_packet_id()
        self._request(packet_id, Subscribe(packet_id, subscriptions, properties), now)
        self.subscribing[packet_id] = len(subscriptions)
        return packet_id

    def unsubscribe(
        self, topic_filters: list[str], now: float, user_properties: list[tuple[str, str]] | None = None
    ) -> int:
        """Send UNSUBSCRIBE; its Packet Identifier. ``UnsubscribeDone`` is the answer, as for SUBSCRIBE."""
        self._need_connected()
        properties = Properties()
        properties.user_properties = user_properties or []
        packet_id = self.client_session.outgoing.next_packet_id()
        self._request(packet_id, Unsubscribe(packet_id, topic_filters, properties), now)
        self.unsubscribing[packet_id] = len(topic_filters)
        return packet_id

    def _request(self, packet_id: int, packet: Packet, now: float) -> None:
        """Send SUBSCRIBE or UNSUBSCRIBE, whatever the quota is [MQTT-3.3.4-8]."""
        outgoing = self.client_session.outgoing
        if len(outgoing.reserved) >= MOST_REQUESTS:
            raise LocalProtocolError(QUOTA_EXCEEDED, f"{MOST_REQUESTS} requests have no answer yet")
        data = self._within(encode(packet, self.version))
        outgoing.reserve(packet_id)  # [MQTT-2.2.1-3]
        self.now = now
        self.send(data)

    def auth(self, data: bytes | None, now: float) -> None:
        """Answer ``AuthContinue`` (4.12)."""
        if not self.is_asked:
            raise LocalProtocolError(PROTOCOL_ERROR, "the server has not asked for an AUTH")
        self._send_auth(CONTINUE_AUTHENTICATION, data, now)  # [MQTT-4.12.0-3]
        self.is_asked = False

    def reauthenticate(self, data: bytes | None, now: float) -> None:
        """Authenticate anew (4.12.1); answered by ``AuthContinue``, ``AuthDone`` or the end."""
        self._need_connected()
        if self.authentication_method is None:  # [MQTT-4.12.0-7]
            raise LocalProtocolError(PROTOCOL_ERROR, "CONNECT had no Authentication Method", "MQTT-4.12.0-7")
        if self.reauthenticate_until != NOT_SET:
            raise LocalProtocolError(PROTOCOL_ERROR, "a re-authentication is going on already")
        self._send_auth(RE_AUTHENTICATE, data, now)
        self.reauthenticate_until = now + self.connect_timeout

    def _send_auth(self, reason_code: int, data: bytes | None, now: float) -> None:
        properties = Properties()
        properties.authentication_method = self.authentication_method  # [MQTT-4.12.0-5] [MQTT-4.12.1-1]
        properties.authentication_data = data
        packet = self._within(encode(Auth(reason_code, properties), MQTT_50))
        self.now = now
        self.send(packet)

    def _need_connected(self) -> None:
        if self.state != CONNECTED:
            raise LocalProtocolError(PROTOCOL_ERROR, "this is possible only while connected")

    def _within(self, data: bytes) -> bytes:
        """``data``, a packet of ours; raises ``LocalProtocolError`` if it is too large for the server."""
        if self.is_too_large(len(data)):  # [MQTT-3.2.2-15]
            why = f"a packet of {len(data)} bytes; this server takes {self.peer_max_packet_size} at most"
            raise LocalProtocolError(PACKET_TOO_LARGE, why, "MQTT-3.2.2-15")
        return data

    # ---- what its driver takes ----

    def take_events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events = self.events
        self.events = []
        return events

    def take_output(self) -> bytes:
        """Everything to be written now, as one piece."""
        pieces = self.take_pieces()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, packet: bytes, payload: bytes = b"") -> None:
        if packet:  # there is nothing in what only holds others back
            super().send(packet, payload)
            self.sent_at = self.now

    # ---- time ----

    def ping(self, now: float) -> None:
        """Send PINGREQ; ``PingAnswered`` tells of the answer. Keep Alive does this by itself."""
        self._need_connected()
        self.now = now
        if self.ping_at == NOT_SET:
            self.ping_at = now
        self.send(PINGREQ_PACKET)

    def next_deadline(self) -> float:
        """When ``deadline_reached`` is to be called next; infinity: never."""
        if self.state == CONNECTING and self.connect_packet is not None:
            return self.connect_at + self.connect_timeout
        if self.state != CONNECTED:
            return NOT_SET
        return min(self.dead_at(), self.ping_due(), self.retry_at, self.reauthenticate_until)

    def deadline_reached(self, now: float) -> None:
        """Do what is due: give up waiting for CONNACK, Keep Alive, notice a dead server, send again."""
        if now < self.next_deadline():
            return
        self.now = now
        if self.state == CONNECTING:
            self._end(UNSPECIFIED_ERROR, f"no CONNACK within {self.connect_timeout:g} seconds", False, None)
            return
        if now >= self.dead_at():
            why = f"no PINGRESP, nor anything else, for {self.ping_timeout:g} seconds"
            self._end(KEEP_ALIVE_TIMEOUT, why, False, None)
            return
        if now >= self.reauthenticate_until:  # [MQTT-4.12.1-2]
            why = f"the re-authentication was not finished within {self.connect_timeout:g} seconds"
            self._end(UNSPECIFIED_ERROR, why, False, None)
            return
        if now >= self.ping_due():
            self.ping(now)
        if now >= self.retry_at:
            self.send_unanswered(now)

    # ---- packets in ----

    def begins(self, data: bytes, pos: int) -> None:
        """Refuse what a server may not send now; CONNACK or AUTH is the first packet [MQTT-3.2.0-1]."""
        kind = data[pos] >> 4
        if self.state == CONNECTING and ((kind != CONNACK and kind != AUTH) or self.connect_packet is None):
            raise RemoteProtocolError(PROTOCOL_ERROR, f"packet type {kind} before CONNACK", "MQTT-3.2.0-1")
        if kind in NEVER_FROM_SERVER or (kind == CONNACK and self.state == CONNECTED):
            why = f"a server must not send packet type {kind} now (section 2.1.2)"
            raise RemoteProtocolError(PROTOCOL_ERROR, why)

    def packet(self, data: bytes, pos: int, stop: int, now: float) -> bool:
        """Work on one whole packet; a client is never paused."""
        self.begins(data, pos)
        kind = data[pos] >> 4
        if kind == CONNACK and self.version == MQTT_50 and knows_no_50(data, pos, stop):
            properties = Properties()
            properties.reason_string = why_no_50(data[pos + 3])
            self._refused(UNSUPPORTED_PROTOCOL_VERSION, properties)
            return True
        packet = decode(data, pos, stop, self.version)
        if kind == PUBLISH and isinstance(packet, Publish):
            self.on_publish(packet)
        elif kind == CONNACK and isinstance(packet, Connack):
            self._connack(packet, now)
        elif kind == PINGRESP:
            self._pingresp(now)
        elif kind == DISCONNECT and isinstance(packet, Disconnect):
            self._disconnect(packet)
        else:
            self._answer_came(kind, packet, now)
        return True

    def _answer_came(self, kind: int, packet: Packet, now: float) -> None:
        if kind == PUBACK and isinstance(packet, Puback):
            self._note(packet.properties)
            self.on_puback(packet.packet_id, packet.reason_code, now)
        elif kind == PUBREC and isinstance(packet, Pubrec):
            self._note(packet.properties)
            self.on_pubrec(packet.packet_id, packet.reason_code, now)
        elif kind == PUBREL and isinstance(packet, Pubrel):
            self._note(packet.properties)
            self.on_pubrel(packet.packet_id, now)
        elif kind == PUBCOMP and isinstance(packet, Pubcomp):
            self._note(packet.properties)
            self.on_pubcomp(packet.packet_id, packet.reason_code, now)
        elif kind == SUBACK and isinstance(packet, Suback):
            self._note(packet.properties)
            self._requested(self.subscribing, packet.packet_id, len(packet.reason_codes))
            self.events.append(SubscribeDone(packet.packet_id, packet.reason_codes, packet.properties))
        elif kind == UNSUBACK and isinstance(packet, Unsuback):
            self._note(packet.properties)
            codes = packet.reason_codes
            if self.version != MQTT_50:
                codes = [0] * self.unsubscribing.get(packet.packet_id, 0)
            self._requested(self.unsubscribing, packet.packet_id, len(codes))
            self.events.append(UnsubscribeDone(packet.packet_id, codes, packet.properties))
        else:
            assert isinstance(packet, Auth)
            self._auth(packet)

    def _note(self, properties: Properties | None) -> None:
        """Keep the Reason String for the event; there is none where CONNECT asked for none."""
        self.reason_string = reason_string(properties)
        if properties is not None and not self.wants_problem_information:
            if properties.reason_string is not None or properties.user_properties:  # [MQTT-3.1.2-29]
                raise RemoteProtocolError(
                    PROTOCOL_ERROR, "Reason String or User Property though not wanted", "MQTT-3.1.2-29"
                )

    def _requested(self, requests: dict[int, int], packet_id: int, count: int) -> None:
        """SUBACK or UNSUBACK answers a request, with one Reason Code for each Topic Filter."""
        asked = requests.pop(packet_id, 0)
        if not asked:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, f"no request waits under Packet Identifier {packet_id}", "MQTT-2.2.1-6"
            )
        self.client_session.outgoing.reserved.discard(packet_id)
        if asked != count:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, f"{count} Reason Codes for {asked} Topic Filters", "MQTT-3.8.4-6"
            )

    def _pingresp(self, now: float) -> None:
        if self.ping_at != NOT_SET:
            self.events.append(PingAnswered(now - self.ping_at))
            self.ping_at = NOT_SET

    # ---- CONNACK, AUTH and DISCONNECT in ----

    def _refused(self, reason_code: int, properties: Properties | None) -> None:
        self.state = CLOSED
        self.events.append(ConnectRefused(reason_code, properties))

    def _connack(self, packet: Connack, now: float) -> None:
        connect = self.connect_packet
        assert connect is not None
        if packet.reason_code:
            code = packet.reason_code if self.version == MQTT_50 else REASON_CODES[packet.reason_code]
            self._refused(code, packet.properties)
            return
        if packet.session_present and (connect.clean_start or not self.resumes):
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "the server has a session that this client does not have", "MQTT-3.2.2-4"
            )
        # 3.1 cannot say it: there, a session that may be present is taken to be.
        is_present = packet.session_present or (self.version == MQTT_31 and not connect.clean_start)
        properties = packet.properties if packet.properties is not None else Properties()
        self._check_method(properties.authentication_method)
        self._take_limits(properties)
        self.state = CONNECTED
        self.is_asked = False
        lost = [] if is_present else self.discard_begun()
        self.wait_for_disk()
        self.events.append(Connected(packet, is_present, lost))
        outgoing = self.client_session.outgoing
        most = min(properties.receive_maximum or 65535, self.max_inflight)  # [MQTT-3.3.4-7]
        outgoing.open(min(most, MAXIMUM_PACKET_ID - MOST_REQUESTS), quota_qos_2=self.max_inflight_qos_2)
        if self.starts:
            self.start(now)

    def _take_limits(self, properties: Properties) -> None:
        """What the server takes, and what it has decided for this client (3.2.2.3)."""
        if properties.assigned_client_identifier is not None:
            self.client_session.client_id = properties.assigned_client_identifier
        if properties.session_expiry_interval is not None:
            self.session_expiry = properties.session_expiry_interval
        if properties.server_keep_alive is not None:
            self.keep_alive = float(properties.server_keep_alive)  # [MQTT-3.1.2-21] [MQTT-3.2.2-21]
        if properties.maximum_qos is not None:
            self.maximum_qos = properties.maximum_qos
        self.peer_max_packet_size = properties.maximum_packet_size or 0
        self.retain_available = properties.retain_available != 0
        self.wildcards_available = properties.wildcard_subscription_available != 0
        self.identifiers_available = properties.subscription_identifier_available != 0
        self.shared_available = properties.shared_subscription_available != 0
        self.outgoing_alias_maximum = min(properties.topic_alias_maximum or 0, self.topic_alias_limit)

    def _check_method(self, method: str | None) -> None:
        """Every AUTH and a CONNACK that accepts carry the Authentication Method of CONNECT, or none."""
        if method != self.authentication_method:
            raise RemoteProtocolError(
                PROTOCOL_ERROR,
                "Authentication Method is not the one in CONNECT",
                "MQTT-4.12.0-6" if self.authentication_method is None else "MQTT-4.12.0-5",
            )

    def _auth(self, packet: Auth) -> None:
        properties = packet.properties
        self._note(properties)
        if self.authentication_method is None:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "AUTH without Authentication Method in CONNECT", "MQTT-4.12.0-6"
            )
        self._check_method(properties.authentication_method if properties is not None else None)
        data = properties.authentication_data if properties is not None else None
        if self.is_asked or (self.state == CONNECTED and self.reauthenticate_until == NOT_SET):
            raise RemoteProtocolError(PROTOCOL_ERROR, "AUTH out of turn (section 4.12)")
        if packet.reason_code == CONTINUE_AUTHENTICATION:
            self.is_asked = True
            self.events.append(AuthContinue(data, properties))
        elif packet.reason_code == 0 and self.state == CONNECTED:
            self.reauthenticate_until = NOT_SET
            self.events.append(AuthDone(data, properties))
        else:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "AUTH does not go on with the exchange", "MQTT-4.12.0-2"
            )

    def _disconnect(self, packet: Disconnect) -> None:
        if self.version != MQTT_50:
            raise RemoteProtocolError(PROTOCOL_ERROR, "before MQTT 5.0 a server sends no DISCONNECT")
        if packet.reason_code == DISCONNECT_WITH_WILL_MESSAGE:
            raise RemoteProtocolError(PROTOCOL_ERROR, "a server has no will to publish", "MQTT-3.14.2-1")
        properties = packet.properties
        if properties is not None and properties.session_expiry_interval is not None:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "DISCONNECT of a server has a Session Expiry Interval", "MQTT-3.14.2-2"
            )
        self._end(packet.reason_code, reason_string(properties), True, properties)
