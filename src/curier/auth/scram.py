"""SCRAM-SHA-256 (RFC 5802, RFC 7677) by AUTH packets (MQTT 5.0, section 4.12): the password is never sent,
and the server proves that it knows it, too.

    client                            server
    CONNECT client-first          ->
                                  <-  AUTH 0x18 server-first
    AUTH 0x18 client-final        ->
                                  <-  CONNACK server-final

A re-authentication begins with AUTH 0x19 in the place of CONNECT, and ends with AUTH 0x00.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from scramp import ScramException, ScramMechanism

from curier.auth.base import ACCEPT, CONTINUE, NOT_MINE, Authenticator, Credentials, Verdict
from curier.auth.scram_file import METHOD, ScramKeys, ScramUsers, read_scram_file
from curier.loglines import logger, printable
from curier.rereading import LOOK_INTERVAL, Reread
from curier.types import ReasonCode

_log = logger("curier.auth")

MOST_BYTES: Final = 1024
"""Of what a client says in one packet: a name, a nonce, a proof."""


class _Exchange:
    """What the server has said, and waits for."""

    def __init__(self, users: ScramUsers, nonce: str | None) -> None:
        self.user = ""
        self._users = users
        self._server = ScramMechanism(METHOD).make_server(self._keys, s_nonce=nonce)

    def _keys(self, user: str) -> tuple[bytes, bytes, bytes, int]:
        self.user = user
        keys = self._users.of(user)
        return keys.salt, keys.stored_key, keys.server_key, keys.iterations

    def begin(self, client_first: str) -> bytes:
        """Raises ``ScramException``."""
        self._server.set_client_first(client_first)
        return str(self._server.get_server_first()).encode()

    def end(self, client_final: str) -> bytes:
        """Raises ``ScramException``, for a wrong password as well."""
        self._server.set_client_final(client_final)
        return str(self._server.get_server_final()).encode()


class ScramFile(Authenticator):
    """Accepts the users of a file by ``curier scram``, who prove that they know their password.

    A change of the file is noticed within a second, when two looks have seen the same; where it cannot be
    used, the users before the change stay valid, and an error is logged. Users that are gone, or have another
    password, are disconnected; others prove themselves anew when they like, as the same user. Raises
    ``ConfigError``.
    Channel binding is not offered.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        nonce: Callable[[], str] | None = None,
    ) -> None:
        self._path: Final = Path(path)
        self._nonce: Final = nonce
        self._seed: Final = secrets.token_bytes(32)  # where the file has none
        self._file: Final = Reread(self._path, read_scram_file, self._take, _log, clock)

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"scram file {self._path}"

    @property
    def methods(self) -> frozenset[str]:
        """SCRAM-SHA-256."""
        return frozenset((METHOD,))

    def reload(self) -> bool:
        """Read the file now. Raises ``ConfigError`` and keeps the users it had when it cannot be used."""
        self._file.reload()
        return True

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT: with a challenge, or a no."""
        if credentials.authentication_method != METHOD:
            return NOT_MINE
        await self._file.look()
        return self._begin(credentials)

    async def exchange(self, credentials: Credentials, state: object) -> Verdict:
        """Answer an AUTH packet: the proof, or the beginning of a re-authentication."""
        if not isinstance(state, _Exchange):
            await self._file.look()
            return self._begin(credentials)
        said = _text(credentials.authentication_data)
        if said is None:
            return _no("its proof is no SCRAM message")
        try:
            proof = state.end(said)
        except ScramException as error:
            known = "" if state.user in self._users.keys else ", and no such user is known"
            why = f"{printable(state.user, 80)}: {printable(str(error.args[0]))}{known}"
            return replace(_no(why), identity=state.user)
        if state.user not in self._users.keys:  # it was taken out meanwhile
            return _no(f"{printable(state.user, 80)} is no longer known")
        user, keys = state.user, self._users.of(state.user)
        return Verdict(
            ACCEPT,
            identity=user,
            authentication_data=proof,
            why_no_more=lambda: self._why_no_more(user, keys),
        )

    @property
    def look_seconds(self) -> float:
        """As often as it would look by itself."""
        return LOOK_INTERVAL

    async def look(self) -> int:
        """Look whether the file has changed."""
        return await self._file.look()

    def _why_no_more(self, user: str, keys: ScramKeys) -> str:
        present = self._users.keys.get(user)
        if present == keys:
            return ""
        return f"user {user} {'is gone from' if present is None else 'has another password in'} {self._path}"

    def _begin(self, credentials: Credentials) -> Verdict:
        said = _text(credentials.authentication_data)
        if said is None:
            return _no("Authentication Data is no SCRAM message")
        exchange = _Exchange(self._users, self._nonce() if self._nonce is not None else None)
        try:
            challenge = exchange.begin(said)
        except ScramException as error:
            return _no(printable(str(error.args[0])))
        if credentials.username not in (None, "", exchange.user):
            return _no(f"it is {printable(exchange.user, 80)}, and the user name is another")
        return Verdict(CONTINUE, authentication_data=challenge, state=exchange)

    def _take(self, users: ScramUsers) -> None:
        self._users = users if users.seed else replace(users, seed=self._seed)


def _text(data: bytes | None) -> str | None:
    if data is None or len(data) > MOST_BYTES:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _no(why: str) -> Verdict:
    return Verdict(ReasonCode.NOT_AUTHORIZED, "not authorized", why=why)
