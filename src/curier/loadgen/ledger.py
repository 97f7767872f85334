"""Which numbers of one stream have come: what is missing, what came twice, what came late."""

from __future__ import annotations

from typing import Final

from curier.loadgen.result import Checks

MOST_REMEMBERED: Final = 1_000_000
"""Missing numbers that are remembered, in case they only come late; beyond them they are lost."""


class Ledger:
    """The numbers of one stream, as one subscriber gets them, or as all of a group get them together.

    A group (``is_group``) may get them in any order; each of its members has a ``Member`` to watch that.
    """

    def __init__(self, first: int = 0, is_group: bool = False) -> None:
        self.first = first
        self.next = first
        self.is_group = is_group
        self.missing: set[int] = set()
        self.checks = Checks()

    def take(self, number: int) -> int:
        """Note a message; returns how many more of those sent are accounted for, with a gap as lost."""
        skipped = number - self.next
        checks = self.checks
        if skipped == 0:
            self.next = number + 1
        elif skipped > 0:
            self.missing.update(range(self.next, min(number, self.next + MOST_REMEMBERED)))
            self.next = number + 1
        elif number in self.missing:
            self.missing.discard(number)
            if not self.is_group:
                checks.received += 1
                checks.reordered += 1
                return 0  # it was accounted for when the gap was seen
        else:
            checks.doubled += 1
            return 0
        checks.received += 1
        return 1 if self.is_group else 1 + max(skipped, 0)

    def take_run(self, count: int) -> None:
        """Note the next ``count`` messages."""
        self.next += count
        self.checks.received += count

    def close(self, sent: int | None) -> None:
        """Count what never came; ``sent`` is how many there were from 0 on, None: nobody knows."""
        end = self.next if sent is None else sent
        self.checks.lost = max(end - self.first - self.checks.received, 0)
