"""One question to somebody else, between the loop, which may give it up, and the thread that asks it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Final


class Cuttable(ABC):
    """A connection that somebody waits for."""

    @abstractmethod
    def cut(self) -> None:
        """From another thread: have whoever waits for it wait no more, with an error."""


class UnderWay:
    """It has until a point in time of ``clock``, and is over when it is given up."""

    def __init__(self, clock: Callable[[], float], until: float) -> None:
        self._clock: Final = clock
        self._until: Final = until
        self._lock: Final = threading.Lock()
        self._connection: Cuttable | None = None
        self._is_over = False

    def left(self) -> float:
        """Seconds; 0 where nobody waits any more."""
        return 0.0 if self._is_over else max(0.0, self._until - self._clock())

    def begin(self, connection: Cuttable) -> float:
        """It is asked over this connection, which is cut if the question is given up; ``left``."""
        with self._lock:
            left = self.left()
            if left:
                self._connection = connection
            return left

    def end(self) -> None:
        """The connection is for others again."""
        with self._lock:
            self._connection = None

    def give_up(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            self._is_over = True
            if self._connection is not None:
                with suppress(Exception):  # it may have ended just now
                    self._connection.cut()
