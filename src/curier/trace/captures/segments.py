"""TCP segments out of frames, through what lies around them: Ethernet and its like, IPv4, IPv6.

Source: the list of LINKTYPE_ values of tcpdump.org; RFC 791 section 3.1, RFC 8200 sections 3 and 4, RFC 9293
section 3.1.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from curier.frozen import dataclass
from curier.trace.captures.frames import Frame

FIN: Final = 1
SYN: Final = 2
RST: Final = 4
ACK: Final = 16

Endpoint = tuple[bytes, int]
"""An address of 4 or 16 bytes, and a port."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment; ``cut`` bytes of its data were not captured, behind ``data``."""

    time: float
    source: Endpoint
    target: Endpoint
    sequence: int
    acknowledged: int
    flags: int
    data: bytes
    cut: int


class Unreadable(Exception):
    """A frame that is no TCP segment, or none that can be read; the message says of what kind it is."""


def endpoint_text(endpoint: Endpoint) -> str:
    """``"127.0.0.1:1883"`` or ``"[::1]:1883"``."""
    address = ipaddress.ip_address(endpoint[0])
    return f"[{address}]:{endpoint[1]}" if address.version == 6 else f"{address}:{endpoint[1]}"


def segment_of(frame: Frame) -> Segment | None:
    """The TCP segment of a frame; None where it carries something else. Raises ``Unreadable``."""
    start = _network_layer(frame.link, frame.data)
    if start < 0:
        return None
    packet = frame.data[start:]
    whole = frame.size - start
    if not packet:
        raise Unreadable("cut before their IP header")
    version = packet[0] >> 4
    if version == 4:
        return _ipv4(frame.time, packet, whole)
    return _ipv6(frame.time, packet, whole) if version == 6 else None


_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLANS: Final = (0x8100, 0x88A8, 0x9100)
# LINKTYPE_: where the number of the network layer's protocol stands, and where that begins
_WITH_TYPE: Final = {1: (12, 14), 113: (14, 16), 276: (0, 20)}  # Ethernet, Linux "any", the newer Linux "any"
_PLAIN: Final = {101: 0, 12: 0, 14: 0, 228: 0, 229: 0, 0: 4, 108: 4}  # raw IP; BSD loopback


def _network_layer(link: int, data: bytes) -> int:
    """Where the IP header begins, -1 where there is none."""
    if link in _PLAIN:
        return _PLAIN[link]
    if link not in _WITH_TYPE:
        raise Unreadable(f"of link type {link}")
    at, start = _WITH_TYPE[link]
    kind = int.from_bytes(data[at : at + 2], "big")
    while kind in _VLANS and link == 1:
        kind = int.from_bytes(data[start + 2 : start + 4], "big")
        start += 4
    return start if kind in (_IPV4, _IPV6) else -1


def _ipv4(time: float, packet: bytes, whole: int) -> Segment | None:
    if len(packet) < 20:
        raise Unreadable("cut within their IP header")
    head = (packet[0] & 0x0F) * 4
    size = int.from_bytes(packet[2:4], "big") or whole  # 0 where the network card cuts it into pieces later
    if packet[9] != 6:
        return None
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:
        raise Unreadable("IP fragments")
    if head < 20 or size < head:
        raise Unreadable("IP with a wrong length")
    return _tcp(time, packet[12:16], packet[16:20], packet[head:size], size - head)


_HOP_BY_HOP: Final = 0
_ROUTING: Final = 43
_FRAGMENT: Final = 44
_DESTINATION: Final = 60


def _ipv6(time: float, packet: bytes, whole: int) -> Segment | None:
    if len(packet) < 40:
        raise Unreadable("cut within their IP header")
    size = 40 + int.from_bytes(packet[4:6], "big")
    if size == 40:
        size = whole  # a jumbogram, or one that the network card cuts into pieces later
    kind, head = packet[6], 40
    while kind in (_HOP_BY_HOP, _ROUTING, _DESTINATION) and head + 8 <= min(len(packet), size):
        kind, head = packet[head], head + 8 * (packet[head + 1] + 1)
    if kind == _FRAGMENT:
        raise Unreadable("IP fragments")
    if kind != 6:
        return None
    if head > size:
        raise Unreadable("IP with a wrong length")
    return _tcp(time, packet[8:24], packet[24:40], packet[head:size], size - head)


def _tcp(time: float, source: bytes, target: bytes, segment: bytes, size: int) -> Segment:
    if len(segment) < 20:
        raise Unreadable("cut within their TCP header")
    head = (segment[12] >> 4) * 4
    if head < 20 or head > size:
        raise Unreadable("TCP with a wrong length")
    data = segment[head:]
    return Segment(
        time,
        (source, int.from_bytes(segment[:2], "big")),
        (target, int.from_bytes(segment[2:4], "big")),
        int.from_bytes(segment[4:8], "big"),
        int.from_bytes(segment[8:12], "big"),
        segment[13],
        data,
        size - head - len(data),
    )
