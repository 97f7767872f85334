"""The route cache: from the bytes of a Topic Name to who receives it, without looking at a single filter.

Hot file, small as it is: every PUBLISH passes through ``table``. What changes answers in a way that cannot be
told in advance (a subscription with a wildcard, a permission) bumps ``generation`` and drops the whole cache;
there is no per-entry bookkeeping to get wrong. A subscription without a wildcard changes the answer for one
Topic Name only, so that one is dropped.

The cache is bounded in bytes, because strangers choose Topic Names. Where it is full, one new route in
``TRIES`` may have the place of another: of the next in turn, if that was not used since its last turn. So who
goes through more topics than there is room for, again and again, meets those that are kept each time around
(in the order of age it would meet none), and the topics in use outlive a flood of topics that are used once.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from mypy_extensions import i64, mypyc_attr

FREED: Final = 4  # routes for each new one: to free all at once would take a pause
TRIES: Final = 8  # new routes of which one may have the place of another; a power of two
MULTIPLIER: Final = 1_103_515_245  # of a generator that says which of them, so that no rhythm meets none


@mypyc_attr(allow_interpreted_subclasses=True)
class Remembered:
    """What the cache keeps. ``is_fast`` is for whoever has a copy: False once the cache has let it go."""

    __slots__ = ("is_fast", "is_used", "place", "weight")

    def __init__(self, weight: i64) -> None:
        self.weight: i64 = weight  # bytes that it takes
        self.place: i64 = -1  # in the cache's list; -1: not there
        self.is_used: bool = False  # since it was its turn to go; set by whoever finds it
        self.is_fast: bool = False


R = TypeVar("R", bound=Remembered)


class RouteCache(Generic[R]):
    """Routes by Topic Name (UTF-8), of at most ``limit`` bytes together, or one that is larger. ``table`` may
    be read directly; it is cleared, never replaced.

    Whoever copies routes elsewhere drops the copies when ``generation`` changes, and looks whether they are
    still ``is_fast``.
    """

    def __init__(self, limit: int) -> None:
        self.table: dict[bytes, R] = {}
        self.limit: i64 = limit
        self.bytes: i64 = 0  # of the routes in it
        self.generation: int = 0
        self._topics: list[bytes] = []  # by place
        self._turn: i64 = 0  # the place whose turn to go it is
        self._random: i64 = 1
        self._invalid: list[R] = []  # to be freed bit by bit

    def remember(self, topic: bytes, route: R, must: bool = False) -> bool:
        """Keep ``route``, if there is room or room is made for it; with ``must`` in any case. False: it is
        not kept.
        """
        if self._invalid:
            del self._invalid[-FREED:]
        weight = route.weight
        if self.bytes and self.bytes + weight > self.limit and not self._make_room(weight, must):
            return False
        route.place = len(self._topics)
        self._topics.append(topic)
        self.table[topic] = route
        self.bytes += weight
        return True

    def _make_room(self, weight: i64, must: bool) -> bool:
        """Let routes go until there is room for one of ``weight`` bytes. False: it is not its turn."""
        if not must:
            self._random = (self._random * MULTIPLIER + 12_345) & 0x7FFFFFFF
            if (self._random >> 16) & (TRIES - 1):
                return False
        while self._topics and self.bytes + weight > self.limit:
            if self._turn >= len(self._topics):
                self._turn = 0
            topic = self._topics[self._turn]
            oldest = self.table[topic]
            self._turn += 1  # also where it goes: the newest takes its place
            if oldest.is_used and not must:
                oldest.is_used = False
                return False
            self.forget(topic)
        return True

    def forget(self, topic: bytes) -> None:
        """Forget the route of one Topic Name."""
        route = self.table.pop(topic, None)
        if route is None:
            return
        self.bytes -= route.weight
        route.is_fast = False
        last = self._topics.pop()
        if route.place < len(self._topics):
            self._topics[route.place] = last
            self.table[last].place = route.place
        route.place = -1

    def invalidate(self) -> None:
        """Forget every route: something that decides them has changed."""
        self.generation += 1
        if self.table:
            self._invalid += self.table.values()
            self.table.clear()
            self._topics.clear()
            self.bytes = 0
