"""The log goes to its file descriptor by a thread of its own.

A terminal that is stopped (Ctrl-S), or a pipe that nobody reads, would otherwise stop the broker at its next
line. Here lines wait, up to a limit; what is over it is lost, and it is told how much that was.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from curier.cli.log_formats import MOST_OF_LINE, PlainFormatter
from curier.loglines import QUIET_SECONDS, Shortcut, printable, tell_left_out

MOST_LINES: Final = 10_000
"""That wait to be written; more are lost."""

CLOSE_SECONDS: Final = 1.0
"""How long the last lines may take when the program ends."""

LINES_AT_ONCE: Final = 256

LOOK_SECONDS: Final = 1.0
"""Between two looks whether a file is still where it was."""

BUNDLE_SECONDS: Final = 0.05
"""How long a line waits for others."""

_NO_FIELDS: Final[dict[str, object]] = {}


class LogWriter(Shortcut):
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
        if not self._has_room():
            return
        try:
            line = self.format(record)
            if self._lost:
                words = f"{self._lost} lines of this log are lost: nobody took them in time"
                lost = logging.LogRecord(record.name, logging.WARNING, "", 0, words, None, None)
                line = f"{self.format(lost)}\n{line}"
        except Exception:
            self.handleError(record)
            return
        self._put(line)
        if record.levelno >= logging.WARNING:
            self._at_once.set()

    def tell(
        self, level: int, name: str, message: str, make_fields: Callable[[], Mapping[str, object]]
    ) -> None:
        formatter = self.formatter
        if self._lost or not isinstance(formatter, PlainFormatter):
            record = logging.LogRecord(name, level, "", 0, message, None, None)
            record.fields = make_fields()
            self.handle(record)
            return
        fields = make_fields() if formatter.takes_fields else _NO_FIELDS
        self.acquire()  # other threads log as well
        try:
            if self._has_room():
                words = printable(message, MOST_OF_LINE)
                self._put(formatter.line(time.time(), level, name, words, fields))
        finally:
            self.release()
        if level >= logging.WARNING:
            self._at_once.set()

    def _has_room(self) -> bool:
        """May one more line wait? Else it is lost, and counts."""
        if len(self._lines) < self._most_lines:
            return True
        self._lost += 1
        return False

    def _put(self, line: str) -> None:
        """Have a line written, which has said how many were lost before it."""
        self._lost = 0
        self._lines.append(line)
        if len(self._lines) == 1:
            self._something.set()

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
                self._write("".join(f"{line}\n" for line in bundle))

    def _write(self, text: str) -> None:
        write_all(self._target, text)


class FileWriter(LogWriter):
    """Writes to the file at ``path``, behind what is in it; a new one has ``mode``. Raises ``OSError`` where
    it cannot be opened.

    When the file is not there any more, as when it has been moved away, a new one is made. What cannot be
    written, as on a full disk, is lost; standard error is told, once until it can be again.
    """

    def __init__(self, path: str, mode: int = 0o640) -> None:
        self._path = path
        self._mode = mode
        self._is_failing = False
        self._is_closed = False
        self._next_look = 0.0
        super().__init__(_opened(path, mode))

    def reopen(self) -> None:
        """Write to what is at the path now; where that cannot be opened, to the file of before."""
        try:
            new = _opened(self._path, self._mode)
        except OSError as error:
            self._failed(error)
            return
        os.dup2(new, self._target, inheritable=False)
        os.close(new)

    def _write(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            if not self._is_there():
                self.reopen()
        error = write_all(self._target, text)
        if error is not None:
            self._failed(error)
        else:
            self._is_failing = False

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._target))
        except OSError:
            return False

    def _failed(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            words = f"the log cannot be written to {self._path}: {error.strerror}; lines are lost\n"
            write_if_it_can_be(sys.stderr.fileno(), words)

    def close(self) -> None:
        """Write what waits, for a second at most, and close the file."""
        super().close()
        if not self._thread.is_alive() and not self._is_closed:
            self._is_closed = True
            os.close(self._target)


class AuditFile(FileWriter):
    """A file of lines that only its owner may read. Raises ``OSError`` where it cannot be opened."""

    def __init__(self, path: str) -> None:
        super().__init__(path, 0o600)

    def write(self, line: str) -> None:
        """Have a line written; never waits. Where too many wait it is lost, which the next one says."""
        if not self._has_room():
            return
        if self._lost:
            line = f'{{"event": "lost", "count": {self._lost}}}\n{line}'
        self._put(line)


def _opened(path: str, mode: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)


def write_all(target: int, text: str) -> OSError | None:
    """Write to a file descriptor, past Python's own buffer, whose lock a stopped thread would never return.

    That it cannot be, as when nobody is there to read, is returned: a log must not end what it tells of.
    """
    data = text.encode(errors="backslashreplace")
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:  # whoever we share it with has made it so
            select.select([], [target], [])
        except OSError as error:
            return error
    return None


def write_if_it_can_be(target: int, text: str) -> None:
    """Write a line only where that does not have to wait."""
    if select.select([], [target], [], 0)[1]:
        write_all(target, text)
