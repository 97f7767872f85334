"""What the store's process does with a batch: into the database, then into the mark; and it looks whether the
files are still the ones that have their names.

A file that is removed or replaced under a running broker goes on to exist for whoever has it open, and for
nobody else: what is written to it goes with the process. So nothing more is acknowledged then, and what the
open files hold is saved beside them.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from curier.errors import StoreError
from curier.session.records import Record
from curier.store.beginning import missing_from
from curier.store.database import FILE_NAME, Database
from curier.store.frames import sync_directory, sync_file
from curier.store.life import Life
from curier.store.mark import Mark, MarkFile, boot_id, identity, read_mark

RESCUED_NAME: Final = "curier-rescued.db"
TIDY_SECONDS: Final = 1.0
"""How old the mark may be after a loss of power."""


class Writer:
    """Writes in the name of a life that has begun. Not for several threads."""

    def __init__(self, directory: Path, durability: str, life: Life, max_bytes: int = 0) -> None:
        """Raises ``StoreError``."""
        self.trouble = ""
        """What is wrong with the files, in plain words, or ""."""
        self._directory = directory
        self._life = life
        self._is_durable = durability == "fsync"
        mark = read_mark(directory)
        self.database = database = Database(directory, durability, max_bytes=max_bytes)
        try:
            database.go_on(life.name, life.clock_offset)
            missing = missing_from(directory, database, mark)
            if missing and mark is not None:
                raise StoreError(f"{database.path}: {missing}")
            self._boot = boot_id()
            self._durable = mark.durable if mark is not None else 0
            self._mark = MarkFile(directory, self._state())
            # They stay open, so that no other file gets their numbers; they are closed behind the database,
            # for closing gives up the locks that SQLite has on them.
            paths = [str(directory / f"{FILE_NAME}{end}") for end in ("", "-wal", "-shm")]
            self._files = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]
            self._names = [
                (path, identity(os.fstat(file))) for path, file in zip(paths, self._files, strict=True)
            ]
        except OSError as error:
            database.close_untouched()
            raise StoreError(f"{directory}: cannot be used ({error.strerror})") from None
        except BaseException:
            database.close_untouched()
            raise
        self._is_synced = True
        self._tidied_at = time.monotonic()

    def _state(self) -> Mark:
        batches = self.database.batches
        if self._is_durable:
            self._durable = batches
        return Mark(self._life.name, self._life.previous, batches, self._durable, self._boot)

    def write(self, records: list[Record]) -> None:
        """Keep one batch, all or nothing, so that it may be acknowledged.

        Raises ``apsw.Error``, ``StoreError``, ``OSError``; then it may be there all the same, and is to be
        written again before anything that comes later.
        """
        if self.trouble and self.look():
            raise StoreError(self.trouble)
        self.database.apply(records)
        if self.look():
            raise StoreError(self.trouble)
        self._mark.write(self._state())
        self._is_synced = False

    def look(self) -> str:
        """Look at the files; ``trouble`` is as it is now."""
        wrong = ""
        for path, ours in self._names:
            try:
                if identity(os.stat(path)) == ours:
                    continue
            except OSError:
                pass
            wrong = wrong or path
        if not wrong:
            self.trouble = ""
        elif not self.trouble:
            self.trouble = f"{wrong}: was removed or replaced while the broker runs; {self._save()}"
        return self.trouble

    def _save(self) -> str:
        """Save what a file without a name holds; says what is to be done."""
        if all(os.fstat(file).st_nlink for file in self._files):
            return "nothing more is acknowledged until it is put back in its place"
        file = self._directory / RESCUED_NAME
        try:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self.database.copy_to(file, is_rescue=True)
            sync_directory(self._directory)
        except (OSError, StoreError) as error:
            return f"nothing more is acknowledged, and what it held could not be saved as {file} ({error})"
        return (
            f"nothing more is acknowledged; what it held is saved in {file}: stop the broker, remove what is "
            f"left of {FILE_NAME}, {FILE_NAME}-wal and {FILE_NAME}-shm, and give it the name {FILE_NAME}"
        )

    def tidy(self) -> None:
        """Now and then: the mark is to have its name, and to outlive a loss of power. Raises ``OSError``."""
        now = time.monotonic()
        if now - self._tidied_at < TIDY_SECONDS:
            return
        self._tidied_at = now
        self._mark.put_back(self._state())
        if self._is_durable and not self._is_synced:
            self._mark.sync()
            self._is_synced = True

    def close(self) -> None:
        """The end of the life; with files that are not in their places, they are left as they are."""
        if self.look():
            self.database.close_untouched()
        else:
            self.database.close()
            with open(self.database.path, "rb") as database:  # all is in it, if nobody else has it open
                sync_file(database.fileno())
            if not os.path.exists(self._names[1][0]):
                self._durable = self.database.batches
            self._mark.write(self._state())
            self._mark.sync()
        self._mark.close()
        for file in self._files:
            os.close(file)
