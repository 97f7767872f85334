"""Who may have how many questions open at a time, so that one address does not take all places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST_OF_ONE_PLACE: Final = 128


class ShareTaken(Exception):
    """As many are open for this place as may; the text says so."""


class Shares:
    """Counts what is open, by place; a place of which nothing is open is not remembered."""

    def __init__(self, most: int = MOST_OF_ONE_PLACE) -> None:
        self._most: Final = most
        self._open: Final[Counter[str]] = Counter()

    @contextmanager
    def one_of(self, place: str) -> Iterator[None]:
        """One more for ``place``. Raises ``ShareTaken``."""
        if self._open[place] >= self._most:
            raise ShareTaken(f"{self._open[place]} logins from {place} wait for an answer already")
        self._open[place] += 1
        try:
            yield
        finally:
            self._open[place] -= 1
            if not self._open[place]:
                del self._open[place]
