"""The route cache keeps so many bytes of routes, and tells of those that it lets go."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import pytest

from curier.topics.routes import FREED, TRIES, Remembered, RouteCache

WEIGHT = 100


class Path(Remembered):
    """A route."""

    def __init__(self, weight: int = WEIGHT) -> None:
        super().__init__(weight)
        self.is_fast = True


def name(number: int) -> bytes:
    return b"%d" % number


def fill(cache: RouteCache[Path], count: int, first: int = 0) -> list[Path]:
    """Remember routes of so many topics; those that are kept."""
    kept: list[Path] = []
    for number in range(first, first + count):
        path = Path()
        if cache.remember(name(number), path):
            kept.append(path)
    return kept


def check(cache: RouteCache[Path]) -> None:
    paths = list(cache.table.values())
    assert cache.bytes == sum(path.weight for path in paths)
    assert cache.bytes <= cache.limit or len(paths) == 1
    assert sorted(path.place for path in paths) == list(range(len(paths)))


def go_through(cache: RouteCache[Path], numbers: Iterable[int]) -> int:
    """Ask for the routes of these topics and remember those that are not there; how many were."""
    hits = 0
    for number in numbers:
        path = cache.table.get(name(number))
        if path is None:
            cache.remember(name(number), Path())
        else:
            path.is_used = True
            hits += 1
    return hits


@pytest.mark.parametrize("limit", [1, 10, 1000])
def test_a_full_cache_has_as_many_as_before(limit: int) -> None:
    cache: RouteCache[Path] = RouteCache(limit * WEIGHT)
    first = fill(cache, limit)
    assert len(first) == limit
    new = fill(cache, 40 * limit, limit)
    check(cache)
    assert len(cache.table) == limit
    assert cache.generation == 0
    assert 0 < len(new) < 40 * limit / (TRIES / 2)
    there = set(cache.table.values())
    for path in [*first, *new]:
        assert path.is_fast is (path in there)


def test_who_goes_through_more_topics_than_have_room_meets_those_that_are_kept() -> None:
    cache: RouteCache[Path] = RouteCache(300 * WEIGHT)
    go_through(cache, range(900))
    for _ in range(4):
        assert go_through(cache, range(900)) > 200
    check(cache)


def test_topics_in_use_outlive_a_flood_of_topics_that_are_used_once() -> None:
    cache: RouteCache[Path] = RouteCache(300 * WEIGHT)
    for _ in range(2):
        go_through(cache, range(100))
    for flood in range(10):
        go_through(cache, range(1000 + 1000 * flood, 2000 + 1000 * flood))
        assert go_through(cache, range(100)) > 95
    check(cache)


def test_topics_that_are_used_no_more_make_room_for_others() -> None:
    cache: RouteCache[Path] = RouteCache(100 * WEIGHT)
    for _ in range(3):
        go_through(cache, range(100))
    for _ in range(40):
        go_through(cache, range(100, 200))
    assert go_through(cache, range(100, 200)) > 95


def test_a_large_route_takes_the_room_of_many_or_is_alone() -> None:
    cache: RouteCache[Path] = RouteCache(100 * WEIGHT)
    fill(cache, 100)
    large = Path(50 * WEIGHT)
    assert any(cache.remember(b"large", large) for _ in range(20 * TRIES))
    check(cache)
    assert len(cache.table) == 51
    assert cache.remember(b"huge", Path(1000 * WEIGHT), must=True)
    check(cache)
    assert list(cache.table) == [b"huge"]
    assert not large.is_fast


def test_what_must_be_kept_is() -> None:
    cache: RouteCache[Path] = RouteCache(3 * WEIGHT)
    for path in fill(cache, 3):
        path.is_used = True
    for number in range(10, 30):
        assert cache.remember(name(number), Path(), must=True)
        assert name(number) in cache.table
    check(cache)


def test_forgetting_is_for_one_topic() -> None:
    cache: RouteCache[Path] = RouteCache(10 * WEIGHT)
    paths = fill(cache, 3)
    cache.forget(b"1")
    cache.forget(b"1")
    assert [path.is_fast for path in paths] == [True, False, True]
    assert list(cache.table) == [b"0", b"2"]
    check(cache)
    cache.forget(b"2")
    cache.forget(b"0")
    assert (cache.bytes, cache.table, cache.generation) == (0, {}, 0)


def test_all_are_forgotten_at_once_and_freed_bit_by_bit() -> None:
    cache: RouteCache[Path] = RouteCache(100 * WEIGHT)
    table = cache.table
    fill(cache, 20)
    alive = [weakref.ref(route) for route in table.values()]
    cache.invalidate()
    assert (cache.generation, table, cache.table is table, cache.bytes) == (1, {}, True, 0)
    left = [20]
    for number in range(5):
        fill(cache, 1, number)
        left.append(sum(one() is not None for one in alive))
    assert left == [20, 16, 12, 8, 4, 0]
    assert FREED == 4
    check(cache)
