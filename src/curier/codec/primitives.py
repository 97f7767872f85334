"""The data types of MQTT: integers, strings, binary data; and where a Control Packet ends.

A :class:`Reader` is a cursor over the bytes of one Control Packet. It refuses what breaks a rule with an
error that names the field, the offset within the packet, the bytes and the statement. Statements are
cited by their id in MQTT 5.0; a rule that only 3.1.1 knows is cited as ``"3.1.1/MQTT-..."``.

Source: MQTT 5.0 sections 1.5 and 2.1; MQTT 3.1.1 sections 1.5 and 2.2.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from curier.codec.constants import (
    MALFORMED_PACKET,
    MAXIMUM_REMAINING_LENGTH,
    MQTT_50,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    TOPIC_NAME_INVALID,
)
from curier.codec.filters import filter_fault
from curier.errors import LocalProtocolError, MalformedPacket, RemoteProtocolError

_MOST_BYTES_SHOWN: Final = 8
NO_LIMIT: Final = 1 << 62

LARGE_PIECE: Final = 128 * 1024
"""Bytes over which to copy something costs more than to write it by itself."""

_PAIRS: Final[list[list[bytes]]] = [[] for _ in range(256)]
"""The two bytes of numbers, by the first and the second; a row is made when one of it is asked for, since all
of them would take longer than everything else that is done at the start of a program.
"""


def encode_two(number: i64) -> bytes:
    """A Two Byte Integer (1.5.2), such as a Packet Identifier; 0 to 65535, which the caller sees to."""
    row = _PAIRS[number >> 8]
    return row[number & 0xFF] if row else _make_row(number >> 8)[number & 0xFF]


def _make_row(first: i64) -> list[bytes]:
    row = _PAIRS[first]
    row += [bytes((first, second)) for second in range(256)]
    return row


@final
class Reader:
    """Reads the fields of one Control Packet, one after the other.

    ``data[start]`` is the first byte of the Control Packet, ``end`` the index after its last. ``pos`` is
    the next byte to read. ``what`` in every method is the name of the field, for the error.
    Every method raises :class:`MalformedPacket` when the bytes run out or break a rule.
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data = data
        self.start = start
        self.pos = start
        self.end = end
        self.max_repeats: int = NO_LIMIT  # of a Property that may come more than once

    def remaining(self) -> int:
        """How many bytes are left."""
        return self.end - self.pos

    def byte(self, what: str) -> int:
        """One byte (1.5.1)."""
        pos = self.pos
        if pos >= self.end:
            raise self._truncated(what, 1)
        self.pos = pos + 1
        return self.data[pos]

    def two(self, what: str) -> int:
        """A Two Byte Integer (1.5.2)."""
        pos = self.pos
        if pos + 2 > self.end:
            raise self._truncated(what, 2)
        self.pos = pos + 2
        return self.data[pos] << 8 | self.data[pos + 1]

    def four(self, what: str) -> int:
        """A Four Byte Integer (1.5.3)."""
        pos = self.pos
        if pos + 4 > self.end:
            raise self._truncated(what, 4)
        self.pos = pos + 4
        data = self.data
        return data[pos] << 24 | data[pos + 1] << 16 | data[pos + 2] << 8 | data[pos + 3]

    def varint(self, what: str, may_be_long: bool = False) -> int:
        """A Variable Byte Integer of one to four bytes (1.5.5): as few as can be, or ``may_be_long``."""
        start = self.pos
        value = 0
        for size in range(4):
            pos = start + size
            if pos >= self.end:
                raise self._truncated(what, size + 1)
            byte = self.data[pos]
            value |= (byte & 0x7F) << (7 * size)
            if byte < 0x80:
                if byte == 0 and size and not may_be_long:
                    # [MQTT-1.5.5-1]
                    raise self.malformed(
                        what, start, pos + 1, "is longer than it needs to be", "MQTT-1.5.5-1"
                    )
                self.pos = pos + 1
                return value
        raise self.malformed(what, start, start + 4, "goes on after its fourth byte")

    def utf8(self, what: str) -> str:
        """A UTF-8 Encoded String (1.5.4)."""
        raw = self.binary(what)
        start = self.pos - len(raw)
        try:
            text = raw.decode("utf-8")  # U+FEFF stays where it is [MQTT-1.5.4-3]
        except UnicodeDecodeError as error:
            # Surrogates, overlong forms and values above U+10FFFF too [MQTT-1.5.4-1]
            raise self.malformed(
                what, start + error.start, start + error.end, "is not well-formed UTF-8", "MQTT-1.5.4-1"
            ) from None
        if "\x00" in text:
            at = start + raw.index(b"\x00")
            raise self.malformed(what, at, at + 1, "contains U+0000", "MQTT-1.5.4-2")  # [MQTT-1.5.4-2]
        return text

    def topic(self, what: str, statement: str) -> str:
        """A Topic Name without wildcards; ``statement`` forbids them in this field. May be empty."""
        start = self.pos
        name = self.utf8(what)
        if has_wildcard(name):
            # [MQTT-3.3.2-2] [MQTT-3.3.2-14] [MQTT-4.7.0-1]
            raise self.malformed(what, start, self.pos, "is a Topic Name with a wildcard", statement)
        return name

    def topic_filter(self, version: int) -> str:
        """A Topic Filter (4.7, 4.8.2)."""
        start = self.pos
        text = self.nonempty(self.utf8("Topic Filter"), "Topic Filter")
        why, statement = filter_fault(self.data[start + 2 : self.pos], version)
        if why:
            raise self.malformed("Topic Filter", start, self.pos, f"is none: {why}", statement)
        return text

    def nonempty(self, text: str, what: str) -> str:
        """``text``, a Topic Name or Topic Filter just read, which must have at least one character."""
        if not text:
            # [MQTT-4.7.3-1]
            raise self.malformed(what, self.pos - 2, self.pos, "is empty", "MQTT-4.7.3-1")
        return text

    def binary(self, what: str) -> bytes:
        """Binary Data: a Two Byte Integer and that many bytes (1.5.6)."""
        start = self.pos
        length = self.two(what)
        end = self.pos + length
        if end > self.end:
            # Only the length is shown: what follows may be a password.
            why = f"is {length} bytes long, but {self.remaining()} are left"
            raise self.malformed(what, start, start + 2, why)
        raw = self.data[self.pos : end]
        self.pos = end
        return raw

    def rest(self) -> bytes:
        """All bytes that are left."""
        raw = self.data[self.pos : self.end]
        self.pos = self.end
        return raw

    def packet_id(self) -> int:
        """A Packet Identifier, 1 to 65535 (2.2.1)."""
        start = self.pos
        number = self.two("Packet Identifier")
        if not number:
            # [MQTT-2.2.1-3] [MQTT-2.2.1-4]
            raise self.malformed("Packet Identifier", start, self.pos, "is 0", "MQTT-2.2.1-3")
        return number

    def expect_end(self) -> None:
        """Refuse bytes after the last field."""
        if self.pos != self.end:
            raise self.malformed("Control Packet", self.pos, self.end, "has bytes after its last field")

    def malformed(self, what: str, start: int, end: int, why: str, statement: str = "") -> MalformedPacket:
        """The error for ``data[start:end]``, which cannot be parsed as ``what``."""
        error = MalformedPacket(self._describe(what, start, end, why), statement)
        error.start = start - self.start
        error.end = end - self.start
        return error

    def protocol_error(
        self, what: str, start: int, why: str, statement: str = "", reason_code: int = PROTOCOL_ERROR
    ) -> RemoteProtocolError:
        """The error for the bytes from ``start`` to here: well-formed, but not allowed."""
        error = RemoteProtocolError(reason_code, self._describe(what, start, self.pos, why), statement)
        error.start = start - self.start
        error.end = self.pos - self.start
        return error

    def _truncated(self, what: str, size: int) -> MalformedPacket:
        why = f"takes {size} byte{'s' if size > 1 else ''}, but {self.remaining()} are left"
        return self.malformed(what, self.pos, self.end, why)

    def _describe(self, what: str, start: int, end: int, why: str) -> str:
        shown = self.data[start : min(end, start + _MOST_BYTES_SHOWN)].hex(" ")
        dots = " ..." if end - start > _MOST_BYTES_SHOWN else ""
        return f"{what} at byte {start - self.start} {why}: {shown or 'nothing'}{dots}"


def packet_end(data: bytes, pos: int, version: int = MQTT_50) -> int:
    """The index after the Control Packet that begins at ``pos``; -1 while its Fixed Header is incomplete.

    It may lie beyond ``len(data)``: the packet is then still arriving. Raises :class:`MalformedPacket`
    for a Remaining Length of more than four bytes and, in 5.0, for one that is not as short as it can be
    (2.1.4); 3.1 and 3.1.1 have no such rule.
    """
    start = pos + 1
    have = len(data) - start
    value = 0
    for size in range(4):
        if size >= have:
            return -1
        byte = data[start + size]
        value |= (byte & 0x7F) << (7 * size)
        if byte < 0x80:
            if byte == 0 and size and version == MQTT_50:
                break
            return start + size + 1 + value
    reader = Reader(data, pos, len(data))
    reader.pos = start
    return reader.varint("Remaining Length")  # never returns: it meets the same fault and names it


def has_wildcard(topic: str) -> bool:
    """Whether ``topic`` has a wildcard character, as no Topic Name may (4.7.1)."""
    return "+" in topic or "#" in topic


def join_small(parts: list[bytes]) -> list[bytes]:
    """The same bytes in fewer pieces: all small parts in a row as one, each large one as it is, uncopied."""
    pieces: list[bytes] = []
    start = 0
    for index, part in enumerate(parts):
        if len(part) > LARGE_PIECE:
            if start < index:
                pieces.append(b"".join(parts[start:index]))
            pieces.append(part)
            start = index + 1
    if start < len(parts):
        pieces.append(b"".join(parts[start:] if start else parts))
    return pieces


def encode_varint(value: int) -> bytes:
    """A Variable Byte Integer, as short as it can be; LocalProtocolError outside 0 to 268 435 455 (1.5.5)."""
    if value < 0 or value > MAXIMUM_REMAINING_LENGTH:
        raise LocalProtocolError(
            PACKET_TOO_LARGE, f"{value} does not fit a Variable Byte Integer", "MQTT-1.5.5-1"
        )
    digits = []
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def encode_utf8(text: str) -> bytes:
    """A UTF-8 Encoded String with its length (1.5.4).

    Raises LocalProtocolError for more than 65 535 bytes, for U+0000 and for surrogates.
    """
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError as error:
        why = f"a surrogate at character {error.start} cannot be sent"
        raise LocalProtocolError(MALFORMED_PACKET, why, "MQTT-1.5.4-1") from None  # [MQTT-1.5.4-1]
    if "\x00" in text:
        raise LocalProtocolError(MALFORMED_PACKET, "U+0000 cannot be sent", "MQTT-1.5.4-2")  # [MQTT-1.5.4-2]
    return encode_binary(raw)


def encode_binary(data: bytes) -> bytes:
    """Binary Data with its length (1.5.6); LocalProtocolError for more than 65 535 bytes."""
    size = len(data)
    if size > 65535:
        raise LocalProtocolError(
            MALFORMED_PACKET, f"a field of {size} bytes is longer than 65535", "MQTT-4.7.3-3"
        )
    return encode_two(size) + data


def encode_topic(topic: str) -> bytes:
    """A Topic Name of at least one character, without wildcards, as :func:`encode_utf8` (4.7.3)."""
    if not topic:
        raise LocalProtocolError(TOPIC_NAME_INVALID, "a Topic Name must not be empty", "MQTT-4.7.3-1")
    if has_wildcard(topic):
        why = f"the Topic Name {topic!r} has a wildcard"
        raise LocalProtocolError(TOPIC_NAME_INVALID, why, "MQTT-4.7.0-1")  # [MQTT-4.7.0-1]
    return encode_utf8(topic)


def encode_packet_id(packet_id: int) -> bytes:
    """A Packet Identifier; LocalProtocolError outside 1 to 65535 (2.2.1)."""
    if packet_id < 1 or packet_id > 65535:
        why = f"Packet Identifier {packet_id} is not in 1 to 65535"
        raise LocalProtocolError(PROTOCOL_ERROR, why, "MQTT-2.2.1-3")  # [MQTT-2.2.1-3]
    return encode_two(packet_id)
