"""The table of metrics, and the page that is made of it."""

from __future__ import annotations

import asyncio
import re
import subprocess

import pytest

import curier
from curier.server import Broker
from curier.web import metrics
from tests.conftest import require_peer
from tests.web.asking import window

BASE_UNITS = ("_seconds", "_bytes", "_total", "_info")
COUNTS = re.compile(r"curier_(connections|clients_connected|sessions|sessions_stored|subscriptions|bans|"
                    r"retained_messages|store_failing|listener_clients_connected|"
                    r"bridge_connected|bridge_waiting_messages|cluster_[a-z_]+)")  # fmt: skip


def test_names_keep_to_the_conventions() -> None:
    names = [one.name for one in metrics.METRICS]
    assert len(set(names)) == len(names)
    for one in metrics.METRICS:
        assert re.fullmatch(r"(curier|process)_[a-z_]+", one.name)
        assert (one.kind == "counter") == one.name.endswith("_total"), one.name
        assert one.name.endswith(BASE_UNITS) or COUNTS.fullmatch(one.name), one.name
        assert one.help.endswith(".")
        assert not re.search(r"milli|_ms|_kb|_rate|_per_", one.name)


def test_labels_are_escaped() -> None:
    assert metrics.written_labels({"listener": 'a"b\\c\nd'}) == r'{listener="a\"b\\c\nd"}'
    assert metrics.written_labels({}) == ""
    assert metrics.written_labels({"a": "1", "b": "2"}) == '{a="1",b="2"}'


def value(page: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", page, re.MULTILINE)
    assert found, page
    return float(found[1])


async def test_what_happens_is_counted() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker, window(broker) as (_, client):
        before = value((await client.get("/metrics")).text, "curier_retained_messages")
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="c1") as device:
            await device.publish("a/b", "hello", qos=1, retain=True)
            page = (await client.get("/metrics")).text
            assert value(page, "curier_clients_connected") == 1
        answer = await client.get("/metrics")
    page = answer.text
    assert answer.headers["content-type"] == metrics.CONTENT_TYPE
    assert value(page, "curier_publishes_received_total") == 1
    assert value(page, "curier_payload_received_bytes_total") == 5
    assert value(page, "curier_retained_messages") == before + 1
    assert value(page, 'curier_messages_dropped_total{reason="queue_full"}') == 0
    assert value(page, "curier_start_time_seconds") > 1.7e9
    assert value(page, 'curier_subscriptions{kind="shared"}') == 0


async def test_what_clients_say_is_no_label() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        before = metrics.text(broker).count("\n")
        for number in range(20):
            async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id=f"device-{number}") as one:
                await one.publish(f"topic/{number}", "x", retain=True, qos=1)
        page = metrics.text(broker)
    assert page.count("\n") == before
    assert "device-" not in page
    assert "topic/" not in page


@pytest.mark.interop
async def test_promtool_finds_nothing_to_complain_of() -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        page = metrics.text(broker)
    command = [require_peer("promtool"), "check", "metrics"]
    done = await asyncio.to_thread(
        lambda: subprocess.run(command, input=page, capture_output=True, text=True)
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
