"""The mark: how far a store had come, written down outside of database and WAL, or of the log.

    curier.mark    two places for one line of text; they are written in turn, so that one is always whole

    curier mark 1 sequence=812 life=4f..e0 previous=11..7c batches=245 durable=245 boot=248e..ed4 crc=09ab12cd

Behind ``boot`` the mark of a log has ``at`` and ``uptime``: when that was, which a database says itself.

Whoever writes a batch writes the mark behind it, before anything of the batch is acknowledged: so it never
says more than was written, and never less than was acknowledged, whatever kills the processes. It costs one
small write and no ``fsync``: that is done once a second at most, and after a loss of power the mark may be as
old as that. When the program starts, what database or log have is compared with it (``progress``).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from curier.errors import StoreError
from curier.store.frames import sync_directory, sync_file

FILE_NAME: Final = "curier.mark"
PLACE_BYTES: Final = 512  # a sector, which a disk writes whole or not at all

_LINE: Final = re.compile(
    rb"(curier mark 1 sequence=(\d+) life=([0-9a-f]*) previous=([0-9a-f]*) batches=(\d+) durable=(\d+) "
    rb"boot=(\S*)(?: at=([\d.]+) uptime=([\d.]+))?) crc=([0-9a-f]{8}) *\n"
)


class Mark(NamedTuple):
    """``batches`` were written in all; ``durable`` of them outlive a crash of the system.

    ``life`` names the life of the store that wrote the last of them, ``previous`` the life before, which the
    store still has where a crash came at the moment the new one began. ``boot`` names the system's own
    life at the time, "" where that has no name. ``written_at`` and ``uptime`` are those of ``Progress``.
    """

    life: str
    previous: str
    batches: int
    durable: int
    boot: str
    written_at: float = 0.0
    uptime: float = 0.0


class MarkFile:
    """The file, open for writing. Not for several threads."""

    def __init__(self, directory: Path, mark: Mark) -> None:
        """Opens the file, or makes one that says ``mark``. Raises ``OSError``."""
        self.path = directory / FILE_NAME
        self._sequence = 0
        self._fd = -1
        try:
            self._fd = os.open(self.path, os.O_RDWR | _CLOEXEC)
        except FileNotFoundError:
            self._make(mark)
        else:
            found = _parse(os.pread(self._fd, 2 * PLACE_BYTES, 0))
            self._sequence = found[0] if found is not None else 0

    def _make(self, mark: Mark) -> None:
        """A file that is whole from the moment it has its name.

        Where there can be none, what was open stays open: its number must not become that of another file,
        which the next line would be written into.
        """
        unfinished = self.path.with_suffix(".mark-new")
        before, sequence = self._fd, self._sequence
        self._fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | _CLOEXEC, 0o600)
        try:
            os.ftruncate(self._fd, 2 * PLACE_BYTES)
            self.write(mark)
            self.sync()
            unfinished.replace(self.path)
        except OSError:
            os.close(self._fd)
            self._fd, self._sequence = before, sequence
            raise
        if before >= 0:
            os.close(before)
        sync_directory(self.path.parent)

    def write(self, mark: Mark) -> None:
        """Say that so much is written; it outlives this process at once. Raises ``OSError``."""
        self._sequence += 1
        text = (
            f"curier mark 1 sequence={self._sequence} life={mark.life} previous={mark.previous} "
            f"batches={mark.batches} durable={mark.durable} boot={mark.boot}"
            + (f" at={mark.written_at:.3f} uptime={mark.uptime:.3f}" if mark.written_at else "")
        ).encode()
        line = b"%s crc=%08x" % (text, crc32(text))
        os.pwrite(self._fd, line.ljust(PLACE_BYTES - 1) + b"\n", self._sequence % 2 * PLACE_BYTES)

    def sync(self) -> None:
        """Let it outlive a loss of power as well. Raises ``OSError``."""
        sync_file(self._fd)

    def put_back(self, mark: Mark) -> None:
        """Make the file anew where somebody has removed or replaced it. Raises ``OSError``."""
        try:
            if identity(os.stat(self.path)) == identity(os.fstat(self._fd)):
                return
        except FileNotFoundError:
            pass
        self._make(mark)

    def close(self) -> None:
        os.close(self._fd)


_CLOEXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)


def read_mark(directory: Path) -> Mark | None:
    """The mark of a data directory; None where there is none. Raises ``StoreError`` for one that is damaged
    in both places.
    """
    path = directory / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    found = _parse(data)
    if found is None:
        raise StoreError(f"{path}: the file is damaged")
    return found[1]


def _parse(data: bytes) -> tuple[int, Mark] | None:
    """The newest whole line, with its sequence number."""
    found: tuple[int, Mark] | None = None
    for start in (0, PLACE_BYTES):
        line = _LINE.fullmatch(data[start : start + PLACE_BYTES])
        if line is None or crc32(line[1]) != int(line[10], 16):
            continue
        sequence = int(line[2])
        if found is None or sequence > found[0]:
            life, previous, boot = line[3].decode(), line[4].decode(), line[7].decode()
            when = float(line[8] or 0), float(line[9] or 0)
            found = sequence, Mark(life, previous, int(line[5]), int(line[6]), boot, *when)
    return found


def identity(status: os.stat_result) -> tuple[int, int]:
    """Which file it is, as long as somebody has it open."""
    return status.st_dev, status.st_ino


def boot_id() -> str:
    """Names the present life of the operating system; "" where it has no name."""
    if sys.platform != "linux":
        return ""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
