"""The journal file: what was acknowledged and is only there is there after ``kill -9``, and where it has been
damaged, the next start says so. The store's process is played here, so that nothing depends on when it rests.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import apsw
import pytest

from curier.errors import StoreError
from curier.session.message import ApplicationMessage
from curier.session.records import (
    Batch,
    Delivered,
    MessageRemoved,
    MessageSaved,
    Queued,
    Received,
    Record,
    Retained,
    Sent,
    Subscribed,
    Unsubscribed,
    encode,
)
from curier.store.ahead import FILE_NAME, FRAME, HEADER, LARGEST, SIZE, left_by
from curier.store.beginning import begin, look
from curier.store.database import Database
from curier.store.life import Life
from curier.store.mark import read_mark
from curier.store.sqlite import SqliteStore
from curier.store.writer import TIDY_SECONDS, Writer
from curier.testing.stores import SESSION
from tests.each import each
from tests.store.test_missing import batches_of, contents, flip, refusal, start
from tests.waiting import until

BATCHES = 40


class Process:
    """The store's process of a broker that has just begun."""

    def __init__(self, directory: Path, durability: str = "fsync", max_bytes: int = 0) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.number = 0
        self.batch = 0
        database, self.life = begin(directory, durability, accept_loss=False)
        database.close()
        self.writer = Writer(directory, durability, self.life, max_bytes)

    def commit(self, size: int = 0) -> None:
        """One more batch, acknowledged on return."""
        record: Record = SESSION if not self.number else Subscribed(1, b"f/%d" % self.number, 0, 0)
        message = ApplicationMessage(b"t", b"x" * size, 1, False)
        self.write([record, MessageSaved(1000 + self.number, message)] if size else [record])
        self.number += 1

    def write(self, records: list[Record]) -> None:
        self.batch += 1
        try:
            self.writer.write(self.batch, encode(records))
        except BaseException:
            self.batch -= 1  # it will be sent again
            raise

    def left(self, place: Path) -> Path:
        """A copy of the directory, as ``kill -9`` leaves it now."""
        return shutil.copytree(self.directory, place)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lived")
    process = Process(place / "data")
    while process.number < BATCHES:
        process.commit()
        if process.number == BATCHES // 2:
            process.left(place / "middle")
    process.left(place / "end")
    process.writer.close()
    return place


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Path]:
    """Makes a directory of its own for each case."""
    numbers = iter(range(100))

    def make() -> Path:
        place = tmp_path / str(next(numbers))
        place.mkdir()
        return place

    return make


@pytest.fixture
def data(lived: Path, tmp_path: Path) -> Path:
    return shutil.copytree(lived / "end", tmp_path / "data")


def used(data: Path) -> int:
    """Bytes of the journal file that are of frames."""
    database = Database(data, read_only=True)
    frames = left_by(data, database.progress())
    database.close()
    return HEADER.size + sum(FRAME.size + len(frame.records) for frame in frames)


def test_what_was_acknowledged_is_only_in_the_journal_file_and_there_after_a_kill(data: Path) -> None:
    assert batches_of(data) == 0
    assert start(data) == BATCHES
    assert start(data) == BATCHES


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "gone": lambda path, _: path.unlink(),
    "empty": lambda path, _: path.write_bytes(b""),
    "zeros": lambda path, _: path.write_bytes(bytes(SIZE)),
    "its head": lambda path, _: flip(path, 20),
    "an old copy": lambda path, old: shutil.copy(old / "middle" / FILE_NAME, path),
    "of another life": lambda path, _: path.write_bytes(
        HEADER.pack(b"curier journal 1", b"o" * 16) + path.read_bytes()[HEADER.size :]
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_was_acknowledged_and_is_missing_is_told(data: Path, lived: Path, name: str) -> None:
    DAMAGES[name](data / FILE_NAME, lived)
    left = BATCHES // 2 if name == "an old copy" else 0
    assert f"{BATCHES - left} batches of changes that were acknowledged later are missing" in refusal(data)
    assert start(data, accept_loss=True) == left
    assert start(data) == left  # accepted is accepted


def test_any_bit_and_any_end_of_what_was_acknowledged(data: Path) -> None:
    path = data / FILE_NAME
    whole = path.read_bytes()
    end = used(data)
    dice = Random(7)
    for _ in range(40):
        flip(path, dice.randrange(HEADER.size, end))
        assert "that were acknowledged later are missing" in refusal(data)
        path.write_bytes(whole[: dice.randrange(end)])
        assert "that were acknowledged later are missing" in refusal(data)
        path.write_bytes(whole)
    for place in (end, end + 1, SIZE - 1):
        flip(path, place)
    assert start(data) == BATCHES


def test_a_frame_that_was_not_finished_was_promised_to_nobody(data: Path) -> None:
    process = Process(data)  # has the batches in the database
    process.number = BATCHES
    for _ in range(3):
        process.commit()
    end = used(data)
    mark = (data / "curier.mark").read_bytes()
    process.commit()  # killed before it could say so
    (data / "curier.mark").write_bytes(mark)
    with (data / FILE_NAME).open("r+b") as file:
        file.seek(end + FRAME.size + 3)
        file.write(b"??")
    copy = process.left(data.parent / "copy")
    assert start(copy) == BATCHES + 3
    process.writer.close()


@pytest.mark.parametrize("seed", range(3))
def test_at_every_moment_all_that_was_acknowledged_can_be_found(tmp_path: Path, seed: int) -> None:
    """Whatever lies behind the frames from earlier rounds, sizes as they come."""
    dice = Random(seed)
    process = Process(tmp_path / "data", "os")
    reader = Database(process.directory, read_only=True)
    folds = 0
    for _ in range(150):
        process.commit(dice.choice((0, 1, 200, 20_000, 20_000, LARGEST - 200, LARGEST + 1)))
        if dice.random() < 0.1:
            process.writer.rest()
        progress = reader.progress()
        folds += not process.writer.is_behind
        found = left_by(process.directory, progress)
        assert progress.batches + len(found) == process.number
        mark = read_mark(process.directory)
        assert mark is not None
        assert mark.batches == process.number
    assert folds > 5
    reader.close()
    assert start(process.left(tmp_path / "copy")) == process.number
    process.writer.close()


def test_frames_of_earlier_rounds_are_not_taken_for_new_ones(tmp_path: Path) -> None:
    process = Process(tmp_path / "data")
    for _ in range(10):
        process.commit()
    process.writer.rest()
    before = contents(process.directory)[FILE_NAME]
    process.commit()
    after = contents(process.directory)[FILE_NAME]
    assert before[HEADER.size :] != after[HEADER.size :]
    assert start(process.left(tmp_path / "copy")) == 11
    process.writer.close()


def test_a_kill_between_the_database_and_the_next_frame_harms_nothing(tmp_path: Path) -> None:
    """The database has them, and the file still: they are taken once."""
    process = Process(tmp_path / "data")
    for _ in range(5):
        process.commit()
    process.writer.rest()
    assert batches_of(process.directory) == 5
    copy = process.left(tmp_path / "copy")
    assert start(copy) == 5
    assert batches_of(copy) == 5
    process.writer.close()


def test_a_journal_file_of_another_life_is_none_though_its_numbers_fit(data: Path, tmp_path: Path) -> None:
    other = Process(tmp_path / "other")
    while other.number < BATCHES:
        other.commit()
    shutil.copy(other.directory / FILE_NAME, data / FILE_NAME)
    other.writer.close()
    assert f"{BATCHES} batches of changes that were acknowledged later are missing" in refusal(data)


def test_a_file_that_is_full_to_the_last_byte_has_no_room_and_all_of_it_is_read(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", "os")
    process.commit()
    writer = process.writer
    message = len(encode([MessageSaved(1, ApplicationMessage(b"t", b"", 1, False))]))
    while (left := SIZE - writer._ahead._end) > LARGEST + FRAME.size:
        process.write([MessageSaved(1, ApplicationMessage(b"t", b"x" * (LARGEST // 2 - message), 1, False))])
    process.write([MessageSaved(1, ApplicationMessage(b"t", b"x" * (left - FRAME.size - message), 1, False))])
    assert writer._ahead._end == SIZE
    assert batches_of(process.directory) == 0
    assert start(process.left(tmp_path / "full")) == 1  # subscriptions and sessions are counted
    assert batches_of(tmp_path / "full") == process.batch
    process.commit()
    assert batches_of(process.directory) == process.batch - 1
    assert writer._ahead.path.stat().st_size == SIZE
    assert start(process.left(tmp_path / "later")) == 2
    process.writer.close()


def test_a_frame_takes_no_byte_more_than_there_is_room_for(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", "os")
    process.commit()
    ahead = process.writer._ahead
    ahead._end = SIZE - FRAME.size - 10
    assert ahead.has_room(10)
    assert not ahead.has_room(11)
    process.writer.close()


def test_a_large_batch_goes_to_the_database_at_once_behind_those_that_wait(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", "os")
    process.commit()
    process.commit(LARGEST - 1000)
    assert batches_of(process.directory) == 0
    process.commit(LARGEST)
    assert batches_of(process.directory) == 3
    process.writer.close()


def test_a_second_is_the_longest_that_the_database_is_behind_also_under_load(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", "os")
    process.commit()
    process.writer._tidied_at = time.monotonic() + 100.0
    process.writer.tidy()
    assert process.writer.is_behind
    process.writer._tidied_at = time.monotonic() - TIDY_SECONDS
    process.writer.tidy()
    assert batches_of(process.directory) == 1
    process.writer.close()


def test_a_payload_that_looks_like_a_frame_is_none(tmp_path: Path) -> None:
    """A client knows how frames are made, and where the next will end; it does not know the life."""
    process = Process(tmp_path / "data")
    process.commit()
    other = Process(tmp_path / "other")
    other.number = 1
    other.commit()
    other.commit()
    forged = contents(other.directory)[FILE_NAME][HEADER.size : HEADER.size + 300]
    message = ApplicationMessage(b"t", forged, 1, False)
    process.write([MessageSaved(7, message), Retained(b"t", 7)])
    process.number += 1
    path = process.directory / FILE_NAME
    at = path.read_bytes().index(forged)
    path.write_bytes(
        path.read_bytes()[: HEADER.size] + path.read_bytes()[at:]
    )  # as if it lay at the beginning
    database = Database(process.directory, read_only=True)
    assert left_by(process.directory, database.progress()) == []
    database.close()
    other.writer.close()
    process.writer.close()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_journal_file_that_goes_is_put_back_and_nothing_with_it(tmp_path: Path, is_replaced: bool) -> None:
    process = Process(tmp_path / "data")
    path = process.directory / FILE_NAME
    for _ in range(3):
        process.commit()
    path.unlink()
    if is_replaced:
        path.write_bytes(b"?")
    process.commit()
    assert path.stat().st_size == SIZE
    process.commit()
    assert batches_of(process.directory) == 4
    assert start(process.left(tmp_path / "copy")) == 5
    process.writer.close()


def test_a_journal_file_that_cannot_be_put_back_is_told_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(tmp_path / "data")
    path = process.directory / FILE_NAME
    process.commit()
    path.unlink()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for _ in range(2):
            with pytest.raises(StoreError, match=f"^{path}: the disk is full; make room and service resumes"):
                process.commit()
    assert not list(process.directory.glob("*-new"))
    assert start(process.left(tmp_path / "copy")) == 2  # it was in the database all the same, once
    process.commit()
    assert path.stat().st_size == SIZE
    process.writer.close()
    assert start(process.directory) == 2


def test_a_database_that_takes_no_more_is_told_and_what_was_acknowledged_is_kept(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", max_bytes=100_000)
    writer = process.writer
    process.commit(20_000)
    while not writer.trouble:
        process.commit(20_000)
        writer.rest()
        writer.look()
    full = f"{process.directory}/curier.db: the disk is full; make room and service resumes by itself"
    assert writer.trouble == full
    with pytest.raises(apsw.FullError):
        process.commit()
    copy = process.left(tmp_path / "copy")
    assert start(copy) == process.number  # there is room again
    writer.database.connection.execute("PRAGMA max_page_count=100000")
    process.commit()
    assert writer.look() == ""
    assert start(process.left(tmp_path / "later")) == process.number
    writer.close()


def test_what_is_left_when_the_last_batches_cannot_be_folded_stays_in_the_journal_file(
    tmp_path: Path,
) -> None:
    process = Process(tmp_path / "data", max_bytes=100_000)
    while process.number < 8:
        process.commit(20_000)
    process.writer.close()
    assert (process.directory / FILE_NAME).exists()
    assert start(process.directory) == 8


def test_a_stop_leaves_the_database_alone(tmp_path: Path) -> None:
    process = Process(tmp_path / "data")
    process.commit()
    process.writer.close()
    assert sorted(contents(process.directory)) == ["curier.db", "curier.mark"]
    assert batches_of(process.directory) == 1


def test_another_broker_with_the_same_database_is_noticed_with_the_next_batch(tmp_path: Path) -> None:
    process = Process(tmp_path / "data")
    process.commit()
    process.writer.rest()
    database, _ = begin(process.directory, "fsync", accept_loss=False)
    database.close_untouched()
    with pytest.raises(StoreError, match="another broker has begun to use it"):
        process.commit()
    assert "another broker" in process.writer.look()


def long_ago(*paths: Path) -> None:
    """Nobody has done anything to these for an hour."""
    for path in paths:
        os.utime(path, (time.time() - 3600, time.time() - 3600))


def at_rest(place: Path) -> Process:
    """One whose files have been where they are for so long that half a look is enough."""
    process = Process(place / "data")
    process.commit()
    process.writer.rest()
    long_ago(process.directory, process.directory / "curier.db-wal")
    process.commit()
    return process


def test_files_that_rest_take_one_look_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = at_rest(tmp_path)
    asked: list[str] = []
    stat = os.stat

    def noted(path: str) -> os.stat_result:
        asked.append(str(path))
        return stat(path)

    monkeypatch.setattr(os, "stat", noted)
    process.commit()
    assert asked == [str(process.directory)]
    process.writer._tidied_at -= TIDY_SECONDS
    process.writer.tidy()
    asked.clear()
    process.commit()
    assert f"{process.directory}/curier.db" in asked  # all is looked at each second
    process.writer.close()


def removed(directory: Path, end: str = "") -> None:
    (directory / f"curier.db{end}").unlink()


def moved(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))
    shutil.copytree(directory.with_name("elsewhere"), directory)
    long_ago(directory, directory / "curier.db-wal")


def replaced(directory: Path) -> None:
    shutil.copy2(directory / "curier.db", directory / "another")
    (directory / "another").rename(directory / "curier.db")


@each(
    "happens",
    [
        removed,
        pytest.param(lambda directory: removed(directory, "-wal"), id="the WAL is removed"),
        pytest.param(lambda directory: removed(directory, "-shm"), id="its index is removed"),
        moved,
        replaced,
    ],
)
def test_what_happens_to_files_that_had_rested_is_noticed_with_the_next_batch(
    happens: Callable[[Path], None], make: Callable[[], Path]
) -> None:
    process = at_rest(make())
    happens(process.directory)
    with pytest.raises(StoreError, match="was removed or replaced while the broker runs"):
        process.commit()
    process.writer.database.close_untouched()


def test_another_broker_is_noticed_where_files_had_rested(tmp_path: Path) -> None:
    process = at_rest(tmp_path)
    database, _ = begin(process.directory, "fsync", accept_loss=False)
    database.close_untouched()
    with pytest.raises(StoreError, match="another broker has begun to use it"):
        process.commit()


def test_a_journal_file_that_had_rested_is_made_anew(tmp_path: Path) -> None:
    process = at_rest(tmp_path)
    (process.directory / FILE_NAME).unlink()
    process.commit()
    assert start(process.left(tmp_path / "copy")) == process.number


def test_a_process_that_is_started_again_has_what_the_one_before_left(tmp_path: Path) -> None:
    process = Process(tmp_path / "data")
    process.commit()
    process.commit()
    copy = process.left(tmp_path / "copy")
    process.writer.close()
    writer = Writer(copy, "fsync", process.life)
    writer.write(2, encode([Subscribed(1, b"f/1", 0, 0)]))  # sent again, for nobody had heard of it
    writer.write(3, encode([Unsubscribed(1, b"f/1")]))
    with pytest.raises(StoreError, match="batch 5 came before 1 others"):
        writer.write(5, encode([SESSION]))
    writer.close()
    assert batches_of(copy) == 3
    assert start(copy) == 1


def test_a_batch_that_is_sent_again_and_undone_by_the_next_is_gone(tmp_path: Path) -> None:
    """What is made and undone never gets to the database: it must not be there already."""
    process = Process(tmp_path / "data")
    process.commit()
    message = ApplicationMessage(b"t", b"x", 2, False)
    made = [MessageSaved(5, message), Queued(1, 6, 5, 2, False, b"", b""), Sent(1, 6, 7)]
    process.write(made)
    copy = process.left(tmp_path / "copy")
    process.writer.close()
    writer = Writer(copy, "fsync", process.life)  # which has it in the database now
    writer.write(2, encode(made))
    writer.write(3, encode([Received(1, 6, 8), Delivered(1, 6), MessageRemoved(5)]))
    writer.close()
    database = Database(copy, read_only=True)
    assert (database.count("deliveries"), database.count("messages")) == (0, 0)
    database.close()


def test_a_process_without_the_journal_file_of_the_one_before_is_refused(tmp_path: Path) -> None:
    process = Process(tmp_path / "data")
    process.commit()
    copy = process.left(tmp_path / "copy")
    (copy / FILE_NAME).unlink()
    process.writer.close()
    with pytest.raises(StoreError, match="1 batch of changes that were acknowledged later are missing"):
        Writer(copy, "fsync", process.life)


def test_time_goes_on_from_the_last_frame(tmp_path: Path) -> None:
    process = Process(tmp_path / "data")
    process.commit()
    process.writer.rest()
    process.commit()
    frame = process.writer._ahead.frames[-1]
    copy = process.left(tmp_path / "copy")
    process.writer.close()
    assert frame.written_at == pytest.approx(time.time(), abs=60.0)
    database = Database(copy)
    progress = database.progress()
    assert progress.written_at < frame.written_at
    database.close()
    database, life = begin(copy, "fsync", accept_loss=False)
    assert isinstance(life, Life)
    assert database.batches == 2
    database.close()


# ---- those who only look ----


def test_whoever_looks_at_what_a_killed_broker_has_left_sees_all_of_it(data: Path) -> None:
    database, missing = look(data)
    assert missing == ""
    assert (
        sum(isinstance(record, Subscribed) for piece in database.records() for record in piece) == BATCHES - 1
    )
    database.close()
    assert start(data) == BATCHES


def test_whoever_looks_at_a_damaged_journal_file_is_told(data: Path) -> None:
    (data / FILE_NAME).unlink()
    database, missing = look(data)
    database.close()
    assert f"{BATCHES} batches of changes that were acknowledged later are missing" in missing


async def test_whoever_looks_while_a_broker_runs_sees_what_was_acknowledged_before(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    told: list[int] = []
    store.on_committed = told.append
    await store.open()
    try:
        store.commit(Batch(1, [SESSION]))
        await until(lambda: told == [1])
        database, missing = await asyncio.to_thread(look, tmp_path)
        assert missing == ""
        assert database.count("sessions") == 1
        database.close()
    finally:
        await store.close()
