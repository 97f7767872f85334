"""Files that are read again when they change: how that is noticed, and read without anybody waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

T = TypeVar("T")


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
