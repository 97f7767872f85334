"""Listeners that come, change and go while a broker runs; whoever is connected stays."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

import curier
from curier.doorways import NeedsRestart
from curier.errors import ConfigError
from curier.listeners import Listener, parse_listen
from tests.ports import free_port

PLAIN = Listener("tcp://127.0.0.1:0")


class Device:
    """A client of MQTT 3.1.1, connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, url: str, client_id: str = "c", context: ssl.SSLContext | None = None) -> Device:
        """Raises ``OSError``, or ``IncompleteReadError`` where it is not let in."""
        address = parse_listen(url)
        if address.is_file:
            reader, writer = await asyncio.open_unix_connection(address.path)
        else:
            reader, writer = await asyncio.open_connection(
                address.host,
                address.port,
                ssl=context,
            )
        device = cls(reader, writer)
        body = b"\0\x04MQTT\x04\x02\0\0" + len(client_id).to_bytes(2, "big") + client_id.encode()
        writer.write(bytes((0x10, len(body))) + body)
        try:
            assert (await reader.readexactly(4))[:2] == b"\x20\x02"
        except BaseException:
            writer.close()
            raise
        return device

    async def is_served(self) -> bool:
        self.writer.write(b"\xc0\0")
        return await self.reader.readexactly(2) == b"\xd0\0"


@asynccontextmanager
async def running(use_reactor: bool, *listeners: Listener) -> AsyncIterator[curier.Broker]:
    async with curier.Broker(listen=listeners, use_reactor=use_reactor) as broker:
        yield broker


async def change(broker: curier.Broker, *listeners: Listener) -> None:
    async with broker.changing_listeners(listeners):
        pass


async def test_one_comes_and_one_goes(use_reactor: bool, tmp_path: Path) -> None:
    unix = Listener(f"unix://{tmp_path}/c.sock")
    async with running(use_reactor, PLAIN) as broker:
        (url,) = broker.urls
        first = await Device.connect(url, "a")
        await change(broker, PLAIN, unix)
        assert broker.urls == [url, unix.url]
        second = await Device.connect(unix.url, "b")
        await change(broker, unix)
        assert broker.urls == [unix.url]
        with pytest.raises(OSError):
            await Device.connect(url, "x")
        assert await first.is_served()
        assert await second.is_served()
        await change(broker, PLAIN)
        assert not (tmp_path / "c.sock").exists()
        assert await second.is_served()
        assert [one.url for one in broker.listeners.values()] == [PLAIN.url]
        for device in (first, second):
            device.writer.close()


async def test_settings_hold_for_those_who_come_from_then_on(use_reactor: bool) -> None:
    async with running(use_reactor, PLAIN) as broker:
        (url,) = broker.urls
        first = await Device.connect(url, "a")
        await change(broker, replace(PLAIN, name="devices", max_connections=2))
        assert broker.urls == [url]
        second = await Device.connect(url, "b")
        third, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x")
        assert await third.read(4) == b"\x20\x02\0\x03"  # whoever was there before is counted
        (entrance,) = broker.core.statistics.entrances
        assert (entrance.name, entrance.connected) == ("devices", 2)
        assert await first.is_served()
        for one in (first.writer, second.writer, writer):
            one.close()


async def test_certificates_come_with_a_listener(use_reactor: bool, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    tls = Listener("tls://127.0.0.1:0", certificate=tmp_path / "server.pem", key=tmp_path / "server.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with running(use_reactor, PLAIN) as broker:
        had = [broker.has_certificates]
        await change(broker, PLAIN, tls)
        had.append(broker.has_certificates)
        await broker.reload_certificates()
        device = await Device.connect(broker.urls[1].replace("tls", "tcp"), context=context)
        told = broker._process.told
        assert list(told) == ["listeners/tls-127.0.0.1:0/certificate/expires"]
        await change(broker, PLAIN)
        assert not told
        assert [*had, broker.has_certificates] == [False, True, False]
        assert await device.is_served()
        device.writer.close()


async def test_all_or_nothing(use_reactor: bool, tmp_path: Path) -> None:
    unix = Listener(f"unix://{tmp_path}/c.sock")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Listener(f"tcp://127.0.0.1:{other.getsockname()[1]}")
        async with running(use_reactor, PLAIN) as broker:
            before = broker.urls
            with pytest.raises(OSError, match="cannot listen on"):
                await change(broker, unix, taken)
            with pytest.raises(ConfigError, match="can be reached from other machines"):
                await change(broker, unix, Listener(f"tcp://0.0.0.0:{free_port()}"))
            with pytest.raises(RuntimeError):
                async with broker.changing_listeners([unix]):
                    raise RuntimeError
            assert broker.urls == before
            assert not (tmp_path / "c.sock").exists()
            device = await Device.connect(before[0])
            device.writer.close()


@pytest.mark.parametrize(
    "wanted",
    [
        Listener("fd://3", allow_anonymous=True),
        Listener("tls://127.0.0.1:0", acme="a@b.example", acme_names=("b.example",)),
        Listener("tcp://127.0.0.1:0", allow_anonymous=False),
        replace(PLAIN, tcp_keepalive=10),
    ],
)
async def test_what_needs_a_restart(wanted: Listener) -> None:
    async with running(True, PLAIN) as broker:
        before = broker.urls
        with pytest.raises(ConfigError) as raised:
            await change(broker, wanted)
        assert isinstance(raised.value, NeedsRestart) or "nobody can connect there" in str(raised.value)
        assert broker.urls == before
