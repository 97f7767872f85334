"""Retained messages that were deleted, for a while: so that it can be undone.

Bounded in messages, bytes and time; the oldest deletion goes first. It ends with the broker.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from curier.session.message import ApplicationMessage

SECONDS: Final = 600.0
MOST_MESSAGES: Final = 10_000
MOST_BYTES: Final = 16 << 20
EACH: Final = 200  # bytes that a message needs besides


class _Deletion(NamedTuple):
    until: float
    messages: Sequence[ApplicationMessage]
    bytes: int


class Bin:
    """Deletions that can be undone, by a secret for each."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deletions: OrderedDict[str, _Deletion] = OrderedDict()
        self._messages = 0
        self._bytes = 0

    def keep(self, messages: Sequence[ApplicationMessage]) -> str:
        """Remember what was deleted together; "": that is nothing, or too much."""
        size = sum(one.size() + EACH for one in messages)
        if not messages or len(messages) > MOST_MESSAGES or size > MOST_BYTES:
            return ""
        undo = secrets.token_urlsafe(16)
        self._deletions[undo] = _Deletion(self._clock() + SECONDS, messages, size)
        self._messages += len(messages)
        self._bytes += size
        while self._messages > MOST_MESSAGES or self._bytes > MOST_BYTES:
            self._drop(next(iter(self._deletions)))
        return undo

    def take(self, undo: str) -> Sequence[ApplicationMessage]:
        """What was deleted, once; nothing where it is not known any more."""
        self.tick()
        return self._drop(undo) if undo in self._deletions else ()

    def tick(self) -> None:
        """Forget what is too old."""
        now = self._clock()
        while self._deletions and next(iter(self._deletions.values())).until <= now:
            self._drop(next(iter(self._deletions)))

    def _drop(self, undo: str) -> Sequence[ApplicationMessage]:
        deletion = self._deletions.pop(undo)
        self._messages -= len(deletion.messages)
        self._bytes -= deletion.bytes
        return deletion.messages
