"""``curier pub`` and ``curier sub`` as processes: signals, pipes, passwords, brokers that come and go."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curier.auth.user_file import set_password
from tests.cli.conftest import BrokerThread, Curier
from tests.interop.process import BrokerProcess
from tests.waiting import wait_until


class Process:
    """A command that runs, its streams in text."""

    def __init__(self, *words: object, **how: Any) -> None:
        command = [sys.executable, "-m", "curier", *map(str, words)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        self.popen: subprocess.Popen[str] = subprocess.Popen(command, text=True, **pipes)

    def wait_for(self, pattern: str) -> None:
        """Read stderr up to the next line in which ``pattern`` is found."""
        assert self.popen.stderr is not None
        said: list[str] = []
        for line in self.popen.stderr:
            said.append(line)
            if re.search(pattern, line):
                return
        pytest.fail(f"it ended without {pattern!r}:\n{''.join(said)}")

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        """Exit code, what else came on standard output, and on standard error."""
        if number is not None:
            self.popen.send_signal(number)
        out, err = self.popen.communicate(timeout=100)
        return self.popen.returncode, out or "", err or ""

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(100)
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def start(broker: BrokerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    processes: list[Process] = []

    def start(command: str, *words: object, **how: Any) -> Process:
        server = () if {"-h", "-p", "-L"}.intersection(words) else ("-p", broker.port)
        processes.append(Process(command, *words, *server, **how))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


@pytest.fixture
def topic() -> str:
    return f"test/{uuid.uuid4().hex}"


def ready(process: Process, curier: Curier, topic: str) -> None:
    """Wait until a subscriber that prints is there."""
    wait_until(lambda: ": 0x00" in curier("pub", "-t", topic, "-m", "ready?", "-q", 1, "-d").stderr)
    assert process.line() == "ready?\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_a_proper_goodbye(
    start: Any, curier: Curier, topic: str, number: int, code: int
) -> None:
    process = start(
        "sub", "-t", topic, "--will-topic", f"{topic}/will", "--will-payload", "gone", "--will-retain"
    )
    ready(process, curier, topic)
    assert process.end(number) == (code, "", "")
    assert curier("sub", "-t", f"{topic}/will", "-W", "0.3").stdout == ""


def test_what_is_killed_has_its_will_done(start: Any, curier: Curier, topic: str) -> None:
    process = start(
        "sub", "-t", topic, "--will-topic", f"{topic}/will", "--will-payload", "gone", "--will-retain"
    )
    ready(process, curier, topic)
    process.end(signal.SIGKILL)
    assert curier("sub", "-t", f"{topic}/will", "-C", 1, "-W", "20").stdout == "gone\n"


@pytest.mark.parametrize("how", ["-l", "-s"])
def test_a_signal_ends_the_waiting_for_input(start: Any, topic: str, how: str) -> None:
    process = start("pub", "-t", topic, how, "-d")
    if how == "-l":
        process.wait_for("connected to")
    else:
        process.popen.stdin.write("a")
        process.popen.stdin.flush()
        wait_until(lambda: ready_to_be_stopped(process.popen.pid))
    process.popen.send_signal(signal.SIGINT)
    code = process.popen.wait(100)
    assert (code, "Traceback" in process.popen.stderr.read()) == (130, False)


def ready_to_be_stopped(pid: int) -> bool:
    """Whether a process has its own way with SIGINT by now, and waits."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)  # type: ignore[index]  # it is always there
    wakes = Path(f"/proc/{pid}/wchan").read_text()
    return bool(caught & 1 << (signal.SIGTERM - 1)) and "poll" in wakes


def test_lines_go_out_as_they_come(start: Any, curier: Curier, topic: str) -> None:
    reader = start("sub", "-t", topic, "-q", 1)
    ready(reader, curier, topic)
    writer = start("pub", "-t", topic, "-l", "-q", 1)
    for line in ("a\n", "b\n"):
        writer.popen.stdin.write(line)
        writer.popen.stdin.flush()
        assert reader.line() == line
    assert writer.end() == (0, "", "")
    reader.end(signal.SIGTERM)


def test_a_reader_that_has_seen_enough_is_no_error(start: Any, curier: Curier, topic: str) -> None:
    """And what it has not seen is not acknowledged."""
    session = ("-c", "-i", uuid.uuid4().hex, "-t", topic, "-q", 1)
    curier("sub", *session, "-E")
    lines = [f"{number} {'x' * 1000}\n" for number in range(500)]
    curier("pub", "-t", topic, "-q", 1, "-l", stdin="".join(lines).encode())
    process = start("sub", *session)
    first = process.line()
    process.popen.stdout.close()
    process.popen.stdout = None
    code, _, err = process.end()
    assert (first, code, err) == (lines[0], 0, "")
    curier("pub", "-t", topic, "-q", 1, "-m", "the end")
    rest: list[str] = []
    while "the end\n" not in rest:
        rest += curier("sub", *session, "-W", "1").stdout.splitlines(keepends=True)
    rest.remove("the end\n")
    assert len(rest) >= 400
    assert rest == lines[-len(rest) :]


def with_a_reader_that_stands_still(
    start: Any, curier: Curier, topic: str, lines: list[str], *words: object
) -> tuple[int, str, str]:
    """How a subscriber ends whose reader takes nothing for longer than its Keep Alive allows, which is
    once more and a half.
    """
    for keep_alive in (1, 5, 25):  # with a short one, a busy machine may keep it from its pings
        own = f"{topic}/{keep_alive}"
        count = len(lines) + 1
        process = start("sub", "-t", own, *words, "-k", keep_alive, "-C", count, "--reconnect", 0)
        wait_until(
            lambda process=process, own=own: (
                process.popen.poll() is not None  # type: ignore[misc]
                or ": 0x00" in curier("pub", "-t", own, "-m", "ready?", "-q", 1, "-d").stderr
            )
        )
        assert curier("pub", "-t", own, "-q", 1, "-l", stdin="".join(lines).encode()).exit_code == 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(3 * keep_alive)
        stood_still = process.popen.poll() is None
        code, out, err = process.end()
        if code != 7:
            break
    assert stood_still
    return code, out, err


def test_a_reader_that_stands_still_costs_no_connection(start: Any, curier: Curier, topic: str) -> None:
    lines = [f"{number} {'x' * 1000}\n" for number in range(299)]
    told = with_a_reader_that_stands_still(start, curier, topic, lines, "-q", 1)
    assert told == (0, "".join(["ready?\n", *lines]), "")


def test_a_lost_connection_is_opened_again(start: Any, curier: Curier, topic: str, tmp_path: Path) -> None:
    first = BrokerProcess(tmp_path / "broker")
    port = first.port
    process = start("sub", "-t", topic, "-q", 1, "-p", port, "-C", 1, "-d")
    process.wait_for("connected to")
    first.stop()
    process.wait_for(r"^Warning: .*; attempt 1 to connect to mqtt://localhost:\d+ in \d")
    second = BrokerProcess(tmp_path / "broker", "--listen", f"tcp://127.0.0.1:{port}")
    try:
        process.wait_for("connected to")
        assert curier("pub", "-p", port, "-t", topic, "-m", "again", "-q", 1).exit_code == 0
        assert process.end()[:2] == (0, "again\n")
    finally:
        second.stop()


def test_it_gives_up_after_as_many_attempts_as_it_is_told(start: Any, topic: str, tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "broker", memory=True)
    process = start("sub", "-t", topic, "-p", broker.port, "-d", "--reconnect", 0)
    process.wait_for("connected to")
    broker.stop()
    code, out, err = process.end()
    assert (code, out) == (7, "")
    assert err.startswith("Error: ")


def test_a_password_is_taken_from_the_environment_and_shown_nowhere(
    start: Any, topic: str, tmp_path: Path
) -> None:
    users = tmp_path / "users"
    set_password(users, "ana", b"geheim")
    broker = BrokerProcess(tmp_path / "broker", "--password-file", str(users), memory=True)
    try:
        words = ("pub", "-t", topic, "-m", "x", "-q", 1, "-p", broker.port, "-u", "ana", "-d")
        environment = {**os.environ, "CURIER_PASSWORD": "geheim"}
        code, out, err = start(*words, env=environment).end()
        assert (code, out, "geheim" in err) == (0, "", False)
        code, out, err = start(*words, "-P", "geheim-nicht").end()
        assert (code, out, "geheim" in err) == (134, "", False)
        assert "bad user name or password" in err
    finally:
        broker.stop()


def read_terminal(master: int) -> str:
    """All that comes to a terminal until nobody has it open any more."""
    told = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # how Linux tells of the end
            chunk = b""
        if not chunk:
            os.close(master)
            return told.decode()
        told += chunk


def test_a_terminal_gets_colours_and_no_tricks(start: Any, curier: Curier, topic: str) -> None:
    curier("pub", "-t", f"{topic}/1", "-m", "\x1b[2J", "-r")
    curier("pub", "-t", f"{topic}/2", "-m", '{"a":[1]}', "-r")
    for words, expected in (
        (["-t", f"{topic}/1"], "\\x1b[2J\r\n"),
        (
            ["-t", f"{topic}/2", "--pretty"],
            '{\r\n  \x1b[34m"a"\x1b[0m: [\r\n    \x1b[36m1\x1b[0m\r\n  ]\r\n}\r\n',
        ),
    ):
        master, terminal = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": ""}
        process = start("sub", *words, "-C", 1, stdout=terminal, env=environment)
        os.close(terminal)
        assert read_terminal(master) == expected
        assert process.end()[0] == 0


def test_a_terminal_that_stands_still_costs_messages_and_all_are_counted(
    start: Any, curier: Curier, topic: str
) -> None:
    master, terminal = pty.openpty()
    process = start("sub", "-t", topic, "-d", stdout=terminal, stderr=subprocess.PIPE)
    process.wait_for("connected to")
    while "0x00" not in curier("pub", "-t", topic, "-m", "ready?", "-q", 1, "-d").stderr:
        pass  # until it has subscribed
    lines = "".join(f"{number}\n" for number in range(30_000))
    assert curier("pub", "-t", topic, "-l", "-q", 1, stdin=lines.encode()).exit_code == 0
    process.wait_for(r"^Warning: messages come faster than they are printed; \d+ were dropped so far")
    os.close(terminal)
    process.popen.send_signal(signal.SIGINT)
    printed = [line for line in read_terminal(master).splitlines() if line.isdigit()]
    code, _, err = process.end()
    dropped = re.search(r"^Warning: (\d+) messages were dropped in all \(QoS 0\)$", err, re.MULTILINE)
    assert dropped is not None
    assert (code, len(printed) + int(dropped[1])) == (130, 30_000)


def test_a_pipe_that_stands_still_costs_no_message(start: Any, curier: Curier, topic: str) -> None:
    lines = [f"{number}\n" for number in range(30_000)]
    told = with_a_reader_that_stands_still(start, curier, topic, lines)
    assert told == (0, "".join(["ready?\n", *lines]), "")


def test_long_work_shows_how_far_it_is(start: Any, topic: str) -> None:
    master, terminal = pty.openpty()
    words = ("-t", topic, "-m", "x", "--repeat", 15, "--repeat-delay", "0.1")
    process = start("pub", *words, stderr=terminal)
    os.close(terminal)
    told = read_terminal(master)
    process.end()
    assert process.popen.returncode == 0
    assert re.search(r"\r\[#+ +\] \d+ of 15 messages, \d+ a second", told)
    assert told.endswith("\r")
