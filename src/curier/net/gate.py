"""When those who wait at the listening sockets are let in: not faster than they may come.

Nobody is refused here. Who has to wait does so in the system's backlog, and may give up.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.buckets import Bucket
from curier.broker.options import Options

LONGEST_WAIT: Final = 0.1  # seconds, after which it is asked again


@final
class Gate:
    """One for all listening sockets of a broker. ``options`` may change."""

    def __init__(self, options: Options) -> None:
        self._options: Final = options
        self._bucket = Bucket(0, 0.0)

    def wait(self, now: float) -> float:
        """Seconds for which nobody is to be accepted; 0: somebody may be now."""
        rate = self._options.max_connect_total_rate
        if rate != self._bucket.rate:
            self._bucket = Bucket(rate, now)
        return min(self._bucket.missing(now), LONGEST_WAIT)

    def accepted(self, count: int) -> None:
        """So many were."""
        self._bucket.take(count)
