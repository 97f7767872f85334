"""The route cache: from the bytes of a Topic Name to who receives it, without looking at a single filter.

Hot file, small as it is: every PUBLISH passes through ``table``. What changes answers in a way that cannot be
told in advance (a subscription with a wildcard, a permission) bumps ``generation`` and drops the whole cache;
there is no per-entry bookkeeping to get wrong. A subscription without a wildcard changes the answer for one
Topic Name only, so that one is dropped. The cache is bounded, because strangers choose Topic Names.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final, Generic, TypeVar

R = TypeVar("R")

NONE: Final[list[Any]] = []  # never filled


EVICTED: Final = 256  # of the oldest routes, together, where the cache is full
FREED: Final = 4  # routes for each new one: to free all at once would take a pause


class RouteCache(Generic[R]):
    """Routes by Topic Name (UTF-8). ``table`` may be read directly; it is cleared, never replaced.

    Whoever copies routes elsewhere drops the copies when ``generation`` changes, and marks those that
    ``remember`` and ``forget`` return.
    """

    def __init__(self, limit: int) -> None:
        self.table: dict[bytes, R] = {}
        self.limit: int = limit
        self.generation: int = 0
        self._invalid: list[R] = []  # to be freed bit by bit

    def remember(self, topic: bytes, route: R) -> list[R]:
        """Keep ``route``; the routes that had to go, for the caller to mark: most often none."""
        if self._invalid:
            del self._invalid[-FREED:]
        evicted: list[R] = NONE
        if len(self.table) >= self.limit:
            evicted = self.evict()
        self.table[topic] = route
        return evicted

    def evict(self) -> list[R]:
        """Forget some of the oldest routes and return them, for the caller to mark."""
        return [self.table.pop(oldest) for oldest in list(islice(self.table, EVICTED))]

    def forget(self, topic: bytes) -> R | None:
        """Forget the route of one Topic Name and return it, for the caller to mark."""
        if topic not in self.table:
            return None
        return self.table.pop(topic)

    def invalidate(self) -> None:
        """Forget every route: something that decides them has changed."""
        self.generation += 1
        if self.table:
            self._invalid += self.table.values()
            self.table.clear()
