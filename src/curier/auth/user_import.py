"""Users of another file, for a password file: lines of mosquitto_passwd, of ours, or ``user:password``."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from curier.auth.hashes import EXPECTED, is_hash, new_hash, why_too_costly
from curier.auth.text_file import check_user_name, read_lines
from curier.auth.user_file import check_password, set_hashes
from curier.errors import ConfigError

_FOREIGN: Final = re.compile(
    r"\$(?P<kind>[A-Za-z0-9-]{1,20})\$.{8,}|(?P<other>PBKDF2)\$.+|\{(?P<ldap>[A-Z0-9-]+)\}.+"
)
"""Hashes as other programs write them: nobody's password, though it could be."""


def import_users(path: Path, source: Path, cost: str) -> tuple[int, int]:
    """Add all users of ``source`` to the password file at ``path``, or none. Returns how many were new, and
    how many were there and have now the hash of ``source``.

    A hash that we know stays as it is; what is no hash is a password, to the end of the line, and is hashed.
    Raises ``ConfigError`` with the line of whatever cannot be; it never quotes what the line says.
    """
    if not source.exists():
        raise ConfigError(f"{source}: there is no such file")
    found: dict[str, str | bytes] = {}
    for number, line in enumerate(read_lines(source), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{source}, line {number}"
        user, colon, secret = line.removesuffix("\r").partition(":")
        user = user.strip()
        if not colon:
            raise ConfigError(f"{where}: expected user:hash or user:password")
        if user in found:
            raise ConfigError(f"{where}: the same user stands above")
        try:
            check_user_name(user)
            found[user] = _take(secret)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing needs no lock of the interpreter
        hashed = threads.map(lambda one: one if isinstance(one, str) else new_hash(one, cost), found.values())
        hashes = dict(zip(found, hashed, strict=True))
    new = set_hashes(path, hashes) if hashes else 0
    return new, len(hashes) - new


def _take(secret: str) -> str | bytes:
    """A hash, or a password."""
    encoded = secret.strip()
    if is_hash(encoded):
        if why := why_too_costly(encoded):
            raise ConfigError(why)
        return encoded
    if (foreign := _FOREIGN.fullmatch(encoded)) is not None:
        kind = foreign["kind"] or foreign["other"] or foreign["ldap"]
        raise ConfigError(
            f"this looks like a hash of kind {kind}, which nothing here knows; expected {EXPECTED}"
        )
    if is_hash(encoded.rpartition(":")[2].strip()):
        raise ConfigError("the first colon ends the user name, so a name cannot have one in it")
    password = secret.encode()
    check_password(password)
    return password
