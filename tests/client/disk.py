"""A disk in a simulated network, and a session's store on it: written, durable, full, and without power."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from curier.errors import StoreError
from curier.session.records import Batch, Record, decode, encode
from curier.store.base import SessionStore
from curier.testing import Network


class Disk:
    """What one program has written. All of it outlives the program; ``synced`` pieces outlive the power."""

    def __init__(self) -> None:
        self.pieces: list[tuple[bool, bytes]] = []  # a batch; does it say everything before it as well?
        self.synced = 0
        self.is_full = False

    def write(self, records: list[Record], is_everything: bool) -> None:
        if self.is_full:
            raise StoreError("the disk is full")
        self.pieces.append((is_everything, encode(records)))

    def lose_power(self, random: Random) -> int:
        """Some of what was not synced may be there all the same; how many pieces are left."""
        del self.pieces[random.randint(self.synced, len(self.pieces)) :]
        return len(self.pieces)


class DiskStore(SessionStore):
    """The store of one life of a program. ``is_dead`` says that the program is no more."""

    where = "the disk"

    def __init__(self, network: Network, disk: Disk, latency: float) -> None:
        self.network = network
        self.disk = disk
        self.latency = latency
        self.on_committed: Callable[[int], None] = lambda number: None
        self.on_trouble: Callable[[str], None] = lambda text: None
        self.snapshot = None
        self.trouble = ""
        self.is_dead = False
        self._waiting: list[Batch] = []
        self._written = 0
        self._durable = 0
        self._is_syncing = False

    def load(self) -> Iterator[list[Record]]:
        pieces = self.disk.pieces
        begin = max((index for index, (is_everything, _) in enumerate(pieces) if is_everything), default=0)
        for _, data in pieces[begin:]:
            yield decode(data)

    async def open(self) -> None:
        self.disk.synced = len(self.disk.pieces)

    async def close(self, seconds: float = 0.0) -> None:
        self.is_dead = True

    def commit(self, batch: Batch) -> None:
        if self.trouble:
            self._waiting.append(batch)
            return
        try:
            if self.snapshot is not None and self.network.random.random() < 0.1:
                self._write(self.snapshot(), True)
            else:
                self.append(batch)
        except StoreError as error:
            self._waiting.append(batch)
            self.trouble = str(error)
            self.network.call_later(1.0, self._try_again)
        self.sync()

    def append(self, batch: Batch) -> None:
        if self.trouble:
            raise StoreError(self.trouble)
        self._write(batch, False)

    def _write(self, batch: Batch, is_everything: bool) -> None:
        self.disk.write(batch.records, is_everything)
        self._written = batch.number

    def _try_again(self) -> None:
        if self.is_dead:
            return
        if self.disk.is_full:
            self.network.call_later(1.0, self._try_again)
            return
        self.trouble = ""
        for batch in self._waiting:
            self.append(batch)
        self._waiting = []
        self.sync()

    def sync(self) -> None:
        if self._is_syncing or self._durable == self._written:
            return
        self._is_syncing = True
        written, pieces = self._written, len(self.disk.pieces)

        def done() -> None:
            if self.is_dead:
                return
            self._is_syncing = False
            self.disk.synced = pieces
            self._durable = written
            self.on_committed(written)
            self.sync()

        self.network.call_later((0.0, self.latency), done)
