"""Pages of long lists: walked over in pieces, so that nobody waits for them.

A page has the rows that come first behind a cursor, in an order without ties; the cursor is the place of its
last row in that order. So pages fit together whatever comes and goes meanwhile, and nothing is kept between
them. A walk over a hundred thousand rows takes some 0.1 s of the loop's time, in pieces of 2 ms.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from curier.web.problems import Problem

PIECE_SECONDS: Final = 0.002
LOOK_EVERY: Final = 64  # rows, at the clock

SHARE_OF_OTHERS: Final = 3
"""Behind each piece, so many times as long as others took for theirs they go on undisturbed: where there is
much to do, pages come later, and clients do not."""

LONGEST_PAUSE: Final = 0.02  # seconds

MOST_WALKS: Final = 1
"""At a time; others wait for their turn."""

Row = TypeVar("Row")
Place = tuple[float | str, str]
"""Where a row stands: the smaller ones first."""


class Page(NamedTuple, Generic[Row]):
    """Some rows; ``found`` is how many there are on all pages, ``next`` the cursor of the page behind."""

    rows: list[Row]
    found: int
    next: str


async def page(
    walks: asyncio.Semaphore,
    rows: Iterable[Row],
    place: Callable[[Row], Place | None],
    cursor: str,
    limit: int,
) -> Page[Row]:
    """The first ``limit`` of ``rows`` behind ``cursor``; ``place`` says where each stands, None: it is none
    of those that are looked for. It takes its turn at ``walks``. ``rows`` must stand whatever happens
    meanwhile, as a copy of a list does.

    Raises ``Problem`` for a cursor that none of these pages has had.
    """
    after = read_cursor(cursor)
    async with walks:
        best: list[tuple[Place, int, Row]] = []
        piece: list[tuple[Place, int, Row]] = []
        found = number = 0
        until = time.perf_counter() + PIECE_SECONDS
        for row in rows:
            number += 1
            where = place(row)
            if where is not None:
                found += 1
                if after is None or where > after:
                    piece.append((where, number, row))
            if number % LOOK_EVERY == 0 and time.perf_counter() >= until:
                best = heapq.nsmallest(limit + 1, [*best, *piece])
                piece.clear()
                await _let_others()
                until = time.perf_counter() + PIECE_SECONDS
        best = heapq.nsmallest(limit + 1, [*best, *piece])
    shown = best[:limit]
    return Page([row for _, _, row in shown], found, _cursor(shown[-1][0]) if len(best) > limit else "")


async def in_pieces(rows: Iterable[Row]) -> AsyncIterator[Row]:
    """Each of some rows whose making takes time: others have their turn in between."""
    until = time.perf_counter() + PIECE_SECONDS
    for row in rows:
        yield row
        if time.perf_counter() >= until:
            await _let_others()
            until = time.perf_counter() + PIECE_SECONDS


async def _let_others() -> None:
    """Let the loop do what else there is to do, and more of it where that is much."""
    began = time.perf_counter()
    await asyncio.sleep(0)
    took = time.perf_counter() - began
    if took > PIECE_SECONDS / 4:
        await asyncio.sleep(min(SHARE_OF_OTHERS * took, LONGEST_PAUSE))


def _cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_cursor(cursor: str) -> Place | None:
    """The place that a cursor means; None for the beginning."""
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(text, type=tuple[float | str, str])
    except (ValueError, msgspec.DecodeError):
        raise Problem(400, "cursor: take one that an answer had as its next") from None
