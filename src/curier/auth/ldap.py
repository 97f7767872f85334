"""Users in a directory: LDAP (RFC 4511), which is asked to bind as the user, with the password."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from curier.auth.base import ACCEPT, NOT_MINE, Authenticator, Credentials, Verdict
from curier.auth.calls import is_private_call
from curier.auth.databases import Connection, Database, DatabaseBusy, DatabaseFailed, Driver, Row
from curier.auth.facts import read_password, take_groups, take_name
from curier.auth.ldap_process import DN, PROGRAM, RIGHT, UNKNOWN, USERNAME
from curier.auth.shares import Shares, ShareTaken
from curier.errors import ConfigError, missing_package
from curier.loglines import printable
from curier.places import place_of
from curier.types import ReasonCode

MOST_WAITING: Final = 1000
MOST_CHARACTERS: Final = 256
"""Of a user name; a longer one is none that a directory has."""


@dataclass(frozen=True)
class LdapSettings:
    """Where the directory is, and how a user is found in it.

    ``url`` is ``ldaps://host``, or ``ldap://host``: on this machine, with ``starttls``, or where
    ``allow_plain`` says that passwords may be read on their way. Below ``base``, ``filter`` finds one entry,
    which is asked for as ``bind_dn`` with the ``password``, or that in ``password_file``, or as nobody.
    ``identity_attribute`` of it is who the client is: what is typed may differ from that in case and blanks.

    Groups are the names of the entries that ``groups_attribute`` of it lists, such as memberOf, and those of
    the entries that ``group_filter`` finds below ``group_base``: their attribute ``group_name``.
    """

    url: str
    base: str
    filter: str = "(uid={username})"
    identity_attribute: str = "uid"
    bind_dn: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    starttls: bool = False
    ca_file: str | None = None
    allow_plain: bool = False
    groups_attribute: str | None = None
    group_base: str | None = None
    group_filter: str = "(member={dn})"
    group_name: str = "cn"
    timeout: float = 5.0
    at_once: int = 4


class LdapAuthenticator(Authenticator):
    """Accepts clients that a directory lets bind with their password.

    No entry: it does not know the client. More than one, an entry that makes no sense, and a directory that
    does not answer, are a no (0x88). Referrals are not followed. Raises ``ConfigError``.
    """

    def __init__(self, settings: LdapSettings) -> None:
        self.settings: Final = settings
        _check(settings)
        self._database: Final = Database(
            Ldap(settings), timeout=settings.timeout, at_once=settings.at_once, waiting=MOST_WAITING
        )
        self._shares: Final = Shares()

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"ldap ({self.settings.url})"

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT."""
        username, password = credentials.username, credentials.password
        if username is None or password is None or credentials.authentication_method is not None:
            return NOT_MINE
        if not password:  # which would bind as nobody, and succeed (RFC 4513, section 5.1.2)
            return _no("the password is empty")
        if b"\0" in password:
            return _no("the password has a NUL in it")
        if not username or len(username) > MOST_CHARACTERS:
            return _unknown("the user name is empty, or too long")
        try:
            text = password.decode()
        except UnicodeDecodeError:
            return _no("the password is no UTF-8")
        asked = {"username": username, "password": text, "hides_names": self.hides_names}
        try:
            with self._shares.one_of(place_of(credentials.address)):
                (row,) = await self._database.ask("", asked)
            return _verdict(row.values)
        except (ShareTaken, DatabaseBusy) as error:
            return Verdict(ReasonCode.SERVER_BUSY, "too many logins are waiting", why=str(error))
        except (DatabaseFailed, ValueError) as error:
            why = printable(str(error))
            return Verdict(ReasonCode.SERVER_UNAVAILABLE, "authentication is not available", why=why)


class Ldap(Driver):
    """A directory, which processes ask. Raises ``ConfigError``."""

    def __init__(self, settings: LdapSettings) -> None:
        if find_spec("bonsai") is None:
            raise missing_package(ImportError(name="bonsai"), 'kind = "ldap"')
        self._url: Final = settings.url
        password = read_password(settings.password_file, settings.password)
        self._hello: Final = {"settings": asdict(settings), "password": password}

    def connect(self, seconds: float) -> Connection:
        connection = _Process(self._hello, seconds)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def why(self, error: Exception) -> str:
        return f"{self._url}: {error}"


class _Process(Connection):
    """A process that is connected to the directory."""

    def __init__(self, hello: Mapping[str, object], seconds: float) -> None:
        self._hello = hello
        self._seconds = seconds
        # By its path: as a module of curier it would import what it does not need.
        command = [sys.executable, "-P", PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def connect(self) -> None:
        """Have it connect. Raises ``OSError`` where it cannot."""
        killing = threading.Timer(self._seconds, self.cut)
        killing.daemon = True
        killing.start()
        try:
            self._say(self._hello)
        finally:
            killing.cancel()

    def ask(self, query: str, values: Mapping[str, object]) -> list[Row]:
        return [Row(self._say(values))]

    def cut(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what it was not told any more
                pipe.close()

    def _say(self, said: Mapping[str, object]) -> dict[str, object]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(said).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise OSError("the process that asks it has ended, or took too long")
        answer: dict[str, object] = json.loads(line)
        if "error" in answer:
            raise OSError(str(answer["error"]))
        return answer


def _check(settings: LdapSettings) -> None:
    parts = urlsplit(settings.url)
    if parts.scheme not in ("ldap", "ldaps") or not parts.hostname or parts.username is not None:
        raise ConfigError(f"url: expected ldaps://host or ldap://host, got {printable(settings.url, 80)}")
    if parts.path not in ("", "/") or parts.query:
        raise ConfigError("url: the base is a setting of its own: base = ...")
    if settings.starttls and parts.scheme == "ldaps":
        raise ConfigError("starttls is for ldap://; ldaps:// speaks TLS from the beginning")
    is_private = parts.scheme == "ldaps" or settings.starttls or settings.allow_plain
    if not is_private and not is_private_call(settings.url):
        raise ConfigError(
            f"{settings.url}: others could read the passwords on their way: use ldaps://, or "
            "starttls = true; or, where that is meant, allow_plain = true"
        )
    if not settings.timeout > 0 or not settings.at_once > 0:
        raise ConfigError("timeout and at_once have to be more than 0")
    if USERNAME not in settings.filter:
        raise ConfigError("filter: it is the same for all clients; say {username} where the name belongs")
    if DN not in settings.group_filter:
        raise ConfigError(
            "group_filter: it is the same for all users; say {dn} where the entry's name belongs"
        )
    if (settings.bind_dn is None) != (settings.password_file is None and settings.password is None):
        raise ConfigError("bind_dn and password or password_file go together: give both, or none")


def _verdict(row: Mapping[str, object]) -> Verdict:
    """Raises ``ValueError``."""
    if row["result"] == UNKNOWN:
        return _unknown("there is no such user")
    if row["result"] != RIGHT:
        return _no("the directory does not let it bind")
    identity = row["identity"]
    assert isinstance(identity, list)
    if len(identity) != 1:
        raise ValueError("the attribute that says who it is has no value, or more than one")
    return Verdict(
        ACCEPT,
        identity=take_name(identity[0], "the attribute that says who it is"),
        groups=take_groups(row["groups"], "the list of groups"),
    )


def _no(why: str) -> Verdict:
    return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", why=why)


def _unknown(why: str) -> Verdict:
    return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", why=why, is_mine=False)
