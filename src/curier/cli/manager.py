"""What systemd is told of a broker with ``Type=notify`` (sd_notify): that it is ready, reads its settings
again, stops, and that its event loop still turns (``WatchdogSec=``). Without systemd it does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG: Final = "WATCHDOG_USEC"
WATCHDOG_PID: Final = "WATCHDOG_PID"


def tell(*lines: str) -> None:
    """Send ``NAME=value`` lines. That nobody listens there, or has no room, is no reason not to serve."""
    path = os.environ.get(SOCKET, "")
    if not path.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path  # in the abstract namespace
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        manager.sendto("\n".join(lines).encode(), address)


@asynccontextmanager
async def served(status: str) -> AsyncIterator[None]:
    """From here on clients are served, as ``status`` tells people, until the end, where it begins to stop."""
    tell("READY=1", f"STATUS={status}")
    living = asyncio.create_task(_live(seconds)) if (seconds := _watchdog_seconds()) else None
    try:
        yield
    finally:
        if living is not None:
            living.cancel()
        tell("STOPPING=1", "STATUS=stopping: finishing what is being written")


@contextmanager
def reading_again() -> Iterator[None]:
    """While settings are read again; ``Type=notify-reload`` compares the time with that of its signal."""
    tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        yield
    finally:
        tell("READY=1")


def _watchdog_seconds() -> float:
    """How often it wants to hear of this process: half of the time after which it is taken for dead."""
    text, pid = os.environ.get(WATCHDOG, ""), os.environ.get(WATCHDOG_PID)
    if not (text.isascii() and text.isdigit()) or (pid is not None and pid != str(os.getpid())):
        return 0.0
    return int(text) / 2_000_000


async def _live(seconds: float) -> None:
    while True:
        tell("WATCHDOG=1")
        await asyncio.sleep(seconds)
