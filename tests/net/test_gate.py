"""Who waits at the listening sockets is let in no faster than it may be."""

from __future__ import annotations

import asyncio

import pytest

import curier
from curier.net.gate import LONGEST_WAIT, Gate
from tests.broker.harness import quiet
from tests.net.harness import Peer, options, running
from tests.waiting import until


def test_connections_are_accepted_at_their_rate() -> None:
    settings = quiet(max_connect_total_rate=20)
    gate = Gate(settings)
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


async def test_who_comes_too_fast_waits_and_is_let_in(use_reactor: bool) -> None:
    async with running(use_reactor, options=options(max_connect_total_rate=10)) as broker:
        peers = await asyncio.gather(*(Peer.connect(broker.port, f"c{number}") for number in range(15)))
        assert broker.core.statistics.connected == len(peers)


async def test_one_address_that_comes_too_fast_is_closed_on(
    use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = options(max_connect_rate=1)
    async with curier.Broker("tcp://127.0.0.1:0", options=settings, use_reactor=use_reactor) as broker:
        ends = [await asyncio.open_connection("127.0.0.1", broker.port) for _ in range(20)]
        await until(lambda: "more than 1 connections a second come from 127.0.0.1" in caplog.text)
        for _, writer in ends:
            writer.close()
