"""A broker is told to stop, by a signal or by the end of its terminal, or to read its password file again."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from curier.auth.user_file import set_password
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.codec.properties import Properties
from tests.standing_still import stand_still

pytestmark = pytest.mark.timeout(120)


class Daemon:
    """``curier broker`` without a terminal, or on one of its own; ``master`` is the other end of that."""

    def __init__(
        self, place: Path, *arguments: str, on_terminal: bool = False, ignores: bool = False
    ) -> None:
        self.log = place / "log"
        self.ready = place / "ready"
        self.ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "curier", "broker", "--listen", "tcp://127.0.0.1:0", *arguments]
        self.master = -1
        if on_terminal:
            self.pid, self.master = pty.fork()  # it has a session and a controlling terminal
        else:
            self.pid = os.fork()
        if not self.pid:
            try:
                if not on_terminal:
                    os.setsid()
                if ignores:
                    signal.signal(signal.SIGHUP, signal.SIG_IGN)
                os.dup2(os.open(self.ready, os.O_WRONLY | os.O_CREAT, 0o600), 1)
                os.dup2(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
                os.execv(sys.executable, command)
            finally:
                os._exit(127)
        self.code: int | None = None
        self.wait_for(lambda: "Ctrl-C" in self.ready.read_text() if self.ready.exists() else False)
        found = re.search(r"listening on .*:(\d+)\n", self.ready.read_text())
        assert found is not None
        self.port = int(found[1])

    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, condition: object) -> None:
        assert callable(condition)
        until = time.monotonic() + 100
        while not condition():
            assert time.monotonic() < until, self.said()
            assert self.is_running(), self.said()
            time.sleep(0.02)

    def is_running(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is None

    def wait(self) -> int:
        """Its exit code."""
        until = time.monotonic() + 100
        while self.is_running():
            assert time.monotonic() < until, self.said()
            time.sleep(0.02)
        assert self.code is not None
        return self.code

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Its terminal is gone."""
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        if self.is_running():
            self.kill(signal.SIGKILL)
            self.wait()
        if self.master >= 0:
            os.close(self.master)


@contextmanager
def running(
    place: Path, *arguments: str, on_terminal: bool = False, ignores: bool = False
) -> Iterator[Daemon]:
    daemon = Daemon(place, *arguments, on_terminal=on_terminal, ignores=ignores)
    try:
        yield daemon
    finally:
        daemon.close()


def connect(daemon: Daemon, name: str, will: p.Will | None = None) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", daemon.port), 100)
    made = Properties()
    made.session_expiry_interval = 1000
    client.sendall(encode(p.Connect(5, name, False, 0, None, None, will, made), 5))
    assert client.recv(2, socket.MSG_WAITALL)[0] == 0x20
    return client


def read_all(client: socket.socket) -> bytes:
    """Up to the end of the connection."""
    data = b""
    with client:
        while part := client.recv(1 << 16):
            data += part
    return data


def test_a_disk_that_takes_nothing_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    with running(tmp_path, "--data", str(tmp_path / "data")) as daemon:
        reader = connect(daemon, "reader")
        reader.sendall(encode(p.Subscribe(1, [("t", 1)], None), 5))
        reader.settimeout(100)
        while b"\x90" not in reader.recv(1000):
            pass
        (store,) = psutil.Process(daemon.pid).children()
        stand_still(store.pid)
        writer = connect_without_session(daemon)
        for packet_id in range(1, 4):  # one is on its way to the disk, the others wait behind it
            publish = encode(p.Publish("t", b"x", 1, False, False, packet_id, None), 5)
            writer.sendall(publish + encode(p.Pingreq(), 5))
            assert writer.recv(2, socket.MSG_WAITALL) == encode(p.Pingresp(), 5)
        daemon.kill(signal.SIGTERM)
        assert daemon.wait() == 1
        assert not store.is_running()
    said = daemon.said().splitlines()[-1]
    assert said.startswith(f"Error: {tmp_path / 'data'}: the last changes could not be written (3 messages, ")
    assert "none of them was acknowledged" in said
    reader.close()
    assert not read_all(writer).startswith(b"\x40")


def connect_without_session(daemon: Daemon) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", daemon.port), 100)
    client.sendall(encode(p.Connect(5, "writer", True, 0), 5))
    size = client.recv(2, socket.MSG_WAITALL)[1]
    client.recv(size, socket.MSG_WAITALL)
    return client


@pytest.mark.parametrize("on_terminal", [True, False])
def test_sighup_reads_the_password_file_again(tmp_path: Path, on_terminal: bool) -> None:
    users = tmp_path / "users"
    set_password(users, "ana", b"right")
    with running(tmp_path, "--memory", "--password-file", str(users), on_terminal=on_terminal) as daemon:
        daemon.kill(signal.SIGHUP)
        daemon.wait_for(lambda: "SIGHUP: the users were read again" in daemon.said())
        users.write_text("nonsense")
        daemon.kill(signal.SIGHUP)
        daemon.wait_for(lambda: "; nothing has changed" in daemon.said())
        time.sleep(1.5)  # longer than it takes to look at the terminal once more
        daemon.kill(signal.SIGTERM)
        assert daemon.wait() == 0
        assert "stopping: finishing what is being written (Ctrl-C" in daemon.said()


def test_sighup_says_when_there_is_nothing_to_be_read_again(tmp_path: Path) -> None:
    with running(tmp_path, "--memory") as daemon:
        daemon.kill(signal.SIGHUP)
        daemon.wait_for(lambda: "SIGHUP: nothing has changed" in daemon.said())
        connect(daemon, "c").close()


def test_the_end_of_its_terminal_stops_it_as_sigterm_does(tmp_path: Path) -> None:
    will = p.Will("will", b"gone", 1, True, None)
    with running(tmp_path, "--data", str(tmp_path / "data"), on_terminal=True) as daemon:
        client = connect(daemon, "c", will)
        daemon.hang_up()
        goodbye = read_all(client)
        assert b"\xe0" in goodbye
        assert b"\x8b" in goodbye  # Server shutting down
        assert daemon.wait() == 0
        assert "stopping: finishing what is being written (the terminal is gone)" in daemon.said()
        assert daemon.said().endswith("info: stopped\n")
    shown = subprocess.run(
        [sys.executable, "-m", "curier", "store", "export", str(tmp_path / "data")],
        capture_output=True,
        check=True,
    )
    assert b'"is": "retained", "topic": "will"' in shown.stdout


def test_what_nohup_started_stays(tmp_path: Path) -> None:
    with running(tmp_path, "--memory", on_terminal=True, ignores=True) as daemon:
        daemon.hang_up()
        time.sleep(1.5)
        connect(daemon, "c").close()
        assert "stopping" not in daemon.said()
        assert "SIGHUP is ignored, as nohup has it: curier admin reload" in daemon.said()
