"""The log passes what every store does, and says the truth about files that a crash or a bad disk left."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curier.errors import StoreError
from curier.session.records import Batch, Record, Subscribed
from curier.store import frames
from curier.store import log as log_module
from curier.store.base import Durability, Store
from curier.store.frames import FRAME, HEADER, MAGIC
from curier.store.log import LogStore
from curier.store.mark import FILE_NAME
from curier.testing.stores import StoreContract
from tests.store.faults import BadDisk, FullDisk, SlowDisk, lose_power, the_file
from tests.waiting import until


class TestFsync(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: LogStore(tmp_path / "data")


class TestOs(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: LogStore(tmp_path / "data", "os")


def record(number: int) -> Record:
    """Any record that is known by its number."""
    return Subscribed(number, b"filter/%d" % number, 0, 0)


def numbers(batches: Iterator[list[Record]]) -> list[int]:
    return [one.session for records in batches for one in records if isinstance(one, Subscribed)]


class Life:
    """A store from ``open`` to ``close``, with what it said."""

    def __init__(self, directory: Path, durability: Durability = "fsync", compact_bytes: int = 0) -> None:
        self.store = LogStore(directory, durability, compact_bytes=compact_bytes or 1 << 20)
        self.told: list[int] = []
        self.troubles: list[str] = []
        self.store.on_committed = self.told.append
        self.store.on_trouble = self.troubles.append
        self.found: list[int] = []

    async def __aenter__(self) -> Life:
        self.found = numbers(self.store.load())
        await self.store.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()

    def commit(self, *batches: int) -> None:
        for number in batches:
            self.store.commit(Batch(number, [record(number)]))


async def found(directory: Path) -> list[int]:
    async with Life(directory) as life:
        return life.found


async def kept(directory: Path, *batches: int) -> Path:
    """The one file of a log of these batches."""
    async with Life(directory) as life:
        life.commit(*batches)
    return the_file(directory)


def names(directory: Path) -> list[str]:
    """Of all files but the mark."""
    return sorted(path.name for path in directory.iterdir() if path.name != FILE_NAME)


# ---- files ----


@pytest.mark.parametrize("cut", [1, FRAME.size - 1, FRAME.size, FRAME.size + 5])
async def test_a_frame_that_is_cut_off_is_left_out_and_the_log_goes_on(tmp_path: Path, cut: int) -> None:
    path = await kept(tmp_path, 1, 2)
    whole = path.stat().st_size
    async with Life(tmp_path) as life:
        life.commit(3)
    with path.open("r+b") as file:
        file.truncate(whole + cut)
    lose_power(tmp_path, 2)
    async with Life(tmp_path) as life:
        assert life.found == [1, 2]
        life.commit(4)
    assert await found(tmp_path) == [1, 2, 4]


async def test_frames_that_were_not_durable_may_be_missing_in_any_order(tmp_path: Path) -> None:
    path = await kept(tmp_path, 1)
    before = path.stat().st_size
    async with Life(tmp_path, "os") as life:  # nothing of it is known to be durable
        life.commit(2, 3)
    data = bytearray(path.read_bytes())
    data[before + 2 : before + 10] = bytes(8)
    path.write_bytes(data)
    lose_power(tmp_path)
    assert await found(tmp_path) == [1]


async def test_a_durable_frame_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    path = await kept(tmp_path, 1)
    before = path.stat().st_size
    for number in (2, 3):
        async with Life(tmp_path) as life:  # each begins with all before durable
            life.commit(number)
    data = bytearray(path.read_bytes())
    data[before + FRAME.size + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=f"{path}: the file is damaged at byte {before}; restore a backup"):
        await found(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"something else entirely, and long enough"])
async def test_a_file_that_is_no_log_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = await kept(tmp_path, 1)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged at its beginning"):
        await found(tmp_path)
    assert path.read_bytes() == content  # for whoever repairs it


async def test_another_version_is_an_error(tmp_path: Path) -> None:
    path = await kept(tmp_path, 1)
    path.write_bytes(HEADER.pack(MAGIC, 3) + path.read_bytes()[HEADER.size :])
    with pytest.raises(StoreError, match=r"another version of curier \(format 3, not 2\)"):
        await found(tmp_path)


async def test_a_record_of_another_version_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = await kept(tmp_path, 1)
    with path.open("ab") as file:
        file.write(frames.frame(4, 3, b"\xc8"))
    with pytest.raises(StoreError, match=f"{path}: frame 4: .* no record of kind 200"):
        await found(tmp_path)


# ---- a new file ----


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_a_log_that_has_grown_goes_on_in_a_new_file(tmp_path: Path, durability: Durability) -> None:
    async with Life(tmp_path, durability, compact_bytes=1000) as life:
        newest = 0
        life.store.snapshot = lambda: Batch(newest, [record(1000)])
        for newest in range(1, 101):
            life.commit(newest)
        await until(lambda: life.told[-1:] == [100])
        await until(lambda: len(names(tmp_path)) == 1)
    path = the_file(tmp_path)
    assert names(tmp_path) == [path.name]
    assert int(path.stem) > 2
    assert path.stat().st_size < 2000
    after = await found(tmp_path)
    assert after[0] == 1000  # instead of all that it stands for
    assert after[1:] == list(range(101 - len(after[1:]), 101))


async def test_a_new_file_that_was_not_finished_is_not_used(tmp_path: Path) -> None:
    path = await kept(tmp_path, 1, 2)
    unfinished = path.with_name("00000002.log")
    unfinished.write_bytes(path.read_bytes()[:20])
    assert await found(tmp_path) == [1, 2]
    assert not unfinished.exists()


async def test_the_newest_whole_file_is_used(tmp_path: Path) -> None:
    path = await kept(tmp_path, 1, 2)
    newer = path.with_name("00000010.log")
    newer.write_bytes(HEADER.pack(MAGIC, 1) + frames.frame(3, 0, b"") + frames.frame(4, 0, b""))
    assert await found(tmp_path) == []
    assert not path.exists()


# ---- trouble ----


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "RETRY_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_full_disk_keeps_nothing_by_halves_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Life(tmp_path) as life:
        life.commit(1)
        await until(lambda: life.told == [1])
        disk = FullDisk(monkeypatch)
        with pytest.raises(StoreError, match=f"{tmp_path}: the disk is full; make room"):
            life.store.append(Batch(2, [record(2)]))
        assert not life.troubles  # whoever wanted it kept has been told
        life.commit(3, 4)
        assert (
            life.troubles
            == [life.store.trouble]
            == [f"{tmp_path}: the disk is full; make room and it goes on by itself"]
        )
        with pytest.raises(StoreError, match="full"):
            life.store.append(Batch(5, [record(5)]))
        await asyncio.sleep(0.05)
        assert life.told == [1]
        disk.is_full = False
        await until(lambda: life.told == [1, 4])
        assert life.troubles[1:] == [""]
        assert life.store.trouble == ""
    assert await found(tmp_path) == [1, 3, 4]


async def test_a_full_disk_lets_close_end_and_the_log_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Life(tmp_path) as life:
        life.commit(1)
        disk = FullDisk(monkeypatch)
        life.commit(2)
    disk.is_full = False
    assert await found(tmp_path) == [1]


@pytest.mark.usefixtures("impatient")
async def test_no_room_for_a_new_file_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Life(tmp_path, compact_bytes=200) as life:
        life.store.snapshot = lambda: Batch(10, [record(1000)])
        begin = frames.Log.begin

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(frames.Log, "begin", full)
        life.commit(*range(1, 11))
        await until(lambda: life.told[-1:] == [10])
        assert not life.troubles
        monkeypatch.setattr(frames.Log, "begin", begin)
    assert await found(tmp_path) == list(range(1, 11))


@pytest.mark.usefixtures("impatient")
async def test_what_could_not_be_synced_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Life(tmp_path) as life:
        life.store.snapshot = lambda: Batch(3, [record(1), record(2), record(3)])
        life.commit(1)
        await until(lambda: life.told == [1])
        disk = BadDisk(monkeypatch)
        monkeypatch.setattr(log_module, "RETRY_SECONDS", 0.2)  # it is to be looked at before
        life.commit(2)
        await until(lambda: bool(life.troubles))
        assert "cannot be written (Input/output error)" in life.troubles[0]
        with pytest.raises(StoreError):
            life.store.append(Batch(9, [record(9)]))
        life.commit(3)
        await until(lambda: disk.calls > 3)
        assert life.told == [1]  # nothing is promised meanwhile
        disk.is_bad = False
        await until(lambda: life.told == [1, 3])
        assert life.troubles[-1] == ""
    assert int(the_file(tmp_path).stem) > 1  # the files that were not whole are gone
    assert await found(tmp_path) == [1, 2, 3]


async def test_a_disk_that_cannot_sync_what_was_found_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(tmp_path, 1)
    disk = BadDisk(monkeypatch)
    with pytest.raises(StoreError, match="cannot be written"):
        await found(tmp_path)
    disk.is_bad = False
    assert await found(tmp_path) == [1]  # and it was unlocked


async def test_the_open_batch_is_kept_where_the_program_is_killed(tmp_path: Path) -> None:
    """From ``append`` on, whatever becomes of the program; no sync needed, and none made here."""
    program = f"""
import asyncio, os, pathlib
from curier.store import log
from curier.store.log import LogStore
from curier.session.records import Batch, Subscribed
log._Syncer.start = lambda self, sync: None
async def main():
    store = LogStore(pathlib.Path({str(tmp_path)!r}))
    await store.open()
    store.append(Batch(1, [Subscribed(1, b"x", 0, 0)]))
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program])
    assert ended.returncode == -9
    assert await found(tmp_path) == [1]


# ---- the directory ----


async def test_a_second_program_is_told_who_is_first(tmp_path: Path) -> None:
    async with Life(tmp_path):
        with pytest.raises(
            StoreError, match=f"{tmp_path}: in use by process {os.getpid()}; stop that program"
        ):
            await found(tmp_path)
    assert await found(tmp_path) == []


async def test_a_path_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(StoreError, match=f"{path}: cannot be used .*a directory that only this program"):
        await found(path)
    assert path.read_text() == "mine"


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    path = await kept(directory, 1)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


async def test_closing_that_is_cancelled_lets_go_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    life = await Life(tmp_path).__aenter__()
    disk.is_slow = True
    life.commit(1)
    closing = asyncio.create_task(life.store.close())
    await asyncio.sleep(0.01)
    closing.cancel()
    disk.go_on_soon()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await asyncio.sleep(0.05)
    assert life.told == []  # nobody hears of it
    assert await found(tmp_path) == [1]
