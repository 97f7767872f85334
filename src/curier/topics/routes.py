"""The route cache: from the bytes of a Topic Name to who receives it, without looking at a single filter.

Hot file, small as it is: every PUBLISH passes through ``table``. What changes answers in a way that cannot be
told in advance (a subscription with a wildcard, a permission) bumps ``generation`` and drops the whole cache;
there is no per-entry bookkeeping to get wrong. A subscription without a wildcard changes the answer for one
Topic Name only, so that one is dropped. The cache is bounded, because strangers choose Topic Names.
"""

from __future__ import annotations

from typing import Generic, TypeVar

R = TypeVar("R")


class RouteCache(Generic[R]):
    """Routes by Topic Name (UTF-8). ``table`` may be read directly; it is cleared, never replaced.

    Whoever copies routes elsewhere drops the copies when ``generation`` changes, and asks a route itself
    whether it was ``forget``-ten.
    """

    def __init__(self, limit: int) -> None:
        self.table: dict[bytes, R] = {}
        self.limit: int = limit
        self.generation: int = 0

    def remember(self, topic: bytes, route: R) -> None:
        """Keep ``route``; the oldest half is not worth the bookkeeping, so a full cache starts anew."""
        if len(self.table) >= self.limit:
            self.invalidate()  # not only cleared: what is not in the table could not be forgotten singly
        self.table[topic] = route

    def forget(self, topic: bytes) -> R | None:
        """Forget the route of one Topic Name; the caller tells the route, which may have been copied."""
        if topic not in self.table:
            return None
        return self.table.pop(topic)

    def invalidate(self) -> None:
        """Forget every route: something that decides them has changed."""
        self.generation += 1
        if self.table:
            self.table.clear()
