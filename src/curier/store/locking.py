"""The lock on a directory: one program at a time, and whoever comes second is told who is first.

The lock is on the directory itself, so there is no lock file that somebody could remove; on Windows, where a
directory cannot be locked, it is on a file in it. It lasts as long as the file descriptor, in whatever
process has that; a program that is killed leaves none behind.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # a locked byte cannot be read by others; the process id can

    def open_lock(directory: Path) -> int:
        """What is to be locked, as a file descriptor. Raises ``OSError``."""
        return os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)

    def try_lock(fd: int) -> bool:
        """Take the lock, or return False where somebody has it."""
        os.lseek(fd, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        with contextlib.suppress(OSError):  # the disk is full: only the holder's name is missing
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, f"{os.getpid()}\n".encode())
        return True

    def holder(fd: int) -> str:
        """The process id of whoever has the lock, or "" where that cannot be known."""
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, 32).decode(errors="replace").strip()

else:
    import fcntl

    def open_lock(directory: Path) -> int:
        """What is to be locked, as a file descriptor. Raises ``OSError``."""
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def try_lock(fd: int) -> bool:
        """Take the lock, or return False where somebody has it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def holder(fd: int) -> str:
        """The process id of whoever has the lock, or "" where that cannot be known: Linux tells."""
        status = os.fstat(fd)
        device = status.st_dev
        place = f"{os.major(device):02x}:{os.minor(device):02x}:{status.st_ino}"
        with contextlib.suppress(OSError):
            for line in Path("/proc/locks").read_text().splitlines():
                fields = line.split()  # 1: FLOCK ADVISORY WRITE 4711 fe:00:2147484 0 EOF
                if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == place and fields[4] != "0":
                    return fields[4]  # 0: it has died, and a child of it has the lock still
        return ""
