"""Plain TCP on one epoll set: one wake-up serves every socket that is ready.

asyncio's transports cost a callback, and often a wake-up, per socket; here all ready sockets are read, the
turn ends, every connection is written once. The set is that of ``selector`` where the loop has one, else one
of its own within the loop's. Linux only; see also ``transports``.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections import deque
from time import monotonic
from typing import Final, final

from mypy_extensions import i64

from curier.net import passage
from curier.net.accepting import ACCEPT_AGAIN_SECONDS, Acceptor, Client
from curier.net.doors import Door
from curier.net.gate import Gate
from curier.net.handshakes import Handshakes
from curier.net.layers import THIN_BYTES
from curier.net.selector import MOST_EVENTS, Selector, Sockets
from curier.net.turn import Turn
from curier.net.wire import (
    CHUNK_BYTES,
    LINGER_SECONDS,
    TURN_BYTES,
    WRITE_BYTES,
    Linger,
    Wire,
    close_code,
    unread_bytes,
)

IS_AVAILABLE: Final = hasattr(select, "epoll")

# Under names of this module that never change, which costs no look into any module.
_read: Final = os.read
_write: Final = os.write

EPOLLIN: Final = 1
EPOLLOUT: Final = 4
MOST_ENDS: Final = 128  # of connections, in one turn; of the others epoll tells again
TURN_SECONDS: Final = 0.002  # for which sockets of clients are served: those that say little, and the others
STRANGERS_SECONDS: Final = 0.00025  # for which those are, all together, that have not logged in
QUIET: Final = 0
LOUD: Final = 1
STRANGERS: Final = 2
BUSY_BYTES: Final = 4096  # read in one turn: there is probably more to be read by the time it ends
FEW_BYTES: Final = 16 * 1024  # written to each socket that waits, where others have taken much in this turn
FIRST_READ_OF_LAYERS: Final = 2048  # a ClientHello, or the request for a WebSocket, in one piece
FIRST_READ: Final = 448  # bytes: of a socket that has not shown yet that it has more to say; no malloc

NOTHING: Final[list[memoryview]] = []  # of all that have nothing unsent
NO_EVENTS: Final[list[tuple[int, int]]] = []


@final
class SocketWire(Wire):
    """One client's socket in the reactor's epoll set."""

    def __init__(self, reactor: Reactor, fd: int, address: str, place: str, door: Door) -> None:
        super().__init__(reactor.turn.attach(address, door.url, door.entrance, place), door.open(address))
        self.reactor: Reactor = reactor
        self.fd: int = fd  # -1 once it is closed
        self.read_size: int = FIRST_READ if self.layers is None else FIRST_READ_OF_LAYERS
        self.unsent: list[memoryview] = NOTHING
        self.unsent_bytes: int = 0
        self.is_closing: bool = False  # the core is done with it; last bytes are on their way
        self.is_ended: bool = False  # our direction is shut down, the peer may still read
        self.is_held: bool = False  # not read from while a step of its handshake is taken

    def read(self) -> bytes:
        """What has come, or b"" for nothing; a socket at its end is dropped.

        A large buffer costs a large allocation, so each socket is read in pieces like those it brought last.
        """
        size = self.read_size
        layers = self.layers
        if size > THIN_BYTES and layers is not None:
            if layers.is_thin or self.connection.server_session is None:
                size = self.read_size = THIN_BYTES
        try:
            data = _read(self.fd, size)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            self.reactor.drop(self)
            return b""
        if not data:
            if layers is not None and layers.is_busy and not self.is_closing:
                self.hold()  # what has come before is not worked on yet
            elif self.is_closing or self.reactor.turn.ended(self):
                self.reactor.drop(self)
        elif len(data) == size:
            if size < CHUNK_BYTES:
                self.read_size = size * 8 if size * 8 < CHUNK_BYTES else CHUNK_BYTES
        elif size > FIRST_READ and len(data) < size // 16:
            self.read_size = size // 2
        return data

    def write(self, data: bytes) -> int:
        layers = self.layers
        if layers is not None:
            layers.send(data)
            return self.push(len(data))
        return self._put(data)

    def _put(self, data: bytes) -> int:
        """Bytes for the socket itself; returns how many of them now wait, all earlier ones included."""
        if not self.unsent:
            try:
                sent = _write(self.fd, data if len(data) <= WRITE_BYTES else memoryview(data)[:WRITE_BYTES])
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return 0  # the peer is gone; epoll tells us next
            if sent == len(data):
                return 0
            self.unsent = [memoryview(data)[sent:]]
            self.unsent_bytes = len(data) - sent
            self._listen()
        else:
            self.unsent.append(memoryview(data))
            self.unsent_bytes += len(data)
        return self.unsent_bytes

    def push(self, added: int) -> int:
        return self._push(added, WRITE_BYTES)

    def _push(self, added: int, most: int) -> int:
        layers = self.layers
        assert layers is not None
        pushed = 0
        while not self.unsent and (pushed < most or not layers.waiting):
            data = layers.take()
            if not data:
                break
            pushed += len(data)
            self._put(data)
        if layers.waiting and not self.unsent:
            self._listen()  # so that others have their turn, too
        unsent = self.unsent_bytes + layers.waiting
        most = self.connection.written_unsent + added
        return unsent if unsent < most else most

    def write_pieces(self, pieces: list[bytes]) -> int:
        assert self.layers is not None
        self.layers.send_pieces(pieces)
        size = 0
        for piece in pieces:
            size += len(piece)
        return self.push(size)

    def write_later(self, data: bytes) -> int:
        if self.layers is not None:
            return self.write(data)  # which encrypts no more than a window of it
        was_empty = not self.unsent
        if was_empty:
            self.unsent = []
        self.unsent.append(memoryview(data))
        self.unsent_bytes += len(data)
        if was_empty:
            self._listen()
        return self.unsent_bytes

    def flush(self, now: float, most: int) -> int:
        """The socket takes bytes again: write ``most`` of what waits, or a little more; how many it took."""
        total = 0
        done = 0
        unsent = self.unsent
        while done < len(unsent) and total < most:
            piece = unsent[done]
            try:
                sent = _write(self.fd, piece if len(piece) <= most else piece[:most])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.reactor.drop(self)
                return total
            total += sent
            if sent < len(piece):
                unsent[done] = piece[sent:]
                break
            done += 1
        del unsent[:done]
        self.unsent_bytes -= total
        if self.layers is not None:
            before = self.connection.written_unsent
            left = self._push(0, most - total)
            total = before - left
            unsent = self.unsent  # which may be new
            if unsent or self.layers.waiting:
                if not self.is_closing:
                    self.reactor.turn.report(self, total, left, now)
                return total
        if not unsent:
            self._listen()
            if self.is_closing:
                self._end()
                return total
        if not self.is_closing:
            self.reactor.turn.report(self, total, self.unsent_bytes, now)
        return total

    def set_reading(self, wanted: bool) -> None:
        self.is_reading = wanted
        self._listen()
        if wanted and self.has_ended and self.layers is not None and self.layers.is_ended:
            self.ended()

    def _listen(self) -> None:
        """Tell epoll what we want to hear of."""
        events = 0
        if (self.is_reading and not self.is_held) or self.is_closing:
            events |= EPOLLIN
        if self.unsent or (self.layers is not None and self.layers.waiting):
            events |= EPOLLOUT
        if self.fd >= 0:
            self.reactor.epoll.modify(self.fd, events)

    def worked(self) -> None:
        layers = self.layers
        assert layers is not None
        layers.worked()
        if self.fd < 0 or self.is_closing:
            return
        if self.is_held:
            self.is_held = False
            self._listen()
        turn = self.reactor.turn
        passage.receive(turn, self.reactor.handshakes, self, layers, b"", turn.clock.now())

    def hold(self) -> None:
        self.is_held = True
        self._listen()

    def ended(self) -> None:
        if not self.is_closing and self.reactor.turn.ended(self):
            self.reactor.end_later(self)

    def left(self) -> int:
        """Bytes that the peer has not taken yet."""
        waiting = self.layers.waiting if self.layers is not None else 0
        return self.unsent_bytes + waiting + unread_bytes(self.fd)

    def close(self) -> None:
        self.is_closing = True
        layers = self.layers
        if layers is not None and self.fd >= 0:
            layers.close(close_code(self.connection))
            self.push(0)
        if self.unsent or (layers is not None and layers.waiting):
            self._listen()
        else:
            self._end()
        if self.fd >= 0:
            self.reactor.cut_later(self)

    def _end(self) -> None:
        """All is sent: end our direction, wait for the peer to close the other.

        To close both would cost a peer that goes on sending what it has not read yet. One that has said
        goodbye does not, behind layers once it has closed one of them as well (RFC 8446 section 6.1).
        """
        if self.connection.has_left and (self.layers is None or self.layers.is_ended):
            self.reactor.drop(self)
        elif not self.is_ended and self.fd >= 0:
            self.is_ended = True
            sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, self.fd)  # whatever it really is
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.reactor.drop(self)
                return
            finally:
                sock.detach()
            self._listen()


@final
class Reactor(Sockets):
    """The epoll set: listeners and clients."""

    def __init__(self, turn: Turn, handshakes: Handshakes) -> None:
        self.turn: Turn = turn
        self.handshakes: Handshakes = handshakes
        self.loop: asyncio.AbstractEventLoop = turn.loop
        self.wires: dict[int, SocketWire] = {}  # by file descriptor
        self.listeners: dict[int, tuple[socket.socket, Door]] = {}
        self.turn_seconds: float = TURN_SECONDS
        self.drops: int = 0  # of sockets, in this turn
        self.next_fds: list[int] = [-1, -1, -1]  # by kind: who comes first in the next turn; -1: nobody
        self.has_read: i64 = 0  # bytes, in this turn
        self.has_written: i64 = 0  # of what has waited
        self.endings: list[SocketWire] = []  # whose peers have closed a layer in order
        self.acceptor: Acceptor = Acceptor()
        self.gate: Gate = Gate(turn.core.options, turn.loop)
        # When closing wires have had the time to read their last packet, with descriptor and connection.
        self.cuts: deque[tuple[float, int, int]] = deque()
        self.cutter: asyncio.TimerHandle | None = None
        self.selector: Selector | None = None  # the loop's, where it can serve us
        selector: object = getattr(self.loop, "selector", None)
        if isinstance(selector, Selector) and selector.sockets is None:
            self.selector = selector
            self.epoll = selector.epoll
            selector.sockets = self
        else:
            self.epoll = select.epoll()
            self.loop.add_reader(self.epoll.fileno(), self._ready)

    def listen(self, sock: socket.socket, door: Door) -> None:
        """Accept clients from a listening socket."""
        sock.setblocking(False)
        self.listeners[sock.fileno()] = (sock, door)
        self.epoll.register(sock.fileno(), EPOLLIN)

    def leave(self, sock: socket.socket) -> None:
        """Accept no more clients from a listening socket, which stays open."""
        if self.listeners.pop(sock.fileno(), None) is not None:
            self.epoll.unregister(sock.fileno())

    def stop_listening(self) -> None:
        for fd, (sock, _) in self.listeners.items():
            self.epoll.unregister(fd)
            sock.close()
        self.listeners.clear()

    def stop(self) -> None:
        """Close everything at once."""
        self.stop_listening()
        self.acceptor.close()
        self.gate.close()
        for wire in list(self.wires.values()):
            self.drop(wire)
        if self.cutter is not None:
            self.cutter.cancel()
        if self.selector is not None:
            self.selector.sockets = None
        else:
            self.loop.remove_reader(self.epoll.fileno())
            self.epoll.close()

    def _ready(self) -> None:
        self.serve(self.epoll.poll(0, MOST_EVENTS), monotonic())

    def serve(self, events: list[tuple[int, int]], monotonic_now: float) -> list[tuple[int, int]]:
        """Serve the sockets that are ready, then end the turn; returns the events of others. First come those
        who say little, then those who say much, then strangers, for a bounded time each.
        """
        turn = self.turn
        wires = self.wires
        now = monotonic_now + turn.clock.offset
        self.has_read = 0
        self.has_written = 0
        self.drops = 0
        others = NO_EVENTS
        quiet = NO_EVENTS
        loud = NO_EVENTS
        strangers = NO_EVENTS
        for event in events:
            wire = wires.get(event[0])
            if wire is None and event[0] not in self.listeners:
                others = _with(event, others)
            elif wire is None or wire.connection.server_session is None:
                strangers = _with(event, strangers)
            elif wire.read_size <= FIRST_READ_OF_LAYERS:
                quiet = _with(event, quiet)
            else:
                loud = _with(event, loud)
        if quiet:
            now = self._serve_some(QUIET, quiet, self.turn_seconds, now)
        if loud:
            now = self._serve_some(LOUD, loud, self.turn_seconds, now)
        if strangers:
            if quiet or loud:
                turn.write_out(now)
                now = turn.clock.now()
            now = self._serve_some(STRANGERS, strangers, STRANGERS_SECONDS, now)
        turn.finish(now, self.has_read >= BUSY_BYTES and self.selector is not None)
        return others

    def _serve_some(self, kind: int, events: list[tuple[int, int]], seconds: float, now: float) -> float:
        """Those of one kind, while there is time; who is left over comes first in the next turn. Returns the
        time of the turn, which is a new one where output was written in between.
        """
        until = monotonic() + seconds
        if self.next_fds[kind] >= 0:
            events = _beginning_with(self.next_fds[kind], events)
            self.next_fds[kind] = -1
        for fd, mask in events:
            if self._is_over(until):
                self.next_fds[kind] = fd
                break
            wire = self.wires.get(fd)
            if wire is not None:
                self._serve(wire, mask, now)
            elif fd in self.listeners:
                self._accept(fd)
            if self.has_read > TURN_BYTES:  # so that output does not pile up while we read on
                self.turn.write_out(now)
                now = self.turn.clock.now()
                self.has_read = 0
        return now

    def _serve(self, wire: SocketWire, mask: int, now: float) -> None:
        turn = self.turn
        try:
            if mask & EPOLLOUT:
                self.has_written += wire.flush(
                    now, WRITE_BYTES if self.has_written < TURN_BYTES else FEW_BYTES
                )
            if mask & ~EPOLLOUT and wire.fd >= 0:
                data = wire.read()
                if data and not wire.is_closing:
                    self.has_read += len(data)
                    if wire.layers is None:
                        turn.receive(wire, data, now)
                    else:
                        passage.receive(turn, self.handshakes, wire, wire.layers, data, now)
        except Exception as error:
            turn.give_up(wire.connection, "serving a socket", error)
            if wire.is_closing:
                self.drop(wire)  # it would go on failing

    def _is_over(self, until: float) -> bool:
        """Has the turn done what there is time for?"""
        if self.drops >= MOST_ENDS or self.turn.core.ends >= MOST_ENDS:
            return True
        return monotonic() > until

    def is_postponing(self) -> bool:
        return self.turn.is_postponing()

    def _accept(self, fd: int) -> None:
        listener, door = self.listeners[fd]
        core = self.turn.core
        now = self.turn.clock.now()
        wait = self.gate.wait(now)
        if wait:
            self._accept_later(fd, wait)
            return
        clients, may_go_on = self.acceptor.accept(listener)
        self.gate.accepted(len(clients))
        if not may_go_on:
            self._accept_later(fd, ACCEPT_AGAIN_SECONDS)
        for client in clients:
            place = door.place(client[1], client[2])
            if not door.admits(core, client[1], client[2], place, now):
                os.close(client[0])
                continue
            try:
                self._take(client, place, door)
            except Exception as error:
                self.wires.pop(client[0], None)
                os.close(client[0])
                core.faults.note(f"a connection of {client[1]}, which is closed", error)

    def _take(self, client: Client, place: str, door: Door) -> None:
        fd, address, who = client
        os.set_blocking(fd, False)
        wire = SocketWire(self, fd, address, place, door)
        wire.connection.local_peer = who
        self.wires[fd] = wire
        self.turn.add(wire)
        self.epoll.register(fd, EPOLLIN)

    def _accept_later(self, fd: int, seconds: float) -> None:
        self.epoll.modify(fd, 0)
        self.loop.call_later(seconds, self._accept_again, fd)

    def _accept_again(self, fd: int) -> None:
        if fd in self.listeners:
            self.epoll.modify(fd, EPOLLIN)

    def cut_later(self, wire: SocketWire) -> None:
        """Drop a closing wire in ``LINGER_SECONDS``, if its peer has not closed before, unless it reads."""
        now = self.loop.time()
        if wire.linger is None:
            wire.linger = Linger(wire.left(), now)
        self.cuts.append((now + LINGER_SECONDS, wire.fd, wire.connection.number))
        self._set_cutter()

    def _set_cutter(self) -> None:
        """A function of its own: where ``_cut`` has set it to None, the compiled form believes that it is."""
        if self.cuts and self.cutter is None:
            self.cutter = self.loop.call_at(self.cuts[0][0], self._cut)

    def _cut(self) -> None:
        self.cutter = None
        now = self.loop.time()
        self.drops = 0
        while self.cuts and self.cuts[0][0] <= now and self.drops < MOST_ENDS:
            _, fd, number = self.cuts.popleft()
            wire = self.wires.get(fd)
            if wire is None or wire.connection.number != number:
                continue  # it was closed meanwhile
            if wire.linger is not None and wire.linger.goes_on(wire.left(), now):
                self.cut_later(wire)
            else:
                self.drop(wire)
        self._set_cutter()

    def end_later(self, wire: SocketWire) -> None:
        """Close ``wire``, whose peer has closed a layer in order, behind what it is owed."""
        if not self.endings:
            self.loop.call_soon(self._end_wires)
        self.endings.append(wire)

    def _end_wires(self) -> None:
        self.turn.finish(self.turn.clock.now())
        endings = self.endings[:MOST_ENDS]
        del self.endings[:MOST_ENDS]
        if self.endings:
            self.loop.call_soon(self._end_wires)
        for wire in endings:
            if wire.fd >= 0 and not wire.is_closing:
                self.turn.lost(wire)
                wire.close()

    def drop(self, wire: SocketWire) -> None:
        """Close a socket for good."""
        fd = wire.fd
        if fd < 0:
            return
        wire.fd = -1
        self.drops += 1
        self.wires.pop(fd, None)
        try:
            self.epoll.unregister(fd)
            os.close(fd)
        except OSError:
            pass  # then it is gone already
        wire.unsent = NOTHING
        self.turn.lost(wire)


def _with(event: tuple[int, int], events: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The events and one more; a list is made for the first."""
    if events is NO_EVENTS:
        return [event]
    events.append(event)
    return events


def _beginning_with(fd: int, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same events in a circle from that of ``fd`` on: epoll always tells of them in one order."""
    for index, event in enumerate(events):
        if event[0] == fd:
            return events[index:] + events[:index]
    return events
