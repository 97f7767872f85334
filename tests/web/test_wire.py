"""What goes by on the wire, as a page is told it: flows drawn on the server, and packets taken apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import curier
from curier.server import Broker
from curier.trace.events import Missed
from curier.trace.reading import Ring, Trace
from curier.web import forms, table, wire
from curier.web.scene import Scene
from curier.web.wire import Looking, Wire
from tests.web.asking import people, window


async def flows(stream: AsyncIterator[bytes], most: int) -> list[dict[str, object]]:
    """The next events of a stream, comments left out."""
    found: list[dict[str, object]] = []
    async for piece in stream:
        for block in piece.decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "data" in lines:
                found.append({"event": lines["event"], **json.loads(lines["data"])})
        if len(found) >= most:
            break
    return found


async def test_a_publication_is_drawn_and_no_password_is_told() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        watched = Wire(Scene(broker))
        stream = watched.stream(watched.read("", ""))
        assert await flows(stream, 1) == [{"event": "hello"}]
        async with curier.connect(
            f"mqtt://127.0.0.1:{broker.port}", client_id="c", username="ana", password="no one's"
        ) as client:
            await client.publish("a/b", "21.5", qos=1)
            told: list[dict[str, object]] = []
            while not any(one.get("kind") == "publication" and one["finished"] for one in told):
                told += await flows(stream, 1)
        drawn = next(one for one in told if one.get("kind") == "publication" and one["finished"])
        rows = drawn["rows"]
        assert isinstance(rows, list)
        labels = [str(row.get("label", "")) for row in rows]
        assert labels[0].startswith("PUBLISH q1 ")
        assert any(one.startswith("PUBACK") for one in labels)
        assert (rows[0]["version"], rows[0]["to_server"]) == (5, True)
        assert b"no one's".hex() not in json.dumps(told)
        watched.close()
        assert {one["event"] for one in await flows(stream, 1000)} <= {"flow", "bye"}
        assert broker.core.hooks.witness is None  # nobody looks any more


async def test_what_is_too_much_is_left_out_and_counted() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        watched = Wire(Scene(broker))
        stream = watched.stream(watched.read("", "a/#"))
        await flows(stream, 1)
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}") as client:
            for number in range(wire.MOST_EVENTS):
                await client.publish(f"a/{number}", "x")
            await client.publish("a/last", "x", qos=1)
        told = await flows(stream, 1)
        counts = {str(one["event"]): one["count"] for one in told if "count" in one}
        assert counts["missed"]
        assert counts["passed"]
        assert len([one for one in told if one["event"] == "flow"]) == wire.MOST_DRAWN
        await stream.aclose()
        assert broker.core.hooks.witness is None


async def test_where_all_there_is_is_too_much_a_moment_of_it_is_shown_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        watched = Wire(Scene(broker))
        sleep, dark_for = asyncio.sleep, list[float]()
        monkeypatch.setattr(wire, "REST_SECONDS", 1000.0)

        def is_seen() -> bool:
            return broker.core.hooks.witness is not None

        async def dark(seconds: float) -> None:
            if seconds == 1000:
                assert not is_seen()  # the broker has its fast lane meanwhile
                broker.core.traffic.packets_received += 12_345
                dark_for.append(seconds)
            await sleep(0)

        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}") as client:

            async def goes_by(messages: int) -> None:
                for number in range(messages):
                    await client.publish(f"a/{number}", "x", qos=1)

            with watched.read_all() as looking:
                monkeypatch.setattr(asyncio, "sleep", dark)
                await goes_by(wire.MOST_EVENTS)
                await looking.rest()
                assert not is_seen()  # nor is anything looked at while that is drawn
                assert isinstance(looking.take()[0], Missed)
                assert dark_for == []
                await looking.rest()
                assert dark_for == [1000.0]
                (missed,) = looking.take()
                assert isinstance(missed, Missed)
                assert missed.count == 12_345
                assert is_seen()  # it was not too much in that moment
                await goes_by(1)
                await looking.rest()
                assert looking.take()
                assert dark_for == [1000.0]
            monkeypatch.undo()
        assert not is_seen()


class Filling(Trace):
    """A trace into which so many events come each time somebody looks."""

    def __init__(self, each: int) -> None:
        super().__init__(Ring(), lambda: None)
        self.each, self.there = each, 0

    def ready(self) -> int:
        self.there += self.each
        return self.there


async def test_a_moment_ends_as_soon_as_there_is_more_than_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "REST_SECONDS", 0.0)
    monkeypatch.setattr(wire, "MOMENT_SECONDS", 0.0)
    monkeypatch.setattr(wire, "PAUSE_SECONDS", 1e-9)
    made: list[Filling] = []

    def make() -> Trace:
        made.append(Filling(wire.ENOUGH if made else wire.MOST_EVENTS))
        return made[-1]

    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        looking = Looking(broker, make)
        await looking.rest()  # it is too much
        await looking.rest()
    assert [one.there for one in made] == [2 * wire.MOST_EVENTS, 2 * wire.ENOUGH]


async def test_it_refuses_what_cannot_be_and_too_many(tmp_path: Path) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (web, client):
        assert (await client.get("/api/v1/flows")).status_code == 401
        await client.get(web.login_link(), follow_redirects=False)
        answer = await client.get("/api/v1/flows", params={"topic": "a/#/b"})
        assert answer.status_code == 400
        assert "a/#/b" in answer.json()["detail"]


async def test_a_packet_is_taken_apart(tmp_path: Path) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, people(broker, tmp_path) as who:
        told = await who["viewer"].ask(table.PACKET, forms.Packet("32070001610001007878", 5))
        assert (told.name, told.size, told.fault) == ("PUBLISH", 10, told.fault)
        assert told.fields[0].start == 0
        assert told.fields[-1].end == 10
        broken = await who["viewer"].ask(table.PACKET, forms.Packet("3600", 5))
        assert broken.rule == "MQTT-3.3.1-4"
        assert "no bytes" in await who["viewer"].refused(table.PACKET, forms.Packet("xy"), 400)
