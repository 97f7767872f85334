"""The window of ``curier broker``: there by default, elsewhere, not at all, and gone in time."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from curier.cli.reload import Reload
from curier.cli.window import window_of
from curier.config import Config
from curier.hook_files.files import HookFiles
from curier.server import Broker
from tests.cli.test_broker_process import Process, Start, start  # noqa: F401  # a fixture


@pytest.fixture(autouse=True)
def by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CURIER_WEB")


def window_line(broker: Process) -> str:
    assert broker.popen.stdout is not None
    for line in broker.popen.stdout:
        if line.startswith("window:"):
            return line
    pytest.fail(f"there is no window: {broker.end()}")


def test_it_is_there_and_does_not_keep_the_broker_from_stopping(start: Start) -> None:  # noqa: F811
    broker = start("--listen", "tcp://127.0.0.1:0")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", window_line(broker))
    assert found
    with socket.create_connection(("127.0.0.1", int(found[1])), 100) as waits:
        waits.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET")
        assert waits.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
        code, _, err = broker.stop(signal.SIGTERM)
    assert code == 0
    assert err.endswith("info: stopped\n")
    assert "Traceback" not in err


def test_a_journal_has_no_link_that_logs_in(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    read_end, write_end = os.pipe()
    file = os.fstat(write_end)
    monkeypatch.setenv("JOURNAL_STREAM", f"{file.st_dev}:{file.st_ino}")
    broker = start("--listen", "tcp://127.0.0.1:0", stdout=write_end)
    os.close(write_end)
    with open(read_end) as said:
        line = next(one for one in said if one.startswith("window:"))
        assert re.fullmatch(r"window:    http://127\.0\.0\.1:\d+/?\n", line)
        assert said.readline() == "           (a link that logs in: curier admin login)\n"
        code, _, err = broker.stop(signal.SIGTERM)
    assert code == 0, err


def test_an_address_that_was_asked_for_has_to_be_had(start: Start) -> None:  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, _, err = start("--listen", "tcp://127.0.0.1:0", "--web", url).end()
    assert code == 2
    assert f"the window cannot be at {url}: Address already in use; choose another" in err


async def test_no_web_is_no_window() -> None:
    broker = Broker(listen=["tcp://127.0.0.1:0"])
    reload = Reload(broker, Config(), None, HookFiles(()), None, Config)
    assert window_of(Config(web="off"), broker, reload) is None
    assert window_of(Config(web="http://127.0.0.1:0"), broker, reload) is not None


WITHOUT = "import sys; sys.modules.update(dict.fromkeys(('starlette', 'uvicorn', 'h11', 'msgspec'))); "
RUN = WITHOUT + "import curier.cli; curier.cli.main()"


@pytest.fixture
def bare() -> Iterator[Process]:
    broker = Process("broker", "--memory", "--listen", "tcp://127.0.0.1:0", program=("-c", RUN))
    yield broker
    broker.close()


def test_without_its_packages_a_line_of_the_log_says_how_to_get_it(bare: Process) -> None:
    assert bare.port
    code, out, err = bare.stop()
    assert code == 0
    assert "window:" not in out
    assert "the window (pages, API, metrics) needs the package" in err
    assert "pip install 'curier[web]'" in err


def test_who_asks_for_it_without_its_packages_is_told_so() -> None:
    command = [sys.executable, "-c", RUN, "broker", "--memory", "--web", "http://127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=100)
    assert done.returncode == 2
    assert "pip install 'curier[web]'" in done.stderr
