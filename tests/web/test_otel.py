"""Metrics for OpenTelemetry: the same numbers as ``/metrics``, by an exporter in memory."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum

import curier
from curier.server import Broker
from curier.web import metrics
from curier.web.metrics import METRICS
from curier.web.otel import Told, export, name_of, unit_of
from tests.waiting import until


class Exporter:
    """One that asks when it is told to, and has what it was told."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self._provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = self._provider.get_meter("test")

    def values(self) -> dict[str, float]:
        """By the names and labels that ``/metrics`` has."""
        found = self.reader.get_metrics_data()
        if found is None:
            return {}
        told = [one for of in found.resource_metrics for scope in of.scope_metrics for one in scope.metrics]
        values: dict[str, float] = {}
        for one in told:
            assert isinstance(one.data, Sum | Gauge)
            name = f"{one.name}_total" if isinstance(one.data, Sum) else one.name
            for point in one.data.data_points:
                labels = {key: str(value) for key, value in (point.attributes or {}).items()}
                values[name + metrics.written_labels(labels)] = point.value
        return values

    def close(self) -> None:
        self._provider.shutdown()


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    made = Exporter()
    yield made
    made.close()


async def test_they_are_those_of_the_page(exporter: Exporter) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", client_id="c") as client:
            await client.publish("a/b", b"payload", qos=1, retain=True)
            told = Told(broker, exporter.meter)
            told.look()
            page = metrics.text(broker)
        found = exporter.values()
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    changing = re.compile("process_")
    there = {name: float(value) for name, _, value in lines if not changing.match(name)}
    ours = {name: value for name, value in found.items() if not changing.match(name)}
    assert ours == pytest.approx(there)
    assert found["curier_publishes_received_total"] == 1
    assert found["curier_payload_received_bytes_total"] == 7
    assert found.keys() == {name for name, _, _ in lines}


async def test_an_exporter_is_told_of_the_last_look_and_asks_the_broker_nothing(exporter: Exporter) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        told = Told(broker, exporter.meter)
        told.look()
        broker.core.statistics.refused += 7
        assert (await asyncio.to_thread(exporter.values))["curier_refusals_total"] == 0
        told.look()
        assert (await asyncio.to_thread(exporter.values))["curier_refusals_total"] == 7


async def test_it_looks_again_until_it_is_cancelled(exporter: Exporter) -> None:
    async with Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        exporting = asyncio.create_task(export(broker, exporter.meter, every=0.0))
        await until(lambda: bool(exporter.values()))
        broker.core.statistics.refused += 1
        await until(lambda: exporter.values()["curier_refusals_total"] == 1)
        exporting.cancel()
        await asyncio.gather(exporting, return_exceptions=True)
        assert exporter.values() == {}


def test_names_and_units_lead_back_to_those_of_the_page() -> None:
    named = {metric.name: (name_of(metric), unit_of(metric)) for metric in METRICS}
    assert named["curier_received_bytes_total"] == ("curier_received_bytes", "By")
    assert named["curier_start_time_seconds"] == ("curier_start_time_seconds", "s")
    assert named["curier_sessions"] == ("curier_sessions", "1")
    assert all((metric.kind == "counter") == metric.name.endswith("_total") for metric in METRICS)


def test_without_its_package_it_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['opentelemetry'] = None; import curier.web.otel"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert "metrics need the package opentelemetry-api: pip install 'curier[otel]'" in done.stderr
