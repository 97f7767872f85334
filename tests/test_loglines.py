"""What keeps a log readable: lengths, and rates."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from curier import loglines
from curier.loglines import MOST_CHARACTERS, QUIET_SECONDS, logger, printable, tell_left_out


class Lines(logging.Handler):
    """Keeps what is logged, as level and text."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler
    log.removeHandler(handler)


log = logger("curier.test_loglines")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1000.0]
    monkeypatch.setattr("curier.loglines.time.monotonic", lambda: now[0])
    yield now
    loglines.bounds.clear()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain", "plain"),
        ("температура-室", "температура-室"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("\ud800", "\\ud800"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "... (201 characters)"),
        ("\x00" * 100, "\\x00" * 50 + "... (100 characters)"),
        ("x" * 199 + "\n", "x" * 199 + "\\... (200 characters)"),
        ("\x00" * 50, "\\x00" * 50),
    ],
)
def test_what_strangers_say_is_escaped_and_shortened(text: str, shown: str) -> None:
    assert MOST_CHARACTERS == 200
    assert printable(text) == shown
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("level", "most", "rate"),
    [(logging.ERROR, 20, 2), (logging.WARNING, 20, 2), (logging.INFO, 1000, 50), (logging.DEBUG, 5000, 500)],
)
def test_lines_of_a_kind_are_so_many_at_once_and_so_many_a_second(
    lines: Lines, clock: list[float], level: int, most: int, rate: int
) -> None:
    for number in range(2 * most):
        log.log(level, "%d is bad", number)
    assert [text for _, text in lines.lines] == [f"{number} is bad" for number in range(most)]
    clock[0] += 1.0
    for number in range(2 * most):
        log.log(level, "%d is bad", number)
    assert len(lines.lines) == most + rate


def test_kinds_do_not_count_for_each_other(lines: Lines, clock: list[float]) -> None:
    for number in range(100):
        log.warning("one %d", number)
        log.warning("other %d", number)
    assert len(lines.lines) == 40


def test_what_was_left_out_is_told_with_a_later_line_of_any_kind(lines: Lines, clock: list[float]) -> None:
    for number in range(100):
        log.warning("%s is refused: %-8.3s (0x%02X)", number, "why", 0x87)
    clock[0] += QUIET_SECONDS - 1
    log.info("something else")
    assert len(lines.lines) == 21
    clock[0] += 1
    log.info("something else")
    assert lines.lines[21:] == [
        ("WARNING", "80 more lines were left out like: ... is refused: ... (0x...)"),
        ("INFO", "something else"),
    ]
    clock[0] += 100
    log.info("something else")
    assert len(lines.lines) == 24


def test_a_flood_without_end_is_told_of_again_and_again(lines: Lines, clock: list[float]) -> None:
    for _ in range(300):
        log.warning("x")
        clock[0] += 0.1
    told = [text for _, text in lines.lines if text != "x"]
    assert len(told) == 2
    assert 60 + 20 <= len(lines.lines) <= 60 + 20 + 3


def test_what_was_left_out_is_told_at_the_end(lines: Lines, clock: list[float]) -> None:
    for _ in range(21):
        log.error("x")
    tell_left_out(QUIET_SECONDS)
    assert len(lines.lines) == 20
    tell_left_out()
    assert lines.lines[20:] == [("ERROR", "1 more lines were left out like: x")]
    tell_left_out()
    assert len(lines.lines) == 21


def test_texts_without_end_do_not_fill_memory(lines: Lines, clock: list[float]) -> None:
    for number in range(3000):
        log.warning(f"{number}")
    assert len(loglines.bounds._kinds) <= loglines.MOST_KINDS


def test_whoever_asks_first_need_not_make_a_line_that_is_left_out(lines: Lines, clock: list[float]) -> None:
    def ask() -> bool:
        return loglines.bounds.leave_out(log.name, logging.WARNING, "%d is bad")

    assert not ask()  # nothing is known of such lines
    for number in range(20):
        assert not ask()
        log.warning("%d is bad", number)
    assert ask()
    assert ask()
    log.warning("%d is bad", 20)
    assert len(lines.lines) == 20
    clock[0] += QUIET_SECONDS
    assert not ask()
    log.warning("%d is bad", 21)
    assert lines.lines[-2:] == [
        ("WARNING", "3 more lines were left out like: ... is bad"),
        ("WARNING", "21 is bad"),
    ]
