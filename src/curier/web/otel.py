"""What ``/metrics`` says, for OpenTelemetry: the same table, by whatever exporter a program has. It needs
``curier[otel]``, and no window.

    exporting = asyncio.create_task(export(broker, opentelemetry.metrics.get_meter("broker")))

Exporters ask in threads of their own. What they are told was read in the broker's loop a moment before, so
that neither waits for the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from curier.errors import ConfigError
from curier.server import Broker
from curier.web.metrics import METRICS, Metric, Sample

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
except ImportError:
    raise ConfigError("metrics need the package opentelemetry-api: pip install 'curier[otel]'") from None

EVERY: Final = 5.0
"""Seconds between two looks; exporters ask once a minute, unless they were told otherwise."""

_UNITS: Final = {"bytes": "By", "seconds": "s"}


async def export(broker: Broker, meter: Meter, every: float = EVERY) -> None:
    """Have ``meter`` tell what ``broker`` counts, as it was at most ``every`` seconds before. It runs until
    it is cancelled; nothing is told any more then. A meter takes one broker.
    """
    told = Told(broker, meter)
    try:
        while True:
            told.look()
            await asyncio.sleep(every)
    finally:
        told.forget()


class Told:
    """What a meter tells of a broker: how it was at the last ``look``."""

    def __init__(self, broker: Broker, meter: Meter) -> None:
        self._broker = broker
        self._now: dict[str, list[Sample]] = {}
        for metric in METRICS:
            make = (
                meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            )
            make(name_of(metric), [self._observed(metric)], unit_of(metric), metric.help)

    def _observed(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return partial(self._observe, metric.name)

    def _observe(self, name: str, options: CallbackOptions) -> Iterable[Observation]:
        """In a thread of an exporter."""
        return [Observation(value, dict(labels)) for labels, value in self._now.get(name, ())]

    def look(self) -> None:
        """Read all of them, in the broker's loop."""
        self._now = {metric.name: metric.samples(self._broker) or [] for metric in METRICS}

    def forget(self) -> None:
        """Tell nothing any more."""
        self._now = {}


def name_of(metric: Metric) -> str:
    """Without what exporters to Prometheus put behind a counter: there it has its old name again."""
    return metric.name.removesuffix("_total")


def unit_of(metric: Metric) -> str:
    """In the words of UCUM."""
    return _UNITS.get(name_of(metric).rpartition("_")[2], "1")
