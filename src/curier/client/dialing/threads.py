"""What blocks (the look-up of a name, the reading of certificates) in threads of our own.

asyncio's executor takes nothing any more as soon as the main thread has returned, though others may work on;
these threads do. They are few, and end when they have had nothing to do for a while.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

MOST_THREADS: Final = 8
IDLE_SECONDS: Final = 5.0


class Threads:
    """At most ``MOST_THREADS`` of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._count = 0
        self._idle = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Have ``job`` done; it raises nothing."""
        with self._changed:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
            elif self._count < MOST_THREADS:
                self._count += 1
                threading.Thread(target=self._work, name="curier names", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._idle += 1
                    is_called = self._changed.wait(IDLE_SECONDS)
                    self._idle -= 1
                    if not is_called and not self._jobs:
                        self._count -= 1
                        return
                job = self._jobs.popleft()
            job()


_threads = Threads()


def _forked() -> None:
    """The child of a fork has none of them, and perhaps the lock of one that was at work."""
    global _threads
    _threads = Threads()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


async def in_thread(function: Callable[[], T]) -> T:
    """What ``function`` returns or raises. Cancelling stops the waiting, not the function."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: list[T], error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result[0])

    def job() -> None:
        result: list[T] = []
        error: BaseException | None = None
        try:
            result.append(function())
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    _threads.submit(job)
    return await future
