"""TCP on asyncio's own transports: for systems without epoll, and for loops that bring their own."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from curier.net.turn import Turn
from curier.net.wire import LINGER_SECONDS, Wire


class TransportWire(Wire, asyncio.Protocol):
    """One client behind an asyncio transport."""

    transport: asyncio.Transport

    def __init__(self, turn: Turn, listener: str) -> None:
        self.turn = turn
        self.listener = listener
        self.is_closing = False

    # ---- asyncio's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        core = self.turn.core
        peer = transport.get_extra_info("peername")
        address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer or "")
        Wire.__init__(self, self.turn.attach(address, self.listener))
        if len(core.connections) > 2 * core.options.max_connections:
            self.transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport.set_write_buffer_limits(high=core.options.output_soft_limit)
        self.turn.add(self)

    def data_received(self, data: bytes) -> None:
        if not self.is_closing:
            self.turn.receive(self, data)
            self.turn.schedule()

    def resume_writing(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self.turn.report(self, self.connection.written_unsent - unsent, unsent)
        self.turn.schedule()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closing = True
        self.turn.lost(self)

    # ---- the turn's side ----

    def write(self, data: bytes) -> int:
        self.transport.write(data)
        return self.transport.get_write_buffer_size()

    def set_reading(self, wanted: bool) -> None:
        self.is_reading = wanted
        if self.transport.is_closing():
            return
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def close(self) -> None:
        self.is_closing = True
        if not self.is_reading:
            self.set_reading(True)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.turn.loop.call_later(LINGER_SECONDS, self.transport.abort)
        else:
            self.transport.close()


class TransportServer:
    """Listening sockets served by asyncio."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.servers: list[asyncio.Server] = []

    async def listen(self, sock: socket.socket, name: str) -> None:
        """Accept clients from a listening socket; ``name`` is its URL."""
        self.servers.append(
            await self.turn.loop.create_server(lambda: TransportWire(self.turn, name), sock=sock)
        )

    def stop_listening(self) -> None:
        for server in self.servers:
            server.close()

    def stop(self) -> None:
        """Close everything at once."""
        self.stop_listening()
        for wire in list(self.turn.wires.values()):
            if isinstance(wire, TransportWire):
                wire.transport.abort()
