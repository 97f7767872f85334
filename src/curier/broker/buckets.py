"""Token buckets: how much may come in how much time."""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

ALMOST: Final = 1.0 - 1e-6  # of one, as far as sums of floating-point numbers can tell


@final
@mypyc_attr(acyclic=True)
class Bucket:
    """Lets ``rate`` a second pass in the long run, and what comes in one second at once; 0: all passes.

    More may be taken than there is; then it takes so much longer until there is some again.
    """

    __slots__ = ("at", "rate", "tokens")

    def __init__(self, rate: int, now: float) -> None:
        self.rate: float = float(rate)
        self.tokens: float = float(rate)
        self.at = now

    def missing(self, now: float) -> float:
        """Seconds until one may pass; 0: now."""
        if not self.rate:
            return 0.0
        self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
        self.at = now
        return 0.0 if self.tokens >= ALMOST else (1.0 - self.tokens) / self.rate

    def take(self, count: int) -> None:
        """So much has passed."""
        if self.rate:
            self.tokens -= count
