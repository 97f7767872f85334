"""Traces by a Unix socket: what is chosen and sent, who cannot, and readers that are slow, rude or many."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from curier.net.tape import Tape
from curier.testing import Pair
from curier.trace import events as e
from curier.trace import serving
from curier.trace.choice import choice
from curier.trace.following import CannotFollow, follow
from curier.trace.lines import from_line
from curier.trace.mishaps import Mishap
from curier.trace.past import Past
from curier.trace.reading import Ring, Trace
from curier.trace.rewinding import Rewinding
from curier.trace.serving import Serving, chosen
from tests.waiting import until

NOW = 1_700_000_001.0


@asynccontextmanager
async def served(path: Path, pair: Pair, mishaps: Sequence[e.Happening] = ()) -> AsyncIterator[None]:
    """The traces of a broker in memory, at ``path``, which knows of these ``mishaps``."""

    def trace(most_events: int = 1000, most_bytes: int = 10**7, past: bool = False, **words: Any) -> Trace:
        recorder, wanted = pair.broker.recorder, choice(**words)
        known = [Mishap(one, one.topic.encode()) for one in mishaps]
        before = Past(Rewinding(Tape(), {}, NOW), known, recorder.next_number, NOW).events(wanted)
        return recorder.read(wanted, Ring(most_events, most_bytes), before if past else None)

    one = Serving(trace)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    await one.start(sock)
    try:
        yield
    finally:
        await one.stop()


async def readers(pair: Pair, count: int) -> None:
    """Wait until so many read, and have been told all there was."""
    witness: Any = pair.broker.recorder
    await until(
        lambda: len(witness._readings) == count and all(one.ring.on_event for one in witness._readings)
    )


async def test_who_follows_sees_what_it_chose_until_the_broker_stops(tmp_path: Path) -> None:
    pair = Pair()
    path = tmp_path / "s"
    async with served(path, pair):
        seen: list[e.Event] = []

        async def read() -> None:
            async for event in follow(path, client_id="a", payload=3):
                seen.append(event)

        reading = asyncio.create_task(read())
        await readers(pair, 1)
        own = pair.trace(client_id="a", payload=3)
        pair.connect("a").publish("t", b"0123456789", qos=1)
        pair.connect("b")
        pair.settle()
        expected = own.take()
        own.close()
        await until(lambda: len(seen) >= len(expected))
    await reading
    assert seen == expected
    await readers(pair, 0)


async def test_who_goes_is_forgotten(tmp_path: Path) -> None:
    pair = Pair()
    async with served(tmp_path / "s", pair):
        reading = asyncio.ensure_future(anext(follow(tmp_path / "s")))
        await readers(pair, 1)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await readers(pair, 0)
        assert pair.broker.core.hooks.witness is None


async def test_who_takes_nothing_misses_some_and_nobody_waits(tmp_path: Path) -> None:
    pair = Pair()
    a = pair.connect("a")
    async with served(tmp_path / "s", pair):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b'{"most_events": 50}\n')
        await readers(pair, 1)
        for _ in range(500):
            a.publish("t", bytes(20_000))
            pair.settle()
            await asyncio.sleep(0)
        assert await reader.readline() == b"{}\n"
        got = 0
        missed: e.Event | None = None
        while missed is None:
            event = from_line(await reader.readline())
            got += 1
            missed = event if isinstance(event, e.Missed) else None
        assert isinstance(missed, e.Missed)
        assert 0 < missed.count <= 1500
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "why"),
    [
        (b"hello\n", "one line, a JSON object"),
        (b"[" * 60_000 + b"\n", "one line, a JSON object"),
        (b"\xff\n", "one line, a JSON object"),
        (b"[]\n", "a JSON object"),
        (b'{"password": "x"}\n', "nothing can be chosen by 'password'"),
        (b'{"client_id": 5}\n', "client_id is a text"),
        (b'{"client_id": [["a"]]}\n', "client_id is a text"),
        (b'{"topic": "a/#/b"}\n', "a/#/b"),
        (b'{"payload": true}\n', "payload is a whole number"),
        (b'{"past": 1}\n', "past is true or false"),
        (b'{"payload": -1}\n', "not -1"),
        (b'{"most_events": 0}\n', "room for an event"),
        (b"x" * 70_000, "longer|limit|exceed"),
    ],
    ids=lambda value: repr(value[:20]),
)
async def test_what_cannot_be_chosen_is_answered(tmp_path: Path, request_line: bytes, why: str) -> None:
    pair = Pair()
    async with served(tmp_path / "s", pair):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(request_line)
        line = await reader.readline()
        with pytest.raises(AssertionError, match=why):
            raise AssertionError(json.loads(line)["error"])
        writer.close()
        assert pair.broker.core.hooks.witness is None


def test_nobody_asks_for_more_than_there_is() -> None:
    asked = chosen(b'{"payload": 100000000, "most_bytes": 99999999999999, "topic": ["a"]}\n')
    assert asked == {"payload": serving.MOST_PAYLOAD, "most_bytes": 64 * 2**20, "topic": ["a"]}
    assert chosen(b"{}\n") == {"payload": serving.MOST_PAYLOAD}


async def test_only_so_many_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_READERS", 1)
    pair = Pair()
    async with served(tmp_path / "s", pair):
        first = asyncio.ensure_future(anext(follow(tmp_path / "s")))
        await readers(pair, 1)
        with pytest.raises(CannotFollow, match="as many as may"):
            await anext(follow(tmp_path / "s"))
        pair.connect("a")
        assert isinstance(await first, e.Opened)


async def test_where_nobody_serves_the_way_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotFollow, match="no broker serves traces there"):
        await anext(follow(tmp_path / "none"))
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "dead"))
    sock.close()
    with pytest.raises(CannotFollow, match="no broker serves traces there"):
        await anext(follow(tmp_path / "dead"))
    with pytest.raises(CannotFollow, match="no broker that serves traces"):
        await _follow_somebody_else(tmp_path / "other")


async def _follow_somebody_else(path: Path) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        writer.close()

    server = await asyncio.start_unix_server(greet, path)
    try:
        await anext(follow(path))
    finally:
        server.close()
