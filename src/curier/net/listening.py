"""Listening sockets: those of a listener's URL, of what a host name stands for."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from curier.listeners import Listen, Listener
from curier.net.passed import Passed
from curier.net.socket_file import SocketFile, bind_unix
from curier.net.wire import BACKLOG

PORT_TRIES: Final = 20
"""To find a port that is free on every address."""

_NO_SUCH_ADDRESS: Final = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT))

KEEPALIVE_SECONDS: Final = 240
"""Of silence, before the kernel asks whether a client is still there. Balancers and routers forget what
is silent for long, the first of them after 350 seconds, and neither side ever hears of the end."""

PROBE_SECONDS: Final = 30  # between two questions
PROBES: Final = 4  # without an answer end the connection

_Place: TypeAlias = tuple[int, int, int, tuple[Any, ...]]  # family, type, protocol, address


@dataclass(frozen=True, slots=True)
class Opened:
    """A listening socket, where it is, and its file, if it has made one."""

    sock: socket.socket
    address: Listen
    file: SocketFile | None = None


async def open_listener(listener: Listener, passed: Passed, *, may_lack_ipv6: bool = False) -> list[Opened]:
    """The listening sockets of ``listener``, all or none; what systemd opens comes out of ``passed``.

    Raises ``OSError``, whose text is for people.
    """
    address = listener.address
    if address.carrier == "unix":
        sock, file = await bind_unix(address.path, listener.mode, listener.owner, listener.group)
        return [Opened(sock, address, file)]
    if address.carrier == "fd":
        sockets = passed.take(address.path)
        for sock in sockets:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                prepare(sock, listener.tcp_keepalive)
        return [Opened(sock, _found(address.speech, sock)) for sock in sockets]
    sockets = await bind(
        address.host,
        address.port,
        may_lack_ipv6=may_lack_ipv6,
        keepalive=listener.tcp_keepalive,
        reuse_port=listener.reuse_port,
    )
    return [Opened(sock, replace(address, port=sock.getsockname()[1])) for sock in sockets]


def _found(speech: str, sock: socket.socket) -> Listen:
    """Where a socket is that somebody else has opened."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return Listen(speech, name[0], name[1])
    return Listen("unix" if speech == "tcp" else f"{speech}+unix", "", 0, str(name))


def prepare(sock: socket.socket, keepalive: int = KEEPALIVE_SECONDS) -> None:
    """Set on a listening socket of TCP what its clients inherit (tcp(7)), so that it costs nothing to accept
    one. ``keepalive`` is in seconds; 0: clients are not asked.

    There is no limit on how long sent bytes may go unacknowledged (TCP_USER_TIMEOUT): that would also end
    every client that lives, but does not read for so long.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(keepalive > 0))
    if keepalive > 0:
        for name, value in (
            ("TCP_KEEPIDLE", keepalive),
            ("TCP_KEEPINTVL", PROBE_SECONDS),
            ("TCP_KEEPCNT", PROBES),
        ):
            option = getattr(socket, name, None)  # not on every system
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def plain(host: str) -> str | bytes:
    """A host as ``getaddrinfo`` takes it without loading what names beyond ASCII need, where it is none."""
    return host.encode() if host.isascii() else host


async def bind(
    host: str,
    port: int,
    *,
    may_lack_ipv6: bool = False,
    keepalive: int = KEEPALIVE_SECONDS,
    reuse_port: bool = False,
) -> list[socket.socket]:
    """Listen on every address of ``host``, at one port; 0 takes one that is free on all of them.

    All or none; but with ``may_lack_ipv6`` addresses of IPv6 are left out where this system has none.
    ``keepalive`` is that of ``prepare``; with ``reuse_port`` other processes may listen there, too. Raises
    ``OSError``.
    """
    infos = await asyncio.get_running_loop().getaddrinfo(
        plain(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    places: list[_Place] = []
    for family, kind, protocol, _, where in infos:
        if (family, kind, protocol, where) not in places:
            places.append((family, kind, protocol, where))
    tries = 0
    while True:
        tries += 1
        try:
            sockets = _bind_all(places, port, may_lack_ipv6, reuse_port)
            break
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE or tries == PORT_TRIES:
                raise
    for sock in sockets:
        prepare(sock, keepalive)
    return sockets


def _bind_all(places: list[_Place], port: int, may_lack_ipv6: bool, reuse_port: bool) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for place in places:
            try:
                sock = _bind(place, port, reuse_port)
            except OSError as error:
                if may_lack_ipv6 and place[0] == socket.AF_INET6 and error.errno in _NO_SUCH_ADDRESS:
                    continue
                raise
            sockets.append(sock)
            port = sock.getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(place: _Place, port: int, reuse_port: bool) -> socket.socket:
    family, kind, protocol, where = place
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise OSError(errno.ENOPROTOOPT, "several processes cannot listen at one port on this system")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((where[0], port, *where[2:]))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
