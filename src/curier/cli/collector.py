"""The garbage collector of a process that is nothing but a broker."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG: Final = 10_000  # objects more than before: time to look for garbage among them, for a few milliseconds


@contextmanager
def looking_once() -> Iterator[None]:
    """Never stop the loop to look through all that is kept: sessions, routes, retained messages.

    What has been looked at once is not looked at again. The broker leaves no cycles behind (clients that come
    and go are freed without the collector; tests hold that), so what would be found there is next to nothing.
    asyncio's transports do leave some; the reactor does without them.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    gc.callbacks.append(_keep_survivors)
    try:
        yield
    finally:
        gc.callbacks.remove(_keep_survivors)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _keep_survivors(phase: str, info: dict[str, int]) -> None:
    if phase == "stop":
        gc.freeze()
