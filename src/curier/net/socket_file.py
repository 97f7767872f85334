"""Unix sockets to listen on: a socket, and its file, which outlives who made it.

A broker that was killed leaves the file, and nobody can listen there until it is removed; a broker that is
only slow must not lose it. So who finds a file connects to it: a refusal means that nobody listens there any
more. Two who start at once take turns, by a lock on the directory, which leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from types import ModuleType
from typing import Final

from curier.net.wire import BACKLOG

MOST_PATH_BYTES: Final = 107  # sun_path of unix(7), without the zero behind it
LOCK_SECONDS: Final = 2.0  # to wait for somebody else who is about to listen in the same directory
LOCK_PAUSE: Final = 0.02
NOBODY_ELSE: Final = 0o177  # an umask: the file is of its user alone until it has the mode it is to have

fcntl: ModuleType | None
grp: ModuleType | None
pwd: ModuleType | None
try:
    import fcntl
    import grp
    import pwd
except ImportError:  # Windows
    fcntl = grp = pwd = None


class SocketFile:
    """The file of a socket that we listen on. ``is_locked``: we hold the lock of its directory anyway."""

    def __init__(self, path: str, is_locked: bool = False) -> None:
        self.path = path
        self._is_locked = is_locked
        self._inode = _inode(path)

    def remove(self) -> None:
        """Remove it, if it still is ours; call it while the socket still listens."""
        lock = -1 if self._is_locked else _lock(os.path.dirname(self.path))
        if lock is None:
            return  # somebody is about to listen there, and sees to it
        try:
            if self._inode is not None and _inode(self.path) == self._inode:
                os.unlink(self.path)
        except OSError:
            pass  # the directory is no longer ours to write in, or has gone
        finally:
            _unlock(lock)
            self._inode = None


async def bind_unix(
    path: str, mode: int, owner: str, group: str, is_locked: bool = False
) -> tuple[socket.socket, SocketFile]:
    """Listen at ``path``, whose file gets this mode, owner and group (names or numbers; "": as it comes).

    Raises ``OSError``, whose text is for people, where that cannot be. What is not a socket, and a socket
    that somebody listens at, is left alone. ``is_locked``: this process holds the lock of its directory.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, "there are no Unix sockets on this system; use tcp://")
    size = len(os.fsencode(path))
    if size > MOST_PATH_BYTES:
        raise OSError(
            errno.ENAMETOOLONG, f"the path has {size} bytes, and that of a socket at most {MOST_PATH_BYTES}"
        )
    ids = _number(owner, "user"), _number(group, "group")
    async with nullcontext() if is_locked else _alone(os.path.dirname(path)):
        _clear(path)
        sock = _bind(path)
        try:
            _give(path, mode, ids, owner, group)
            sock.listen(BACKLOG)
        except OSError:
            os.unlink(path)
            sock.close()
            raise
        return sock, SocketFile(path, is_locked)


def _bind(path: str) -> socket.socket:
    """A socket at ``path``, which does not listen yet."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    before = os.umask(NOBODY_ELSE)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _give(path: str, mode: int, ids: tuple[int, int], owner: str, group: str) -> None:
    """Set owner, group and mode, in this order: to nobody is it open who is not meant."""
    try:
        if ids != (-1, -1):
            os.chown(path, *ids, follow_symlinks=False)
        os.chmod(path, mode)
    except OSError as error:
        whom = " and ".join(f"{kind} {name}" for kind, name in (("user", owner), ("group", group)) if name)
        raise OSError(
            error.errno, f"this process may not give the socket to {whom or 'anybody'}: {error.strerror}"
        ) from error


def _clear(path: str) -> None:
    """Remove what a broker has left that is no more."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise OSError(errno.ENOENT, f"there is no directory {directory}; make it first")
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.EEXIST, "something that is not a socket has this path; it is left alone")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise OSError(
                error.errno, "there is a socket already, and this user may not ask whether it is in use"
            ) from error
        except OSError:
            pass  # too busy to answer, or no stream: somebody is there
    raise OSError(errno.EADDRINUSE, "another program listens there")


# ---- one at a time ----


@asynccontextmanager
async def _alone(directory: str) -> AsyncIterator[None]:
    """Nobody else who does the same begins or ends listening in ``directory`` meanwhile."""
    loop = asyncio.get_running_loop()
    end = loop.time() + LOCK_SECONDS
    while True:
        lock = _lock(directory)
        if lock is not None:
            break
        if loop.time() >= end:
            raise OSError(errno.EAGAIN, f"another program holds the lock of {directory}")
        await asyncio.sleep(LOCK_PAUSE)
    try:
        yield
    finally:
        _unlock(lock)


def _lock(directory: str) -> int | None:
    """A descriptor that holds the lock, -1 where there is no such thing, None if somebody else holds it."""
    if fcntl is None:
        return -1
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it may be written to, but not read
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:  # not every file system has locks
        os.close(fd)
        return -1
    return fd


def _unlock(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


# ---- what the system knows ----


def _inode(path: str) -> tuple[int, int] | None:
    """Which file it is, whatever its name."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _number(name: str, kind: str) -> int:
    """Of a user or a group; -1: any."""
    if not name:
        return -1
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        if kind == "user" and pwd is not None:
            return int(pwd.getpwnam(name).pw_uid)
        if grp is not None:
            return int(grp.getgrnam(name).gr_gid)
    except KeyError:
        pass
    raise OSError(errno.EINVAL, f"this system knows no {kind} {name}")
