"""The text of a password file: one ``user:hash`` a line, read strictly and changed by one program at a time.

Blank lines and lines that begin with ``#`` are ignored, blanks around names and hashes too, and a byte order
mark in front. ``hashes`` says which hashes there are; a file of mosquitto_passwd is one of these files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from curier.auth.hashes import EXPECTED, is_hash, new_hash, new_token, why_too_costly
from curier.auth.text_file import check_user_name, places, read_lines, replace_lines, while_alone
from curier.errors import ConfigError

MAXIMUM_PASSWORD_BYTES: Final = 65_535
"""What fits in a CONNECT packet (5.0 section 1.5.6)."""


@dataclass(frozen=True)
class Users:
    """All in a file: the hash of each, "" where no password fits. Some may not come in now (``disabled``), or
    only as one client (``client_ids``).
    """

    hashes: Mapping[str, str] = field(repr=False)
    disabled: frozenset[str] = frozenset()
    client_ids: Mapping[str, str] = field(default_factory=dict)


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

    A file that is made here is for its owner only (mode 0600), or for the group of its directory, too
    (``text_file``); one that was there keeps owner and mode.
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
    with while_alone(path):
        lines = read_lines(path) if path.exists() else []
        _parse(path, lines)  # a malformed file is left as it is
        where = places(lines)
        for user, encoded in hashes.items():
            if user in where:
                lines[where[user]] = f"{user}:{encoded}"
            else:
                lines.append(f"{user}:{encoded}")
                new += 1
        replace_lines(path, lines)
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
    with while_alone(path):
        lines = read_lines(path)
        _parse(path, lines)  # a malformed file is left as it is
        at = places(lines).get(user)
        if at is None:
            raise ConfigError(f"{path}: there is no user {user!r}")
        del lines[at]
        replace_lines(path, lines)
