"""The process that checks passwords."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import argon2
import psutil
import pytest

from curier.auth import PasswordFile, hash_process
from curier.auth.hash_process import HashProcess
from curier.auth.hashes import CheckError
from curier.testing.seams import credentials

RIGHT = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")


@pytest.fixture
def process() -> Iterator[HashProcess]:
    process = HashProcess(5)
    yield process
    process.close()


def pid_of(process: HashProcess) -> int:
    assert process._process is not None
    return process._process.pid


@pytest.mark.parametrize("password", [b"", b"\x00\xff\n", b"x" * 65_535, b"Right"])
def test_it_checks_one_after_another(process: HashProcess, password: bytes) -> None:
    assert process.fits(RIGHT, b"right")
    pid = pid_of(process)
    assert not process.fits(RIGHT, password)
    assert process.fits(RIGHT, b"right")
    assert pid_of(process) == pid


def test_what_cannot_be_checked_is_told(process: HashProcess) -> None:
    too_dear = RIGHT.replace("m=8,", "m=999999999,")  # a terabyte
    with pytest.raises(CheckError, match=r"[Mm]emory"):
        process.fits(too_dear, b"right")
    assert process.fits(RIGHT, b"right")


def test_it_begins_anew_when_it_has_died(process: HashProcess) -> None:
    assert process.fits(RIGHT, b"right")
    for number in range(2):
        died = psutil.Process(pid_of(process))
        died.kill()
        if number:
            died.wait(100)
        assert process.fits(RIGHT, b"right")


def test_one_that_always_dies_is_told(
    process: HashProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dies.py").write_text("")
    monkeypatch.setattr(hash_process, "PROGRAM", str(tmp_path / "dies.py"))
    with pytest.raises(CheckError, match="has died, twice"):
        process.fits(RIGHT, b"right")


def test_one_that_cannot_be_started_is_told(process: HashProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(CheckError, match="cannot be started: No such file or directory"):
        process.fits(RIGHT, b"right")


def test_closing_ends_it_and_the_next_check_begins_another(process: HashProcess) -> None:
    process.close()
    assert process.fits(RIGHT, b"right")
    first = pid_of(process)
    process.close()
    process.close()
    assert not psutil.pid_exists(first)
    assert process.fits(RIGHT, b"right")


@pytest.mark.skipif(not hasattr(os, "nice"), reason="there are no such priorities here")
def test_its_priority_is_lower_and_the_signal_of_a_terminal_is_not_for_it(process: HashProcess) -> None:
    assert process.fits(RIGHT, b"right")
    pid = pid_of(process)
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + 5, 19)
    os.kill(pid, signal.SIGINT)
    assert process.fits(RIGHT, b"right")
    assert pid_of(process) == pid


def test_a_password_file_has_its_passwords_checked_by_it(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ana:{RIGHT}\n")
    path.chmod(0o600)
    users = PasswordFile(path)

    async def log_in() -> list[int]:
        verdicts = [
            await users.authenticate(credentials(*known))
            for known in (("ana", b"right"), ("ana", b"wrong"), ("bob", b"right"))
        ]
        assert len(psutil.Process().children()) >= 1
        return [verdict.reason_code for verdict in verdicts]

    assert asyncio.run(log_in()) == [0, 0x86, 0x86]
