"""What rules ask about a packet, from bytes that may be wrong: what cannot be read is not there."""

from __future__ import annotations

from typing import Final

from curier.codec.constants import CONNACK, CONNECT, MQTT_50, PUBLISH, UNSUBACK
from curier.codec.decode import decode
from curier.codec.packets import Connack, Connect
from curier.codec.primitives import Reader
from curier.codec.properties import decode_properties
from curier.errors import MalformedPacket, RemoteProtocolError
from curier.faults.rules import PACKET_NAMES
from curier.frozen import dataclass

MOST_ALIASES: Final = 1024  # that are remembered of one direction


@dataclass(frozen=True, slots=True)
class Facts:
    """One packet: its type, and what it has of these, else empty or 0. ``qos`` is -1 but for PUBLISH."""

    packet: int
    identifier: int = 0
    qos: int = -1
    topic: bytes = b""
    dup: bool = False

    def __str__(self) -> str:
        """As people name it."""
        words = [PACKET_NAMES.get(self.packet, "a packet of a reserved type")]
        if self.dup:
            words.append("(DUP)")
        if self.identifier:
            words.append(f"id {self.identifier}")
        return " ".join(words)


class Knowledge:
    """What the packets of one connection have told: who the client is, and which Topic Aliases stand for
    what.

    ``version`` is 0 until CONNECT says it.
    """

    def __init__(self, version: int = 0, client_id: str = "") -> None:
        self.version = version
        self.client_id = client_id
        self.user: str = ""
        self._aliases: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})  # to the client, to the server

    def read(self, to_server: bool, data: bytes) -> Facts:
        """The next packet, whole or its beginning, in order."""
        packet = data[0] >> 4
        if packet == CONNECT:
            self._read_connect(data)
        elif packet == CONNACK:
            self._read_connack(data)
        if not PUBLISH <= packet <= UNSUBACK:
            return Facts(packet)
        reader = Reader(data, 0, len(data))
        try:
            reader.byte("Fixed Header")
            reader.varint("Remaining Length", may_be_long=True)
            if packet == PUBLISH:
                return self._read_publish(reader, to_server, data[0])
            return Facts(packet, reader.two("Packet Identifier"))
        except (MalformedPacket, RemoteProtocolError):
            return Facts(packet)

    def _read_connect(self, data: bytes) -> None:
        try:
            connect = decode(data, 0, len(data), 0)
        except (MalformedPacket, RemoteProtocolError):
            return
        if isinstance(connect, Connect):
            self.version = connect.version
            self.client_id = connect.client_id
            self.user = connect.username or ""

    def _read_connack(self, data: bytes) -> None:
        """A client without a Client Identifier learns the one it gets (3.2.2.3.7)."""
        if self.version != MQTT_50 or self.client_id:
            return
        try:
            connack = decode(data, 0, len(data), self.version)
        except (MalformedPacket, RemoteProtocolError):
            return
        if isinstance(connack, Connack) and connack.properties is not None:
            self.client_id = connack.properties.assigned_client_identifier or ""

    def _read_publish(self, reader: Reader, to_server: bool, first: int) -> Facts:
        topic = reader.binary("Topic Name")
        qos = first >> 1 & 3
        identifier = reader.two("Packet Identifier") if qos else 0
        if self.version == MQTT_50:
            topic = self._resolve(reader, to_server, topic)
        return Facts(PUBLISH, identifier, qos, topic, bool(first & 8))

    def _resolve(self, reader: Reader, to_server: bool, topic: bytes) -> bytes:
        """The topic that a Topic Alias stands for (3.3.2.3.4)."""
        try:
            alias = decode_properties(reader, PUBLISH).topic_alias
        except (MalformedPacket, RemoteProtocolError):
            return topic
        if alias is None:
            return topic
        known = self._aliases[to_server]
        if not topic:
            return known.get(alias, b"")
        if alias in known or len(known) < MOST_ALIASES:
            known[alias] = topic
        return topic
