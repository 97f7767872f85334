"""A data directory and its lock: one broker at a time, and whoever comes second is told who is first.

The lock is held through one open file that the store's process inherits. So it lasts until both are gone: a
broker that is killed leaves a store that finishes what it has, and the next broker waits for that.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from curier.errors import StoreError
from curier.store.locking import holder, open_lock, try_lock

WAIT_SECONDS: Final = 5.0
"""How long a new broker waits for the store of one that was killed to finish."""
LOOK_SECONDS: Final = 0.2
"""And for somebody who has the lock to look at what that has left."""


def prepare(path: Path) -> None:
    """Make the directory, readable by its owner only. Raises ``StoreError``."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be made ({error.strerror}); choose another with --data DIR, or --memory"
        ) from None


def lock(path: Path) -> int:
    """Lock the data directory; the file descriptor that holds the lock, to be closed to give it up.

    Waits a few seconds for a lock to come free. Raises ``StoreError`` naming the process that holds it.
    """
    try:
        fd = open_lock(path)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be opened ({error.strerror}); make it a directory of this user, choose another "
            "with --data DIR, or keep nothing with --memory"
        ) from None
    began = time.monotonic()
    while not try_lock(fd):
        who = holder(fd)
        waited = time.monotonic() - began
        # A living broker does not go away by waiting; a store that is finishing does, and whoever looks.
        if waited > WAIT_SECONDS or (waited > LOOK_SECONDS and who.isdigit() and _is_alive(int(who))):
            os.close(fd)
            raise StoreError(
                f"{path}: in use by {f'process {who}' if who else 'another process'}; stop that broker, "
                "or choose another directory with --data DIR"
            )
        time.sleep(0.05)
    return fd


def try_to_lock(path: Path) -> int | None:
    """The same, at once, or None where somebody has the lock or it cannot be had."""
    try:
        fd = open_lock(path)
    except OSError:
        return None
    if try_lock(fd):
        return fd
    os.close(fd)
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False
