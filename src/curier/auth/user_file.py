"""The text of a password file: one ``user:hash`` a line, read strictly and changed by one program at a time.

Blank lines and lines that begin with ``#`` are ignored, blanks around names and hashes too, and a byte order
mark in front. ``hashes`` says which hashes there are; a file of mosquitto_passwd is one of these files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from curier.auth.hashes import EXPECTED, is_hash, new_hash, new_token, why_too_costly
from curier.errors import ConfigError

MAXIMUM_PASSWORD_BYTES: Final = 65_535
"""What fits in a CONNECT packet (5.0 section 1.5.6)."""


def read_password_file(path: Path) -> dict[str, str]:
    """Read user names and their hashes, in the order of the file.

    Raises ``ConfigError`` naming file, line and what was expected; it never quotes what the line says.
    """
    return _parse(path, read_lines(path))


def _parse(path: Path, lines: list[str]) -> dict[str, str]:
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        user, colon, encoded = (part.strip() for part in line.partition(":"))
        if not colon or not user:
            raise ConfigError(f"{where}: expected user:hash; make lines with: curier passwd {path} USER")
        if not is_hash(encoded):
            why = f"expected {EXPECTED} after the colon"
            if is_hash(encoded.rpartition(":")[2].strip()):
                why = "the first colon ends the user name, so a name cannot have one in it"
            raise ConfigError(f"{where}: {why}; make lines with: curier passwd {path} USER")
        if why := why_too_costly(encoded):
            raise ConfigError(f"{where}: {why}; give the user a new password: curier passwd {path} USER")
        if user in users:
            raise ConfigError(f"{where}: user {user!r} is there twice; expected one line for each user")
        users[user] = encoded
    return users


def set_password(path: Path, user: str, password: bytes, cost: str = "normal") -> bool:
    """Add a user or change a password; other lines and comments stay. Returns whether the user is new.
    ``cost`` is what ``hashes.new_hash`` takes.

    A file that is made here is for its owner only (mode 0600); one that was there keeps owner and mode.
    Readers see the old file or the new one, never half of it; of several programs that change it at once
    each waits for the one before. Raises ``ConfigError`` for a user name or password that cannot be, and for
    a file that is malformed or cannot be written.
    """
    check_user_name(user)
    check_password(password)
    return bool(set_hashes(path, {user: new_hash(password, cost)}))


def set_token(path: Path, user: str) -> tuple[str, bool]:
    """The same with a new token, which is returned and kept nowhere, and whether the user is new."""
    check_user_name(user)
    token, encoded = new_token()
    return token, bool(set_hashes(path, {user: encoded}))


def set_hashes(path: Path, hashes: Mapping[str, str]) -> int:
    """Add or change many users at once, all of them or none. Returns how many of them are new."""
    new = 0
    with _alone(path):
        lines = read_lines(path) if path.exists() else []
        _parse(path, lines)  # a malformed file is left as it is
        places = _places(lines)
        for user, encoded in hashes.items():
            if user in places:
                lines[places[user]] = f"{user}:{encoded}"
            else:
                lines.append(f"{user}:{encoded}")
                new += 1
        _replace(path, lines)
    return new


def check_password(password: bytes) -> None:
    """Raise ``ConfigError`` for a password that cannot be."""
    if not password:
        raise ConfigError("the password is empty")
    if len(password) > MAXIMUM_PASSWORD_BYTES:
        raise ConfigError(f"the password is longer than MQTT allows ({MAXIMUM_PASSWORD_BYTES} bytes)")


def delete_user(path: Path, user: str) -> None:
    """Delete a user. Raises ``ConfigError`` when the file has no such user or cannot be written."""
    if not path.exists():
        read_lines(path)  # which says so
    with _alone(path):
        lines = read_lines(path)
        _parse(path, lines)  # a malformed file is left as it is
        at = _places(lines).get(user)
        if at is None:
            raise ConfigError(f"{path}: there is no user {user!r}")
        del lines[at]
        _replace(path, lines)


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


def _places(lines: list[str]) -> dict[str, int]:
    """In which line each user stands."""
    return {line.partition(":")[0].strip(): at for at, line in enumerate(lines) if not line.startswith("#")}


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises ``ConfigError``."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; make it with: curier passwd {path} USER") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected UTF-8 text, one user:hash a line") from None
    return text.removesuffix("\n").split("\n") if text else []


def _replace(path: Path, lines: list[str]) -> None:
    """Put a new file in the place of the old one in one step, with its content on disk first."""
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
        with suppress(FileNotFoundError):
            _copy_owner_and_mode(target, temporary)
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


@contextmanager
def _alone(path: Path) -> Iterator[None]:
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
