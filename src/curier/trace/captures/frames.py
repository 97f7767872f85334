"""Frames out of pcap and pcapng files, as they come, from strangers: each length is checked before its use.

Source: draft-ietf-opsawg-pcap section 4, draft-ietf-opsawg-pcapng sections 3 and 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from curier.errors import MqttError
from curier.frozen import dataclass

MOST_FRAME: Final = 256 * 1024
"""Bytes of a frame; larger than any that is captured (tcpdump writes 262144 at most)."""
MOST_BLOCK: Final = 16 * 1024 * 1024
"""Bytes of a block of pcapng; one that is no frame may hold names or keys."""
MOST_INTERFACES: Final = 65_536

_SECTION_HEADER: Final = 0x0A0D0D0A
_PCAP: Final = {
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
}
MAGICS: Final = frozenset([*_PCAP, b"\x0a\x0d\x0d\x0a"])
"""The first four bytes of files that ``read_frames`` reads."""
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
_TIME_RESOLUTION: Final = 9  # options of an interface
_TIME_OFFSET: Final = 14


class NotACapture(MqttError):
    """The bytes are no capture, or are one no longer; the message says where, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What was captured at once: ``data`` are its first bytes, ``size`` is how many it had."""

    time: float  # seconds since the epoch
    link: int  # LINKTYPE_...
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int
    most: int  # bytes of a frame that are captured, 0 for all
    ticks: int  # a second
    offset: int  # seconds


def read_frames(file: BinaryIO, magic: bytes = b"") -> Iterator[Frame]:
    """The frames of a pcap or pcapng file, each as soon as it is read; ``magic`` if its first four bytes are
    read already.

    A file that ends within a frame, as one does that is still written, ends before it. Raises ``NotACapture``
    for what is no capture, behind the last frame that was sound.
    """
    magic = magic or file.read(4)
    if magic in _PCAP:
        return _read_pcap(file, *_PCAP[magic])
    if magic in MAGICS:
        return _read_pcapng(file)
    raise NotACapture(f"neither pcap nor pcapng: it begins with {magic.hex(' ') or 'nothing'}")


def _read_pcap(file: BinaryIO, order: str, ticks: int) -> Iterator[Frame]:
    header = file.read(20)
    if len(header) < 20:
        raise NotACapture("the file ends within its header")
    link = (
        struct.unpack(f"{order}I", header[16:])[0] & 0xFFFF
    )  # what is above says of checksums at frames' ends
    record = struct.Struct(f"{order}IIII")
    number = 0
    while len(head := file.read(16)) == 16:
        number += 1
        seconds, fraction, length, size = record.unpack(head)
        if length > MOST_FRAME:
            raise NotACapture(f"frame {number} has {length} bytes, it says; no frame has over {MOST_FRAME}")
        data = file.read(length)
        if len(data) < length:
            return
        yield Frame(seconds + fraction / ticks, link, data, max(size, length))


def _read_pcapng(file: BinaryIO) -> Iterator[Frame]:
    interfaces: list[_Interface] = []
    order = "<"
    kind = _SECTION_HEADER
    at = 0  # where the block begins
    while True:
        raw = file.read(4)
        if len(raw) < 4:
            return
        prefix = b""
        if kind == _SECTION_HEADER:
            prefix = file.read(4)
            order = _byte_order(prefix, at)
            interfaces = []
        size = struct.unpack(f"{order}I", raw)[0]
        if size < 12 or size % 4 or size > MOST_BLOCK:
            raise NotACapture(f"the block at byte {at} is {size} bytes long, it says, which cannot be")
        body = prefix + file.read(size - 12 - len(prefix))
        end = file.read(4)
        if len(body) < size - 12 or len(end) < 4:
            return
        if end != raw:
            raise NotACapture(f"the block at byte {at} says two different lengths")
        at += size
        if kind == _INTERFACE:
            interfaces.append(_interface(body, order, at - size))
            if len(interfaces) > MOST_INTERFACES:
                raise NotACapture(f"there are more than {MOST_INTERFACES} interfaces")
        elif kind in (_ENHANCED_PACKET, _SIMPLE_PACKET, _OLD_PACKET):
            yield _frame(kind, body, order, interfaces, at - size)
        raw = file.read(4)
        if len(raw) < 4:
            return
        kind = struct.unpack(f"{order}I", raw)[0]  # a section's own number is the same both ways


def _byte_order(raw: bytes, at: int) -> str:
    if raw == b"\x1a\x2b\x3c\x4d":
        return ">"
    if raw == b"\x4d\x3c\x2b\x1a":
        return "<"
    raise NotACapture(f"the section at byte {at} has no byte order: {raw.hex(' ')}")


def _interface(body: bytes, order: str, at: int) -> _Interface:
    if len(body) < 8:
        raise NotACapture(f"the interface at byte {at} is too short")
    link, _, most = struct.unpack(f"{order}HHI", body[:8])
    ticks, offset = 1_000_000, 0
    pos = 8
    while pos + 4 <= len(body):
        kind, length = struct.unpack(f"{order}HH", body[pos : pos + 4])
        value = body[pos + 4 : pos + 4 + length]
        pos += 4 + length + -length % 4
        if kind == 0:
            break
        if kind == _TIME_RESOLUTION and len(value) == 1:
            power = value[0] & 0x7F
            if power > (63 if value[0] & 0x80 else 19):
                raise NotACapture(f"the interface at byte {at} counts time in pieces that are too small")
            ticks = 2**power if value[0] & 0x80 else 10**power
        elif kind == _TIME_OFFSET and len(value) == 8:
            offset = struct.unpack(f"{order}q", value)[0]
    return _Interface(link, most, ticks, offset)


def _frame(kind: int, body: bytes, order: str, interfaces: list[_Interface], at: int) -> Frame:
    head = {_ENHANCED_PACKET: 20, _OLD_PACKET: 20, _SIMPLE_PACKET: 4}[kind]
    if len(body) < head:
        raise NotACapture(f"the frame at byte {at} is too short")
    number = high = low = 0
    if kind == _ENHANCED_PACKET:
        number, high, low, length, size = struct.unpack(f"{order}IIIII", body[:20])
    elif kind == _OLD_PACKET:
        number, _, high, low, length, size = struct.unpack(f"{order}HHIIII", body[:20])
    else:
        size = length = struct.unpack(f"{order}I", body[:4])[0]
    if number >= len(interfaces):
        raise NotACapture(
            f"the frame at byte {at} came in by interface {number}; there are {len(interfaces)}"
        )
    interface = interfaces[number]
    if kind == _SIMPLE_PACKET:
        length = min(size, interface.most or size, len(body) - 4)
    if length > len(body) - head:
        raise NotACapture(f"the frame at byte {at} has {length} bytes, it says, and its block {len(body)}")
    time = interface.offset + (high << 32 | low) / interface.ticks
    return Frame(time, interface.link, body[head : head + length], max(size, length))
