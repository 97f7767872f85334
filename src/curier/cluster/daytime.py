"""What time of day it is in a cluster: that of the node that is furthest ahead, told by leases.

Points in time stand in records and messages, and a node that takes them over judges by its own clock what has
expired. So a node that joins takes over the time of those that live, however its own clock was set; where
none lives, time goes on from the last lease at least. Later it follows slowly, and ahead alone: clocks that
drift, or stood while their machine was paused, come together, and no deadline of a client is met early by
more than a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from curier.cluster.records import Lease

SLACK: Final = 0.1  # seconds that leases take to come by, and more
NOT_SURE: Final = 30.0  # how old the last lease of a node may be that lives
MOST: Final = 0.5  # put ahead at once, with each renewal


def to_join(wall: float, last: float, others: Iterable[Lease]) -> float:
    """Seconds to put the clock ahead of a node that joins at ``wall``; below 0: back. ``last`` is the time
    of the life before.
    """
    leases = [one for one in others if one.wall]
    living = [one.wall for one in leases if not one.is_over]
    if not living:
        return max(0.0, max([one.wall for one in leases] + [last]) - wall)
    behind = max(living) - wall
    return 0.0 if -NOT_SURE <= behind <= 0.0 else behind


def to_follow(wall: float, others: Iterable[float]) -> float:
    """The same later; ``others`` is what time it is at those that live."""
    behind = max(others, default=wall) - wall
    return min(behind, MOST) if behind > SLACK else 0.0
