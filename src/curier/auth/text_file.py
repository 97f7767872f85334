"""Text files with one user a line, ``user:...``, which several programs change, each in its turn."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curier.errors import ConfigError


def check_user_name(user: str) -> None:
    """Raise ``ConfigError`` for a name that cannot stand in the file, or in a CONNECT packet."""
    if not user:
        raise ConfigError("the user name is empty")
    if ":" in user:
        raise ConfigError(
            f"user name {user!r}: a colon ends the name in the file, so it cannot be part of it"
        )
    if user.startswith("#"):
        raise ConfigError(f"user name {user!r}: a line that begins with # is a comment")
    if user != user.strip() or not user.isprintable():
        raise ConfigError(f"user name {user!r}: expected printable characters without spaces around them")
    if len(user.encode()) > 65_535:
        raise ConfigError("the user name is longer than MQTT allows (65535 bytes)")


def places(lines: list[str]) -> dict[str, int]:
    """In which line each user stands."""
    return {line.partition(":")[0].strip(): at for at, line in enumerate(lines) if not line.startswith("#")}


def read_lines(path: Path, tool: str = "passwd") -> list[str]:
    """The lines of a file that ``curier {tool}`` makes. Raises ``ConfigError``."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; make it with: curier {tool} {path} USER") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected UTF-8 text, one user:hash a line") from None
    return text.removesuffix("\n").split("\n") if text else []


def replace_lines(path: Path, lines: list[str]) -> None:
    """Put a new file in the place of the old one in one step, with its content on disk first."""
    import tempfile  # half a MiB, which a broker that only reads does without

    target = Path(os.path.realpath(path))  # behind a symbolic link, the file itself
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            _copy_owner_and_mode(target, temporary)
        else:
            _let_its_group_read(target.parent, temporary)
        os.replace(temporary, target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    if sys.platform != "win32":  # which opens no directories
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _copy_owner_and_mode(source: Path, target: str) -> None:
    """Let the broker's user read a file that another user changes."""
    there = source.stat()
    here = os.stat(target)
    if (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid):
        os.chown(target, there.st_uid, there.st_gid)
    os.chmod(target, there.st_mode & 0o777)


def _let_its_group_read(folder: Path, made: str) -> None:
    """Let the broker's user read a file that root makes in a directory which is for the broker's group and
    nobody else, as ``/etc/curier`` is.
    """
    there = folder.stat()
    if not hasattr(os, "geteuid") or os.geteuid() or not there.st_gid or there.st_mode & 0o057 != 0o050:
        return
    os.chown(made, -1, there.st_gid)
    os.chmod(made, 0o640)


@contextmanager
def while_alone(path: Path) -> Iterator[None]:
    """Wait until no other program changes the file, and keep others waiting.

    The lock is on a file beside it, since the file itself is another one after each change. Whoever has the
    lock removes that file at the end; so whoever gets it looks whether others would find the same one.
    """
    target = Path(os.path.realpath(path))
    name = target.parent / f".{target.name}.lock"
    try:
        while True:
            lock = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                _wait_for_lock(lock)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock), os.stat(name)):
                        break
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps a file that is open
            name.unlink()
        os.close(lock)


if sys.platform == "win32":
    import msvcrt

    def _wait_for_lock(fd: int) -> None:
        while True:
            with suppress(OSError):  # it gives up after ten seconds
                msvcrt.locking(fd, msvcrt.LK_LOCK, 1)
                return

else:
    import fcntl

    def _wait_for_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)
