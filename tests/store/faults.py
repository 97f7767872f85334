"""Disks that are full or broken, for tests of the log."""

from __future__ import annotations

import errno
import os
import threading
from io import FileIO
from pathlib import Path

import pytest

from curier.store import frames
from curier.store import log as log_module
from curier.store.mark import MarkFile, read_mark


def lose_power(directory: Path, durable: int | None = None) -> None:
    """Let the mark say what it says in another life of the system: what was not durable may be gone. Of the
    frames ``durable`` were.
    """
    mark = read_mark(directory)
    assert mark is not None
    file = MarkFile(directory, mark)
    file.write(mark._replace(boot="another", durable=mark.durable if durable is None else durable))
    file.close()


class FullDisk:
    """Takes half of what is written, and no more, while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = True
        self.write = frames._write
        monkeypatch.setattr(frames, "_write", self)

    def __call__(self, file: FileIO, data: bytes) -> None:
        if self.is_full:
            self.write(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.write(file, data)


class BadDisk:
    """Fails to sync while it is bad."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_bad = True
        self.calls = 0
        self.sync = frames.sync_file
        monkeypatch.setattr(log_module, "sync_file", self)

    def __call__(self, fd: int) -> None:
        self.calls += 1
        if self.is_bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.sync(fd)


class SlowDisk:
    """A sync that has begun while it is slow ends when it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_slow = False
        self.go_on = threading.Event()
        self.sync = frames.sync_file
        monkeypatch.setattr(log_module, "sync_file", self)

    def __call__(self, fd: int) -> None:
        if self.is_slow:
            self.go_on.wait(100)
        self.sync(fd)

    def go_on_soon(self) -> None:
        threading.Timer(0.05, self.go_on.set).start()


def the_file(directory: Path) -> Path:
    """The only file of a log."""
    (path,) = directory.glob("*.log")
    return path
