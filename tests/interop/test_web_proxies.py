"""nginx, HAProxy and Caddy in front of a broker's WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import curier
from curier import config
from curier.listeners import Listener
from tests.conftest import require_peer
from tests.interop.proxy import CLIENT, Doorkeeper, Proxy
from tests.interop.web_proxies import COMPLAINT, HEALTH, PROXIES, Setup, blocks
from tests.net.doors import server_files, trusting
from tests.ports import free_port
from tests.waiting import until

ORIGIN = "https://www.example.org"
MIB = 1024 * 1024


def described(back: str = "ws") -> Listener:
    """The listener of the page, on a free port."""
    with TemporaryDirectory() as name:
        path = Path(name) / "curier.toml"
        path.write_text(*blocks("toml"))
        [listener] = config.load(path).listeners
    certificate, key = server_files() if back == "wss" else (None, None)
    return replace(listener, url=f"{back}://127.0.0.1:0/mqtt", certificate=certificate, key=key)


class Site:
    """A broker behind a proxy."""

    def __init__(self, broker: curier.Broker, doorkeeper: Doorkeeper, proxy: Proxy, front: str) -> None:
        self.broker = broker
        self.doorkeeper = doorkeeper
        self.proxy = proxy
        self.front = front

    def url(self, path: str = "/mqtt") -> str:
        return f"{self.front}://127.0.0.1:{self.proxy.port}{path}"

    def connect(
        self, path: str = "/mqtt", headers: tuple[tuple[str, str], ...] = (), **wish: Any
    ) -> curier.Client:
        tls: ssl.SSLContext | None = trusting() if self.front == "wss" else None
        return curier.connect(
            self.url(path), local_address=CLIENT, tls=tls, websocket_headers=headers, reconnect=None, **wish
        )

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of a plain request."""

        def get() -> tuple[int, str]:
            context = trusting() if self.front == "wss" else None
            try:
                with urllib.request.urlopen(
                    self.url(path).replace("ws", "http", 1), context=context
                ) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(get)


@contextlib.asynccontextmanager
async def site(
    name: str, folder: Path, setup: Setup | None = None, listener: Listener | None = None, **more: str
) -> AsyncIterator[Site]:
    """All of it, running."""
    setup = setup or Setup()
    require_peer(name)
    doorkeeper = Doorkeeper()
    async with curier.Broker([listener or described(setup.back)], authenticator=doorkeeper) as broker:
        proxy = await asyncio.to_thread(PROXIES[name], folder, setup, free_port(), broker.port, **more)
        try:
            yield Site(broker, doorkeeper, proxy, setup.front)
        finally:
            proxy.close()
            said = proxy.log.read_text()
            assert not COMPLAINT.search(said), said


by_proxy = pytest.mark.parametrize("name", PROXIES)


@by_proxy
@pytest.mark.parametrize(("front", "back"), [("wss", "ws"), ("ws", "ws"), ("wss", "wss")])
async def test_messages(name: str, front: str, back: str, folder: Path) -> None:
    """All QoS, in both versions; and large ones."""
    async with site(name, folder, Setup(front, back)) as made:
        for version in (4, 5):
            async with (
                made.connect(version=version) as client,
                client.subscribe("t/#", qos=2) as stream,
            ):
                for number in range(20):
                    await client.publish(f"t/{number}", b"%d" % number, qos=number % 3)
                for size in (MIB, 15 * MIB):
                    await client.publish("t/large", bytes(range(256)) * (size // 256), qos=1)
                heard = [(await anext(stream)).payload for _ in range(22)]
            assert sorted(heard[:20], key=int) == [b"%d" % number for number in range(20)]
            assert heard[20:] == [bytes(range(256)) * (size // 256) for size in (MIB, 15 * MIB)]


@by_proxy
async def test_where_a_client_is(name: str, folder: Path) -> None:
    """What it has invented itself stands left of what the proxy has seen."""
    async with site(name, folder) as made:
        for headers in (
            (),
            (("X-Forwarded-For", "9.9.9.9"),),
            (("X-Forwarded-For", "127.0.0.1, 127.0.0.1"),),
        ):
            async with made.connect(headers=headers):
                pass
        for credentials in made.doorkeeper.seen:
            assert re.fullmatch(re.escape(CLIENT) + r":\d+", credentials.address)


@by_proxy
async def test_a_proxy_that_is_not_trusted(name: str, folder: Path) -> None:
    listener = replace(described(), trusted_proxies=())
    async with site(name, folder, listener=listener) as made:
        async with made.connect(headers=(("X-Forwarded-For", "9.9.9.9"),)):
            pass
        [credentials] = made.doorkeeper.seen
        assert credentials.address.startswith("127.0.0.1:")


@by_proxy
@pytest.mark.parametrize("path", ["/mqtt", "/mqtt/", "/mqtt?token=1", "/iot/mqtt", "/iot/mqtt/"])
async def test_paths(name: str, path: str, folder: Path) -> None:
    async with site(name, folder) as made, made.connect(path) as client:
        await client.publish("t", b"x", qos=1)


@by_proxy
async def test_origins(name: str, folder: Path) -> None:
    async with site(name, folder) as made:
        async with made.connect(headers=(("Origin", ORIGIN),)) as client:
            await client.publish("t", b"x", qos=1)
        with pytest.raises(curier.MqttError, match="403"):
            async with made.connect(headers=(("Origin", "https://evil.example"),)):
                pass


@by_proxy
async def test_plain_http(name: str, folder: Path) -> None:
    """A person who looks there gets to know what it is."""
    async with site(name, folder) as made:
        status, text = await made.get("/mqtt")
        assert (status, text.splitlines()[0]) == (
            426,
            "This is an MQTT broker (curier). It speaks MQTT over WebSocket at /mqtt: come with an MQTT "
            "client.",
        )


@pytest.mark.parametrize("name", ["nginx", "caddy"])
async def test_asking_whether_it_is_well(name: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="curier")
    async with site(name, folder) as made:
        assert await made.get("/iot/health") == (200, "OK\n")
    assert [record.message for record in caplog.records if "HTTP" in record.message] == []


@pytest.mark.parametrize(
    ("check", "passed"),
    [(HEALTH, "Layer7"), ("option httpchk", "Layer7"), ("option tcp-check", "Layer4")],  # OPTIONS in HTTP/1.0
)
async def test_health_checks_of_haproxy(
    check: str, passed: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="curier")
    async with site("haproxy", folder, check=check) as made:
        said = re.compile(rf"Health check for server mqtt/broker succeeded, reason: {passed} check passed")
        await until(lambda: said.search(made.proxy.log.read_text()) is not None)
        async with made.connect() as client:
            await client.publish("t", b"x", qos=1)
    assert [record.message for record in caplog.records if "HTTP" in record.message] == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("name", ["nginx", "haproxy"])  # Caddy waits
async def test_silence_that_a_proxy_ends(name: str, folder: Path) -> None:
    """To both ends it is a lost connection."""
    listener = replace(described(), ping_interval=0)
    entered = asyncio.Event()

    async def wait(made: Site) -> None:
        will = curier.Will(curier.Message("wills", b"lost"))
        async with made.connect(will=will, keep_alive=60) as client, client.subscribe("t") as stream:
            entered.set()
            await anext(stream)

    for silence in (1, 5, 25):  # in which a busy machine may not even connect
        async with (
            site(name, folder, Setup(silence=silence), listener) as made,
            curier.connect(f"ws://127.0.0.1:{made.broker.port}/mqtt") as witness,
            witness.subscribe("wills") as wills,
        ):
            with pytest.raises(curier.ConnectionLost):
                await wait(made)
            if entered.is_set():
                assert (await anext(wills)).payload == b"lost"
                break
    assert entered.is_set()


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_silence_with_pings(name: str, folder: Path) -> None:
    listener = replace(described(), ping_interval=1)
    async with (
        site(name, folder, Setup(silence=4), listener) as made,
        made.connect(keep_alive=0) as client,
        client.subscribe("t") as stream,
    ):
        await asyncio.sleep(6)
        await client.publish("t", b"still there", qos=1)
        assert (await anext(stream)).payload == b"still there"
