"""Standard streams that are closed, full or without a reader: no traceback, and the exit code of the page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from curier.codec.encode import encode
from curier.codec.packets import Connect
from tests.cli.conftest import BrokerThread, Curier
from tests.waiting import in_longer, wait_until

Shell = Callable[..., "subprocess.CompletedProcess[str]"]

CLOSED = "Error: standard output cannot be written to: Bad file descriptor\n"
FULL = "Error: standard output cannot be written to: No space left on device\n"
NO_INPUT = "Error: standard input cannot be read: Bad file descriptor\n"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a line of sh, in which "$@" is curier with its first words."""

    def run(line: str, *words: object) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", line, "sh", sys.executable, "-m", "curier", *map(str, words)]
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)

    return run


@pytest.fixture
def topic(curier: Curier) -> str:
    """A topic with a retained message."""
    topic = f"test/{uuid.uuid4().hex}"
    assert curier("pub", "-t", topic, "-m", "x", "-r", "-q", 1).exit_code == 0
    return topic


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('"$@" --version >/dev/full', 1, FULL),
        ('"$@" --version >&-', 1, CLOSED),
        ('"$@" --help >/dev/full', 1, FULL),
        ('"$@" pub --help >&-', 1, CLOSED),
        ('"$@" pub --help | true', 0, ""),
        ('"$@" pub --nonsense 2>/dev/full', 2, ""),
        ('"$@" pub --nonsense 2>&-', 2, ""),
        ('"$@" pub -t a -m x -p 1 2>&-', 1, ""),
        ('"$@" store import {}/new <&-', 2, NO_INPUT),
    ],
)
def test_every_command(shell: Shell, line: str, code: int, said: str, tmp_path: Path) -> None:
    result = shell(line.format(tmp_path))
    assert (result.returncode, result.stdout, result.stderr) == (code, "", said)


@pytest.mark.parametrize(
    ("words", "streams", "code", "out", "said"),
    [
        (["pub", "-m", "x"], "<&- >&- 2>&-", 0, "", ""),
        (["pub", "-l"], "<&-", 2, "", NO_INPUT),
        (["pub", "-s"], "<&-", 2, "", NO_INPUT),
        (["pub", "-l"], "</dev/null", 0, "", ""),
        (["sub", "-C", 1], "<&-", 0, "x\n", ""),
        (["sub", "-C", 1], ">&-", 1, "", CLOSED),
        (["sub", "-C", 1], ">/dev/full", 1, "", FULL),
        (["sub", "-C", 1], ">/dev/full 2>&-", 1, "", ""),
        (["sub", "-E"], ">&-", 0, "", ""),
        (["sub", "-W", "{1}"], "2>/dev/full", 27, "x\n", ""),
        (["sub", "-W", "{1}"], "2>&-", 27, "x\n", ""),
        (["rr", "-m", "x", "-e", "{}", "-W", 60], ">&-", 1, "", CLOSED),
        (["rr", "-m", "x", "-e", "{}", "-W", 60], ">/dev/full", 1, "", FULL),
    ],
)
def test_clients(
    shell: Shell,
    broker: BrokerThread,
    topic: str,
    words: list[object],
    streams: str,
    code: int,
    out: str,
    said: str,
) -> None:
    def run(seconds: float) -> subprocess.CompletedProcess[str]:
        own = [str(word).format(topic, seconds) for word in words]
        return shell(f'"$@" {streams}', *own, "-t", topic, "-p", broker.port)

    times = (1.0, 5.0, 50.0) if "{1}" in words else (0.0,)
    result = in_longer(run, lambda one: one.stdout == out, times)
    assert (result.returncode, result.stdout, result.stderr) == (code, out, said)


@pytest.mark.parametrize("locale", ["", "LC_ALL=C", "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0"])
def test_any_locale(shell: Shell, curier: Curier, broker: BrokerThread, locale: str) -> None:
    topic = f"test/{uuid.uuid4().hex}/\N{LATIN SMALL LETTER O WITH DIAERESIS}"
    words = ["-t", topic, "-p", broker.port]
    assert shell(f'{locale} "$@"', "pub", *words, "-m", "\N{SNOWMAN}", "-r", "-q", 1).returncode == 0
    result = shell(f'{locale} "$@"', "sub", *words, "-C", 1, "-F", "%t %p %l", "-W", 60)
    assert (result.returncode, result.stdout) == (0, f"{topic} \N{SNOWMAN} 3\n")
    wrong = shell(f'{locale} "$@"', "pub", "-t", "\N{SNOWMAN}#", "-m", "x")
    assert (wrong.returncode, "Error: -t '\N{SNOWMAN}#'" in wrong.stderr) == (2, True)


def test_nothing_is_opened_in_the_place_of_a_closed_stream(shell: Shell, tmp_path: Path) -> None:
    """Or what is printed would go to whoever is connected there."""
    opened = tmp_path / "opened"
    code = (
        "import os, sys; from curier.cli import streams; streams.prepare(); "
        "name = sys.argv[1]; print(os.open(name, os.O_CREAT | os.O_WRONLY), file=open(name + '.n', 'w')); "
        "sys.stderr.write('lost')"
    )
    command = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code, str(opened)]
    assert subprocess.run(command, timeout=100).returncode == 0
    assert int((tmp_path / "opened.n").read_text()) > 2
    assert opened.read_text() == ""


def test_a_broker_serves_without_streams() -> None:
    """Many are started so: what it would say is not worth not serving."""
    words = ["broker", "--memory", "--listen", "tcp://127.0.0.1:0"]
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "curier", *words]
    with subprocess.Popen(command) as process:
        try:
            with socket.create_connection(("127.0.0.1", port_of(process)), 100) as client:
                client.sendall(encode(Connect(5, "c", True, 0), 5))
                assert client.recv(1) == b"\x20"
            process.send_signal(signal.SIGINT)
            assert process.wait(100) == 0
        finally:
            process.kill()


def port_of(process: subprocess.Popen[bytes]) -> int:
    """Where it listens, which it cannot say."""
    found: list[int] = []

    def listens() -> bool:
        assert process.poll() is None
        sockets = psutil.Process(process.pid).net_connections("tcp4")
        found.extend(one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN)
        return bool(found)

    wait_until(listens)
    return found[0]
