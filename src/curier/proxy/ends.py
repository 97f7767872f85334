"""The two ends of a proxied connection: towards the client, by our doors, and towards the broker, by
``dial``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final

from curier.net.doors import Door
from curier.net.layer import LayerError
from curier.net.layers import Layers

LINGER_SECONDS: Final = 5.0
"""How long a broker may go on behind TLS or WebSocket, which cannot be half closed, when its client has
ended.
"""

NORMAL_CLOSURE: Final = 1000  # RFC 6455 section 7.4.1


class Meeting:
    """What both ends report to: who joins them."""

    def came(self, to_server: bool, data: bytes) -> None:
        """Bytes of MQTT, or what should be."""

    def ended(self, to_server: bool) -> None:
        """Whoever sends in this direction has ended it."""

    def gone(self, to_server: bool, why: str, is_reset: bool) -> None:
        """The connection of whoever sends in this direction is no more."""

    def paused(self, to_server: bool, is_paused: bool) -> None:
        """Whoever sends in this direction is not taking what it is sent, or takes it again."""

    def opened(self, end: End) -> None:
        """This end carries MQTT from now on."""


class End(asyncio.Protocol):
    """One of them. ``to_server``: what it receives goes to the broker."""

    def __init__(self, meeting: Meeting, to_server: bool) -> None:
        self.meeting = meeting
        self.to_server = to_server
        self.transport: asyncio.Transport | None = None
        self.carrier: asyncio.Transport | None = None  # the socket's own, whatever is built on it
        self.is_gone = False
        self.has_ended = False  # nothing more is sent
        self.is_reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.carrier is None:
            self.carrier = transport

    def data_received(self, data: bytes) -> None:
        self.meeting.came(self.to_server, data)

    def eof_received(self) -> bool:
        self.meeting.ended(self.to_server)
        return self.transport is not None and self.transport.can_write_eof()  # the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True
        is_reset = isinstance(exc, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError))
        self.meeting.gone(self.to_server, str(exc) if exc is not None else "", is_reset)

    def pause_writing(self) -> None:
        self.meeting.paused(self.to_server, True)

    def resume_writing(self) -> None:
        self.meeting.paused(self.to_server, False)

    # ---- what the meeting has it do ----

    def send(self, data: bytes) -> None:
        """Bytes of MQTT for this end."""
        if self.transport is not None and not self.is_gone and not self.has_ended:
            self.transport.write(data)

    def end(self) -> None:
        """Nothing more is sent, behind what waits."""
        if self.has_ended or self.transport is None or self.is_gone:
            return
        self.has_ended = True
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):
                self.transport.write_eof()
        else:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self.close)

    def close(self) -> None:
        """Close, behind what waits."""
        if self.transport is not None and not self.is_gone:
            self.transport.close()

    def reset(self) -> None:
        """Break the connection, as the network does: the peer sees a reset (RST)."""
        carrier = self.carrier
        if carrier is None or self.is_gone:
            return
        sock = carrier.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        carrier.abort()

    def read(self, wanted: bool) -> None:
        """Read from the peer, or have it wait."""
        if wanted == self.is_reading or self.transport is None or self.is_gone or self.transport.is_closing():
            return
        self.is_reading = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()


class ClientEnd(End):
    """Towards the client: the socket of a ``Door``, and the layers that lie on it.

    ``join`` is asked who it reports to, as soon as it is known where the client is.
    """

    def __init__(self, door: Door, join: Callable[[ClientEnd, str, str], Meeting]) -> None:
        super().__init__(Meeting(), True)
        self.door = door
        self._join = join
        self.layers: Layers | None = None
        self._is_closed_above = False  # a layer has said its last

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = _shown(transport.get_extra_info("peername"))
        self.meeting = self._join(self, address, _shown(transport.get_extra_info("sockname")))
        self.layers = self.door.open(address)
        if self.layers is None:
            self.meeting.opened(self)

    def data_received(self, data: bytes) -> None:
        layers = self.layers
        if layers is None:
            self.meeting.came(True, data)
            return
        was_open = layers.is_open
        why = ""
        while True:
            plain = b""
            try:
                plain = layers.receive(data)
                while layers.needs_work:  # one handshake holds up nobody whom this proxy is for
                    layers.taken()
                    layers.work()
                    layers.worked()
                    plain += layers.receive(b"")
            except LayerError as error:
                why = str(error)
            self._flush()
            if layers.is_open and not was_open:
                was_open = True
                self.meeting.opened(self)
            if plain:
                self.meeting.came(True, plain)
            if why or not layers.has_more:
                break
            data = b""
        if why:
            self._flush()
            self.meeting.gone(True, why, False)
            self.close()
        elif layers.is_ended and not self._is_closed_above:
            self._is_closed_above = True
            self.meeting.ended(True)

    def eof_received(self) -> bool:
        if not self._is_closed_above:
            self._is_closed_above = True
            self.meeting.ended(True)
        return True

    def send(self, data: bytes) -> None:
        if self.layers is None:
            super().send(data)
        elif not self.has_ended:
            self.layers.send(data)
            self._flush()

    def end(self) -> None:
        if self.layers is not None and not self.has_ended:
            self.layers.close(NORMAL_CLOSURE)
            self._flush()
        super().end()

    def close(self) -> None:
        self.end()
        super().close()

    def _flush(self) -> None:
        """The socket's transport takes all that the layers have, and says when it is too much."""
        layers = self.layers
        if layers is None or self.transport is None or self.is_gone:
            return
        while data := layers.take():
            self.transport.write(data)


def _shown(address: object) -> str:
    """A peer's address as ``host:port``; of a Unix socket nothing is known."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "unix"
