"""Whatever happens to the files of a data directory: all that was acknowledged is there, or the next start
says that it is not, touches nothing, and names the way out. What is in the journal file only has its tests in
``test_ahead``; here it is in the database.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from curier.errors import StoreError
from curier.session.records import Batch, Subscribed
from curier.store.ahead import FILE_NAME as JOURNAL_NAME
from curier.store.base import Durability
from curier.store.beginning import begin
from curier.store.database import FILE_NAME, Database
from curier.store.mark import FILE_NAME as MARK_NAME
from curier.store.mark import PLACE_BYTES, Mark, MarkFile, boot_id, read_mark
from curier.store.sqlite import SqliteStore
from curier.testing.stores import SESSION, restore
from tests.waiting import until

BATCHES = 40
WAL_NAME = f"{FILE_NAME}-wal"


class Running:
    """A store that runs, with what it has told."""

    def __init__(self, directory: Path, durability: Durability = "fsync") -> None:
        self.told: list[int] = []
        self.trouble: list[str] = []
        self.store = SqliteStore(directory, durability)
        self.number = 0

    async def __aenter__(self) -> Running:
        restore(self.store)
        self.store.on_committed = self.told.append
        self.store.on_trouble = self.trouble.append
        await self.store.open()
        self.commit()
        await until(lambda: self.told == [1])
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.store.close()

    async def is_folded(self) -> None:
        """Until the database has what was in the journal file."""
        await until(lambda: batches_of(self.store.directory) == self.number)

    def commit(self) -> None:
        """One more batch."""
        self.number += 1
        record = SESSION if self.number == 1 else Subscribed(1, b"f/%d" % self.number, 0, 0)
        self.store.commit(Batch(self.number, [record]))


def batches_of(directory: Path) -> int:
    """How many the database has."""
    database = Database(directory, read_only=True)
    try:
        return database.progress().batches
    finally:
        database.close()


class Killed(BaseException):
    """Instead of ``kill -9``."""


class Lived:
    """Copies of a data directory as ``kill -9`` would leave it: in the ``middle``, and at the ``end``."""

    def __init__(self, place: Path, durability: str) -> None:
        self.middle = place / "middle"
        self.end = place / "end"
        asyncio.run(self._live(place / "data", durability))

    async def _live(self, directory: Path, durability: str) -> None:
        async with Running(directory, "fsync" if durability == "fsync" else "os") as running:
            for name, last in ((self.middle, BATCHES // 2), (self.end, BATCHES)):
                while running.number < last:
                    running.commit()
                    await until(lambda: running.told[-1:] == [running.number])
                await running.is_folded()
                shutil.copytree(directory, name)
                (name / JOURNAL_NAME).unlink()  # it could have put right what is damaged


@pytest.fixture(scope="module", params=["fsync", "os"])
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return Lived(tmp_path_factory.mktemp("lived"), request.param)


@pytest.fixture
def data(lived: Lived, tmp_path: Path) -> Path:
    return shutil.copytree(lived.end, tmp_path / "data")


def start(directory: Path, accept_loss: bool = False) -> int:
    """How many batches the next life finds. Raises ``StoreError``."""
    store = SqliteStore(directory, accept_loss=accept_loss)
    try:
        core = restore(store)
    finally:
        asyncio.run(store.close())
    session = core.sessions.get("ana")
    return 0 if session is None else 1 + len(session.subscriptions)


def contents(directory: Path) -> dict[str, bytes]:
    """But for what SQLite makes where it is not: shared memory, and an empty WAL."""
    found = {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm")}
    return {name: data for name, data in found.items() if data or not name.endswith("-wal")}


def refusal(directory: Path) -> str:
    before = contents(directory)
    with pytest.raises(StoreError) as refused:
        start(directory)
    assert contents(directory) == before
    said = str(refused.value)
    assert said.startswith(str(directory)), said
    return said


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << place % 8
    path.write_bytes(data)


def test_what_a_killed_broker_leaves_is_all_there(data: Path) -> None:
    assert (data / WAL_NAME).stat().st_size > 0
    assert start(data) == BATCHES
    assert start(data) == BATCHES


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "a bit of the WAL": lambda data, _: flip(data / WAL_NAME, (data / WAL_NAME).stat().st_size // 2),
    "the head of the WAL": lambda data, _: flip(data / WAL_NAME, 20),
    "no WAL": lambda data, _: (data / WAL_NAME).unlink(),
    "an empty WAL": lambda data, _: (data / WAL_NAME).write_bytes(b""),
    "a shorter WAL": lambda data, _: (data / WAL_NAME).write_bytes((data / WAL_NAME).read_bytes()[:-1]),
    "an old WAL": lambda data, old: shutil.copy(old / WAL_NAME, data / WAL_NAME),
    "an old copy": lambda data, old: [shutil.copy(old / name, data) for name in (FILE_NAME, WAL_NAME)],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_was_acknowledged_and_is_missing_is_told(data: Path, lived: Lived, name: str) -> None:
    DAMAGES[name](data, lived.middle)
    said = refusal(data)
    assert re.search(r"\d+ batch(es)? of changes that were acknowledged later are missing", said) or (
        name in ("no WAL", "an empty WAL", "the head of the WAL") and "another database" in said
    )
    assert "Restore a backup" in said
    assert "start once with --accept-loss" in said
    left = start(data, accept_loss=True)
    assert left < BATCHES
    assert start(data) == left  # accepted is accepted


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("has_wal", [True, False])
def test_a_database_that_is_gone_is_not_begun_anew(data: Path, is_empty: bool, has_wal: bool) -> None:
    (data / FILE_NAME).unlink()
    if is_empty:
        (data / FILE_NAME).touch()
    if not has_wal:
        (data / WAL_NAME).unlink()
    assert f"the database is missing, and {BATCHES} batches of changes that were acknow" in refusal(data)
    assert start(data, accept_loss=True) == 0
    assert start(data) == 0


def test_a_wal_without_a_database_is_not_removed(data: Path) -> None:
    (data / FILE_NAME).unlink()
    (data / MARK_NAME).unlink()
    assert "the database is missing, and its WAL is there" in refusal(data)


@pytest.mark.parametrize("seed", range(60))
def test_any_bit_or_end_of_the_wal(data: Path, seed: int) -> None:
    dice = Random(seed)
    wal = data / WAL_NAME
    place = dice.randrange(wal.stat().st_size)
    if seed % 3:
        flip(wal, place)
    else:
        wal.write_bytes(wal.read_bytes()[:place])
    assert "start once with --accept-loss" in refusal(data)


def test_a_database_cut_off(data: Path) -> None:
    start(data)
    (data / FILE_NAME).write_bytes((data / FILE_NAME).read_bytes()[:-4096])
    said = refusal(data)
    assert "damaged" in said
    assert "restore a backup in its place, or move it away and begin with nothing (--accept-loss)" in said


# ---- the mark ----


def test_a_mark_that_is_gone_is_told(data: Path) -> None:
    (data / MARK_NAME).unlink()
    assert "curier.mark is missing" in refusal(data)
    assert start(data, accept_loss=True) == BATCHES
    assert start(data) == BATCHES


@pytest.mark.parametrize("size", [0, PLACE_BYTES // 2])
def test_a_mark_that_is_damaged_is_told(data: Path, size: int) -> None:
    (data / MARK_NAME).write_bytes(b"x" * size)
    assert "curier.mark: the file is damaged" in refusal(data)
    assert start(data, accept_loss=True) == BATCHES


@pytest.mark.parametrize("place", [30, PLACE_BYTES + 30])
def test_one_place_of_the_mark_is_enough(data: Path, place: int) -> None:
    flip(data / MARK_NAME, place)
    assert start(data) == BATCHES


def test_a_new_mark_is_whole_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Path, target: Path) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            start(tmp_path)
    assert read_mark(tmp_path) is None
    assert start(tmp_path) == 0


def test_a_crash_between_the_mark_and_the_new_life_harms_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise Killed

    before = read_mark(data)
    with monkeypatch.context() as patched:
        patched.setattr(Database, "begin_life", killed)
        with pytest.raises(Killed):
            start(data)
    after = read_mark(data)
    assert before is not None
    assert after is not None
    assert after.previous == before.life
    assert start(data) == BATCHES


# ---- durability "os" ----


def test_a_crash_of_the_system_may_take_the_last_moments_along_as_os_has_it(
    data: Path, lived: Lived, caplog: pytest.LogCaptureFixture
) -> None:
    mark = read_mark(data)
    assert mark is not None
    for name in (FILE_NAME, WAL_NAME):
        shutil.copy(lived.middle / name, data)
    file = MarkFile(data, mark)
    file.write(mark._replace(boot="another-life-of-the-system"))
    file.close()
    if mark.durable == mark.batches:  # fsync
        assert "that were acknowledged later are missing" in refusal(data)
    else:
        assert start(data) == BATCHES // 2
        assert f"the system crashed, and {BATCHES // 2} batches" in caplog.text


async def test_what_os_acknowledged_outlives_a_crash_once_the_broker_was_stopped(tmp_path: Path) -> None:
    async with Running(tmp_path, "os"):
        before = read_mark(tmp_path)
    after = read_mark(tmp_path)
    assert before is not None
    assert after is not None
    assert (before.batches, before.durable, before.boot) == (1, 0, boot_id())
    assert (after.batches, after.durable) == (1, 1)


# ---- while the broker runs ----


@pytest.mark.parametrize("name", [FILE_NAME, WAL_NAME])
async def test_a_file_removed_under_a_running_broker_is_told_and_saved(tmp_path: Path, name: str) -> None:
    async with Running(tmp_path / "data") as running:
        (tmp_path / "data" / name).unlink()
        await until(lambda: bool(running.trouble))  # nothing is being written
        running.commit()
        await asyncio.sleep(0.5)
        assert running.told == [1]
        said = running.trouble[0]
        assert f"{name}: was removed or replaced while the broker runs; nothing more is acknowledged" in said
        assert "what it held is saved in" in said
    for left in (tmp_path / "data").glob(f"{FILE_NAME}*"):
        left.unlink()
    (tmp_path / "data" / "curier-rescued.db").rename(tmp_path / "data" / FILE_NAME)
    assert await asyncio.to_thread(start, tmp_path / "data") >= 1


async def test_a_file_moved_under_a_running_broker_may_be_put_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with Running(data) as running:
        (data / FILE_NAME).rename(tmp_path / "aside")
        running.commit()
        await until(lambda: bool(running.trouble))
        assert "nothing more is acknowledged until it is put back" in running.trouble[0]
        assert not (data / "curier-rescued.db").exists()
        (tmp_path / "aside").rename(data / FILE_NAME)
        await until(lambda: running.told == [1, 2])
        (data / FILE_NAME).rename(tmp_path / "aside")
        shutil.copy(tmp_path / "aside", data / FILE_NAME)  # another file of the same name
        count = len(running.trouble)
        await until(lambda: len(running.trouble) > count)
        (tmp_path / "aside").replace(data / FILE_NAME)
        await until(lambda: running.trouble[-1] == "")
        running.commit()
        await until(lambda: running.told == [1, 2, 3])
    assert await asyncio.to_thread(start, data) == 3


async def test_a_directory_moved_under_a_running_broker_may_be_put_back(tmp_path: Path) -> None:
    data, aside = tmp_path / "data", tmp_path / "aside"
    async with Running(data) as running:
        data.rename(aside)
        await until(lambda: bool(running.trouble))
        await asyncio.sleep(1.5)  # so long that the mark, which cannot be made anew, has been looked for
        aside.rename(data)
        await until(lambda: running.trouble[-1] == "")
        running.commit()
        await until(lambda: running.told == [1, 2])
    assert await asyncio.to_thread(start, data) == 2


def test_a_mark_that_cannot_be_made_anew_stays_open(tmp_path: Path) -> None:
    """Its number would be another file's: the next line would be written into the database, perhaps."""
    mark = Mark("a", "b", 1, 1, "boot")
    (tmp_path / "data").mkdir()
    file = MarkFile(tmp_path / "data", mark)
    (tmp_path / "data").rename(tmp_path / "aside")
    with pytest.raises(FileNotFoundError):
        file.put_back(mark)
    (tmp_path / "other").touch()
    with open(tmp_path / "other", "rb"):
        file.write(mark._replace(batches=2))
    (tmp_path / "aside").rename(tmp_path / "data")
    file.put_back(mark)
    file.close()
    assert read_mark(tmp_path / "data") == mark._replace(batches=2)
    assert (tmp_path / "other").read_bytes() == b""


async def test_a_mark_removed_under_a_running_broker_is_put_back(tmp_path: Path) -> None:
    async with Running(tmp_path) as running:
        (tmp_path / MARK_NAME).unlink()
        await until((tmp_path / MARK_NAME).exists)
        running.commit()
        await until(lambda: running.told == [1, 2])
        mark = read_mark(tmp_path)
        assert mark is not None
        assert mark.batches == 2
    assert await asyncio.to_thread(start, tmp_path) == 2


async def test_a_broker_whose_database_another_one_uses_writes_nothing_more(tmp_path: Path) -> None:
    """Whoever takes a lock for a thing that can be got around, has this still."""
    (tmp_path / "other").mkdir()
    async with Running(tmp_path / "data") as running:
        await running.is_folded()
        for name in (FILE_NAME, WAL_NAME, f"{FILE_NAME}-shm"):
            (tmp_path / "other" / name).hardlink_to(tmp_path / "data" / name)
        shutil.copy(tmp_path / "data" / MARK_NAME, tmp_path / "other")
        assert await asyncio.to_thread(start, tmp_path / "other") == 1
        running.commit()
        await until(lambda: bool(running.trouble))
        assert "another broker has begun to use it" in running.trouble[0]
        assert running.told == [1]


def test_the_mark_of_a_beginning_promises_nothing_that_a_crash_may_still_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With "os" a crash of the system costs the last moments, and is no reason not to start: also one that
    comes when the mark of the new life is on the disk, and what it counts is not yet.
    """
    database, life = begin(tmp_path, "os", accept_loss=False)
    database.go_on(life.name, life.clock_offset)
    old = shutil.copytree(tmp_path, tmp_path.parent / "old")
    database.apply([SESSION])
    database.close()

    def stop(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Database, "begin_life", stop)
        with pytest.raises(Killed):
            begin(tmp_path, "os", accept_loss=False)
    shutil.copy(tmp_path / MARK_NAME, old)
    monkeypatch.setattr("curier.store.beginning.boot_id", lambda: "another")
    assert start(old) == 0


def test_a_database_of_before_there_were_marks_gets_one(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.apply([SESSION])
    database.close()
    assert start(tmp_path) == 1
    assert read_mark(tmp_path) is not None
    (tmp_path / MARK_NAME).unlink()
    assert "curier.mark is missing" in refusal(tmp_path)
