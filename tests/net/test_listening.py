"""Doors as the system sees them: sockets, files of sockets, sockets that somebody else has opened."""

from __future__ import annotations

import socket

import pytest

from curier.net.listening import bind

KEEPALIVE = [("TCP_KEEPIDLE", 240), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)]


def accepted(listener: socket.socket) -> socket.socket:
    """The broker's end of a connection, as it is accepted."""
    listener.settimeout(5.0)
    with socket.create_connection(listener.getsockname()[:2]):
        sock, _ = listener.accept()
    return sock


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_client_inherits_what_its_listener_was_told(host: str) -> None:
    [listener] = await bind(host, 0)
    with listener, accepted(listener) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, value in KEEPALIVE:
            if hasattr(socket, name):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value


async def test_without_keepalive() -> None:
    [listener] = await bind("127.0.0.1", 0, keepalive=0)
    with listener, accepted(listener) as sock:
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
