"""A hostile server on a real socket of loopback: a script of a few lines speaks raw bytes with the codec,
plainly or by TLS, WebSocket or both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Packet
from curier.codec.primitives import packet_end
from tests.client.servers import serving
from tests.client.stage import make_properties
from tests.net import doors

P = TypeVar("P", bound=Packet)

DATA: Final = (Opcode.BINARY, Opcode.CONT)


class WebReader(asyncio.StreamReader):
    """What clients say by WebSocket, read from the stream of their bytes."""

    def __init__(self, below: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self.web = ServerProtocol(subprotocols=[Subprotocol("mqtt")], max_size=None)
        self._below = below
        self._writer = writer

    async def events(self, n: int) -> list[Event]:
        """What comes next. ``EOFError`` at the end."""
        data = await self._below.read(n)
        if not data:
            raise EOFError
        self.web.receive_data(data)
        events = self.web.events_received()
        self._writer.write(b"".join(self.web.data_to_send()))  # pongs, and the answer to its close frame
        return events

    async def read(self, n: int = -1) -> bytes:
        """Up to ``n`` bytes of MQTT."""
        while self.web.state is not State.CLOSED and self.web.close_rcvd is None:
            try:
                events = await self.events(n)
            except EOFError:
                break
            data = b"".join(bytes(e.data) for e in events if isinstance(e, Frame) and e.opcode in DATA)
            if data:
                return data
        return b""


class WebWriter(asyncio.StreamWriter):
    """Frames what is said to a client."""

    web: ServerProtocol

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.web.send_binary(data)
        super().write(b"".join(self.web.data_to_send()))

    def __del__(self) -> None:
        """``serving`` closes the transport, which is that of the writer below."""


async def accept_web(
    below: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """See the handshake through; MQTT's reader and writer."""
    reader = WebReader(below, writer)
    events: list[Event] = []
    while not events:
        events = await reader.events(65536)
    (request,) = events
    assert isinstance(request, Request)
    reader.web.send_response(reader.web.accept(request))
    writer.write(b"".join(reader.web.data_to_send()))
    transport = writer.transport
    above = WebWriter(transport, transport.get_protocol(), below, asyncio.get_running_loop())
    above.web = reader.web
    return reader, above


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
    """Serve with ``script``, called for each connection, which ends with it; the URL. It is served by the
    ``current`` door, or on a Unix socket at ``path``.
    """
    count = 0
    listener = doors.here()
    address = listener.address

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        if writer.get_extra_info("ssl_object") is not None:  # no more is read ahead than without TLS
            writer.transport.set_read_buffer_limits(64 * 1024)  # type: ignore[attr-defined]
        if address.is_web and path is None:
            reader, writer = await accept_web(reader, writer)
        count += 1
        await script(Peer(count, reader, writer))

    if path is not None:
        async with serving(handle, path=path):
            yield f"unix://{path}"
        return
    tls = doors.server_context() if listener.certificate else None
    async with serving(handle, tls, address.path if address.carrier == "unix" else None) as port:
        yield doors.current().url(port)
