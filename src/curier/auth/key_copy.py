"""A copy on disk of the keys that a URL has given: with it a broker that starts while nobody answers there
can serve. It has public keys, no secrets; and whoever can write it can make tokens, so nobody else may.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from curier.auth.text_file import replace_lines
from curier.auth.token_keys import MOST_FILE_BYTES, TokenKey, of_jwk, of_set
from curier.errors import ConfigError
from curier.loglines import logger, printable
from curier.rereading import in_thread

_log = logger("curier.auth")

_AHEAD: Final = 60.0
"""So many seconds a copy may be from the future: clocks are set."""

_PUBLIC: Final = ("kty", "n", "e", "crv", "x", "y", "kid", "alg", "use", "key_ops")


class KeyCopy:
    """That at ``path`` of what ``url`` gave. ``clock`` is the wall's. Raises ``ConfigError`` where there is
    no place for one.
    """

    def __init__(self, path: str, url: str, clock: Callable[[], float] = time.time) -> None:
        self._path: Final = Path(path)
        self._url: Final = url
        self._clock: Final = clock
        self._why = ""
        self._is_trusted = True
        if not self._path.parent.is_dir():
            raise ConfigError(f"jwks_copy: {self._path.parent} is no directory")

    def load(self, oldest: float) -> tuple[tuple[TokenKey, ...], float]:
        """The keys, and how old they are, in seconds; none where the copy is older than ``oldest``, is not
        there, or cannot be trusted, which is logged.
        """
        try:
            return self._load(oldest)
        except FileNotFoundError:
            return (), 0.0
        except (OSError, ValueError, RecursionError) as error:
            why = getattr(error, "strerror", None) or str(error)
            _log.warning("%s, a copy of keys for tokens, is not used: %s", self._path, printable(why))
            self._is_trusted = False
            return (), 0.0

    def _load(self, oldest: float) -> tuple[tuple[TokenKey, ...], float]:
        with self._path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("it is no file")
            if hasattr(os, "geteuid") and found.st_uid not in (0, os.geteuid()):
                raise ValueError("it belongs to another user")
            if os.name == "posix" and found.st_mode & 0o022:
                raise ValueError("others may write it: chmod 600")
            content = file.read(2 * MOST_FILE_BYTES)
        table = json.loads(content)
        if not isinstance(table, dict) or table.get("url") != self._url:
            raise ValueError("it is of another URL")
        got_at = table.get("got_at")
        if not isinstance(got_at, int) or isinstance(got_at, bool):
            raise ValueError("it does not say when it was made")
        age = self._clock() - got_at
        if not -_AHEAD <= age <= oldest:
            raise ValueError(f"it is {age / 3600:.0f} hours old, and may be {oldest / 3600:.0f}")
        keys, _ = of_set(content)
        return tuple(keys), max(0.0, age)

    async def save(self, answer: bytes) -> None:
        """Keep what the URL has answered, a set of keys; that it cannot be kept is logged, once."""
        listed = [_public(jwk) for jwk in json.loads(answer)["keys"] if _is_key(jwk)]
        table = {"url": self._url, "got_at": int(self._clock()), "keys": listed}
        text = json.dumps(table)
        try:
            await in_thread("curier keys", lambda: self._write(text))
        except ConfigError as error:
            if str(error) != self._why:
                _log.warning("no copy of the keys for tokens is kept: %s", error)
            self._why = str(error)
        else:
            self._why = ""

    def _write(self, text: str) -> None:
        if not self._is_trusted:  # or the new one would be of the same owner and mode
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        replace_lines(self._path, [text])
        self._is_trusted = True


def _is_key(jwk: object) -> bool:
    try:
        return isinstance(jwk, dict) and of_jwk(jwk) is not None
    except ValueError:
        return False


def _public(jwk: dict[str, object]) -> dict[str, object]:
    return {part: value for part, value in jwk.items() if part in _PUBLIC}
