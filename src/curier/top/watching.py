"""Asks one broker again and again: how it is now, how it was, and since when it cannot be asked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from curier.errors import MqttError
from curier.rereading import in_thread
from curier.web.client import ApiError
from curier.web.forms import Nothing, Overview
from curier.web.local import Local
from curier.web.table import OVERVIEW, Answered, Asked, Operation

MOST_PAST: Final = 600  # rates that are kept: of ten minutes
_UNKNOWN_TOKEN: Final = 401


class Asks(Protocol):
    """What ``web.client.Api`` does."""

    def ask(self, operation: Operation[Asked, Answered], asked: Asked) -> Answered:
        """Ask for one thing. Raises ``ApiError``."""

    def close(self) -> None:
        """Ask nothing more."""


class Rates(NamedTuple):
    """A second's worth of what a broker counts."""

    received: float
    sent: float
    bytes_received: float
    bytes_sent: float
    dropped: float
    connects: float


class Away(NamedTuple):
    """The broker cannot be asked, since then, and why."""

    since: float
    why: str


class Back(NamedTuple):
    """It can be asked again, since then; it was away for so many seconds, and perhaps begun anew."""

    since: float
    away: float
    is_new: bool


class Watch:
    """``find`` says where the broker is and who asks, anew whenever it could not be asked: with another start
    it has another token. ``make`` asks there. ``clock`` is that of the one who reads.
    """

    def __init__(
        self,
        find: Callable[[], Local],
        make: Callable[[Local], Asks],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._find = find
        self._make = make
        self._clock = clock
        self._api: Asks | None = None
        self.url = ""
        self.now: Overview | None = None
        self.past: deque[Rates] = deque(maxlen=MOST_PAST)
        self.away: Away | None = None
        self.back: Back | None = None

    async def look(self) -> None:
        """Ask how it is."""
        try:
            now = await self.ask(OVERVIEW, Nothing())
        except ApiError as error:
            if self.away is None:
                self.away = Away(self._clock(), str(error))
            return
        before, self.now = self.now, now
        is_new = before is not None and before.started_at != now.started_at
        if self.away is not None:
            self.back = Back(self._clock(), self._clock() - self.away.since, is_new)
            self.away = None
        if before is not None and not is_new and now.time > before.time:
            self.past.append(_rates(before, now))

    async def ask(self, operation: Operation[Asked, Answered], asked: Asked) -> Answered:
        """Ask for one thing, in a thread. Raises ``ApiError``."""
        return await in_thread("ask", lambda: self._ask(operation, asked))

    def _ask(self, operation: Operation[Asked, Answered], asked: Asked) -> Answered:
        try:
            if self._api is None:
                local = self._find()
                self.url = local.url
                self._api = self._make(local)
            return self._api.ask(operation, asked)
        except ApiError as error:
            if error.status in (0, _UNKNOWN_TOKEN):
                self.close()
            raise
        except MqttError as error:  # there is none on this machine now
            raise ApiError(0, str(error)) from error

    def close(self) -> None:
        """Ask nothing more of where it was."""
        if self._api is not None:
            self._api.close()
            self._api = None


def _rates(before: Overview, now: Overview) -> Rates:
    seconds = now.time - before.time
    return Rates(
        (now.total_publishes_received - before.total_publishes_received) / seconds,
        (now.total_publishes_sent - before.total_publishes_sent) / seconds,
        (now.total_bytes_received - before.total_bytes_received) / seconds,
        (now.total_bytes_sent - before.total_bytes_sent) / seconds,
        (now.total_dropped - before.total_dropped) / seconds,
        (now.total_connects - before.total_connects) / seconds,
    )
