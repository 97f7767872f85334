"""Costly checks in a few threads of low priority, for who is still there, in the order of ``line``."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

from curier.auth.line import Full, Line, Place

NICENESS: Final = 10
"""A tenth of the share of the event loop where both want a core. At 19 a machine that is busy with something
else would let nobody in."""

MOST_THREADS: Final = 4
"""One Argon2id check with four lanes keeps four cores busy, and 64 MiB of memory."""

IDLE_SECONDS: Final = 10.0
"""After so long without work a thread ends; the next check starts another."""


class _Check:
    """What is to be done, and who waits for it in which event loop."""

    __slots__ = ("future", "loop", "run")

    def __init__(self, run: Callable[[], bool]) -> None:
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bool] = self.loop.create_future()

    def answer(self, answer: bool | Exception) -> None:
        """Wake who waits, from any thread."""
        with suppress(RuntimeError):  # its loop is closed
            self.loop.call_soon_threadsafe(self._answer, answer)

    def _answer(self, answer: bool | Exception) -> None:
        if self.future.done():  # cancelled
            return
        if isinstance(answer, Exception):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


_Waiting: TypeAlias = Place[_Check]


class Checks:
    """Runs checks, never more of them at once than half of the cores, and four. Safe to use from many threads
    and event loops.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._most_threads = max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))
        self._line: Line[_Check] = Line()
        self._something = threading.Condition()  # is in the line, which it guards
        self._threads = 0
        self._idle = 0

    async def run(self, address: str, user: str, check: Callable[[], bool]) -> bool:
        """Call ``check`` in a thread when it is the turn of ``user`` at ``address``. False is a failure of
        theirs, which they are remembered by.

        Raises ``Full`` where too many wait, at once or later; and what ``check`` raises. To cancel it is to
        leave the line.
        """
        place = Place(address, user, _Check(check))
        with self._something:
            leaving = self._line.join(place, self._clock())
            if leaving is not None:
                leaving.work.answer(Full("too many logins are waiting"))
            if self._idle:
                self._something.notify()
            elif self._threads < self._most_threads:
                self._threads += 1
                threading.Thread(target=self._work, name="curier-password", daemon=True).start()
        try:
            return await place.work.future
        except asyncio.CancelledError:
            with self._something:
                self._line.leave(place)
            raise

    def _work(self) -> None:
        """One thread: check after check, until nobody has come for a while."""
        lower_priority()
        while (place := self._next()) is not None:
            check = place.work
            try:
                right = check.run()
            except Exception as error:
                check.answer(error)
                continue
            if not right:
                with self._something:
                    self._line.failed(place.address, place.user, self._clock())
            check.answer(right)

    def _next(self) -> _Waiting | None:
        with self._something:
            while (place := self._line.take()) is None:
                self._idle += 1
                notified = self._something.wait(IDLE_SECONDS)
                self._idle -= 1
                if not notified and not self._line.length:
                    self._threads -= 1
                    return None
            return place


def lower_priority() -> None:
    """Let this thread, and those it starts, have what others leave: on Linux, which knows that of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
