"""A new life of the store begins: is all there that was acknowledged, and does the clock still mean the same?

What is missing is told, with the way out, and everything is left as it was found. Only who says so goes on
with what is there.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Final, cast

import apsw

from curier.errors import StoreError
from curier.store.ahead import FILE_NAME as JOURNAL_NAME
from curier.store.ahead import fold, left_by, with_frames
from curier.store.database import FILE_NAME, WAY_OUT, Database
from curier.store.directory import try_to_lock
from curier.store.life import Life, begin_mark, tell_crash, tell_jump
from curier.store.mark import FILE_NAME as MARK_NAME
from curier.store.mark import Mark, boot_id, read_mark
from curier.store.progress import Progress, Words, clock_jump, new_life, uptime, what_is_missing

log = logging.getLogger("curier.store")

LOOKS: Final = 3  # a broker may begin a life between mark and database
LOOK_SECONDS: Final = 5.0  # a broker that runs has batches in the journal file for about a second

WORDS: Final = Words("database", "broker", "it, or its WAL,")


def begin(directory: Path, durability: str, accept_loss: bool) -> tuple[Database, Life]:
    """The database of a locked data directory, made where there is none, in a new life.

    ``accept_loss``: what is missing is missed from now on. Raises ``StoreError``.
    """
    mark = _mark(directory, accept_loss)
    boot = boot_id()
    path = directory / FILE_NAME
    if not has_database(directory):
        missing = what_is_missing(mark, None, boot, WORDS)
        if not missing and _size(path.with_name(FILE_NAME + "-wal")):
            missing = "the database is missing, and its WAL is there"
        elif not missing and _size(directory / JOURNAL_NAME):
            missing = f"the database is missing, and {JOURNAL_NAME} is there"
        _decide(path, missing, accept_loss)
    database = Database(directory, durability)
    try:
        progress = database.progress()
        frames = left_by(directory, progress)
        missing = what_is_missing(mark, with_frames(progress, frames), boot, WORDS)
        _decide(path, missing, accept_loss)
        if missing:
            _check_whole(database)
        if frames:
            fold(database, progress, frames)
            progress = with_frames(progress, frames)
        if not missing and mark is not None and progress.batches < mark.batches:
            tell_crash(str(path), mark.batches - progress.batches, "os")
        life = _begin(database, progress, boot, mark.durable if mark is not None else 0)
    except apsw.Error as error:
        database.close_untouched()
        raise database.explain(error) from None
    except BaseException:
        database.close_untouched()
        raise
    return database, life


def has_database(directory: Path) -> bool:
    """Is there one? An empty file is none; SQLite would remove its WAL if it opened it."""
    return bool(_size(directory / FILE_NAME))


def look(directory: Path) -> tuple[Database, str]:
    """The database of a data directory, for reading only, while a broker may use it; and plain words of what
    is missing from it. What is in the journal file only is waited for, where a broker runs that will have it
    in the database soon, or put there, where it was killed. Raises ``StoreError``.
    """
    if not has_database(directory):
        path = directory / FILE_NAME
        missing = what_is_missing(read_mark(directory), None, boot_id(), WORDS)
        raise StoreError(
            f"{path}: {missing or 'there is no such file; DIR is what curier broker was given with --data'}"
        )
    database = Database(directory, read_only=True)
    try:
        missing = _wait_for(directory, database)
    except BaseException:
        database.close()
        raise
    return database, missing


def _wait_for(directory: Path, database: Database) -> str:
    """Until all that was acknowledged is in the database; plain words of what is missing after a while."""
    first: Mark | None = None
    until = time.monotonic() + LOOK_SECONDS
    looks = 0  # that found nothing to wait for
    while True:
        try:
            mark = read_mark(directory)
            if first is not None and mark is not None and mark.life == first.life:
                mark = first  # a broker that runs is ahead always, but by other batches
            first = mark
            missing = what_is_missing(mark, database.progress(), boot_id(), WORDS)
        except StoreError as error:  # the mark is damaged, or just being replaced
            missing = str(error)
        if not missing or looks == LOOKS or time.monotonic() > until:
            return missing
        if left_by(directory, database.progress()):
            _finish(directory)
        else:
            looks += 1
        time.sleep(0.1)


def _finish(directory: Path) -> None:
    """Do what the store of a broker that was killed had left to do, unless there is somebody who does."""
    lock = try_to_lock(directory)
    if lock is None:
        return
    try:
        database = Database(directory)
        try:
            progress = database.progress()
            frames = left_by(directory, progress)
            if frames:
                fold(database, progress, frames)
        except apsw.Error as error:
            raise database.explain(error) from None
        finally:
            database.close_untouched()
    finally:
        os.close(lock)


def _mark(directory: Path, accept_loss: bool) -> Mark | None:
    try:
        return read_mark(directory)
    except StoreError as error:
        _decide(
            None, f"{error}, so that it cannot be known whether what was acknowledged is there", accept_loss
        )
        (directory / MARK_NAME).unlink()
        return None


def _decide(path: Path | None, missing: str, accept_loss: bool) -> None:
    if not missing:
        return
    said = f"{path}: {missing}" if path is not None else missing
    if not accept_loss:
        raise StoreError(
            f"{said}. Restore a backup (moving curier.mark away with the rest), or start once with "
            "--accept-loss to go on with what is there"
        )
    log.warning("%s; this was accepted, and the broker goes on with what is there", said)


def _check_whole(database: Database) -> None:
    """A WAL that ends too early may leave pages that do not go together."""
    found = cast(str, database.connection.execute("PRAGMA integrity_check(1)").get)
    if found != "ok":
        raise StoreError(f"{database.path}: what is left is damaged ({found}); {WAY_OUT}")


def _begin(database: Database, progress: Progress, boot: str, durable: int) -> Life:
    """First the mark, which names both lives, then the row: a crash between them harms nothing. It is with
    the row that all of it outlives a loss of power; before, ``durable`` batches are known to.
    """
    now = time.time()
    jump = clock_jump(progress, now, boot, uptime())
    tell_jump(jump, "broker")
    life = Life(new_life(), progress.life, now - time.monotonic(), progress.batches)
    mark = Mark(life.name, life.previous, progress.batches, min(durable, progress.batches), boot)
    try:
        begin_mark(database.path.parent, mark)
    except OSError as error:
        raise StoreError(
            f"{database.path.parent / MARK_NAME}: cannot be written ({error.strerror}); make directory and "
            "files writable, choose another with --data DIR, or keep nothing with --memory"
        ) from None
    database.begin_life(life.name, boot, jump)
    return life


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
