"""Waiting in tests: for what no event tells of, with an end; and the time limit of every test.

A loop that polls waits for ever when what it waits for does not come. So all tests wait with ``until`` and
``wait_until``; ruff's ASYNC110 finds loops that only sleep.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

import pytest

PATIENCE: Final = 40.0  # seconds; under the time limit of a test, so that the message says what it waited for
LONGER: Final = (0.25, 1.0, 5.0, 25.0)
"""Seconds for a time limit that is to be met at a late step: where a busy machine comes to it at an early one
already, that is tried again with the next.
"""
T = TypeVar("T")
MOST_STRETCH: Final = 5.0
AGAIN: Final = 5.0  # seconds a test that is over time has for cleaning up, before that is ended as well


def stretched(seconds: float) -> float:
    """A time limit for what hangs, at present: as many times longer as programs want each processor."""
    if not hasattr(os, "getloadavg"):
        return seconds
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * min(max(load, 1.0), MOST_STRETCH)


async def until(condition: Callable[[], bool], *, pause: float = 0.005, patience: float = PATIENCE) -> None:
    """Wait until ``condition`` holds, in the time of the running loop; ``AssertionError`` if it does not."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        _check(loop.time() - began, patience)
        await asyncio.sleep(pause)


def wait_until(condition: Callable[[], bool], *, pause: float = 0.005, patience: float = PATIENCE) -> None:
    """``until`` without a loop."""
    began = time.monotonic()
    while not condition():
        _check(time.monotonic() - began, patience)
        time.sleep(pause)


def _check(waited: float, patience: float) -> None:
    assert waited < patience or waited < stretched(patience), f"not within {patience:g} seconds"


def in_longer(
    attempt: Callable[[float], T], holds: Callable[[T], bool], seconds: Sequence[float] = LONGER
) -> T:
    """What ``attempt`` comes to in the first of these seconds with which it holds, or else in the last.

    For a program that ends by itself when its time is up, whatever it has not come to by then.
    """
    for one in seconds[:-1]:
        if holds(result := attempt(one)):
            return result
    return attempt(seconds[-1])


def comes_to_rest(count: Callable[[], int]) -> Callable[[], bool]:
    """A condition: ``count`` says what it said at the last look."""
    last = -1

    def is_at_rest() -> bool:
        nonlocal last
        before, last = last, count()
        return last == before

    return is_at_rest


class TimeIsUp(SystemExit):
    """Ends a test.

    A loop hands every other exception to what runs at that moment, and goes on: asyncio's if that is a
    callback or a task, uvloop's always.
    """


class TimeLimit:
    """Ends a test on every loop, which pytest-timeout's own signal handler does not."""

    def __init__(self, name: str, seconds: float) -> None:
        self.why = f"{name} took longer than {seconds:g} seconds"
        self.seconds = seconds
        self.has_passed = False
        self._began = 0.0

    def set(self) -> None:
        self.has_passed = False
        self._began = time.monotonic()
        signal.signal(signal.SIGALRM, self._reached)
        signal.setitimer(signal.ITIMER_REAL, self.seconds, AGAIN)

    def cancel(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _reached(self, number: int, frame: FrameType | None) -> None:
        """Leave a running loop between two callbacks, so that it still can cancel its tasks; if it does not
        come to that, at any point.
        """
        left = stretched(self.seconds) - (time.monotonic() - self._began)
        if left > 0.0 and not self.has_passed:
            signal.setitimer(signal.ITIMER_REAL, left, AGAIN)
            return
        if not self.has_passed:
            self.has_passed = True
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().call_soon_threadsafe(self._end)
                return
        self._end()

    def _end(self) -> NoReturn:
        raise TimeIsUp(self.why)


class ProcessLimit:
    """Ends the process, and shows where all its threads are, where a test has not ended by then.

    pytest's own, ``faulthandler_timeout``, has a thread for each test and waits for its end: milliseconds,
    where the machine is busy. This one is put off every now and then.
    """

    def __init__(self, seconds: float = 1200.0, put_off_every: float = 20.0) -> None:
        self.seconds = seconds
        self.put_off_every = put_off_every
        self._stderr = os.dup(2)  # while a test runs, that is a file which is gone with the process
        self._put_off = -put_off_every

    def put_off(self) -> None:
        """A test begins."""
        now = time.monotonic()
        if now >= self._put_off + self.put_off_every:
            self._put_off = now
            faulthandler.dump_traceback_later(self.seconds, exit=True, file=self._stderr)

    def cancel(self) -> None:
        """No test runs any more, or somebody looks at one that has failed."""
        faulthandler.cancel_dump_traceback_later()
        self._put_off = -self.put_off_every


PROCESS_LIMIT: Final = pytest.StashKey[ProcessLimit]()


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: Any, settings: Any) -> bool | None:
    """In conftest.py; pytest-timeout calls it when a test begins, and ``item.cancel_timeout``."""
    if settings.method != "signal":
        return None
    item.time_limit = TimeLimit(item.nodeid, settings.timeout)
    item.cancel_timeout = item.time_limit.cancel
    item.time_limit.set()
    if (limit := item.config.stash.get(PROCESS_LIMIT, None)) is not None:
        limit.put_off()
    return True


def pytest_enter_pdb(config: pytest.Config) -> None:
    """In conftest.py."""
    if (limit := config.stash.get(PROCESS_LIMIT, None)) is not None:
        limit.cancel()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In conftest.py."""
    pytest_enter_pdb(session.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: Any) -> None:
    """In conftest.py. pytest-timeout cancels when a test fails; its fixtures may hang all the same."""
    if hasattr(item, "time_limit"):
        item.time_limit.set()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: Any, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """In conftest.py. What is said of a test takes no time of it: the limit would end pytest itself."""
    limit: TimeLimit | None = getattr(item, "time_limit", None)
    if limit is None:
        return (yield)
    limit.cancel()
    report = yield
    if call.when == "setup" and call.excinfo is None:
        limit.set()
    return report
