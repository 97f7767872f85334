"""How the broker was: samples of each second of a quarter of an hour, and of each half minute of a day.

They are kept in memory, some 0.4 MB however many clients there are, and begin when the window opens.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

from curier.server import Broker

SECOND: Final = 1.0
SHORT: Final = (1, 900)  # seconds a sample, samples
LONG: Final = (30, 2880)


class Sample(NamedTuple):
    """One moment. What ends in ``_rate`` is a second's worth, over the time since the sample before."""

    time: float
    clients: float
    sessions: float
    received_rate: float
    sent_rate: float
    bytes_received_rate: float
    bytes_sent_rate: float
    dropped_rate: float
    connects_rate: float
    queued_bytes: float
    retained: float
    memory: float
    loop_lag: float


FIELDS: Final = Sample._fields


class _Counters(NamedTuple):
    time: float
    received: int
    sent: int
    bytes_received: int
    bytes_sent: int
    dropped: int
    connects: int


class _Ring:
    """The last samples, one every ``step`` seconds; of the largest lag in between."""

    def __init__(self, step: int, most: int) -> None:
        self.step = step
        self._most = most
        self._columns = [array("d") for _ in FIELDS]
        self._begin = 0
        self._before: _Counters | None = None
        self._lag = 0.0
        self._count = 0

    def tick(self, broker: Broker, lag: float) -> Sample | None:
        """A second has passed."""
        self._lag = max(self._lag, lag)
        self._count += 1
        if self._before is not None and self._count % self.step:
            return None
        before, now = self._before, _counters(broker)
        self._before = now
        if before is None:
            return None
        sample = _sample(broker, before, now, self._lag)
        self._lag = 0.0
        self._put(sample)
        return sample

    def _put(self, sample: Sample) -> None:
        if len(self._columns[0]) < self._most:
            for column, value in zip(self._columns, sample, strict=True):
                column.append(value)
            return
        for column, value in zip(self._columns, sample, strict=True):
            column[self._begin] = value
        self._begin = (self._begin + 1) % self._most

    def columns(self, since: float) -> dict[str, list[float]]:
        """All samples after ``since``, oldest first, by field."""
        ordered = [column[self._begin :] + column[: self._begin] for column in self._columns]
        first = next((at for at, time in enumerate(ordered[0]) if time > since), len(ordered[0]))
        return {name: column[first:].tolist() for name, column in zip(FIELDS, ordered, strict=True)}


class History:
    """Takes a sample each second, and tells it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._short = _Ring(*SHORT)
        self._long = _Ring(*LONG)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.on_sample: Callable[[Sample], None] | None = None
        self.last: Sample | None = None

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + SECOND
        self._timer = loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self.tick(max(0.0, loop.time() - self._due))
        self._due = max(self._due + SECOND, loop.time())
        self._timer = loop.call_at(self._due, self._tick)

    def tick(self, lag: float) -> None:
        """A second has passed; the loop was late by ``lag`` seconds."""
        sample = self._short.tick(self._broker, lag)
        self._long.tick(self._broker, lag)
        if sample is not None:
            self.last = sample
            if self.on_sample is not None:
                self.on_sample(sample)

    def of(self, seconds: float) -> tuple[int, dict[str, list[float]]]:
        """The samples of so many last seconds, by field, and how many seconds lie between two."""
        ring = self._short if seconds <= SHORT[0] * SHORT[1] else self._long
        return ring.step, ring.columns(self._broker.turn.clock.now() - seconds)


def _counters(broker: Broker) -> _Counters:
    traffic, counted = broker.core.traffic, broker.core.statistics
    return _Counters(
        broker.turn.clock.now(),
        traffic.publishes_received,
        traffic.publishes_sent,
        traffic.bytes_received,
        traffic.bytes_sent,
        counted.dropped,
        counted.connects,
    )


def _sample(broker: Broker, before: _Counters, now: _Counters, lag: float) -> Sample:
    core = broker.core
    seconds = max(now.time - before.time, 1e-6)
    rates = [(after - old) / seconds for after, old in zip(now[1:], before[1:], strict=True)]
    counted = core.statistics
    return Sample._make(
        (
            *(now.time, counted.connected, len(core.sessions)),
            *rates,
            *(counted.queued_bytes, len(core.retained), core.host.memory(), lag),
        )
    )
