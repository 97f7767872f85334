"""Checks in threads: how many, at what priority, for whom."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import curier.auth.checks as module
from curier.auth.checks import NICENESS, Checks
from curier.auth.line import MOST_OF_ADDRESS, Full


@pytest.fixture(params=[1, 2])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(os, "cpu_count", lambda: 2 * request.param)
    return int(request.param)


class Worker:
    """A check that goes on until it is told to end."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.thread = 0

    def __call__(self) -> bool:
        self.thread = threading.get_native_id()
        self.began.set()
        assert self.may_end.wait(30)
        return True


@pytest.fixture
def checks(cores: int) -> Checks:
    return Checks(time.monotonic)


@pytest.fixture
def workers(cores: int) -> Iterator[list[Worker]]:
    """As many as there are threads."""
    workers = [Worker() for _ in range(cores)]
    yield workers
    for worker in workers:
        worker.may_end.set()


async def keep_busy(checks: Checks, workers: list[Worker]) -> list[asyncio.Task[bool]]:
    """Have every thread do one of ``workers``."""
    tasks = [
        asyncio.create_task(checks.run(f"busy {number}", "u", worker))
        for number, worker in enumerate(workers)
    ]
    for worker in workers:
        assert await asyncio.to_thread(worker.began.wait, 30)
    return tasks


async def test_a_check_answers_or_raises(checks: Checks) -> None:
    assert await checks.run("a", "u", lambda: True) is True
    assert await checks.run("a", "u", lambda: False) is False

    def broken() -> bool:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await checks.run("a", "u", broken)
    assert await checks.run("a", "u", lambda: True) is True


async def test_no_more_at_once_than_there_are_threads(checks: Checks, workers: list[Worker]) -> None:
    tasks = await keep_busy(checks, workers)
    last = Worker()
    last.may_end.set()
    late = asyncio.create_task(checks.run("late", "u", last))
    await asyncio.sleep(0.05)
    assert not last.began.is_set()
    workers[0].may_end.set()
    assert await late
    for worker in workers:
        worker.may_end.set()
    assert await asyncio.gather(*tasks) == [True] * len(workers)
    assert len({worker.thread for worker in workers}) == len(workers)


async def test_who_has_gone_is_not_checked(checks: Checks, workers: list[Worker]) -> None:
    await keep_busy(checks, workers)
    done: list[str] = []

    def check(name: str) -> bool:
        done.append(name)
        return True

    tasks = {
        name: asyncio.create_task(checks.run("a", "u", lambda name=name: check(name)))  # type: ignore[misc]
        for name in ("gone", "there")
    }
    await asyncio.sleep(0)
    tasks["gone"].cancel()
    await asyncio.sleep(0)
    for worker in workers:
        worker.may_end.set()
    assert await tasks["there"]
    assert done == ["there"]


async def test_who_goes_while_it_is_checked_harms_nobody(checks: Checks, workers: list[Worker]) -> None:
    tasks = await keep_busy(checks, workers)
    tasks[0].cancel()
    await asyncio.sleep(0)
    for worker in workers:
        worker.may_end.set()
    assert await checks.run("a", "u", lambda: True)


async def test_too_many_are_told_so(
    checks: Checks, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curier.auth.line.MOST_WAITING", MOST_OF_ADDRESS)
    await keep_busy(checks, workers)
    tasks = [asyncio.create_task(checks.run("a", "u", lambda: True)) for _ in range(MOST_OF_ADDRESS)]
    await asyncio.sleep(0)
    with pytest.raises(Full):
        await checks.run("a", "u", lambda: True)
    other = asyncio.create_task(checks.run("b", "u", lambda: True))
    await asyncio.sleep(0)
    with pytest.raises(Full):  # gave up its place to the other
        await tasks[-1]
    for worker in workers:
        worker.may_end.set()
    assert await asyncio.gather(*tasks[:-1], other) == [True] * MOST_OF_ADDRESS


def test_a_loop_that_has_ended_harms_nobody(checks: Checks, workers: list[Worker]) -> None:
    async def begin() -> None:
        await keep_busy(checks, workers)

    asyncio.run(begin())  # which cancels them, and closes the loop
    for worker in workers:
        worker.may_end.set()
    assert asyncio.run(checks.run("a", "u", lambda: True))


async def test_threads_end_when_there_is_nothing_to_do(
    checks: Checks, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    threads: list[threading.Thread] = []

    def check() -> bool:
        threads.append(threading.current_thread())
        return True

    for _ in range(3):
        assert await checks.run("a", "u", check)
        await asyncio.to_thread(threads[-1].join, 30)
        assert not threads[-1].is_alive()
    assert checks._threads == checks._idle == 0


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
async def test_checks_leave_the_cores_to_others(checks: Checks, workers: list[Worker]) -> None:
    tasks = await keep_busy(checks, workers)
    assert os.getpriority(os.PRIO_PROCESS, workers[0].thread) == NICENESS
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < NICENESS
    for worker in workers:
        worker.may_end.set()
    await asyncio.gather(*tasks)
