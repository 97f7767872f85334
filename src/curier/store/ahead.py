"""The journal file: batches that were acknowledged, and are in the database a moment later.

    curier.journal    a header with the name of the life, then one frame for each batch

A commit of SQLite is four or five writes, six locks and a sync, whatever is in it. A frame is one write and
a sync, into room that the file has already. So small batches are written here, ahead of the database, which
gets many of them at once; from then on the next frame is written at the beginning again.

A frame: CRC-32 of all that follows (4), length of the records (4), number of the batch as the database counts
them (8), when it was written by the clocks of broker and system (8, 8), records (``session.records``).
Little-endian. The CRC begins with the name of the life, which nobody knows who could send a frame as a
payload.

What counts are frames of the life that the database is of, whose numbers go on from it without a gap. Behind
them lie older ones, whose numbers do not, or one that is not whole, as after a loss of power: it was promised
to nobody. Whether one is missing that was promised, the mark knows (``mark``).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from curier.errors import StoreError
from curier.session.records import Record, decode
from curier.store.database import Database
from curier.store.frames import sync_directory, sync_file
from curier.store.mark import identity
from curier.store.progress import Progress

FILE_NAME: Final = "curier.journal"
MAGIC: Final = b"curier journal 1"
HEADER: Final = Struct("<16s16s")
FRAME: Final = Struct("<IIQdd")
NUMBERS: Final = Struct("<IQdd")  # the part of it that the CRC covers
SIZE: Final = 1024 * 1024
LARGEST: Final = 64 * 1024
"""A batch with more bytes is worth a commit of its own, which is then the cheaper way."""


class Frame(NamedTuple):
    """One batch. ``written_at`` and ``uptime`` are those of ``Progress``."""

    number: int
    written_at: float
    uptime: float
    records: bytes


class Ahead:
    """The file, open for writing, and what of it is not in the database yet. Not for several threads."""

    def __init__(self, directory: Path, life: str, durability: str) -> None:
        """A new file in place of one that was there. Raises ``OSError``."""
        self.frames: list[Frame] = []
        """Those that are not in the database yet."""
        self.path = directory / FILE_NAME
        self._life = bytes.fromhex(life)
        self._seed = crc32(self._life)
        self._is_durable = durability == "fsync"
        self._fd = -1
        self._end = HEADER.size
        self._make()

    def _make(self) -> None:
        """It has all its room, and is whole, from the moment it has its name."""
        unfinished = self.path.with_suffix(".journal-new")
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | _CLOEXEC, 0o600)
        try:
            data = HEADER.pack(MAGIC, self._life).ljust(SIZE, b"\0")
            while data:
                data = data[os.write(fd, data) :]
            if self._is_durable:
                sync_file(fd)
            unfinished.replace(self.path)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):  # a disk that is full has better use for the room
                unfinished.unlink()
            raise
        if self._is_durable:
            sync_directory(self.path.parent)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._identity = identity(os.fstat(fd))
        self._end = HEADER.size

    def has_room(self, size: int) -> bool:
        """For a batch of so many bytes?"""
        return self._end + FRAME.size + size <= SIZE

    def append(self, frame: Frame) -> None:
        """Keep one more; durable on return. Raises ``OSError``; then it may be there all the same."""
        records = frame.records
        numbers = NUMBERS.pack(len(records), frame.number, frame.written_at, frame.uptime)
        crc = crc32(records, crc32(numbers, self._seed))
        data = b"".join((_CRC.pack(crc), numbers, records))
        done = os.pwrite(self._fd, data, self._end)
        while done < len(data):
            done += os.pwrite(self._fd, data[done:], self._end + done)
        if self._is_durable:
            sync_file(self._fd)
        self._end += len(data)
        self.frames.append(frame)

    def begin_anew(self) -> None:
        """All is in the database, as durable as it has to be."""
        self.frames = []
        self._end = HEADER.size

    def has_its_name(self) -> bool:
        """Is the file that has the name still ours?"""
        try:
            return identity(os.stat(self.path)) == self._identity
        except OSError:
            return False

    def put_back(self) -> None:
        """Another file for one that has lost its name, when all is in the database. Raises ``OSError``."""
        self._make()

    def remove(self) -> None:
        """It is not needed any more. Raises ``OSError``."""
        if self.has_its_name():
            self.path.unlink()

    def close(self) -> None:
        os.close(self._fd)


_CRC: Final = Struct("<I")
_CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)


def fold(database: Database, progress: Progress, frames: list[Frame]) -> None:
    """Have a database, which has come so far, take such frames; durable on return. Raises ``StoreError`` and
    ``apsw.Error``; then it has none of them.
    """
    path = database.path.parent / FILE_NAME
    database.life = progress.life
    database.apply(_records_of(frames, path), with_frames(progress, frames))


def with_frames(progress: Progress, frames: list[Frame]) -> Progress:
    """How far a database has come when it has these."""
    if not frames:
        return progress
    last = frames[-1]
    return progress._replace(batches=last.number, written_at=last.written_at, uptime=last.uptime)


def left_by(directory: Path, progress: Progress) -> list[Frame]:
    """What the journal file of a directory has that its database, which has come so far, has not. Raises
    ``StoreError`` where it cannot be read.
    """
    path = directory / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) < HEADER.size or not progress.life:
        return []
    magic, life = HEADER.unpack_from(data)
    if magic != MAGIC or life.hex() != progress.life:
        return []
    found: list[Frame] = []
    pos = HEADER.size
    number = 0
    while (frame := _frame_at(data, pos, crc32(life))) is not None and number in (0, frame.number - 1):
        number = frame.number
        pos += FRAME.size + len(frame.records)
        if number == progress.batches + len(found) + 1:
            found.append(frame)
    return found


def _frame_at(data: bytes, pos: int, seed: int) -> Frame | None:
    """The frame at ``pos``, or None where there is none that is whole."""
    begin = pos + FRAME.size
    if begin > len(data):
        return None
    crc, length, number, written_at, uptime = FRAME.unpack_from(data, pos)
    end = begin + length
    if end > len(data) or not number or crc32(memoryview(data)[pos + _CRC.size : end], seed) != crc:
        return None
    return Frame(number, written_at, uptime, data[begin:end])


def _records_of(frames: list[Frame], path: Path) -> list[Record]:
    """All their records, in order. Raises ``StoreError``."""
    try:
        return decode(b"".join([frame.records for frame in frames]))
    except StoreError as error:
        raise StoreError(f"{path}: {error}; restore a backup of the whole directory") from None
