"""The broker's clock."""

from __future__ import annotations

import time
from typing import Final, final

monotonic: Final = time.monotonic  # twice a turn: without a look into a module


@final
class Clock:
    """Seconds since the epoch on a clock that never jumps: the wall clock once, counted on monotonically.

    So points in time keep their meaning across restarts, and a corrected wall clock expires nobody.
    """

    def __init__(self) -> None:
        self.offset: float = time.time() - monotonic()  # from the system's monotonic clock to this one

    def now(self) -> float:
        return monotonic() + self.offset
