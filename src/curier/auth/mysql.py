"""MySQL and MariaDB, which are asked by the threads of ``databases``.

What a stranger says stands in a query as hexadecimal digits, ``X'616e61'``: whatever the ``sql_mode`` of the
server makes of quotes and backslashes, it stays a text.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from curier.auth.databases import (
    MOST_ROWS,
    Connection,
    ConnectionOnSocket,
    Row,
    SqlDriver,
    check_secrecy,
    rows_of,
)
from curier.errors import ConfigError, missing_package

if TYPE_CHECKING:
    import pymysql

PORT: Final = 3306
_OPTIONS: Final = ("unix_socket", "sslmode", "sslrootcert", "sslcert", "sslkey")
_MODES: Final = ("disable", "require", "verify-ca", "verify-full")


class Mysql(SqlDriver):
    """A database at ``mysql://user@host/database``; ``password`` besides.

    TLS is asked for with the words of libpq: ``sslmode`` and what belongs to it.
    """

    names_are_loose = True

    def __init__(self, url: str, password: str | None, timeout: float) -> None:
        try:
            import pymysql
        except ImportError as error:
            raise missing_package(error, "a query to MySQL") from error
        self._pymysql: Final = pymysql
        self._timeout: Final = timeout
        try:
            parts = urlsplit(url)
            self._port: Final = parts.port or PORT
            said = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise ConfigError(f"url: {error}") from None
        self._how: Final = dict(said)
        self._host: Final = unquote(parts.hostname or "")
        self._check(parts)
        self._user: Final = unquote(parts.username or "")
        self._database: Final = unquote(parts.path.removeprefix("/"))
        self._password: Final = password if password is not None else unquote(parts.password or "")
        self._tls: Final = _context(self._how)

    def _check(self, parts: SplitResult) -> None:
        for name in self._how:
            if name not in _OPTIONS:
                raise ConfigError(f"url: {name} is not known; there are {', '.join(_OPTIONS)}")
        if bool(self._host) == ("unix_socket" in self._how):
            raise ConfigError("url: expected a host, as in mysql://user@host/database, or ?unix_socket=PATH")
        if not parts.username or not parts.path.strip("/"):
            raise ConfigError("url: expected a user and a database, as in mysql://user@host/database")
        check_secrecy(self._host, "sslmode" in self._how)

    def marker(self, name: str) -> str:
        return f"%({name})s"

    def text(self, text: str) -> str:
        return text.replace("%", "%%")

    def connect(self, seconds: float) -> Connection:
        connection: pymysql.Connection[Any] = self._pymysql.connect(
            host=self._host or None,
            user=self._user,
            password=self._password,
            database=self._database,
            charset="utf8mb4",
            autocommit=True,
            read_timeout=self._timeout,
            write_timeout=self._timeout,
            ssl=self._tls,
            ssl_disabled=self._tls is None,
            program_name="curier",
            defer_connect=True,
        )
        plain = self._dial(seconds)
        handle = plain.dup()  # since what is wrapped by TLS is another object
        try:
            connection.connect(plain)
            version = str(cast(Any, connection).get_server_info())
            with connection.cursor() as cursor:
                cursor.execute(_bounds(version, self._timeout))
        except BaseException:
            handle.close()
            with suppress(Exception):
                connection.close()
            raise
        return _MysqlConnection(connection, handle)

    def _dial(self, seconds: float) -> socket.socket:
        path = self._how.get("unix_socket")
        if path is None:
            found = socket.create_connection((self._host, self._port), seconds)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return found
        found = socket.socket(socket.AF_UNIX)
        try:
            found.settimeout(seconds)
            found.connect(path)
        except BaseException:
            found.close()
            raise
        return found

    def why(self, error: Exception) -> str:
        if isinstance(error, self._pymysql.MySQLError) and len(error.args) > 1:
            return f"{error.args[1]} ({error.args[0]})"
        return str(error) or type(error).__name__


class _MysqlConnection(ConnectionOnSocket):
    def __init__(self, connection: pymysql.Connection[Any], handle: socket.socket) -> None:
        super().__init__(connection.close, handle)
        self._connection = connection

    def ask(self, query: str, values: Mapping[str, object]) -> list[Row]:
        with self._connection.cursor() as cursor:
            cursor.execute(query % {name: _literal(value) for name, value in values.items()})
            return rows_of(cursor.description, cursor.fetchmany(MOST_ROWS))


def _literal(value: object) -> str:
    return "NULL" if value is None else f"_utf8mb4 X'{str(value).encode().hex()}'"


def _bounds(version: str, seconds: float) -> str:
    """What a query may take there, whatever it is: time, which the two count in other units, and rows."""
    time = (
        f"max_statement_time = {seconds:f}"
        if "MariaDB" in version
        else f"max_execution_time = {int(seconds * 1000)}"
    )
    return f"SET SESSION sql_select_limit = {MOST_ROWS}, {time}"


def _context(how: Mapping[str, str]) -> ssl.SSLContext | None:
    mode = how.get("sslmode", "disable")
    if mode not in _MODES:
        raise ConfigError(f"url: sslmode is one of {', '.join(_MODES)}, not {mode!r}")
    certificate, key, roots = how.get("sslcert"), how.get("sslkey"), how.get("sslrootcert")
    if mode == "disable":
        if certificate or key or roots:
            raise ConfigError("url: certificates are for another sslmode than disable")
        return None
    if (certificate is None) != (key is None):
        raise ConfigError("url: sslcert and sslkey go together: give both, or none")
    try:
        context = ssl.create_default_context(cafile=None if roots in (None, "system") else roots)
        if certificate is not None:
            context.load_cert_chain(certificate, key, lambda: "")  # instead of asking at a terminal
    except OSError as error:  # that of ssl is one, too
        files = ", ".join(one for one in (roots, certificate, key) if one)
        raise ConfigError(f"url: {files}: {error.strerror or error}") from None
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_NONE if mode == "require" else ssl.CERT_REQUIRED
    return context
