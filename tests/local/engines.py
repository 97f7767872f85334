"""The engine of workers in this process, and who asks it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from curier.local.bus import Bus
from curier.local.engine import Engine, Worker
from tests.jetstream.buses import PARTITIONS, Asker


class LocalAsker(Asker):
    """Hears what the engine of workers says, too."""

    def __init__(self) -> None:
        super().__init__()
        self.end = ""

    def ended(self, why: str) -> None:
        assert not self.end
        self.end = why


async def joined(engine: Engine, name: str) -> tuple[LocalAsker, Bus, Worker]:
    """A worker at the engine: who asks, by what, and what the engine knows of it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    worker = await engine.serve(ours, name)
    asker = LocalAsker()
    bus = Bus(name, asker)
    await bus.open(theirs)
    asker.bus = bus
    return asker, bus, worker


@asynccontextmanager
async def on_engine(engine: Engine | None = None, name: str = "a") -> AsyncIterator[LocalAsker]:
    """Who asks an engine, one of its own where none is given."""
    engine = engine or Engine(PARTITIONS)
    asker, bus, _ = await joined(engine, name)
    try:
        yield asker
    finally:
        await bus.close()
        engine.gone(name)
    assert not asker.errors
