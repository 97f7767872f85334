"""Answers that may be used again for a while, by what was asked: of that a keyed digest is kept, no more."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

Answer = TypeVar("Answer")

MOST_SECONDS: Final = 24 * 3600.0


class Remembered(Generic[Answer]):
    """So many answers at most; those that were asked for longest ago go first."""

    def __init__(self, most: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._most: Final = most
        self._clock: Final = clock
        self._key = secrets.token_bytes(32)
        self._answers: OrderedDict[bytes, tuple[float, Answer]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, asked: bytes) -> Answer | None:
        """The answer to this, if it is still good."""
        digest = self._digest(asked)
        found = self._answers.get(digest)
        if found is None:
            return None
        until, answer = found
        if self._clock() >= until:
            del self._answers[digest]
            return None
        self._answers.move_to_end(digest)
        return answer

    def keep(self, asked: bytes, answer: Answer, seconds: float) -> None:
        """For so long, a day at most; not at all, if that is not more than 0."""
        if seconds > 0:
            self._answers[self._digest(asked)] = (self._clock() + min(seconds, MOST_SECONDS), answer)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._answers.clear()

    def _digest(self, asked: bytes) -> bytes:
        return hashlib.blake2b(asked, key=self._key, digest_size=16).digest()
