"""Percentiles of any number of durations in constant memory."""

from __future__ import annotations


class Histogram:
    """Counts nanoseconds in buckets of their own up to 255, and no wider than 1/128 of the value above."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.sum = 0
        self.maximum = 0

    def add(self, value: int, count: int = 1) -> None:
        """Count ``value`` nanoseconds ``count`` times; what is negative counts as 0."""
        value = max(value, 0)
        shift = max(value.bit_length() - 8, 0)
        bucket = (shift << 7) + (value >> shift)
        self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += count
        self.sum += value * count
        self.maximum = max(self.maximum, value)

    def merge(self, other: Histogram) -> None:
        """Add all that another one has counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += other.count
        self.sum += other.sum
        self.maximum = max(self.maximum, other.maximum)

    def percentile(self, percent: float) -> int:
        """The nanoseconds that ``percent`` of all values do not exceed, at most 1/128 too high; 0 of none."""
        wanted = self.count * percent / 100
        below = 0
        for bucket in sorted(self.counts):
            below += self.counts[bucket]
            if below >= wanted:
                shift = max((bucket >> 7) - 1, 0)
                highest = ((bucket - (shift << 7) + 1) << shift) - 1
                return min(highest, self.maximum)
        return 0

    def mean(self) -> float:
        """The mean in nanoseconds; 0 of none."""
        return self.sum / self.count if self.count else 0.0
