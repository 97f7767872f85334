"""The log's own thread: nobody who reads it slowly, or not at all, can stop the program."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from curier.broker.core import BrokerCore
from curier.broker.options import Options
from curier.cli.log_formats import JournalFormatter, JsonFormatter, PlainFormatter
from curier.cli.log_writer import AuditFile, FileWriter, LogWriter, write_if_it_can_be
from curier.loglines import bounds, logger, tell_left_out
from curier.logs import LogHook
from tests.each import each
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


# -- how lines look --


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place that is ahead of UTC by five and three quarter hours."""
    monkeypatch.setenv("TZ", "NPT-5:45")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(
    seconds: float, text: str, level: int = logging.INFO, name: str = "curier.broker.connect"
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, "", 0, text, (), None)
    made.created = seconds
    return made


def failed(text: str) -> logging.LogRecord:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        made = at(0, text, logging.ERROR)
        made.exc_info = (type(error), error, error.__traceback__)
        return made


def test_the_time_has_the_offset_of_its_zone(zone: None) -> None:
    assert PlainFormatter().format(at(86_400.5, "a")) == "1970-01-02 05:45:00+05:45 info: a"


def test_lines_for_programs(zone: None) -> None:
    record = at(0.1239, 'say "\x1b"', logging.WARNING)
    record.fields = {"client_id": "c", "reason_code": 0x87}
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert json.loads(line) == {
        "time": "1970-01-01T05:45:00.123+05:45",
        "level": "warning",
        "topic": "connect",
        "message": 'say "\\x1b"',
        "client_id": "c",
        "reason_code": 0x87,
    }
    made = json.loads(JsonFormatter().format(failed("it went")))
    assert made["trace"][-1] == "ValueError: wrong"
    assert json.loads(JsonFormatter().format(at(0, "x", name="asyncio")))["topic"] == "asyncio"


def test_lines_for_journald_begin_with_their_priority() -> None:
    formatter = JournalFormatter()
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
    assert [formatter.format(at(0, "a", level)) for level in levels] == [
        "<7>debug: a",
        "<6>info: a",
        "<4>warning: a",
        "<3>error: a",
    ]
    lines = formatter.format(failed("it went")).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>") for line in lines)


# -- files --


@pytest.fixture
def file(tmp_path: Path) -> Iterator[FileWriter]:
    path = tmp_path / "curier.log"
    path.write_text("of before\n")
    writer = FileWriter(str(path))
    yield writer
    writer.close()


def test_a_file_is_gone_on_with(file: FileWriter, tmp_path: Path) -> None:
    file.handle(record("a"))
    file.close()
    assert [line.split()[-1] for line in (tmp_path / "curier.log").read_text().splitlines()] == [
        "before",
        "a",
    ]


def test_a_file_that_is_moved_away_is_made_anew(file: FileWriter, tmp_path: Path) -> None:
    path = tmp_path / "curier.log"
    path.rename(tmp_path / "old")
    file.handle(record("a"))
    file.close()
    assert (tmp_path / "old").read_text() == "of before\n"
    assert path.read_text() == "a\n"
    assert path.stat().st_mode & 0o777 & ~0o640 == 0


def test_reopening_writes_to_what_is_there_now(file: FileWriter, tmp_path: Path) -> None:
    path = tmp_path / "curier.log"
    file.handle(record("a"))
    wait_until(lambda: path.read_text().endswith("\na\n"))
    path.rename(tmp_path / "old")
    file.reopen()
    file.handle(record("b"))
    file.close()
    assert path.read_text().count("\n") == 1


def test_a_file_that_cannot_be_written_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As where the disk is full; and nobody waits for it."""
    writer = FileWriter("/dev/full")
    for _ in range(3):
        writer.handle(record("a"))
        writer.reopen()
    writer.close()
    told = capfd.readouterr().err
    assert told == "the log cannot be written to /dev/full: No space left on device; lines are lost\n"


def test_an_audit_log_is_for_its_owner_alone_and_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    file.write('{"event": "one"}')
    wait_until(lambda: path.read_text() == '{"event": "one"}\n')
    path.rename(tmp_path / "audit.log.1")
    file.reopen()
    file.write('{"event": "two"}')
    file.close()
    assert path.read_text() == '{"event": "two"}\n'
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "audit.log.1").read_text() == '{"event": "one"}\n'


def test_an_audit_log_that_nobody_takes_stops_nobody_and_says_what_is_lost(tmp_path: Path) -> None:
    file = AuditFile(str(tmp_path / "audit.log"))
    file._most_lines = 0  # as if the disk stood still
    file.write("{}")
    file.write("{}")
    file._most_lines = 10
    file.write('{"event": "three"}')
    file.close()
    lines = (tmp_path / "audit.log").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"event": "lost", "count": 2}, {"event": "three"}]


class Room(logging.Handler):
    """Somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The logger of connections, at its level, as if nothing had been logged yet; time stands still. Whose
    handlers pytest gives the root, each test sees to itself: they come only when it begins.
    """
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.123456)
    bounds.clear()
    own = logging.getLogger("curier.broker.connect")
    monkeypatch.setattr(own, "level", logging.INFO)
    own.manager._clear_cache()  # type: ignore[attr-defined]
    yield own
    own.manager._clear_cache()  # type: ignore[attr-defined]
    bounds.clear()


def happen(times: int, reason: str = "by the client") -> None:
    """Connections come and go."""
    hook = LogHook()
    connection = BrokerCore(Options(), 0.0).attach("192.0.2.1:5000", "tcp://0.0.0.0:1883", 0.0)
    connection.client_id, connection.identity, connection.version = "ana\n", "ana", 5
    for _ in range(times):
        hook.on_connect(connection, False)
        hook.on_disconnect(connection, 0x04, reason)


def makes_records(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of each record that is made from now on, by the logger itself."""
    made: list[str] = []
    handle = logging.Logger.handle

    def counted(self: logging.Logger, record: logging.LogRecord) -> None:
        made.append(str(record.msg))
        handle(self, record)

    monkeypatch.setattr(logging.Logger, "handle", counted)
    return made


@each("formatter", [PlainFormatter(), JournalFormatter(), JsonFormatter()])
def test_common_lines_are_the_same_without_a_record(
    formatter: logging.Formatter, alone: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds.clear()
    ours, theirs = os.pipe()
    writer = LogWriter(theirs)
    writer.setFormatter(formatter)
    monkeypatch.setattr(logging.getLogger(), "handlers", [writer])
    with monkeypatch.context() as context:
        made = makes_records(context)
        happen(2, "x" * 3000)
    assert len(made) == 2  # the first of each kind
    writer.close()
    os.close(theirs)
    first, gone, *rest = read_all(ours)
    os.close(ours)
    assert "ana\\n connected as ana from 192.0.2.1:5000" in first.replace("\\\\", "\\")
    assert rest == [first, gone]


def test_who_adds_a_handler_gets_the_records_of_common_lines(
    alone: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(pipe[1])
    writer.setFormatter(PlainFormatter())
    monkeypatch.setattr(logging.getLogger(), "handlers", [writer])
    happen(1)
    places = [logging.getLogger(), logging.getLogger("curier"), alone]
    for place in places:
        own = Room()
        place.addHandler(own)
        happen(1)
        place.removeHandler(own)
        (came, left) = own.records
        assert came.fields["client_id"] == "ana\\n"  # type: ignore[attr-defined]
        assert left.fields["reason_code"] == 0x04  # type: ignore[attr-defined]
    refused = logging.Filter("nobody")
    for filtered in (alone, writer):
        filtered.addFilter(refused)
        happen(1)
        filtered.removeFilter(refused)
    writer.close()
    os.close(pipe[1])
    assert len(read_all(pipe[0])) == 2 * (1 + len(places))


def test_common_lines_that_are_too_many_are_lost_and_told(
    alone: logging.Logger, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(pipe[1], most_lines=10)
    writer.setFormatter(PlainFormatter())
    monkeypatch.setattr(logging.getLogger(), "handlers", [writer])
    while not writer._lost:
        happen(10, "x" * 400)
    os.set_blocking(pipe[0], False)
    heard = b""
    while writer._lines:
        with suppress(BlockingIOError):
            heard += os.read(pipe[0], 65_536)
    happen(1)
    writer.close()
    os.close(pipe[1])
    os.set_blocking(pipe[0], True)
    text = heard.decode() + "\n".join(read_all(pipe[0]))
    assert "lines of this log are lost: nobody took them in time" in text


def test_common_lines_over_their_rate_are_left_out_and_told(
    alone: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    writer = FileWriter(str(path))
    writer.setFormatter(PlainFormatter())
    monkeypatch.setattr(logging.getLogger(), "handlers", [writer])
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    happen(1005)
    tell_left_out()
    writer.close()
    lines = path.read_text().splitlines()
    assert sum(" connected as ana from " in line for line in lines) == 1000
    told = "5 more lines were left out like: ..."
    assert [line.partition("info: ")[2] for line in lines[2000:]] == [
        f"{told} connected... from ... at ..., MQTT ..., ...",
        f"{told} disconnected: ...",
    ]
