"""Pages of long lists: walked over in pieces, so that nobody waits for them.

A page has the rows that come first behind a cursor, in an order without ties; the cursor is the place of its
last row in that order. So pages fit together whatever comes and goes meanwhile, and nothing is kept between
them. A walk over a hundred thousand clients takes some 30 ms of the loop's time, in pieces of 2 ms
(``bench/lists.py``), most of which it takes to look at as many objects once.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from curier.broker.picking import Place
from curier.web.problems import Problem

PIECE_SECONDS: Final = 0.002
SHARE_OF_OTHERS: Final = 3
"""Behind each piece, so many times as long as others took for theirs they go on undisturbed: where there is
much to do, pages come later, and clients do not."""

LONGEST_PAUSE: Final = 0.02  # seconds

MOST_WALKS: Final = 1
"""At a time; others wait for their turn."""

ROWS: Final = 256
"""In a piece: what is done with one is done by loops without names, and the clock is looked at behind it."""

Row = TypeVar("Row")
Some = TypeVar("Some", contravariant=True)
"""A piece: some rows."""


class Page(NamedTuple, Generic[Row]):
    """Some rows; ``found`` is how many there are on all pages, ``next`` the cursor of the page behind."""

    rows: list[Row]
    found: int
    next: str


class Picker(Protocol[Some, Row]):
    """Whoever knows the order of rows, and which of them are wanted."""

    found: int
    """How many of those it was shown are."""

    def pick(self, some: Some, after: Place | None, before: Place | None) -> list[tuple[Place, Row]]:
        """Those of a piece that stand between two places, with theirs; ``None``: at the beginning, the end.
        Raises ``TypeError`` for the place of another order.
        """
        raise NotImplementedError


class Order(Generic[Row]):
    """By ``keys``, all numbers or all text, and where these are the same by ``names``: of a piece, in its
    order, since a call for each row would cost more than all else. No two rows have both the same. ``wanted``
    are those of a piece that are listed. Of all clients and topics ``curier.broker.picking`` has faster ones.
    """

    def __init__(
        self,
        names: Callable[[Sequence[Row]], Sequence[str]],
        keys: Callable[[Sequence[Row]], Sequence[Any]] | None = None,
        wanted: Callable[[Sequence[Row]], Sequence[Row]] | None = None,
    ) -> None:
        self.names = names
        self.keys = keys
        self._wanted = wanted
        self.found = 0

    def pick(self, some: Sequence[Row], after: Place | None, before: Place | None) -> list[tuple[Place, Row]]:
        """Those between two places, in no order."""
        rows = some if self._wanted is None else self._wanted(some)
        self.found += len(rows)
        keys = self.keys(rows) if self.keys is not None else [""] * len(rows)
        places = zip(keys, self.names(rows), strict=True)
        return [
            (place, row)
            for place, row in zip(places, rows, strict=True)
            if (before is None or place < before) and (after is None or place > after)
        ]


async def page(
    walks: asyncio.Semaphore, pieces: Iterable[Some], picker: Picker[Some, Row], cursor: str, limit: int
) -> Page[Row]:
    """The first ``limit`` rows behind ``cursor``. It takes its turn at ``walks``. ``pieces`` must stand
    whatever happens meanwhile, as those of a copy of a list do.

    Raises ``Problem`` for a cursor that none of these pages has had.
    """
    after = read_cursor(cursor)
    async with walks:
        best: list[tuple[Place, int, Row]] = []  # and some more, until it is worth to sort them
        before: Place | None = None
        number = 0
        until = time.perf_counter() + PIECE_SECONDS
        for piece in pieces:
            try:
                between = picker.pick(piece, after, before)
            except TypeError:  # of a number and a text
                raise Problem(400, "cursor: this one is of another order") from None
            if between:
                best += [(place, number + index, row) for index, (place, row) in enumerate(between)]
                number += len(between)
                if len(best) > 2 * limit + ROWS:
                    best = sorted(best)[: limit + 1]
                    before = best[limit][0]
            if time.perf_counter() >= until:
                await _let_others()
                until = time.perf_counter() + PIECE_SECONDS
    best.sort()
    shown = best[:limit]
    next_cursor = _cursor(shown[-1][0]) if len(best) > limit else ""
    return Page([row for _, _, row in shown], picker.found, next_cursor)


def pieces_of(rows: list[Row]) -> Iterator[list[Row]]:
    """A list in pieces, the last one first: of one that has its order already, up or down, it is known then
    what is too far behind.
    """
    last = max(0, len(rows) - ROWS)
    yield rows[last:]
    for begin in range(0, last, ROWS):
        yield rows[begin : min(begin + ROWS, last)]


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
