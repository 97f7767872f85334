"""A clock that is set over a restart lengthens nothing by more than the restart can explain, and ends nothing
before its time where the system can tell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curier.broker.core import BrokerCore
from curier.session.message import ApplicationMessage
from curier.session.records import Batch, MessageSaved, Queued, Record, SessionSaved, WillSaved
from curier.store import beginning, progress
from curier.store.database import Database
from curier.store.progress import Progress, clock_jump
from curier.store.sqlite import SqliteStore
from curier.testing.stores import restore
from tests.store.system import System
from tests.waiting import until

DAYS = 86400.0
TOLERANCE = 60.0  # for a slow machine


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch, beginning)


async def live(directory: Path, *records: Record) -> BrokerCore:
    """One life of the store; what it found."""
    store = SqliteStore(directory)
    try:
        core = restore(store)
        told: list[int] = []
        store.on_committed = told.append
        await store.open()
        if records:
            store.commit(Batch(1, list(records)))
            await until(lambda: told == [1])
    finally:
        await store.close()
    return core


def kept(now: float) -> list[Record]:
    message = ApplicationMessage(b"t", b"x", 1, False, b"", now + 3600)
    return [
        SessionSaved(1, "ana", 5, 7200, now + 7200),
        WillSaved(1, ApplicationMessage(b"w", b"", 0, False), 1800, -1, now + 1800),
        MessageSaved(2, message),
        Queued(1, 3, 2, 1, False, b"", b""),
    ]


def left(directory: Path) -> list[float]:
    """Seconds that message, session and will have still."""
    core = asyncio.run(live(directory))
    session = core.sessions["ana"]
    now = time.time()
    return [
        session.outgoing.queue[0].message.expires_at - now,
        session.ends_at - now,
        session.will_due_at - now,
    ]


def about(seconds: list[float]) -> list[object]:
    return [pytest.approx(one, abs=TOLERANCE) for one in seconds]


@pytest.mark.parametrize("days", [-10, 10, -10_000, 0])
def test_within_one_life_of_the_system_a_set_clock_changes_nothing(
    tmp_path: Path, system: System, days: int
) -> None:
    asyncio.run(live(tmp_path, *kept(time.time())))
    system.ahead = days * DAYS
    assert left(tmp_path) == about([3600, 7200, 1800])
    assert left(tmp_path) == about([3600, 7200, 1800])  # once is enough


def test_over_a_restart_of_the_system_nothing_is_left_longer_than_when_it_was_written(
    tmp_path: Path, system: System
) -> None:
    asyncio.run(live(tmp_path, *kept(time.time())))
    system.ahead = -10 * DAYS
    system.name = "second"
    assert left(tmp_path) == about([3600, 7200, 1800])


def test_over_a_restart_of_the_system_time_goes_on(tmp_path: Path, system: System) -> None:
    asyncio.run(live(tmp_path, *kept(time.time())))
    system.ahead = 1000.0
    system.name = "second"
    assert left(tmp_path) == about([2600, 6200, 800])


def test_the_jump_is_told(tmp_path: Path, system: System, caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(live(tmp_path, *kept(time.time())))
    system.ahead = -10 * DAYS
    left(tmp_path)
    assert "the clock was set back by 864000 seconds while the broker did not run" in caplog.text


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_the_clock_is_put_right_puts_it_right_once(
    tmp_path: Path, system: System, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    class Killed(BaseException):
        pass

    begin_life: Callable[..., None] = Database.begin_life

    def killed(*arguments: object) -> None:
        if when == "after":
            begin_life(*arguments)
        raise Killed

    asyncio.run(live(tmp_path, *kept(time.time())))
    system.ahead = -10 * DAYS
    with monkeypatch.context() as patched:
        patched.setattr(Database, "begin_life", killed)
        with pytest.raises(Killed):
            asyncio.run(live(tmp_path))
    assert left(tmp_path) == about([3600, 7200, 1800])


WRITTEN = Progress("life", True, 5, 1000.0, "first", 50.0)


@pytest.mark.parametrize(
    ("now", "boot", "uptime", "jump"),
    [
        (1010.0, "first", 60.0, 0.0),
        (1011.5, "first", 60.0, 0.0),  # the clock was only adjusted
        (1020.0, "first", 60.0, 10.0),
        (900.0, "first", 60.0, -110.0),
        (900.0, "second", 5.0, -100.0),
        (5000.0, "second", 5.0, 0.0),
        (900.0, "", 5.0, -100.0),
        (5000.0, "", 60.0, 0.0),
    ],
)
def test_the_jump_of_the_clock(now: float, boot: str, uptime: float, jump: float) -> None:
    assert clock_jump(WRITTEN, now, boot, uptime) == jump
    assert clock_jump(Progress(), now, boot, uptime) == 0.0


def test_a_system_without_a_name_is_never_the_same() -> None:
    assert clock_jump(WRITTEN._replace(boot=""), 5000.0, "", 60.0) == 0.0


def test_the_clock_of_the_system_goes_on() -> None:
    assert progress.uptime() <= progress.uptime()
