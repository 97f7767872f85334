"""The PROXY header that we send is one that our own listeners read."""

from __future__ import annotations

import pytest

from curier.net.proxy_protocol import ProxyHeader
from curier.proxy.headers import proxy_header


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("client", "server", "told"),
    [
        ("192.0.2.7:50112", "192.0.2.1:1883", "192.0.2.7:50112"),
        ("[2001:db8::7]:50112", "[2001:db8::1]:1883", "[2001:db8::7]:50112"),
        ("[::ffff:192.0.2.7]:50112", "[::ffff:192.0.2.1]:1883", "192.0.2.7:50112"),
        ("[fe80::7%eth0]:50112", "[fe80::1%eth0]:1883", "[fe80::7]:50112"),
        ("unix", "unix", "of-the-proxy:1"),
        ("192.0.2.7:50112", "[2001:db8::1]:1883", "of-the-proxy:1"),
    ],
)
def test_a_listener_of_ours_reads_it(version: int, client: str, server: str, told: str) -> None:
    layer = ProxyHeader("of-the-proxy:1")
    assert layer.receive(proxy_header(version, client, server) + b"\x10\x0c") == b"\x10\x0c"
    assert layer.address == told
