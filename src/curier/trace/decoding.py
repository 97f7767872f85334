"""Packets of a recording, decoded with what their connection has said before: its version, its Topic Aliases.

A packet may be cut (privacy, a bound), may come from a connection whose beginning nobody saw, or be none at
all. So nothing here raises for what a packet is: what cannot be read has a reason in its place.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from curier.codec.constants import CONNECT, MQTT_50, MQTT_311, PUBLISH
from curier.codec.decode import claimed_version, decode
from curier.codec.packets import Connack, Connect, Publish
from curier.codec.packets import Packet as ControlPacket
from curier.codec.primitives import encode_varint
from curier.errors import MqttError
from curier.trace.events import Packet, Wire

MOST_WIRES: Final = 20_000  # of which something is remembered; the oldest are forgotten first
MOST_ALIASES: Final = 50_000  # Topic Aliases in all

NAMES: Final = (
    *("(reserved)", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE"),
    *("SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"),
)
"""By Control Packet type (2.1.2)."""


class Line:
    """What is known of one Network Connection from what it has said."""

    __slots__ = ("client_id", "connack", "connect", "is_guessed", "version")

    def __init__(self, wire: Wire) -> None:
        self.client_id = wire.client_id
        self.version = wire.version
        self.is_guessed = False  # no CONNECT was seen, and nobody said the version
        self.connect: Connect | None = None
        self.connack: Connack | None = None


class Seen:
    """A packet as it is understood. ``packet`` is None where it cannot be; ``why`` says why then.

    ``topic`` is that of a PUBLISH, also where an alias stands for it ("" where nobody saw which one).
    ``payload_size`` counts the bytes that were left out, too.
    """

    __slots__ = ("line", "name", "packet", "payload_size", "topic", "why")

    def __init__(self, line: Line, name: str) -> None:
        self.line = line
        self.name = name
        self.packet: ControlPacket | None = None
        self.topic = ""
        self.payload_size = 0
        self.why = ""


class Decoding:
    """Reads the packets of one recording, in their order. What it remembers is bounded."""

    def __init__(self) -> None:
        self._lines: OrderedDict[int, Line] = OrderedDict()
        self._aliases: OrderedDict[tuple[int, bool, int, int], str] = OrderedDict()
        self._gaps: dict[int, int] = {}  # how many there were, by connection; 0: of all

    def line(self, wire: Wire) -> Line:
        """What is known of the connection."""
        line = self._lines.get(wire.number)
        if line is None:
            line = self._lines[wire.number] = Line(wire)
            if len(self._lines) > MOST_WIRES:
                self._lines.popitem(last=False)
            return line
        line.client_id = wire.client_id or line.client_id
        if wire.version and not line.connect:
            line.version = wire.version
        return line

    def forget(self, wire: Wire) -> None:
        """The connection has ended."""
        self._lines.pop(wire.number, None)
        self._gaps.pop(wire.number, None)

    def unkept(self, number: int) -> None:
        """What a connection said next, 0: what all did, is not known: Topic Aliases may be others."""
        self._gaps[number] = self._gaps.get(number, 0) + 1

    def read(self, event: Packet) -> Seen:
        """What one packet says."""
        line = self.line(event.wire)
        data = event.data
        seen = Seen(line, NAMES[data[0] >> 4] if data else "(nothing)")
        try:
            seen.packet = _decoded(event, line)
        except (MqttError, ValueError, IndexError) as error:
            seen.why = f"cut: {event.cut} bytes were left out" if event.cut else str(error)
            return seen
        packet = seen.packet
        if isinstance(packet, Publish):
            seen.payload_size = len(packet.payload) + event.cut
            seen.topic = self._topic(event, packet)
        elif isinstance(packet, Connect):
            line.connect = packet
            line.connack = None
            line.version = packet.version
            line.is_guessed = False
            line.client_id = line.client_id or packet.client_id
        elif isinstance(packet, Connack):
            line.connack = packet
            if packet.properties is not None and packet.properties.assigned_client_identifier:
                line.client_id = packet.properties.assigned_client_identifier
        return seen

    def _topic(self, event: Packet, packet: Publish) -> str:
        """The Topic Name, by its alias where it has one (3.3.2.3.4)."""
        alias = packet.properties.topic_alias if packet.properties is not None else None
        if alias is None:
            return packet.topic
        number = event.wire.number
        gaps = self._gaps.get(number, 0) + self._gaps.get(0, 0)
        key = (number, event.to_server, alias, gaps)
        if packet.topic:
            self._aliases[key] = packet.topic
            self._aliases.move_to_end(key)
            if len(self._aliases) > MOST_ALIASES:
                self._aliases.popitem(last=False)
            return packet.topic
        return self._aliases.get(key, "")


def _decoded(event: Packet, line: Line) -> ControlPacket:
    """The Control Packet; where the version is not known, 5.0 first, which packets of 3.1.1 rarely are."""
    data = event.data
    packet_type = data[0] >> 4
    if event.cut and packet_type == PUBLISH:
        data = _with_true_length(data)
    if packet_type == CONNECT:
        return decode(data, 0, len(data), claimed_version(data, 0, len(data)))
    if line.version:
        return decode(data, 0, len(data), line.version)
    line.is_guessed = True
    try:
        return decode(data, 0, len(data), MQTT_50)
    except MqttError:
        return decode(data, 0, len(data), MQTT_311)


def _with_true_length(data: bytes) -> bytes:
    """A packet that was cut in its payload, with the Remaining Length of what is left."""
    at = 1
    while data[at] > 127:
        at += 1
    body = data[at + 1 :]
    return data[:1] + encode_varint(len(body)) + body
