"""``--curier-trace``: the traffic of a test that failed, below its traceback."""

from __future__ import annotations

import shutil
import sys
from collections import deque
from collections.abc import Callable, Generator
from typing import Final

import pytest

from curier.trace.drawing.making import View, diagram
from curier.trace.drawing.text import text
from curier.trace.events import Event
from curier.trace.in_words import PacketLines
from curier.trace.joining import Joiner

MOST_EVENTS: Final = 10_000  # of one test
MOST_LINES: Final = 400  # that are shown of it

Source = Callable[[], list[Event]]
"""Gives what went by since the last call."""


class Recording:
    """What goes by during one test. ``sources`` are asked, or ``instead`` alone: a way to the broker that
    sees what the broker itself does not.
    """

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.instead: Source | None = None
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self.add = self._events.append

    def begin(self) -> None:
        """A test begins: what went by before is none of its own."""
        self.take()

    def take(self) -> list[Event]:
        """All there is, in the order of time."""
        others = [event for source in self.sources for event in source()]
        if self.instead is not None:
            others = self.instead()
        events = [*self._events, *others]
        self._events.clear()
        return sorted(events, key=lambda event: event.time)


class Showing:
    """The part of the plugin that there is only where traffic is to be shown."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.recording = Recording()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Forget the traffic of the test before."""
        self.recording.begin()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the traffic into the report of a test that failed."""
        report = yield
        if report.failed:
            events = self.recording.take()
            if events:
                report.sections.append(("MQTT traffic", self._told(events)))
        return report

    def _told(self, events: list[Event]) -> str:
        ascii_only = "utf" not in (getattr(sys.__stdout__, "encoding", "") or "").lower()
        lines = drawn(events, ascii_only) if self.form == "diagram" else listed(events, ascii_only)
        if len(lines) > MOST_LINES:
            lines = [f"({len(lines) - MOST_LINES} lines before these)", *lines[-MOST_LINES:]]
        return "\n".join(lines)


def listed(events: list[Event], ascii_only: bool) -> list[str]:
    """A line for each event."""
    lines = PacketLines(ascii_only=ascii_only)
    return [lines.line(event) for event in events]


def drawn(events: list[Event], ascii_only: bool) -> list[str]:
    """A diagram of each flow."""
    joiner = Joiner()
    for event in events:
        joiner.feed(event)
    width = shutil.get_terminal_size().columns
    lines: list[str] = []
    for flow in sorted(joiner.flows, key=lambda flow: flow.began):
        lines += text(diagram(flow, View(now=joiner.now)), width, ascii_only=ascii_only)
        lines.append("")
    return lines
