"""What a cluster needs of its servers and streams, and what it says where that is not so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from curier.errors import ClusterAway, ClusterError
from curier.jetstream.access import Access
from curier.jetstream.line import Line
from curier.jetstream.names import Names
from curier.jetstream.proof import monitors_of, prove
from curier.jetstream.streams import _config, ensure
from tests.jetstream.buses import ask_api
from tests.jetstream.servers import NatsServers
from tests.waiting import until

pytestmark = pytest.mark.interop
NAMES = Names("home", 1)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    running = NatsServers(tmp_path_factory.mktemp("nats"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    """One server, which writes when it likes."""
    running = NatsServers(tmp_path_factory.mktemp("nats"), count=1, sync="2m")
    yield running
    running.close()


@asynccontextmanager
async def line_to(servers: NatsServers) -> AsyncIterator[Line]:
    line = Line(Access(servers.urls), "test")
    line.open()
    try:
        await until(lambda: line.is_up)
        yield line
    finally:
        await line.close()


async def test_three_servers_that_write_at_once_are_proved(servers: NatsServers) -> None:
    async with line_to(servers) as line:
        found = await ensure(line, NAMES, 3, 40.0)
        assert found == {"s0", "s1", "s2"}
        assert await ensure(line, NAMES, 3, 40.0) == found
    await prove(servers.monitor_urls, found)


async def test_a_server_that_does_not_prove_it_is_named(servers: NatsServers, alone: NatsServers) -> None:
    with pytest.raises(ClusterError, match=r"a cluster needs: s2\. Put sync_interval: always") as raised:
        await prove(servers.monitor_urls[:2], {"s0", "s1", "s2"})
    assert "--cluster-sync relaxed" in str(raised.value)
    with pytest.raises(ClusterError, match="s0 does not write at once"):
        await prove(alone.monitor_urls, {"s0"})
    with pytest.raises(ClusterError, match=r"s0, s1.*does not answer.*not a URL"):
        await prove(["http://127.0.0.1:1", "file:///etc/passwd"], {"s0", "s1"})


async def test_a_server_whose_disk_was_full_counts_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has JetStream off then, until it is started again, and keeps nothing: it does not write late."""
    told: dict[str, Any] = {
        name: {"server_name": name, "jetstream": {"config": {"sync_always": True}}} for name in ("s0", "s1")
    }
    told["s2"] = {"server_name": "s2", "jetstream": {}}
    monkeypatch.setattr("curier.jetstream.proof.told_by", lambda monitor, tls: told[monitor])
    assert await prove(["s0", "s1", "s2"], {"s0", "s1", "s2"}) == {"s2"}
    told["s1"] = {"server_name": "s1"}
    with pytest.raises(ClusterAway, match="s1 has JetStream off: was its disk full"):
        await prove(["s0", "s1", "s2"], {"s0", "s1", "s2"})


def test_monitoring_is_looked_for_at_its_usual_port() -> None:
    assert monitors_of(["nats://me:secret@a:4222", "tls://[::1]:4222"]) == (
        "http://a:8222",
        "http://[::1]:8222",
    )


async def test_too_few_servers_are_told_of(alone: NatsServers) -> None:
    async with line_to(alone) as line:
        with pytest.raises(ClusterError, match="with 3 servers or more"):
            await ensure(line, NAMES, 3, 2.0)
        assert await ensure(line, NAMES, 1, 20.0) <= {"s0"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"discard": "old"}, "discard is 'old' and has to be 'new'"),
        ({"max_age": 3_600_000_000_000}, "max_age"),
        ({"max_msgs": 1000}, "limit of messages"),
        ({"storage": "memory"}, "storage is 'memory'"),
        ({"num_replicas": 1}, "has 1 replicas and needs 3: nats stream edit"),
        ({"metadata": {"curier.format": "9", "curier.partitions": "1"}}, "the format is 9 there, 2 here"),
        ({"metadata": {}}, "the format is not said there"),
        ({"metadata": {"curier.format": "2", "curier.partitions": "8"}}, "partitions is 8 there, 1 here"),
    ],
)
async def test_a_stream_that_would_forget_is_refused(
    servers: NatsServers, change: dict[str, Any], words: str
) -> None:
    names = Names(f"wrong{abs(hash(words)) % 10**9}", 1)
    async with line_to(servers) as line:
        config = _config(names, 0, 3) | change
        answer: dict[str, Any] = {}
        while "config" not in answer:  # a busy machine may give none in time
            answer = await ask_api(line, f"STREAM.CREATE.{names.stream(0)}", config)
        with pytest.raises(ClusterError, match=words):
            await ensure(line, names, 3, 20.0)


async def test_nobody_there_is_told_in_time(tmp_path: Path) -> None:
    line = Line(Access(("nats://me:secret@127.0.0.1:1",)), "test")
    line.open()
    try:
        with pytest.raises(ClusterError, match=r"within 2 s: .*127\.0\.0\.1:1 cannot be reached") as raised:
            await ensure(line, NAMES, 3, 2.0)
        assert "secret" not in str(raised.value)
    finally:
        await line.close()


async def test_a_cancellation_that_is_lost_on_its_way_keeps_no_line_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """wait_for of Python 3.11, in nats-py, hears of none when what it waits for has just failed."""
    tries: list[str] = []

    async def connect(self: Line, client: object, server: str, ended: asyncio.Event) -> None:
        tries.append(server)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionRefusedError from None

    monkeypatch.setattr(Line, "_connect", connect)
    line = Line(Access(("nats://127.0.0.1:1",)), "test")
    line.open()
    await until(lambda: bool(tries))
    await line.close()
    assert line._task is not None
    assert line._task.cancelled()
