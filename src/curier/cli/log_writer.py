"""The log goes to its file descriptor by a thread of its own.

A terminal that is stopped (Ctrl-S), or a pipe that nobody reads, would otherwise stop the broker at its next
line. Here lines wait, up to a limit; what is over it is lost, and it is told how much that was.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from queue import Empty, SimpleQueue
from typing import Final

MOST_LINES: Final = 10_000
"""That wait to be written; more are lost."""

CLOSE_SECONDS: Final = 1.0
"""How long the last lines may take when the program ends."""

LINES_AT_ONCE: Final = 256


class LogWriter(logging.Handler):
    """Writes records to the file descriptor ``target``; ``emit`` never waits for it."""

    def __init__(self, target: int, most_lines: int = MOST_LINES) -> None:
        super().__init__()
        self._target = target
        self._most_lines = most_lines
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="curier-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= self._most_lines:
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
        self._lines.put(line)

    def close(self) -> None:
        """Write what waits, for a second at most."""
        self._lines.put(None)
        self._thread.join(CLOSE_SECONDS)
        super().close()

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            lines = [self._lines.get()]
            try:
                while len(lines) < LINES_AT_ONCE:
                    lines.append(self._lines.get_nowait())
            except Empty:
                pass
            goes_on = None not in lines
            write_all(self._target, "".join(f"{line}\n" for line in lines if line is not None))


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
