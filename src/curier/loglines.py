"""What keeps a log readable: ``printable`` for what strangers say, ``logger`` for how often they say it.

Lines of one kind, that is, with one text but for what is filled in, come at a bounded rate. Those over it are
left out, and counted; the count is told with a later line of any kind, and by ``tell_left_out``.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

MOST_CHARACTERS: Final = 200
"""Of what a stranger says, in one place of a line."""

QUIET_SECONDS: Final = 10.0
"""So often at most is it told how many lines of a kind were left out."""

LOOK_SECONDS: Final = 0.5
"""Between two looks whether it is time to tell, while lines are left out."""

MOST_KINDS: Final = 1000
"""Each is a line of the source, but a program of somebody else's might fill in its texts before."""

_RATES: Final = ((logging.WARNING, 20.0, 2.0), (logging.INFO, 1000.0, 50.0), (logging.NOTSET, 5000.0, 500.0))
"""From level; lines at once; lines a second in the long run."""

_FILLED_IN: Final = re.compile(r"%[-+ #0-9.]*[a-zA-Z]")


def printable(text: str, most: int = MOST_CHARACTERS) -> str:
    """``text`` for one line of a log: control characters escaped, shortened, with its length if it was."""
    head = text[:most]
    shown = head if head.isprintable() else head.encode("unicode_escape").decode()
    if len(text) <= most and len(shown) <= most:
        return shown
    return f"{shown[:most]}... ({len(text)} characters)"


class Kind:
    """A token bucket, for lines of one kind."""

    __slots__ = ("at", "lacking_since", "left_out", "level", "most", "rate", "tokens", "where", "words")

    def __init__(self, record: logging.LogRecord, now: float) -> None:
        self.where = record.name
        self.level = record.levelno
        self.words = printable(_FILLED_IN.sub("...", str(record.msg)))
        self.most, self.rate = next(rate for level, *rate in _RATES if record.levelno >= level)
        self.tokens = self.most
        self.at = now
        self.left_out = 0
        self.lacking_since = now  # when the first of them was left out

    def has_room(self, now: float) -> bool:
        """For one more line? Otherwise it counts as left out."""
        self.tokens = min(self.most, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1.0:
            if not self.left_out:
                self.lacking_since = now
            self.left_out += 1
            return False
        return True

    def take(self, now: float) -> bool:
        """The same, and the room is taken."""
        if not self.has_room(now):
            return False
        self.tokens -= 1.0
        return True


class Bounds(logging.Filter):
    """Lets so many lines of each kind pass. Safe to use from many threads."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, int, object], Kind] = {}
        self._lacking: dict[Kind, None] = {}  # those with lines left out
        self._look_at = 0.0  # when it may be time to tell of them
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        with self._lock:
            key = (record.name, record.levelno, str(record.msg))
            kind = self._kinds.get(key)
            if kind is None:
                if len(self._kinds) >= MOST_KINDS:
                    self._kinds.clear()
                kind = self._kinds[key] = Kind(record, now)
            passes = kind.take(now)
            if not passes:
                self._lacking[kind] = None
            elif not self._lacking:
                return True
        self.tell(now - QUIET_SECONDS)
        return passes

    def leave_out(self, logger_name: str, level: int, words: str) -> bool:
        """Would a line of this kind be left out? Then it counts as that, and need not be made: to make it is
        most of what a line costs, and in a flood nearly all are left out.
        """
        now = time.monotonic()
        with self._lock:
            kind = self._kinds.get((logger_name, level, words))
            if kind is None or kind.has_room(now):
                return False
            self._lacking[kind] = None
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self.tell(now - QUIET_SECONDS)
        return True

    def take(self, logger_name: str, level: int, words: str) -> bool:
        """Room for a line that does not come to ``filter``; False: that one has to."""
        now = time.monotonic()
        with self._lock:
            kind = self._kinds.get((logger_name, level, words))
            return kind is not None and not self._lacking and kind.take(now)

    def tell(self, since: float = math.inf) -> None:
        """Say how many lines are left out, of each kind that lacks some since then, or longer."""
        due: list[tuple[Kind, int]] = []
        with self._lock:
            for kind in list(self._lacking):
                if kind.lacking_since <= since:
                    due.append((kind, kind.left_out))
                    kind.left_out = 0
                    del self._lacking[kind]
        for kind, count in due:
            words = f"{count} more lines were left out like: {kind.words}"
            logging.getLogger(kind.where).callHandlers(
                logging.LogRecord(kind.where, kind.level, "", 0, words, None, None)
            )

    def clear(self) -> None:
        """Begin anew, as if nothing had been logged yet."""
        with self._lock:
            self._kinds.clear()
            self._lacking.clear()


bounds: Final = Bounds()


class Shortcut(logging.Handler):
    """A handler of the root that takes words without a ``LogRecord``, too, and makes the same of them."""

    def tell(
        self, level: int, name: str, message: str, make_fields: Callable[[], Mapping[str, object]]
    ) -> None:
        """A line of the logger ``name``. ``make_fields`` gives what ``extra`` has as ``fields`` otherwise."""
        raise NotImplementedError


class Line:
    """A line that is logged so often that its cost counts, which is mostly that of the machinery of
    ``logging``. It goes past that, where nobody has put a handler or a filter of his own there.
    """

    def __init__(self, logger: logging.Logger, level: int, words: str) -> None:
        self.words = words
        self._logger = logger
        self._level = level
        self._name = logger.name

    def is_wanted(self) -> bool:
        """Is it to be logged, and is there room for it?"""
        return self._logger.isEnabledFor(self._level) and not bounds.leave_out(
            self._name, self._level, self.words
        )

    def log(self, *filled_in: object, make_fields: Callable[[], Mapping[str, object]]) -> None:
        """Log it, with that filled in."""
        shortcut = self._shortcut()
        if shortcut is not None and bounds.take(self._name, self._level, self.words):
            shortcut.tell(self._level, self._name, self.words % filled_in, make_fields)
        else:
            self._logger.log(self._level, self.words, *filled_in, extra={"fields": make_fields()})

    def _shortcut(self) -> Shortcut | None:
        """The only handler that would get a record of it, if that is one."""
        logger: logging.Logger | None = self._logger
        if len(self._logger.filters) != 1 or logging.getLogRecordFactory() is not logging.LogRecord:
            return None
        while logger is not None and logger.parent is not None:
            if logger.handlers or not logger.propagate:
                return None
            logger = logger.parent
        if logger is None or len(logger.handlers) != 1:
            return None
        handler = logger.handlers[0]
        if not isinstance(handler, Shortcut) or handler.filters or handler.level > self._level:
            return None
        return handler


def logger(name: str) -> logging.Logger:
    """The logger ``name``, with bounds on how many lines it logs."""
    found = logging.getLogger(name)
    found.addFilter(bounds)
    return found


def tell_left_out(seconds: float = 0.0) -> None:
    """Say how many lines have been left out, of each kind that lacks some for so long."""
    bounds.tell(time.monotonic() - seconds)
