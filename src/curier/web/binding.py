"""Where the window listens: sockets for a URL, or for the next port that is free."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from curier.settings.web import parse_web

MOST_PORTS: Final = 20
"""Ports that are tried, one after the other, where any will do."""


async def bound(url: str, may_be_next: bool = False) -> list[socket.socket]:
    """Sockets for ``url``; for one of the ports behind it if that is in use and ``may_be_next``.

    Raises ``OSError`` for an address that cannot be had.
    """
    _, host, port = parse_web(url)
    loop = asyncio.get_running_loop()
    name = host.encode() if host.isascii() else host  # as str it would load what other names need
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places = [*dict.fromkeys((family, address[0]) for family, *_, address in found)]
    for more in range(MOST_PORTS):
        try:
            return _bound(places, port + more if port else 0)
        except OSError as error:
            is_last = not may_be_next or more == MOST_PORTS - 1
            if error.errno != errno.EADDRINUSE or is_last:
                raise
    raise AssertionError("one of the ports was the last")


def _bound(places: Sequence[tuple[int, object]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for family, host in places:
            sock = socket.socket(
                family, socket.SOCK_STREAM, socket.IPPROTO_TCP
            )  # or asyncio has no TCP_NODELAY
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.listen(socket.SOMAXCONN)  # now, or two of us could have bound it
            port = port or sock.getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url_of(scheme: str, sock: socket.socket) -> str:
    """The URL of a socket that is bound."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
