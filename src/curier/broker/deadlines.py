"""Everything that happens by itself at some time, behind one "next deadline".

A deadline is moved later for free: it fires at the old time, looks, and schedules itself again. So a packet
that postpones a Keep Alive writes one number and touches no heap. One that is cancelled or moved earlier
leaves an entry in the heap until its time comes or until such entries are the majority, so that clients who
come and go leave little behind. Then the rest moves to a new heap, a few with each that is cancelled, since
there may be hundreds of thousands.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, final

from mypy_extensions import mypyc_attr

FEW: Final = 1000  # void entries that are not worth a sweep
SWEPT_AT_ONCE: Final = 8  # entries that a sweep looks at


@mypyc_attr(allow_interpreted_subclasses=True)
class Deadline:
    """Something to look at when its time has come."""

    def __init__(self) -> None:
        self.when: float = 0.0
        self.entry: int = 0  # the one entry in the heap that counts, by its serial number; 0: not scheduled

    def is_scheduled(self) -> bool:
        return self.entry != 0

    def fire(self, now: float) -> float:
        """Look; returns when to look again, or 0 for never."""
        return 0.0

    def failed(self, error: Exception, now: float) -> float:
        """``fire`` has raised: see to what depends on it. Returns when to look again, or 0 for never: what
        fails once is not to fail for ever.
        """
        return 0.0


@final
class Deadlines:
    """A heap of deadlines; each ``Deadline`` object is scheduled at most once."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._old: list[tuple[float, int, Deadline]] = []  # a heap that a sweep has yet to look at
        self._serial: int = 0
        self._void: int = 0  # entries of both that count no more
        self.failures: list[tuple[Deadline, Exception]] = []  # of ``run``, for whoever has called it

    def __len__(self) -> int:
        """How many are scheduled."""
        return len(self._heap) + len(self._old) - self._void

    def add(self, deadline: Deadline, when: float) -> None:
        """Schedule ``deadline``, which must not be scheduled already."""
        self._serial += 1
        deadline.when = when
        deadline.entry = self._serial
        heappush(self._heap, (when, self._serial, deadline))

    def cancel(self, deadline: Deadline) -> None:
        """Do not fire ``deadline``, which must be scheduled."""
        deadline.entry = 0
        self._void += 1
        if not self._old and self._void > FEW and self._void * 2 > len(self._heap):
            self._old = self._heap
            self._heap = []
        for _ in range(min(SWEPT_AT_ONCE, len(self._old))):
            entry = self._old.pop()  # a heap without its last entry is one, too
            if entry[2].entry == entry[1]:
                heappush(self._heap, entry)
            else:
                self._void -= 1

    def move(self, deadline: Deadline, when: float) -> None:
        """Schedule ``deadline``, which must be scheduled, for another time."""
        self.cancel(deadline)
        self.add(deadline, when)

    def next(self) -> float:
        """When the first deadline is due; infinity where there is none."""
        heap = self._first()
        return heap[0][0] if heap else float("inf")

    def _first(self) -> list[tuple[float, int, Deadline]]:
        """The heap with the first deadline; an empty one where there is none."""
        if self._old and (not self._heap or self._old[0] < self._heap[0]):
            return self._old
        return self._heap

    def run(self, now: float, limit: int) -> None:
        """Fire what is due, at most ``limit`` deadlines, so that no one waits long; the rest is still due.

        One that raises is put into ``failures`` and not scheduled again; the others are fired all the same.
        """
        while limit > 0:
            heap = self._first()
            if not heap or heap[0][0] > now:
                break
            _, serial, deadline = heappop(heap)
            limit -= 1
            if deadline.entry != serial:
                self._void -= 1
                continue
            deadline.entry = 0
            try:
                again = deadline.fire(now)
            except Exception as error:
                self.failures.append((deadline, error))
                continue
            if again:
                self.add(deadline, again)
