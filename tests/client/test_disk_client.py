"""A client with its session on disk, and a broker: what one life leaves to the next."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import curier
from curier.client.client import Client
from curier.session.session import Session as SessionState
from tests.client.stage import life_of
from tests.store.faults import FullDisk
from tests.waiting import until

RECONNECT = curier.Reconnect(first=0.01, longest=0.1)


@pytest.fixture
async def broker() -> AsyncIterator[curier.Broker]:
    async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as running:
        yield running


def connect(broker: curier.Broker, path: Path, client_id: str = "me") -> Client:
    session = curier.Session.disk(path)
    url = f"mqtt://127.0.0.1:{broker.port}"
    return curier.connect(url, client_id=client_id, session=session, reconnect=RECONNECT)


async def left_by_a_kill(path: Path, to: Path) -> SessionState:
    """What would be on the disk if the program were killed now."""
    shutil.copytree(path, to)  # at once: nothing may happen meanwhile
    session = curier.Session.disk(to)
    state = await session.open("me")
    await session.close()
    return state


async def test_what_one_life_accepted_the_next_delivers(broker: curier.Broker, tmp_path: Path) -> None:
    port = broker.port
    async with (
        curier.connect(f"mqtt://127.0.0.1:{port}") as other,
        other.subscribe("t", qos=2) as stream,
    ):
        nobody = curier.connect(
            "mqtt://127.0.0.1:1",
            client_id="me",
            session=curier.Session.disk(tmp_path),
            retry_first_connect=True,
        )
        async with nobody:
            for number in range(20):
                nobody.publish_nowait("t", b"%d" % number, qos=2)
            with pytest.raises(curier.ConnectionLost, match="the client is closed"):
                await asyncio.gather(nobody.publish("t", b"20", qos=2), nobody.disconnect())
        async with connect(broker, tmp_path):
            pass  # leaving waits for what is unfinished
        got = [(await stream.get(timeout=100)).payload for _ in range(21)]
        assert got == [b"%d" % number for number in range(21)]
    async with connect(broker, tmp_path) as client:
        await client.publish("t", b"new", qos=2)


async def test_a_message_is_taken_on_the_disk_before_the_application_has_it(
    broker: curier.Broker, tmp_path: Path
) -> None:
    async with connect(broker, tmp_path / "a") as client, client.subscribe("t", qos=2) as stream:
        for number in range(3):
            await client.publish("t", b"%d" % number, qos=2)
        assert (await stream.get(timeout=100)).payload == b"0"
        assert len((await left_by_a_kill(tmp_path / "a", tmp_path / "b")).incoming.identifiers) == 1
        assert (await stream.get(timeout=100)).payload == b"1"
        await asyncio.sleep(0.1)


async def test_a_message_that_is_taken_without_a_connection_does_not_come_again(
    broker: curier.Broker, tmp_path: Path
) -> None:
    """Not even to another life, when the program is killed before it has connected again."""
    async with curier.connect(f"mqtt://127.0.0.1:{broker.port}") as other:
        lasting = connect(broker, tmp_path / "a")
        async with lasting, lasting.subscribe("t", qos=2) as stream:
            for number in range(3):
                await other.publish("t", b"%d" % number, qos=2)
            await until(lambda: len(stream) == 3)
            life_of(lasting).link.abort()
            await until(lambda: not lasting.is_connected, pause=0)
            assert (await stream.get()).payload == b"0"
            kept = await left_by_a_kill(tmp_path / "a", tmp_path / "b")
            assert len(kept.incoming.identifiers) == 1
        async with (
            connect(broker, tmp_path / "b") as again,
            again.subscribe("t", qos=2) as stream,
        ):
            got = [(await stream.get(timeout=100)).payload for _ in range(2)]
            assert got == [b"1", b"2"]
            await asyncio.sleep(0.2)
            assert len(stream) == 0


async def test_what_was_not_taken_comes_to_the_next_life_once(broker: curier.Broker, tmp_path: Path) -> None:
    async with curier.connect(f"mqtt://127.0.0.1:{broker.port}") as other:
        got = []
        async with connect(broker, tmp_path) as client, client.subscribe("t", qos=2) as stream:
            for number in range(6):
                await other.publish("t", b"%d" % number, qos=2)
            got += [(await stream.get(timeout=100)).payload for _ in range(2)]
        with pytest.raises(curier.ConnectionLost):  # not to this one any more
            await stream.get(timeout=1)
        async with connect(broker, tmp_path) as client, client.subscribe("t", qos=2) as stream:
            got += [(await stream.get(timeout=100)).payload for _ in range(4)]
            await asyncio.sleep(0.2)
            assert len(stream) == 0
        assert got == [b"%d" % number for number in range(6)]


async def test_a_full_disk_refuses_publishing_and_nothing_else(
    broker: curier.Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(broker, tmp_path) as client, client.subscribe("t", qos=1) as stream:
        await client.publish("t", b"before", qos=1)
        disk = FullDisk(monkeypatch)
        with pytest.raises(curier.StoreError, match="the disk is full"):
            client.publish_nowait("t", b"refused", qos=1)
        with pytest.raises(curier.StoreError, match="the disk is full"):
            await client.publish("t", b"refused", qos=2)
        await client.publish("t", b"fleeting", qos=0)
        assert [(await stream.get(timeout=100)).payload for _ in range(2)] == [b"before", b"fleeting"]
        disk.is_full = False
        async with asyncio.timeout(100):
            while True:
                try:
                    await client.publish("t", b"after", qos=2)
                    break
                except curier.StoreError:
                    await asyncio.sleep(0.05)
        assert (await stream.get(timeout=100)).payload == b"after"


async def test_another_client_identifier_is_told_whose_it_is(broker: curier.Broker, tmp_path: Path) -> None:
    async with connect(broker, tmp_path, "one"):
        with pytest.raises(curier.StoreError, match="in use by process"):
            await connect(broker, tmp_path, "one").__aenter__()
    with pytest.raises(curier.StoreError, match="of client 'one', not of 'two'"):
        await connect(broker, tmp_path, "two").__aenter__()


def offline(path: Path, **settings: Any) -> Client:
    """A client that never finds a server."""
    session = curier.Session.disk(path, "os")
    return curier.connect(
        "mqtt://127.0.0.1:1", client_id="me", session=session, retry_first_connect=True, **settings
    )


def fill(client: Client) -> None:
    """Publish until something is raised."""
    while True:
        client.publish_nowait("t", b"x" * 100, qos=1)


async def test_the_outbox_is_bounded_by_what_it_takes_on_the_disk(tmp_path: Path) -> None:
    async with offline(tmp_path / "a") as client:
        for number in range(12_000):  # more than may wait in memory
            client.publish_nowait("t", b"%d" % number, qos=1)
        assert client.statistics.unfinished == 12_000
    most = 100_000
    async with offline(tmp_path / "b", offline_bytes=most) as client:
        with pytest.raises(curier.QueueFull, match="offline_bytes"):
            fill(client)
    size = sum(file.stat().st_size for file in (tmp_path / "b").glob("*.log"))
    assert 0.8 * most < size < most


async def test_what_earlier_lives_left_is_counted(broker: curier.Broker, tmp_path: Path) -> None:
    counts = []
    async with offline(tmp_path) as client:
        for qos in (1, 2, 1, 2, 1):
            client.publish_nowait("t", qos=qos)
        counts.append(client.statistics.unfinished)
    async with offline(tmp_path) as client:
        counts.append(client.statistics.unfinished)
        for _ in range(3):
            client.publish_nowait("t", qos=1)
        counts.append(client.statistics.unfinished)
    assert counts == [5, 5, 8]
    async with connect(broker, tmp_path) as client:
        await until(lambda: client.statistics.unfinished == 0)


async def test_what_was_withdrawn_is_not_there_in_the_next_life(tmp_path: Path) -> None:
    async with offline(tmp_path) as client:
        receipts = [client.publish_nowait("t", b"%d" % number, qos=1 + number % 2) for number in range(4)]
        assert [receipt.withdraw() for receipt in receipts[1:3]] == [True, True]
    async with offline(tmp_path) as client:
        assert client.statistics.unfinished == 2
