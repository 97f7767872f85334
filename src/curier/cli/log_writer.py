"""The log goes to its file descriptor by a thread of its own.

A terminal that is stopped (Ctrl-S), or a pipe that nobody reads, would otherwise stop the broker at its next
line. Here lines wait, up to a limit; what is over it is lost, and it is told how much that was.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from typing import Final

from curier.loglines import QUIET_SECONDS, printable, tell_left_out

MOST_LINES: Final = 10_000
"""That wait to be written; more are lost."""

CLOSE_SECONDS: Final = 1.0
"""How long the last lines may take when the program ends."""

LINES_AT_ONCE: Final = 256

MOST_OF_LINE: Final = 2000
"""Characters. What strangers say is shortened where lines are made; this is for what nobody thought of."""

MOST_LINES_OF_TRACE: Final = 60

BUNDLE_SECONDS: Final = 0.05
"""How long a line waits for others."""


class LogWriter(logging.Handler):
    """Writes records to the file descriptor ``target``; ``emit`` never waits for it.

    Lines go in bundles, since waking a thread costs more than a line: what is no warning waits a moment.
    """

    def __init__(self, target: int, most_lines: int = MOST_LINES) -> None:
        super().__init__()
        self._target = target
        self._most_lines = most_lines
        self._lines: deque[str] = deque()
        self._lost = 0
        self._is_closing = False
        self._something = threading.Event()  # there are lines, or it is the end
        self._at_once = threading.Event()  # do not wait for more
        self._thread = threading.Thread(target=self._run, name="curier-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        lines = self._lines
        if len(lines) >= self._most_lines:
            self._lost += 1
            return
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        if self._lost:
            line = f"{self._lost} lines of this log are lost: nobody took them in time\n{line}"
            self._lost = 0
        lines.append(line)
        if len(lines) == 1:
            self._something.set()
        if record.levelno >= logging.WARNING:
            self._at_once.set()

    def close(self) -> None:
        """Write what waits, for a second at most."""
        self._is_closing = True
        self._at_once.set()
        self._something.set()
        self._thread.join(CLOSE_SECONDS)
        super().close()

    def _run(self) -> None:
        lines = self._lines
        while lines or not self._is_closing:
            if not self._something.wait(QUIET_SECONDS):
                tell_left_out(QUIET_SECONDS)
            self._something.clear()
            self._at_once.wait(BUNDLE_SECONDS)
            self._at_once.clear()
            while lines:
                bundle = [lines.popleft() for _ in range(min(len(lines), LINES_AT_ONCE))]
                write_all(self._target, "".join(f"{line}\n" for line in bundle))


class PlainFormatter(logging.Formatter):
    """``2026-01-31 12:00:00 info: words``; the time is made once a second.

    A traceback follows in lines of its own, which begin with blanks. Whatever is logged, no line is longer
    than ``MOST_OF_LINE`` characters, and none has control characters: nobody can forge lines.
    """

    def __init__(self) -> None:
        super().__init__("%(message)s")
        self._second = -1
        self._time = ""

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._time = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        text = f"{self._time} {record.levelname.lower()}: {printable(record.getMessage(), MOST_OF_LINE)}"
        if record.exc_info:
            text += _indented(self.formatException(record.exc_info))
        return text


def _indented(trace: str) -> str:
    """The lines of a traceback, behind a line of the log; of a long one the beginning and the end."""
    lines = trace.splitlines()
    if len(lines) > MOST_LINES_OF_TRACE:
        half = MOST_LINES_OF_TRACE // 2
        lines = [*lines[:half], f"... ({len(lines)} lines)", *lines[-half:]]
    return "".join(f"\n  {printable(line, MOST_OF_LINE)}" for line in lines)


def write_all(target: int, text: str) -> None:
    """Write to a file descriptor, past Python's own buffer, whose lock a stopped thread would never return.

    Nobody there to read is no error: a log must not end what it tells of.
    """
    data = text.encode(errors="backslashreplace")
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:  # whoever we share it with has made it so
            select.select([], [target], [])
        except OSError:
            return


def write_if_it_can_be(target: int, text: str) -> None:
    """Write a line only where that does not have to wait."""
    if select.select([], [target], [], 0)[1]:
        write_all(target, text)
