"""The files of a log of batches: what lies in them, and what of it is whole.

    00000007.log    header, then one frame for each batch; the first says everything that was before

A frame: marker (4 bytes), CRC-32 of all that follows (4), length of the records (4), number of the frame (8),
number of the newest frame that was known to be durable when this one was written (8), records
(``session.records``). Little-endian. The numbers go on from file to file.

A frame of another marker begins a life (``progress``), at the beginning of a file and wherever one goes on.
In place of records it has the name of the life (16), by how many seconds all points in time before it are to
be moved (8), the time by the clocks of program and system (8, 8), and the name of the system's own life.

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
from curier.session.message import NEVER
from curier.session.records import MessageSaved, Record, decode

if sys.platform == "darwin":
    import fcntl

log = logging.getLogger("curier.store")

FORMAT: Final = 2
READABLE: Final = (1, 2)  # the first had no lives
MAGIC: Final = b"curier log\r\n"
HEADER: Final = Struct("<12sI")
MARKER: Final = b"\xf5cu\xf5"
LIFE_MARKER: Final = b"\xf5cl\xf5"
MARKERS: Final = MARKER[:2]  # both begin so
LIFE: Final = Struct("<16sddd")
FRAME: Final = Struct("<4sIIQQ")
NUMBERS: Final = Struct("<IQQ")  # the part of it that the CRC covers
CRC_AT: Final = 8


class Frame(NamedTuple):
    """A whole frame: its two numbers, where in the file its records lie, and whether it begins a life."""

    number: int
    durable: int
    begin: int
    end: int
    is_life: bool


class LifeBegun(NamedTuple):
    """What a frame says that begins a life."""

    name: str
    clock_jump: float
    written_at: float
    uptime: float
    boot: str

    def encode(self) -> bytes:
        numbers = self.clock_jump, self.written_at, self.uptime
        return LIFE.pack(bytes.fromhex(self.name), *numbers) + self.boot.encode()

    @classmethod
    def decode(cls, data: bytes) -> LifeBegun:
        name, jump, written_at, uptime = LIFE.unpack_from(data)
        return cls(name.hex(), jump, written_at, uptime, data[LIFE.size :].decode())


def frame(number: int, durable: int, records: bytes, marker: bytes = MARKER) -> bytes:
    """One frame as bytes."""
    numbers = NUMBERS.pack(len(records), number, durable)
    return FRAME.pack(marker, crc32(records, crc32(numbers)), len(records), number, durable) + records


def frame_at(data: bytes, pos: int) -> Frame | None:
    """The frame at ``pos``, or None where there is none that is whole."""
    begin = pos + FRAME.size
    if begin > len(data):
        return None
    marker, crc, length, number, durable = FRAME.unpack_from(data, pos)
    end = begin + length
    is_life = marker == LIFE_MARKER
    if not (is_life or marker == MARKER) or end > len(data):
        return None
    if crc32(memoryview(data)[pos + CRC_AT : end]) != crc:
        return None
    return Frame(number, durable, begin, end, is_life)


@final
class Found:
    """What a file of the log says, as far as it is whole."""

    def __init__(self, path: Path, data: bytes, first: list[Frame], version: int) -> None:
        """Raises ``StoreError`` where something is missing that was durable."""
        self.path = path
        self.version = version
        self.first_size = first[-1].end
        self.frames = first
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
        self._lives = [(one.number, self._life(one)) for one in self.frames if one.is_life]
        self.life = self._lives[-1][1] if self._lives else None
        """The last that has begun."""
        self.life_number = self._lives[-1][0] if self._lives else 0

    def _life(self, one: Frame) -> LifeBegun:
        return LifeBegun.decode(self._data[one.begin : one.end])

    def batches(self, clock_jump: float) -> Iterator[list[Record]]:
        """The records of each frame, points in time moved as the clock was set, by ``clock_jump`` since the
        last. Raises ``StoreError``.
        """
        jump = clock_jump + sum(life.clock_jump for _, life in self._lives)
        for one in self.frames:
            if one.is_life:
                jump -= self._life(one).clock_jump
                continue
            try:
                records = decode(self._data[one.begin : one.end])
            except StoreError as error:
                raise StoreError(f"{self.path}: frame {one.number}: {error}") from None
            yield _moved(records, jump) if jump else records


def _moved(records: list[Record], seconds: float) -> list[Record]:
    for record in records:
        if isinstance(record, MessageSaved) and record.message.expires_at != NEVER:
            record.message.expires_at += seconds
    return records


def _check_torn(path: Path, data: bytes, last: Frame) -> None:
    """Raise ``StoreError`` if the frame behind ``last`` was durable: a later one may know."""
    pos = last.end
    while (pos := data.find(MARKERS, pos)) >= 0:
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
            if version not in READABLE:
                raise StoreError(
                    f"{path}: written by another version of curier (format {version}, not {FORMAT}); "
                    "use that version, or another path"
                )
            first = _first(data)
            if first:
                return Found(path, data, first, version)
    if paths:
        raise _damaged(paths[0], "at its beginning")
    return None


def _first(data: bytes) -> list[Frame]:
    """The frame that says everything, behind the life that it may begin with; nothing if one is not whole."""
    first = frame_at(data, HEADER.size)
    if first is None or not first.is_life:
        return [first] if first is not None else []
    everything = frame_at(data, first.end)
    return [first, everything] if everything is not None else []


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
    def begin(
        cls, directory: Path, generation: int, number: int, life: LifeBegun, records: bytes, is_durable: bool
    ) -> Log:
        """A new file with two frames, ``life`` and ``records``, the latter with ``number``. Raises
        ``OSError``, and leaves nothing behind then.
        """
        unfinished = directory / "unfinished"
        data = HEADER.pack(MAGIC, FORMAT) + frame(number - 1, 0, life.encode(), LIFE_MARKER)
        data += frame(number, 0, records)
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

    def go_on(self, life: LifeBegun, version: int) -> None:
        """A life begins, in a file of this version. Raises ``OSError``."""
        if version != FORMAT:
            self.file.seek(0)
            _write(self.file, HEADER.pack(MAGIC, FORMAT))
            self.file.seek(self.end)
        self._append(frame(self.number + 1, self.durable, life.encode(), LIFE_MARKER))

    def append(self, records: bytes) -> None:
        """One more frame. Raises ``OSError``; the file is as it was then."""
        self._append(frame(self.number + 1, self.durable, records))

    def take_back(self, end: int) -> None:
        """The last frame has never been there; the file ended at ``end`` before it. Raises ``OSError``."""
        self.number -= 1
        self.end = end
        self.file.seek(end)
        self.file.truncate()

    def _append(self, data: bytes) -> None:
        try:
            _write(self.file, data)
        except OSError:
            with contextlib.suppress(OSError):
                self.file.seek(self.end)
                self.file.truncate()
            raise
        self.number += 1
        self.end += len(data)

    def successor(self, life: LifeBegun, records: bytes) -> Log:
        """The next file, whose first frames say everything with ``records``. Raises ``OSError``."""
        return Log.begin(self.path.parent, int(self.path.stem) + 1, self.number + 2, life, records, False)


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
