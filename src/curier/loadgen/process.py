"""What another process of this machine uses, from /proc; elsewhere nothing is known."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """CPU time over a span, memory at its end and how much that has grown."""

    cpu_seconds: float
    rss_bytes: int
    rss_growth_bytes: int


class Meter:
    """Watches a process and its descendants. It is unknown where there is no /proc or no such process."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        self._cpu = 0.0
        self._rss: int | None = None
        self.start()

    @property
    def is_known(self) -> bool:
        """Whether the process can be watched."""
        return self._rss is not None

    def start(self) -> None:
        """Begin a span."""
        found = self._read()
        self._cpu, self._rss = found if found is not None else (0.0, None)

    def stop(self) -> Usage | None:
        """What was used since ``start``; None where that is unknown, or the process is gone."""
        found = self._read()
        if found is None or self._rss is None:
            return None
        return Usage(found[0] - self._cpu, found[1], found[1] - self._rss)

    def _read(self) -> tuple[float, int] | None:
        if self.pid is None:
            return None
        try:
            cpu, rss = _read(self.pid)
        except (OSError, ValueError, IndexError):
            return None
        for child in _descendants(self.pid):
            try:
                more_cpu, more_rss = _read(child)
            except (OSError, ValueError, IndexError):
                continue  # it has ended meanwhile
            cpu += more_cpu
            rss += more_rss
        return cpu, rss


def _read(pid: int) -> tuple[float, int]:
    """CPU seconds of all threads, and resident bytes."""
    rss = int((PROC / f"{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:  # nanoseconds, but only of the threads that are there
        threads = [int(path.read_text().split()[0]) for path in (PROC / f"{pid}/task").glob("*/schedstat")]
    except OSError:
        threads = []
    if any(threads):
        return sum(threads) / 1e9, rss
    fields = (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), rss


def _descendants(pid: int) -> list[int]:
    """Children, their children and so on."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for path in (PROC / f"{waiting.pop()}/task").glob("*/children"):
            try:
                children = [int(word) for word in path.read_text().split()]
            except OSError:
                continue
            found += children
            waiting += children
    return found
