"""WebSocket on the network: how it ends and why, who does not read, and what is no WebSocket."""

from __future__ import annotations

import asyncio
import logging
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

import curier
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Packet, Publish, Subscribe, Will
from curier.codec.properties import Properties
from curier.errors import ConfigError
from curier.listeners import Listener
from tests.net.harness import Exchange, Peer, connection_of, options, running
from tests.net.test_frames import BINARY, CLOSE, PING, PONG, TEXT, frame
from tests.net.test_web import REQUEST
from tests.waiting import until

WS = [Listener("ws://127.0.0.1:0"), Listener("tcp://127.0.0.1:0")]


class Browser:
    """Speaks WebSocket by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        first, length = await self.reader.readexactly(2)
        if length == 126:
            length = struct.unpack("!H", await self.reader.readexactly(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", await self.reader.readexactly(8))[0]
        assert first & 0xF0 == 0x80
        return first & 15, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        """What the next frame, a close frame, says; nothing comes behind it."""
        opcode, said = await self.frame()
        assert opcode == CLOSE, (opcode, said)
        assert await self.reader.read() == b""
        return int.from_bytes(said[:2], "big")


@asynccontextmanager
async def browser(port: int, *packets: Packet | bytes, version: int = 4) -> AsyncIterator[Browser]:
    """One who has got in, and has sent these packets, a frame each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        data = [p if isinstance(p, bytes) else encode(p, version) for p in packets]
        writer.write(REQUEST + b"".join(frame(BINARY, each) for each in data))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        yield Browser(reader, writer)
    finally:
        writer.close()


CONNECT = Connect(4, "c", True, 0)
CONNACK = (BINARY, b"\x20\x02\0\0")


async def test_goodbye_is_1000(use_reactor: bool) -> None:
    async with running(use_reactor, listen=WS) as broker:
        async with browser(broker.port, CONNECT, b"\xe0\0") as client:
            assert await client.frame() == CONNACK
            assert await client.close_code() == 1000


async def test_a_broker_that_stops_says_1001_behind_its_disconnect(use_reactor: bool) -> None:
    async with running(use_reactor, listen=WS) as broker:
        async with browser(broker.port, Connect(5, "c", True, 0), version=5) as client:
            opcode, connack = await client.frame()
            assert (opcode, connack[:1]) == (BINARY, b"\x20")
            stopping = asyncio.create_task(broker.stop())
            opcode, disconnect = await client.frame()
            assert (opcode, disconnect[0], disconnect[2]) == (BINARY, 0xE0, 0x8B)
            assert await client.close_code() == 1001
            client.writer.close()
            await stopping


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (b"\x36\x04\0\1t\0", 1002),  # both QoS bits
        (encode(Connect(4, "c", True, 0), 4), 1002),
        (b"\x30\xff\xff\xff\x7f", 1009),  # larger than is taken
    ],
)
async def test_why_the_broker_ends_it(use_reactor: bool, packet: bytes, code: int) -> None:
    async with running(use_reactor, listen=WS, options=options(max_packet_size=1000)) as broker:
        async with browser(broker.port, CONNECT, packet) as client:
            assert await client.frame() == CONNACK
            assert await client.close_code() == code


async def test_a_takeover_is_1008(use_reactor: bool) -> None:
    async with running(use_reactor, listen=WS) as broker:
        async with browser(broker.port, CONNECT) as client, browser(broker.port) as other:
            assert await client.frame() == CONNACK
            other.writer.write(frame(BINARY, encode(CONNECT, 4)))
            assert await other.frame() == CONNACK
            assert await client.close_code() == 1008


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (frame(CLOSE, b"\x03\xe8"), 1000),
        (frame(CLOSE), 0),
        (frame(TEXT, b"text"), 1003),
        (frame(BINARY, b"x", mask=None), 1002),
        (b"\x82\xff" + b"\xff" * 8, 1002),
        (None, None),
    ],
)
async def test_what_is_no_disconnect_sends_the_will(
    use_reactor: bool, end: bytes | None, code: int | None
) -> None:
    """Behind a message that came before, in the same chunk."""
    async with running(use_reactor, listen=WS) as broker, Exchange(tcp(broker)) as exchange:
        other = await Peer.connect(tcp(broker), "other")
        await other.subscribe("#")
        will = Will("will", b"gone", 0, False)
        last = frame(BINARY, encode(Publish("last", b""), 4))
        async with browser(broker.port, Connect(4, "c", True, 0, will=will)) as client:
            assert await client.frame() == CONNACK
            client.writer.write(last + (end or b""))
            if end is None:
                client.writer.close()
            else:
                assert await client.close_code() == code
        topics = []
        while "will" not in topics:
            topics.append((await other.message()).topic)
        assert "last" in topics
        await exchange.rounds(2)


def tcp(broker: curier.Broker) -> int:
    """The port of the second listener."""
    return int(broker.urls[1].rpartition(":")[2])


async def test_pongs_for_one_that_does_not_read_do_not_pile_up(use_reactor: bool) -> None:
    async with running(use_reactor, listen=WS) as broker, Exchange(tcp(broker)) as exchange:
        subscribe = encode(Subscribe(1, [("large", 0)]), 4)
        async with browser(broker.port, CONNECT, subscribe) as client:
            assert (await client.frame())[1] == b"\x20\x02\0\0" + b"\x90\x03\0\1\0"  # one turn, one frame
            connection = connection_of(broker, "c")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            other = await Peer.connect(tcp(broker), "other")
            while connection.written_unsent < 1_000_000:  # the network takes no more
                await other.send(Publish("large", bytes(1_000_000)))
                await exchange.rounds(1)
            before = connection.written_unsent
            for number in range(100):
                client.writer.write(frame(PING, b"%0125d" % number))
                await exchange.rounds(1)
            assert connection.written_unsent < before + 400
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            pongs = []
            while b"%0125d" % 99 not in pongs:
                opcode, said = await client.frame()
                pongs += [said] if opcode == PONG else []
            assert len(pongs) < 5


async def test_a_ping_is_no_packet_for_keep_alive(use_reactor: bool) -> None:
    async with running(use_reactor, listen=WS) as broker:
        async with browser(broker.port, Connect(4, "c", True, 1)) as client:
            assert await client.frame() == CONNACK
            for _ in range(100):
                client.writer.write(frame(PING))
                opcode, _ = await client.frame()
                if opcode == CLOSE:
                    break
                await asyncio.sleep(0.05)
            assert opcode == CLOSE


async def test_pings_at_an_interval(use_reactor: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curier.net.upgrade.LEAST_PING_SECONDS", 0)
    listen = [Listener("ws://127.0.0.1:0", ping_interval=0.05), *WS]
    async with running(use_reactor, listen=listen) as broker:
        other = int(re.findall(r"\d+", broker.urls[1])[-1])
        async with browser(broker.port, CONNECT) as client, browser(other, Connect(4, "d", True, 0)) as quiet:
            assert await client.frame() == CONNACK
            assert await quiet.frame() == CONNACK
            assert [await client.frame() for _ in range(3)] == [(PING, b"")] * 3
            await asyncio.sleep(0.1)
            quiet.writer.write(frame(BINARY, b"\xc0\0"))
            assert await quiet.frame() == (BINARY, b"\xd0\0")  # and no ping


def test_an_interval_that_cannot_be() -> None:
    for seconds in (-1.0, 0.5, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="ping_interval is 1 seconds or more, or 0 for none"):
            curier.Broker([Listener("ws://127.0.0.1:0", ping_interval=seconds)])


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


async def test_what_is_no_websocket(use_reactor: bool, caplog: pytest.LogCaptureFixture) -> None:
    listen = [Listener("ws://127.0.0.1:0", health_path="/health")]
    async with running(use_reactor, listen=WS, options=options(connect_timeout=0.2)) as broker:
        caplog.set_level(logging.INFO)
        await ask(broker.port, b"")
        assert [record for record in caplog.records if record.name == "curier.net"] == []
    caplog.set_level(logging.WARNING)
    async with running(use_reactor, listen=listen) as broker:
        caplog.set_level(logging.INFO)
        assert (await ask(broker.port, b"GET /health HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert [record for record in caplog.records if record.name == "curier.net"] == []
        assert b"MQTT broker (curier)" in await ask(broker.port, b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        await ask(broker.port, b"\x16\x03\x01\x02\0\x01")
        told = await ask(broker.port, encode(Connect(5, "c", True, 0), 5))
        connack = Connack(False, 0x83, Properties())
        assert connack.properties is not None
        connack.properties.reason_string = "this port speaks MQTT over WebSocket"
        assert told == encode(connack, 5)
        assert (await ask(broker.port, encode(CONNECT, 4))).startswith(b"HTTP/1.1 400 ")
        await until(lambda: not broker.core.connections)
    said = [record for record in caplog.records if record.name == "curier.net"]
    assert len(said) == 4
    assert "plain HTTP: GET /x" in said[0].getMessage()
    assert all(record.levelno < logging.ERROR for record in caplog.records)


@pytest.mark.parametrize(
    ("path", "level"), [("/", "INFO"), ("/favicon.ico", "INFO"), ("/mqtt", "WARNING"), ("/x", "WARNING")]
)
async def test_what_browsers_ask_for_by_themselves_is_no_warning(
    use_reactor: bool, caplog: pytest.LogCaptureFixture, path: str, level: str
) -> None:
    """But a client or a proxy that comes without Upgrade is one."""
    caplog.set_level(logging.DEBUG, "curier.net")
    async with running(use_reactor, listen=WS) as broker:
        await ask(broker.port, f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        await until(lambda: not broker.core.connections)
    (said,) = [record for record in caplog.records if record.name == "curier.net"]
    assert (said.levelname, f"plain HTTP: GET {path}" in said.getMessage()) == (level, True)


async def test_who_never_opens_is_ended_in_time(use_reactor: bool) -> None:
    async with running(use_reactor, listen=WS, options=options(connect_timeout=0.3)) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(REQUEST[:-2])
        for _ in range(1000):  # what trickles in does not put it off
            writer.write(b"X: y\r\n" if not reader.at_eof() else b"")
            if reader.at_eof():
                break
            await asyncio.sleep(0.01)
        with suppress(ConnectionResetError):  # who sends even then hears it so
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_our_own_client(use_reactor: bool, scheme: str) -> None:
    from tests.net import doors

    listener = doors.DOORS[scheme].listener()
    async with running(use_reactor, listen=[listener]) as broker:
        tls = doors.trusting() if scheme == "wss" else None
        url = f"{scheme}://127.0.0.1:{broker.port}"
        async with curier.connect(url, tls=tls) as client, client.subscribe("t", qos=2) as stream:
            for size in (0, 60, 125, 126, 65_530, 65_536, 1_048_577, 5_000_000):
                await client.publish("t", bytes(size), qos=2)
                assert (await stream.get(timeout=100)).payload == bytes(size)
