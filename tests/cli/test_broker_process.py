"""``python -m curier broker`` as a process: ready line, clients, signals, exit codes."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from curier.auth.user_file import set_password

Start = Callable[..., "Process"]

PROGRAM = ("-m", "curier", "broker")

CONNECT = bytes.fromhex("10 0e 0004 4d515454 04 02 003c 0002 6331")
"""MQTT 3.1.1, Clean Session, Keep Alive 60, Client Identifier "c1", no user name."""

CONNECT_AS_ANA = bytes.fromhex("10 1a 0004 4d515454 04 c2 003c 0002 6331 0003 616e61 0005 7269676874")
"""The same as user "ana" with the password "right"."""

ACCEPTED = bytes.fromhex("20 02 00 00")
BAD_USER_NAME_OR_PASSWORD = bytes.fromhex("20 02 00 04")
NOT_AUTHORIZED = bytes.fromhex("20 02 00 05")


class Process:
    """A broker that runs; ``port`` is that of its first listener. ``stdout`` may be a file descriptor."""

    def __init__(
        self, *arguments: str | Path, program: tuple[str, ...] = PROGRAM, stdout: int = subprocess.PIPE
    ) -> None:
        command = [sys.executable, "-W", "always", *program, *map(str, arguments)]
        if program == PROGRAM and "--data" not in command:
            command.append("--memory")
        self.popen = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)
        self.first_line = self.popen.stdout.readline() if self.popen.stdout else ""
        found = re.search(r":(\d+)$", self.first_line)
        self.port = int(found[1]) if found else 0

    def ask(self, packet: bytes) -> bytes:
        """The first four bytes of the answer to one packet."""
        assert self.port, self.end()
        with socket.create_connection(("127.0.0.1", self.port), 100) as connection:
            connection.sendall(packet)
            return connection.recv(4, socket.MSG_WAITALL)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Exit code, and what else was said on standard output and standard error."""
        self.popen.send_signal(number)
        return self.end()

    def end(self) -> tuple[int, str, str]:
        assert self.popen.stderr is not None
        err = self.popen.stderr.read()  # first: the log may be more than a pipe holds
        out = self.popen.stdout.read() if self.popen.stdout else ""
        return self.popen.wait(100), out, err

    def wait_for_log(self, word: str) -> None:
        """Read the log up to the next line with this word in it."""
        assert self.popen.stderr is not None
        said: list[str] = []
        for line in self.popen.stderr:
            said.append(line)
            if word in line:
                return
        pytest.fail(f"the log ended without {word!r}:\n{''.join(said)}")

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(100)
        for pipe in (self.popen.stdout, self.popen.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[Process] = []

    def start(*arguments: str | Path, **how: Any) -> Process:
        processes.append(Process(*arguments, **how))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


ANYWHERE = ("--listen", "tcp://127.0.0.1:0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_serves_and_stops_cleanly(start: Start, number: int) -> None:
    broker = start(*ANYWHERE)
    assert broker.first_line == f"listening on tcp://127.0.0.1:{broker.port}\n"
    assert broker.ask(CONNECT) == ACCEPTED
    code, out, err = broker.stop(number)
    assert code == 0, err
    assert "kept in memory only: everything is lost when the broker stops\n" in out
    assert f"curier sub -h 127.0.0.1 -p {broker.port} " in out
    assert "info: c1 connected from 127.0.0.1" in err
    assert "info: stopping: finishing what is being written" in err
    assert err.endswith("info: stopped\n")
    assert "Warning" not in err


@pytest.mark.parametrize("words", [(), ("--no-trace",)])
def test_it_serves_traces_to_its_own_user(start: Start, tmp_path: Path, words: tuple[str, ...]) -> None:
    broker = start(*ANYWHERE, "--data", tmp_path / "data", *words)
    path = tmp_path / "data" / "trace.sock"
    assert path.exists() == (not words)
    if words:
        return
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as reader:
        reader.settimeout(100)
        reader.connect(str(path))
        reader.sendall(b'{"client_id": "c1"}\n')
        with reader.makefile("rb") as lines:
            assert lines.readline() == b"{}\n"
            assert broker.ask(CONNECT) == ACCEPTED
            assert b'"event":"opened"' in lines.readline()
            assert b'"client_id":"c1"' in lines.readline()
            code, _, err = broker.stop()
            assert lines.read() is not None  # to its end
    assert code == 0, err
    assert not path.exists()


def test_a_log_that_nobody_reads_does_not_stop_it(start: Start) -> None:
    broker = start(*ANYWHERE)
    for _ in range(600):  # two lines of the log each: twice what a pipe holds
        assert broker.ask(CONNECT) == ACCEPTED
    code, _, err = broker.stop()
    assert code == 0
    assert err.count("c1 connected") == 600


def test_it_stops_with_clients_connected(start: Start) -> None:
    broker = start(*ANYWHERE)
    with socket.create_connection(("127.0.0.1", broker.port), 100) as connection:
        connection.sendall(CONNECT)
        assert connection.recv(4, socket.MSG_WAITALL) == ACCEPTED
        broker.popen.send_signal(signal.SIGTERM)
        assert connection.recv(1) == b""
    assert broker.end()[0] == 0


def test_the_log_level_is_kept_to(start: Start) -> None:
    broker = start(*ANYWHERE, "--log-level", "error")
    assert broker.ask(CONNECT) == ACCEPTED
    code, _, err = broker.stop()
    assert (code, err) == (0, "")


def test_every_listener_is_named(start: Start) -> None:
    broker = start(*ANYWHERE, *ANYWHERE)
    code, out, err = broker.stop()
    assert code == 0, err
    assert out.startswith("listening on tcp://127.0.0.1:")
    assert not out.startswith(broker.first_line)


def test_a_port_in_use_is_named_with_the_way_out(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = start(*ANYWHERE, "--listen", url).end()
    assert code == 2, err
    assert err.splitlines()[-1] == (
        f"Error: cannot listen on {url}: another program uses this port; stop it, or choose another port "
        "(--listen tcp://127.0.0.1:0 takes a free port)"
    )
    assert "Traceback" not in err


def test_an_address_of_another_machine_is_told(start: Start) -> None:
    code, _, err = start("--listen", "tcp://192.0.2.1:1883", "--allow-anonymous").end()
    assert code == 2, err
    assert "cannot listen on tcp://192.0.2.1:1883: this machine has no such address" in err


def test_a_decision_is_asked_for_on_other_addresses(start: Start) -> None:
    code, _, err = start("--listen", "tcp://0.0.0.0:0").end()
    assert code == 2, err
    assert "--password-file" in err
    assert "--allow-anonymous" in err
    assert start("--listen", "tcp://0.0.0.0:0", "--allow-anonymous").ask(CONNECT) == ACCEPTED


def test_users_of_a_password_file_come_and_go_without_a_restart(start: Start, tmp_path: Path) -> None:
    users = tmp_path / "users"
    passwd: list[Any] = [sys.executable, "-m", "curier", "passwd", users, "ana"]
    subprocess.run([*passwd, "--stdin"], input=b"right\n", check=True, capture_output=True)
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    broker = start(*ANYWHERE, "--password-file", users)
    assert broker.ask(CONNECT) in (BAD_USER_NAME_OR_PASSWORD, NOT_AUTHORIZED)
    assert broker.ask(CONNECT_AS_ANA) == ACCEPTED
    set_password(users, "ana", b"changed")
    answers = iter(lambda: broker.ask(CONNECT_AS_ANA), BAD_USER_NAME_OR_PASSWORD)
    assert set(answers) <= {ACCEPTED}  # until the change is noticed; the test's time limit ends it otherwise
    code, _, err = broker.stop()
    assert code == 0, err
    assert "right" not in err


def test_hook_files_are_read_again_and_what_is_wrong_with_one_is_told(start: Start, tmp_path: Path) -> None:
    doors = """
        from curier.auth import Authenticator, Verdict
        class Doors(Authenticator):
            async def authenticate(self, credentials):
                return Verdict({})
    """
    own = tmp_path / "own.py"
    own.write_text(dedent(doors.format("0x86")))
    broker = start("--listen", "tcp://0.0.0.0:0", "--hook", own)
    assert broker.ask(CONNECT) == BAD_USER_NAME_OR_PASSWORD
    for text, log, answer in (
        (doors.format("0"), "SIGHUP: the hook files were read again", ACCEPTED),
        ("x = ", f"SIGHUP: {own}, line 1: invalid syntax; nothing has changed", ACCEPTED),
    ):
        own.write_text(dedent(text))
        broker.popen.send_signal(signal.SIGHUP)
        broker.wait_for_log(log)
        assert broker.ask(CONNECT) == answer
    assert broker.stop()[0] == 0
    code, _, err = start(*ANYWHERE, "--hook", own).end()
    assert (code, err) == (2, f"Error: {own}, line 1: invalid syntax\n")


def test_a_second_signal_stops_at_once(start: Start) -> None:
    endless = """
        import asyncio, curier.cli, curier.cli.serve, curier.server
        class Endless(curier.server.Broker):
            async def stop(self):
                await asyncio.Event().wait()
        curier.cli.serve.Broker = Endless
        curier.cli.main(["broker", "--listen", "tcp://127.0.0.1:0"])
    """
    broker = start(program=("-c", dedent(endless)))
    broker.popen.send_signal(signal.SIGTERM)
    broker.wait_for_log("stopping")
    code, _, err = broker.stop()
    assert code == 1, err
    assert err == "stopped at once: what was being written may be lost\n"


def test_nobody_need_read_what_it_says(start: Start) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    broker = start(*ANYWHERE, "--log-level", "debug", stdout=writer)
    os.close(writer)
    broker.wait_for_log("ready")
    code, _, err = broker.stop()
    assert code == 0, err
    assert err.endswith("info: stopped\n")
