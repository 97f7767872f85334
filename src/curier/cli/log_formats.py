"""How a line of the log looks: for people, for journald, for programs.

Whatever is logged, no line has more than ``MOST_OF_LINE`` characters of text, and none has control
characters: nobody can forge lines.
"""

from __future__ import annotations

import json
import logging
import time
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
    """``2026-01-31 12:00:00+01:00 info: words``. A traceback follows in lines that begin with blanks."""

    def __init__(self) -> None:
        super().__init__("%(message)s")
        self._clock = Clock(" ")

    def format(self, record: logging.LogRecord) -> str:
        text = f"{self.head(record)}{record.levelname.lower()}: {_message(record)}"
        for line in self.trace(record):
            text += f"\n{self.indent(record)}{line}"
        return text

    def head(self, record: logging.LogRecord) -> str:
        """What a line begins with."""
        return f"{self._clock.text(record.created)} "

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

    def head(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>"

    def indent(self, record: logging.LogRecord) -> str:
        return f"{self.head(record)}  "


class JsonFormatter(PlainFormatter):
    """An object a line: time, level, topic, message, and what is known of the client."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = Clock("T")

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": self._clock.text(record.created, f".{int(record.created % 1 * 1000):03d}"),
            "level": record.levelname.lower(),
            "topic": topic_of(record.name),
            "message": _message(record),
            **getattr(record, "fields", {}),
        }
        if trace := self.trace(record):
            fields["trace"] = trace
        return json.dumps(fields)


def _message(record: logging.LogRecord) -> str:
    return printable(record.getMessage(), MOST_OF_LINE)
