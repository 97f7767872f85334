"""Captures as events: which TCP connections carry MQTT, and the Control Packets that went by on them.

What is MQTT is told by content, not by port. A connection whose beginning was captured begins with CONNECT,
or with HTTP that becomes WebSocket. Of one that was there before, decoding begins at the first segment that
is whole, sound Control Packets and nothing else. So it does behind bytes that are missing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, Final

from curier.codec import constants as c
from curier.codec.decode import decode
from curier.codec.packets import Connack, Connect
from curier.codec.primitives import packet_end
from curier.errors import ProtocolError
from curier.trace.captures.bytestreams import ByteStream, NotMqtt
from curier.trace.captures.frames import NotACapture, read_frames
from curier.trace.captures.reassembly import Hole, Stream
from curier.trace.captures.segments import (
    ACK,
    FIN,
    RST,
    SYN,
    Endpoint,
    Segment,
    Unreadable,
    endpoint_text,
    segment_of,
)
from curier.trace.events import NOT_MQTT, NOTED, Closed, Event, Happening, Opened, Packet, Wire
from curier.trace.fields import VERSION_WORDS
from curier.trace.framing import PACKET, Framer
from curier.trace.secrets import without_secrets

MOST_CONNECTIONS: Final = 10_000
"""That are followed at once; of more, the one that was silent longest is let go."""
MOST_WAITING: Final = 64 * 1024 * 1024
"""Bytes behind holes, of all connections."""

_PORTS: Final = (1883, 8883, 8080, 8083, 8084)  # of servers, where nothing else tells
_TO_SERVER: Final = (c.CONNECT, c.SUBSCRIBE, c.UNSUBSCRIBE, c.PINGREQ)
_FROM_SERVER: Final = (c.CONNACK, c.SUBACK, c.UNSUBACK, c.PINGRESP)


def read_capture(file: BinaryIO, magic: bytes = b"") -> Iterator[Event]:
    """The events of a pcap or pcapng file, each as soon as its bytes are read; ``magic`` if its first four
    bytes are read already.

    What could not be read is said in a ``Happening`` of kind ``NOTED``, at its place or at the end. Raises
    ``NotACapture`` where the file is none; one that is damaged later on gives what was before that.
    """
    reader = CaptureReader()
    frames = read_frames(file, magic)
    time = 0.0
    while True:
        try:
            frame = next(frames, None)
        except NotACapture as error:
            if not time:
                raise
            yield from reader.finish()
            yield Happening(time, NOTED, "", f"the capture is damaged: {error}")
            return
        if frame is None:
            yield from reader.finish()
            return
        time = frame.time
        try:
            segment = segment_of(frame)
        except Unreadable as why:
            reader.pass_over(str(why))
            continue
        if segment is not None:
            yield from reader.feed(segment)


class CaptureReader:
    """Segments in, events out. Bounded; ``finish`` says what was passed over."""

    def __init__(self) -> None:
        self._connections: dict[frozenset[Endpoint], _Connection] = {}
        self._count = 0  # of wires
        self._passed: Counter[str] = Counter()
        self._waiting = 0
        self._time = 0.0

    def pass_over(self, what: str) -> None:
        """Count a frame that could not be read."""
        self._passed[f"frames {what}"] += 1

    def feed(self, segment: Segment) -> Iterator[Event]:
        """The events that are known with this segment."""
        self._time = segment.time
        key = frozenset((segment.source, segment.target))
        connection = self._connections.pop(key, None)
        if connection is not None and connection.is_other(segment):
            yield from connection.end(segment.time, "network", "another connection began from the same port")
            self._waiting -= connection.waiting
            connection = None
        if connection is None:
            if len(self._connections) >= MOST_CONNECTIONS:
                yield from self._let_go()
            connection = _Connection(self)
        self._connections[key] = connection
        before = connection.waiting
        yield from connection.feed(segment)
        self._waiting += connection.waiting - before
        if self._waiting > MOST_WAITING:
            self._waiting -= connection.waiting
            yield from connection.give_up_holes(segment.time)
            self._waiting += connection.waiting

    def finish(self) -> Iterator[Event]:
        """The capture ends here; connections do not."""
        for connection in self._connections.values():
            yield from connection.give_up_holes(self._time)
            if connection.unread:
                self._passed[connection.unread] += 1
            elif connection.is_unknown:
                self._passed["connections that began before the capture, and no MQTT to be seen"] += 1
        self._connections.clear()
        if self._passed:
            said = ", ".join(f"{count} {what}" for what, count in sorted(self._passed.items()))
            yield Happening(self._time, NOTED, "", f"passed over: {said}")

    def next_number(self) -> int:
        """The number of a new wire."""
        self._count += 1
        return self._count

    def count_unread(self, what: str) -> None:
        """A connection has ended that was no MQTT."""
        self._passed[what] += 1

    def _let_go(self) -> Iterator[Event]:
        key = next(iter(self._connections))
        connection = self._connections.pop(key)
        self._waiting -= connection.waiting
        yield from connection.give_up_holes(self._time)
        self._passed["connections that were let go, since there were too many at once"] += 1


class _Connection:
    """One TCP connection. ``wire`` is None until it is known to be MQTT."""

    def __init__(self, reader: CaptureReader) -> None:
        self._reader = reader
        self.wire: Wire | None = None
        self.ended = False
        self.unread = ""  # what it is instead of MQTT
        self._versions = [c.MQTT_50, c.MQTT_311]  # that all of its packets are sound in
        self._client: Endpoint | None = None
        self._server: Endpoint | None = None
        self._syn = -1  # its first sequence number, where that was seen
        self._opened = 0.0
        self._first_fin = ""
        self._had_data = False
        self._streams = {True: Stream(), False: Stream()}  # by whether it goes to the server
        self._directions: dict[bool, _Direction] = {}

    @property
    def is_unknown(self) -> bool:
        """Whether it had bytes before any that could be told to be MQTT."""
        return self._had_data and not self._directions and not self.ended

    @property
    def waiting(self) -> int:
        """Bytes behind holes."""
        return self._streams[True].waiting + self._streams[False].waiting

    def is_other(self, segment: Segment) -> bool:
        """Is this the beginning of another connection between the same ends?"""
        if not segment.flags & SYN or segment.flags & ACK:
            return False
        return self._syn != segment.sequence

    def feed(self, segment: Segment) -> Iterator[Event]:
        """A segment of either direction; behind the end only repetitions come."""
        if self.ended:
            return
        self._had_data |= bool(segment.data)
        if self.unread:
            if segment.flags & (FIN | RST):
                yield from self.end(segment.time, "", "")
            return
        if segment.flags & SYN and not self._directions:
            self._begin(segment)
        elif not self._directions:
            yield from self._join(segment)
        else:
            yield from self._go_on(segment)
        if segment.flags & RST and not self.ended:
            by = "client" if segment.source == self._client else "server"
            yield from self.end(segment.time, by, "reset (RST)")

    def end(self, time: float, by: str, why: str) -> Iterator[Event]:
        """The connection ends, if it has not already."""
        if self.ended:
            return
        yield from self.give_up_holes(time)
        self.ended = True
        self._directions = {}
        self._streams = {True: Stream(), False: Stream()}
        if self.unread:
            self._reader.count_unread(self.unread)
        elif self.wire is not None:
            yield Closed(time, self.wire, by, why)

    def give_up_holes(self, time: float) -> Iterator[Event]:
        """Take what waits behind missing bytes."""
        for to_server, stream in self._streams.items():
            stream.finish()
            yield from self._drain(time, to_server)

    # -- how it begins --

    def _begin(self, segment: Segment) -> None:
        """A SYN, or the answer to one that was not captured."""
        from_client = not segment.flags & ACK
        self._client = segment.source if from_client else segment.target
        self._server = segment.target if from_client else segment.source
        self._syn = segment.sequence if from_client else segment.acknowledged - 1 & 0xFFFFFFFF
        self._opened = segment.time
        self._directions = {
            True: _Direction(True, from_start=True),
            False: _Direction(False, from_start=True),
        }
        self._streams[from_client].feed(segment)

    def _join(self, segment: Segment) -> Iterator[Event]:
        """A connection that was there before the capture: is this segment a place to begin?"""
        found = sound_versions(segment.data, self._versions)
        if not found:
            return
        to_server = _goes_to_server(segment)
        self._client = segment.source if to_server else segment.target
        self._server = segment.target if to_server else segment.source
        self._opened = segment.time
        self._directions = {
            True: _Direction(True, from_start=False),
            False: _Direction(False, from_start=False),
        }
        if segment.data[0] >> 4 != c.CONNECT:
            self.wire = self._new_wire()
            yield self._note(segment.time, "the capture begins in the middle of this connection")
        yield from self._go_on(segment)

    def _new_wire(self) -> Wire:
        assert self._client is not None
        assert self._server is not None
        return Wire(
            self._reader.next_number(), "", 0, "", endpoint_text(self._client), endpoint_text(self._server)
        )

    # -- how it goes on --

    def _go_on(self, segment: Segment) -> Iterator[Event]:
        to_server = segment.source == self._client
        stream = self._streams[to_server]
        stream.feed(segment)
        yield from self._drain(segment.time, to_server)
        if segment.flags & ACK:
            self._streams[not to_server].acknowledge(segment.acknowledged)
            yield from self._drain(segment.time, not to_server)
        if stream.closed and not self._first_fin:
            self._first_fin = "client" if to_server else "server"
        if self._streams[True].closed and self._streams[False].closed and not self.ended:
            yield from self.end(segment.time, self._first_fin, "end (FIN)")

    def _drain(self, time: float, to_server: bool) -> Iterator[Event]:
        stream = self._streams[to_server]
        direction = self._directions.get(to_server)
        for piece in stream.take():
            if direction is None or self.unread:
                continue
            try:
                for part in direction.read(piece, self._versions):
                    yield from self._part(time, to_server, part)
            except NotMqtt as why:
                if self.wire is None:
                    self.unread = f"connections that are no MQTT ({why})"
                    continue
                direction.stop()
                side = "client" if to_server else "server"
                yield Happening(
                    time, NOT_MQTT, self.wire.client_id, f"from the {side}: {why}", 0, "", self.wire
                )
        if self.wire is not None:
            for odd in stream.odd:
                yield self._note(time, odd)
            stream.odd.clear()

    def _part(self, time: float, to_server: bool, part: tuple[bytes, int] | str) -> Iterator[Event]:
        """A packet, or words about what is not there."""
        if isinstance(part, str):
            if self.wire is not None:
                yield self._note(time, f"from the {'client' if to_server else 'server'}: {part}")
            return
        data, cut = part
        if self.wire is None:
            self.wire = self._new_wire()
            yield Opened(self._opened, self._named(data))
        else:
            self._named(data)
        yield from self._proved(time, data, cut)
        yield Packet(
            time, self.wire, to_server, without_secrets(data, self.wire.version or c.MQTT_50), 0, cut
        )

    def _named(self, data: bytes) -> Wire:
        """The wire, with what this packet says of it: who the client is, in which version."""
        assert self.wire is not None
        if data[0] >> 4 == c.CONNECT or (data[0] >> 4 == c.CONNACK and not self.wire.client_id):
            try:
                packet = decode(data, 0, len(data), self.wire.version or c.MQTT_311)
            except ProtocolError:
                return self.wire
            if isinstance(packet, Connect):
                self._versions = [packet.version]
                self.wire = dataclasses.replace(
                    self.wire, client_id=packet.client_id, version=packet.version, user=packet.username or ""
                )
            elif isinstance(packet, Connack) and packet.properties is not None:
                client_id = packet.properties.assigned_client_identifier or ""
                self.wire = dataclasses.replace(self.wire, client_id=client_id)
        return self.wire

    def _proved(self, time: float, data: bytes, cut: int) -> Iterator[Event]:
        """While nobody knows the version: what this packet says of it."""
        assert self.wire is not None
        if self.wire.version or cut:
            return
        self._versions = sound_versions(data, self._versions) or self._versions
        if len(self._versions) == 1:
            self.wire = dataclasses.replace(self.wire, version=self._versions[0])
            words = VERSION_WORDS[self._versions[0]]
            yield self._note(time, f"this is MQTT {words}, to judge by its packets")

    def _note(self, time: float, why: str) -> Happening:
        assert self.wire is not None
        return Happening(time, NOTED, self.wire.client_id, why, 0, "", self.wire)


class _Direction:
    """The bytes of one direction, cut into packets; behind a hole, as soon as a packet surely begins."""

    def __init__(self, to_server: bool, from_start: bool) -> None:
        self._to_server = to_server
        self._bytes = ByteStream(to_server, from_start)
        self._framer: Framer | None = Framer(to_server, from_start) if from_start else None
        self._skip = 0  # bytes that belong to a packet which was given, cut
        self._stopped = False

    def stop(self) -> None:
        """Nothing more is read."""
        self._stopped = True

    def read(self, piece: bytes | Hole, versions: list[int]) -> Iterator[tuple[bytes, int] | str]:
        """Packets with the number of bytes that are cut of each, and words. Raises ``NotMqtt``."""
        if self._stopped:
            return
        if isinstance(piece, Hole):
            yield from self._hole(piece)
            return
        data = self._bytes.feed(piece)
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if not data:
            return
        if self._framer is None:
            if not sound_versions(data, versions):
                return
            self._framer = Framer(self._to_server, from_start=False)
        for one in self._framer.feed(data):
            if one.kind == PACKET:
                yield one.data, one.left
        if self._framer.why_not:
            raise NotMqtt(self._framer.why_not)

    def _hole(self, hole: Hole) -> Iterator[tuple[bytes, int] | str]:
        """Bytes are missing: within a packet that says how long it is, or who knows where."""
        words = f"{int(hole)} byte{'' if hole == 1 else 's'} missing in the capture"
        if hole <= self._skip:
            self._skip -= hole
            return
        framer, self._framer = self._framer, None
        if self._skip or not self._bytes.is_plain:
            self._skip = 0
            self._bytes.lose()
            yield words
            return
        begun = b"".join(piece.data for piece in framer.finish()) if framer is not None else b""
        size = _packet_size(begun)
        if framer is not None and size - len(begun) >= hole:
            self._skip = size - len(begun) - hole
            self._framer = Framer(self._to_server, from_start=False)
            yield begun, size - len(begun)
        else:
            yield words


def _packet_size(begun: bytes) -> int:
    """How long the packet is that begins so; 0 where that is not seen."""
    try:
        return max(0, packet_end(begun, 0, c.MQTT_311)) if begun else 0
    except ProtocolError:
        return 0


def sound_versions(data: bytes, versions: list[int]) -> list[int]:
    """Those of the versions in which ``data`` is whole, sound Control Packets and nothing else."""
    return [version for version in versions if _is_sound(data, version)]


def _is_sound(data: bytes, version: int) -> bool:
    at = 0
    while at < len(data):
        try:
            end = packet_end(data, at, version)
            if end < 0 or end > len(data):
                return False
            packet = decode(data, at, end, version)
        except ProtocolError:
            return False
        if isinstance(packet, Connect):
            version = packet.version
        at = end
    return at > 0


def _goes_to_server(segment: Segment) -> bool:
    """Which side is the server: what only one of them sends, or else the port that is better known."""
    kind = segment.data[0] >> 4
    if kind in _TO_SERVER or kind in _FROM_SERVER:
        return kind in _TO_SERVER
    source, target = segment.source[1], segment.target[1]
    if (source in _PORTS) != (target in _PORTS):
        return target in _PORTS
    return target < source
