"""Token buckets: how much may come in how much time."""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

MOST_PLACES: Final = 65_536
FORGOTTEN_SECONDS: Final = 1.0  # after which a bucket is full, of which no more was taken than there was

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

    def take(self, count: float) -> None:
        """So much has passed."""
        if self.rate:
            self.tokens -= count

    def full_in(self, now: float) -> float:
        """Seconds until it is full, if no more is taken."""
        self.missing(now)
        return (self.rate - self.tokens) / self.rate if self.rate else 0.0

    def promise(self, count: float) -> float:
        """So much is to pass, later than all that was promised before: in so many seconds."""
        self.tokens -= count
        return max(0.0, -self.tokens / self.rate)


@final
class Buckets:
    """Buckets of one second, by place. Of which nobody has asked for a while, as it is full, is forgotten;
    where too many are in use, further places have none.
    """

    def __init__(self) -> None:
        self._recent: dict[str, Bucket] = {}  # asked for since ``_since``
        self._older: dict[str, Bucket] = {}  # in the second before
        self._since: float = 0.0

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def at(self, place: str, rate: int, now: float) -> Bucket | None:
        """The bucket of ``place``; None: it has none."""
        age = now - self._since
        if age >= FORGOTTEN_SECONDS:
            self._older = self._recent if age < 2 * FORGOTTEN_SECONDS else {}
            self._recent = {}
            self._since = now
        bucket = self._recent.get(place)
        if bucket is not None and bucket.rate == rate:
            return bucket
        bucket = self._older.pop(place, None)
        if bucket is None or bucket.rate != rate:
            bucket = Bucket(rate, now)
        if len(self._recent) >= MOST_PLACES:
            return None
        self._recent[place] = bucket
        return bucket

    def lets_pass(self, place: str, rate: int, now: float) -> bool:
        """May one more come from ``place``? Then it counts. All may where there is no rate, or no place."""
        bucket = self.at(place, rate, now) if place and rate else None
        if bucket is None:
            return True
        if bucket.missing(now):
            return False
        bucket.take(1)
        return True
