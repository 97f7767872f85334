"""A hostile server on a real socket of loopback: a script of a few lines speaks raw bytes with the codec."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Packet
from curier.codec.primitives import packet_end
from tests.client.servers import serving
from tests.client.stage import make_properties

P = TypeVar("P", bound=Packet)


class Peer:
    """One connection of a client."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number  # from 1
        self.reader = reader
        self.writer = writer
        self.version = MQTT_50
        self._rest = b""

    async def receive(self, kind: type[P]) -> P:
        """The next packet of this kind; others are passed over. ``EOFError`` at the end."""
        while True:
            packet = await self.packet()
            if isinstance(packet, kind):
                return packet

    async def packet(self) -> Packet:
        """The next packet."""
        while not self._rest or (end := packet_end(self._rest, 0)) < 0 or end > len(self._rest):
            chunk = await self.reader.read(65536)
            if not chunk:
                raise EOFError
            self._rest += chunk
        packet = decode(self._rest, 0, end, self.version)
        self._rest = self._rest[end:]
        if isinstance(packet, Connect):
            self.version = packet.version
        return packet

    def send(self, *packets: Packet | bytes) -> None:
        """Send, whether or not anybody reads."""
        for packet in packets:
            self.writer.write(packet if isinstance(packet, bytes) else encode(packet, self.version))

    async def accept(self, session_present: bool = False, **properties: Any) -> Connect:
        """Take CONNECT and accept it."""
        connect = await self.receive(Connect)
        made = make_properties(**properties) if properties and self.version == MQTT_50 else None
        self.send(Connack(session_present, 0, made))
        return connect

    def read_no_more(self) -> None:
        """From now on what the client sends stays in the network, which is a small one."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def closed(self) -> None:
        """Read on until the client has closed."""
        while await self.reader.read(65536):
            pass


@contextlib.asynccontextmanager
async def hostile(script: Callable[[Peer], Awaitable[None]], path: str | None = None) -> AsyncIterator[str]:
    """Serve with ``script``, called for each connection, which ends with it; the URL."""
    count = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await script(Peer(count, reader, writer))

    async with serving(handle, path=path) as port:
        yield f"mqtt://127.0.0.1:{port}" if path is None else f"unix://{path}"
