"""The store of one client's session: a log of batches, in a directory of its own.

A batch is appended with one small write, in the event loop's own thread: from then on it outlives the
program. A second thread calls ``fsync`` for all that came meanwhile at once. There is no process: a client
library starts none unasked, and a log needs none (docs/durability.md has the figures).

When the log has grown to several times what it says, it goes on in a new file whose first frame says
everything. The old one is removed once the new one is durable (``store.frames``).

The mark is written behind every batch, and put on the disk by the second thread, once a second at most. When
the next life begins it tells whether the log has lost something, and whether the clock was set.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final

from curier.errors import StoreError
from curier.session.records import Batch, Record, encode
from curier.store.base import CLOSE_SECONDS, Durability, SessionStore
from curier.store.frames import Found, LifeBegun, Log, newest, sync_directory, sync_file
from curier.store.life import Life, begin_mark, tell_crash, tell_jump
from curier.store.locking import holder, open_lock, try_lock
from curier.store.mark import FILE_NAME as MARK_NAME
from curier.store.mark import Mark, MarkFile, boot_id, read_mark
from curier.store.progress import Progress, Words, clock_jump, new_life, uptime, what_is_missing

log = logging.getLogger("curier.store")

RETRY_SECONDS: Final = 1.0
JOIN_SECONDS: Final = 1.0  # for a sync that was going on when the program did not want to wait any longer
COMPACT_BYTES: Final = 8 * 1024 * 1024  # a smaller log is not worth a new file
TIDY_SECONDS: Final = 1.0  # how old the mark may be after a loss of power

WORDS: Final = Words("log", "program", "it")
NO_LIFE: Final = LifeBegun("", 0.0, 0.0, 0.0, "")


class LogStore(SessionStore):
    """Durable state in ``directory``. Holds the directory's lock from ``load`` to ``close``.

    Without ``snapshot`` the log only grows.
    """

    def __init__(
        self,
        directory: Path,
        durability: Durability = "fsync",
        *,
        accept_loss: bool = False,
        compact_bytes: int = COMPACT_BYTES,
    ) -> None:
        """``accept_loss`` goes on with what is there, where something that was accepted is missing."""
        self.directory = directory
        self.where = str(directory)
        self.durability: Durability = durability
        self.accept_loss = accept_loss
        self.compact_bytes = compact_bytes
        self.on_committed: Callable[[int], None] = _ignore_number
        self.on_trouble: Callable[[str], None] = _ignore_text
        self.snapshot: Callable[[], Batch] | None = None
        self.trouble = ""
        self._lock: int | None = None
        self._is_loaded = False
        self._found: Found | None = None
        self._log: Log | None = None
        self._life = Life("", "", 0.0)
        self._begun = NO_LIFE  # the same, as the log has it; before ``open``, what is known of the last one
        self._clock_jump = 0.0
        self._boot = ""
        self._mark: MarkFile | None = None
        self._tidied_at = 0.0
        self._durable_frame = 0  # the newest that is surely on the disk
        self._old: list[Log] = []  # files that go when the newest one is durable
        self._limit = 0  # bytes of the log at which it goes on in a new file
        self._syncer: _Syncer | None = None
        self._written = 0  # number of the newest batch in the log
        self._durable = 0  # and of the newest that is durable
        self._waiting: list[Batch] = []  # that could not be written
        self._is_broken = False  # the disk has lost what was written: only a new file helps
        self._retry: asyncio.TimerHandle | None = None

    # ---- a life begins and ends ----

    def load(self) -> Iterator[list[Record]]:
        self._take_lock()
        self._found = newest(self.directory)
        self._look_back(self._found)
        self._is_loaded = True
        if self._found is not None:
            yield from self._found.batches(self._clock_jump)

    def _look_back(self, found: Found | None) -> None:
        """Is all there that was accepted, and does the clock still mean the same? Raises ``StoreError``."""
        self._boot = boot_id()
        mark = self._read_mark()
        progress = None
        last = NO_LIFE
        if found is not None:
            if found.life is not None:
                last = found.life
            name = last.name
            progress = Progress(name, bool(name), found.number)
            if mark is not None and (mark.life != name or mark.batches >= found.life_number):
                last = LifeBegun(name, 0.0, mark.written_at, mark.uptime, mark.boot)
        missing = what_is_missing(mark, progress, self._boot, WORDS)
        if missing:
            self._decide(f"{found.path if found is not None else self.where}: {missing}")
        elif mark is not None and progress is not None and progress.batches < mark.batches:
            tell_crash(self.where, mark.batches - progress.batches, self.durability)
        self._begun = last
        self._durable_frame = min(mark.durable, found.number) if mark is not None and found is not None else 0
        known = Progress("", False, 0, last.written_at, last.boot, last.uptime)
        self._clock_jump = clock_jump(known, time.time(), self._boot, uptime())
        tell_jump(self._clock_jump, "program")

    def _read_mark(self) -> Mark | None:
        try:
            return read_mark(self.directory)
        except StoreError as error:
            self._decide(f"{error}, so that it cannot be known whether what was accepted is there")
            (self.directory / MARK_NAME).unlink()
            return None

    def _decide(self, missing: str) -> None:
        if not self.accept_loss:
            raise StoreError(
                f"{missing}. Restore a backup of the whole directory, or open it once with accept_loss=True "
                "to go on with what is there"
            )
        log.warning("%s; this was accepted, and the program goes on with what is there", missing)

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = open_lock(self.directory)
        except OSError as error:
            raise StoreError(
                f"{self.where}: cannot be used ({error.strerror}); it is to be a directory that only this "
                "program writes to, and is made where there is none"
            ) from None
        if not try_lock(fd):
            who = holder(fd)
            os.close(fd)
            whom = f"process {who}" if who else "another process"
            raise StoreError(f"{self.where}: in use by {whom}; stop that program, or choose another path")
        self._lock = fd

    async def open(self) -> None:
        if not self._is_loaded:
            for _ in self.load():
                pass
        try:
            self._begin_life(self._found)
        except OSError as error:
            await self.close()
            raise self._explain(error) from None
        self._found = None
        assert self._log is not None
        self._set_limit(self._log)
        self._written = self._durable = 0
        self._syncer = _Syncer(self.directory, self._synced)

    def _begin_life(self, found: Found | None) -> None:
        """First the mark, which names both lives, and the time of the one before until the log has that of
        this one: a crash between any two of these steps harms nothing. Raises ``OSError``.
        """
        before = self._begun
        life = self._life = Life(new_life(), before.name, time.time() - time.monotonic())
        self._begun = LifeBegun(life.name, self._clock_jump, self._now(), uptime(), self._boot)
        if found is not None:
            self._log = Log(found.path, found.number, found.end, found.first_size)
            self._tidy(self._log)
        number = found.number if found is not None else 0
        begin_mark(
            self.directory,
            Mark(
                life.name,
                before.name,
                number,
                self._durable_frame,
                before.boot,
                before.written_at,
                before.uptime,
            ),
        )
        if found is not None and self._log is not None:
            self._log.go_on(self._begun, found.version)
        else:
            self._log = Log.begin(self.directory, 1, 2, self._begun, b"", True)
        self._begun = self._begun._replace(clock_jump=0.0)  # for the files that come later
        self._mark = MarkFile(self.directory, self._state(self._log))
        self._write_mark(self._log)

    def _now(self) -> float:
        """By the program's clock."""
        return time.monotonic() + self._life.clock_offset

    def _state(self, opened: Log) -> Mark:
        life, durable = self._life, self._durable_frame
        return Mark(life.name, life.previous, opened.number, durable, self._boot, self._now(), uptime())

    def _write_mark(self, opened: Log) -> None:
        """Say that so much is written. Raises ``OSError``."""
        assert self._mark is not None
        self._mark.write(self._state(opened))

    def _tidy(self, opened: Log) -> None:
        for path in self.directory.glob("*.log"):
            if path != opened.path:
                path.unlink()
        if self.durability == "fsync":  # an earlier life has written what we have read, perhaps no more
            sync_file(opened.file.fileno())
            sync_directory(self.directory)
            opened.durable = self._durable_frame = opened.number

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        try:
            if self._syncer is not None:
                await self._finish(self._syncer, seconds)
        finally:
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            hangs = self._syncer is not None and not self._syncer.close()
            self._syncer = None
            if self._mark is not None and not hangs:
                self._mark.close()
            self._mark = None
            for one in [*self._old, *([self._log] if self._log is not None else [])]:
                if not hangs:
                    one.file.close()
            self._log = self._found = None
            self._old = []
            self._waiting = []
            self._is_broken = self._is_loaded = False
            self.trouble = ""
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def _finish(self, syncer: _Syncer, seconds: float) -> None:
        """Write and sync what can be."""
        if self.trouble:
            self._try_again()
        self.sync()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await syncer.idle.wait()
        if self.trouble or syncer.is_busy:
            log.error("%s: the last changes could not be written", self.where)

    # ---- writing ----

    def commit(self, batch: Batch) -> None:
        if self.trouble:
            self._waiting.append(batch)
            return
        try:
            if not self._compacts():
                self.append(batch)
        except StoreError as error:
            self._waiting.append(batch)
            self._complain(str(error))
        else:
            self.sync()

    def append(self, batch: Batch) -> None:
        if self.trouble:
            raise StoreError(self.trouble)
        opened = self._log
        assert opened is not None
        end = opened.end
        try:
            opened.append(encode(batch.records))
            try:
                self._write_mark(opened)
            except OSError:
                opened.take_back(end)
                raise
        except OSError as error:
            raise self._explain(error) from None
        self._written = batch.number

    def sync(self) -> None:
        if self._is_broken:
            return
        if self.durability == "os":
            self._report(self._written)
            if not self._old:
                return
        assert self._syncer is not None
        assert self._log is not None
        if not self._syncer.is_busy and (self._durable != self._written or self._old):
            old, self._old = self._old, []
            self._syncer.start(
                _Sync(self._log, self._log.number, self._written, old, self._mark_to_sync(self._log))
            )

    def _mark_to_sync(self, opened: Log) -> MarkFile | None:
        """The mark, now and then: it is to have its name, and to outlive a loss of power."""
        now = time.monotonic()
        if self._mark is None or now - self._tidied_at < TIDY_SECONDS:
            return None
        self._tidied_at = now
        with contextlib.suppress(OSError):  # without a mark, or one that is old, the next life says so
            self._mark.put_back(self._state(opened))
        return self._mark

    def _synced(self, sync: _Sync, error: OSError | None) -> None:
        """A sync has ended."""
        if error is not None:
            # The system may have dropped what it could not write, and it says so only once.
            self._is_broken = True
            self._old = [*sync.old, *self._old]
            self._complain(str(self._explain(error)))
            return
        sync.log.durable = sync.frame
        self._durable_frame = max(self._durable_frame, sync.frame)
        if self._log is not None:
            with contextlib.suppress(OSError):  # it then says less than there is, until the next batch
                self._write_mark(self._log)
        self._report(sync.batch)
        self.sync()

    def _report(self, number: int) -> None:
        if number > self._durable:
            self._durable = number
            self.on_committed(number)

    # ---- going on in a new file ----

    def _set_limit(self, opened: Log) -> None:
        self._limit = max(self.compact_bytes, 3 * opened.first_size)

    def _compacts(self) -> bool:
        """If the log says far less than it is long, begin a new file with everything, and return True."""
        assert self._log is not None
        if self.snapshot is None or self._log.end < self._limit:
            return False
        try:
            self._replace(self.snapshot())
        except OSError as error:
            log.warning("%s: goes on growing, as no new file can be written (%s)", self.where, error.strerror)
            self._limit = self._log.end + self.compact_bytes
            return False
        return True

    def _replace(self, everything: Batch) -> None:
        """Begin a new file. Raises ``OSError``."""
        assert self._log is not None
        new = self._log.successor(self._begun, encode(everything.records))
        self._old.append(self._log)
        self._log = new
        self._set_limit(new)
        self._written = everything.number
        with contextlib.suppress(OSError):  # it then says less than there is, until the next batch
            self._write_mark(new)

    # ---- trouble ----

    def _complain(self, message: str) -> None:
        if message != self.trouble:  # it is tried again every second; say it once
            log.error("%s", message)
            self.trouble = message
            self.on_trouble(message)
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        trouble, self.trouble = self.trouble, ""
        try:
            if self._is_broken:
                self._replace_broken(trouble)
            while self._waiting:
                self.append(self._waiting[0])
                del self._waiting[0]
        except StoreError as error:
            self.trouble = trouble
            self._complain(str(error))
            return
        log.warning("%s: changes can be written again", self.where)
        self.on_trouble("")
        self.sync()

    def _replace_broken(self, trouble: str) -> None:
        if self.snapshot is None:
            raise StoreError(trouble)
        try:
            self._replace(self.snapshot())
        except OSError as error:
            raise self._explain(error) from None
        self._waiting = []  # it is in there
        self._is_broken = False

    def _explain(self, error: OSError) -> StoreError:
        """The error in plain words, with the way out."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError(f"{self.where}: the disk is full; make room and it goes on by itself")
        return StoreError(f"{self.where}: cannot be written ({error.strerror}); check the disk")


class _Sync:
    """One call of ``fsync``: for which file, frame and batch; ``old`` files are removed by it, and ``mark``
    is synced as well.
    """

    def __init__(self, log: Log, frame: int, batch: int, old: list[Log], mark: MarkFile | None) -> None:
        self.log = log
        self.frame = frame
        self.batch = batch
        self.old = old
        self.mark = mark


class _Syncer:
    """A thread that syncs, one at a time; ``done`` is called in the loop's thread after each."""

    def __init__(self, directory: Path, done: Callable[[_Sync, OSError | None], None]) -> None:
        self.directory = directory
        self.done = done
        self.is_busy = False
        self.is_closed = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._loop = asyncio.get_running_loop()
        self._asked: SimpleQueue[_Sync | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="curier-sync", daemon=True)
        self._thread.start()

    def start(self, sync: _Sync) -> None:
        self.is_busy = True
        self.idle.clear()
        self._asked.put(sync)

    def close(self) -> bool:
        """End the thread; nobody hears of what is going on any more. False: the disk does not let it end."""
        self.is_closed = True
        self._asked.put(None)
        self._thread.join(JOIN_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (sync := self._asked.get()) is not None:
            error: OSError | None = None
            try:
                self._sync(sync)
            except OSError as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._ended, sync, error)

    def _sync(self, sync: _Sync) -> None:
        sync_file(sync.log.file.fileno())
        if sync.mark is not None:
            sync.mark.sync()
        if sync.old:
            sync_directory(self.directory)
        for one in sync.old:
            one.file.close()
            one.path.unlink(missing_ok=True)

    def _ended(self, sync: _Sync, error: OSError | None) -> None:
        self.is_busy = False
        if not self.is_closed:
            self.done(sync, error)
        if not self.is_busy:
            self.idle.set()


def _ignore_number(number: int) -> None:
    pass


def _ignore_text(text: str) -> None:
    pass
