"""The users of SCRAM-SHA-256 (RFC 5802, RFC 7677) in a file: what a server has to know of a password, which
is not the password.

One ``user:SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER`` a line, as PostgreSQL has it, in base64. The line of
the user ``*`` has what salts for unknown users are made of, so that they look like those of known ones.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scramp import ScramException, ScramMechanism
from scramp.utils import saslprep

from curier.auth.text_file import check_user_name, places, read_lines, replace_lines, while_alone
from curier.errors import ConfigError

METHOD: Final = "SCRAM-SHA-256"
ITERATIONS: Final = 16_384
LEAST_ITERATIONS: Final = 4096
MOST_ITERATIONS: Final = 1_000_000
"""The server has no part in them, but each client that logs in counts them."""

_NOBODY: Final = "*"
_LINE: Final = re.compile(
    r"SCRAM-SHA-256\$([1-9][0-9]{3,6}):([A-Za-z0-9+/]{16,}={0,2})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)"
)
_MECHANISM: Final = ScramMechanism(METHOD)


@dataclass(frozen=True)
class ScramKeys:
    """What is known of one password."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True)
class ScramUsers:
    """All in a file."""

    keys: dict[str, ScramKeys]
    seed: bytes = field(repr=False)
    iterations: int = ITERATIONS

    def of(self, user: str) -> ScramKeys:
        """Those of a user; of one who is not known the same each time, and no password fits."""
        found = self.keys.get(user)
        made = hmac.digest(self.seed, user.encode(), "sha256")  # for known ones too: it takes time
        if found is not None:
            return found
        return ScramKeys(self.iterations, made[:16], secrets.token_bytes(32), secrets.token_bytes(32))


def read_scram_file(path: Path) -> ScramUsers:
    """Raises ``ConfigError`` with file, line and what was expected; it never quotes what the line says."""
    return _parse(path, read_lines(path, "scram"))


def set_scram_password(path: Path, user: str, password: str, iterations: int = ITERATIONS) -> bool:
    """Add a user or change a password. Returns whether the user is new. Raises ``ConfigError``."""
    user = prepared(user, "the user name")
    check_user_name(user)
    if user == _NOBODY:
        raise ConfigError(f"user name {user!r}: it stands for all who are not known")
    if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
        raise ConfigError(f"expected {LEAST_ITERATIONS} to {MOST_ITERATIONS} iterations, got {iterations}")
    password = prepared(password, "the password")
    salt, stored, server, _ = _MECHANISM.make_auth_info(password, iterations, secrets.token_bytes(16))
    texts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    entry = f"{user}:{METHOD}${iterations}:{texts[0]}${texts[1]}:{texts[2]}"
    with while_alone(path):
        lines = read_lines(path, "scram") if path.exists() else []
        if not _parse(path, lines).seed:
            lines.insert(0, f"{_NOBODY}:{base64.b64encode(secrets.token_bytes(32)).decode()}")
        at = places(lines).get(user)
        if at is None:
            lines.append(entry)
        else:
            lines[at] = entry
        replace_lines(path, lines)
    return at is None


def delete_scram_user(path: Path, user: str) -> None:
    """Raises ``ConfigError`` when the file has no such user or cannot be written."""
    if not path.exists():
        read_lines(path, "scram")  # which says so
    with while_alone(path):
        lines = read_lines(path, "scram")
        _parse(path, lines)  # a malformed file is left as it is
        at = places(lines).get(user)
        if at is None or user == _NOBODY:
            raise ConfigError(f"{path}: there is no user {user!r}")
        del lines[at]
        replace_lines(path, lines)


def prepared(text: str, what: str) -> str:
    """As SASLprep (RFC 4013) makes it, so that both sides mean the same. Raises ``ConfigError``."""
    try:
        made = str(saslprep(text))
    except ScramException as error:
        raise ConfigError(f"{what} cannot be used with {METHOD}: {error.args[0]}") from None
    if not made:
        raise ConfigError(f"{what} is empty")
    return made


def _parse(path: Path, lines: list[str]) -> ScramUsers:
    keys: dict[str, ScramKeys] = {}
    seed = b""
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        user, _, entry = (part.strip() for part in line.partition(":"))
        if user in keys or (user == _NOBODY and seed):
            raise ConfigError(f"{where}: user {user!r} is there twice; expected one line for each user")
        if user == _NOBODY and re.fullmatch(r"[A-Za-z0-9+/]{43}=", entry):
            seed = base64.b64decode(entry)
            continue
        found = _LINE.fullmatch(entry)
        if not user or found is None or len(found[2]) % 4:
            raise ConfigError(
                f"{where}: expected user:SCRAM-SHA-256$iterations:salt$stored:server; "
                f"make lines with: curier scram {path} USER"
            )
        iterations = int(found[1])
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise ConfigError(f"{where}: expected {LEAST_ITERATIONS} to {MOST_ITERATIONS} iterations")
        keys[user] = ScramKeys(iterations, *(base64.b64decode(found[part]) for part in (2, 3, 4)))
    counted = [one.iterations for one in keys.values()]
    return ScramUsers(keys, seed, max(set(counted), key=counted.count) if counted else ITERATIONS)
