"""A bridge with several servers: which of them it is at, and what becomes of messages on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.auth import Authenticator, Credentials, Verdict
from curier.bridge import engine
from curier.bridge.engine import Bridge
from curier.bridge.settings import Peer
from tests.bridge.brokers import Seen, bridged, brokers, came, client, peer, settings
from tests.ports import free_port
from tests.waiting import until

NUMBERS = [b"%d" % number for number in range(20)]
STAYS: dict[str, Any] = {"client_id": "watch", "session_expiry": 3600, "clean_start": False}


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BACK_SECONDS", 0.02)


def at(bridge: Bridge, port: int) -> bool:
    """Is it connected to the server of this port?"""
    return bridge.is_connected and bridge.url.endswith(f":{port}")


async def test_it_goes_back_to_the_first_and_nothing_is_lost(tmp_path: Path) -> None:
    async with brokers(2, tmp_path) as (here, second), client(here) as (local, _):
        port = free_port()
        both = Peer(urls=(f"mqtt://127.0.0.1:{port}", *peer(second).urls))
        first = curier.Broker(f"tcp://127.0.0.1:{port}", data=tmp_path / "first")
        await first.start()
        async with client(first, **STAYS):
            pass
        async with bridged(here, settings(both, "# out 1")) as house, client(second) as (_, there):
            bridge = house.running["hall"]
            assert at(bridge, port)
            await local.publish("a", NUMBERS[0], qos=1)
            await until(lambda: bridge.out.carried == 1)
            await first.stop()
            for number in NUMBERS[1:10]:
                await local.publish("a", number, qos=1)
            assert await came(there, NUMBERS[9]) == NUMBERS[1:10]
            assert at(bridge, second.port)
            async with curier.Broker(f"tcp://127.0.0.1:{port}", data=tmp_path / "first") as first:
                await until(lambda: at(bridge, port))
                for number in NUMBERS[10:]:
                    await local.publish("a", number, qos=1)
                async with client(first, **STAYS) as (_, back):
                    found = await came(back, NUMBERS[-1])
                assert [one for one in found if one in NUMBERS[10:]] == NUMBERS[10:]
                assert NUMBERS[0] in found


async def test_round_robin_stays_where_it_is(tmp_path: Path) -> None:
    asked: list[int] = []

    def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        writer.close()

    async with brokers(3) as (here, second, third), client(here) as (local, _), client(second) as (_, there):
        port = free_port()
        urls = (f"mqtt://127.0.0.1:{port}", *peer(second).urls, *peer(third).urls)
        wanted = settings(Peer(urls=urls), "# out 1", round_robin=True)
        async with bridged(here, wanted) as house:
            bridge = house.running["hall"]
            await until(lambda: at(bridge, second.port))
            async with await asyncio.start_server(count, "127.0.0.1", port):
                for number in NUMBERS:
                    await local.publish("a", number, qos=1)
                    await asyncio.sleep(engine.BACK_SECONDS / 5)
                assert await came(there, NUMBERS[-1]) == NUMBERS
                assert at(bridge, second.port)
                assert not asked
                await second.stop()
                await until(lambda: at(bridge, third.port))
                assert not asked


async def test_all_are_away_and_the_last_comes_back(tmp_path: Path) -> None:
    async with brokers(1, tmp_path) as (here,), client(here) as (local, _):
        ports = [free_port(), free_port()]
        urls = tuple(f"mqtt://127.0.0.1:{port}" for port in ports)
        async with bridged(here, settings(Peer(urls=urls), "# out 1"), waits=False) as house:
            bridge = house.running["hall"]
            for url in urls:
                await until(lambda url=url: url in bridge.error)  # type: ignore[misc]
            for number in NUMBERS:
                await local.publish("a", number, qos=1)
            assert not bridge.is_connected
            seen = Seen()
            async with curier.Broker(f"tcp://127.0.0.1:{ports[1]}", hooks=[seen]):
                assert await seen.up_to(NUMBERS[-1]) == NUMBERS
                assert at(bridge, ports[1])
                assert not bridge.error


class NoBridges(Authenticator):
    """Lets in nobody but those who look on."""

    def __init__(self) -> None:
        self.refused = 0

    async def authenticate(self, credentials: Credentials) -> Verdict:
        if credentials.client_id.endswith(".hall"):
            self.refused += 1
            return Verdict(0x86)
        return Verdict(0)


async def test_a_first_that_refuses_is_asked_less_and_less(caplog: pytest.LogCaptureFixture) -> None:
    """It takes connections, so it is gone back to; but the second serves, and nothing is lost."""
    guard = NoBridges()
    async with (
        brokers(2) as (here, second),
        curier.Broker("tcp://127.0.0.1:0", authenticator=guard) as first,
        client(here) as (local, _),
        client(second) as (_, there),
    ):
        both = Peer(urls=(*peer(first).urls, *peer(second).urls))
        async with bridged(here, settings(both, "# out 1")) as house:
            bridge = house.running["hall"]
            await until(lambda: guard.refused == 4 and at(bridge, second.port))
            await local.publish("a", b"1", qos=1)
            assert await came(there, b"1") == [b"1"]
            assert bridge._back_after == 2**3 * engine.BACK_SECONDS
        assert "0x86" in caplog.text


@asynccontextmanager
async def broken_proxy() -> AsyncIterator[tuple[int, list[bytes]]]:
    """What a proxy answers whose broker is away; and who has asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


async def test_a_proxy_without_a_broker_behind_it_is_not_gone_back_to() -> None:
    async with brokers(2) as (here, second), broken_proxy() as (port, asked):
        both = Peer(urls=(f"ws://127.0.0.1:{port}/mqtt", *peer(second).urls))
        async with bridged(here, settings(both, "# out 1")) as house:
            bridge = house.running["hall"]
            await until(lambda: at(bridge, second.port))
            before = len(asked)
            await until(lambda: len(asked) >= before + 3)
            assert at(bridge, second.port)
            assert bridge.connects == 1


async def test_where_all_refuse_it_waits_longer_than_where_all_are_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[str] = []

    def noted(what: str) -> Any:
        def delay(attempt: int, *others: object) -> float:
            waits.append(f"{what} {attempt}")
            return 0.0

        return delay

    for name in ("delay_before", "delay_after_refusal"):
        monkeypatch.setattr(engine, name, noted(name))
    guard = NoBridges()
    async with brokers(1) as (here,), curier.Broker("tcp://127.0.0.1:0", authenticator=guard) as there:
        urls = (*peer(there).urls, f"mqtt://127.0.0.1:{free_port()}")
        async with bridged(here, settings(Peer(urls=urls), "# out 1"), waits=False):
            await until(lambda: guard.refused >= 3)
        assert waits[:2] == ["delay_after_refusal 1", "delay_after_refusal 2"]
