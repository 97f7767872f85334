"""A lock file: one program at a time, and whoever comes second is told who is first.

The lock lasts as long as the file descriptor, in whatever process has it; a program that is killed leaves
none behind. The file stays, with the holder's process id in it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a locked byte cannot be read by others; the process id can

    def try_lock(fd: int) -> bool:
        """Take the lock, or return False where somebody has it."""
        os.lseek(fd, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(fd: int) -> bool:
        """Take the lock, or return False where somebody has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_lock(name: Path) -> int:
    """The lock file, made where there is none, as a file descriptor. Raises ``OSError``."""
    return os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)


def holder(fd: int) -> str:
    """The process id of whoever has, or had, the lock; or ""."""
    os.lseek(fd, 0, os.SEEK_SET)
    return os.read(fd, 32).decode(errors="replace").strip()


def sign(fd: int) -> None:
    """Put this process's id into the lock file."""
    with contextlib.suppress(OSError):  # the disk is full: the lock holds, only its holder's name is missing
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, f"{os.getpid()}\n".encode())
