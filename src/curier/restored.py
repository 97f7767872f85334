"""What the last life of a broker left, brought back from its store."""

from __future__ import annotations

import asyncio
import gc
from typing import Final

from curier.broker.restoring import Restorer
from curier.errors import StoreError
from curier.loglines import logger
from curier.net.turn import Turn
from curier.store.base import Store

log = logger("curier.server")

MANY_RECORDS: Final = 100_000
"""From so many on the garbage collector need not look at what they became."""


async def restore(store: Store, turn: Turn) -> None:
    """Bring back what the last life left, and be ready to keep what this one brings."""
    core = turn.core
    store.on_committed = turn.committed
    store.on_trouble = core.store_failed
    restorer = Restorer(core)
    began = told = turn.clock.now()
    gc.disable()  # a million new objects that all stay: looking for garbage among them is in vain
    try:
        for records in store.load():
            try:
                restorer.replay(records)
            except StoreError as error:
                raise StoreError(
                    f"{store.where}: what is stored does not fit together: {error}; "
                    "restore a backup in its place, or move it away to begin with nothing"
                ) from None
            if turn.clock.now() - told >= 1.0:
                told = turn.clock.now()
                log.info("loading what was stored: %d records so far", restorer.count)
            await asyncio.sleep(0)
        restorer.finish(turn.clock.now())
        if restorer.count > MANY_RECORDS:
            gc.freeze()  # nor later
    finally:
        gc.enable()
    if restorer.count:
        seconds = turn.clock.now() - began
        sessions, retained = len(core.sessions), len(core.retained)
        log.info("restored %d sessions and %d retained messages in %.1f s", sessions, retained, seconds)
    await store.open()
