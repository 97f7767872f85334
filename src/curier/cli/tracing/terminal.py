"""A terminal whose whole screen is ours for a while: what has changed is written, keys are read.

However it ends (an error, Ctrl-C, SIGTERM, SIGHUP, Ctrl-Z and back), the terminal is as it was before; after
a kill -9 the command ``reset`` helps. The mouse is left alone.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from curier.cli.output import Output

_ENTER: Final = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"  # another screen, no cursor, no wrapping of lines
_LEAVE: Final = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
_KEYS: Final = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
}
_STOPPING: Final = ("SIGTERM", "SIGHUP", "SIGINT")


class Terminal:
    """Standard output, and the keyboard that belongs to it. Calls ``on_key`` and, when it is resized or was
    away, ``on_change``.
    """

    def __init__(self, on_key: Callable[[str], None], on_change: Callable[[], None]) -> None:
        self._on_key = on_key
        self._on_change = on_change
        self._keyboard = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._before = termios.tcgetattr(self._keyboard)
        self._output = Output()
        self._shown: list[str] = []

    @contextmanager
    def taken(self, stop: Callable[[], object]) -> Iterator[None]:
        """Ours, until the end; ``stop`` is called at a signal that ends the process otherwise."""
        loop = asyncio.get_running_loop()
        signals: list[signal.Signals] = []
        self._take()
        try:
            loop.add_reader(self._keyboard, self._read)
            for name in _STOPPING:
                signals.append(signal.Signals[name])
                loop.add_signal_handler(signals[-1], stop)
            for number, call in (
                (signal.SIGWINCH, self._resized),
                (signal.SIGTSTP, self._sleep),
                (signal.SIGCONT, self._wake),
            ):
                signals.append(number)
                loop.add_signal_handler(number, call)
            yield
        finally:
            loop.remove_reader(self._keyboard)
            for number in signals:
                loop.remove_signal_handler(number)
            self._give_back()
            os.close(self._keyboard)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        columns, lines = shutil.get_terminal_size()
        return columns, lines

    async def show(self, lines: list[str]) -> int:
        """Write the lines that are not there yet; how many bytes that took. Waits for a slow terminal."""
        parts = []
        for number, line in enumerate(lines):
            if number >= len(self._shown) or self._shown[number] != line:
                parts.append(f"\x1b[{number + 1};1H{line}\x1b[K")
        if len(self._shown) > len(lines):
            parts.append(f"\x1b[{len(lines) + 1};1H\x1b[J")
        self._shown = lines
        if not parts:
            return 0
        data = "".join(parts).encode()
        self._output.write(data)
        await self._output.flush()
        return len(data)

    def _take(self) -> None:
        tty.setcbreak(self._keyboard, termios.TCSANOW)
        self._shown = []
        self._write(_ENTER)

    def _give_back(self) -> None:
        with suppress(termios.error, OSError):  # the terminal is gone
            termios.tcsetattr(self._keyboard, termios.TCSANOW, self._before)
        self._write(_LEAVE)

    def _write(self, data: bytes) -> None:
        """A few bytes at once, or not at all: a terminal that stands still must not keep us from ending."""
        with suppress(OSError):
            os.write(self._keyboard, data)

    def _read(self) -> None:
        try:
            data = os.read(self._keyboard, 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            asyncio.get_running_loop().remove_reader(self._keyboard)
            self._on_key("q")
        while data:
            known = next((code for code in _KEYS if data.startswith(code)), b"")
            if known:
                self._on_key(_KEYS[known])
                data = data[len(known) :]
            else:
                if data[0] < 0x80 and data[0] != 0x1B:
                    self._on_key(chr(data[0]))
                data = data[1:]
        self._on_change()

    def _resized(self) -> None:
        self._shown = []
        self._write(b"\x1b[2J")
        self._on_change()

    def _sleep(self) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _wake(self) -> None:
        self._take()
        self._on_change()


def can_be_used() -> bool:
    """Is there a terminal for the whole of it?"""
    if not sys.stdout.isatty():
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
