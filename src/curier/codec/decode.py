"""Bytes to Control Packets, strictly by the version of the connection.

One function a packet, in the order of its fields. The codec knows no state and no role: what only one side
may send, or only at a certain time, is judged by ``curier.protocol``. Bytes that cannot be parsed are a
:class:`MalformedPacket` (0x81); what can be parsed but must not be is a :class:`RemoteProtocolError`
(0x82 or a more exact Reason Code), as 5.0 section 1.2 distinguishes them. Statements are cited by their
id in 5.0, and those only 3.1.1 has as ``"3.1.1/MQTT-..."``.

Source: MQTT 5.0 chapters 2 and 3; MQTT 3.1.1 chapters 2 and 3; for version 3, MQTT 3.1.
"""

from __future__ import annotations

from typing import Final, final

from curier.codec.constants import (
    AUTH,
    BRIDGE_BIT,
    CONNACK,
    CONNECT,
    DISCONNECT,
    MAXIMUM_PACKET_SIZE,
    MQTT_31,
    MQTT_50,
    MQTT_311,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from curier.codec.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)
from curier.codec.primitives import NO_LIMIT, Reader
from curier.codec.properties import WILL, Properties, decode_properties, find_four
from curier.codec.reasons import reason_code_allowed, reason_code_statement
from curier.errors import MalformedPacket

_DUP: Final = 0b1000
_ACKNOWLEDGED_FLAGS: Final = 0b0010  # of PUBREL, SUBSCRIBE and UNSUBSCRIBE (2.1.3)

# Connect Flags (3.1.2.3)
_RESERVED: Final = 0x01
_CLEAN_START: Final = 0x02
_WILL_FLAG: Final = 0x04
_WILL_QOS: Final = 0x18
_WILL_RETAIN: Final = 0x20
_PASSWORD: Final = 0x40
_USER_NAME: Final = 0x80

# Subscription Options (3.8.3.1)
_NO_LOCAL: Final = 0x04


def decode(data: bytes, start: int, end: int, version: int, max_repeats: int = NO_LIMIT) -> Packet:
    """The one whole Control Packet that is ``data[start:end]``, in MQTT ``version`` 3, 4 or 5.

    A Property that may come more than once comes ``max_repeats`` times at most, or is refused with 0x97.
    A CONNECT says its own version; ``version`` does not matter for it. Raises :class:`MalformedPacket` or
    :class:`RemoteProtocolError`, nothing else, whatever the bytes are.
    """
    reader = Reader(data, start, end)
    reader.max_repeats = max_repeats
    first = reader.byte("Fixed Header")
    packet_type = first >> 4
    if packet_type == CONNECT:
        version = claimed_version(data, start, end)
    _check_header(reader, packet_type, first & 0x0F, version)
    packet = _decode_body(reader, packet_type, first & 0x0F, version)
    reader.expect_end()
    return packet


def _check_header(reader: Reader, packet_type: int, flags: int, version: int) -> None:
    """Refuse a first byte or a Remaining Length that cannot be; the latter is read."""
    _check_flags(reader, packet_type, flags, version)
    length = reader.varint("Remaining Length", version != MQTT_50)
    if length != reader.remaining():
        why = f"is {length}, but {reader.remaining()} bytes follow"
        raise reader.malformed("Remaining Length", reader.start + 1, reader.pos, why)


@final
class LargeRequest:
    """A SUBSCRIBE or UNSUBSCRIBE that is read piece by piece; ``filters`` are UTF-8, as far as they are read.

    ``data[start:end]`` is the packet. Raises what ``decode`` raises, when it comes to the fault.
    """

    def __init__(self, data: bytes, start: int, end: int, version: int, max_repeats: int) -> None:
        self._reader = reader = Reader(data, start, end)
        reader.max_repeats = max_repeats
        first = reader.byte("Fixed Header")
        self.packet_type: int = first >> 4
        self.version = version
        _check_header(reader, self.packet_type, first & 0x0F, version)
        self.packet_id: int = reader.packet_id()
        self.properties: Properties | None = _properties(reader, self.packet_type, version)
        if not reader.remaining():  # [MQTT-3.8.3-2] [MQTT-3.10.3-2]
            raise reader.protocol_error("the payload", reader.pos, "has no Topic Filter", "MQTT-3.8.3-2")
        self.filters: list[bytes] = []
        self.options: list[int] = []  # Subscription Options, of SUBSCRIBE

    def read(self, most_bytes: int, most_filters: int) -> bool:
        """Read at least one more filter, up to about so much; was that all?"""
        reader = self._reader
        stop = reader.pos + most_bytes
        most = len(self.filters) + most_filters
        while reader.remaining():
            if self.packet_type == SUBSCRIBE:
                topic_filter, options = _subscription(reader, self.version)
                self.options.append(options)
            else:
                topic_filter = reader.topic_filter(self.version)  # [MQTT-3.10.3-1]
            self.filters.append(topic_filter.encode())
            if reader.pos >= stop or len(self.filters) >= most:
                break
        return not reader.remaining()


def claimed_version(data: bytes, start: int, end: int) -> int:
    """The version that the CONNECT at ``start`` claims, as far as that has come; ``MQTT_311`` for others."""
    at = start + 1
    while at < end and data[at] > 127:
        at += 1
    if data[at + 1 : at + 8] == b"\x00\x04MQTT\x05":
        return MQTT_50
    if data[at + 1 : at + 10] in (b"\x00\x06MQIsdp\x03", b"\x00\x06MQIsdp\x83"):  # a bridge says 0x83
        return MQTT_31
    return MQTT_311


CLAIM_BYTES: Final = 4096  # of a CONNECT that may not be right, or whole
SHORTEST_CONNACK: Final = 5  # bytes, in 5.0 (3.2)


def claimed_limit(data: bytes, start: int, end: int) -> int:
    """The Maximum Packet Size of the CONNECT of 5.0 at ``start``, which may be wrong elsewhere; 0 where it
    has none. As long as that cannot be seen, it takes the shortest CONNACK.
    """
    reader = Reader(data, start + 1, min(end, start + CLAIM_BYTES))
    try:
        reader.varint("Remaining Length", may_be_long=True)
        reader.pos += 10  # Protocol Name, Protocol Version, Connect Flags, Keep Alive
        length = reader.varint("Property Length")
        stop = reader.pos + length
        return find_four(reader, stop, MAXIMUM_PACKET_SIZE)
    except MalformedPacket:
        return SHORTEST_CONNACK


def _check_flags(reader: Reader, packet_type: int, flags: int, version: int) -> None:
    """Refuse reserved flags (2.1.3) and reserved packet types (2.1.2)."""
    if packet_type == 0 or (packet_type == AUTH and version != MQTT_50):
        raise reader.malformed(
            "Control Packet type", reader.start, reader.pos, f"is {packet_type}, which is reserved"
        )
    if packet_type == PUBLISH:
        return
    expected = 0
    if packet_type == PUBREL or packet_type == SUBSCRIBE or packet_type == UNSUBSCRIBE:
        expected = _ACKNOWLEDGED_FLAGS  # [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
    if version == MQTT_31:
        # Its text reserves none of these bits: it marks repetitions (DUP), gives these three QoS 1, and
        # calls all others "not used".
        flags &= expected
    if flags != expected:
        # [MQTT-2.1.3-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1], 3.1.1: [MQTT-2.2.2-1] [MQTT-2.2.2-2]
        why = f"has the flags {flags:04b}, not {expected:04b}"
        raise reader.malformed("Fixed Header", reader.start, reader.pos, why, "MQTT-2.1.3-1")


def _decode_body(reader: Reader, packet_type: int, flags: int, version: int) -> Packet:
    if packet_type == PUBLISH:
        return _publish(reader, flags, version)
    if PUBACK <= packet_type <= PUBCOMP:
        return _acknowledgement(reader, packet_type, version)
    if packet_type == SUBSCRIBE:
        return _subscribe(reader, version)
    if packet_type == SUBACK:
        return _suback(reader, version)
    if packet_type == UNSUBSCRIBE:
        return _unsubscribe(reader, version)
    if packet_type == UNSUBACK:
        return _unsuback(reader, version)
    if packet_type == PINGREQ:
        return Pingreq()
    if packet_type == PINGRESP:
        return Pingresp()
    if packet_type == DISCONNECT:
        return _disconnect(reader, version)
    if packet_type == CONNECT:
        return _connect(reader)
    if packet_type == CONNACK:
        return _connack(reader, version)
    return _auth(reader)


def _properties(reader: Reader, packet_type: int, version: int) -> Properties | None:
    """The Properties; ``None`` where a packet has none, as always before 5.0."""
    if version != MQTT_50:
        return None
    start = reader.pos
    properties = decode_properties(reader, packet_type)
    return None if reader.pos == start + 1 else properties


def _reason_code(reader: Reader, packet_type: int, version: int) -> int:
    start = reader.pos
    code = reader.byte("Reason Code")
    if not reason_code_allowed(packet_type, code, version):
        why = f"is 0x{code:02X}, which this Control Packet does not have"
        raise reader.protocol_error("Reason Code", start, why, reason_code_statement(packet_type))
    return code


def _require_method(reader: Reader, properties: Properties | None) -> None:
    """Refuse Authentication Data without Authentication Method (3.1.2.11.10)."""
    if properties is not None and properties.authentication_data is not None:
        if properties.authentication_method is None:
            raise reader.protocol_error(
                "Authentication Data", reader.pos, "is there without Authentication Method"
            )


def _connect(reader: Reader) -> Connect:
    """CONNECT (3.1)."""
    level = _protocol_version(reader)
    version = level & ~BRIDGE_BIT
    at = reader.pos
    flags = reader.byte("Connect Flags")
    _check_connect_flags(reader, at, flags, version)
    keep_alive = reader.two("Keep Alive")
    properties = _properties(reader, CONNECT, version)
    _require_method(reader, properties)
    # The payload, in this order [MQTT-3.1.3-1] [MQTT-3.1.3-3]
    client_id = reader.utf8("Client Identifier")  # [MQTT-3.1.3-4]
    will = None
    if flags & _WILL_FLAG:  # [MQTT-3.1.2-9]
        will_properties = _properties(reader, WILL, version)
        topic = reader.nonempty(reader.topic("Will Topic", "MQTT-4.7.0-1"), "Will Topic")  # [MQTT-3.1.3-11]
        payload = reader.binary("Will Payload")
        will = Will(topic, payload, flags >> 3 & 3, flags & _WILL_RETAIN != 0, will_properties)
    # [MQTT-3.1.2-16] to [MQTT-3.1.2-19], [MQTT-3.1.3-12]
    username = reader.utf8("User Name") if flags & _USER_NAME else None
    password = reader.binary("Password") if flags & _PASSWORD else None
    clean_start = flags & _CLEAN_START != 0
    return Connect(
        version,
        client_id,
        clean_start,
        keep_alive,
        username,
        password,
        will,
        properties,
        is_bridge=level != version,
    )


def _protocol_version(reader: Reader) -> int:
    """The Protocol Version as it is on the wire: of a bridge, with its high bit."""
    start = reader.pos
    name = reader.binary("Protocol Name")
    if name != b"MQTT" and name != b"MQIsdp":
        raise reader.malformed(
            "Protocol Name", start, reader.pos, "is not MQTT", "MQTT-3.1.2-1"
        )  # [MQTT-3.1.2-1]
    level = reader.byte("Protocol Version")
    version = level & ~BRIDGE_BIT
    if (
        (name == b"MQIsdp" and version == MQTT_31)
        or (name == b"MQTT" and version == MQTT_311)
        or (name == b"MQTT" and level == MQTT_50)
    ):
        return level
    # [MQTT-3.1.2-2]
    why = f"Protocol Version {level} of {name.decode()} is not supported"
    error = MalformedPacket(why, "MQTT-3.1.2-2", UNSUPPORTED_PROTOCOL_VERSION)
    error.start = reader.pos - 1 - reader.start
    error.end = reader.pos - reader.start
    raise error


def _check_connect_flags(reader: Reader, at: int, flags: int, version: int) -> None:
    """The rules of section 3.1.2.3 and its neighbours."""
    why = statement = ""
    if version == MQTT_31:  # has no use for the lowest bit, nor for Will QoS and Retain without Will Flag
        flags &= ~_RESERVED if flags & _WILL_FLAG else ~(_RESERVED | _WILL_QOS | _WILL_RETAIN)
    if flags & _RESERVED:
        why, statement = "has the reserved flag", "MQTT-3.1.2-3"  # [MQTT-3.1.2-3]
    elif flags >> 3 & 3 == 3:
        why, statement = "has Will QoS 3", "MQTT-3.1.2-12"  # [MQTT-3.1.2-12]
    elif not flags & _WILL_FLAG and flags >> 3 & 3:
        why, statement = "has a Will QoS without Will Flag", "MQTT-3.1.2-11"  # [MQTT-3.1.2-11]
    elif not flags & _WILL_FLAG and flags & _WILL_RETAIN:
        why, statement = "has Will Retain without Will Flag", "MQTT-3.1.2-13"  # [MQTT-3.1.2-13]
    elif version != MQTT_50 and flags & _PASSWORD and not flags & _USER_NAME:
        why, statement = "has Password Flag without User Name Flag", "3.1.1/MQTT-3.1.2-22"
    if why:
        raise reader.malformed("Connect Flags", at, reader.pos, why, statement)


def _connack(reader: Reader, version: int) -> Connack:
    """CONNACK (3.2)."""
    start = reader.pos
    flags = reader.byte("Connect Acknowledge Flags")
    if flags > 1 and version != MQTT_31:  # which does not use this byte
        # [MQTT-3.2.2-1]
        raise reader.malformed(
            "Connect Acknowledge Flags", start, reader.pos, "has reserved flags", "MQTT-3.2.2-1"
        )
    session_present = flags == 1 and version != MQTT_31  # which has no Session Present
    code = _reason_code(reader, CONNACK, version)
    if session_present and code:
        # [MQTT-3.2.2-6], 3.1.1: [MQTT-3.2.2-4]
        raise reader.protocol_error("Session Present", start, "is 1 in a refusal", "MQTT-3.2.2-6")
    properties = _properties(reader, CONNACK, version)
    _require_method(reader, properties)
    return Connack(session_present, code, properties)


def _publish(reader: Reader, flags: int, version: int) -> Publish:
    """PUBLISH (3.3)."""
    qos = flags >> 1 & 3
    dup = flags & _DUP != 0 and (qos != 0 or version != MQTT_31)  # where it means nothing then
    if qos == 3:
        raise reader.malformed("Fixed Header", reader.start, reader.start + 1, "has QoS 3", "MQTT-3.3.1-4")
    if dup and not qos:
        raise reader.malformed(
            "Fixed Header", reader.start, reader.start + 1, "has DUP with QoS 0", "MQTT-3.3.1-2"
        )
    start = reader.pos
    topic = reader.topic("Topic Name", "MQTT-3.3.2-2")  # [MQTT-3.3.2-1] [MQTT-3.3.2-2]
    if version != MQTT_50:
        reader.nonempty(topic, "Topic Name")
    packet_id = reader.packet_id() if qos else 0  # [MQTT-2.2.1-2]
    properties = _properties(reader, PUBLISH, version)
    if not topic and (properties is None or properties.topic_alias is None):
        raise reader.protocol_error(
            "Topic Name", start, "is empty and there is no Topic Alias", "MQTT-4.7.3-1"
        )
    return Publish(topic, reader.rest(), qos, dup, flags & 1 != 0, packet_id, properties)


def _acknowledgement(reader: Reader, packet_type: int, version: int) -> Packet:
    """PUBACK, PUBREC, PUBREL or PUBCOMP (3.4 to 3.7)."""
    packet_id = reader.packet_id()
    code = 0
    properties = None
    if version == MQTT_50 and reader.remaining():
        code = _reason_code(reader, packet_type, version)
        if reader.remaining():  # a Remaining Length of 3 means no Properties
            properties = _properties(reader, packet_type, version)
    if packet_type == PUBACK:
        return Puback(packet_id, code, properties)
    if packet_type == PUBREC:
        return Pubrec(packet_id, code, properties)
    if packet_type == PUBREL:
        return Pubrel(packet_id, code, properties)
    return Pubcomp(packet_id, code, properties)


def _subscribe(reader: Reader, version: int) -> Subscribe:
    """SUBSCRIBE (3.8)."""
    packet_id = reader.packet_id()
    properties = _properties(reader, SUBSCRIBE, version)
    if not reader.remaining():
        raise reader.protocol_error(
            "SUBSCRIBE", reader.pos, "has no Topic Filter", "MQTT-3.8.3-2"
        )  # [MQTT-3.8.3-2]
    subscriptions = []
    while reader.remaining():
        subscriptions.append(_subscription(reader, version))
    return Subscribe(packet_id, subscriptions, properties)


def _subscription(reader: Reader, version: int) -> tuple[str, int]:
    """A Topic Filter and its Subscription Options."""
    topic_filter = reader.topic_filter(version)  # [MQTT-3.8.3-1]
    at = reader.pos
    options = reader.byte("Subscription Options")
    if version == MQTT_31:
        options &= 3  # it does not use the others
    _check_subscription_options(reader, at, topic_filter, options, version)
    return topic_filter, options


def _check_subscription_options(
    reader: Reader, at: int, topic_filter: str, options: int, version: int
) -> None:
    """The rules of section 3.8.3.1."""
    name = "Subscription Options"
    if version != MQTT_50:
        if options > 2:  # the id is misspelt so in the specification
            raise reader.malformed(name, at, reader.pos, "is not 0, 1 or 2", "3.1.1/MQTT-3.8.3-4")
    elif options & 0xC0:
        raise reader.malformed(name, at, reader.pos, "has reserved bits", "MQTT-3.8.3-5")  # [MQTT-3.8.3-5]
    elif options & 0x03 == 3:
        raise reader.protocol_error(name, at, "has Maximum QoS 3")
    elif options >> 4 == 3:
        raise reader.protocol_error(name, at, "has Retain Handling 3")
    elif options & _NO_LOCAL and topic_filter.startswith("$share/"):
        why = "has No Local on a Shared Subscription"
        raise reader.protocol_error(name, at, why, "MQTT-3.8.3-4")  # [MQTT-3.8.3-4]


def _suback(reader: Reader, version: int) -> Suback:
    """SUBACK (3.9)."""
    packet_id = reader.packet_id()
    properties = _properties(reader, SUBACK, version)
    return Suback(packet_id, _reason_codes(reader, SUBACK, version), properties)


def _unsubscribe(reader: Reader, version: int) -> Unsubscribe:
    """UNSUBSCRIBE (3.10)."""
    packet_id = reader.packet_id()
    properties = _properties(reader, UNSUBSCRIBE, version)
    if not reader.remaining():
        # [MQTT-3.10.3-2]
        raise reader.protocol_error("UNSUBSCRIBE", reader.pos, "has no Topic Filter", "MQTT-3.10.3-2")
    topic_filters = []
    while reader.remaining():
        topic_filters.append(reader.topic_filter(version))  # [MQTT-3.10.3-1]
    return Unsubscribe(packet_id, topic_filters, properties)


def _unsuback(reader: Reader, version: int) -> Unsuback:
    """UNSUBACK (3.11)."""
    packet_id = reader.packet_id()
    if version != MQTT_50:
        return Unsuback(packet_id, [])
    properties = _properties(reader, UNSUBACK, version)
    return Unsuback(packet_id, _reason_codes(reader, UNSUBACK, version), properties)


def _reason_codes(reader: Reader, packet_type: int, version: int) -> list[int]:
    """One or more Reason Codes, to the end (2.4)."""
    codes = [_reason_code(reader, packet_type, version)]
    while reader.remaining():
        codes.append(_reason_code(reader, packet_type, version))
    return codes


def _disconnect(reader: Reader, version: int) -> Disconnect:
    """DISCONNECT (3.14)."""
    if version != MQTT_50 or not reader.remaining():
        return Disconnect()
    code = _reason_code(reader, DISCONNECT, version)
    if not reader.remaining():  # a Remaining Length of 1 means no Properties
        return Disconnect(code)
    return Disconnect(code, _properties(reader, DISCONNECT, version))


def _auth(reader: Reader) -> Auth:
    """AUTH (3.15)."""
    if not reader.remaining():
        return Auth()  # Success; the one AUTH that may go without Authentication Method (3.15.2.1)
    code = _reason_code(reader, AUTH, MQTT_50)
    properties = _properties(reader, AUTH, MQTT_50)
    if properties is None or properties.authentication_method is None:
        raise reader.protocol_error("AUTH", reader.pos, "has no Authentication Method")
    return Auth(code, properties)
