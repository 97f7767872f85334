"""How a line of the log looks: for people, for journald, for programs.

Whatever is logged, no line has more than ``MOST_OF_LINE`` characters of text, and none has control
characters: nobody can forge lines.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Final

from curier.loglines import printable
from curier.settings.log_levels import topic_of

MOST_OF_LINE: Final = 2000
"""Characters. What strangers say is shortened where lines are made; this is for what nobody thought of."""

MOST_LINES_OF_TRACE: Final = 60

_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
"""Those of syslog (sd-daemon(3))."""


class Clock:
    """Seconds as text, made once a second: local time with the offset of its zone."""

    def __init__(self, between: str) -> None:
        self._format = f"%Y-%m-%d{between}%H:%M:%S"
        self._second = -1
        self._date = ""
        self._zone = ""

    def text(self, created: float, fraction: str = "") -> str:
        """The time, as ``2026-01-31 12:00:00+01:00``, with ``fraction`` behind the seconds."""
        second = int(created)
        if second != self._second:
            self._second = second
            local = time.localtime(second)
            zone = time.strftime("%z", local)
            self._date, self._zone = time.strftime(self._format, local), f"{zone[:3]}:{zone[3:]}"
        return f"{self._date}{fraction}{self._zone}"


class PlainFormatter(logging.Formatter):
    """``2026-01-31 12:00:00+01:00 info: words``. A traceback follows in lines that begin with blanks.

    ``node`` stands before the words: which of several that write one log says so.
    """

    def __init__(self, node: str = "") -> None:
        super().__init__("%(message)s")
        self.node = node
        self._clock = Clock(" ")
        self._before = f"{node}: " if node else ""

    takes_fields = False
    """Does a line have what is known of the client, besides its words?"""

    def format(self, record: logging.LogRecord) -> str:
        text = self.line(record.created, record.levelno, record.name, _message(record), {})
        for line in self.trace(record):
            text += f"\n{self.indent(record)}{line}"
        return text

    def line(self, created: float, level: int, name: str, message: str, fields: Mapping[str, object]) -> str:
        """One line that has no traceback. ``message`` is as ``printable`` makes it."""
        said = f"{self._before}{message}"
        return f"{self._clock.text(created)} {_NAMES.get(level) or _name_of(level)}: {said}"

    def indent(self, record: logging.LogRecord) -> str:
        """What a line of a traceback begins with."""
        return "  "

    def trace(self, record: logging.LogRecord) -> list[str]:
        """The lines of a traceback; of a long one the beginning and the end."""
        if not record.exc_info:
            return []
        lines = self.formatException(record.exc_info).splitlines()
        if len(lines) > MOST_LINES_OF_TRACE:
            half = MOST_LINES_OF_TRACE // 2
            lines = [*lines[:half], f"... ({len(lines)} lines)", *lines[-half:]]
        return [printable(line, MOST_OF_LINE) for line in lines]


class JournalFormatter(PlainFormatter):
    """For journald, which has the time already: each line begins with its priority, as ``<6>``."""

    def line(self, created: float, level: int, name: str, message: str, fields: Mapping[str, object]) -> str:
        said = f"{self._before}{message}"
        return f"<{_PRIORITIES.get(level, 6)}>{_NAMES.get(level) or _name_of(level)}: {said}"

    def indent(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>  "


class JsonFormatter(PlainFormatter):
    """An object a line: time, level, topic, message, and what is known of the client."""

    def __init__(self, node: str = "") -> None:
        super().__init__(node)
        self._clock = Clock("T")
        self._of_node = {"node": node} if node else {}

    takes_fields = True

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        if trace := self.trace(record):
            fields = {**fields, "trace": trace}
        return self.line(record.created, record.levelno, record.name, _message(record), fields)

    def line(self, created: float, level: int, name: str, message: str, fields: Mapping[str, object]) -> str:
        return json.dumps(
            {
                "time": self._clock.text(created, f".{int(created % 1 * 1000):03d}"),
                "level": _NAMES.get(level) or _name_of(level),
                "topic": topic_of(name),
                **self._of_node,
                "message": message,
                **fields,
            }
        )


def _name_of(level: int) -> str:
    return logging.getLevelName(level).lower()


_NAMES: Final = {level: _name_of(level) for level in _PRIORITIES}


def _message(record: logging.LogRecord) -> str:
    return printable(record.getMessage(), MOST_OF_LINE)
