"""Databases that are asked one question, in a few threads: bounded in time, in number, and after failures."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from curier.auth.under_way import Cuttable, UnderWay
from curier.errors import ConfigError, missing_package
from curier.loglines import printable

if TYPE_CHECKING:
    import psycopg

MOST_ROWS: Final = 2
"""That are looked at: more than one is too many."""

SHORTEST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Between two attempts to connect to a database that is not there, in seconds."""


_LATE: Final = "nobody waits for it any more"


class DatabaseFailed(Exception):
    """There is no answer; the text says why, and has no secret."""


class DatabaseBusy(DatabaseFailed):
    """As many wait as may."""


@dataclass(frozen=True)
class Row:
    """A row, by names of columns."""

    values: Mapping[str, object]


class Connection(Cuttable):
    """One connection. All may raise what the driver raises."""

    @abstractmethod
    def ask(self, query: str, values: Mapping[str, object]) -> list[Row]:
        """The first rows."""

    @abstractmethod
    def close(self) -> None:
        """It is not needed any more."""


class ConnectionOnSocket(Connection):
    """One whose driver waits for a socket, whatever it is told; when that has ended, it waits no more.

    ``close`` is the driver's, ``handle`` a duplicate of the socket.
    """

    def __init__(self, close: Callable[[], None], handle: socket.socket) -> None:
        self._close = close
        self._handle = handle

    def cut(self) -> None:
        self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._handle.close()
        self._close()


class Driver(ABC):
    """A kind of databases, and where one is. Raises ``ConfigError``."""

    @abstractmethod
    def connect(self, seconds: float) -> Connection:
        """A new connection, in that time."""

    @abstractmethod
    def why(self, error: Exception) -> str:
        """In words for the log."""


class SqlDriver(Driver):
    """One whose queries are SQL."""

    names_are_loose = False
    """Whether names that are not the same are alike to it, such as ``ana`` and ``ANA``."""

    @abstractmethod
    def marker(self, name: str) -> str:
        """How a query has the value of this name, which is passed apart from it."""

    def text(self, text: str) -> str:
        """All else of a query."""
        return text


class Database:
    """Asks in ``at_once`` threads, each of which keeps a connection; ``waiting`` more may wait for them. A
    question may take ``timeout`` seconds as a whole.

    A connection that has died is replaced at once. While none can be made, questions fail at once, and it is
    tried again with growing pauses.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        timeout: float,
        at_once: int,
        waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock: Final = clock
        self._driver: Final = driver
        self._timeout: Final = timeout
        self._most: Final = at_once + waiting
        self._pool: Final = ThreadPoolExecutor(at_once, "curier database")
        self._idle: Final[list[Connection]] = []
        self._open = 0
        self._pause = 0.0
        self._next_try = 0.0
        self._why = ""

    def __del__(self) -> None:
        for connection in getattr(self, "_idle", ()):
            with suppress(Exception):
                connection.close()

    async def ask(self, query: str, values: Mapping[str, object]) -> list[Row]:
        """The rows. Raises ``DatabaseFailed``. Cancelling it ends the question."""
        if self._open >= self._most:
            raise DatabaseBusy(f"{self._open} questions wait for the database already")
        job = UnderWay(self._clock, self._clock() + self._timeout)
        self._open += 1
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.get_running_loop().run_in_executor(
                    self._pool, self._do, job, query, values
                )
        except TimeoutError:
            raise DatabaseFailed(f"there is no answer after {self._timeout:g} s") from None
        finally:
            self._open -= 1
            job.give_up()

    # ---- in a thread ----

    def _do(self, job: UnderWay, query: str, values: Mapping[str, object]) -> list[Row]:
        try:
            kept = self._idle.pop()
        except IndexError:
            pass
        else:
            with suppress(Exception):  # it may have died since, and then a new one is asked
                return self._ask(kept, job, query, values)
        connection = self._connect(job)
        try:
            return self._ask(connection, job, query, values)
        except DatabaseFailed:
            raise
        except Exception as error:
            raise DatabaseFailed(printable(self._driver.why(error))) from None

    def _connect(self, job: UnderWay) -> Connection:
        if self._clock() < self._next_try:
            raise DatabaseFailed(self._why)
        left = job.left()
        if not left:
            raise DatabaseFailed(_LATE)
        try:
            connection = self._driver.connect(left)
        except DatabaseFailed:
            raise
        except Exception as error:
            self._why = printable(self._driver.why(error))
            self._pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, self._pause * 2))
            self._next_try = self._clock() + self._pause
            raise DatabaseFailed(self._why) from None
        self._pause = 0.0
        return connection

    def _ask(
        self, connection: Connection, job: UnderWay, query: str, values: Mapping[str, object]
    ) -> list[Row]:
        is_done = False
        try:
            if not job.begin(connection):
                raise DatabaseFailed(_LATE)
            rows = connection.ask(query, values)
            is_done = True
        finally:
            job.end()
            if is_done:
                self._idle.append(connection)
            else:
                with suppress(Exception):
                    connection.close()
        return rows


# ---- SQLite ----


class Sqlite(SqlDriver):
    """A file, which is only read."""

    def __init__(self, path: str) -> None:
        if not path.startswith("/") or not path.strip("/"):
            raise ConfigError("url: expected the whole path, as in sqlite:///var/lib/curier/users.db")
        self._path = "/" + path.lstrip("/")  # others write it with four

    def marker(self, name: str) -> str:
        return f":{name}"

    def connect(self, seconds: float) -> Connection:
        uri = f"file:{_quoted(self._path)}?mode=ro"
        return _SqliteConnection(
            sqlite3.connect(uri, timeout=seconds, check_same_thread=False, isolation_level=None, uri=True)
        )

    def why(self, error: Exception) -> str:
        return f"{self._path}: {error}"


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


class _SqliteConnection(Connection):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def ask(self, query: str, values: Mapping[str, object]) -> list[Row]:
        cursor = self._connection.execute(query, dict(values))
        try:
            return rows_of(cursor.description, cursor.fetchmany(MOST_ROWS))
        finally:
            cursor.close()

    def cut(self) -> None:
        self._connection.interrupt()

    def close(self) -> None:
        self._connection.close()


def rows_of(description: Sequence[Any] | None, rows: Sequence[Sequence[object]]) -> list[Row]:
    """Rows as cursors of Python's databases give them."""
    names = [str(column[0]) for column in description or ()]
    return [Row(dict(zip(names, row, strict=True))) for row in rows]


# ---- PostgreSQL ----


class Postgresql(SqlDriver):
    """A database at a URL, as libpq has it; ``password`` besides."""

    def __init__(self, url: str, password: str | None, timeout: float) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise missing_package(error, "a query to PostgreSQL") from error
        self._psycopg = psycopg
        self._url = url
        self._password = password
        self._timeout = timeout
        try:
            parts = urlsplit(url)
            said = parse_qs(parts.query)
        except ValueError as error:
            raise ConfigError(f"url: {error}") from None
        check_secrecy(unquote(parts.hostname or "") or said.get("host", [""])[0], "sslmode" in said)

    def marker(self, name: str) -> str:
        return f"%({name})s"

    def text(self, text: str) -> str:
        return text.replace("%", "%%")

    def connect(self, seconds: float) -> Connection:
        how: dict[str, Any] = {"password": self._password} if self._password is not None else {}
        return _PostgresqlConnection(
            self._psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=max(1, int(seconds)),
                options=f"-c statement_timeout={int(self._timeout * 1000)}",
                application_name="curier",
                **how,
            )
        )

    def why(self, error: Exception) -> str:
        if isinstance(error, self._psycopg.OperationalError) or error.__cause__ is not None:
            return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = getattr(getattr(error, "diag", None), "message_primary", None)
        return str(message or type(error).__name__)


def check_secrecy(host: str, is_said: bool) -> None:
    """Raise ``ConfigError`` where it is not said who may listen on the way to another machine."""
    is_here = host in ("", "localhost", "127.0.0.1", "::1") or host.startswith("/")
    if not is_here and not is_said:
        raise ConfigError(
            f"{host} is another machine: add ?sslmode=verify-full&sslrootcert=FILE to the url (or another "
            "sslmode, where that is meant), since what is sent there can be read and changed on its way"
        )


class _PostgresqlConnection(ConnectionOnSocket):
    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection.close, socket.socket(fileno=os.dup(connection.fileno())))
        self._connection = connection

    def ask(self, query: str, values: Mapping[str, object]) -> list[Row]:
        with self._connection.execute(query, values) as cursor:
            return rows_of(cursor.description, cursor.fetchmany(MOST_ROWS))
