"""Checks: how many at once, at what priority, for whom."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

import curier.auth.checks as module
from curier.auth import hashes
from curier.auth.checks import NICENESS, Checks, Hasher
from curier.auth.line import FORGIVEN, MOST_OF_ADDRESS, Full


@pytest.fixture(params=[1, 2])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(os, "cpu_count", lambda: 2 * request.param)
    return int(request.param)


class InThread:
    """Checks in the thread that asks."""

    def __init__(self, niceness: int) -> None:
        self.niceness = niceness
        self.is_closed = False

    def fits(self, encoded: str, password: bytes) -> bool:
        return hashes.fits(encoded, password)

    def close(self) -> None:
        self.is_closed = True


class Worker:
    """A check that goes on until it is told to end."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.thread = 0
        self.niceness = 0

    def __call__(self, hasher: Hasher) -> bool:
        assert isinstance(hasher, InThread)
        self.niceness = hasher.niceness
        self.thread = threading.get_native_id()
        self.began.set()
        assert self.may_end.wait(100)
        return True


@pytest.fixture
def checks(cores: int) -> Checks:
    return Checks(time.monotonic, InThread)


@pytest.fixture
def workers(cores: int) -> Iterator[list[Worker]]:
    """As many as there are threads, on both sides of the line."""
    workers = [Worker() for _ in range(2 * cores)]
    yield workers
    for worker in workers:
        worker.may_end.set()


async def keep_busy(checks: Checks, workers: list[Worker]) -> list[asyncio.Task[bool]]:
    """Have every thread do one of ``workers``: half of them on the side of those that have failed."""
    tasks = []
    for number in range(1, len(workers), 2):
        for _ in range(FORGIVEN + 1):
            assert not await checks.run(f"busy {number}", "somebody", lambda _: False)
    for number, worker in enumerate(workers):
        tasks.append(asyncio.create_task(checks.run(f"busy {number}", "u", worker)))
        assert await asyncio.to_thread(worker.began.wait, 100)
    return tasks


async def test_a_check_answers_or_raises(checks: Checks) -> None:
    assert await checks.run("a", "u", lambda _: True) is True
    assert await checks.run("a", "u", lambda _: False) is False

    def broken(_: Hasher) -> bool:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await checks.run("a", "u", broken)
    assert await checks.run("a", "u", lambda _: True) is True


async def test_no_more_at_once_than_there_are_threads(checks: Checks, workers: list[Worker]) -> None:
    tasks = await keep_busy(checks, workers)
    last, other = Worker(), Worker()
    last.may_end.set()
    other.may_end.set()
    late = asyncio.create_task(checks.run("late", "u", last))
    later = asyncio.create_task(checks.run("busy 1", "u", other))  # which has failed
    await asyncio.sleep(0.05)
    assert not last.began.is_set()
    assert not other.began.is_set()
    workers[0].may_end.set()
    assert await late
    assert not other.began.is_set()  # each side has threads of its own
    workers[1].may_end.set()
    assert await later
    for worker in workers:
        worker.may_end.set()
    assert await asyncio.gather(*tasks) == [True] * len(workers)
    assert len({worker.thread for worker in workers}) == len(workers)


async def test_a_thread_that_sleeps_is_woken_and_none_is_started(checks: Checks, cores: int) -> None:
    threads = set()

    def check(_: Hasher) -> bool:
        threads.add(threading.get_native_id())
        return True

    for _ in range(20):
        assert await checks.run("a", "u", check)
    assert len(threads) <= cores


async def test_who_has_gone_is_not_checked(checks: Checks, workers: list[Worker]) -> None:
    await keep_busy(checks, workers)
    done: list[str] = []

    def check(name: str, _: Hasher) -> bool:
        done.append(name)
        return True

    tasks = {
        name: asyncio.create_task(checks.run("a", "u", partial(check, name))) for name in ("gone", "there")
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
    assert await checks.run("a", "u", lambda _: True)


async def test_too_many_are_told_so(
    checks: Checks, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curier.auth.line.MOST_WAITING", MOST_OF_ADDRESS)
    await keep_busy(checks, workers)
    tasks = [asyncio.create_task(checks.run("a", "u", lambda _: True)) for _ in range(MOST_OF_ADDRESS)]
    await asyncio.sleep(0)
    with pytest.raises(Full):
        await checks.run("a", "u", lambda _: True)
    other = asyncio.create_task(checks.run("b", "u", lambda _: True))
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
    assert asyncio.run(checks.run("a", "u", lambda _: True))


async def test_threads_end_when_there_is_nothing_to_do(
    checks: Checks, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    threads: list[threading.Thread] = []

    def check(_: Hasher) -> bool:
        threads.append(threading.current_thread())
        return True

    for _ in range(3):
        assert await checks.run("a", "u", check)
        await asyncio.to_thread(threads[-1].join, 100)
        assert not threads[-1].is_alive()
    assert [(side.threads, side.bells) for side in checks._work.sides] == [(0, []), (0, [])]


async def test_each_side_has_its_priority(checks: Checks, workers: list[Worker]) -> None:
    tasks = await keep_busy(checks, workers)
    assert [worker.niceness for worker in workers] == [NICENESS[number % 2] for number in range(len(workers))]
    assert 0 < NICENESS[0] < NICENESS[1]
    for worker in workers:
        worker.may_end.set()
    await asyncio.gather(*tasks)


async def test_threads_end_with_what_they_work_for(cores: int) -> None:
    checks = Checks(time.monotonic, InThread)
    seen: list[tuple[threading.Thread, Hasher]] = []

    def check(hasher: Hasher) -> bool:
        seen.append((threading.current_thread(), hasher))
        return True

    assert await checks.run("a", "u", check)
    thread, hasher = seen[0]
    del checks
    gc.collect()
    await asyncio.to_thread(thread.join, 100)
    assert not thread.is_alive()
    assert isinstance(hasher, InThread)
    assert hasher.is_closed


class Asking:
    """Whose check names it, and with it ``Checks``, as that of a password file does."""

    def __init__(self) -> None:
        self.checks = Checks(time.monotonic, InThread)
        self.threads: list[threading.Thread] = []

    def check(self, hasher: Hasher) -> bool:
        self.threads.append(threading.current_thread())
        if len(self.threads) == 2:
            raise ValueError
        return len(self.threads) == 1


async def test_threads_end_with_what_they_work_for_though_it_named_itself(cores: int) -> None:
    asking = Asking()
    threads = asking.threads
    assert await asking.checks.run("a", "u", asking.check)
    with pytest.raises(ValueError):
        await asking.checks.run("a", "u", asking.check)
    assert not await asking.checks.run("a", "u", asking.check)
    del asking
    gc.collect()
    for thread in threads:
        await asyncio.to_thread(thread.join, 100)
        assert not thread.is_alive()
