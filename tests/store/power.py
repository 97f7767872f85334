"""A disk that loses power: what is done to the files of a directory is written down, call by call, and from
that is made what may be left of them if the power had gone at that moment.

Until a file is synced each sector that was written to it may be there or not, and until its directory is,
each name. SQLite's calls come by a VFS, all others by ``os``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw
import pytest

SECTOR: Final = 512
_VFS: Final = "loses power"


class Call:
    """What was done, and when: ``promised`` is what the test had said by then."""

    def __init__(self, kind: str, name: str, at: int, data: bytes, promised: int) -> None:
        self.kind = kind
        self.name = name
        self.at = at
        self.data = data
        self.promised = promised


class Recorder:
    """Writes down what is done in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls: list[Call] = []
        self.promised = 0
        self._names: set[str] = set()

    def note(self, kind: str, path: str, at: int = 0, data: bytes = b"") -> None:
        folder, _, name = path.rpartition("/")
        if path == str(self.directory):
            name = ""
        elif folder != str(self.directory) or name not in self._names:
            return
        self.calls.append(Call(kind, name, at, data, self.promised))

    def opened(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        if folder == str(self.directory) and name and name not in self._names:
            self._names.add(name)
            self.note("made", path)

    def removed(self, path: str) -> None:
        self.note("removed", path)
        self._names.discard(path.rpartition("/")[2])

    def renamed(self, path: str, to: str) -> None:
        self.note("renamed", path, data=to.rpartition("/")[2].encode())
        self._names.discard(path.rpartition("/")[2])
        self._names.add(to.rpartition("/")[2])

    @contextmanager
    def recording(self) -> Iterator[None]:
        vfs = _Vfs(self)
        apsw.set_default_vfs(_VFS)
        try:
            with pytest.MonkeyPatch.context() as patch:
                self._record_os(patch)
                yield
        finally:
            apsw.set_default_vfs(vfs.base_name)
            vfs.unregister()

    def _record_os(self, patch: pytest.MonkeyPatch) -> None:
        def path_of(fd: int) -> str:
            return os.readlink(f"/proc/self/fd/{fd}")

        def wrap(name: str, note: Callable[..., object]) -> None:
            real = getattr(os, name)

            def call(*args: Any, **kw: Any) -> Any:
                before = os.lseek(args[0], 0, os.SEEK_CUR) if name == "write" else 0
                done = real(*args, **kw)
                note(done, before, *args)
                return done

            patch.setattr(os, name, call)

        def opened(_done: int, _before: int, path: Any, flags: int, *_: Any) -> None:
            if flags & os.O_CREAT:
                self.opened(str(path))
            if flags & os.O_TRUNC:
                self.note("cut", str(path))

        wrap("open", opened)
        wrap("write", lambda done, at, fd, data: self.note("written", path_of(fd), at, bytes(data[:done])))
        wrap("pwrite", lambda done, _, fd, data, at: self.note("written", path_of(fd), at, data[:done]))
        wrap("ftruncate", lambda _, __, fd, size: self.note("cut", path_of(fd), size))
        wrap("fsync", lambda _, __, fd: self.note("synced", path_of(fd)))
        wrap("fdatasync", lambda _, __, fd: self.note("synced", path_of(fd)))
        wrap("unlink", lambda _, __, path: self.removed(str(path)))
        wrap("replace", lambda _, __, path, to: self.renamed(str(path), str(to)))


class _Vfs(apsw.VFS):
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.base_name = apsw.vfs_names()[0]
        super().__init__(_VFS, self.base_name)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        file = _File(self, name, flags)
        self.recorder.opened(file.path)
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.recorder.removed(filename)
        if syncdir:
            self.recorder.note("synced", str(self.recorder.directory))


class _File(apsw.VFSFile):
    def __init__(self, vfs: _Vfs, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(vfs.base_name, name, flags)
        self.recorder = vfs.recorder
        # SQLite syncs the directory behind the first sync of a WAL, once for each time that it opens it.
        self.is_new = not flags[0] & apsw.SQLITE_OPEN_MAIN_DB
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self.recorder.note("written", self.path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self.recorder.note("cut", self.path, newsize)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self.recorder.note("synced", self.path)
        if self.is_new:
            self.is_new = False
            self.recorder.note("synced", str(self.recorder.directory))


class _Kept:
    """A file: what of it is surely on the disk, and what has been done since."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.since: list[Call] = []

    def now(self) -> bytes:
        data = bytearray(self.data)
        for call in self.since:
            _do(data, call.kind, call.at, call.data)
        return bytes(data)

    def synced(self) -> None:
        self.data = bytearray(self.now())
        self.since = []

    def left(self, dice: Random) -> bytes:
        data = bytearray(self.data)
        luck = dice.choice((0.0, 0.2, 0.5, 0.9, 1.0))
        for call in self.since:
            if call.kind == "cut":
                if dice.random() < luck:
                    _do(data, "cut", call.at, b"")
                continue
            begin = 0
            while begin < len(call.data):
                end = begin + SECTOR - (call.at + begin) % SECTOR
                if dice.random() < luck:
                    _do(data, "written", call.at + begin, call.data[begin:end])
                begin = end
        return bytes(data)


def _do(data: bytearray, kind: str, at: int, new: bytes) -> None:
    if len(data) < at:
        data.extend(bytes(at - len(data)))
    if kind == "cut":
        del data[at:]
    else:
        data[at : at + len(new)] = new


class Disk:
    """What is on it after the calls so far."""

    def __init__(self) -> None:
        self._names: dict[str, _Kept] = {}
        self._surely: dict[str, _Kept] = {}  # with these names
        self._since: list[dict[str, _Kept]] = []  # the names after each change of them

    def do(self, call: Call) -> None:
        if call.kind == "synced" and not call.name:
            self._surely = dict(self._names)
            self._since = []
        elif call.kind == "synced":
            self._names[call.name].synced()
        elif call.kind in ("made", "removed", "renamed"):
            file = self._names.pop(call.name, None) or _Kept()
            if call.kind != "removed":
                self._names[call.data.decode() or call.name] = file
            self._since.append(dict(self._names))
        else:
            self._names[call.name].since.append(call)

    def all(self, place: Path) -> None:
        """Put into ``place`` what is left when the power is there, and the processes are killed."""
        for name, file in self._names.items():
            (place / name).write_bytes(file.now())

    def left(self, place: Path, dice: Random) -> None:
        """Put into ``place`` what a loss of power may leave."""
        for name, file in dice.choice([self._surely, *self._since]).items():
            (place / name).write_bytes(file.left(dice))
