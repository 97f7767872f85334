"""A broker that is told to stop before it has started."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from curier.cli.serve import _start
from curier.config import Config
from curier.errors import ClusterError
from curier.server import Broker
from tests.waiting import until


class Slow:
    """As a node that waits for its cluster."""

    def __init__(self, error: Exception | None = None) -> None:
        self.began = self.was_called_off = False
        self.error = error

    async def start(self) -> None:
        self.began = True
        if self.error is not None:
            raise self.error
        try:
            await asyncio.Event().wait()
        finally:
            self.was_called_off = True


async def test_who_waits_to_start_stops_at_once() -> None:
    slow, told_to_stop = Slow(), asyncio.Event()
    starting = asyncio.ensure_future(_start(cast("Broker", slow), told_to_stop, Config()))
    await until(lambda: slow.began)
    told_to_stop.set()
    assert await starting is False
    assert slow.was_called_off


async def test_why_it_cannot_start_is_told() -> None:
    with pytest.raises(ClusterError, match="no cluster"):
        await _start(cast("Broker", Slow(ClusterError("no cluster"))), asyncio.Event(), Config())
