"""The Properties of MQTT 5.0: one class for all packets, one table of what may stand where.

Each row of the table says which attribute holds a Property, its data type, the packets that may carry it
and the values it may have; decoding and encoding both walk it. Source: MQTT 5.0 section 2.2.2 and, for
the allowed values, the Properties section of each Control Packet in chapter 3.
"""

from __future__ import annotations

from typing import Final, final

from curier.codec.constants import (
    ASSIGNED_CLIENT_IDENTIFIER,
    AUTH,
    AUTHENTICATION_DATA,
    AUTHENTICATION_METHOD,
    CONNACK,
    CONNECT,
    CONTENT_TYPE,
    CORRELATION_DATA,
    DISCONNECT,
    MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS,
    MESSAGE_EXPIRY_INTERVAL,
    PAYLOAD_FORMAT_INDICATOR,
    PROTOCOL_ERROR,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    QUOTA_EXCEEDED,
    REASON_STRING,
    RECEIVE_MAXIMUM,
    REQUEST_PROBLEM_INFORMATION,
    REQUEST_RESPONSE_INFORMATION,
    RESPONSE_INFORMATION,
    RESPONSE_TOPIC,
    RETAIN_AVAILABLE,
    SERVER_KEEP_ALIVE,
    SERVER_REFERENCE,
    SESSION_EXPIRY_INTERVAL,
    SHARED_SUBSCRIPTION_AVAILABLE,
    SUBACK,
    SUBSCRIBE,
    SUBSCRIPTION_IDENTIFIER,
    SUBSCRIPTION_IDENTIFIER_AVAILABLE,
    TOPIC_ALIAS,
    TOPIC_ALIAS_INVALID,
    TOPIC_ALIAS_MAXIMUM,
    UNSUBACK,
    UNSUBSCRIBE,
    USER_PROPERTY,
    WILDCARD_SUBSCRIPTION_AVAILABLE,
    WILL_DELAY_INTERVAL,
)
from curier.codec.primitives import (
    Reader,
    encode_binary,
    encode_topic,
    encode_two,
    encode_utf8,
    encode_varint,
)
from curier.errors import LocalProtocolError

WILL: Final = 0
"""Stands for the Will Properties of CONNECT (3.1.3.2) in place of a Control Packet type."""

# Data types (2.2.2.2). FLAG is a byte that is 0 or 1, TOPIC a string that is a Topic Name.
FLAG: Final = 0
TWO: Final = 1
FOUR: Final = 2
VARINT: Final = 3
STRING: Final = 4
TOPIC: Final = 5
BINARY: Final = 6
PAIR: Final = 7


@final
class Properties:
    """The Properties of one Control Packet; ``None`` and empty lists are Properties that are absent.

    Intervals are in whole seconds, ``maximum_packet_size`` in bytes. User Properties keep their order
    [MQTT-3.3.2-18].
    """

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    session_expiry_interval: int | None = None
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    maximum_packet_size: int | None = None
    wildcard_subscription_available: int | None = None
    subscription_identifier_available: int | None = None
    shared_subscription_available: int | None = None

    def __init__(self) -> None:
        self.user_properties: list[tuple[str, str]] = []
        self.subscription_identifiers: list[int] = []

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Properties):
            return False  # not NotImplemented, which is no bool to the compiled form
        for row in _TABLE:
            if getattr(self, row.attribute) != getattr(other, row.attribute):
                return False
        return True

    def __repr__(self) -> str:
        """The Properties that are present; authentication data only by its length."""
        shown = []
        for row in _TABLE:
            value: object = getattr(self, row.attribute)
            if value is None or value == []:
                continue
            if row.identifier == AUTHENTICATION_DATA and isinstance(value, bytes):
                shown.append(f"{row.attribute}=<{len(value)} bytes>")
            else:
                shown.append(f"{row.attribute}={value!r}")
        return f"Properties({', '.join(shown)})"


@final
class Row:
    """One Property: ``packets`` is a set of Control Packet types as bits; a number lies in least to most."""

    def __init__(
        self, identifier: int, name: str, kind: int, packets: list[int], least: int, most: int
    ) -> None:
        self.identifier = identifier
        self.name = name
        self.attribute = name.lower().replace(" ", "_")
        if kind == PAIR:
            self.attribute = "user_properties"
        elif kind == VARINT:
            self.attribute = "subscription_identifiers"
        self.kind = kind
        self.packets = 0
        for packet_type in packets:
            self.packets |= 1 << packet_type
        self.least = least
        self.most = most

    def allows(self, packet_type: int) -> bool:
        return self.packets >> packet_type & 1 != 0

    def repeats(self, packet_type: int) -> bool:
        """User Property always; Subscription Identifier in PUBLISH, not in SUBSCRIBE (3.8.2.1.2)."""
        return self.kind == PAIR or (self.kind == VARINT and packet_type == PUBLISH)

    def refuses(self, number: int) -> str:
        """Why the Property cannot have this value, or ""."""
        if self.least <= number <= self.most:
            return ""
        return f"is {number}, not in {self.least} to {self.most}"


_MESSAGE: Final = [PUBLISH, WILL]
_ANSWERS: Final = [CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH]
_ALL: Final = [WILL, CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, *_ANSWERS]
_MOST_TWO: Final = 0xFFFF
_MOST_FOUR: Final = 0xFFFFFFFF

_TABLE: Final[list[Row]] = [
    Row(PAYLOAD_FORMAT_INDICATOR, "Payload Format Indicator", FLAG, _MESSAGE, 0, 1),
    Row(MESSAGE_EXPIRY_INTERVAL, "Message Expiry Interval", FOUR, _MESSAGE, 0, _MOST_FOUR),
    Row(CONTENT_TYPE, "Content Type", STRING, _MESSAGE, 0, 0),
    Row(RESPONSE_TOPIC, "Response Topic", TOPIC, _MESSAGE, 0, 0),
    Row(CORRELATION_DATA, "Correlation Data", BINARY, _MESSAGE, 0, 0),
    Row(SUBSCRIPTION_IDENTIFIER, "Subscription Identifier", VARINT, [PUBLISH, SUBSCRIBE], 1, 268_435_455),
    Row(
        SESSION_EXPIRY_INTERVAL,
        "Session Expiry Interval",
        FOUR,
        [CONNECT, CONNACK, DISCONNECT],
        0,
        _MOST_FOUR,
    ),
    Row(ASSIGNED_CLIENT_IDENTIFIER, "Assigned Client Identifier", STRING, [CONNACK], 0, 0),
    Row(SERVER_KEEP_ALIVE, "Server Keep Alive", TWO, [CONNACK], 0, _MOST_TWO),
    Row(AUTHENTICATION_METHOD, "Authentication Method", STRING, [CONNECT, CONNACK, AUTH], 0, 0),
    Row(AUTHENTICATION_DATA, "Authentication Data", BINARY, [CONNECT, CONNACK, AUTH], 0, 0),
    Row(REQUEST_PROBLEM_INFORMATION, "Request Problem Information", FLAG, [CONNECT], 0, 1),
    Row(WILL_DELAY_INTERVAL, "Will Delay Interval", FOUR, [WILL], 0, _MOST_FOUR),
    Row(REQUEST_RESPONSE_INFORMATION, "Request Response Information", FLAG, [CONNECT], 0, 1),
    Row(RESPONSE_INFORMATION, "Response Information", STRING, [CONNACK], 0, 0),
    Row(SERVER_REFERENCE, "Server Reference", STRING, [CONNACK, DISCONNECT], 0, 0),
    Row(REASON_STRING, "Reason String", STRING, _ANSWERS, 0, 0),
    Row(RECEIVE_MAXIMUM, "Receive Maximum", TWO, [CONNECT, CONNACK], 1, _MOST_TWO),
    Row(TOPIC_ALIAS_MAXIMUM, "Topic Alias Maximum", TWO, [CONNECT, CONNACK], 0, _MOST_TWO),
    Row(TOPIC_ALIAS, "Topic Alias", TWO, [PUBLISH], 1, _MOST_TWO),
    Row(MAXIMUM_QOS, "Maximum QoS", FLAG, [CONNACK], 0, 1),
    Row(RETAIN_AVAILABLE, "Retain Available", FLAG, [CONNACK], 0, 1),
    Row(USER_PROPERTY, "User Property", PAIR, _ALL, 0, 0),
    Row(MAXIMUM_PACKET_SIZE, "Maximum Packet Size", FOUR, [CONNECT, CONNACK], 1, _MOST_FOUR),
    Row(WILDCARD_SUBSCRIPTION_AVAILABLE, "Wildcard Subscription Available", FLAG, [CONNACK], 0, 1),
    Row(SUBSCRIPTION_IDENTIFIER_AVAILABLE, "Subscription Identifier Available", FLAG, [CONNACK], 0, 1),
    Row(SHARED_SUBSCRIPTION_AVAILABLE, "Shared Subscription Available", FLAG, [CONNACK], 0, 1),
]

BY_IDENTIFIER: Final[dict[int, Row]] = {row.identifier: row for row in _TABLE}


def decode_properties(reader: Reader, packet_type: int) -> Properties:
    """Read a Property Length and the Properties; ``packet_type`` is a Control Packet type or ``WILL``.

    Raises :class:`MalformedPacket` for a Property that has no place in this packet or is not of its data
    type, :class:`RemoteProtocolError` for one that is repeated or has a value that is not allowed.
    """
    properties = Properties()
    start = reader.pos
    length = reader.varint("Property Length")
    outer = reader.end
    if length > outer - reader.pos:
        why = f"is {length}, but {reader.remaining()} bytes are left"
        raise reader.malformed("Property Length", start, reader.pos, why)
    reader.end = reader.pos + length  # no Property reads beyond the Properties
    while reader.pos < reader.end:
        _decode_property(reader, packet_type, properties)
    reader.end = outer
    return properties


def _decode_property(reader: Reader, packet_type: int, properties: Properties) -> None:
    start = reader.pos
    identifier = reader.varint("Property Identifier")
    row = BY_IDENTIFIER.get(identifier)
    if row is None:
        raise reader.malformed("Property Identifier", start, reader.pos, "is not one of MQTT 5.0")
    if not row.allows(packet_type):
        raise reader.malformed(row.name, start, reader.pos, "does not belong in this Control Packet")
    value = _decode_value(reader, row)
    if row.kind == PAIR or row.kind == VARINT:
        values: list[object] = getattr(properties, row.attribute)
        if values and not row.repeats(packet_type):
            raise reader.protocol_error(row.name, start, "is there more than once")
        if len(values) >= reader.max_repeats:
            why = f"is there more than {reader.max_repeats} times"
            raise reader.protocol_error(row.name, start, why, "", QUOTA_EXCEEDED)
        values.append(value)
        return
    if getattr(properties, row.attribute) is not None:
        raise reader.protocol_error(row.name, start, "is there more than once")
    setattr(properties, row.attribute, value)


def find_four(reader: Reader, stop: int, identifier: int) -> int:
    """The number in four bytes of a Property among those up to ``stop``, 0 where it is not there; the others
    are not looked at. Raises :class:`MalformedPacket` where the bytes end before that is clear.
    """
    while reader.pos < stop:
        row = BY_IDENTIFIER.get(reader.byte("Property Identifier"))
        if row is None:
            return 0
        if row.identifier == identifier:
            return reader.four(row.name)
        if row.kind <= FOUR:
            reader.pos += 1 << row.kind
        elif row.kind == VARINT:
            reader.varint(row.name)
        else:
            for _ in range(2 if row.kind == PAIR else 1):
                size = reader.two(row.name)
                reader.pos += size
    return 0


def _decode_value(reader: Reader, row: Row) -> object:
    kind = row.kind
    name = row.name
    start = reader.pos
    if kind == STRING:
        return reader.utf8(name)
    if kind == PAIR:
        return reader.utf8("User Property name"), reader.utf8("User Property value")  # [MQTT-1.5.7-1]
    if kind == BINARY:
        return reader.binary(name)
    if kind == TOPIC:
        return reader.nonempty(reader.topic(name, "MQTT-3.3.2-14"), name)  # [MQTT-3.3.2-14]
    if kind == TWO:
        number = reader.two(name)
    elif kind == FOUR:
        number = reader.four(name)
    elif kind == FLAG:
        number = reader.byte(name)
    else:
        number = reader.varint(name)
    why = row.refuses(number)
    if why:
        if row.identifier == TOPIC_ALIAS:
            raise reader.protocol_error(
                name, start, why, "MQTT-3.3.2-8", TOPIC_ALIAS_INVALID
            )  # [MQTT-3.3.2-8]
        raise reader.protocol_error(name, start, why)
    return number


def encode_properties(properties: Properties | None, packet_type: int) -> bytes:
    """The Property Length and the Properties; ``packet_type`` is a Control Packet type or ``WILL``.

    Raises :class:`LocalProtocolError` for a Property that has no place in this packet, that is there more
    often than it may be, or whose value is not allowed.
    """
    if properties is None:
        return b"\x00"  # [MQTT-2.2.2-1]
    parts: list[bytes] = []
    for row in _TABLE:
        value: object = getattr(properties, row.attribute)
        if value is None:
            continue
        values: list[object] = value if isinstance(value, list) else [value]
        if values and not row.allows(packet_type):
            raise LocalProtocolError(PROTOCOL_ERROR, f"{row.name} does not belong in this Control Packet")
        if len(values) > 1 and not row.repeats(packet_type):
            raise LocalProtocolError(PROTOCOL_ERROR, f"{row.name} is there more than once")
        for item in values:
            parts.append(bytes([row.identifier]) + _encode_value(row, item))
    encoded = b"".join(parts)
    return encode_varint(len(encoded)) + encoded


def _encode_value(row: Row, value: object) -> bytes:
    if isinstance(value, str):
        return encode_topic(value) if row.kind == TOPIC else encode_utf8(value)
    if isinstance(value, bytes):
        return encode_binary(value)
    if isinstance(value, tuple):
        name, text = value
        return encode_utf8(name) + encode_utf8(text)  # [MQTT-1.5.7-1]
    assert isinstance(value, int)
    why = row.refuses(value)
    if why:
        raise LocalProtocolError(PROTOCOL_ERROR, f"{row.name} {why}")
    if row.kind == TWO:
        return encode_two(value)
    if row.kind == FOUR:
        return value.to_bytes(4, "big")
    return encode_varint(value)  # which a byte that is 0 or 1 is as well
