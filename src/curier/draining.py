"""A node of a cluster is emptied: its clients go elsewhere a few at a time, and then it leaves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from typing import Final

from curier.codec.constants import SERVER_MOVED, USE_ANOTHER_SERVER
from curier.loglines import logger
from curier.server import Broker

log = logger("curier.cluster")

SLICE_SECONDS: Final = 0.1
WHY: Final = "this node of the cluster is emptied: connect again"
TELL_SECONDS: Final = 5.0


async def drain(broker: Broker, reference: str, is_permanent: bool, per_second: int) -> None:
    """Take no client more, and give the sessions up, ``per_second`` of them: first those whose clients are
    connected. Then the broker stops.

    A client of 5.0 is told to go elsewhere: 0x9C, or 0x9D for good, with ``reference`` where it is not "".
    """
    broker.stop_listening()
    log.info("this node is emptied: its %d sessions go to other nodes", len(broker.core.sessions))
    loop = asyncio.get_running_loop()
    most, pause = paced(per_second)
    slices = _slices(broker, most)
    code = SERVER_MOVED if is_permanent else USE_ANOTHER_SERVER
    told, left = loop.time(), -1
    while left and broker.is_serving:  # or it was told to stop meanwhile
        names = next(slices, None)
        _send_away(broker, names or [], code, reference)
        left = broker.give_up_sessions(names)
        if left and loop.time() - told >= TELL_SECONDS:
            told = loop.time()
            log.info("%d sessions are left", left)
        await asyncio.sleep(pause if names is not None else SLICE_SECONDS)
    await broker.stop()


def paced(per_second: int) -> tuple[int, float]:
    """How many sessions at once, and the seconds between two such slices."""
    most = max(1, math.ceil(per_second * SLICE_SECONDS))
    return most, most / per_second


def _slices(broker: Broker, most: int) -> Iterator[list[str]]:
    """The Client Identifiers of its sessions, each once."""
    sessions = broker.core.sessions
    names = sorted(sessions, key=lambda name: sessions[name].connection is None)
    for at in range(0, len(names), most):
        yield names[at : at + most]


def _send_away(broker: Broker, names: Sequence[str], code: int, reference: str) -> None:
    core, turn = broker.core, broker.turn
    for name in names:
        session = core.sessions.get(name)
        connection = session.connection if session is not None else None
        if connection is not None:
            core.expel(connection, code, WHY, WHY, turn.clock.now(), reference or None)
    turn.schedule()
