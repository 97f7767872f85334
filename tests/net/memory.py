"""The doors without a socket: a client's bytes by way of the real layers, passage and turn into a core.

The harnesses of ``tests.broker`` and ``tests.v311`` drive their core so, too: what MQTT asks is asked of it
behind TLS, WebSocket and the PROXY protocol. The client's ends are those of ``ssl`` and ``websockets``. What
they send is cut where it hurts: in the middle of packets, over frames and records.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, cast

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

import curier
from curier.broker.core import BrokerCore
from curier.broker.effects import Effect
from curier.broker.entrances import Entrance
from curier.broker.model import BrokerConnection
from curier.codec.primitives import packet_end
from curier.net import passage
from curier.net.certificates import Certificates
from curier.net.clock import Clock, monotonic
from curier.net.doors import Door
from curier.net.handshakes import Handshakes
from curier.net.turn import Turn
from curier.net.wire import Wire, close_code
from tests.net import doors

NAMES: Final = ("tls", "ws", "proxy", "wss")

SITE: Final = parse_uri("ws://127.0.0.1/mqtt")


def ways_of(metafunc: pytest.Metafunc, cores: Sequence[str]) -> list[str]:
    """The ways of a test that runs with these kinds of cores.

    One that pins a statement of the specification meets the last of them behind a door, the next test behind
    the next door; the compiled form has time for a second one. The mark ``doors`` leaves doors out.
    """
    ways = list(cores)
    if metafunc.definition.get_closest_marker("statement"):
        only = metafunc.definition.get_closest_marker("doors")
        names = [name for name in NAMES if only is None or name in only.args]
        number = doors.number_of(metafunc)
        ways[-1] += "-" + names[number % len(names)]
        if curier.COMPILED:
            ways.append(ways[0] + "-" + names[(number + 1) % len(names)])
    return ways


@cache
def door(name: str) -> Door:
    """One for all tests: nothing of it is a connection's."""
    listener = doors.DOORS[name].listener()
    return Door("memory", listener, Entrance(), Certificates(listener) if listener.certificate else None)


# ---- the client's end of each layer: what it sends, what it makes of what it is sent ----


class End:
    """Of one layer."""

    is_ended = False
    """Has the broker closed it?"""

    def start(self) -> bytes:
        """The first bytes."""
        return b""

    def send(self, data: bytes) -> bytes:
        """Bytes from above; returns those for the broker."""
        return data

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Bytes of the broker; returns those for above, and those to answer with."""
        return data, b""


class ProxyEnd(End):
    """Behind a proxy that does not know where its client is: all tests know clients by one address."""

    is_ended = True  # there is nothing to be closed

    def start(self) -> bytes:
        return b"PROXY UNKNOWN\r\n"


class TlsEnd(End):
    """A client's TLS."""

    def __init__(self) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = doors.trusting().wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        self._is_open = False
        self._early: list[bytes] = []  # for when it is

    def start(self) -> bytes:
        return self._shake()

    def _shake(self) -> bytes:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        self._is_open = True
        for data in self._early:
            self._object.write(data)
        return self._outgoing.read()

    def send(self, data: bytes) -> bytes:
        if not self._is_open:
            self._early.append(data)
            return b""
        middle = len(data) // 2  # of a packet, between two records
        for piece in (data[:middle], data[middle:]):
            if piece:
                self._object.write(piece)
        return self._outgoing.read()

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        self._incoming.write(data)
        answer = b"" if self._is_open else self._shake()
        found = b""
        try:
            while self._is_open:
                piece = self._object.read(65536)
                if not piece:
                    self.is_ended = True
                    break
                found += piece
        except ssl.SSLWantReadError:
            pass
        return found, answer


class WebEnd(End):
    """A client's WebSocket."""

    def __init__(self) -> None:
        self._protocol = ClientProtocol(SITE, subprotocols=["mqtt"], max_size=None)  # type: ignore[list-item]

    def _said(self) -> bytes:
        return b"".join(self._protocol.data_to_send())

    def start(self) -> bytes:
        self._protocol.send_request(self._protocol.connect())
        return self._said()

    def send(self, data: bytes) -> bytes:
        """One packet may lie in several frames, which may have parts [MQTT-6.0.0-2]."""
        middle = len(data) // 2
        self._protocol.send_binary(data[:middle])
        self._protocol.send_binary(data[middle : middle + 1], fin=False)
        self._protocol.send_continuation(data[middle + 1 :], fin=True)
        return self._said()

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        self._protocol.receive_data(data)
        found = b""
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode is not Opcode.CLOSE:
                assert (event.opcode, event.fin) == (Opcode.BINARY, True), event  # [MQTT-6.0.0-1]
                found += event.data
        assert self._protocol.parser_exc is None, self._protocol.parser_exc
        self.is_ended = self._protocol.close_rcvd is not None
        return found, self._said()


ENDS: Final[dict[str, tuple[type[End], ...]]] = {
    "proxy": (ProxyEnd,),
    "tls": (TlsEnd,),
    "ws": (WebEnd,),
    "wss": (TlsEnd, WebEnd),
}


class Line:
    """One client's end of a connection. ``hear`` is given whole Control Packets."""

    def __init__(self, name: str, hear: Callable[[bytes], None]) -> None:
        self.ends = [made() for made in ENDS[name]]
        self.out = bytearray()  # for the broker
        self._hear = hear
        self._rest = b""  # of a packet
        for number in range(len(self.ends)):
            self._down(number, self.ends[number].start())

    def _down(self, number: int, data: bytes) -> None:
        """Bytes of an end, which go through those below it."""
        for end in reversed(self.ends[:number]):
            data = end.send(data) if data else b""
        self.out += data

    def send(self, data: bytes) -> None:
        self._down(len(self.ends), data)

    def receive(self, data: bytes) -> None:
        """Bytes of the broker."""
        for number, end in enumerate(self.ends):
            data, answer = end.receive(data)
            self._down(number, answer)
        data = self._rest + data
        pos = 0
        while pos < len(data):
            end_of_packet = packet_end(data, pos)
            if not pos < end_of_packet <= len(data):
                break
            pos = end_of_packet
        self._rest = data[pos:]
        if pos:
            self._hear(data[:pos])

    def check_ended(self) -> None:
        """What has an end of its own must have come to it, with no packet begun."""
        assert self._rest == b"", self._rest.hex(" ")
        assert [type(end) for end in self.ends if not end.is_ended] == []


# ---- the broker's side ----


class Loop:
    """For a turn that is driven by hand: nothing happens by itself."""

    def call_soon(self, *_: object) -> None:
        pass

    def call_later(self, *_: object) -> Loop:
        return self

    def cancel(self) -> None:
        pass


class MemoryWire(Wire):
    """A network that takes everything at once."""

    def __init__(self, memory: Memory, connection: BrokerConnection, line: Line) -> None:
        super().__init__(connection, door(memory.name).open(connection.address))
        self.memory = memory
        self.line = line
        self.is_closing = False

    def write(self, data: bytes) -> int:
        assert not self.is_closing, "bytes for a closed connection"
        assert self.layers is not None
        self.layers.send(data)
        return self.push(len(data))

    def write_pieces(self, pieces: list[bytes]) -> int:
        assert not self.is_closing, "bytes for a closed connection"
        assert self.layers is not None
        self.layers.send_pieces(pieces)
        return self.push(0)

    def push(self, added: int) -> int:
        assert self.layers is not None
        while data := self.layers.take():
            self.line.receive(data)
        return 0

    def worked(self) -> None:
        assert self.layers is not None
        self.layers.worked()
        self.memory.receive(self, b"")

    def hold(self) -> None:
        raise AssertionError("a step of a handshake is taken at once")

    def ended(self) -> None:
        """These clients answer the broker's end, and never begin it."""
        assert self.is_closing

    def set_reading(self, wanted: bool) -> None:
        self.is_reading = wanted

    def close(self) -> None:
        assert self.layers is not None
        assert self.layers.is_open
        self.is_closing = True
        self.layers.close(close_code(self.connection))
        self.push(0)
        self.line.check_ended()


class AtOnce(Handshakes):
    """Takes each step where it is wanted."""

    def take(self, wire: Wire) -> None:
        assert wire.layers is not None
        wire.layers.taken()
        wire.layers.work()
        wire.worked()


class Told(logging.Handler):
    """Keeps what a turn logs: errors that were caught."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[Exception] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception):
            self.errors.append(error)


class Memory:
    """Drives a core as the broker does, by the door of this name. Its owner has the time, and carries out all
    effects but ``Close``.
    """

    def __init__(
        self, core: BrokerCore, name: str, now: Callable[[], float], carry_out: Callable[[Effect], None]
    ) -> None:
        clock = Clock()
        clock.offset = now() - monotonic()

        def count(effect: Effect) -> None:
            self._effects += 1
            carry_out(effect)

        self.name = name
        self._core = core
        self._now = now
        self._turn = Turn(core, cast(asyncio.AbstractEventLoop, Loop()), clock, count)
        self._handshakes = AtOnce(self._turn, 0)
        self._wires: dict[BrokerConnection, MemoryWire] = {}
        self._effects = 0

    def open(self, connection: BrokerConnection, hear: Callable[[bytes], None]) -> None:
        """A client has connected, and its layers open."""
        wire = MemoryWire(self, connection, Line(self.name, hear))
        self._wires[connection] = wire
        self._turn.add(wire)
        self._pass(wire)
        assert wire.layers is not None
        assert wire.layers.is_open

    def send(self, connection: BrokerConnection, data: bytes) -> None:
        """A client sends. A wire that is closed discards it."""
        wire = self._wires[connection]
        if not wire.is_closing:
            wire.line.send(data)
            self._pass(wire)

    def _pass(self, wire: MemoryWire) -> None:
        """What the client has sent goes to the broker, and what that answers by itself comes back."""
        while wire.line.out and not wire.is_closing:
            data = bytes(wire.line.out)
            wire.line.out.clear()
            self.receive(wire, data)

    def receive(self, wire: MemoryWire, data: bytes) -> None:
        """Bytes of the client."""
        assert wire.layers is not None
        passage.receive(self._turn, self._handshakes, wire, wire.layers, data, self._now())

    def drop(self, connection: BrokerConnection) -> None:
        """The network of a connection has failed."""
        self._turn.wires.pop(connection.number, None)

    def is_closed(self, connection: BrokerConnection) -> bool:
        return self._wires[connection].is_closing

    def finish(self) -> tuple[bool, list[Exception]]:
        """End a turn; returns whether there is more to be done, and the errors that were caught."""
        told = Told()
        before = self._effects
        logger = logging.getLogger("curier.net")
        logger.addHandler(told)
        try:
            self._turn.finish(self._now())
        finally:
            logger.removeHandler(told)
        if self._core.has_more_work():
            self._core.continue_work(self._now())
            return True, told.errors
        return self._effects > before or self._turn.is_postponing(), told.errors
