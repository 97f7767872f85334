"""The store of a broker with a data directory: SQLite, behind a process of its own.

The process may die at any time: it is started again and gets the open batch once more, which does no harm
even if it had been written. A full disk or an I/O error keeps the batch open and is tried again every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from curier.errors import StoreError
from curier.session.records import Batch, Record, encode_some
from curier.store.base import CLOSE_SECONDS, Durability, Store
from curier.store.beginning import begin
from curier.store.database import Database
from curier.store.directory import lock, prepare
from curier.store.life import Life
from curier.store.link import Link
from curier.store.process import DONE, REQUEST, TROUBLE

log = logging.getLogger("curier.store")

RETRY_SECONDS: Final = 1.0
START_SECONDS: Final = 30.0
KILL_SECONDS: Final = 0.5  # of the time to close, for a process that does not end by itself
PIECE: Final = 2000  # records encoded before others have their turn: about a millisecond
SMALL: Final = 64 * 1024  # bytes that are copied rather than sent by themselves
PIECE_BYTES: Final = 2 * 1024 * 1024  # and what is copied of them


class SqliteStore(Store):
    """Durable state in ``directory``. Holds the directory's lock from ``load`` to ``close``."""

    def __init__(
        self,
        directory: Path,
        durability: Durability = "fsync",
        *,
        max_bytes: int = 0,
        accept_loss: bool = False,
    ) -> None:
        """``max_bytes`` limits the size of the database file; 0: the disk does. ``accept_loss`` goes on with
        what is there, where something that was acknowledged is missing.
        """
        self.directory = directory
        self.where = str(directory)
        self.max_bytes = max_bytes
        self.accept_loss = accept_loss
        self.durability: Durability = durability
        self.on_committed: Callable[[int], None] = _ignore_number
        self.on_trouble: Callable[[str], None] = _ignore_text
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._life: Life | None = None
        self._link: Link | None = None
        self._open_batch: list[bytes] = []  # as sent, until it is answered
        self._open_records: list[Record] = []
        self._open_number = 0
        self._count = 0  # of batches in this life, which is how the process knows one that it has already
        self._is_closing = False
        self._trouble = ""  # what was logged last of a batch that cannot be written
        self._retry: asyncio.TimerHandle | None = None
        self._restart: asyncio.Task[None] | None = None
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()

    def load(self) -> Iterator[list[Record]]:
        database = self._begin()
        try:
            yield from database.records()
        finally:
            database.close()

    def _begin(self) -> Database:
        """Take the lock and begin a life. Raises ``StoreError``."""
        self._take_lock()
        database, self._life = begin(self.directory, self.durability, self.accept_loss)
        self._count = 0
        return database

    def _take_lock(self) -> None:
        if self._lock is None:
            prepare(self.directory)
            self._lock = lock(self.directory)

    async def open(self) -> None:
        try:
            if self._life is None:
                self._begin().close()
            await self._start()
        except BaseException:
            await self.close()
            raise

    def commit(self, batch: Batch) -> None:
        self._idle.clear()
        self._open_records = batch.records
        self._open_number = batch.number
        self._count += 1
        if len(batch.records) <= PIECE:
            self._encode(batch, [], 0)
        else:  # the turn that has made so many has taken long enough
            asyncio.get_running_loop().call_soon(self._encode, batch, [], 0)

    def _encode(self, batch: Batch, parts: list[bytes], done: int) -> None:
        """Encode the records behind the first ``done``, which ``parts`` has: a large batch in pieces, so
        that nobody waits long.
        """
        try:
            pieces, done = encode_some(batch.records, done, PIECE, PIECE_BYTES)
        except Exception as error:
            # It can never be written, nor what comes behind it, which may depend on it.
            log.exception(
                "%s: changes cannot be written: there is no room in their form for them", self.directory
            )
            self._complain(f"changes cannot be written ({error}); restart the broker")
            return
        parts += pieces
        if done < len(batch.records):
            asyncio.get_running_loop().call_soon(self._encode, batch, parts, done)
            return
        if len(parts) == 1 and len(parts[0]) <= SMALL:
            self._open_batch = [REQUEST.pack(len(parts[0]), self._count) + parts[0]]
        else:
            self._open_batch = [REQUEST.pack(sum(map(len, parts)), self._count), *parts]
        if self._link is not None:
            self._link.send(self._open_batch)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if not self._idle.is_set() and self._link is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds - 2 * KILL_SECONDS):
                    await self._be_idle()
        self.unwritten = self._open_records
        self._is_closing = True
        if self._retry is not None:
            self._retry.cancel()
        if self._restart is not None:
            self._restart.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._restart
        if self._link is not None:
            self._link.close()
        await self._reap(until - loop.time())
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._life = None

    async def _be_idle(self) -> None:
        """Until all is written; another batch may follow the one that is open. Raises ``TimeoutError`` where
        trouble does not end with the next try.
        """
        while not self._idle.is_set():
            async with asyncio.timeout(2 * RETRY_SECONDS if self._trouble else None):
                await self._idle.wait()

    # ---- the process ----

    async def _reap(self, seconds: float = CLOSE_SECONDS) -> None:
        """Wait until the process has ended, whose socket is closed; one that hangs is killed."""
        process = self.process
        self.process = None
        if process is None or await _has_ended(process, seconds - KILL_SECONDS):
            return
        process.kill()
        if not await _has_ended(process, KILL_SECONDS):
            log.error("%s: the store's process hangs in the system and does not end", self.directory)

    async def _start(self) -> None:
        """Start the process and wait until it can write. Raises ``StoreError``."""
        ours, theirs = socket.socketpair()
        assert self._lock is not None
        assert self._life is not None
        try:
            arguments = [str(theirs.fileno()), str(self._lock), str(self.directory), self.durability]
            arguments += [str(self.max_bytes), *map(str, self._life)]
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it does not wait for the child
                [sys.executable, "-m", "curier.store.process", *arguments],
                pass_fds=(theirs.fileno(), self._lock),
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            ours.close()
            raise StoreError(f"the store's process cannot be started: {error}") from None
        finally:
            theirs.close()
        link = Link(ours, self.answered, self.lost)
        try:
            async with asyncio.timeout(START_SECONDS):
                await link.ready
        except TimeoutError:
            link.close()
            raise StoreError(f"the store's process did not answer within {START_SECONDS:g} seconds") from None
        except BaseException:
            link.close()
            raise
        if link.is_lost:
            raise StoreError("the store's process ended when it had just begun")
        self._link = link
        if self._open_batch:
            link.send(self._open_batch)
        elif self._trouble:
            self._recovered()
            self.on_trouble("")

    def answered(self, status: int, message: str) -> None:
        """The process has answered the open batch, or tells of trouble by itself."""
        if status == TROUBLE:
            if message:
                self._complain(message)
            elif not self._open_batch:
                self._recovered()
                self.on_trouble("")
            return
        if status == DONE:
            self._open_batch = []
            self._open_records = []
            self._idle.set()
            if self._trouble:
                self._recovered()
            try:
                self.on_committed(self._open_number)
            except Exception:
                log.exception("%s: an error behind changes that are durable", self.directory)
            return
        self._complain(message)
        self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._send_again)

    def _recovered(self) -> None:
        log.warning("%s: changes can be written again", self.directory)
        self._trouble = ""

    def _complain(self, message: str) -> None:
        if message != self._trouble:  # it is tried again every second; say it once
            log.error("%s", message)
            self._trouble = message
        try:
            self.on_trouble(message)
        except Exception:
            log.exception("%s: an error behind trouble", self.directory)

    def _send_again(self) -> None:
        self._retry = None
        if self._link is not None and self._open_batch:
            self._link.send(self._open_batch)

    def lost(self, link: Link) -> None:
        """The process is gone."""
        if self._is_closing or link is not self._link:
            return
        self._link = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        log.error("the store's process has ended; it is started again, nothing is acknowledged meanwhile")
        self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        delay = 0.0
        while not self._is_closing:
            await self._reap()
            try:
                await self._start()
                return
            except StoreError as error:
                self._complain(str(error))
                delay = min(5.0, delay + 0.5)
                await asyncio.sleep(delay)


async def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait so long at most; without a thread, whose end the program would have to wait for."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while process.poll() is None:
        if loop.time() > until:
            return False
        await asyncio.sleep(0.01)
    return True


def _ignore_number(number: int) -> None:
    pass


def _ignore_text(text: str) -> None:
    pass
