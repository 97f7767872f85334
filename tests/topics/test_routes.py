"""The route cache keeps so many routes, and tells of those that it lets go."""

from __future__ import annotations

import weakref

import pytest

from curier.topics.routes import EVICTED, FREED, RouteCache


class Path:
    """A route."""


def fill(cache: RouteCache[Path], count: int, first: int = 0) -> list[Path]:
    evicted: list[Path] = []
    for number in range(first, first + count):
        evicted += cache.remember(b"%d" % number, Path())
    return evicted


@pytest.mark.parametrize("limit", [1, 10, EVICTED, 1000])
def test_a_full_cache_lets_the_oldest_go(limit: int) -> None:
    cache: RouteCache[Path] = RouteCache(limit)
    assert fill(cache, limit) == []
    oldest = list(cache.table.values())[:EVICTED]
    assert cache.remember(b"new", Path()) == oldest
    assert len(cache.table) == max(limit - EVICTED, 0) + 1
    assert b"new" in cache.table
    fill(cache, 3 * limit, limit)
    assert len(cache.table) <= limit
    assert cache.generation == 0


def test_forgetting_is_for_one_topic() -> None:
    cache: RouteCache[Path] = RouteCache(10)
    fill(cache, 3)
    route = cache.table[b"1"]
    assert cache.forget(b"1") is route
    assert cache.forget(b"1") is None
    assert list(cache.table) == [b"0", b"2"]
    assert cache.generation == 0


def test_all_are_forgotten_at_once_and_freed_bit_by_bit() -> None:
    cache: RouteCache[Path] = RouteCache(100)
    table = cache.table
    fill(cache, 20)
    alive = [weakref.ref(route) for route in table.values()]
    cache.invalidate()
    assert (cache.generation, table, cache.table is table) == (1, {}, True)
    left = [20]
    for number in range(5):
        fill(cache, 1, number)
        left.append(sum(one() is not None for one in alive))
    assert left == [20, 16, 12, 8, 4, 0]
    assert FREED == 4
