"""Passwords and hashes of them, wherever these are from: checked in processes of low priority, or known.

What was right or wrong a while ago is known without the cost of a check, which makes a hundred thousand
clients that reconnect cheap.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from curier.auth.checks import Checks, Hasher
from curier.auth.hashes import fits, is_token

RIGHT_SECONDS: Final = 7 * 24 * 3600.0
"""How long a password that was right is known without hashing it again: devices that come back after their
network was away have last logged in days ago."""

MOST_RIGHT: Final = 200_000
"""How many of them are known, one of each user; the oldest go first. Each takes some 300 bytes."""

WRONG_SECONDS: Final = 600.0
"""The same for a password that was wrong: a device that has the old one tries it for ever."""

MOST_WRONG: Final = 10_000


class Passwords:
    """Tells whether passwords fit hashes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.known: Final = Known(clock)
        self.checks: Final = Checks(clock)

    async def fits(self, place: str, username: str, password: bytes, encoded: str) -> bool:
        """Whether this is the password of that hash; ``place`` and ``username`` say whose turn it is.

        Raises ``Full`` where too many wait, ``CheckError``. Cancelling it is giving up the place in the line.
        """
        if is_token(encoded):
            return fits(encoded, password)
        key = self.known.key(username, password, encoded)
        known = self.known.look_up(key)
        if known is not None:
            return known
        return await self.checks.run(
            place, username, lambda hasher: self._check(hasher, encoded, password, key)
        )

    def number(self, username: str) -> int:
        """A large number, always the same for the same name, which nobody can guess."""
        return self.known.number(username)

    def _check(self, hasher: Hasher, encoded: str, password: bytes, key: bytes) -> bool:
        """Whether the password fits the hash; runs in a thread."""
        known = self.known.look_up(key)  # the same client, or one like it, was ahead in the line
        if known is not None:
            return known
        right = hasher.fits(encoded, password)
        self.known.add(key, right)
        return right


class Known:
    """Passwords that were right or wrong a while ago, as keyed digests; safe to use from many threads.

    The secret is made when the process starts and never leaves it. The hash that the password was checked
    against is part of the digest, so what is known of a changed or deleted user is of no use any more.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._right: OrderedDict[bytes, float] = OrderedDict()  # with the times until which they count
        self._wrong: OrderedDict[bytes, float] = OrderedDict()

    def key(self, username: str, password: bytes, encoded: str) -> bytes:
        digest = hashlib.blake2b(key=self._secret, digest_size=16)
        for part in (username.encode(), encoded.encode()):
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
        digest.update(password)
        return digest.digest()

    def number(self, username: str) -> int:
        """A large number, always the same for the same name, which nobody can guess."""
        digest = hashlib.blake2b(username.encode(), key=self._secret, digest_size=8, person=b"cost")
        return int.from_bytes(digest.digest(), "big")

    def look_up(self, key: bytes) -> bool | None:
        """Was this right, or wrong, or is nothing known of it?"""
        with self._lock:
            now = self._clock()
            if now < self._right.get(key, now):
                return True
            return False if now < self._wrong.get(key, now) else None

    def add(self, key: bytes, right: bool) -> None:
        with self._lock:
            entries, most, seconds = (
                (self._right, MOST_RIGHT, RIGHT_SECONDS)
                if right
                else (self._wrong, MOST_WRONG, WRONG_SECONDS)
            )
            entries[key] = self._clock() + seconds
            entries.move_to_end(key)
            if len(entries) > most:
                entries.popitem(last=False)
