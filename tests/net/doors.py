"""Every kind of listener, as tests meet it: suites that take ``use_reactor`` and say ``DOORS = ...`` run
over all of them (``conftest``).

A door has the listener of the broker, and opens the client's end of a connection; ``Peer`` and ``running``
use the one that is ``current``.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from socket import AF_INET, AF_INET6, AF_UNIX, socket
from typing import Any, Final

import pytest
import trustme

import curier
from curier.listeners import Listener
from curier.net.websocket import ClientWebSocket


class Door:
    """Plain TCP."""

    name = "tcp"

    def listener(self) -> Listener:
        """A new one, on a free port of loopback."""
        return Listener("tcp://127.0.0.1:0")

    def place(self, host: str, port: int) -> tuple[int, Any]:
        """Family and address that a client connects to, of a broker at this port."""
        return (AF_INET6 if ":" in host else AF_INET), (host, port)

    def port(self, listener: Listener, bound: int) -> int:
        """What ``place`` knows a broker by that serves this listener, at this port."""
        return bound

    def url(self, port: int) -> str:
        """Of a broker at this port, for a client of ours."""
        return f"mqtt://127.0.0.1:{port}"

    async def open(self, sock: socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The client's end, on a socket that is connected."""
        return await asyncio.open_connection(sock=sock)


@cache
def folder() -> Path:
    """For the files of all authorities; it goes with this process, and not with a fork of it."""
    made = tempfile.mkdtemp(prefix="curier-")
    here = os.getpid()

    def clean_up() -> None:
        if os.getpid() == here:
            shutil.rmtree(made)

    atexit.register(clean_up)
    return Path(made)


numbers = itertools.count()  # of its files; sockets come there and go


class Authority:
    """A certificate authority, with its files."""

    def __init__(self) -> None:
        self.ca = trustme.CA()
        self.file = self._write(self.ca.cert_pem.bytes())

    def _write(self, data: bytes) -> Path:
        path = folder() / f"{next(numbers)}.pem"
        path.touch(0o600)
        path.write_bytes(data)
        return path

    def issue(self, *names: str, common_name: str | None = None) -> tuple[Path, Path]:
        """Files with a certificate for these names, its chain, and its key."""
        made = self.ca.issue_cert(*names, common_name=common_name)
        chain = b"".join(pem.bytes() for pem in (*made.cert_chain_pems, self.ca.cert_pem))
        return self._write(chain), self._write(made.private_key_pem.bytes())

    def client_context(self) -> ssl.SSLContext:
        """Trusts this authority, and none else."""
        return ssl.create_default_context(cafile=str(self.file))


@cache
def authority() -> Authority:
    """The one that has signed for all doors."""
    return Authority()


@cache
def server_files() -> tuple[Path, Path]:
    """Certificate and key of this machine."""
    return authority().issue("127.0.0.1", "::1", "localhost")


@cache
def server_context() -> ssl.SSLContext:
    """What servers of the tests' own use."""
    certificate, key = server_files()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@cache
def trusting() -> ssl.SSLContext:
    """What clients of all doors use."""
    return authority().client_context()


class TlsDoor(Door):
    """MQTT over TLS."""

    name = "tls"

    def listener(self) -> Listener:
        certificate, key = server_files()
        return curier.Listener("tls://127.0.0.1:0", certificate=certificate, key=key)

    def url(self, port: int) -> str:
        return f"mqtts://127.0.0.1:{port}"

    async def open(self, sock: socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(sock=sock, ssl=trusting(), server_hostname="127.0.0.1")
        # As little as without TLS, where the client reads nothing, or is not read from.
        writer.transport.set_write_buffer_limits(64 * 1024)
        writer.transport.set_read_buffer_limits(64 * 1024)  # type: ignore[attr-defined]
        return reader, writer


class WebReaderProtocol(asyncio.StreamReaderProtocol):
    """For which the end is the end, whatever close code it has."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None if isinstance(exc, curier.ConnectionLost) else exc)


MOST_FRAME: Final = 1 << 28
"""A large message is one frame."""


class WsDoor(Door):
    """MQTT over WebSocket."""

    name = "ws"
    context: ssl.SSLContext | None = None

    def listener(self) -> Listener:
        return Listener("ws://127.0.0.1:0/mqtt")

    def url(self, port: int) -> str:
        return f"{self.name}://127.0.0.1:{port}/mqtt"

    async def open(self, sock: socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        _, web = await loop.create_connection(
            lambda: ClientWebSocket(
                "127.0.0.1", sock.getpeername()[1], "/mqtt", secure=False, max_frame_bytes=MOST_FRAME
            ),
            sock=sock,
            ssl=self.context,
            server_hostname="127.0.0.1" if self.context else None,
        )
        await web.opened()
        reader = asyncio.StreamReader()
        protocol = WebReaderProtocol(reader)
        web.start(protocol)
        return reader, asyncio.StreamWriter(web, protocol, reader, loop)


class WssDoor(WsDoor):
    """MQTT over WebSocket over TLS."""

    name = "wss"

    def listener(self) -> Listener:
        certificate, key = server_files()
        return Listener("wss://127.0.0.1:0/mqtt", certificate=certificate, key=key)

    async def open(self, sock: socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.context = trusting()
        return await super().open(sock)


class UnixDoor(Door):
    """MQTT on a Unix socket. It has no port: a client goes to the newest broker, or to that of a number."""

    name = "unix"

    def __init__(self) -> None:
        self._count = 0

    def _path(self, number: int) -> str:
        return f"{folder()}/{number}.sock"

    def listener(self) -> Listener:
        self._count += 1
        return Listener(f"unix://{self._path(self._count)}")

    def place(self, host: str, port: int) -> tuple[int, Any]:
        return AF_UNIX, self._path(port or self._count)

    def port(self, listener: Listener, bound: int) -> int:
        return int(Path(listener.address.path).stem)

    def url(self, port: int) -> str:
        return f"unix://{self._path(port or self._count)}"


class ProxyDoor(Door):
    """Behind a proxy, which says where it is asked from: there, from where the client is."""

    name = "proxy"

    def listener(self) -> Listener:
        return Listener("tcp://127.0.0.1:0", proxy_protocol=(ip_network("127.0.0.0/8"),))

    async def open(self, sock: socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(sock=sock)
        (host, port), (to, at) = sock.getsockname(), sock.getpeername()
        writer.write(f"PROXY TCP4 {host} {to} {port} {at}\r\n".encode())
        return reader, writer


DOORS: Final[dict[str, Door]] = {
    door.name: door for door in (Door(), TlsDoor(), WsDoor(), WssDoor(), UnixDoor(), ProxyDoor())
}

WITH_HALVES: Final = ("tcp", "unix", "proxy")
"""Whose clients can end their direction alone, and read on."""

_current: Door = DOORS["tcp"]


def current() -> Door:
    """The door that this test goes by."""
    return _current


def here() -> Listener:
    """A new listener of the kind that this test goes by."""
    return _current.listener()


def number_of(metafunc: pytest.Metafunc) -> int:
    """Which of its module a test is: those that are spread over doors take turns by it."""
    tests = [name for name in vars(metafunc.module) if name.startswith("test_")]
    return tests.index(metafunc.function.__name__)


@contextlib.contextmanager
def going_by(name: str) -> Iterator[None]:
    """Have ``Peer`` and ``running`` use this door."""
    global _current
    before = _current
    _current = DOORS[name]
    try:
        yield
    finally:
        _current = before
