"""The stream of events: what it begins with, what it tells, what it leaves out, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

import curier
from curier.server import Broker
from curier.session.message import ApplicationMessage
from curier.web import events, routes
from curier.web.events import Connect, Hub, Reader
from curier.web.server import Web
from curier.web.table import PREFIX
from tests.web.asking import ANYWHERE, window

EVENTS = f"{PREFIX}/events"


class Stream:
    """Server-sent events, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self, name: str = "") -> Any:
        """The data of the next event, or of the next of this name."""
        found = ""
        async with asyncio.timeout(60):
            async for line in self._lines:
                key, _, value = line.partition(": ")
                if key == "event":
                    found = value
                elif key == "data" and (not name or found == name):
                    return json.loads(value)
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def reading(topics: str) -> AsyncIterator[tuple[Broker, Web, Stream]]:
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    async with broker, window(broker) as (web, client):
        await client.get(web.login_link())
        async with client.stream("GET", EVENTS, params={"topics": topics}, timeout=60) as response:
            yield broker, web, Stream(response)


async def test_it_begins_at_once_with_how_the_broker_is_and_is_not_buffered() -> None:
    async with reading("connects") as (_, _, stream):
        headers = stream.response.headers
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["x-accel-buffering"] == "no"
        assert headers["cache-control"] == "no-cache, no-transform"
        assert "content-encoding" not in headers
        assert (await stream.next("hello"))["clients"] == 0


async def test_who_comes_and_goes_is_told() -> None:
    async with reading("connects") as (broker, _, stream):
        await stream.next("hello")
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="c1"):
            came = await stream.next("connects")
        went = await stream.next("connects")
    assert (came["what"], came["client_id"]) == ("connected", "c1")
    assert came["address"].startswith("127.0.0.1:")
    assert (went["what"], went["client_id"]) == ("disconnected", "c1")


async def test_each_second_the_overview_is_told() -> None:
    async with reading("overview") as (_, web, stream):
        await stream.next("hello")
        web.scene.history.tick(0.0)
        web.scene.history.tick(0.0)
        assert (await stream.next("overview"))["version"].startswith("curier ")


async def test_drops_are_summed_up_by_client_topic_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_KINDS", 2)
    async with reading("drops") as (_, web, stream):
        await stream.next("hello")
        hub = web.scene.hub
        for topic in (b"a", b"a", b"b", b"c", b"c", b"a"):
            hub.on_drop("c1", ApplicationMessage(topic, b"", 0, False), "its queue is full")
        hub.tick()
        told = await stream.next("drops")
    assert [(one["topic"], one["count"]) for one in told["drops"]] == [("a", 3), ("b", 1)]
    assert told["others"] == 2


async def test_lines_of_the_log_are_told_from_any_thread_while_somebody_reads_them() -> None:
    log = logging.getLogger("curier.test")
    async with reading("log") as (_, _, stream):
        await stream.next("hello")
        log.error("here")
        thread = threading.Thread(target=lambda: log.error("from a %s", "thread"))
        thread.start()
        thread.join()
        lines = [await stream.next("log"), await stream.next("log")]
        assert [(one["level"], one["text"]) for one in lines] == [
            ("error", "here"),
            ("error", "from a thread"),
        ]
    handlers = logging.getLogger("curier").handlers
    assert not [one for one in handlers if type(one).__module__ == "curier.web.events"]


def test_who_is_too_slow_misses_the_oldest_and_is_told_how_many() -> None:
    reader = Reader(frozenset(("connects",)))
    hub = Hub(lambda: 0.0)
    hub._readers.append(reader)
    for number in range(events.MOST_WAITING + 7):
        hub.tell("connects", Connect(0.0, "connected", f"c{number}", "", ""))
    taken = reader.take()
    assert taken.startswith(b'event: missed\ndata: {"count":7}\n\nevent: connects\n')
    assert b'"c6"' not in taken
    assert b'"c7"' in taken
    assert taken.count(b"\n\n") == events.MOST_WAITING + 1
    assert reader.take() == b""


async def test_while_nobody_reads_nothing_is_made() -> None:
    async with reading("overview") as (broker, web, stream):
        hub = web.scene.hub
        await stream.next("hello")
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="c1"):
            hub.on_drop("c1", ApplicationMessage(b"a", b"", 0, False), "why")
            assert not hub._drops
    assert not hub._readers
    assert not hub.wants("overview")


async def test_a_heartbeat_tells_that_the_stream_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.01)
    async with reading("drops") as (_, _, stream):
        await stream.next("hello")
        async with asyncio.timeout(60):
            async for line in stream._lines:
                if line == ":":
                    break


async def test_streams_end_when_the_window_closes() -> None:
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    async with broker:
        web = Web(broker, ANYWHERE)
        await web.start()
        async with httpx.AsyncClient(base_url=web.urls[0], trust_env=False, timeout=100) as client:
            await client.get(web.login_link())
            async with client.stream("GET", EVENTS, params={"topics": "log"}, timeout=60) as response:
                stream = Stream(response)
                await stream.next("hello")
                stopping = asyncio.create_task(web.stop())
                assert await stream.next("bye") == {}
                await stopping
        assert not web.scene.hub._readers


@pytest.mark.parametrize("path", ["events?topics=overview", "flows"])
async def test_a_stream_ends_with_the_login(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "KNOWN_SECONDS", 0.0)
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    async with broker, window(broker) as (web, client):
        await client.get(web.login_link())
        async with client.stream("GET", f"{PREFIX}/{path}", timeout=60) as response:
            stream = Stream(response)
            await stream.next("hello")
            await client.post(f"{PREFIX}/session/end", headers={"x-curier": "1"})
            web.scene.history.tick(0.0)
            async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="c1"):
                assert await stream.next("bye") == {}


async def test_what_cannot_be_read_and_too_many_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    async with broker, window(broker) as (web, client):
        assert (await client.get(EVENTS)).status_code == 401
        await client.get(web.login_link())
        for topics in ("weather", "overview,weather", ","):
            assert (await client.get(EVENTS, params={"topics": topics})).status_code == 400
        monkeypatch.setattr(events, "MOST_READERS", 0)
        full = await client.get(EVENTS)
        assert (full.status_code, full.headers["retry-after"]) == (503, "10")
