"""Everything that happens by itself at some time, behind one "next deadline".

A deadline is moved later for free: it fires at the old time, looks, and schedules itself again. So a packet
that postpones a Keep Alive writes one number and touches no heap. One that is cancelled stays in the heap
until its time comes or until its like are the majority, so that clients who come and go leave little behind.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final, final

FEW: Final = 1000  # cancelled deadlines that are not worth a sweep


class Deadline:
    """Something to look at when its time has come, at ``when``."""

    def __init__(self) -> None:
        self.when: float = 0.0
        self.is_cancelled: bool = False

    def fire(self, now: float) -> float:
        """Look; returns when to look again, or 0 for never."""
        return 0.0


@final
class Deadlines:
    """A heap of deadlines; each ``Deadline`` object is in it at most once."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._serial: int = 0
        self._cancelled: int = 0  # of those in the heap

    def __len__(self) -> int:
        """How many are scheduled."""
        return len(self._heap) - self._cancelled

    def add(self, deadline: Deadline, when: float) -> None:
        """Schedule ``deadline``, which must not be scheduled already."""
        deadline.when = when
        self._serial += 1
        heappush(self._heap, (when, self._serial, deadline))

    def cancel(self, deadline: Deadline) -> None:
        """Never fire ``deadline``, which must be scheduled."""
        deadline.is_cancelled = True
        self._cancelled += 1
        if self._cancelled > FEW and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].is_cancelled]
            heapify(self._heap)
            self._cancelled = 0

    def next(self) -> float:
        """When the first deadline is due; infinity where there is none."""
        return self._heap[0][0] if self._heap else float("inf")

    def run(self, now: float, limit: int) -> None:
        """Fire what is due, at most ``limit`` deadlines, so that no one waits long; the rest is still due."""
        while self._heap and limit > 0 and self._heap[0][0] <= now:
            deadline = heappop(self._heap)[2]
            limit -= 1
            if deadline.is_cancelled:
                self._cancelled -= 1
                continue
            again = deadline.fire(now)
            if again:
                self.add(deadline, again)
