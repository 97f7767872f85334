"""The proxy on real sockets: every byte goes on, both ways, whatever the ends do; and it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

import curier
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.client.dial import DialSettings
from curier.client.dialing.tls import TlsSettings
from curier.codec.encode import encode
from curier.codec.packets import Connack, Connect, Pingreq, Puback, Publish
from curier.errors import ConfigError
from curier.faults.line import Faults
from curier.listeners import Listener
from curier.proxy.proxy import Proxy, settings_for
from curier.trace.events import FAULT, NOT_MQTT, Closed, Event, Happening, Opened, Packet
from tests.net import doors
from tests.waiting import until

CONNECT = encode(Connect(5, "me"), 5)
CONNACK = encode(Connack(False), 5)
PING = encode(Pingreq(), 5)


class Server:
    """A broker that does what a test says. ``received`` is what came, of all connections."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.has_eof = asyncio.Event()
        self.error: BaseException | None = None
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.closes_too = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(65536):
                self.received += data
        except OSError as error:
            self.error = error
        self.has_eof.set()
        if self.closes_too:
            writer.close()


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    here = Server()
    listening = await asyncio.start_server(here.serve, "127.0.0.1", 0)
    here.port = listening.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        listening.close()
        for writer in here.writers:
            writer.close()


class Between:
    """A proxy, and what it told."""

    def __init__(self, proxy: Proxy, events: list[Event]) -> None:
        self.proxy = proxy
        self.events = events

    def packets(self, to_server: bool) -> list[bytes]:
        return [one.data for one in self.events if isinstance(one, Packet) and one.to_server == to_server]

    def happened(self, kind: str) -> list[str]:
        return [one.why for one in self.events if isinstance(one, Happening) and one.kind == kind]

    def closed(self) -> list[Closed]:
        return [one for one in self.events if isinstance(one, Closed)]

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.proxy.port)


@asynccontextmanager
async def between(
    target: str | int,
    *rules: str,
    listen: str | Listener = "tcp://127.0.0.1:0",
    **more: Any,
) -> AsyncIterator[Between]:
    events: list[Event] = []
    url = f"tcp://127.0.0.1:{target}" if isinstance(target, int) else target
    settings = settings_for(listen, url, **more)
    async with Proxy(settings, faults=Faults(*rules), tell=events.append) as proxy:
        yield Between(proxy, events)


async def test_packets_are_told_whole_however_their_bytes_come() -> None:
    async with server() as there, between(there.port) as here:
        reader, writer = await here.open()
        for byte in CONNECT:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(PING + PING + PING)
        await until(lambda: bytes(there.received) == CONNECT + PING * 3)
        there.writers[0].write(CONNACK)
        assert await reader.readexactly(len(CONNACK)) == CONNACK
        assert here.packets(True) == [CONNECT, PING, PING, PING]
        assert here.packets(False) == [CONNACK]
        first = here.events[0]
        assert isinstance(first, Opened)
        assert first.wire.client_address == "127.0.0.1:{}".format(writer.get_extra_info("sockname")[1])
        last = here.events[-1]
        assert isinstance(last, Packet)
        assert (last.wire.client_id, last.wire.version) == ("me", 5)
        writer.close()


async def test_what_is_no_mqtt_goes_on_and_it_is_said_once() -> None:
    async with server() as there, between(there.port) as here:
        _, writer = await here.open()
        writer.write(b"GET / HTTP/1.1\r\n")
        await until(lambda: there.received == b"GET / HTTP/1.1\r\n")
        writer.write(b"Host: x\r\n\r\n")
        await until(lambda: there.received.endswith(b"\r\n\r\n"))
        assert here.packets(True) == []
        (why,) = here.happened(NOT_MQTT)
        assert why.startswith("what the client sends is not MQTT from here: it begins with the byte 0x47")
        writer.close()


async def test_a_packet_that_never_became_whole_arrives_as_far_as_it_came() -> None:
    async with server() as there, between(there.port) as here:
        _, writer = await here.open()
        writer.write(CONNECT + PING[:1])
        writer.write_eof()
        await there.has_eof.wait()
        assert there.received == CONNECT + PING[:1]
        writer.close()


async def test_half_closing_loses_no_byte_of_the_other_direction() -> None:
    """The client sends DISCONNECT and shuts writing while a megabyte is still coming."""
    async with server() as there, between(there.port) as here:
        reader, writer = await here.open()
        writer.write(CONNECT + b"\xe0\x00")
        writer.write_eof()
        await there.has_eof.wait()
        payload = encode(Publish("a", bytes(2**20)), 5)
        there.writers[0].write(CONNACK + payload)
        there.writers[0].close()
        assert await reader.read(-1) == CONNACK + payload
        await until(lambda: bool(here.closed()))
        assert [one.by for one in here.closed()] == ["client"]
        writer.close()


async def test_the_broker_closes_first() -> None:
    async with server() as there, between(there.port) as here:
        reader, writer = await here.open()
        writer.write(CONNECT)
        await until(lambda: there.received == CONNECT)
        there.writers[0].write(CONNACK)
        there.writers[0].write_eof()
        assert await reader.read(-1) == CONNACK
        writer.write(PING)  # this direction is open still
        await until(lambda: there.received == CONNECT + PING)
        writer.close()
        await until(lambda: bool(here.closed()))
        assert [one.by for one in here.closed()] == ["server"]


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_a_reset_is_a_reset_on_the_other_side() -> None:
    async with server() as there, between(there.port) as here:
        _, writer = await here.open()
        writer.write(CONNECT)
        await until(lambda: there.received == CONNECT)
        reset(writer)
        await there.has_eof.wait()
        assert isinstance(there.error, ConnectionResetError)
        await until(lambda: bool(here.closed()))
        assert [(one.by, one.why) for one in here.closed()] == [("client", "connection reset")]
        reader, writer = await here.open()
        writer.write(CONNECT)
        await until(lambda: there.received == CONNECT * 2)
        reset(there.writers[1])
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
        writer.close()


async def test_many_closes_leave_nothing_behind() -> None:
    async with server() as there, between(there.port) as here:
        there.closes_too = True
        tasks = len(asyncio.all_tasks())
        for number in range(60):
            _, writer = await here.open()
            writer.write(CONNECT)
            if number % 3 == 0:
                reset(writer)
            elif number % 3 == 1:
                writer.write_eof()
            writer.close()
            if number % 5 == 0 and there.writers:
                there.writers[-1].close()
        await until(lambda: len(here.closed()) == 60)
        assert here.proxy.connections == 0
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_nobody_at_the_target_is_said_and_closes_the_client() -> None:
    async with server() as there:
        port = there.port
    async with between(port) as here:
        reader, writer = await here.open()
        assert await reader.read(-1) == b""
        (closed,) = here.closed()
        assert closed.by == "network"
        assert "the broker cannot be reached: cannot connect to" in closed.why
        assert "nobody listens there" in closed.why
        writer.close()


async def test_who_does_not_read_makes_the_other_side_wait_and_loses_nothing() -> None:
    async with server() as there, between(there.port) as here:
        reader, writer = await here.open()
        writer.write(CONNECT)
        await until(lambda: there.received == CONNECT)
        publish = encode(Publish("a", bytes(60_000)), 5)
        there.writers[0].write(CONNACK + publish * 500)
        rest = there.writers[0].transport
        sizes = [0, 1]
        while sizes[-1] != sizes[-2]:
            await asyncio.sleep(0.05)
            sizes.append(rest.get_write_buffer_size())
        assert sizes[-1] > 10 * 2**20
        there.writers[0].close()
        assert await reader.read(-1) == CONNACK + publish * 500
        writer.close()


async def test_rules_break_what_passes_and_each_is_told() -> None:
    rules = ("lose 1st PUBACK to me", "delay 2nd PUBLISH from me by 50ms", "cut after PINGREQ")
    async with server() as there, between(there.port, *rules) as here:
        reader, writer = await here.open()
        publish = encode(Publish("a", b"x", 1, packet_id=1), 5)
        writer.write(CONNECT + publish)
        await until(lambda: there.received == CONNECT + publish)
        there.writers[0].write(CONNACK + encode(Puback(1), 5) + encode(Puback(2), 5))
        assert await reader.readexactly(9) == CONNACK + encode(Puback(2), 5)
        writer.write(publish)
        await until(lambda: there.received == CONNECT + publish * 2)
        writer.write(PING)
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
        await there.has_eof.wait()
        assert there.received == CONNECT + publish * 2 or there.received.endswith(PING)
        assert [why.partition(", by")[0] for why in here.happened(FAULT)] == [
            "PUBACK id 1: lost",
            "PUBLISH id 1: delayed by 0.05 s",
            "PINGREQ: cut after",
        ]
        assert [(one.by, one.why) for one in here.closed()] == [("network", "cut by a rule")]
        writer.close()


async def test_stop_reading_holds_the_sender_up_and_clearing_lets_it_go_on() -> None:
    async with server() as there, between(there.port) as here:
        _, writer = await here.open()
        writer.write(CONNECT)
        await until(lambda: there.received == CONNECT)
        here.proxy.faults.add("stop reading from me")
        await until(lambda: bool(here.happened(FAULT)))
        writer.write(PING)
        publish = encode(Publish("a", bytes(60_000)), 5)
        writer.write(publish * 400)
        await until(lambda: writer.transport.get_write_buffer_size() > 0)
        assert there.received == CONNECT
        here.proxy.faults.clear()
        writer.write_eof()
        await there.has_eof.wait()
        assert there.received == CONNECT + PING + publish * 400
        writer.close()


async def test_more_connections_than_are_allowed_are_closed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with server() as there, between(there.port, max_connections=1) as here:
        _, writer = await here.open()
        writer.write(CONNECT)
        await until(lambda: there.received == CONNECT)
        reader, second = await here.open()
        assert await reader.read(-1) == b""
        assert "there are 1 connections" in caplog.text
        for one in (writer, second):
            one.close()


# ---- our own broker behind it ----


def listener(scheme: str) -> Listener:
    if scheme in ("tls", "wss"):
        certificate, key = doors.server_files()
        return Listener(f"{scheme}://127.0.0.1:0", certificate=certificate, key=key)
    return Listener(f"{scheme}://127.0.0.1:0")


def trusting() -> TlsSettings:
    return TlsSettings(ca_file=doors.authority().file)


@pytest.mark.parametrize(
    ("outside", "inside"),
    [("tcp", "tcp"), ("tls", "tcp"), ("ws", "tls"), ("wss", "ws"), ("tcp", "wss"), ("tls", "tls")],
)
async def test_each_side_goes_its_own_way(outside: str, inside: str, tmp_path: Path) -> None:
    async with curier.Broker(listen=[listener(inside)]) as broker:
        dial = DialSettings(tls=trusting() if inside in ("tls", "wss") else None)
        keys = tmp_path / "keys.log" if outside in ("tls", "wss") or inside in ("tls", "wss") else None
        target = f"{inside}://127.0.0.1:{broker.port}"
        async with between(target, listen=listener(outside), dial=dial, key_log=keys) as here:
            scheme = {"tcp": "mqtt", "tls": "mqtts"}.get(outside, outside)
            url = f"{scheme}://127.0.0.1:{here.proxy.port}"
            tls = trusting() if outside in ("tls", "wss") else None
            async with curier.connect(url, client_id="me", tls=tls) as client:
                async with client.subscribe("a/#", qos=2) as messages:
                    await client.publish("a/b", bytes(300_000), qos=2)
                    message = await anext(aiter(messages))
                    assert message.payload == bytes(300_000)
            await until(lambda: bool(here.closed()))
            assert [one.by for one in here.closed()] == ["client"]
            names = [data[0] >> 4 for data in here.packets(True)]
            assert names[:4] == [1, 8, 3, 6]
            if keys is not None:
                assert "CLIENT_TRAFFIC_SECRET_0" in keys.read_text()
                assert keys.stat().st_mode & 0o077 == 0


class Addresses(Hook):
    """Where the broker believes its clients to be."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        self.seen.append(connection.address)


@pytest.mark.parametrize("header", [0, 1, 2])
async def test_the_broker_is_told_for_whom_we_connect(header: int) -> None:
    proxies = (ip_network("127.0.0.0/8"),) if header else ()
    door = Listener("tcp://127.0.0.1:0", proxy_protocol=proxies)
    hook = Addresses()
    async with (
        curier.Broker(listen=[door], hooks=[hook]) as broker,
        between(broker.port, header=header) as here,
        curier.connect(f"mqtt://127.0.0.1:{here.proxy.port}", client_id="me"),
    ):
        first = here.events[0]
        assert isinstance(first, Opened)
        assert (hook.seen == [first.wire.client_address]) is bool(header)


async def test_a_failure_says_which_side_and_why() -> None:
    async with curier.Broker(listen=[listener("tls")]) as broker:
        async with between(f"tls://127.0.0.1:{broker.port}") as here:  # which trusts nobody of ours
            reader, writer = await here.open()
            writer.write(CONNECT)
            assert await reader.read(-1) == b""
            (closed,) = here.closed()
            assert "the broker cannot be reached: the certificate of 127.0.0.1 is not valid" in closed.why
            writer.close()
        async with between(broker.port, listen=listener("tls")) as here:
            reader, writer = await here.open()
            writer.write(CONNECT)  # to a port of TLS
            await until(lambda: bool(here.closed()))
            (closed,) = here.closed()
            assert closed.by == "client"
            assert "TLS" in closed.why
            writer.close()


@pytest.mark.parametrize(
    ("listen", "target", "more", "why"),
    [
        ("tcp://127.0.0.1", "http://x", {}, "expected mqtt://"),
        ("smtp://x", "tcp://127.0.0.1", {}, "expected the scheme"),
        ("tls://127.0.0.1:0", "tcp://127.0.0.1", {}, "certificate"),
        ("tcp://127.0.0.1:0", "tcp://ann:secret@127.0.0.1", {}, "clients bring user and password themselves"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1", {"header": 3}, "no version 3 of the PROXY protocol"),
    ],
)
async def test_settings_that_cannot_be(listen: str, target: str, more: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        async with Proxy(settings_for(listen, target, **more), tell=list[Event]().append):
            pass


# ---- each side, apart ----


async def test_towards_the_broker_goes_the_name_the_protocol_and_the_certificate_that_were_given(
    tmp_path: Path,
) -> None:
    """Clouds of devices route by SNI, ask for ALPN, and refuse who has no certificate."""
    certificate, key = doors.server_files()
    mine, my_key = doors.authority().issue("device-7", common_name="device-7")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(doors.authority().file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["mqtt"])
    names: list[str] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    there = Server()
    listening = await asyncio.start_server(there.serve, "127.0.0.1", 0, ssl=context)
    target = f"tls://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    tls = TlsSettings(
        ca_file=doors.authority().file,
        certificate=mine,
        key=my_key,
        alpn=("mqtt",),
        server_name="localhost",
    )
    async with between(target, dial=DialSettings(tls=tls)) as here:
        _, writer = await here.open()
        writer.write(CONNECT)
        await until(lambda: there.received == CONNECT)
        seen = there.writers[0].get_extra_info("ssl_object")
        assert (names, seen.selected_alpn_protocol()) == (["localhost"], "mqtt")
        assert ((("commonName", "device-7"),)) in seen.getpeercert()["subject"]
        writer.close()
    async with between(target, dial=DialSettings(tls=trusting())) as here:  # and without one
        reader, writer = await here.open()
        writer.write(CONNECT)
        assert await reader.read(-1) == b""
        writer.close()
    listening.close()


async def test_a_header_goes_before_tls_and_websocket() -> None:
    certificate, key = doors.server_files()
    proxies = (ip_network("127.0.0.0/8"),)
    door = Listener("wss://127.0.0.1:0", certificate=certificate, key=key, proxy_protocol=proxies)
    hook = Addresses()
    async with (
        curier.Broker(listen=[door], hooks=[hook]) as broker,
        between(f"wss://127.0.0.1:{broker.port}", header=2, dial=DialSettings(tls=trusting())) as here,
        curier.connect(f"mqtt://127.0.0.1:{here.proxy.port}", client_id="me"),
    ):
        first = here.events[0]
        assert isinstance(first, Opened)
        assert hook.seen == [first.wire.client_address]


async def test_a_header_where_none_is_expected_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with curier.Broker("tcp://127.0.0.1:0") as broker, between(broker.port, header=1) as here:
        reader, writer = await here.open()
        writer.write(CONNECT)
        with contextlib.suppress(ConnectionResetError):
            await reader.read(-1)
        writer.close()
        await until(lambda: "PROXY" in caplog.text)


async def test_packets_and_frames_of_websocket_are_not_the_same() -> None:
    """One PUBLISH over five frames, and three packets in one."""
    async with server() as there, between(there.port, listen="ws://127.0.0.1:0/mqtt") as here:
        publish = encode(Publish("a", bytes(1000)), 5)
        async with connect(
            f"ws://127.0.0.1:{here.proxy.port}/mqtt",
            subprotocols=[Subprotocol("mqtt")],
            open_timeout=100,
            close_timeout=0.1,
        ) as web:  # whose other side does not end
            await web.send(CONNECT + PING + PING)
            for at in range(0, len(publish), 250):
                await web.send(publish[at : at + 250])
            await until(lambda: bytes(there.received) == CONNECT + PING + PING + publish)
            assert here.packets(True) == [CONNECT, PING, PING, publish]
