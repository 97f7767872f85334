"""Captures made by hand: TCP segments in any order, in files of any kind."""

from __future__ import annotations

import struct
from dataclasses import dataclass

CLIENT = (b"\x0a\x00\x00\x01", 50_000)
SERVER = (b"\x0a\x00\x00\x02", 1883)
FIN, SYN, RST, ACK = 1, 2, 4, 16

ISN = 2**32 - 100
"""Sequence numbers pass 2 ** 32 after a hundred bytes."""


@dataclass(frozen=True)
class Ends:
    client: tuple[bytes, int] = CLIENT
    server: tuple[bytes, int] = SERVER


def ip(
    to_server: bool, data: bytes = b"", at: int = 0, flags: int = ACK, ack: int = 0, ends: Ends = Ends()
) -> bytes:
    """An IP packet with a TCP segment whose data is at offset ``at`` behind the SYN; ``ack`` is such, too."""
    client, server = ends.client, ends.server
    source, target = (client, server) if to_server else (server, client)
    sequence = (ISN + 1 + at) % 2**32
    acknowledged = (ISN + 1 + ack) % 2**32
    tcp = (
        struct.pack(">HHIIBBHHH", source[1], target[1], sequence, acknowledged, 5 << 4, flags, 999, 0, 0)
        + data
    )
    if len(source[0]) == 16:
        return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + source[0] + target[0] + tcp
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + source[0] + target[0] + tcp


def handshake(ends: Ends = Ends()) -> list[bytes]:
    return [
        ip(True, at=-1, flags=SYN, ends=ends),
        ip(False, at=-1, flags=SYN | ACK, ends=ends),
        ip(True, ends=ends),
    ]


def pcap(packets: list[bytes], link: int = 101, order: str = "<", most: int = 65_535) -> bytes:
    """A pcap file, a frame a second, of which ``most`` bytes are captured."""
    parts = [struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, most, link)]
    for number, packet in enumerate(packets):
        parts.append(
            struct.pack(f"{order}IIII", number + 1, 0, len(packet[:most]), len(packet)) + packet[:most]
        )
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = 101, options: bytes = b"", order: str = "<", most: int = 0) -> bytes:
    return block(1, struct.pack(f"{order}HHI", link, 0, most) + options, order)


def frame(packet: bytes, ticks: int = 1_000_000, number: int = 0, order: str = "<") -> bytes:
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
    return block(6, head + packet, order)
