"""What a process that is nothing but a broker asks of the system it runs on."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from curier.net.host import Process

SPARE_FILES: Final = 1024  # besides those of clients: listeners, the store, clients that are refused

QUIET_SECONDS: Final = 5.0
QUIET_BYTES: Final = 1 << 20  # in and out in that time
WORTH_IT: Final = 32 << 20  # bytes that the process has grown by

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_freed_memory() -> None:
    """Ask the C library (glibc; others do as they do) to keep freed memory for a while.

    By default it returns what is freed at the end of its heap at once, and every chunk that is read gets new
    pages from the kernel, zeroed: for large messages more work than all the rest.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        mallopt(_M_MMAP_THRESHOLD, 8 << 20)


async def give_back_memory(moved: Callable[[], int]) -> None:
    """Give freed memory back to the system whenever there is not much to do, for ever; ``moved`` says how
    many bytes have gone through the broker.

    In a thread, for it takes a while, and what needs no large piece of memory meanwhile can go on.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library
        return
    process = Process()
    kept = process.memory()
    before = moved()
    while True:
        await asyncio.sleep(QUIET_SECONDS)
        now = moved()
        size = process.memory()
        if now - before < QUIET_BYTES and size - kept > WORTH_IT:
            await asyncio.to_thread(trim, 0)
            size = kept = process.memory()
        kept = min(kept, size)
        before = now


def allow_files(clients: int) -> None:
    """Raise the limit of open files to what so many ``clients`` take, as far as this process may (its hard
    limit), and make room for them in the kernel's table of descriptors now.

    The table would otherwise be doubled whenever it is full, and each time a process that has threads is
    stopped for some 10 ms. It takes eight bytes of the kernel's memory for each client.
    """
    try:
        import fcntl
        import resource
    except ImportError:  # a system without such limits
        return
    wanted = clients + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    last = (wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed)) - 1
    file = os.open(os.devnull, os.O_RDONLY)
    with suppress(OSError):  # no memory for it: the table grows as it will
        os.close(fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, last))
    os.close(file)
