"""The broker's clock."""

from __future__ import annotations

from time import monotonic, time
from typing import final


@final
class Clock:
    """Seconds since the epoch on a clock that never jumps: the wall clock once, counted on monotonically.

    So points in time keep their meaning across restarts, and a corrected wall clock expires nobody.
    """

    def __init__(self) -> None:
        self.offset: float = time() - monotonic()  # from the system's monotonic clock to this one

    def now(self) -> float:
        return monotonic() + self.offset
