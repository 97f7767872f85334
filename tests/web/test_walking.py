"""Pages of long lists: together they are the whole list in its order, whatever it is sorted by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import pytest

from curier.web import walking
from curier.web.problems import Problem
from curier.web.walking import Order, page, pieces_of

Row = tuple[float, str]


def by_name(wanted: Callable[[Sequence[Row]], Sequence[Row]] | None = None) -> Order[Row]:
    return Order(lambda some: [row[1] for row in some], wanted=wanted)


def by_number() -> Order[Row]:
    return Order(by_name().names, lambda some: [row[0] for row in some])


async def all_pages(rows: list[Row], order: Callable[[], Order[Row]], limit: int) -> list[Row]:
    found: list[Row] = []
    cursor = ""
    while True:
        got = await page(asyncio.Semaphore(1), pieces_of(rows), order(), cursor, limit)
        assert got.found == len(rows)
        found += got.rows
        cursor = got.next
        if not cursor:
            return found


@pytest.mark.parametrize("count", [0, 1, 7, walking.ROWS, 2 * walking.ROWS + 1, 1000])
async def test_pages_together_are_the_list_in_its_order(count: int) -> None:
    dice = Random(count)
    rows = [(float(dice.randrange(5)), f"n{number}") for number in range(count)]
    for shuffled in (rows, rows[::-1], dice.sample(rows, count)):
        for limit in (1 if count < 10 else 90, 100, 5000):
            assert await all_pages(shuffled, by_number, limit) == sorted(rows)
            assert await all_pages(shuffled, by_name, limit) == sorted(rows, key=lambda row: row[1])


async def test_a_page_has_only_what_is_wanted() -> None:
    rows = [(0.0, f"{number:03}") for number in range(600)]

    def even(piece: Sequence[Row]) -> list[Row]:
        return [row for row in piece if int(row[1]) % 2 == 0]

    got = await page(asyncio.Semaphore(1), pieces_of(rows), by_name(even), "", 3)
    assert ([row[1] for row in got.rows], got.found) == (["000", "002", "004"], 300)


async def test_the_cursor_of_another_order_is_refused() -> None:
    rows = [(float(number), f"{number}") for number in range(5)]
    by_text: Order[Row] = Order(by_name().names, by_name().names)
    got = await page(asyncio.Semaphore(1), pieces_of(rows), by_text, "", 2)
    with pytest.raises(Problem, match="another order"):
        await page(asyncio.Semaphore(1), pieces_of(rows), by_number(), got.next, 2)


def test_pieces_are_the_list() -> None:
    for count in (0, 1, walking.ROWS, walking.ROWS + 1, 1000):
        rows = [*range(count)]
        assert sorted(row for piece in pieces_of(rows) for row in piece) == rows
