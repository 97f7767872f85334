"""Connections that have not logged in: those of one address are not in the way of others."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from ipaddress import ip_network
from time import monotonic

import pytest

import curier
from curier.broker.options import Options
from curier.listeners import Listener
from curier.net import reactor
from tests.waiting import until

CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a"
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def few() -> Options:
    settings = Options()
    settings.max_connecting = 5
    return settings


async def is_shut_out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await reader.read() == b""
    writer.close()


async def logs_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CONNECT)
    assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
    writer.close()


async def test_one_address_cannot_shut_out_others(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with curier.Broker("tcp://127.0.0.1:0", options=few(), use_reactor=use_reactor) as broker:

        async def open_from(host: str) -> Ends:
            return await asyncio.open_connection("127.0.0.1", broker.port, local_addr=(host, 0))

        waiting = [await open_from("127.0.0.2") for _ in range(5)]
        await until(lambda: len(broker.core.connections) == 5)
        await is_shut_out(*await open_from("127.0.0.2"))
        assert "5 connections from 127.0.0.2 have not logged in yet" in caplog.text
        await logs_in(*await open_from("127.0.0.1"))
        for _, end in waiting:
            end.close()
        await until(lambda: not broker.core.connections)
        await logs_in(*await open_from("127.0.0.2"))


async def test_behind_a_proxy_it_is_the_address_that_it_tells(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    listener = curier.Listener("tcp://127.0.0.1:0", proxy_protocol=(ip_network("127.0.0.0/8"),))
    async with curier.Broker(listener, options=few(), use_reactor=use_reactor) as broker:

        async def open_for(host: str) -> Ends:
            reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
            writer.write(f"PROXY TCP4 {host} 127.0.0.1 5 6\r\n".encode())
            return reader, writer

        waiting = [await open_for("192.0.2.1") for _ in range(5)]
        await until(lambda: broker.core.holdings.connecting == {"192.0.2.1": 5})
        await is_shut_out(*await open_for("192.0.2.1"))
        assert "5 connections from 192.0.2.1 have not logged in yet" in caplog.text
        await logs_in(*await open_for("192.0.2.2"))
        for _, end in waiting:
            end.close()


@pytest.mark.skipif(not reactor.IS_AVAILABLE, reason="asyncio's transports serve whoever is next")
async def test_who_is_known_is_served_first_and_strangers_for_a_bounded_time() -> None:
    async with curier.Broker("tcp://127.0.0.1:0") as broker:
        serving = broker._reactor
        assert serving is not None
        with ExitStack() as ends:

            def opened() -> socket.socket:
                return ends.enter_context(socket.create_connection(("127.0.0.1", broker.port)))

            strangers = [opened() for _ in range(500)]
            known = opened()
            known.sendall(CONNECT)
            await until(lambda: len(broker.core.connections) == 501 and len(broker.core.sessions) == 1)
            assert known.recv(100) == b"\x20\x02\x00\x00"
            for stranger in strangers:
                stranger.sendall(b"\x10\x0c" + CONNECT[2:-3] + b"\0\0")
            known.sendall(b"\xc0\x00")
            events = serving.epoll.poll(0, 1024)
            assert len(events) == 501
            serving.serve(events, monotonic())  # in which the one that came last is the first
            assert known.recv(100) == b"\xd0\x00"
            assert broker.core.statistics.connects < 501
            while events := serving.epoll.poll(0, 1024):
                serving.serve(events, monotonic())
            assert all(stranger.recv(100) for stranger in strangers)


async def test_who_breaks_off_before_mqtt_begins_costs_a_line(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Of TLS, see ``test_tls``. Who has said nothing costs none: so it is looked whether a port is open."""
    listeners = [
        Listener("ws://127.0.0.1:0"),
        Listener("tcp://127.0.0.1:0", proxy_protocol=(ip_network("127.0.0.1"),)),
    ]
    async with curier.Broker(listeners, use_reactor=use_reactor) as broker:
        for url, half, what in zip(
            broker.urls,
            (b"GET /mqtt HTTP/1.1\r\nHost:", b"PROXY TCP4 127.0.0.1"),
            ("its HTTP request", "the PROXY header"),
            strict=True,
        ):
            for first in (b"", half):
                _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2].strip("/")))
                writer.write(first)
                writer.close()
                await until(lambda: not broker.core.connections)
            said = [record.getMessage() for record in caplog.records if record.name == "curier.net"]
            assert [line.partition(" at ")[2] for line in said] == [f"{url} has broken off {what}"]
            caplog.clear()
