"""Pings of WebSocket, for proxies on the way that end what is silent.

Many a client does not answer them, and some cannot take them. So there are none unless a listener has a
``ping_interval``, and whether a client is still there is Keep Alive's matter, never a ping's.
"""

from __future__ import annotations

import asyncio
from typing import Final

from curier.net.passage import ping
from curier.net.turn import Turn
from curier.net.wire import Wire

AT_ONCE: Final = 100
PAUSE_SECONDS: Final = 0.01  # in which others have their turn


class Pings:
    """Those of all listeners, whose intervals these are, in seconds."""

    def __init__(self, turn: Turn, intervals: set[float]) -> None:
        self._rounds = [_Rounds(turn, seconds) for seconds in intervals if seconds]

    def stop(self) -> None:
        """No more of them."""
        for rounds in self._rounds:
            rounds.stop()


class _Rounds:
    """One to each client of the listeners that want them so often."""

    def __init__(self, turn: Turn, seconds: float) -> None:
        self._turn = turn
        self._seconds = seconds
        self._due: list[Wire] = []
        self._next_at = turn.loop.time() + seconds
        self._timer: asyncio.TimerHandle = turn.loop.call_at(self._next_at, self._begin)

    def stop(self) -> None:
        self._timer.cancel()

    def _begin(self) -> None:
        self._due = [
            wire
            for wire in self._turn.wires.values()
            if wire.layers is not None and wire.layers.ping_interval == self._seconds
        ]
        self._go_on()

    def _go_on(self) -> None:
        now = self._turn.clock.now()
        for wire in self._due[-AT_ONCE:]:
            ping(self._turn, wire, now)
        del self._due[-AT_ONCE:]
        loop = self._turn.loop
        if self._due:
            self._timer = loop.call_later(PAUSE_SECONDS, self._go_on)
        else:
            self._next_at = max(self._next_at + self._seconds, loop.time())
            self._timer = loop.call_at(self._next_at, self._begin)
