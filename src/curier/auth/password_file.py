"""Authentication by a password file.

Argon2id makes a stolen file slow to guess from: each check costs much memory and tens of milliseconds of a
core, by design. So checks run in a few processes of low priority, and ``line`` says who is next; an unknown
user costs as much as a known one, which keeps the names in the file secret; and what was right or wrong a
while ago is known without the cost, which makes a hundred thousand clients that reconnect cheap.

The file is read again when it changes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from curier.auth.base import ACCEPT, NOT_MINE, Authenticator, Credentials, Verdict
from curier.auth.hashes import CheckError, cost_of, default_cost, hash_of_nobody
from curier.auth.line import Full
from curier.auth.passwords import Passwords
from curier.auth.reading import read_users
from curier.auth.user_file import Users
from curier.loglines import logger, printable
from curier.places import place_of
from curier.rereading import LOOK_INTERVAL, Reread
from curier.types import ReasonCode

_log = logger("curier.auth")

_REFUSED: Final = Verdict(
    ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", why="the password is wrong"
)
_DISABLED: Final = replace(_REFUSED, why="the user is disabled")
_OTHER_CLIENT: Final = replace(_REFUSED, why="the user has another client id")
_UNKNOWN: Final = replace(NOT_MINE, why="there is no such user")
_BUSY: Final = Verdict(ReasonCode.SERVER_BUSY, "too many logins are waiting")


class PasswordFile(Authenticator):
    """Accepts the users of a password file, with the right password.

    ``path`` is a file by ``curier passwd`` or mosquitto_passwd, or Mosquitto's ``dynamic-security.json``,
    whose clients may be disabled, or bound to a client id. ``allow_anonymous`` also accepts clients that send
    no user name (a password alone is not looked at); in a ``Chain`` tell that to the chain, since others may
    know what to do with such a password. A user name is always checked. Raises ``ConfigError`` when the
    file cannot be read or has a malformed line.

    A change of the file is noticed by ``look``, which a broker calls, within a second, when two looks have
    seen the same; clients whose user is gone or has another password are disconnected then. If the changed
    file cannot be used, the users before the change stay valid and an error is logged. While more logins wait
    than can be checked in time, some are refused with 0x89 (Server busy).
    Cancelling ``authenticate`` is giving up the place in the line.
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
        self._passwords = Passwords(clock)
        self._file = Reread(self._path, read_users, self._take, _log, clock)
        _warn_if_readable_by_all(self._path)

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"password file {self._path}"

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Accept the right password of a user in the file, or nobody at all where that is allowed."""
        await self._file.look()
        username, password = credentials.username, credentials.password
        if username is None:
            return Verdict(ACCEPT) if self._allow_anonymous else NOT_MINE
        if password is None:
            return NOT_MINE
        if not self.hides_names and username not in self._users.hashes:
            return _UNKNOWN  # and nothing is counted against the address of what may be the next one's user
        nobody = self._hash_of_nobody(username)  # of known names, too: it takes time
        encoded = self._users.hashes.get(username) or nobody
        try:
            right = await self._passwords.fits(place_of(credentials.address), username, password, encoded)
        except Full:
            return _BUSY
        except CheckError as error:
            _log.error("the password of %s could not be checked: %s", printable(username), error)
            return Verdict(ReasonCode.SERVER_UNAVAILABLE, "the password cannot be checked now")
        client_id, users = credentials.client_id, self._users  # which may have changed meanwhile
        if right and users.hashes.get(username) == encoded:
            if username in users.disabled:
                return _DISABLED
            if users.client_ids.get(username, client_id) != client_id:
                return _OTHER_CLIENT
            return Verdict(
                ACCEPT, identity=username, why_no_more=_Accepted(self, username, encoded, client_id)
            )
        return _REFUSED if username in users.hashes else _UNKNOWN

    def reload(self) -> bool:
        """Read the file now. Raises ``ConfigError`` and keeps the users it had when it cannot be used."""
        self._file.reload()
        return True

    @property
    def look_seconds(self) -> float:
        """As often as it would look by itself."""
        return LOOK_INTERVAL

    async def look(self) -> int:
        """Look whether the file has changed."""
        return await self._file.look()

    def why_no_more(self, username: str, encoded: str, client_id: str) -> str:
        """Why whoever was accepted with this hash is so no more; ""."""
        users = self._users
        if username not in users.hashes:
            return f"user {username} is gone from {self._path}"
        if users.hashes[username] != encoded:
            return f"user {username} has another password in {self._path}"
        if username in users.disabled:
            return f"user {username} is disabled in {self._path}"
        if users.client_ids.get(username, client_id) != client_id:
            return f"user {username} has another client id in {self._path}"
        return ""

    def _take(self, users: Users) -> None:
        self._users = users
        self._costs = [cost_of(encoded) for encoded in users.hashes.values() if encoded] or [default_cost()]
        self._nobodies = {cost: hash_of_nobody(cost) for cost in set(self._costs)}

    def _hash_of_nobody(self, username: str) -> str:
        """What an unknown user meets: a hash that no password has.

        Where hashes in the file differ in cost, each cost is as frequent among unknown names as among known.
        """
        return self._nobodies[self._costs[self._passwords.number(username) % len(self._costs)]]


class _Accepted:
    """With which hash a user came in; there are as many as clients."""

    __slots__ = ("client_id", "encoded", "file", "username")

    def __init__(self, file: PasswordFile, username: str, encoded: str, client_id: str) -> None:
        self.file = file
        self.username = username
        self.encoded = encoded
        self.client_id = client_id

    def __call__(self) -> str:
        return self.file.why_no_more(self.username, self.encoded, self.client_id)


def _warn_if_readable_by_all(path: Path) -> None:
    with suppress(OSError):
        if path.stat().st_mode & 0o004:
            _log.warning(
                "%s can be read by every user of this machine; chmod 600 keeps the hashes secret", path
            )
