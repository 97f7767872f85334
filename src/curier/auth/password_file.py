"""User names and passwords in a text file: one ``user:argon2id-hash`` a line.

Argon2id (RFC 9106) makes a stolen file slow to guess from: each check costs about 64 MiB of memory and tens
of milliseconds of a core, by design. So checks run in a few threads of their own, never more of them than
there are cores; an unknown user costs as much as a known one, which keeps the names in the file
secret; and a password that was right a while ago is recognised without the cost, which makes a thousand
clients that reconnect at once cheap.

Blank lines and lines that begin with ``#`` are ignored. The file is read again when it changes.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import os
import re
import secrets
import tempfile
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import argon2
from argon2.exceptions import VerificationError, VerifyMismatchError

from curier.auth.base import ACCEPT, Authenticator, Credentials, Verdict
from curier.errors import ConfigError
from curier.types import ReasonCode

_log = logging.getLogger(__name__)

LOOK_INTERVAL: Final = 1.0
"""Seconds between two looks at the file's time of change."""

REMEMBER_SECONDS: Final = 600.0
"""How long a password that was right is recognised without hashing it again."""

REMEMBER_CLIENTS: Final = 10_000
"""How many of them are remembered; the oldest go first."""

MAXIMUM_PASSWORD_BYTES: Final = 65_535
"""What fits in a CONNECT packet (5.0 section 1.5.6)."""

_ENCODED: Final = re.compile(
    r"\$argon2id\$v=(?:16|19)\$m=(?P<m>\d{1,9}),t=(?P<t>\d{1,9}),p=(?P<p>\d{1,7})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,})\$(?P<hash>[A-Za-z0-9+/]{6,})"
)

_REFUSED: Final = Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password")


class PasswordFile(Authenticator):
    """Accepts the users of a password file, with the right password.

    ``allow_anonymous`` also accepts clients that send no user name (a password alone is not looked at); a
    user name is always checked. Raises ``ConfigError`` when the file cannot be read or has a malformed line.
    A change of the file is noticed at the next CONNECT, at most one second late; clients that are already
    connected stay. If the changed file cannot be used, the users before the change stay valid and an error
    is logged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        allow_anonymous: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = Path(path)
        self._allow_anonymous = allow_anonymous
        self._clock = clock
        self._hasher = argon2.PasswordHasher()
        self._proven = _Proven(clock)
        self._next_look = clock() + LOOK_INTERVAL
        # A pool of its own, not asyncio's: as many threads as cores is the bound on memory, and it holds even
        # when clients leave before they are answered.
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="curier-password")
        self._stamp = _stamp(self._path)
        self._take(read_password_file(self._path))
        _warn_if_readable_by_all(self._path)

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Accept the right password of a user in the file, or nobody at all where that is allowed."""
        self._look()
        username, password = credentials.username, credentials.password
        if username is None:
            return Verdict(ACCEPT) if self._allow_anonymous else _REFUSED
        if password is None:
            return _REFUSED
        encoded = self._users.get(username, self._nobody)
        key = self._proven.key(username, password)
        if self._proven.is_known(key, encoded):
            return Verdict(ACCEPT, identity=username)
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._threads, self._check, encoded, password, key)
        except VerificationError as error:  # Argon2 found no memory, for one
            _log.error("the password of user %r could not be checked: %s", username, error)
            return Verdict(ReasonCode.SERVER_UNAVAILABLE, "the password cannot be checked now")
        return Verdict(ACCEPT, identity=username) if right else _REFUSED

    def reload(self) -> None:
        """Read the file now. Raises ``ConfigError`` and keeps the users it had when it cannot be used."""
        self._stamp = _stamp(self._path)
        self._take(read_password_file(self._path))

    def _look(self) -> None:
        now = self._clock()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_INTERVAL
        if _stamp(self._path) == self._stamp:
            return
        try:
            self.reload()
        except ConfigError as error:
            _log.error("%s; the users before this change stay valid", error)
        else:
            _log.info("read %s again: %d users", self._path, len(self._users))

    def _take(self, users: Mapping[str, str]) -> None:
        self._users = users
        self._nobody = _hash_of_nobody(users)

    def _check(self, encoded: str, password: bytes, key: bytes) -> bool:
        """Whether the password fits the hash; runs in a thread."""
        if self._proven.is_known(key, encoded):  # the same client, or one like it, was ahead in the queue
            return True
        try:
            self._hasher.verify(encoded, password)
        except VerifyMismatchError:
            return False
        self._proven.add(key, encoded)
        return True


class _Proven:
    """Passwords that were right a short while ago, as keyed digests; safe to use from many threads.

    The key is made when the process starts and never leaves it. An entry counts only for the hash it was
    checked against, so a changed or deleted password is forgotten with the line it stood in.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def key(self, username: str, password: bytes) -> bytes:
        name = username.encode()
        return hmac.digest(self._secret, len(name).to_bytes(4, "big") + name + password, "sha256")

    def is_known(self, key: bytes, encoded: str) -> bool:
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and entry[0] == encoded and self._clock() < entry[1]

    def add(self, key: bytes, encoded: str) -> None:
        with self._lock:
            self._entries[key] = (encoded, self._clock() + REMEMBER_SECONDS)
            self._entries.move_to_end(key)
            if len(self._entries) > REMEMBER_CLIENTS:
                self._entries.popitem(last=False)


def read_password_file(path: Path) -> dict[str, str]:
    """Read user names and their hashes, in the order of the file.

    Raises ``ConfigError`` naming file, line and what was expected; it never quotes what the line says.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(_read_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        user, colon, encoded = line.partition(":")
        if not colon or not user:
            raise ConfigError(
                f"{where}: expected user:argon2id-hash; make lines with: curier passwd {path} USER"
            )
        if not _is_argon2id(encoded.strip()):
            raise ConfigError(
                f"{where}: expected an Argon2id hash ($argon2id$v=19$m=...,t=...,p=...$salt$hash) after the "
                f"colon; make lines with: curier passwd {path} USER"
            )
        if user in users:
            raise ConfigError(f"{where}: user {user!r} is there twice; expected one line for each user")
        users[user] = encoded.strip()
    return users


def set_password(path: Path, user: str, password: bytes) -> bool:
    """Add a user or change a password; other lines and comments stay. Returns whether the user is new.

    A file that is made here is for its owner only (mode 0600); one that was there keeps owner and mode.
    Readers see the old file or the new one, never half of it. Raises ``ConfigError`` for a user name or
    password that cannot be, and for a file that is malformed or cannot be written.
    """
    check_user_name(user)
    if not password:
        raise ConfigError("the password is empty")
    if len(password) > MAXIMUM_PASSWORD_BYTES:
        raise ConfigError(f"the password is longer than MQTT allows ({MAXIMUM_PASSWORD_BYTES} bytes)")
    lines = _lines_if_any(path)
    entry = f"{user}:{argon2.PasswordHasher().hash(password)}"
    at = _find_user(lines, user)
    if at is None:
        lines.append(entry)
    else:
        lines[at] = entry
    _replace(path, lines)
    return at is None


def delete_user(path: Path, user: str) -> None:
    """Delete a user. Raises ``ConfigError`` when the file has no such user or cannot be written."""
    read_password_file(path)  # a malformed file is left as it is
    lines = _read_lines(path)
    at = _find_user(lines, user)
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


def _is_argon2id(encoded: str) -> bool:
    """Whether this is a hash as Argon2 writes them, with costs it accepts (RFC 9106 section 3.1)."""
    found = _ENCODED.fullmatch(encoded)
    if found is None:
        return False
    memory, passes, lanes = (int(found[name]) for name in ("m", "t", "p"))
    whole = all(len(found[name]) % 4 != 1 for name in ("salt", "hash"))  # no base64 has this length
    return whole and passes >= 1 and lanes >= 1 and memory >= 8 * lanes


def _hash_of_nobody(users: Mapping[str, str]) -> str:
    """A hash that no password has, as costly to check as those in the file: what unknown users meet."""
    costs = Counter(encoded.rsplit("$", 2)[0] for encoded in users.values())
    ours = argon2.PasswordHasher()
    default = f"$argon2id$v=19$m={ours.memory_cost},t={ours.time_cost},p={ours.parallelism}"
    cost = costs.most_common(1)[0][0] if costs else default
    salt, digest = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (ours.salt_len, ours.hash_len)
    )
    return f"{cost}${salt}${digest}"


def _find_user(lines: list[str], user: str) -> int | None:
    return next((at for at, line in enumerate(lines) if line.startswith(f"{user}:")), None)


def _lines_if_any(path: Path) -> list[str]:
    if not path.exists():
        return []
    read_password_file(path)  # a malformed file is left as it is
    return _read_lines(path)


def _read_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; make it with: curier passwd {path} USER") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected UTF-8 text, one user:argon2id-hash a line") from None
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


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file does; ``None`` while there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _warn_if_readable_by_all(path: Path) -> None:
    with suppress(OSError):
        if path.stat().st_mode & 0o004:
            _log.warning(
                "%s can be read by every user of this machine; chmod 600 keeps the hashes secret", path
            )
