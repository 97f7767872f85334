"""The fields of a Control Packet, found one after the other: what they are called and what they say.

A ``Walk`` goes over the bytes as the layout of the packet has them, and stops where they run out. It judges
nothing: what is readable is read, also where a rule forbids it.

Source: MQTT 5.0 chapters 2 and 3, MQTT 3.1.1 chapters 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from curier.codec import constants as c
from curier.codec.properties import BINARY, BY_IDENTIFIER, FLAG, FOUR, PAIR, TWO, VARINT, WILL, Row
from curier.frozen import dataclass
from curier.payloads import tame
from curier.trace.payloads import brief
from curier.types import reason_name

NAMES: Final = (
    *("reserved type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"),
    *("SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"),
)
"""Of the Control Packets, by their type (2.1.2)."""

QOS_WORDS: Final = ("0 (at most once)", "1 (at least once)", "2 (exactly once)", "3 (there is none)")
VERSION_WORDS: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}
RETURN_CODES: Final = (
    *("accepted", "unacceptable protocol version", "identifier rejected", "server unavailable"),
    *("bad user name or password", "not authorized"),
)
"""Of CONNACK before 5.0 (3.1.1 section 3.2.2.3)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: ``data[start:end]`` of its Control Packet, or the bits ``mask`` of that byte.

    ``value`` is what it says, in words for people, safe for a terminal; ``raw`` is that as ``int``, ``str``,
    ``bytes``, a pair of ``str``, or None. Passwords and Authentication Data are in neither. ``children`` tile
    it.
    ``rule`` is the statement that it fulfils; where ``fault`` says what is wrong, the one that it breaks.
    """

    name: str
    value: str
    start: int
    end: int
    raw: object = None
    mask: int = 0
    children: tuple[Field, ...] = ()
    rule: str = ""
    fault: str = ""


class OutOfBytes(Exception):
    """A field begins here and has not all its bytes."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name)
        self.name = name
        self.size = size


class Walk:
    """A way over the bytes of one packet, in ``version`` 3, 4 or 5; ``fields`` is what was found so far.

    ``cut`` bytes are missing behind ``data``.
    """

    def __init__(self, data: bytes, version: int, cut: int = 0) -> None:
        self.data = data
        self.version = version
        self.cut = cut
        self.pos = 0
        self.end = len(data)
        self.fields: list[Field] = []
        self.packet_type = data[0] >> 4
        self.flags = data[0] & 0x0F
        self.connect_flags = 0

    def take(self, name: str, size: int) -> bytes:
        """The next ``size`` bytes."""
        if self.pos + size > self.end:
            raise OutOfBytes(name, size)
        taken = self.data[self.pos : self.pos + size]
        self.pos += size
        return taken

    def number(self, name: str, size: int) -> int:
        """An integer of so many bytes (1.5.1 to 1.5.3)."""
        return int.from_bytes(self.take(name, size), "big")

    def varint(self, name: str) -> int:
        """A Variable Byte Integer (1.5.5), longer than it needs to be or not."""
        value = 0
        for size in range(4):
            at = self.pos + size
            if at >= self.end:
                break
            value |= (self.data[at] & 0x7F) << 7 * size
            if self.data[at] < 0x80:
                self.pos = at + 1
                return value
        raise OutOfBytes(name, size + 1)

    def binary(self, name: str) -> bytes:
        """Binary Data (1.5.6); nothing is taken unless it is there whole."""
        start = self.pos
        size = self.number(name, 2)
        try:
            return self.take(name, size)
        except OutOfBytes:
            self.pos = start
            raise OutOfBytes(name, 2 + size) from None

    def add(
        self,
        name: str,
        value: str,
        start: int,
        raw: object = None,
        rule: str = "",
        children: tuple[Field, ...] = (),
    ) -> None:
        """Note the field that goes from ``start`` to here."""
        self.fields.append(Field(name, value, start, self.pos, raw, 0, children, rule))

    def text(self, name: str, rule: str = "MQTT-1.5.4-1") -> None:
        """A UTF-8 Encoded String (1.5.4), its length with it."""
        start = self.pos
        value, raw = said(self.binary(name))
        self.add(name, value, start, raw, rule)


Step = Callable[[Walk], None]


def said(data: bytes) -> tuple[str, object]:
    """Text as it is shown, and as it is; bytes stay bytes where they are no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return tame(data.decode(errors="backslashreplace")), data
    return tame(text) or "empty", text


def bits(start: int, byte: int, *parts: tuple[str, int, Callable[[int], str], str]) -> tuple[Field, ...]:
    """The fields within one byte: name, mask, words for the number that is there, statement."""
    found = []
    for name, mask, words, rule in parts:
        value = (byte & mask) >> ((mask & -mask).bit_length() - 1)
        found.append(Field(name, words(value), start, start + 1, value, mask, (), rule))
    return tuple(found)


def yes_no(value: int) -> str:
    """A bit in words."""
    return "1 (yes)" if value else "0 (no)"


def number_of_seconds(value: int) -> str:
    """Seconds in words."""
    return f"{value} s"


def _binary_digits(value: int) -> str:
    return f"{value:04b}"


def _dup(value: int) -> str:
    return "1 (sent again)" if value else "0 (sent for the first time)"


def _qos(value: int) -> str:
    return QOS_WORDS[value]


def fixed_header(walk: Walk) -> None:
    """The first byte and the Remaining Length (2.1)."""
    first = walk.number("Fixed Header", 1)
    kind = ("Control Packet type", 0xF0, lambda value: f"{NAMES[value]} ({value})", "")
    if walk.packet_type == c.PUBLISH:
        children = bits(
            0,
            first,
            kind,
            ("DUP", 0x08, _dup, "MQTT-3.3.1-2"),
            ("QoS", 0x06, _qos, "MQTT-3.3.1-4"),
            ("RETAIN", 0x01, yes_no, ""),
        )
    elif walk.version == c.MQTT_31 and walk.packet_type in (c.PUBREL, c.SUBSCRIBE, c.UNSUBSCRIBE):
        dup, qos = ("DUP", 0x08, _dup, ""), ("QoS", 0x06, _qos, "MQTT-2.1.3-1")  # 3.1 section 2.1
        children = bits(0, first, kind, dup, qos, ("Unused", 0x01, str, ""))
    else:
        children = bits(0, first, kind, ("Flags", 0x0F, _binary_digits, "MQTT-2.1.3-1"))
    walk.add("Fixed Header", NAMES[walk.packet_type], 0, first, "", children)
    length = walk.varint("Remaining Length")
    walk.add(
        "Remaining Length", _bytes(length), 1, length, "MQTT-1.5.5-1" if walk.version == c.MQTT_50 else ""
    )
    walk.end = min(walk.end, walk.pos + length)


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def packet_id(walk: Walk) -> None:
    """The Packet Identifier; of PUBLISH only at QoS 1 and 2 (2.2.1)."""
    if walk.packet_type == c.PUBLISH and not walk.flags & 6:
        return
    start = walk.pos
    number = walk.number("Packet Identifier", 2)
    walk.add("Packet Identifier", str(number), start, number, "MQTT-2.2.1-3")


# -- CONNECT and CONNACK --


def protocol_version(walk: Walk) -> None:
    """Protocol Name and Protocol Version (3.1.2.1, 3.1.2.2)."""
    walk.text("Protocol Name", "MQTT-3.1.2-1")
    start = walk.pos
    level = walk.number("Protocol Version", 1)
    words = VERSION_WORDS.get(level & ~c.BRIDGE_BIT, "unknown")
    bridge = ", from a bridge" if level & c.BRIDGE_BIT and words != "unknown" else ""
    walk.add("Protocol Version", f"{level} ({words}{bridge})", start, level, "MQTT-3.1.2-2")


def connect_flags(walk: Walk) -> None:
    """The Connect Flags (3.1.2.3)."""
    start = walk.pos
    walk.connect_flags = flags = walk.number("Connect Flags", 1)
    old_rule = "3.1.1/MQTT-3.1.2-22" if walk.version != c.MQTT_50 else ""
    clean = "Clean Start" if walk.version == c.MQTT_50 else "Clean Session"
    children = bits(
        start,
        flags,
        ("User Name Flag", 0x80, yes_no, "MQTT-3.1.2-17"),
        ("Password Flag", 0x40, yes_no, old_rule or "MQTT-3.1.2-19"),
        ("Will Retain", 0x20, yes_no, "MQTT-3.1.2-13"),
        ("Will QoS", 0x18, _qos, "MQTT-3.1.2-12" if flags & 0x1C else "MQTT-3.1.2-11"),
        ("Will Flag", 0x04, yes_no, "MQTT-3.1.2-9"),
        (clean, 0x02, yes_no, "MQTT-3.1.2-4"),
        ("Reserved", 0x01, str, "MQTT-3.1.2-3"),
    )
    walk.add("Connect Flags", f"{flags:08b}", start, flags, "", children)


def keep_alive(walk: Walk) -> None:
    """Keep Alive (3.1.2.10)."""
    start = walk.pos
    seconds = walk.number("Keep Alive", 2)
    words = number_of_seconds(seconds) if seconds else "0 s (off)"
    walk.add("Keep Alive", words, start, seconds, "MQTT-3.1.2-22" if seconds else "")


def will(walk: Walk) -> None:
    """Will Properties, Will Topic and Will Payload (3.1.3.2 to 3.1.3.4)."""
    if not walk.connect_flags & 0x04:
        return
    properties(WILL)(walk)
    walk.text("Will Topic", "MQTT-3.1.3-11")
    start = walk.pos
    raw = walk.binary("Will Payload")
    walk.add("Will Payload", brief(raw), start, raw)


def credentials(walk: Walk) -> None:
    """User Name and Password (3.1.3.5, 3.1.3.6)."""
    if walk.connect_flags & 0x80:
        walk.text("User Name", "MQTT-3.1.3-12")
    if walk.connect_flags & 0x40:
        start = walk.pos
        size = len(walk.binary("Password"))
        walk.add("Password", f"{_bytes(size)}, not shown", start, None, "MQTT-3.1.2-19")


def connack_flags(walk: Walk) -> None:
    """The Connect Acknowledge Flags (3.2.2.1)."""
    start = walk.pos
    flags = walk.number("Connect Acknowledge Flags", 1)
    if walk.version == c.MQTT_31:  # which does not use this byte
        walk.add("Reserved", f"{flags:08b}", start, flags)
        return
    children = bits(
        start,
        flags,
        ("Reserved", 0xFE, str, "MQTT-3.2.2-1"),
        ("Session Present", 0x01, yes_no, "MQTT-3.2.2-6"),
    )
    walk.add("Connect Acknowledge Flags", f"{flags:08b}", start, flags, "", children)


# -- Reason Codes --


def reason_code(name: str, rule: str) -> Step:
    """A Reason Code (2.4); before 5.0 a return code."""

    def step(walk: Walk) -> None:
        start = walk.pos
        code = walk.number(name, 1)
        walk.add(name if walk.version == c.MQTT_50 else "Return Code", _reason(walk, code), start, code, rule)

    return step


def _reason(walk: Walk, code: int) -> str:
    if walk.version != c.MQTT_50 and walk.packet_type == c.CONNACK:
        return f"{code} ({RETURN_CODES[code]})" if code < len(RETURN_CODES) else str(code)
    if code == 0 and walk.packet_type == c.SUBACK:
        return "0x00 (Granted QoS 0)"
    if code == 0 and walk.packet_type == c.DISCONNECT:
        return "0x00 (Normal disconnection)"
    if code == 0x80 and walk.version != c.MQTT_50:
        return "0x80 (Failure)"
    return reason_name(code)


def if_more(*steps: Step) -> Step:
    """Each of these, as long as bytes are left and the version is 5.0 (3.4.2.1, 3.14.2.1)."""

    def step(walk: Walk) -> None:
        for one in steps:
            if walk.version == c.MQTT_50 and walk.pos < walk.end + walk.cut:
                one(walk)

    return step


def in_50(one: Step) -> Step:
    """This, in 5.0."""

    def step(walk: Walk) -> None:
        if walk.version == c.MQTT_50:
            one(walk)

    return step


def to_the_end(*steps: Step) -> Step:
    """These, at least once, until no bytes are left."""

    def step(walk: Walk) -> None:
        while True:
            for one in steps:
                one(walk)
            if walk.pos >= walk.end and not walk.cut:
                return

    return step


# -- Topics and payload --


def topic_name(walk: Walk) -> None:
    """The Topic Name of a PUBLISH (3.3.2.1)."""
    walk.text("Topic Name", "MQTT-3.3.2-2")


def topic_filter(walk: Walk) -> None:
    """A Topic Filter (4.7)."""
    walk.text("Topic Filter", "MQTT-3.8.3-1" if walk.packet_type == c.SUBSCRIBE else "MQTT-3.10.3-1")


_RETAIN_HANDLING: Final = (
    "0 (send retained messages)",
    "1 (send retained messages if the subscription is new)",
    "2 (send no retained messages)",
    "3 (there is none)",
)


def subscription_options(walk: Walk) -> None:
    """The Subscription Options (3.8.3.1); before 5.0 the Requested QoS."""
    start = walk.pos
    options = walk.number("Subscription Options", 1)
    if walk.version == c.MQTT_50:
        children = bits(
            start,
            options,
            ("Reserved", 0xC0, str, "MQTT-3.8.3-5"),
            ("Retain Handling", 0x30, lambda value: _RETAIN_HANDLING[value], ""),
            ("Retain As Published", 0x08, yes_no, ""),
            ("No Local", 0x04, yes_no, "MQTT-3.8.3-4"),
            ("Maximum QoS", 0x03, _qos, ""),
        )
    else:
        children = bits(
            start,
            options,
            ("Reserved", 0xFC, str, "3.1.1/MQTT-3.8.3-4"),
            ("Requested QoS", 0x03, _qos, "3.1.1/MQTT-3.8.3-4"),
        )
    walk.add("Subscription Options", f"{options:08b}", start, options, "", children)


def payload(walk: Walk) -> None:
    """All that is left of a PUBLISH (3.3.3)."""
    start = walk.pos
    data = walk.take("Payload", walk.end - walk.pos)
    size = f", first {len(data)} of {len(data) + walk.cut} bytes" if walk.cut else ""
    walk.add("Payload", brief(data, cut=walk.cut) + size, start, data)
    walk.cut = 0


# -- Properties --


def properties(packet_type: int) -> Step:
    """Property Length and Properties, in 5.0 (2.2.2); ``packet_type`` may be ``WILL``."""
    name = "Will Properties" if packet_type == WILL else "Properties"

    def step(walk: Walk) -> None:
        if walk.version != c.MQTT_50:
            return
        start, outer, before = walk.pos, walk.end, walk.fields
        found: list[Field] = []
        walk.fields = found
        try:
            length = walk.varint("Property Length")
            walk.add("Property Length", _bytes(length), start, length, "MQTT-2.2.2-1")
            walk.end = min(walk.pos + length, outer)
            too_long = walk.pos + length > outer
            while walk.pos < walk.end:
                _property(walk)
            if too_long:
                raise OutOfBytes(name, length)
        except OutOfBytes:
            if walk.end == outer:
                raise
            rest = walk.pos
            walk.pos = walk.end
            walk.add(f"{name} that cannot be read", unreadable(walk, rest, walk.pos), rest)
        finally:
            walk.fields, walk.end = before, outer
            if found:
                count = len(found) - 1
                walk.add(name, str(count) if count else "none", start, None, "", tuple(found))

    return step


def unreadable(walk: Walk, start: int, end: int) -> str:
    """Bytes that are no field, in words; what may be a secret is not shown."""
    if walk.packet_type in (c.CONNECT, c.AUTH):
        return f"{_bytes(end - start)}, not shown"
    shown = walk.data[start : min(end, start + 16)].hex(" ")
    return f"{_bytes(end - start)} {shown}{' ...' if end - start > 16 else ''}".rstrip()


_PROPERTY_RULES: Final = {
    c.RESPONSE_TOPIC: "MQTT-3.3.2-14",
    c.TOPIC_ALIAS: "MQTT-3.3.2-8",
    c.USER_PROPERTY: "MQTT-1.5.7-1",
}


def _property(walk: Walk) -> None:
    start = walk.pos
    identifier = walk.varint("Property Identifier")
    row = BY_IDENTIFIER.get(identifier)
    if row is None:
        walk.pos = start
        raise OutOfBytes(f"Property 0x{identifier:02X}", walk.end - start)
    try:
        value, raw = _property_value(walk, row)
    except OutOfBytes:
        walk.pos = start
        raise
    text = row.kind not in (FLAG, TWO, FOUR, VARINT, BINARY)
    rule = _PROPERTY_RULES.get(identifier, "MQTT-1.5.4-1" if text else "")
    walk.add(row.name, value, start, raw, rule)


def _property_value(walk: Walk, row: Row) -> tuple[str, object]:
    kind, name = row.kind, row.name
    if kind == PAIR:
        key, raw_key = said(walk.binary(name))
        value, raw_value = said(walk.binary(name))
        return f"{key}: {value}", (raw_key, raw_value)
    if kind == BINARY:
        data = walk.binary(name)
        if row.identifier == c.AUTHENTICATION_DATA:
            return f"{_bytes(len(data))}, not shown", None
        return brief(data), data
    if kind == VARINT:
        number = walk.varint(name)
    elif kind in (FLAG, TWO, FOUR):
        number = walk.number(name, 1 << kind)
    else:
        return said(walk.binary(name))
    return _property_number(row, number), number


def _property_number(row: Row, number: int) -> str:
    if row.identifier == c.PAYLOAD_FORMAT_INDICATOR:
        return {0: "0 (bytes)", 1: "1 (UTF-8 text)"}.get(number, str(number))
    if row.identifier == c.MAXIMUM_QOS or (row.kind == FLAG and number > 1):
        return str(number)
    if row.kind == FLAG:
        return yes_no(number)
    if row.identifier == c.SESSION_EXPIRY_INTERVAL and number in (0, c.SESSION_NEVER_EXPIRES):
        return f"{number} s (never)" if number else "0 s (with the connection)"
    if row.identifier == c.SERVER_KEEP_ALIVE or row.name.endswith("Interval"):
        return number_of_seconds(number)
    return _bytes(number) if row.identifier == c.MAXIMUM_PACKET_SIZE else str(number)


# -- the layouts of chapter 3 --


def _acknowledgement(rule: str, packet_type: int) -> tuple[Step, ...]:
    return packet_id, if_more(reason_code("Reason Code", rule), properties(packet_type))


LAYOUTS: Final[dict[int, tuple[Step, ...]]] = {
    c.CONNECT: (
        protocol_version,
        connect_flags,
        keep_alive,
        properties(c.CONNECT),
        lambda walk: walk.text("Client Identifier", "MQTT-3.1.3-4"),
        will,
        credentials,
    ),
    c.CONNACK: (connack_flags, reason_code("Reason Code", "MQTT-3.2.2-8"), properties(c.CONNACK)),
    c.PUBLISH: (topic_name, packet_id, properties(c.PUBLISH), payload),
    c.PUBACK: _acknowledgement("MQTT-3.4.2-1", c.PUBACK),
    c.PUBREC: _acknowledgement("MQTT-3.5.2-1", c.PUBREC),
    c.PUBREL: _acknowledgement("MQTT-3.6.2-1", c.PUBREL),
    c.PUBCOMP: _acknowledgement("MQTT-3.7.2-1", c.PUBCOMP),
    c.SUBSCRIBE: (packet_id, properties(c.SUBSCRIBE), to_the_end(topic_filter, subscription_options)),
    c.SUBACK: (packet_id, properties(c.SUBACK), to_the_end(reason_code("Reason Code", "MQTT-3.9.3-2"))),
    c.UNSUBSCRIBE: (packet_id, properties(c.UNSUBSCRIBE), to_the_end(topic_filter)),
    c.UNSUBACK: (
        packet_id,
        properties(c.UNSUBACK),
        in_50(to_the_end(reason_code("Reason Code", "MQTT-3.11.3-2"))),
    ),
    c.DISCONNECT: (if_more(reason_code("Reason Code", "MQTT-3.14.2-1"), properties(c.DISCONNECT)),),
    c.AUTH: (if_more(reason_code("Reason Code", "MQTT-3.15.2-1"), properties(c.AUTH)),),
}
"""What comes behind the Fixed Header; nothing where there is no row."""
