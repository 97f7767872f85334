"""What lies on each other between a socket and MQTT: PROXY header, TLS, WebSocket, in all combinations."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import replace
from ipaddress import ip_network

import pytest
from websockets.frames import Frame, Opcode

import curier
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect
from curier.errors import ConfigError
from curier.listeners import Listener
from tests.net import doors
from tests.net.harness import connection_of, options, running
from tests.waiting import until

LOOPBACK = ip_network("127.0.0.0/8")
UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"
)
CONNECT = encode(Connect(4, "c", True, 0), 4)
CONNACK = encode(Connack(False, 0), 4)


@pytest.mark.parametrize("has_header", [False, True])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
async def test_they_lie_on_each_other(use_reactor: bool, scheme: str, has_header: bool) -> None:
    certificate, key = doors.server_files()
    listener = Listener(
        f"{scheme}://127.0.0.1:0",
        certificate=certificate if scheme in ("tls", "wss") else None,
        key=key if scheme in ("tls", "wss") else None,
        proxy_protocol=(LOOPBACK,) if has_header else (),
    )
    async with running(use_reactor, listen=[listener]) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        if has_header:
            writer.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 1883\r\n")
        if scheme in ("tls", "wss"):
            await writer.start_tls(doors.trusting(), server_hostname="localhost")
        if scheme in ("ws", "wss"):
            writer.write(UPGRADE + Frame(Opcode.BINARY, CONNECT).serialize(mask=True))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await reader.readexactly(6) == Frame(Opcode.BINARY, CONNACK).serialize(mask=False)
        else:
            writer.write(CONNECT)
            assert await reader.readexactly(4) == CONNACK
        address = connection_of(broker, "c").address
        assert address == "192.0.2.1:1000" if has_header else address.startswith("127.0.0.1:")
        writer.write(
            b"\xe0\x00" if "w" not in scheme else Frame(Opcode.BINARY, b"\xe0\x00").serialize(mask=True)
        )
        rest = await reader.read()
        assert rest == (b"" if "w" not in scheme else Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False))
        writer.close()
        await until(lambda: not broker.core.connections)


async def test_a_proxy_behind_a_proxy_is_asked_for_whom_it_speaks(use_reactor: bool) -> None:
    """``X-Forwarded-For`` counts where the PROXY header names a proxy that is trusted to set it."""
    listener = Listener(
        "ws://127.0.0.1:0",
        proxy_protocol=(LOOPBACK,),
        trusted_proxies=(ip_network("192.0.2.1/32"),),
    )
    async with running(use_reactor, listen=[listener]) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 1883\r\n"
        writer.write(header + UPGRADE + Frame(Opcode.BINARY, CONNECT).serialize(mask=True))
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(6)
        assert connection_of(broker, "c").address.startswith("192.0.2.7:")
        writer.close()


async def test_who_is_no_proxy_is_not_admitted(use_reactor: bool, caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener("tcp://127.0.0.1:0", proxy_protocol=(ip_network("10.0.0.0/8"),))
    async with running(use_reactor, listen=[listener]) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        assert await reader.read() == b""
        writer.close()
        assert not broker.core.connections
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "only proxies may connect here" in said[0]


async def test_without_the_header_nobody_gets_in(use_reactor: bool) -> None:
    listener = Listener("tcp://127.0.0.1:0", proxy_protocol=(LOOPBACK,))
    async with running(use_reactor, listen=[listener]) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(CONNECT)
        assert await reader.read() == b""
        writer.close()


def test_a_site_that_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="cannot be the path"):
        curier.Broker([Listener("ws://127.0.0.1:0", paths=("mqtt",))])


async def test_clients_behind_a_proxy_are_told_apart(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, in shares of what all share: by where they are, and not by where the proxy is."""
    caplog.set_level(logging.INFO, logger="curier")
    listener = Listener("tcp://127.0.0.1:0", proxy_protocol=(LOOPBACK,))
    few = options(max_sessions=4, source_share=2)
    answers: list[bytes] = []
    async with running(use_reactor, listen=[listener], options=few) as broker:
        for number, host in enumerate(["192.0.2.1"] * 3 + ["192.0.2.2"]):
            reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
            writer.write(f"PROXY TCP4 {host} 192.0.2.9 1000 1883\r\n".encode())
            writer.write(encode(Connect(4, f"c{number}", False, 0), 4))
            answers.append(await reader.read(4))
            writer.close()
        url = broker.urls[0]
    assert answers == [CONNACK, CONNACK, b"", CONNACK]
    assert f"c1 connected from 192.0.2.1:1000 at {url}, MQTT 3.1.1, with a new session" in caplog.messages
    assert f"c3 connected from 192.0.2.2:1000 at {url}, MQTT 3.1.1, with a new session" in caplog.messages
    assert any("address 192.0.2.1 has 2 sessions" in line for line in caplog.messages)


async def test_at_a_unix_socket_who_is_behind_the_proxy_is_not_taken_for_the_proxy(use_reactor: bool) -> None:
    door = doors.UnixDoor()
    listener = replace(door.listener(), proxy_protocol=(ip_network("192.0.2.0/24"),))
    own = f"uid={os.getuid()}:pid={os.getpid()}"
    async with running(use_reactor, listen=[listener]) as broker:
        for header, address, who in (
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1000 1883", "192.0.2.1:1000", None),
            ("PROXY UNKNOWN", own, (os.getuid(), os.getgid(), os.getpid())),
        ):
            reader, writer = await asyncio.open_unix_connection(listener.address.path)
            writer.write(f"{header}\r\n".encode() + CONNECT)
            assert await reader.readexactly(4) == CONNACK
            connection = connection_of(broker, "c")
            assert (connection.address, connection.local_peer) == (address, who)
            writer.close()


async def test_an_unfinished_header_has_the_time_of_connect(use_reactor: bool) -> None:
    """One deadline from accept to CONNECT, which bytes that trickle in do not put off."""
    listener = Listener("tcp://127.0.0.1:0", proxy_protocol=(LOOPBACK,))
    async with running(use_reactor, listen=[listener], options=options(connect_timeout=0.3)) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        for byte in b"PROXY TCP4 ":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionResetError):  # who sends even then hears it so
            assert await reader.read() == b""
        writer.close()
        await until(lambda: not broker.core.connections)


async def test_a_probe_of_a_balancer_leaves_no_line(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="curier")
    listener = Listener("tcp://127.0.0.1:0", proxy_protocol=(LOOPBACK,))
    async with running(use_reactor, listen=[listener]) as broker:
        caplog.clear()
        for said in (b"", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"):  # nothing, and LOCAL
            _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
            writer.write(said)
            writer.close()
        await until(lambda: broker.core.statistics.accepted == 2 and not broker.core.connections)
        assert caplog.messages == []
