"""Files that are read again when they change: how that is noticed, and read without anybody waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from logging import Logger
from pathlib import Path
from typing import Final, Generic, TypeVar, cast

from curier.errors import ConfigError

T = TypeVar("T")

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks at a file's time of change."""


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file does; ``None`` while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size)


async def in_thread(name: str, work: Callable[[], T]) -> T:
    """What ``work`` returns, or raises, in a thread of its own, called ``name``; unlike one of a pool, the
    process can end while it hangs, as on a network disk that does not answer. Cancelling it leaves the work
    going on.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast(T, result))

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        with suppress(RuntimeError):  # the loop is closed: nobody is there to hear it
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done


class Reread(Generic[T]):
    """The users of a file, or what else ``read`` reads from it; ``taken`` is told when there are others.

    ``read`` raises ``ConfigError`` where the file cannot be used; so does making one of these, and
    ``reload``, and what was read before stays then. ``look`` may be called as often as one likes: it reads a
    file that has changed, in a thread, and logs what is wrong with it, once. It does when two looks, half a
    second apart, have seen the same of it: half of what somebody is writing may be a whole file of fewer
    users. ``changes`` counts how often it was read.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], T],
        taken: Callable[[T], None],
        log: Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path: Final = path
        self.changes = 0
        self._read: Final = read
        self._taken: Final = taken
        self._log: Final = log
        self._clock: Final = clock
        self._next_look = clock() + LOOK_INTERVAL
        self.reload()

    def reload(self) -> None:
        """Read it now."""
        stamp = stamp_of(self.path)
        self._take(self._read(self.path))
        self._stamp = self._seen = stamp

    async def look(self) -> int:
        """Read it if it has changed; returns ``changes``. Cancelling it leaves that to the next look."""
        now = self._clock()
        if now < self._next_look:
            return self.changes
        self._next_look = now + LOOK_INTERVAL
        seen, stamp = self._seen, stamp_of(self.path)
        self._seen = stamp
        if stamp == self._stamp or stamp != seen:
            return self.changes
        before = self.changes
        try:
            found = await asyncio.to_thread(self._read, self.path)  # it may be long
        except ConfigError as error:
            self._log.error("%s; the users before this change stay valid", error)
        else:
            if self.changes != before:  # somebody else has read it meanwhile, and maybe later than this
                return self.changes
            self._take(found)
            self._log.info("read %s again", self.path)
        self._stamp = stamp
        return self.changes

    def _take(self, found: T) -> None:
        self.changes += 1
        self._taken(found)
