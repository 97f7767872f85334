"""Who waits at the listening sockets is let in no faster than it may be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

import curier
from curier.broker.options import Options
from curier.listeners import Listener
from curier.net.gate import LONGEST_WAIT, Gate
from tests.broker.harness import quiet
from tests.net.harness import Peer, options, running
from tests.waiting import until


class Loop:
    """Time, and one timer, by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.callback: Callable[[], None] | None = None
        self.when = 0.0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Loop:
        self.when, self.callback = when, callback
        return self

    def cancel(self) -> None:
        self.callback = None

    def run(self, late: float) -> None:
        """The timer comes, so late."""
        assert self.callback is not None
        callback, self.callback = self.callback, None
        self.now = self.when + late
        callback()


def gate_of(settings: Options) -> tuple[Gate, Loop]:
    loop = Loop()
    return Gate(settings, cast(asyncio.AbstractEventLoop, loop)), loop


def test_connections_are_accepted_at_their_rate() -> None:
    settings = quiet(max_connect_total_rate=20)
    gate, _ = gate_of(settings)
    assert gate.wait(0.0) == 0
    gate.accepted(20)
    assert gate.wait(0.0) == 0.05
    assert gate.wait(0.05) == 0
    gate.accepted(8)  # that many may be in one go
    assert gate.wait(0.05) == LONGEST_WAIT
    assert gate.wait(0.45) == 0
    settings.max_connect_total_rate = 0
    gate.accepted(1000)
    assert gate.wait(0.45) == 0


def test_while_the_loop_lags_a_few_are_let_in(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    gate, loop = gate_of(quiet(max_lag=0.25))
    assert gate.wait(0.0) == 0
    loop.run(0.24)
    assert gate.wait(1.0) == 0
    loop.run(0.26)
    assert "the loop lags by 0.26 s" in caplog.text
    assert [gate.wait(10.0 + tenth / 10) for tenth in range(20)] == [0, *[LONGEST_WAIT] * 9] * 2
    loop.run(0.5)
    loop.run(0.2)  # less, but not half of it
    assert gate.wait(12.1) == 0
    assert gate.wait(12.2) == LONGEST_WAIT
    loop.run(0.1)
    assert gate.wait(12.2) == 0
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "lagged by up to 0.50 s" in caplog.text


def test_the_loop_has_peace_when_nobody_comes() -> None:
    gate, loop = gate_of(quiet(max_lag=0.25))
    gate.wait(0.0)
    gate.wait(0.0)
    loop.run(0.0)
    loop.run(0.0)
    assert loop.callback is None


@pytest.mark.parametrize("is_late", [False, True])
def test_looking_can_be_switched_off(is_late: bool) -> None:
    settings = quiet(max_lag=0.25)
    gate, loop = gate_of(settings)
    gate.wait(0.0)
    loop.run(1.0 if is_late else 0.0)
    gate.wait(5.0)
    settings.max_lag = 0.0
    if loop.callback is not None:
        loop.run(1.0)
    assert [gate.wait(5.0), gate.wait(5.0)] == [0, 0]
    assert loop.callback is None


async def test_who_comes_too_fast_waits_and_is_let_in(use_reactor: bool) -> None:
    async with running(use_reactor, options=options(max_connect_total_rate=10)) as broker:
        peers = await asyncio.gather(*(Peer.connect(broker.port, f"c{number}") for number in range(15)))
        assert broker.core.statistics.connected == len(peers)


async def test_more_than_a_listener_takes_in_a_second_are_closed_on(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    front = Listener("tcp://127.0.0.1:0", name="front", max_connect_rate=1)
    async with curier.Broker([front, "tcp://127.0.0.1:0"], use_reactor=use_reactor) as broker:
        ends = [await asyncio.open_connection("127.0.0.1", broker.port) for _ in range(20)]
        words = "at front is closed at once: more than 1 connections a second come in here (max_conn"
        await until(lambda: words in caplog.text)
        other = int(broker.urls[1].rpartition(":")[2])
        assert (await Peer.connect(other, "c")) is not None
        for _, writer in ends:
            writer.close()


async def test_one_address_that_comes_too_fast_is_closed_on(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = options(max_connect_rate=1)
    async with curier.Broker("tcp://127.0.0.1:0", options=settings, use_reactor=use_reactor) as broker:
        ends = [await asyncio.open_connection("127.0.0.1", broker.port) for _ in range(20)]
        await until(lambda: "more than 1 connections a second come from 127.0.0.1" in caplog.text)
        for _, writer in ends:
            writer.close()
