"""What the system tells a broker: SIGINT and SIGTERM stop it, SIGHUP has it read again what can be.

SIGHUP has two meanings: a terminal is gone, and with it all that ran there; and, to programs that have none,
"read your settings again". So the terminal is asked. A broker that began with a controlling terminal and has
it no more was hung up on, which stops it as SIGTERM does; to any other, SIGHUP is the second. Where it was
ignored from the beginning, as ``nohup`` has it, it is so further on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from curier.cli.log_writer import write_if_it_can_be

_log = logging.getLogger("curier.cli")

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
LOOK_AGAIN_SECONDS: Final = 1.0
"""A shell that ends may send SIGHUP to its jobs a moment before their terminal is gone."""


@contextmanager
def signals(stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at the first signal to stop, and end the process at the second; ``reload`` at SIGHUP."""
    loop = asyncio.get_running_loop()
    received = 0
    had_terminal = _has_terminal()
    is_stopping = False

    def on_signal() -> None:
        nonlocal received
        received += 1
        if received > 1:
            write_if_it_can_be(sys.stderr.fileno(), "stopped at once: what was being written may be lost\n")
            os._exit(1)
        begin_to_stop("Ctrl-C again stops at once")

    def begin_to_stop(why: str) -> None:
        nonlocal is_stopping
        if not is_stopping:
            is_stopping = True
            _log.info("stopping: finishing what is being written (%s)", why)
            stop()

    def look() -> bool:
        if had_terminal and not _has_terminal():
            begin_to_stop("the terminal is gone")
            return True
        return is_stopping

    def on_hangup() -> None:
        if not look():
            loop.call_later(LOOK_AGAIN_SECONDS, look)
            reload()

    handlers = dict.fromkeys(_STOPPING, on_signal)
    if hasattr(signal, "SIGHUP"):
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            handlers[signal.SIGHUP] = on_hangup
        else:
            _log.info("SIGHUP is ignored, as nohup has it: curier admin reload has the settings read again")
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def _has_terminal() -> bool:
    """Has this process a controlling terminal?"""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_NONBLOCK", 0)))
        return True
    return False
