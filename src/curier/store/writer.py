"""What the store's process does with a batch: into the journal file or the database, then into the mark; and
it looks whether the files are still the ones that have their names.

Small batches go to the journal file (``ahead``), and from there to the database when there is nothing else to
be done for a moment, when there is no more room, and each second in any case. Their records are decoded only
then, and what is made and undone in them never gets to the database. A large batch goes to the database at
once, behind those that wait.

A file that is removed or replaced under a running broker goes on to exist for whoever has it open, and for
nobody else: what is written to it goes with the process. So nothing more is acknowledged then, and what the
open files hold is saved beside them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import Final

import apsw

from curier.errors import StoreError
from curier.store import ahead
from curier.store.ahead import Ahead, Frame, fold, left_by, with_frames
from curier.store.beginning import WORDS
from curier.store.database import FILE_NAME, Database
from curier.store.frames import sync_directory, sync_file
from curier.store.life import Life
from curier.store.mark import Mark, MarkFile, boot_id, identity, read_mark
from curier.store.progress import uptime, what_is_missing

RESCUED_NAME: Final = "curier-rescued.db"
TIDY_SECONDS: Final = 1.0
"""How old the mark may be after a loss of power, and batches that are in the journal file only."""
JUST_NOW: Final = 20_000_000
"""Nanoseconds in which a file may be written twice and have one time for both."""
INDEX_BYTES: Final = 96
"""Of the index of the WAL, ``curier.db-shm``: its header comes first, twice, and each commit changes it."""


class Writer:
    """Writes in the name of a life that has begun. Not for several threads."""

    def __init__(self, directory: Path, durability: str, life: Life, max_bytes: int = 0) -> None:
        """Raises ``StoreError``."""
        self.trouble = ""
        """What is wrong with the files, in plain words, or ""."""
        self._cannot_fold = ""
        self._directory = directory
        self._folder = str(directory)  # which takes less to ask about
        self._life = life
        self._is_durable = durability == "fsync"
        mark = read_mark(directory)
        self.database = database = Database(directory, durability, max_bytes=max_bytes)
        try:
            database.go_on(life.name, life.clock_offset)
            self._take_what_is_left(mark)
            self._boot = boot_id()
            self._durable = max(life.batches, mark.durable if mark is not None else 0)
            self._ahead = Ahead(directory, life.name, durability)
            self._mark = MarkFile(directory, self._state())
            self._mark.write(self._state())
            # They stay open, so that no other file gets their numbers; they are closed behind the database,
            # for closing gives up the locks that SQLite has on them.
            paths = [str(directory / f"{FILE_NAME}{end}") for end in ("-wal", "", "-shm")]
            self._files = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]
            self._index_file = self._files[-1]
            self._names = [
                (path, identity(os.fstat(file))) for path, file in zip(paths, self._files, strict=True)
            ]
        except OSError as error:
            database.close_untouched()
            raise StoreError(f"{directory}: cannot be used ({error.strerror})") from None
        except apsw.Error as error:
            database.close_untouched()
            raise database.explain(error) from None
        except BaseException:
            database.close_untouched()
            raise
        self._wal_time = 0
        self._index = b""  # what its index says of the WAL when nobody else had written to it
        self._seen: tuple[int, int, int] | None = None  # the directory, when all in it was in its place
        self._is_synced = False
        self._tidied_at = time.monotonic()

    def _take_what_is_left(self, mark: Mark | None) -> None:
        """Of a process before this one, in the same life."""
        database = self.database
        progress = database.progress()
        frames = left_by(self._directory, progress)
        missing = what_is_missing(mark, with_frames(progress, frames), boot_id(), WORDS)
        if missing and mark is not None:
            raise StoreError(f"{database.path}: {missing}")
        if frames:
            fold(database, progress, frames)

    def _count(self) -> int:
        """Batches that are kept, of all lives."""
        return self.database.batches + len(self._ahead.frames)

    def _state(self) -> Mark:
        batches = self._count()
        if self._is_durable:
            self._durable = batches
        return Mark(self._life.name, self._life.previous, batches, self._durable, self._boot)

    @property
    def is_behind(self) -> bool:
        """Is there something that the database has not yet?"""
        return bool(self._ahead.frames)

    def write(self, batch: int, data: bytes) -> None:
        """Keep one batch of records, all or nothing, so that it may be acknowledged.

        ``batch`` is its number in this life, without gaps from 1. One that is kept already, whose answer was
        lost, is not kept twice: what it has made may be undone in the next, and then nothing of both would
        get to the database, where it is already.

        Raises ``apsw.Error``, ``StoreError``, ``OSError``; then it may be there all the same, and is to be
        written again before anything that comes later.
        """
        if self._cannot_fold:
            self._fold()
        if self.trouble and self.look():
            raise StoreError(self.trouble)
        kept = self._count()
        missing = self._life.batches + batch - kept
        if missing > 1:
            raise StoreError(f"batch {batch} came before {missing - 1} others; restart the broker")
        if missing == 1:
            if len(data) <= ahead.LARGEST:
                self._append(kept + 1, data)
            else:
                self._fold(data)
        if not self._is_undisturbed():
            self._find_what_is_wrong()
        self._mark.write(self._state())
        self._is_synced = False

    def _append(self, number: int, data: bytes) -> None:
        if not self._ahead.has_room(len(data)):
            self._fold()
        try:
            self._ahead.append(Frame(number, self.database.now(), uptime(), data))
        except OSError as error:
            raise self._explain(error) from None

    def _explain(self, error: OSError) -> StoreError:
        """What became of the journal file, in plain words, with the way out."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = "the disk is full; make room and service resumes by itself"
        else:
            why = f"the disk reports an error ({error.strerror}); check it, and the system's log"
        return StoreError(f"{self._ahead.path}: {why}")

    def _fold(self, data: bytes = b"") -> None:
        """Have the database take what it has not yet, and a batch of records behind that. Raises
        ``apsw.Error`` and ``StoreError``; then it has nothing of them.
        """
        frames = self._ahead.frames
        if data:
            frames = [*frames, Frame(self._count() + 1, self.database.now(), uptime(), data)]
        if not frames:
            return
        fold(self.database, self.database.with_one_more(), frames)
        self._ahead.begin_anew()
        self._cannot_fold = ""

    def _is_undisturbed(self) -> bool:
        """Has nobody done anything to a name in the directory, or written to the database, since all was
        looked at? To ask that takes a third of the calls. All is looked at each second, in any case.
        """
        if self._seen is None or self.trouble:
            return False
        try:
            index = os.pread(self._index_file, INDEX_BYTES, 0)
            return index == self._index and self._state_of_directory() == self._seen
        except OSError:
            return False

    def _state_of_directory(self) -> tuple[int, int, int]:
        """Which it is, and when a name in it came, went or became that of another file."""
        status = os.stat(self._folder)
        return status.st_dev, status.st_ino, status.st_mtime_ns

    def _find_what_is_wrong(self) -> None:
        """Look at all files; the journal file is made anew where it has to be. Raises ``StoreError``."""
        try:
            seen = self._state_of_directory()
        except OSError:
            seen = (0, 0, 0)  # which the look will tell
        if self.look():
            raise StoreError(self.trouble)
        if not self._ahead.has_its_name():
            self._fold()
            try:
                self._ahead.put_back()
            except OSError as error:
                raise self._explain(error) from None
        elif seen[2] and time.time_ns() - seen[2] > JUST_NOW:
            self._seen = seen

    def look(self) -> str:
        """Look at the files; ``trouble`` is as it is now."""
        self._seen = None
        self._index = b""
        with contextlib.suppress(OSError):  # before the database is asked: who writes meanwhile is noticed
            self._index = os.pread(self._index_file, INDEX_BYTES, 0)
        wrong = ""
        written = 0
        for path, ours in self._names:
            try:
                status = os.stat(path)
                if (status.st_dev, status.st_ino) == ours:
                    written = written or status.st_mtime_ns  # the WAL is the first
                    continue
            except OSError:
                pass
            wrong = wrong or path
        if not wrong:
            self.trouble = self._other_life(written) or self._cannot_fold
        elif not self.trouble:
            self.trouble = f"{wrong}: was removed or replaced while the broker runs; {self._save()}"
        return self.trouble

    def _other_life(self, written: int) -> str:
        """Plain words where somebody has written to the database in the name of another life, or "". The WAL
        was ``written`` last then.
        """
        if written == self._wal_time:
            return ""
        try:
            self.database.check_life()
        except StoreError as error:
            return str(error)
        if time.time_ns() - written > JUST_NOW:
            self._wal_time = written
        return ""

    def _save(self) -> str:
        """Save what a file without a name holds; says what is to be done."""
        if all(os.fstat(file).st_nlink for file in self._files):
            return "nothing more is acknowledged until it is put back in its place"
        file = self._directory / RESCUED_NAME
        try:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with contextlib.suppress(apsw.Error):
                self._fold()
            self.database.copy_to(file, is_rescue=True)
            sync_directory(self._directory)
        except (OSError, StoreError) as error:
            return f"nothing more is acknowledged, and what it held could not be saved as {file} ({error})"
        return (
            f"nothing more is acknowledged; what it held is saved in {file}: stop the broker, remove what is "
            f"left of {FILE_NAME}, {FILE_NAME}-wal and {FILE_NAME}-shm, and give it the name {FILE_NAME}"
        )

    def tidy(self) -> None:
        """Now and then: the database is to have what is in the journal file, the mark to have its name, and
        to outlive a loss of power. Raises ``OSError``.
        """
        now = time.monotonic()
        if now - self._tidied_at < TIDY_SECONDS:
            return
        self._tidied_at = now
        self._seen = None
        self.rest()
        self._mark.put_back(self._state())
        if self._is_durable and not self._is_synced:
            self._mark.sync()
            self._is_synced = True

    def rest(self) -> None:
        """There is time to have the database take what it has not yet; ``trouble`` is what comes of it."""
        try:
            self._fold()
        except apsw.Error as error:
            self._cannot_fold = str(self.database.explain(error))
        except StoreError as error:
            self._cannot_fold = str(error)

    def close(self) -> None:
        """The end of the life; with files that are not in their places, they are left as they are."""
        self.rest()
        if self.look():
            self.database.close_untouched()
        else:
            self.database.close()
            with open(self.database.path, "rb") as database:  # all is in it, if nobody else has it open
                sync_file(database.fileno())
            if not os.path.exists(self._names[0][0]):
                self._durable = self.database.batches
            self._mark.write(self._state())
            self._mark.sync()
            self._ahead.remove()
        self._ahead.close()
        self._mark.close()
        for file in self._files:
            os.close(file)
