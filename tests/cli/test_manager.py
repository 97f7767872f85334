"""What systemd hears of a broker, over a socket like its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curier.cli.manager import reading_again, served, tell
from tests.cli.test_broker_process import ANYWHERE, Start, start

__all__ = ["start"]


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(100)

    def heard(self) -> dict[str, str]:
        """The next message."""
        lines = self.socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield made
    made.socket.close()


def test_a_broker_tells_that_it_is_ready_reads_again_and_stops(manager: Manager, start: Start) -> None:
    broker = start(*ANYWHERE)
    ready = manager.heard()
    assert ready == {"READY": "1", "STATUS": f"listening on tcp://127.0.0.1:{broker.port}"}
    before = time.monotonic_ns() // 1000
    broker.popen.send_signal(signal.SIGHUP)
    reloading = manager.heard()
    assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert int(reloading["MONOTONIC_USEC"]) >= before
    assert manager.heard() == {"READY": "1"}
    code, _, err = broker.stop()
    assert code == 0, err
    assert manager.heard()["STOPPING"] == "1"


def test_settings_that_are_wrong_are_no_reason_to_wait_for_it(manager: Manager) -> None:
    with pytest.raises(ValueError, match="wrong"), reading_again():
        raise ValueError("wrong")
    assert manager.heard()["RELOADING"] == "1"
    assert manager.heard() == {"READY": "1"}


def test_the_watchdog_hears_of_a_loop_that_turns(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    async def serve() -> None:
        async with served("well"):
            heard = await asyncio.gather(*(asyncio.to_thread(manager.heard) for _ in range(4)))
        assert {"READY": "1", "STATUS": "well"} in heard
        assert heard.count({"WATCHDOG": "1"}) == 3

    asyncio.run(serve())


@pytest.mark.parametrize("wanted", [{}, {"WATCHDOG_USEC": "20", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}])
def test_who_is_not_asked_does_not_wake_up_for_it(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str]
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)

    async def serve() -> None:
        async with served("well"):
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(serve())


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="the abstract namespace is Linux's")
def test_a_name_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"curier-test-{os.getpid()}"
    made = Manager(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    tell("READY=1")
    assert made.heard() == {"READY": "1"}
    made.socket.close()


@pytest.mark.parametrize("place", ["", "relative", "vsock:2:1", "/not/there/at/all"])
def test_without_a_manager_nothing_is_done(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    tell("READY=1")
