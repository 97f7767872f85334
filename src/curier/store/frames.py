"""The files of a log of batches: what lies in them, and what of it is whole.

    00000007.log    header, then one frame for each batch; the first says everything that was before

A frame: marker (4 bytes), CRC-32 of all that follows (4), length of the records (4), number of the frame (8),
number of the newest frame that was known to be durable when this one was written (8), records
(``session.records``). Little-endian. The numbers go on from file to file.

A loss of power may leave frames behind that are cut off or never reached the disk: they were promised to
nobody and are left out. One that was durable and is no more is damage, and is said to be.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, final
from zlib import crc32

from curier.errors import StoreError
from curier.session.records import Record, decode

if sys.platform == "darwin":
    import fcntl

log = logging.getLogger("curier.store")

FORMAT: Final = 1
MAGIC: Final = b"curier log\r\n"
HEADER: Final = Struct("<12sI")
MARKER: Final = b"\xf5cu\xf5"
FRAME: Final = Struct("<4sIIQQ")
NUMBERS: Final = Struct("<IQQ")  # the part of it that the CRC covers
CRC_AT: Final = 8


class Frame(NamedTuple):
    """A whole frame: its two numbers, and where in the file its records lie."""

    number: int
    durable: int
    begin: int
    end: int


def frame(number: int, durable: int, records: bytes) -> bytes:
    """One frame as bytes."""
    numbers = NUMBERS.pack(len(records), number, durable)
    return FRAME.pack(MARKER, crc32(records, crc32(numbers)), len(records), number, durable) + records


def frame_at(data: bytes, pos: int) -> Frame | None:
    """The frame at ``pos``, or None where there is none that is whole."""
    begin = pos + FRAME.size
    if begin > len(data):
        return None
    marker, crc, length, number, durable = FRAME.unpack_from(data, pos)
    end = begin + length
    if marker != MARKER or end > len(data) or crc32(memoryview(data)[pos + CRC_AT : end]) != crc:
        return None
    return Frame(number, durable, begin, end)


@final
class Found:
    """What a file of the log says, as far as it is whole."""

    def __init__(self, path: Path, data: bytes, first: Frame) -> None:
        """Raises ``StoreError`` where something is missing that was durable."""
        self.path = path
        self.generation = int(path.stem)
        self.first_size = first.end
        self.frames: list[Frame] = [first]
        while (last := self.frames[-1]).end < len(data):
            found = frame_at(data, last.end)
            if found is None or found.number != last.number + 1:
                _check_torn(path, data, last)
                log.warning(
                    "%s: the last %d bytes are not whole, as after a loss of power; they are left out",
                    path,
                    len(data) - last.end,
                )
                break
            self.frames.append(found)
        self.end = last.end
        self.number = last.number
        self._data = data

    def batches(self) -> Iterator[list[Record]]:
        """The records of each frame. Raises ``StoreError``."""
        for one in self.frames:
            try:
                yield decode(self._data[one.begin : one.end])
            except StoreError as error:
                raise StoreError(f"{self.path}: frame {one.number}: {error}") from None


def _check_torn(path: Path, data: bytes, last: Frame) -> None:
    """Raise ``StoreError`` if the frame behind ``last`` was durable: a later one may know."""
    pos = last.end
    while (pos := data.find(MARKER, pos)) >= 0:
        later = frame_at(data, pos)
        if later is not None and later.durable > last.number:
            raise _damaged(path, f"at byte {last.end}")
        pos += 1


def _damaged(path: Path, where: str) -> StoreError:
    return StoreError(
        f"{path}: the file is damaged {where}; restore a backup in its place, or move it away to begin "
        "with nothing"
    )


def newest(directory: Path) -> Found | None:
    """The newest file whose first frame is whole; None where there are no files. Raises ``StoreError``.

    A newer one without has not been finished: all that it was to say is in the one before.
    """
    paths = sorted(directory.glob("*.log"), reverse=True)
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
        if data.startswith(MAGIC) and len(data) >= HEADER.size:
            version = HEADER.unpack_from(data)[1]
            if version != FORMAT:
                raise StoreError(
                    f"{path}: written by another version of curier (format {version}, not {FORMAT}); "
                    "use that version, or another path"
                )
            first = frame_at(data, HEADER.size)
            if first is not None:
                return Found(path, data, first)
    if paths:
        raise _damaged(paths[0], "at its beginning")
    return None


@final
class Log:
    """The newest file, open for writing at its end."""

    def __init__(self, path: Path, number: int, end: int, first_size: int) -> None:
        """Leaves out what comes behind byte ``end``. Raises ``OSError``."""
        self.path = path
        self.number = number  # of the newest frame
        self.durable = 0  # and of the newest that is known to be durable
        self.end = end
        self.first_size = first_size
        self.file = FileIO(path, "r+")
        self.file.truncate(end)
        self.file.seek(end)

    @classmethod
    def begin(cls, directory: Path, generation: int, number: int, records: bytes, is_durable: bool) -> Log:
        """A new file with one frame. Raises ``OSError``, and leaves nothing behind then."""
        unfinished = directory / "unfinished"
        data = HEADER.pack(MAGIC, FORMAT) + frame(number, 0, records)
        path = directory / f"{generation:08}.log"
        try:
            with FileIO(
                os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o600), "w"
            ) as file:
                _write(file, data)
                if is_durable:
                    sync_file(file.fileno())
            unfinished.replace(path)
            return cls(path, number, len(data), len(data))
        except OSError:
            for left in (unfinished, path):
                with contextlib.suppress(OSError):
                    left.unlink()
            raise

    def append(self, records: bytes) -> None:
        """One more frame. Raises ``OSError``; the file is as it was then."""
        data = frame(self.number + 1, self.durable, records)
        try:
            _write(self.file, data)
        except OSError:
            with contextlib.suppress(OSError):
                self.file.seek(self.end)
                self.file.truncate()
            raise
        self.number += 1
        self.end += len(data)

    def successor(self, records: bytes) -> Log:
        """The next file, whose first frame says everything with ``records``. Raises ``OSError``."""
        return Log.begin(self.path.parent, int(self.path.stem) + 1, self.number + 1, records, False)


_BINARY: Final[int] = getattr(os, "O_BINARY", 0)


def _write(file: FileIO, data: bytes) -> None:
    written = file.write(data)
    while written < len(data):
        written += file.write(data[written:])


def sync_file(fd: int) -> None:
    """Have the disk take what was written to a file."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync alone leaves it in the disk's own memory
    elif sys.platform == "win32":
        os.fsync(fd)
    else:
        os.fdatasync(fd)


def sync_directory(path: Path) -> None:
    """Have the disk take the names of new files."""
    if sys.platform != "win32":
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
