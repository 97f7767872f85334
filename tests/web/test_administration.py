"""Operations on the broker itself, and how requests are read."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

import curier
from curier.auditing import Audit
from curier.server import Broker
from curier.web import forms, handling, table
from curier.web.history import Sample
from curier.web.routes import HANDLERS
from curier.web.scene import Scene
from curier.web.table import OPERATIONS, PREFIX
from curier.web.troubles import troubles
from tests.web.asking import people
from tests.web.test_clients import serving


async def test_the_overview_is_that_of_the_broker(tmp_path: Path) -> None:
    async with serving(tmp_path) as (broker, admin, url):
        async with curier.connect(url, client_id="c1") as client:
            await client.publish("a", b"12345", qos=1)
            found = await admin.ask(table.OVERVIEW, forms.Nothing())
            assert (found.clients, found.sessions, found.total_publishes_received) == (1, 1, 1)
            assert found.uptime == pytest.approx(found.time - found.started_at)
            assert found.troubles == []
            (listener,) = (await admin.ask(table.LISTENERS, forms.Nothing())).listeners
            assert (listener.connected, listener.real) == (1, broker.urls)


async def test_what_is_wrong_is_said_in_words_the_worst_first() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        broker.options.max_connections = 10
        broker.core.statistics.connected = 9
        assert [one.level for one in troubles(broker, None)] == ["warning"]
        broker.core.store_trouble = "No space left on device"
        sample = Sample(*[0.0] * len(Sample._fields))._replace(dropped_rate=3.0, loop_lag=1.0)
        found = troubles(broker, sample)
        assert [one.level for one in found] == ["error", "warning", "warning", "warning"]
        assert "No space left on device" in found[0].text
        assert "9 of 10 clients" in found[1].text
        broker.core.store_trouble = ""
        broker.core.statistics.connected = 0


async def test_a_day_of_samples_is_kept_and_no_more() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        scene = Scene(broker)
        began = broker.turn.clock.now()
        broker.turn.clock.offset -= 100_000.0
        for second in range(3000):
            broker.turn.clock.offset += 1.0
            broker.core.traffic.publishes_received += 5
            scene.history.tick(0.5 if second == 2000 else 0.0)
        step, columns = scene.history.of(900)
        assert step == 1
        assert 890 <= len(columns["time"]) <= 900
        assert columns["time"] == sorted(columns["time"])
        assert columns["received_rate"][-1] == pytest.approx(5.0, rel=0.1)
        step, columns = scene.history.of(86_400)
        assert step == 30
        assert 98 <= len(columns["time"]) <= 100
        assert max(columns["loop_lag"]) == 0.5
        assert columns["time"][-1] < began


async def test_each_change_is_in_the_audit_log_and_nothing_else(tmp_path: Path) -> None:
    lines: list[str] = []
    broker = Broker(listen=["tcp://127.0.0.1:0"], audit=Audit(lines.append))
    async with broker, people(broker, tmp_path) as by:
        await by["viewer"].ask(table.TOPICS, forms.TopicsQuery())
        await by["viewer"].refused(table.PUBLISH, forms.Publish("a"), 403)
        secret = forms.Publish("a/b", text="a secret payload", retain=True)
        await by["operator"].ask(table.PUBLISH, secret)
        await by["operator"].ask(table.UNRETAIN, forms.TopicForm("a/b"))
    acted = [line for line in map(json.loads, lines) if line["event"] == "action"]
    who = "operator (operator) at 127.0.0.1"
    assert [(one["who"], one["action"], one["topic"]) for one in acted] == [
        (who, "publish", "a/b"),
        (who, "retained.delete", "a/b"),
    ]
    assert "secret" not in "".join(lines)


def test_each_operation_that_changes_something_says_so() -> None:
    """In its source: whoever adds one has to think of it."""
    for one in OPERATIONS:
        source = inspect.getsource(HANDLERS[one.method, one.path])
        assert ("scene.audit(" in source) == one.changes, one.name


async def test_requests_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handling, "MOST_BODY", 1000)
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    async with broker, people(broker, tmp_path) as by:
        client, headers = by["admin"]._client, by["admin"]._headers

        async def why(method: str, path: str, status: int, **how: str | bytes) -> str:
            answer = await client.request(
                method,
                PREFIX + path,
                content=how.get("content"),
                headers={"content-type": "application/json", **headers},
            )
            assert answer.status_code == status, answer.text
            return str(answer.json()["detail"])

        assert "unknown field `colour`" in await why("GET", "/clients?colour=red", 400)
        assert "limit: it is there twice" in await why("GET", "/clients?limit=1&limit=2", 400)
        assert "`$.limit`" in await why("GET", "/clients?limit=many", 400)
        assert "missing required field `client_id`" in await why("GET", "/client", 400)
        assert "no JSON" in await why("POST", "/publish", 400, content=b"{")
        assert "no JSON" in await why("POST", "/publish", 400, content=b"\xff")
        assert "Expected `object`" in await why("POST", "/publish", 400, content=b"[" * 900 + b"]" * 90)
        assert "may have 1000 bytes" in await why("POST", "/publish", 413, content=b" " * 1001)
        assert "POST is not" in await why("POST", "/clients", 405)
