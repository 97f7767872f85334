"""Users in a database, found by a query of whoever runs the broker."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final
from urllib.parse import unquote, urlsplit

from curier.auth.base import ACCEPT, NOT_MINE, Authenticator, Credentials, Verdict
from curier.auth.databases import Database, DatabaseBusy, DatabaseFailed, Postgresql, Row, SqlDriver, Sqlite
from curier.auth.facts import read_password, take_claim, take_groups, take_name, take_time
from curier.auth.hashes import CheckError, default_cost, hash_of_nobody, is_hash, why_too_costly
from curier.auth.line import Full
from curier.auth.mysql import Mysql
from curier.auth.passwords import Passwords
from curier.auth.shares import Shares, ShareTaken
from curier.errors import ConfigError
from curier.loglines import printable
from curier.places import place_of
from curier.types import ReasonCode

PLACEHOLDERS: Final = ("username", "client_id", "address", "listener", "certificate_name")
MOST_WAITING: Final = 1000
CLAIM: Final = "claim_"

_PARTS: Final = re.compile(
    r"""
    (?P<quoted> '(?:[^']|'')*' | "(?:[^"]|"")*" | (?P<tag>\$\w*\$).*?(?P=tag)
              | --[^\n]* | /\*.*?\*/ )
    | \{(?P<name>[^{}]*)\}
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class SqlSettings:
    """Where the database is, and what it is asked.

    ``url`` is ``sqlite:///path``, ``postgresql://user@host/database``, or ``mysql://user@host/database``;
    ``password`` is that of the broker there, or ``password_file`` has it. ``query`` gives one row for a user,
    whose column ``password`` is a hash; {username} and the other ``PLACEHOLDERS`` in it are passed apart from
    it, or so that they cannot become part of it. ``timeout`` is for a login's question as a whole, in
    seconds; ``at_once`` is how many are asked at a time.
    """

    url: str
    query: str
    password: str | None = field(default=None, repr=False)
    password_file: str | None = None
    timeout: float = 5.0
    at_once: int = 4


class SqlAuthenticator(Authenticator):
    """Accepts clients whose password fits the hash that a query finds, as password files have them.

    No row: it does not know the client. More than one, or one that makes no sense, and a database that does
    not answer, are a no (0x88). Passwords are never sent to the database. Raises ``ConfigError``.
    """

    def __init__(self, settings: SqlSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings: Final = settings
        if not settings.timeout > 0 or not settings.at_once > 0:
            raise ConfigError("timeout and at_once have to be more than 0")
        driver = _driver(settings)
        self._query: Final = prepared(settings.query, driver)
        self._needs_identity: Final = driver.names_are_loose
        self._database: Final = Database(
            driver, timeout=settings.timeout, at_once=settings.at_once, waiting=MOST_WAITING
        )
        self._passwords: Final = Passwords(clock)
        self._shares: Final = Shares()
        self._nobody: Final = hash_of_nobody(default_cost())

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"sql ({urlsplit(self.settings.url).scheme})"

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT."""
        username, password = credentials.username, credentials.password
        if username is None or password is None or credentials.authentication_method is not None:
            return NOT_MINE
        place = place_of(credentials.address)
        try:
            with self._shares.one_of(place):
                rows = await self._database.ask(self._query, _values(credentials, place))
                encoded, verdict = _found(rows, username, self._needs_identity)
                if not self.hides_names and not verdict.is_mine:
                    return verdict  # and nothing is counted against the address of the next one's user
                if not await self._passwords.fits(place, username, password, encoded or self._nobody):
                    return _no("the password is wrong") if encoded is not None else verdict
                return verdict
        except (ShareTaken, DatabaseBusy) as error:
            return _busy(str(error))
        except Full:
            return _busy("too many logins are waiting")
        except (DatabaseFailed, ValueError, CheckError) as error:
            why = printable(str(error))
            return Verdict(ReasonCode.SERVER_UNAVAILABLE, "authentication is not available", why=why)


def prepared(query: str, driver: SqlDriver) -> str:
    """The query as the driver takes it. Raises ``ConfigError``."""
    found: list[str] = []
    names: set[str] = set()
    for part in _PARTS.finditer(query):
        name, quoted = part["name"], part["quoted"]
        if quoted is not None:
            inside = re.search(r"\{(\w+)\}", quoted)
            if inside is not None and inside[1] in PLACEHOLDERS:
                raise ConfigError(
                    f"query: {inside[0]} stands in quotes or in a comment; values are passed apart from the "
                    "query, so leave the quotes out"
                )
            found.append(driver.text(quoted))
        elif name is None:
            found.append(driver.text(part["other"]))
        elif name in PLACEHOLDERS:
            names.add(name)
            found.append(driver.marker(name))
        else:
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise ConfigError(f"query: {{{printable(name, 40)}}} is not known; there are {known}")
    if not names.intersection(("username", "client_id", "certificate_name")):
        raise ConfigError("query: it is the same for all clients; say {username} where the name belongs")
    return "".join(found)


def _driver(settings: SqlSettings) -> SqlDriver:
    scheme, _, rest = settings.url.partition("://")
    if scheme == "sqlite":
        if settings.password_file is not None or settings.password is not None:
            raise ConfigError("password, password_file: for databases that ask for one, not for SQLite")
        return Sqlite(unquote(rest))
    if scheme in ("postgresql", "postgres"):
        return Postgresql(
            settings.url, read_password(settings.password_file, settings.password), settings.timeout
        )
    if scheme in ("mysql", "mariadb"):
        return Mysql(settings.url, read_password(settings.password_file, settings.password), settings.timeout)
    raise ConfigError("url: expected sqlite:///path, or postgresql:// or mysql://user@host/database")


def _values(credentials: Credentials, place: str) -> dict[str, object]:
    return {
        "username": credentials.username,
        "client_id": credentials.client_id,
        "address": credentials.address.rpartition(":")[0].strip("[]") if "/" in place else place,
        "listener": credentials.listener_name or credentials.listener,
        "certificate_name": credentials.certificate_name,
    }


def _found(rows: list[Row], username: str, needs_identity: bool) -> tuple[str | None, Verdict]:
    """The hash, or None, and the verdict for whoever has the password. Raises ``ValueError``."""
    if not rows:
        return None, _unknown("there is no such user")
    if len(rows) > 1:
        raise ValueError("the query gives more than one row")
    row = rows[0].values
    if "password" not in row:
        raise ValueError("the query gives no column named password")
    encoded = row["password"]
    if isinstance(encoded, bytes | memoryview):
        encoded = bytes(encoded).decode("ascii", "replace")
    if encoded is None:
        return None, _no("it has no password")
    if not isinstance(encoded, str) or not is_hash(encoded):
        raise ValueError("the column password is no hash as curier passwd makes them")
    if why := why_too_costly(encoded):
        raise ValueError(f"the column password: {why}")
    identity, end = row.get("identity"), row.get("expires_at")
    if identity is None and needs_identity:
        raise ValueError("the query gives no identity, and names are alike to MySQL that are not the same")
    return encoded, Verdict(
        ACCEPT,
        identity=username if identity is None else take_name(identity, "identity"),
        groups=take_groups(_plain(row.get("groups")), "groups"),
        claims=_claims(row),
        expires_at=None if end is None else take_time(_plain(end), "expires_at"),
    )


def _claims(row: Mapping[str, object]) -> dict[str, str]:
    found = {name.removeprefix(CLAIM): value for name, value in row.items() if name.startswith(CLAIM)}
    return {name: take_claim(_plain(value), name) for name, value in found.items() if value is not None}


def _plain(value: object) -> object:
    """What databases have besides, as a number."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a point in time has no time zone")
        return value.timestamp()
    return float(value) if isinstance(value, Decimal) else value


def _no(why: str) -> Verdict:
    return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", why=why)


def _unknown(why: str) -> Verdict:
    return Verdict(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", why=why, is_mine=False)


def _busy(why: str) -> Verdict:
    return Verdict(ReasonCode.SERVER_BUSY, "too many logins are waiting", why=why)
