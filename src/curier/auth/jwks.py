"""Where the keys of tokens come from: a file, or a URL, whose keys may change at any time."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from curier.auth.calls import CallFailed, Calls, is_private_call, shown
from curier.auth.key_copy import KeyCopy
from curier.auth.token_keys import MOST_FILE_BYTES, TokenKey, of_set
from curier.errors import ConfigError
from curier.loglines import logger, printable

_log = logger("curier.auth")

AGAIN_SECONDS: Final = 30.0
"""So long no further attempt is made to get keys, whatever tokens name."""

FRESH_SECONDS: Final = 600.0
"""After so long keys are asked for again, while those that are there go on being used."""

OLD_SECONDS: Final = 24 * 3600.0
"""After so long without an answer they are used no more."""

Clock = Callable[[], float]


class NoKeys(Exception):
    """There are no keys now; the text says why."""


class Keys(ABC):
    """Keys, by their names."""

    @abstractmethod
    async def of(self, name: str | None) -> Sequence[TokenKey]:
        """Those that a token may be signed with which names this key, or none. Raises ``NoKeys``."""

    async def again(self) -> bool:
        """Have them asked for again, if it is time for that: there may be others. Whether that was done."""
        return False

    @abstractmethod
    def reload(self) -> None:
        """Read them again where they are in a file. Raises ``ConfigError``; they stay then."""


class FileKeys(Keys):
    """Those that ``read`` reads from the file at ``path``."""

    def __init__(self, read: Callable[[str], tuple[TokenKey, ...]], path: str) -> None:
        self._read = read
        self._path = path
        self._keys = read(path)

    async def of(self, name: str | None) -> Sequence[TokenKey]:
        """All that have this name, or none."""
        return _named(self._keys, name)

    def reload(self) -> None:
        """Read the file again."""
        self._keys = self._read(self._path)


class UrlKeys(Keys):
    """A set of keys (RFC 7517) from a URL.

    It is asked for with the first token, and then again when it is ten minutes old, or when a token names a
    key that is not in it: at most every half a minute, and once for all who wait for it. So tokens with
    made-up names cost nothing, and nothing has to be remembered of them. What is there stays in use while the
    URL does not answer, for a day, over a start too where there is a ``copy``: with that the URL is asked
    first. Raises ``ConfigError`` for a URL that anybody on the way could answer for.
    """

    def __init__(self, calls: Calls, clock: Clock = time.monotonic, copy: KeyCopy | None = None) -> None:
        if not is_private_call(calls.url):
            raise ConfigError(f"{shown(calls.url)}: who signs tokens can only be asked by https://")
        self._calls: Final = calls
        self._clock: Final = clock
        self._keys: tuple[TokenKey, ...] = ()
        self._got_at: float | None = None
        self._tried_at: float | None = None
        self._why = "they have not been asked for yet"
        self._asking: asyncio.Task[None] | None = None
        self._copy: Final = copy
        self.saving: asyncio.Task[None] | None = None  # the copy, for which nobody waits
        self._is_copied = False  # are these keys from the copy?
        if copy is not None:
            self._keys, age = copy.load(OLD_SECONDS)
            self._is_copied = bool(self._keys)
            self._got_at = clock() - age if self._keys else None

    async def of(self, name: str | None) -> Sequence[TokenKey]:
        """All that have this name, or none."""
        now = self._clock()
        if self._got_at is not None and now - self._got_at > OLD_SECONDS:
            self._keys, self._got_at = (), None
        if self._is_copied:
            await self.again()
        found = _named(self._keys, name)
        if not found:
            if await self.again():
                found = _named(self._keys, name)
            if self._got_at is None:
                raise NoKeys(f"there are no keys from {shown(self._calls.url)}: {self._why}")
        elif self._got_at is not None and now - self._got_at > FRESH_SECONDS:
            self._ask()
        return found

    async def again(self) -> bool:
        """Ask, or wait for whoever asks already."""
        asking = self._ask()
        if asking is None:
            return False
        await asyncio.shield(asking)  # others wait for it as well
        return True

    def reload(self) -> None:
        """Ask with the next token."""
        self._tried_at = None
        if self._got_at is not None:
            self._got_at = min(self._got_at, self._clock() - FRESH_SECONDS - 1.0)

    def _ask(self) -> asyncio.Task[None] | None:
        """The attempt that is under way, or a new one where it is time for that."""
        loop = asyncio.get_running_loop()
        if self._asking is not None and not self._asking.done() and self._asking.get_loop() is loop:
            return self._asking
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < AGAIN_SECONDS:
            return None
        self._tried_at = now
        self._asking = loop.create_task(self._get())
        return self._asking

    async def _get(self) -> None:
        url = shown(self._calls.url)
        try:
            answer = await self._calls.call("GET", {"Accept": "application/json"})
            if answer.status != 200:
                raise CallFailed(f"it answers {answer.status}")
            keys, left_out = of_set(answer.body)
            if not keys:
                raise CallFailed("; ".join(["there is no key in it that could be used", *left_out]))
        except (CallFailed, ValueError) as error:
            self._why = printable(str(error))
            stays = "; those that are there stay" if self._keys else ""
            _log.warning("no keys for tokens from %s: %s%s", url, self._why, stays)
            return
        for why in left_out:
            _log.warning("a key from %s is left out: %s", url, printable(why))
        if {key.name for key in keys} != {key.name for key in self._keys}:
            _log.info("%d keys for tokens from %s", len(keys), url)
        self._keys, self._got_at, self._is_copied = tuple(keys), self._clock(), False
        if self._copy is not None:
            self.saving = asyncio.get_running_loop().create_task(self._copy.save(answer.body))


def calls_for_keys(url: str, timeout: float, ca_file: str | None) -> Calls:
    """What ``UrlKeys`` asks."""
    return Calls(url, timeout=timeout, at_once=1, waiting=1, most_bytes=MOST_FILE_BYTES, ca_file=ca_file)


def _named(keys: Sequence[TokenKey], name: str | None) -> Sequence[TokenKey]:
    return keys if name is None else [key for key in keys if key.name is None or key.name == name]
