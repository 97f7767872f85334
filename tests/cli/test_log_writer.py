"""The log's own thread: nobody who reads it slowly, or not at all, can stop the program."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from curier.cli.log_writer import LogWriter, PlainFormatter, write_if_it_can_be
from curier.loglines import logger
from tests.waiting import wait_until

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Both ends of a pipe of 4096 bytes."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def record(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("curier", logging.INFO, __file__, 1, text, arguments, None)


def read_all(end: int) -> list[str]:
    """The lines up to the end of the pipe, whose other end is closed."""
    with os.fdopen(os.dup(end)) as file:
        return file.read().splitlines()


def test_lines_come_in_order(pipe: Pipe) -> None:
    writer = LogWriter(pipe[1])
    for number in range(100):
        writer.handle(record("line %d", number))
    writer.close()
    os.close(pipe[1])
    assert read_all(pipe[0]) == [f"line {number}" for number in range(100)]


def test_a_reader_that_stops_does_not_stop_the_program_and_is_told_what_it_missed(pipe: Pipe) -> None:
    writer = LogWriter(pipe[1], most_lines=10)
    for number in range(1000):
        writer.handle(record("x" * 1000 + " %d", number))
    while writer._lines:
        os.read(pipe[0], 65_536)
    heard = b""
    writer.handle(record("at last"))
    while not heard.endswith(b"at last\n"):
        heard += os.read(pipe[0], 65_536)
    writer.close()
    assert b"lines of this log are lost: nobody took them in time\nat last\n" in heard


def test_the_end_does_not_wait_for_a_reader_either(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curier.cli.log_writer.CLOSE_SECONDS", 0.01)
    writer = LogWriter(pipe[1])
    for _ in range(10):
        writer.handle(record("x" * 1000))
    writer.close()
    assert writer._thread.is_alive()  # it still waits, and nobody waits for it
    os.set_blocking(pipe[0], False)

    def has_ended() -> bool:
        with suppress(BlockingIOError):
            os.read(pipe[0], 65_536)
        return not writer._thread.is_alive()

    wait_until(has_ended, pause=0)


def test_nobody_there_is_no_error(pipe: Pipe) -> None:
    os.close(pipe[0])
    writer = LogWriter(pipe[1])
    writer.handle(record("into the void"))
    writer.close()
    assert not writer._thread.is_alive()


def test_a_pipe_that_others_have_made_non_blocking(pipe: Pipe) -> None:
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1])
    for number in range(20):
        writer.handle(record("x" * 1000 + " %d", number))
    heard = b""
    while heard.count(b"\n") < 20:
        heard += os.read(pipe[0], 65_536)
    writer.close()
    assert heard.endswith(b"x 19\n")


def test_last_words_are_said_only_where_they_can_be(pipe: Pipe) -> None:
    write_if_it_can_be(pipe[1], "goodbye\n")
    assert os.read(pipe[0], 100) == b"goodbye\n"
    os.write(pipe[1], bytes(4096))
    write_if_it_can_be(pipe[1], "goodbye\n")
    assert os.read(pipe[0], 8192) == bytes(4096)


def test_nothing_that_is_logged_makes_long_lines_or_lines_of_somebody_else() -> None:
    formatter = PlainFormatter()
    text = formatter.format(record("%s", "a\n2026-01-01 00:00:00 info: all is well" + "x" * 100_000))
    assert text.isprintable()
    assert len(text) < 2100

    def deep(number: int) -> None:
        if not number:
            raise ValueError("a\n2026-01-01 00:00:00 info: all is well\x1b[2J" + "x" * 100_000)
        deep(number - 1)

    try:
        deep(500)
    except ValueError as error:
        failed = record("failed")
        failed.exc_info = (type(error), error, error.__traceback__)
    lines = formatter.format(failed).split("\n")
    assert lines[0].endswith("info: failed")
    assert all(line.startswith("  ") and line.isprintable() and len(line) < 2100 for line in lines[1:])
    assert len(lines) < 70
    assert any("ValueError: a" in line for line in lines)


def test_what_was_left_out_is_told_though_nothing_more_happens(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curier.cli.log_writer.QUIET_SECONDS", 0.01)
    writer = LogWriter(pipe[1])
    log = logger("curier.test_log_writer")
    log.addHandler(writer)
    try:
        for _ in range(100):
            log.warning("x")
        heard = b""
        while b"80 more lines were left out like: x\n" not in heard:
            heard += os.read(pipe[0], 65_536)
    finally:
        log.removeHandler(writer)
        writer.close()
