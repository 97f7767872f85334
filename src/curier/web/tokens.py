"""Tokens: who may ask the API for what. A file has their hashes, one a line: ``NAME:ROLE:HASH``.

A token is 32 random bytes, so its hash needs no salt and no effort; nobody guesses it. Whoever has the file
cannot ask anything with it.
"""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from curier.auth.text_file import places, read_lines, replace_lines
from curier.errors import ConfigError
from curier.web.roles import Role

MARK: Final = "curier_"
"""What tokens begin with, so that one is known for what it is wherever it turns up."""

_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
ROLES: Final[Mapping[str, Role]] = {role.name.lower(): role for role in Role}


class Known(NamedTuple):
    """Who asks, as what, and from where."""

    name: str
    role: Role
    address: str = ""
    token: str = ""
    """The hash of the token by which they are known, where there is one."""
    still: Callable[[], Role | None] | None = None
    """Of a user of the broker: what they may by now. None: nothing any more."""
    until: float = math.inf
    """When each of their logins ends at the latest, by the clock of ``Identities``."""


def new_secret() -> str:
    """32 random bytes, as text for URLs and headers."""
    return base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


def new_token() -> str:
    """A token that nobody has had."""
    return MARK + new_secret()


def hash_of(token: str) -> str:
    """What the file has of it."""
    import hashlib  # 1 MiB, and not before somebody asks

    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """Those of a file, and others that are only of this run."""

    def __init__(self, tokens: Mapping[str, Known]) -> None:
        self._by_hash = dict(tokens)

    def who(self, token: str) -> Known | None:
        """Whose it is; None: nobody's."""
        import hmac

        wanted = hash_of(token)
        found = None
        for known, who in self._by_hash.items():
            if hmac.compare_digest(known, wanted):
                found = who
        return None if found is None else found._replace(token=wanted)

    def has(self, digest: str) -> bool:
        """Whether the token of this hash still counts."""
        return digest in self._by_hash


def read_tokens(path: Path) -> dict[str, Known]:
    """Who has tokens, by their hashes. Raises ``ConfigError``."""
    found: dict[str, Known] = {}
    for number, line in enumerate(read_lines(path, "admin token"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        role, _, digest = rest.partition(":")
        if role not in ROLES or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ConfigError(
                f"{path}, line {number}: expected NAME:ROLE:HASH with a role of {', '.join(ROLES)}; "
                "make such lines with: curier admin token"
            )
        found[digest] = Known(name, ROLES[role])
    return found


def add_token(path: Path, name: str, role: Role) -> str:
    """Make a token for ``name``, in the place of one it has; the file is made if there is none."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r}: expected a name of letters, digits and . _ @ -, up to 64 of them")
    token = new_token()
    lines = read_lines(path) if path.exists() else []
    line = f"{name}:{role.name.lower()}:{hash_of(token)}"
    at = places(lines).get(name)
    replace_lines(path, [*lines, line] if at is None else [*lines[:at], line, *lines[at + 1 :]])
    return token


def remove_token(path: Path, name: str) -> bool:
    """Take the token of ``name`` back; returns whether there was one. Raises ``ConfigError``."""
    lines = read_lines(path, "admin token")
    at = places(lines).get(name)
    if at is None:
        return False
    replace_lines(path, [*lines[:at], *lines[at + 1 :]])
    return True
