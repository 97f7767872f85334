"""Plain TCP on one epoll set inside the asyncio loop: one wake-up serves every socket that is ready.

asyncio's transports cost a callback, and often a wake-up, per socket; here the loop wakes once, all ready
sockets are read, the turn ends, every connection is written once. Linux only; see also ``transports``.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque

from curier.net.turn import Turn
from curier.net.wire import ACCEPT_AGAIN_SECONDS, CHUNK_BYTES, LINGER_SECONDS, TURN_BYTES, Wire, accept

IS_AVAILABLE = hasattr(select, "epoll")


class SocketWire(Wire):
    """One client's socket in the reactor's epoll set."""

    def __init__(self, reactor: Reactor, sock: socket.socket, address: str, listener: str) -> None:
        super().__init__(reactor.turn.attach(address, listener))
        self.reactor = reactor
        self.sock = sock
        self.unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0
        self.is_closing = False  # the core is done with it; last bytes are on their way
        self.is_ended = False  # our direction is shut down, the peer may still read
        self.cut: asyncio.TimerHandle | None = None  # the end of its time to read the last packet

    def write(self, data: bytes) -> int:
        if not self.unsent:
            try:
                sent = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return 0  # the peer is gone; epoll tells us next
            if sent == len(data):
                return 0
            self.unsent.append(memoryview(data)[sent:])
            self.unsent_bytes = len(data) - sent
            self._listen()
        else:
            self.unsent.append(memoryview(data))
            self.unsent_bytes += len(data)
        return self.unsent_bytes

    def flush(self) -> None:
        """The socket takes bytes again."""
        total = 0
        while self.unsent:
            try:
                sent = self.sock.send(self.unsent[0])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.reactor.drop(self)
                return
            total += sent
            if sent < len(self.unsent[0]):
                self.unsent[0] = self.unsent[0][sent:]
                break
            self.unsent.popleft()
        self.unsent_bytes -= total
        if not self.unsent:
            self._listen()
            if self.is_closing:
                self._end()
                return
        if not self.is_closing:
            self.reactor.turn.report(self, total, self.unsent_bytes)

    def set_reading(self, wanted: bool) -> None:
        self.is_reading = wanted
        self._listen()

    def _listen(self) -> None:
        """Tell epoll what we want to hear of."""
        events = 0
        if self.is_reading or self.is_closing:
            events |= select.EPOLLIN
        if self.unsent:
            events |= select.EPOLLOUT
        if self.sock.fileno() >= 0:
            self.reactor.epoll.modify(self.sock.fileno(), events)

    def close(self) -> None:
        self.is_closing = True
        self.cut = self.reactor.loop.call_later(LINGER_SECONDS, self.reactor.drop, self)
        if self.unsent:
            self._listen()
        else:
            self._end()

    def _end(self) -> None:
        """All is sent: end our direction, wait for the peer to close the other."""
        if not self.is_ended and self.sock.fileno() >= 0:
            self.is_ended = True
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.reactor.drop(self)
                return
            self._listen()


class Reactor:
    """The epoll set: listeners and clients."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.loop: asyncio.AbstractEventLoop = turn.loop
        self.epoll = select.epoll()
        self.wires: dict[int, SocketWire] = {}  # by file descriptor
        self.listeners: dict[int, tuple[socket.socket, str]] = {}
        self._buffer = bytearray(CHUNK_BYTES)
        self._view = memoryview(self._buffer)
        self.loop.add_reader(self.epoll.fileno(), self._ready)

    def listen(self, sock: socket.socket, name: str) -> None:
        """Accept clients from a listening socket; ``name`` is its URL."""
        sock.setblocking(False)
        self.listeners[sock.fileno()] = (sock, name)
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def stop_listening(self) -> None:
        for fd, (sock, _) in self.listeners.items():
            self.epoll.unregister(fd)
            sock.close()
        self.listeners.clear()

    def stop(self) -> None:
        """Close everything at once."""
        self.stop_listening()
        for wire in list(self.wires.values()):
            self.drop(wire)
        self.loop.remove_reader(self.epoll.fileno())
        self.epoll.close()

    def _ready(self) -> None:
        """The loop woke up: serve all sockets that are ready, then end the turn."""
        read = 0
        wires = self.wires
        for fd, events in self.epoll.poll(0, 1024):
            wire = wires.get(fd)
            if wire is None:
                if fd in self.listeners:
                    self._accept(fd)
                continue
            if events & select.EPOLLOUT:
                wire.flush()
            if events & ~select.EPOLLOUT:
                read += self._read(wire)
                if read > TURN_BYTES:  # so that output does not pile up while we read on
                    self.turn.finish()
                    read = 0
        self.turn.finish()

    def _read(self, wire: SocketWire) -> int:
        try:
            size = wire.sock.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            size = 0
        if not size:
            self.drop(wire)
        elif not wire.is_closing:
            self.turn.receive(wire, bytes(self._view[:size]))
        return size

    def _accept(self, fd: int) -> None:
        listener, name = self.listeners[fd]
        core = self.turn.core
        clients, may_go_on = accept(listener)
        if not may_go_on:
            self.epoll.modify(fd, 0)
            self.loop.call_later(ACCEPT_AGAIN_SECONDS, self._accept_again, fd)
        for client, address in clients:
            if len(core.connections) > 2 * core.options.max_connections:
                client.close()  # most of them have said nothing yet; those that do are told "busy"
                continue
            wire = SocketWire(self, client, address, name)
            self.wires[client.fileno()] = wire
            self.turn.add(wire)
            self.epoll.register(client.fileno(), select.EPOLLIN)

    def _accept_again(self, fd: int) -> None:
        if fd in self.listeners:
            self.epoll.modify(fd, select.EPOLLIN)

    def drop(self, wire: SocketWire) -> None:
        """Close a socket for good."""
        fd = wire.sock.fileno()
        if fd < 0:
            return
        self.wires.pop(fd, None)
        self.epoll.unregister(fd)
        wire.sock.close()
        wire.unsent.clear()
        if wire.cut is not None:
            wire.cut.cancel()
        self.turn.lost(wire)
