"""Beside a log lies a mark: what was accepted is there in the next life, or that life says that it is not.
And a clock that was set between two lives lengthens nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from curier.errors import StoreError
from curier.session.message import NEVER, ApplicationMessage
from curier.session.records import Batch, MessageSaved, Record, encode
from curier.store import frames
from curier.store import log as log_module
from curier.store.base import Durability
from curier.store.frames import HEADER, MAGIC, Log
from curier.store.log import LogStore
from curier.store.mark import FILE_NAME, PLACE_BYTES, MarkFile, read_mark
from tests.store.faults import lose_power, the_file
from tests.store.system import System
from tests.waiting import until

DAYS = 86400.0
TOLERANCE = 60.0  # for a slow machine


class Killed(BaseException):
    """The program ends where this is raised."""


async def live(
    directory: Path,
    *expiries: float,
    copy_to: Path | None = None,
    durability: Durability = "fsync",
    accept_loss: bool = False,
    compact_bytes: int = 1 << 20,
) -> list[float]:
    """One life that keeps messages, a batch each, which expire then; when those expire that it has found.

    ``copy_to`` is what a kill leaves, with all of them accepted.
    """
    store = LogStore(directory, durability, accept_loss=accept_loss, compact_bytes=compact_bytes)
    found: list[float] = []
    try:
        for records in store.load():
            found += [record.message.expires_at for record in records if isinstance(record, MessageSaved)]
        everything = list(found)
        told: list[int] = []
        store.on_committed = told.append
        await store.open()
        for number, expires_at in enumerate(expiries, 1):
            everything.append(expires_at)
            store.snapshot = lambda number=number: Batch(number, saved(*everything))
            store.commit(Batch(number, saved(expires_at)))
        if copy_to is not None:
            shutil.copytree(directory, copy_to, copy_function=copy_if_there)
        if expiries:
            await until(lambda: told[-1:] == [len(expiries)])
    finally:
        await store.close()
    return found


def copy_if_there(source: str, target: str) -> None:
    """A log that the other thread removes meanwhile was replaced before, by one that is there."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def saved(*expiries: float) -> list[Record]:
    return [
        MessageSaved(number, ApplicationMessage(b"t", b"x", 1, False, b"", expires_at))
        for number, expires_at in enumerate(expiries, 1)
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What a program leaves that was killed, in its third life, with five messages accepted."""
    whole = tmp_path / "whole"
    asyncio.run(live(whole, 1.0, 2.0))
    asyncio.run(live(whole))
    killed = tmp_path / "killed"
    asyncio.run(live(whole, 3.0, 4.0, 5.0, copy_to=killed))
    return killed


def refusal(directory: Path) -> str:
    """Why there is no next life; it leaves all as it was, and goes on where loss is accepted, once."""
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(StoreError, match="open it once with accept_loss=True") as caught:
        asyncio.run(live(directory))
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    found = asyncio.run(live(directory, accept_loss=True))
    assert asyncio.run(live(directory)) == found
    return str(caught.value)


# ---- what is missing ----


def test_what_a_kill_leaves_is_all_there(data: Path) -> None:
    assert asyncio.run(live(data)) == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("cut", [1, 40, 100])
def test_what_was_accepted_last_and_is_cut_off_is_told(data: Path, cut: int) -> None:
    path = the_file(data)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)
    said = refusal(data)
    assert "1 batch of changes that were acknowledged later are missing" in said or "2 batches" in said
    assert str(path) in said


def test_a_damaged_frame_is_told(data: Path) -> None:
    path = the_file(data)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    assert "1 batch of changes" in refusal(data)


def test_a_log_that_is_gone_is_not_begun_anew(data: Path) -> None:
    the_file(data).unlink()
    assert "the log is missing, and" in refusal(data)


def test_a_mark_that_is_gone_is_told(data: Path) -> None:
    (data / FILE_NAME).unlink()
    assert "curier.mark is missing" in refusal(data)


def test_a_mark_that_is_damaged_is_told(data: Path) -> None:
    (data / FILE_NAME).write_bytes(b"x" * 2 * PLACE_BYTES)
    assert "curier.mark: the file is damaged, so that it cannot be known" in refusal(data)


def test_an_older_copy_is_told(data: Path, tmp_path: Path) -> None:
    asyncio.run(live(tmp_path / "other", 1.0, 2.0))
    shutil.copy(the_file(tmp_path / "other"), the_file(data))
    assert "this is another log than the program wrote last, or an older copy of it" in refusal(data)


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_loss_of_power_may_take_the_last_moments_along(
    tmp_path: Path, durability: Durability, caplog: pytest.LogCaptureFixture
) -> None:
    killed = tmp_path / "killed"
    asyncio.run(live(tmp_path / "whole", 1.0))
    asyncio.run(live(tmp_path / "whole", 2.0, copy_to=killed, durability=durability))
    path = the_file(killed)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    lose_power(killed)
    assert asyncio.run(live(killed)) == [1.0]
    assert "the system crashed, and 1 batches" in caplog.text


def test_what_was_durable_is_asked_for_after_a_loss_of_power_as_well(tmp_path: Path) -> None:
    asyncio.run(live(tmp_path, 1.0, 2.0))
    path = the_file(tmp_path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    lose_power(tmp_path)
    assert "1 batch of changes" in refusal(tmp_path)


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_log_that_goes_on_in_new_files_has_its_mark(tmp_path: Path, durability: Durability) -> None:
    killed = tmp_path / "killed"
    expiries = [float(number) for number in range(1, 101)]
    asyncio.run(live(tmp_path / "a", *expiries, copy_to=killed, durability=durability, compact_bytes=2000))
    assert max(int(path.stem) for path in killed.glob("*.log")) > 1
    assert set(asyncio.run(live(killed))) == set(expiries)
    newest = max(killed.glob("*.log"))
    with newest.open("r+b") as file:
        file.truncate(newest.stat().st_size - 1)
    assert "missing" in refusal(killed)


def test_a_log_of_before_there_were_marks_gets_one(tmp_path: Path) -> None:
    old = frames.frame(1, 0, b"") + frames.frame(2, 1, encode(saved(7.0)))
    (tmp_path / "00000001.log").write_bytes(HEADER.pack(MAGIC, 1) + old)
    assert asyncio.run(live(tmp_path, 8.0)) == [7.0]
    assert asyncio.run(live(tmp_path)) == [7.0, 8.0]
    (tmp_path / FILE_NAME).unlink()
    assert "curier.mark is missing" in refusal(tmp_path)


async def test_a_mark_that_cannot_be_written_accepts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LogStore(tmp_path)
    await store.open()
    with monkeypatch.context() as patched:

        def fails(*_: object) -> None:
            raise OSError(5, "Input/output error")

        patched.setattr(MarkFile, "write", fails)
        with pytest.raises(StoreError, match="Input/output error"):
            store.append(Batch(1, saved(1.0)))
    store.append(Batch(1, saved(2.0)))
    await store.close()
    assert await live(tmp_path) == [2.0]


async def test_a_mark_removed_under_a_program_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "TIDY_SECONDS", 0.0)
    store = LogStore(tmp_path)
    await store.open()
    (tmp_path / FILE_NAME).unlink()
    store.commit(Batch(1, saved(1.0)))
    await store.close()
    assert await live(tmp_path) == [1.0]


# ---- the clock ----


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch, log_module)


def left(directory: Path) -> list[float]:
    """Seconds that the messages have still."""
    return [expires_at - time.time() for expires_at in asyncio.run(live(directory))]


def about(*seconds: float) -> list[object]:
    return [pytest.approx(one, abs=TOLERANCE) for one in seconds]


@pytest.mark.parametrize("days", [-10, 10, -10_000, 0])
def test_within_one_life_of_the_system_a_set_clock_changes_nothing(
    tmp_path: Path, system: System, days: int
) -> None:
    asyncio.run(live(tmp_path, time.time() + 3600, NEVER))
    for _ in range(3):  # each time it is set anew, and what is on the disk is moved anew
        system.ahead += days * DAYS
        expiries = asyncio.run(live(tmp_path))
        assert expiries[0] - time.time() == pytest.approx(3600, abs=TOLERANCE)
        assert expiries[1:] == [NEVER]
        assert left(tmp_path)[:1] == about(3600)  # once is enough


@pytest.mark.parametrize("compact_bytes", [1 << 20, 100])
def test_messages_of_several_lives_are_each_moved_as_the_clock_was_since(
    tmp_path: Path, system: System, compact_bytes: int
) -> None:
    for _ in range(4):
        asyncio.run(live(tmp_path, time.time() + 3600, compact_bytes=compact_bytes))
        system.ahead -= 10 * DAYS
    assert left(tmp_path) == about(3600, 3600, 3600, 3600)


def test_over_a_restart_of_the_system_nothing_is_left_longer_than_when_it_was_written(
    tmp_path: Path, system: System, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(live(tmp_path, time.time() + 3600))
    system.ahead = -10 * DAYS
    system.name = "second"
    assert left(tmp_path) == about(3600)
    assert "the clock was set back by 864000 seconds while the program did not run" in caplog.text


def test_over_a_restart_of_the_system_time_goes_on(tmp_path: Path, system: System) -> None:
    asyncio.run(live(tmp_path, time.time() + 3600))
    system.ahead = 1000.0
    system.name = "second"
    assert left(tmp_path) == about(2600)


@pytest.mark.parametrize("step", ["mark", "log", "last"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["first", "second"])
def test_a_crash_while_a_life_begins_harms_nothing(
    tmp_path: Path, system: System, monkeypatch: pytest.MonkeyPatch, step: str, when: str, name: str
) -> None:
    asyncio.run(live(tmp_path, time.time() + 3600))
    system.ahead = -10 * DAYS
    system.name = name
    where, attribute = {
        "mark": (log_module, "begin_mark"),
        "log": (Log, "go_on"),
        "last": (LogStore, "_write_mark"),
    }[step]
    real: Callable[..., None] = getattr(where, attribute)

    def killed(*arguments: object) -> None:
        if when == "after":
            real(*arguments)
        raise Killed

    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(where, attribute, killed)
            with pytest.raises(Killed):
                asyncio.run(live(tmp_path))
    mark = read_mark(tmp_path)
    assert mark is not None
    assert left(tmp_path) == about(3600)
    assert left(tmp_path) == about(3600)
