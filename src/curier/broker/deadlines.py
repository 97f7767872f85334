"""Everything that happens by itself at some time, behind one "next deadline".

A deadline is moved later for free: it fires at the old time, looks, and schedules itself again. So a packet
that postpones a Keep Alive writes one number and touches no heap.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import final


class Deadline:
    """Something to look at when its time has come."""

    def fire(self, now: float) -> float:
        """Look; returns when to look again, or 0 for never."""
        return 0.0


@final
class Deadlines:
    """A heap of deadlines; each ``Deadline`` object is in it at most once."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._serial: int = 0

    def add(self, deadline: Deadline, when: float) -> None:
        """Schedule ``deadline``, which must not be scheduled already."""
        self._serial += 1
        heappush(self._heap, (when, self._serial, deadline))

    def next(self) -> float:
        """When the first deadline is due; infinity where there is none."""
        return self._heap[0][0] if self._heap else float("inf")

    def run(self, now: float, limit: int) -> None:
        """Fire what is due, at most ``limit`` deadlines, so that no one waits long; the rest is still due."""
        while self._heap and limit > 0 and self._heap[0][0] <= now:
            deadline = heappop(self._heap)[2]
            again = deadline.fire(now)
            if again:
                self.add(deadline, again)
            limit -= 1
