"""Events as a pcapng file: plain MQTT over TCP between the addresses they had, for Wireshark and the like.

The TCP is made up, but sound: handshakes, sequence numbers that count every byte, acknowledgements, ends.
What was decrypted or came in WebSocket is written as it is, MQTT. What no packet says (a message that was
dropped) is a comment on the next frame. Of bytes that the recording has cut the file says that they were.

Source: draft-ietf-opsawg-pcapng sections 3 and 4; RFC 791 section 3.1, RFC 8200 section 3, RFC 9293 section
3.1.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import BinaryIO, Final

from curier.trace.events import Closed, Event, Happening, Missed, Opened, Packet, Wire

SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE: Final = 1
ENHANCED_PACKET: Final = 6
BYTE_ORDER: Final = 0x1A2B3C4D
COMMENT: Final = 1  # an option
LINK_RAW: Final = 101  # frames are IP packets, version 4 or 6

MQTT_PORT: Final = 1883
_FIRST_CLIENT_PORT: Final = 49152
_MOST_SEGMENT: Final = 32 * 1024  # bytes of data; an IP packet has 65535 at most
_MOST_COMMENTS: Final = 100
_MOST_COMMENT: Final = 1000  # characters
_WINDOW: Final = 65535

FIN: Final = 1
SYN: Final = 2
RST: Final = 4
PSH: Final = 8
ACK: Final = 16

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class CaptureWriter:
    """Writes events to ``file`` as they come; nothing is kept of those that were written.

    ``server_port`` stands in the place of every server's port, if it is not 0: by itself Wireshark takes TCP
    for MQTT on port 1883 only. Without it the first frame of a connection with another port has a comment
    that says how to decode it. Addresses that are not known, or none of IP, become loopback ones, and a
    comment says so. ``write`` raises ``OSError`` as ``file`` does.
    """

    def __init__(self, file: BinaryIO, server_port: int = 0) -> None:
        self._file = file
        self._server_port = server_port
        self._lines: dict[int, _Line] = {}
        self._comments: list[str] = []
        self._last = 0.0
        header = struct.pack("<IHHq", BYTE_ORDER, 1, 0, -1)
        self._block(SECTION_HEADER, header + _options([(COMMENT, "Recorded by curier; the TCP is made up")]))
        self._block(INTERFACE, struct.pack("<HHI", LINK_RAW, 0, 0))

    def write(self, event: Event) -> None:
        """The frames of one event, if it has any."""
        if isinstance(event, Opened):
            self._line(event.wire, event.time, from_start=True)
        elif isinstance(event, Packet):
            self._packet(event)
        elif isinstance(event, Closed):
            self._close(event)
        elif isinstance(event, Happening):
            self._comment(" ".join(filter(None, (event.kind, event.client_id, event.topic, event.why))))
        elif isinstance(event, Missed):
            self._comment(f"{event.count} events were not recorded here")

    def _packet(self, event: Packet) -> None:
        line = self._line(event.wire, event.time, event.to_server and event.data[:1] == b"\x10")
        if event.lost:
            self._comment("The packet behind this was lost on its way")
            return
        size = len(event.data) + event.cut
        for start in range(0, size, _MOST_SEGMENT):
            whole = min(_MOST_SEGMENT, size - start)
            part = event.data[start : start + whole]
            self._segment(line, event.time, event.to_server, PSH | ACK, part, whole - len(part))

    def _line(self, wire: Wire, time: float, from_start: bool) -> _Line:
        """The line of a wire; a handshake is written for one that begins here."""
        line = self._lines.get(wire.number)
        if line is not None:
            return line
        self._lines[wire.number] = line = _Line(wire, self._server_port)
        if line.note:
            self._comment(line.note)
        if from_start:
            self._segment(line, time, True, SYN)
            self._segment(line, time, False, SYN | ACK)
            self._segment(line, time, True, ACK)
        return line

    def _close(self, event: Closed) -> None:
        line = self._lines.pop(event.wire.number, None)
        if line is None:
            return
        by_client = event.by != "server"
        if event.why:
            self._comment(f"closed by {event.by or 'nobody knows'}: {event.why}")
        if event.by in ("client", "server"):
            self._segment(line, event.time, by_client, FIN | ACK)
            self._segment(line, event.time, not by_client, FIN | ACK)
            self._segment(line, event.time, by_client, ACK)
        else:
            self._segment(line, event.time, by_client, RST | ACK)

    def _comment(self, text: str) -> None:
        if len(self._comments) < _MOST_COMMENTS:
            self._comments.append(text[:_MOST_COMMENT])

    def _segment(
        self, line: _Line, time: float, to_server: bool, flags: int, data: bytes = b"", cut: int = 0
    ) -> None:
        frame = line.segment(to_server, flags, data, cut)
        self._last = max(self._last, time)  # two clocks, or one set back: a capture has its frames in order
        ticks = max(0, round(self._last * 1_000_000))
        head = struct.pack(
            "<IIIII", 0, ticks >> 32 & 0xFFFFFFFF, ticks & 0xFFFFFFFF, len(frame), len(frame) + cut
        )
        comments = [(COMMENT, text) for text in self._comments]
        self._comments.clear()
        self._block(ENHANCED_PACKET, head + _padded(frame) + _options(comments))

    def _block(self, kind: int, body: bytes) -> None:
        size = 12 + len(body)
        self._file.write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))


class _Line:
    """Both ends of a TCP connection: where they are, and what comes next from each."""

    def __init__(self, wire: Wire, server_port: int) -> None:
        client = _parsed(wire.client_address)
        server = _parsed(wire.server_address)
        known = client or server
        version = known[0].version if known is not None else 4
        loopback = ipaddress.ip_address("127.0.0.1" if version == 4 else "::1")
        notes = []
        if client is None or client[0].version != version:
            notes.append(f"the client's address is made up: {wire.client_address or 'it is not known'}")
            client = loopback, _FIRST_CLIENT_PORT + wire.number % 16_000
        if server is None or server[0].version != version:
            notes.append(f"the server's address is made up: {wire.server_address or 'it is not known'}")
            server = loopback, MQTT_PORT
        if server_port:
            server = server[0], server_port
        elif server[1] != MQTT_PORT:
            notes.append(f'MQTT on another port; in Wireshark: "Decode As" TCP port {server[1]}, MQTT')
        self.note = "; ".join(notes)
        self._ends = client, server
        first = wire.number * 0x01000193  # one connection from the same port as another is told from it
        self._next = [first & 0xFFFFFFFF, ~first & 0xFFFFFFFF]  # of client and server

    def segment(self, to_server: bool, flags: int, data: bytes, cut: int) -> bytes:
        """The next IP packet of one side, without its ``cut`` last bytes."""
        side = 0 if to_server else 1
        source, target = self._ends[side], self._ends[1 - side]
        sequence = self._next[side]
        acknowledged = self._next[1 - side] if flags & ACK else 0
        self._next[side] = sequence + len(data) + cut + (flags & SYN != 0) + (flags & FIN != 0) & 0xFFFFFFFF
        size = 20 + len(data) + cut
        ports = struct.pack(">HHII", source[1], target[1], sequence, acknowledged)
        head = ports + struct.pack(">BBHHH", 5 << 4, flags, _WINDOW, 0, 0)
        pseudo = source[0].packed + target[0].packed + struct.pack(">II", size, 6)  # [RFC 9293 3.1]
        checksum = _checksum(pseudo + head + data)
        tcp = head[:16] + struct.pack(">H", checksum) + head[18:] + data
        return _ip_header(source[0], target[0], size) + tcp


def _ip_header(source: Address, target: Address, size: int) -> bytes:
    if source.version == 6:
        return struct.pack(">IHBB", 6 << 28, size, 6, 64) + source.packed + target.packed
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, 6, 0) + source.packed + target.packed
    return head[:10] + struct.pack(">H", _checksum(head)) + head[12:]


def _checksum(data: bytes) -> int:
    """The checksum of the internet (RFC 1071): 2 ** 16 is 1 when one counts in ones' complement."""
    if len(data) % 2:
        data += b"\0"
    return 0xFFFF - (int.from_bytes(data, "big") % 0xFFFF or (0xFFFF if any(data) else 0))


def _parsed(address: str) -> tuple[Address, int] | None:
    """``"127.0.0.1:1883"`` or ``"[::1]:1883"``; None for all else."""
    host, _, port = address.rpartition(":")
    try:
        parsed = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if not port.isdecimal() or not port.isascii() or int(port) > 65535:
        return None
    return parsed, int(port)


def _options(options: list[tuple[int, str]]) -> bytes:
    if not options:
        return b""
    parts = [struct.pack("<HH", kind, len(text.encode())) + _padded(text.encode()) for kind, text in options]
    return b"".join(parts) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
