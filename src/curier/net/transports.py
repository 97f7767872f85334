"""TCP on asyncio's own transports: for systems without epoll, and for loops that bring their own."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Final, cast

from curier.net import passage
from curier.net.accepting import ACCEPT_AGAIN_SECONDS, Acceptor, LocalPeer
from curier.net.doors import Door
from curier.net.gate import Gate
from curier.net.handshakes import Handshakes
from curier.net.layers import THIN_BYTES, Layers
from curier.net.turn import Turn
from curier.net.wire import LINGER_SECONDS, Linger, Wire, close_code, unread_bytes

PROGRESS_SECONDS: Final = 1.0
"""A transport says when it has sent all, not that it has sent something; so it is asked that often."""


class TransportWire(Wire, asyncio.Protocol):
    """One client behind an asyncio transport."""

    transport: asyncio.Transport

    def __init__(
        self, server: TransportServer, address: str, who: LocalPeer | None, place: str, door: Door
    ) -> None:
        super().__init__(server.turn.attach(address, door.url, door.entrance, place), door.open(address))
        self.connection.local_peer = who
        self.server = server
        self.turn = server.turn
        self.is_closing = False
        self.is_held = False  # not read from while a step of its handshake is taken
        self.has_eof = False  # meanwhile
        self.chunk = b""  # for the layers, which have not been given all of it yet
        self.chunk_at = 0
        self.is_called = False  # the loop will come round to the rest of it
        self.timer: asyncio.TimerHandle | None = None  # asks for progress; once closing: cuts

    # ---- asyncio's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)  # tells us when all is sent
        self.server.wires.add(self)
        self.turn.add(self)

    def data_received(self, data: bytes) -> None:
        if self.is_closing:
            return
        if self.layers is None:
            self.turn.receive(self, data, self.turn.clock.now())
            self.turn.schedule()
            return
        self.chunk = data
        self.chunk_at = 0
        self._give(self.layers)

    def _give(self, layers: Layers) -> None:
        """Give the layers what has come: little at once of who has not logged in, or sends what is not for
        MQTT, as long as others may have their turn between. A transport itself reads a lot.
        """
        data = self.chunk
        first = self.chunk_at
        while self.chunk_at < len(data) and self.is_reading and not self.is_held and not self.is_closing:
            is_wary = layers.is_thin or self.connection.server_session is None
            if is_wary and self.chunk_at > first:
                self.transport.pause_reading()
                self._give_later()
                break
            start = self.chunk_at
            size = THIN_BYTES if is_wary else len(data)
            self.chunk_at += size
            piece = data[start : start + size]
            passage.receive(self.turn, self.server.handshakes, self, layers, piece, self.turn.clock.now())
        if self.chunk_at >= len(data):
            self.chunk = b""
        self.turn.schedule()

    def _give_later(self) -> None:
        if not self.is_called:
            self.is_called = True
            self.turn.loop.call_soon(self._give_rest)

    def _give_rest(self) -> None:
        """The loop has come round to what is left of a chunk."""
        self.is_called = False
        layers = self.layers
        assert layers is not None
        if self.is_closing or not self.chunk:
            return
        try:
            self._give(layers)
        except Exception as error:
            self.turn.give_up(self.connection, "serving a socket", error)
            return
        if not self.chunk and not self.is_closing:
            self.set_reading(self.is_reading)

    def resume_writing(self) -> None:
        if not self.is_closing:
            self._report()
        elif not self._unsent():
            self._end()

    def eof_received(self) -> bool:
        if self.layers is not None and self.layers.is_busy and not self.is_closing:
            self.has_eof = True  # what has come before is not worked on yet
            return True
        return not self.is_closing and not self.turn.ended(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None)
        self.is_closing = True
        self.server.wires.remove(self)
        self.turn.lost(self)

    def _report(self) -> None:
        """Tell how much has been sent since the last time."""
        unsent = self._unsent()
        self._set_timer(self.turn.loop.call_later(PROGRESS_SECONDS, self._report) if unsent else None)
        self.turn.report(self, self.connection.written_unsent - unsent, unsent, self.turn.clock.now())
        self.turn.schedule()

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = timer

    # ---- the turn's side ----

    def write(self, data: bytes) -> int:
        if self.layers is None:
            self.transport.write(data)
            unsent = self.transport.get_write_buffer_size()
        else:
            self.layers.send(data)
            unsent = self.push(len(data))
        if unsent and self.timer is None:
            self.timer = self.turn.loop.call_later(PROGRESS_SECONDS, self._report)
        return unsent

    def write_pieces(self, pieces: list[bytes]) -> int:
        assert self.layers is not None
        self.layers.send_pieces(pieces)
        unsent = self.push(sum(map(len, pieces)))
        if unsent and self.timer is None:
            self.timer = self.turn.loop.call_later(PROGRESS_SECONDS, self._report)
        return unsent

    def push(self, added: int) -> int:
        layers = self.layers
        assert layers is not None
        transport = self.transport
        while not transport.get_write_buffer_size() and not transport.is_closing():
            data = layers.take()
            if not data:
                break
            transport.write(data)
        unsent = transport.get_write_buffer_size() + layers.waiting
        return min(unsent, self.connection.written_unsent + added)

    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size() if self.layers is None else self.push(0)

    def worked(self) -> None:
        layers = self.layers
        assert layers is not None
        layers.worked()
        if self.is_closing:
            return
        passage.receive(self.turn, self.server.handshakes, self, layers, b"", self.turn.clock.now())
        if layers.is_busy:
            return
        if self.is_held:
            self.is_held = False
            self.set_reading(self.is_reading)
        if self.has_eof:
            self.ended()

    def hold(self) -> None:
        self.is_held = True
        self.transport.pause_reading()

    def ended(self) -> None:
        if not self.is_closing and self.turn.ended(self):
            self.turn.schedule()
            self.turn.loop.call_soon(self._end_layers)

    def _end_layers(self) -> None:
        """The peer has closed one of them in order, and is sent what it is owed."""
        if not self.is_closing:
            self.turn.lost(self)
            self.close()

    def set_reading(self, wanted: bool) -> None:
        self.is_reading = wanted
        if self.transport.is_closing():
            return
        if wanted and self.has_ended:  # there is nothing to be read; close behind what this turn writes
            self.turn.schedule()
            end = self.transport.close if self.layers is None else self._end_layers
            self.turn.loop.call_soon(end)
        elif wanted and not self.is_held:
            if self.chunk:
                self._give_later()
            else:
                self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def close(self) -> None:
        self.is_closing = True
        self.is_held = False
        self.chunk = b""
        if self.layers is not None:
            self.layers.close(close_code(self.connection))
            self.push(0)
        if not self.is_reading:
            self.set_reading(True)
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.linger = Linger(self._left(), self.turn.loop.time())
        self._cut_later()
        if not self.transport.get_write_buffer_size() and (self.layers is None or not self.layers.waiting):
            self._end()

    def _cut_later(self) -> None:
        self._set_timer(self.turn.loop.call_later(LINGER_SECONDS, self._cut))

    def _cut(self) -> None:
        assert self.linger is not None
        if self.linger.goes_on(self._left(), self.turn.loop.time()):
            self._cut_later()
        else:
            self.transport.abort()

    def _left(self) -> int:
        """Bytes that the peer has not taken yet."""
        sock = self.transport.get_extra_info("socket")
        waiting = self.layers.waiting if self.layers is not None else 0
        return self.transport.get_write_buffer_size() + waiting + unread_bytes(sock.fileno())

    def _end(self) -> None:
        """All is sent: end our direction, wait for the peer to close the other."""
        try:
            self.transport.write_eof()
        except OSError:  # the peer is gone
            self.transport.abort()


class TransportServer:
    """Listening sockets, and the clients that came by them."""

    def __init__(self, turn: Turn, handshakes: Handshakes) -> None:
        self.turn = turn
        self.handshakes = handshakes
        self.listeners: dict[socket.socket, Door] = {}
        self.wires: set[TransportWire] = set()  # those whose last bytes are on their way included
        self._acceptor = Acceptor()
        self._gate = Gate(turn.core.options, turn.loop)
        self._arriving: set[asyncio.Task[tuple[asyncio.Transport, TransportWire]]] = set()

    def listen(self, sock: socket.socket, door: Door) -> None:
        """Accept clients from a listening socket."""
        sock.setblocking(False)
        self.listeners[sock] = door
        self.turn.loop.add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        core = self.turn.core
        loop = self.turn.loop
        door = self.listeners[sock]
        now = self.turn.clock.now()
        wait = self._gate.wait(now)
        if wait:
            self._accept_later(sock, wait)
            return
        clients, may_go_on = self._acceptor.accept(sock)
        self._gate.accepted(len(clients))
        if not may_go_on:
            self._accept_later(sock, ACCEPT_AGAIN_SECONDS)
        for fd, address, who in clients:
            client = socket.socket(sock.family, sock.type, sock.proto, fd)
            client.setblocking(False)
            place = door.place(address, who)
            if not door.admits(core, address, who, place, now, len(self._arriving)):
                client.close()
                continue
            make = partial(TransportWire, self, address, who, place, door)
            task = loop.create_task(loop.connect_accepted_socket(make, client))
            self._arriving.add(task)
            task.add_done_callback(partial(self._arrived, client))

    def _arrived(
        self, client: socket.socket, task: asyncio.Task[tuple[asyncio.Transport, TransportWire]]
    ) -> None:
        self._arriving.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            client.close()
            self.turn.core.faults.note("a connection, which is closed", error)
            self.turn.schedule()

    def _accept_later(self, sock: socket.socket, seconds: float) -> None:
        self.turn.loop.remove_reader(sock)
        self.turn.loop.call_later(seconds, self._accept_again, sock)

    def _accept_again(self, sock: socket.socket) -> None:
        if sock in self.listeners:
            self.turn.loop.add_reader(sock, self._accept, sock)

    def leave(self, sock: socket.socket) -> None:
        """Accept no more clients from a listening socket, which stays open."""
        if self.listeners.pop(sock, None) is not None:
            self.turn.loop.remove_reader(sock)

    def stop_listening(self) -> None:
        for sock in self.listeners:
            self.turn.loop.remove_reader(sock)
            sock.close()
        self.listeners.clear()

    def stop(self) -> None:
        """Close everything at once."""
        self.stop_listening()
        self._acceptor.close()
        self._gate.close()
        for wire in list(self.wires):
            wire.transport.abort()
