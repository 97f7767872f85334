"""``curier trace`` on a terminal: what it shows, what keys do, and that the terminal is as before."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curier.cli.tracing import live as live_module
from curier.cli.tracing.choosing import Chooser
from curier.cli.tracing.live import Live
from curier.cli.tracing.look import Look
from curier.testing import Pair
from curier.trace.choice import choice
from curier.trace.events import Event, Missed
from curier.trace.lines import to_line
from tests.trace.seen import Seen

NOW = 1_700_000_100.0


def events(messages: int) -> list[Event]:
    pair = Pair(latency=0.001)
    gateway, dash = pair.connect("gateway-7"), pair.connect("dash-1")
    dash.subscribe("site/#", qos=1)
    seen = Seen(pair)
    for number in range(messages):
        gateway.publish(f"site/{number}", b"21.5", qos=1)
        pair.run(1)
    return seen.events


def showing(client_id: str | None = None) -> Live:
    return Live("day.curier", Look(False, False, True, 80, False), Chooser(choice(client_id)))


def screen(live: Live, width: int = 80, height: int = 24) -> str:
    lines = live.lines(width, height, NOW)
    assert len(lines) == height
    return "\n".join(lines)


def test_the_newest_flow_is_drawn_and_others_can_be_chosen() -> None:
    live = showing()
    for event in events(3):
        live.feed(event)
    shown = screen(live)
    assert shown.startswith("12 of 12 events: day.curier\n")
    assert "> 22:13:22" in shown
    assert "PUBLISH q1 #3  site/2" in shown
    live.key("up")
    live.key("up")
    assert "PUBLISH q1 #1  site/0" in screen(live)
    live.key("f")
    assert "site/2 │" in screen(live)


def test_a_pause_shows_how_much_waits_and_loses_nothing() -> None:
    live = showing()
    all_of_it = events(3)
    for event in all_of_it[:4]:
        live.feed(event)
    before = screen(live)
    live.key(" ")
    for event in all_of_it[4:]:
        live.feed(event)
    paused = screen(live)
    assert "PAUSED, 8 events wait" in paused
    assert paused.splitlines()[1:] == before.splitlines()[1:]
    live.key("s")
    assert "PAUSED, 7 events wait" in screen(live)
    assert "PUBLISH q1 #2  site/1" in screen(live)
    live.key(" ")
    assert "PAUSED" not in screen(live)
    assert "12 of 12 events" in screen(live)
    assert "site/2" in screen(live)


def test_a_pause_without_end_has_the_source_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MOST_PAUSED", 5)
    live = showing()
    live.key(" ")
    for _ in range(5):
        assert live.has_room
        live.feed(Missed(NOW, 1))
    assert not live.has_room
    assert "PAUSED, 5 or more events wait" in screen(live)


def test_what_is_missed_and_what_was_not_chosen_is_told() -> None:
    live = showing(client_id="dash-1")
    for event in events(1):
        live.feed(event)
    live.feed(Missed(NOW, 300))
    assert "3 of 5 events, 300 missed" in screen(live)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 8), (80, 1)])
def test_every_size_has_its_screen(width: int, height: int) -> None:
    live = showing()
    screen(live, width, height)
    for event in events(2):
        live.feed(event)
    for key in ("a", "l", "e", "page down", "page up", "x"):
        live.key(key)
        assert all(len(line) <= max(width, 50) for line in screen(live, width, height).splitlines())


def test_lines_are_those_of_packets() -> None:
    live = showing()
    live.key("l")
    for event in events(1):
        live.feed(event)
    assert 'gateway-7            →  PUBLISH q1 #1  site/0  "21.5"' in screen(live)


# ---- a real terminal ----


class Session:
    """The command in a terminal of its own."""

    def __init__(self, path: Path) -> None:
        self.process, self.terminal = pty.fork()
        if not self.process:
            os.environ["TERM"] = "xterm"
            os.execv(sys.executable, [sys.executable, "-m", "curier", "trace", str(path), "--utc"])
        self.before = termios.tcgetattr(self.terminal)
        self.seen = b""

    def until(self, what: bytes) -> None:
        deadline = time.monotonic() + 100
        while what not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.terminal], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.terminal, 65536)
                except OSError:  # the other end is closed
                    break
        assert what in self.seen, self.seen

    def status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    path = tmp_path / "day.curier"
    path.write_text("".join(f"{to_line(event)}\n" for event in events(2)))
    session = Session(path)
    yield session
    os.close(session.terminal)


@pytest.mark.parametrize("ending", ["q", "ctrl-c", "SIGTERM", "SIGHUP"])
def test_the_terminal_is_as_before(session: Session, ending: str) -> None:
    session.until(b"this was the end")
    assert b"\x1b[?1049h" in session.seen
    assert b"\x1b[?1000h" not in session.seen  # the mouse
    assert termios.tcgetattr(session.terminal)[3] != session.before[3]
    if len(ending) == 1:
        os.write(session.terminal, ending.encode())
    elif ending == "ctrl-c":
        os.write(session.terminal, b"\x03")
    else:
        os.kill(session.process, getattr(signal, ending))
    session.until(b"\x1b[?7h\x1b[?25h\x1b[?1049l")
    assert termios.tcgetattr(session.terminal)[3] == session.before[3]
    session.status()


def test_nothing_is_written_while_nothing_changes(session: Session) -> None:
    session.until(b"q end")
    session.until(b"this was the end")
    drawn = session.seen.count(b"q end")
    os.write(session.terminal, b"x" * 20)  # keys that mean nothing
    os.write(session.terminal, b" ")
    session.until(b"PAUSED")
    assert session.seen.count(b"q end") == drawn  # only the line that changed
    os.write(session.terminal, b"q")
    session.until(b"\x1b[?1049l")
    session.status()


def test_what_fails_at_once_is_an_error_and_no_screen(tmp_path: Path) -> None:
    session = Session(tmp_path)  # where no broker keeps its data
    session.until(b"no broker serves traces there")
    assert session.seen.index(b"\x1b[?1049l") < session.seen.index(b"no broker serves traces there")
    assert session.status() == 2
    os.close(session.terminal)


def test_a_shell_gets_its_terminal_while_it_sleeps(session: Session) -> None:
    session.until(b"this was the end")
    os.kill(session.process, signal.SIGTSTP)
    os.waitpid(session.process, os.WUNTRACED)
    session.until(b"\x1b[?1049l")
    assert termios.tcgetattr(session.terminal)[3] == session.before[3]
    session.seen = b""
    os.kill(session.process, signal.SIGCONT)
    session.until(b"\x1b[?1049h")
    session.until(b"this was the end")
    os.write(session.terminal, b"q")
    session.until(b"\x1b[?1049l")
    assert session.status() == 0


def test_an_error_is_shown_beside_what_there_is() -> None:
    live = showing()
    for event in events(1):
        live.feed(event)
    live.fail(ValueError("broken"))
    assert not live.wants_to_quit  # what there is can be looked at
    assert "ended: broken" in screen(live)
