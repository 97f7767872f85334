"""PUBLISH, flat: the one Control Packet whose cost decides the speed of a broker (section 3.3).

Hot file. It repeats, without a cursor object and without ``Properties``, what ``primitives``,
``properties`` and ``decode`` say readably about PUBLISH; ``tests/codec/test_publish.py`` holds the two
equal on every wire case and on random packets, and ``bench/codec.py`` shows what the flat form saves.

A broker forwards the Properties of a message as the bytes it received: the spec wants them unaltered and
in order [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20].
Only three concern the hop and not the message; they are cut out here: Topic Alias, Message Expiry
Interval and Subscription Identifier.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import read_i16_be
from mypy_extensions import i64, mypyc_attr

from curier.codec.constants import (
    CONTENT_TYPE,
    CORRELATION_DATA,
    MAXIMUM_REMAINING_LENGTH,
    MESSAGE_EXPIRY_INTERVAL,
    MQTT_31,
    MQTT_50,
    PAYLOAD_FORMAT_INDICATOR,
    PROTOCOL_ERROR,
    PUBLISH,
    QUOTA_EXCEEDED,
    RESPONSE_TOPIC,
    SUBSCRIPTION_IDENTIFIER,
    TOPIC_ALIAS,
    TOPIC_ALIAS_INVALID,
    USER_PROPERTY,
)
from curier.codec.primitives import LARGE_PIECE, NO_LIMIT, encode_two, encode_varint
from curier.codec.properties import Properties, encode_properties
from curier.errors import LocalProtocolError, MalformedPacket, RemoteProtocolError

NO_EXPIRY: Final = -1
NOT_SHORT: Final = 1 << 30

# Bytes to look for as ints: `0 in data` is one scan, `b"\x00" in data` first raises and catches a TypeError.
_HASH: Final = 0x23
_PLUS: Final = 0x2B


@final
@mypyc_attr(acyclic=True)
class IncomingPublish:
    """One PUBLISH as received: fields cut out of the chunk, nothing decoded that need not be.

    ``topic`` is the Topic Name in UTF-8, checked to be well-formed and free of U+0000 and wildcards; empty
    only where ``topic_alias`` is not 0. ``properties`` are the encoded Properties to forward, without a
    length. ``expiry_interval`` is in seconds, ``NO_EXPIRY`` where there is none.
    """

    __slots__ = (
        "dup",
        "expiry_interval",
        "has_subscription_identifier",
        "is_text",
        "packet_id",
        "payload",
        "properties",
        "qos",
        "retain",
        "topic",
        "topic_alias",
    )  # fmt: skip

    def __init__(self, first: int) -> None:
        self.qos: int = (first >> 1) & 3
        self.dup: bool = (first & 8) != 0
        self.retain: bool = (first & 1) != 0
        self.topic: bytes = b""
        self.packet_id: int = 0
        self.topic_alias: int = 0
        self.expiry_interval: int = NO_EXPIRY
        self.has_subscription_identifier: bool = False
        self.is_text: bool = False
        self.properties: bytes = b""
        self.payload: bytes = b""


def parse_publish(
    data: bytes, start: int, stop: int, version: int, max_repeats: int = NO_LIMIT
) -> IncomingPublish:
    """Parse the PUBLISH that fills ``data[start:stop]``, fixed header included, with at most ``max_repeats``
    Properties of those that may come more than once.

    Raises ``MalformedPacket`` or ``RemoteProtocolError`` with the statement that was broken.
    """
    first = data[start]
    publish = IncomingPublish(first)
    if publish.qos == 3:
        raise MalformedPacket("PUBLISH has both QoS bits set", "MQTT-3.3.1-4")
    if publish.qos == 0 and publish.dup:
        if version == MQTT_31:  # where it means nothing then
            publish.dup = False
        else:
            raise MalformedPacket("PUBLISH with QoS 0 has DUP set", "MQTT-3.3.1-2")
    pos = start + 1
    while data[pos] > 127:  # the Remaining Length was checked when the packet was framed
        pos += 1
    pos += 1

    if pos + 2 > stop:
        raise MalformedPacket("PUBLISH ends before its Topic Name", "MQTT-3.3.2-1")
    length = (data[pos] << 8) | data[pos + 1]
    pos += 2
    if pos + length > stop:
        raise MalformedPacket("PUBLISH ends within its Topic Name", "MQTT-3.3.2-1")
    publish.topic = data[pos : pos + length]
    pos += length
    _check_topic_name(publish.topic)

    if publish.qos:
        if pos + 2 > stop:
            raise MalformedPacket("PUBLISH ends before its Packet Identifier", "MQTT-2.2.1-3")
        publish.packet_id = (data[pos] << 8) | data[pos + 1]
        pos += 2
        if not publish.packet_id:
            raise MalformedPacket("PUBLISH has Packet Identifier 0", "MQTT-2.2.1-3")

    if version == MQTT_50:
        pos = parse_properties(data, pos, stop, publish, max_repeats)
        if not length and not publish.topic_alias:
            raise RemoteProtocolError(
                PROTOCOL_ERROR, "PUBLISH has neither Topic Name nor Topic Alias", "MQTT-4.7.3-1"
            )
    elif not length:
        raise MalformedPacket("PUBLISH has an empty Topic Name", "MQTT-4.7.3-1")
    publish.payload = data[pos:stop]
    return publish


def _check_topic_name(topic: bytes) -> None:
    try:
        topic.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacket(
            f"Topic Name {topic!r} is not well-formed UTF-8: {error.reason}", "MQTT-1.5.4-1"
        ) from None
    if 0 in topic:
        raise MalformedPacket(f"Topic Name {topic!r} contains U+0000", "MQTT-1.5.4-2")
    if _HASH in topic or _PLUS in topic:
        raise MalformedPacket(f"Topic Name {topic!r} contains a wildcard", "MQTT-3.3.2-2")


def parse_properties(data: bytes, pos: int, stop: int, publish: IncomingPublish, max_repeats: int) -> int:
    """Parse the Properties at ``pos`` into ``publish``; returns where the payload begins. Raises as
    ``parse_publish``.
    """
    if pos >= stop:
        raise MalformedPacket("PUBLISH ends before its Property Length", "MQTT-2.2.2-1")
    length = data[pos]
    pos += 1
    if not length:
        return pos
    if length > 127:
        pos -= 1
        length, pos = _varint(data, pos, stop, "Property Length")
    end = pos + length
    if end > stop:
        raise MalformedPacket(f"Property Length {length} goes {end - stop} bytes beyond the PUBLISH")

    kept: list[bytes] = []  # runs of Properties that are forwarded
    run = pos  # where the current run began
    seen = 0  # a bit per identifier that may come only once
    repeats = 0  # of all others
    while pos < end:
        identifier = data[pos]
        begin = pos
        pos += 1
        if identifier != USER_PROPERTY and identifier != SUBSCRIPTION_IDENTIFIER and identifier < 64:
            if seen & (1 << identifier):
                raise RemoteProtocolError(PROTOCOL_ERROR, f"PUBLISH has Property 0x{identifier:02X} twice")
            seen |= 1 << identifier
        else:
            repeats += 1
            if repeats > max_repeats:
                why = f"PUBLISH has more than {max_repeats} User Properties or Subscription Identifiers"
                raise RemoteProtocolError(QUOTA_EXCEEDED, why)
        forward = True
        if identifier == USER_PROPERTY:
            pos = _string(data, _string(data, pos, end, "User Property name"), end, "User Property value")
        elif identifier == CORRELATION_DATA:
            pos = _binary(data, pos, end, "Correlation Data")
        elif identifier == RESPONSE_TOPIC:
            begin_text = pos + 2
            pos = _string(data, pos, end, "Response Topic")
            response_topic = data[begin_text:pos]
            if _HASH in response_topic or _PLUS in response_topic:
                raise MalformedPacket("Response Topic contains a wildcard", "MQTT-3.3.2-14")
            if not response_topic:
                raise MalformedPacket("Response Topic is empty", "MQTT-4.7.3-1")
        elif identifier == CONTENT_TYPE:
            pos = _string(data, pos, end, "Content Type")
        elif identifier == PAYLOAD_FORMAT_INDICATOR:
            if pos >= end:
                raise MalformedPacket("Properties end within Payload Format Indicator")
            if data[pos] > 1:
                raise RemoteProtocolError(
                    PROTOCOL_ERROR, f"Payload Format Indicator is {data[pos]}, not 0 or 1"
                )
            publish.is_text = data[pos] == 1
            pos += 1
        elif identifier == MESSAGE_EXPIRY_INTERVAL:
            if pos + 4 > end:
                raise MalformedPacket("Properties end within Message Expiry Interval")
            publish.expiry_interval = (
                (data[pos] << 24) | (data[pos + 1] << 16) | (data[pos + 2] << 8) | data[pos + 3]
            )
            pos += 4
            forward = False
        elif identifier == TOPIC_ALIAS:
            if pos + 2 > end:
                raise MalformedPacket("Properties end within Topic Alias")
            publish.topic_alias = (data[pos] << 8) | data[pos + 1]
            if not publish.topic_alias:
                raise RemoteProtocolError(TOPIC_ALIAS_INVALID, "Topic Alias is 0", "MQTT-3.3.2-8")
            pos += 2
            forward = False
        elif identifier == SUBSCRIPTION_IDENTIFIER:
            value, pos = _varint(data, pos, end, "Subscription Identifier")
            if not value:
                raise RemoteProtocolError(PROTOCOL_ERROR, "Subscription Identifier is 0")
            publish.has_subscription_identifier = True
            forward = False
        else:
            raise MalformedPacket(f"Property 0x{identifier:02X} is not allowed in PUBLISH")
        if not forward:
            if begin > run:
                kept.append(data[run:begin])
            run = pos
    if run < end:
        kept.append(data[run:end])
    if kept:
        publish.properties = kept[0] if len(kept) == 1 else b"".join(kept)
    return end


def _varint(data: bytes, pos: int, end: int, what: str) -> tuple[int, int]:
    """The Variable Byte Integer at ``pos`` (1.5.5) and the position behind it."""
    value = 0
    shift = 0
    while True:
        if pos >= end:
            raise MalformedPacket(f"packet ends within {what}")
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if not byte and shift:
                raise MalformedPacket(f"{what} is not encoded in the fewest bytes", "MQTT-1.5.5-1")
            return value, pos
        shift += 7
        if shift > 21:
            raise MalformedPacket(f"{what} is longer than four bytes", "MQTT-1.5.5-1")


def _binary(data: bytes, pos: int, end: int, what: str) -> int:
    """Skip Binary Data (1.5.6) at ``pos``; returns the position behind it."""
    if pos + 2 > end:
        raise MalformedPacket(f"Properties end within {what}")
    pos += 2 + ((data[pos] << 8) | data[pos + 1])
    if pos > end:
        raise MalformedPacket(f"Properties end within {what}")
    return pos


def _string(data: bytes, pos: int, end: int, what: str) -> int:
    """Check and skip a UTF-8 Encoded String (1.5.4) at ``pos``; returns the position behind it."""
    begin = pos + 2
    pos = _binary(data, pos, end, what)
    text = data[begin:pos]
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacket(
            f"{what} {text!r} is not well-formed UTF-8: {error.reason}", "MQTT-1.5.4-1"
        ) from None
    if 0 in text:
        raise MalformedPacket(f"{what} {text!r} contains U+0000", "MQTT-1.5.4-2")
    return pos


def head_end(data: bytes, pos: int, end: int, version: int, most_properties: int = NO_LIMIT) -> int:
    """The index after everything of the PUBLISH at ``pos`` that comes before its payload, as far as that can
    be told from ``data[pos:end]``; beyond ``end`` where more of it is still to come, and needed to tell.

    Raises ``RemoteProtocolError`` for a Property Length over ``most_properties``. What else is wrong is found
    when it is parsed.
    """
    first = data[pos]
    pos += 1
    while data[pos] > 127:  # the Remaining Length was checked when the packet was framed
        pos += 1
    pos += 3
    if pos > end:
        return pos
    pos += (data[pos - 2] << 8) | data[pos - 1]
    if first & 6:
        pos += 2
    if version != MQTT_50:
        return pos
    length = 0
    shift = 0
    while shift < 28:
        if pos >= end:
            return pos + 1
        byte = data[pos]
        pos += 1
        length |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    if length > most_properties:
        why = f"Properties of {length} bytes are more than the {most_properties} that a packet may have here"
        raise RemoteProtocolError(QUOTA_EXCEEDED, why)
    return pos + length


@final
@mypyc_attr(acyclic=True)
class Layout:
    """A PUBLISH encoded but for its Packet Identifier: ``head + packet id + tail + payload`` is the packet.

    One layout serves every receiver that is to get the same bytes (same version, QoS and RETAIN flag, same
    Subscription Identifiers). For QoS 0 ``tail`` follows ``head`` directly. Only a large payload is a piece
    of its own, which all layouts of its message share; a small one is in ``tail``.
    """

    __slots__ = ("head", "payload", "size", "tail")

    def __init__(self, head: bytes, tail: bytes, payload: bytes, size: int) -> None:
        self.head = head
        self.tail = tail
        self.payload = payload
        self.size = size  # of the whole packet, as Maximum Packet Size counts it (2.1.4)


def publish_layout(
    topic: bytes, payload: bytes, qos: int, dup: bool, retain: bool, properties: bytes | None
) -> Layout:
    """Lay out a PUBLISH; ``properties`` are encoded, without length, or None for 3.1 and 3.1.1.

    Raises ``LocalProtocolError`` where the packet would be larger than MQTT can say.
    """
    large = b""
    if len(payload) > LARGE_PIECE:
        large = payload
        payload = b""
    tail = payload
    if properties is not None:
        tail = (encode_varint(len(properties)) + properties + payload) if properties else b"\x00" + payload
    remaining = 2 + len(topic) + len(tail) + len(large) + (2 if qos else 0)
    if remaining > MAXIMUM_REMAINING_LENGTH:
        raise LocalProtocolError(
            0x95, f"a PUBLISH of {remaining} bytes is larger than MQTT allows (268435455)"
        )
    first = 0x30 | (qos << 1)
    if dup:
        first |= 8
    if retain:
        first |= 1
    if remaining < 128:
        head = bytes((first, remaining)) + encode_two(len(topic)) + topic
    else:
        head = bytes((first,)) + encode_varint(remaining) + encode_two(len(topic)) + topic
    return Layout(head, tail, large, len(head) + (2 if qos else 0) + len(tail) + len(large))


def publish_size(content: int, qos: int, properties: int) -> int:
    """Bytes of the PUBLISH whose Topic Name and payload have ``content`` bytes together, as Maximum Packet
    Size counts them (2.1.4); ``properties`` are their encoded bytes, without length, or -1 before 5.0.
    """
    remaining = 2 + content + (2 if qos else 0)
    if properties >= 0:
        remaining += _varint_size(properties) + properties
    return 1 + _varint_size(remaining) + remaining


def _varint_size(value: int) -> int:
    return 1 if value < 1 << 7 else 2 if value < 1 << 14 else 3 if value < 1 << 21 else 4


def short_size(data: bytes, at: i64) -> i64:
    """Bytes of the packet at ``at``, of which four are there, where its Remaining Length takes one or two
    bytes and no more than it has to; ``NOT_SHORT`` otherwise.
    """
    size: i64 = data[at + 1]
    if size < 128:
        return size + 2
    more: i64 = data[at + 2]
    if more > 127 or not more:
        return NOT_SHORT
    return (size & 127 | more << 7) + 3


def id_place(data: bytes, at: i64) -> i64:
    """Where the Packet Identifier of the PUBLISH at ``at`` is, which is a short one of QoS 1 or 2."""
    topic_at: i64 = at + 4 if data[at + 1] < 128 else at + 5
    return topic_at + (i64(read_i16_be(data, topic_at - 2)) & 0xFFFF)


def encode_publish(
    topic: bytes, payload: bytes, qos: int, dup: bool, retain: bool, packet_id: int, properties: bytes | None
) -> bytes:
    """One whole PUBLISH; arguments as for ``publish_layout``."""
    layout = publish_layout(topic, payload, qos, dup, retain, properties)
    identifier = encode_two(packet_id) if qos else b""
    return b"".join([layout.head, identifier, layout.tail, layout.payload])


def encode_expiry(seconds: int) -> bytes:
    """The Message Expiry Interval property (3.3.2.3.3)."""
    return b"\x02" + seconds.to_bytes(4, "big")


def encode_topic_alias(alias: int) -> bytes:
    """The Topic Alias property (3.3.2.3.4)."""
    return b"\x23" + encode_two(alias)


def encode_subscription_identifier(identifier: int) -> bytes:
    """The Subscription Identifier property (3.8.2.1.2)."""
    return b"\x0b" + encode_varint(identifier)


def forwarded_properties(properties: Properties) -> bytes:
    """Those Properties that go with a message to every receiver, encoded, without length."""
    kept = Properties()
    kept.payload_format_indicator = properties.payload_format_indicator
    kept.content_type = properties.content_type
    kept.response_topic = properties.response_topic
    kept.correlation_data = properties.correlation_data
    kept.user_properties = properties.user_properties
    encoded = encode_properties(kept, PUBLISH)
    begin = 0
    while encoded[begin] > 127:
        begin += 1
    return encoded[begin + 1 :]
