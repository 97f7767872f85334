"""A line on stderr that says how far long work is, where a person watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self, TextIO, TypeVar

Item = TypeVar("Item")

FIRST_SECONDS: Final = 1.0
"""Work that is shorter says nothing."""

EVERY_SECONDS: Final = 0.2
WIDTH: Final = 24


class Progress:
    """Counts messages, of ``total`` if that is known, and shows it; a context manager, which wipes its line.

    ``share`` is what part of the work is done, 0 to 1, where messages do not tell, as with lines of a file.
    """

    def __init__(
        self,
        total: int | None = None,
        share: Callable[[], float] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self.is_watched = self._stream.isatty()
        self._clock = clock
        self._total = total
        self._share = share
        self._begun = clock()
        self._next = self._begun + FIRST_SECONDS
        self._shown = 0
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")

    def advance(self) -> None:
        """One more message."""
        self.count += 1
        if self.is_watched and (now := self._clock()) >= self._next:
            self._next = now + EVERY_SECONDS
            self._show(now - self._begun)

    def over(self, items: Iterable[Item]) -> Iterable[Item]:
        """The same, each counted when it has been dealt with."""
        return self._counted(items) if self.is_watched else items

    def _counted(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            yield item
            self.advance()

    def _show(self, seconds: float) -> None:
        text = f"{self.count} messages, {self.count / seconds:.0f} a second"
        if self._total:
            text = f"{self.count} of {self._total} messages, {self.count / seconds:.0f} a second"
        share = self.count / self._total if self._total else self._share() if self._share else None
        if share is not None:
            filled = round(WIDTH * min(share, 1.0))
            text = f"[{'#' * filled}{' ' * (WIDTH - filled)}] {text}"
        self._write("\r" + text.ljust(self._shown))
        self._shown = len(text)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
