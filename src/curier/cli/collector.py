"""The garbage collector of a process that is nothing but a broker."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 10_000  # objects more than before: time to look for garbage among them, for a few milliseconds


def look_at_everything_once() -> None:
    """Never stop the loop to look through all that is kept: sessions, routes, retained messages.

    What has been looked at once is not looked at again. The broker leaves no cycles behind (clients that come
    and go are freed without the collector; tests hold that), so what would be found there is next to nothing.
    asyncio's transports do leave some; the reactor does without them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    gc.callbacks.append(_keep_survivors)


def _keep_survivors(phase: str, info: dict[str, int]) -> None:
    if phase == "stop":
        gc.freeze()
