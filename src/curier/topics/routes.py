"""The route cache: from the bytes of a Topic Name to who receives it, without looking at a single filter.

Hot file, small as it is: every PUBLISH passes through ``table``. Anything that could change an answer (a
subscription, its end, a permission, a hook) bumps ``generation`` and drops the whole cache; there is no
per-entry bookkeeping to get wrong. The cache is bounded, because strangers choose Topic Names.
"""

from __future__ import annotations

from typing import Generic, TypeVar

R = TypeVar("R")


class RouteCache(Generic[R]):
    """Routes by Topic Name (UTF-8). ``table`` may be read directly; it is cleared, never replaced."""

    def __init__(self, limit: int) -> None:
        self.table: dict[bytes, R] = {}
        self.limit: int = limit
        self.generation: int = 0

    def remember(self, topic: bytes, route: R) -> None:
        """Keep ``route``; the oldest half is not worth the bookkeeping, so a full cache starts anew."""
        if len(self.table) >= self.limit:
            self.table.clear()
        self.table[topic] = route

    def invalidate(self) -> None:
        """Forget every route: something that decides them has changed."""
        self.generation += 1
        if self.table:
            self.table.clear()
