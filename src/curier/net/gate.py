"""When those who wait at the listening sockets are let in: not faster than they may come, and hardly anybody
while the loop lags, who would make it worse for those who are there.

Nobody is refused here. Who has to wait does so in the system's backlog, and may give up.
"""

from __future__ import annotations

import asyncio
from typing import Final, final

from curier.broker.buckets import Bucket
from curier.broker.options import Options
from curier.loglines import logger

log = logger("curier.net")

LONGEST_WAIT: Final = 0.1  # seconds, after which it is asked again
LOOK_SECONDS: Final = 0.1  # how often it is looked whether the loop lags, while clients come or wait
FEW_SECONDS: Final = 1.0  # a few are let in so often all the same: it may never catch up


@final
class Gate:
    """One for all listening sockets of a broker. ``options`` may change."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self._options: Final = options
        self._loop: Final = loop
        self._bucket = Bucket(0, 0.0)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when that was to be called
        self._is_asked = False  # has somebody come since?
        self._lags_since = 0.0  # 0: it does not
        self._most_lag = 0.0
        self._few_at = 0.0  # when some were let in although it does

    def wait(self, now: float) -> float:
        """Seconds for which nobody is to be accepted; 0: somebody may be now."""
        rate = self._options.max_connect_total_rate
        if rate != self._bucket.rate:
            self._bucket = Bucket(rate, now)
        self._is_asked = True
        if self._timer is None and self._options.max_lag:
            self._look_later()
        if self._lags_since:
            if now - self._few_at < FEW_SECONDS:
                return LONGEST_WAIT
            self._few_at = now
        return min(self._bucket.missing(now), LONGEST_WAIT)

    def accepted(self, count: int) -> None:
        """So many were."""
        self._bucket.take(count)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._is_asked = False
        self._due = self._loop.time() + LOOK_SECONDS
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        """How late is this called?"""
        now = self._loop.time()
        lag = now - self._due
        most = self._options.max_lag
        if most and lag > most:
            if not self._lags_since:
                self._lags_since = self._due
                self._most_lag = 0.0
                log.warning("the loop lags by %.2f s: new connections wait until it has caught up", lag)
            self._most_lag = max(self._most_lag, lag)
        elif self._lags_since and (lag <= most / 2 or not most):
            log.info(
                "the loop has caught up after %.1f s, in which it lagged by up to %.2f s",
                now - self._lags_since,
                self._most_lag,
            )
            self._lags_since = 0.0
        self._timer = None
        if self._lags_since or (self._is_asked and most):
            self._look_later()
