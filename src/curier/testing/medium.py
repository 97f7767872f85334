"""Virtual time, and what bytes on their way need of it: the bottom of a simulated network."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random

BEGINNING = 1_700_000_000.0  # virtual time at first; any would do
Delay = float | tuple[float, float]  # seconds, or the least and the most of them


class Actor:
    """Somebody who does something by himself when its time comes."""

    def next_deadline(self) -> float:
        """When ``deadline_reached`` is due; infinity: never."""
        raise NotImplementedError

    def deadline_reached(self) -> None:
        """Do what is due."""
        raise NotImplementedError


class Medium:
    """Virtual time and all that happens in it; for ``latency`` and ``splits`` see ``Network``."""

    def __init__(self, random: Random, latency: Delay, splits: bool) -> None:
        self.now = BEGINNING
        self.random = random
        self.latency = latency
        self.splits = splits
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0

    def actors(self) -> Sequence[Actor]:
        """Those who have deadlines."""
        return ()

    def call_later(self, delay: Delay, call: Callable[[], None]) -> float:
        """Have ``call`` called after ``delay``; when that will be."""
        return self.call_at(self.now + self.draw(delay), call)

    def call_at(self, when: float, call: Callable[[], None]) -> float:
        """Have ``call`` called at ``when``, behind everything that is to happen then already."""
        heapq.heappush(self._events, (max(when, self.now), self.next_number(), call))
        return when

    def next_number(self) -> int:
        """A number that grows with every call."""
        self._serial += 1
        return self._serial

    def draw(self, delay: Delay) -> float:
        """A number of seconds for ``delay``."""
        return self.random.uniform(*delay) if isinstance(delay, tuple) else delay

    def run(self, seconds: float) -> None:
        """Let time pass, and do all that is due in it."""
        until = self.now + seconds
        while self._step(until):
            pass
        self.now = until

    def run_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time pass until ``condition`` holds. Raises ``TimeoutError`` if it does not in ``seconds``."""
        until = self.now + seconds
        while not condition():
            if not self._step(until):
                self.now = until
                raise TimeoutError(f"nothing happens any more, or not within {seconds:g} seconds")

    def settle(self) -> None:
        """Let time pass until no bytes, batches or answers are on their way; deadlines may be left."""
        while self._events:
            self._step(self._events[0][0])

    def _step(self, until: float) -> bool:
        """Do what is due next, if that is before ``until``; False where nothing is."""
        due: Callable[[], None] | None = None
        when = self._events[0][0] if self._events else float("inf")
        for actor in self.actors():
            deadline = max(actor.next_deadline(), self.now)
            if deadline < when:
                when = deadline
                due = actor.deadline_reached
        if when > until or when == float("inf"):
            return False
        self.now = max(self.now, when)
        if due is None:
            due = heapq.heappop(self._events)[2]
        due()
        return True
