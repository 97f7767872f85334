"""What the API does to a broker that runs, as far as it is more than a call of its."""

from __future__ import annotations

import asyncio
from typing import Final

from curier.broker.model import BrokerConnection, ServerSession
from curier.codec.constants import ADMINISTRATIVE_ACTION
from curier.server import Broker
from curier.web.problems import Problem

KEPT_SECONDS: Final = 10.0
"""How long the disk may take."""

LOOK_SECONDS: Final = 0.002


def expel(broker: Broker, connection: BrokerConnection, reason: str, why: str) -> None:
    """Disconnect a client: it is told ``reason``, the log ``why``."""
    turn = broker.turn
    broker.core.expel(connection, ADMINISTRATIVE_ACTION, reason, why, turn.clock.now())
    turn.schedule()


def forget(broker: Broker, session: ServerSession, why: str) -> None:
    """End a session, and its connection."""
    turn = broker.turn
    broker.core.forget(session, ADMINISTRATIVE_ACTION, why, turn.clock.now())
    turn.schedule()


async def kept(broker: Broker) -> None:
    """Wait until everything that was changed up to now is on the disk, where that is kept at all.

    An answer is a promise, as an acknowledgement is. Raises ``Problem`` where the disk does not take it.
    """
    core = broker.core
    journal = core.journal
    if journal is None:
        return
    last = journal.newest()
    broker.turn.schedule()
    until = asyncio.get_running_loop().time() + KEPT_SECONDS
    while journal.number - (2 if core.is_committing else 1) < last:
        if core.store_trouble or asyncio.get_running_loop().time() > until:
            why = core.store_trouble or f"not within {KEPT_SECONDS:g} s"
            raise Problem(503, f"it is done, but not on the disk, so that a crash would undo it: {why}")
        await asyncio.sleep(LOOK_SECONDS)
