"""Costly checks in a few processes of low priority, for who is still there, in the order of ``line``.

Each process belongs to one side of the line: the first lane, or the others. Who is in the first lane is
checked while a flood is, too, and at a higher priority.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, TypeAlias

from curier.auth.hash_process import HashProcess
from curier.auth.line import Full, Line, Place

NICENESS: Final = (4, 10)
"""Steps down, for the first lane and the others: to two fifths and a tenth of the share of the event loop
where both want a core. At 19 a machine that is busy with something else would let nobody in."""

MOST_AT_ONCE: Final = 4
"""On each side: a check takes 19 MiB of memory, or 64 MiB, and the process has 15."""

IDLE_SECONDS: Final = 60.0
"""After so long without work a process ends; the next check starts another."""


class Hasher(Protocol):
    """Checks one password after another; ``HashProcess`` is one."""

    def fits(self, encoded: str, password: bytes) -> bool:
        """Whether this is the password. Blocks."""

    def close(self) -> None:
        """It is not needed for now."""


class _Check:
    """What is to be done, and who waits for it in which event loop."""

    __slots__ = ("future", "loop", "run")

    def __init__(self, run: Callable[[Hasher], bool]) -> None:
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


class _Side:
    """One side of the line, and the threads that wait for the processes that work on it."""

    def __init__(self, work: _Work, take: Callable[[], _Waiting | None], niceness: int) -> None:
        self.work = work
        self.take = take
        self.niceness = niceness
        self.threads = 0
        self.bells: list[threading.Lock] = []  # of those that sleep: to release one is to wake it

    def wake(self) -> None:
        """There is something to be done; called with the lock."""
        if self.bells:
            self.bells.pop().release()
        elif self.threads < self.work.most_at_once:
            self.threads += 1
            threading.Thread(target=self._run, name="curier-password", daemon=True).start()

    def _run(self) -> None:
        """One thread: check after check, until nobody has come for a while."""
        hasher = self.work.make_hasher(self.niceness)
        while self._check(hasher):
            pass
        hasher.close()

    def _check(self, hasher: Hasher) -> bool:
        """The next one; False: nobody has come. A function of its own: while the thread waits, nothing is to
        name the last check any more, which knows the password and who asked, and would keep ``Checks`` alive.
        """
        place = self._next()
        if place is None:
            return False
        check = place.work
        try:
            right = check.run(hasher)
        except Exception as error:
            check.answer(error)
            return True
        if not right:
            self.work.failed(place)
        check.answer(right)
        return True

    def _next(self) -> _Waiting | None:
        while True:
            with self.work.lock:
                if (place := self.take()) is not None:
                    return place
                if self.work.is_closed:
                    self.threads -= 1
                    return None
                bell = threading.Lock()
                bell.acquire()
                self.bells.append(bell)
            bell.acquire(timeout=IDLE_SECONDS)
            with self.work.lock:
                if bell in self.bells:  # nobody has released it
                    self.bells.remove(bell)
                    self.threads -= 1
                    return None


class _Work:
    """The line and both its sides: what threads know, so that ``Checks`` can go while they sleep."""

    def __init__(self, clock: Callable[[], float], make_hasher: Callable[[int], Hasher]) -> None:
        self.clock = clock
        self.make_hasher = make_hasher
        self.most_at_once = max(1, min(MOST_AT_ONCE, (os.cpu_count() or 1) // 2))
        self.lock = threading.Lock()  # for all that follows
        self.line: Line[_Check] = Line()
        self.sides = (
            _Side(self, self.line.take_first, NICENESS[0]),
            _Side(self, self.line.take_other, NICENESS[1]),
        )
        self.is_closed = False

    def join(self, place: _Waiting) -> None:
        with self.lock:
            leaving = self.line.join(place, self.clock())
            self.sides[place.lane > 0].wake()
        if leaving is not None:
            leaving.work.answer(Full("too many logins are waiting"))

    def leave(self, place: _Waiting) -> None:
        with self.lock:
            self.line.leave(place)

    def failed(self, place: _Waiting) -> None:
        with self.lock:
            self.line.failed(place.address, place.user, self.clock())
            self.sides[1].wake()  # where others of the address are now

    def close(self) -> None:
        """Nobody will join any more: let the threads end."""
        with self.lock:
            self.is_closed = True
            for side in self.sides:
                while side.bells:
                    side.bells.pop().release()


class Checks:
    """Runs checks, on each side of the line never more at once than half of the cores, and four. Safe to use
    from many threads and event loops.
    """

    def __init__(
        self, clock: Callable[[], float], make_hasher: Callable[[int], Hasher] = HashProcess
    ) -> None:
        self._work = _Work(clock, make_hasher)
        weakref.finalize(self, self._work.close)

    async def run(self, address: str, user: str, check: Callable[[Hasher], bool]) -> bool:
        """Call ``check`` in a thread, with a ``Hasher``, when it is the turn of ``user`` at ``address``.

        False is a failure of theirs, which they are remembered by. Raises ``Full`` where too many wait, now
        or later; and what ``check`` raises. To cancel it is to leave the line.
        """
        place = Place(address, user, _Check(check))
        self._work.join(place)
        try:
            return await place.work.future
        except asyncio.CancelledError:
            self._work.leave(place)
            raise
