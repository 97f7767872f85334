"""Calls over HTTP that end: bounded in time as a whole, in size, and in how many there are at once.

They are made in threads with the standard library, so the event loop has nothing of them. Redirects are not
followed, and variables such as ``https_proxy`` are not looked at: the URL that was configured is the one that
is asked.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from curier.auth.under_way import Cuttable, UnderWay
from curier.errors import ConfigError


class CallFailed(Exception):
    """There is no answer; the text says why, and has nothing of what was asked."""


class TooManyCalls(CallFailed):
    """As many wait as may; it may be otherwise in a moment."""


@dataclass(frozen=True)
class Answered:
    """An answer: its status, headers (names in small letters) and body."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


class Calls:
    """Calls of one URL.

    ``timeout`` is for a call as a whole, in seconds, with the time that it waits for one of ``at_once``
    threads; as many as ``waiting`` may wait so. An answer has ``most_bytes`` at most. With ``https`` the
    server's certificate is verified, against ``ca_file`` where that is given; ``certificate`` and ``key`` are
    ours, for servers that ask for one. Raises ``ConfigError``.

    Connections are kept open for the next call; one that has died meanwhile is replaced, once in a call.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        at_once: int = 4,
        waiting: int = 1000,
        most_bytes: int = 64 * 1024,
        ca_file: str | None = None,
        certificate: str | None = None,
        key: str | None = None,
    ) -> None:
        self.url: Final = url
        self._timeout: Final = timeout
        self._most: Final = at_once + waiting
        self._most_bytes: Final = most_bytes
        self._where, self._path = _place(url)
        self._context = _context(ca_file, certificate, key) if self._where.is_secure else None
        if self._context is None and (ca_file or certificate or key):
            raise ConfigError(f"{shown(url)}: certificates are for https:// only")
        self._pool: Final = ThreadPoolExecutor(at_once, "curier call")
        self._idle: Final[list[_Connection]] = []  # open, and nobody's
        self._open = 0

    def __del__(self) -> None:
        for connection in getattr(self, "_idle", ()):
            connection.close()

    async def call(self, method: str, headers: dict[str, str], body: bytes | None = None) -> Answered:
        """The answer, whatever its status. Raises ``CallFailed``. Cancelling it ends the call."""
        if self._open >= self._most:
            raise TooManyCalls(f"{self._open} calls wait for an answer already")
        asked = _Asked(method, headers, body)
        job = UnderWay(time.monotonic, time.monotonic() + self._timeout)
        self._open += 1
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.get_running_loop().run_in_executor(self._pool, self._do, job, asked)
        except TimeoutError:
            raise CallFailed(f"there is no whole answer after {self._timeout:g} s") from None
        finally:
            self._open -= 1
            job.give_up()

    # ---- in a thread ----

    def _do(self, job: UnderWay, asked: _Asked) -> Answered:
        try:
            kept = self._idle.pop()
        except IndexError:
            pass
        else:
            try:
                return self._ask(kept, job, asked)
            except (http.client.HTTPException, OSError):  # the server had closed it, as it may
                kept.close()
        connection = _Connection(self._where, self._context)
        try:
            return self._ask(connection, job, asked)
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise CallFailed(_why(error)) from None

    def _ask(self, connection: _Connection, job: UnderWay, asked: _Asked) -> Answered:
        is_whole = False
        try:
            left = job.begin(connection)
            if not left:
                raise CallFailed("nobody waits for it any more")
            connection.allow(left)
            connection.request(asked.method, self._path, asked.body, asked.headers)
            response = connection.getresponse()
            body = response.read(self._most_bytes + 1)
            if len(body) > self._most_bytes:
                raise CallFailed(f"the answer has more than {self._most_bytes} bytes")
            is_whole = True
        finally:
            job.end()
            if not is_whole:
                connection.close()
        if response.will_close or not response.isclosed():
            connection.close()
        else:
            self._idle.append(connection)
        return Answered(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


@dataclass(frozen=True)
class _Where:
    host: str
    port: int
    is_secure: bool


@dataclass(frozen=True)
class _Asked:
    method: str
    headers: dict[str, str]
    body: bytes | None = field(repr=False)


class _Connection(http.client.HTTPConnection, Cuttable):
    """One that can be cut from another thread, whatever it is at; TLS too, where there is a context."""

    def __init__(self, where: _Where, context: ssl.SSLContext | None) -> None:
        super().__init__(where.host, where.port)
        self._context = context
        self._handle: socket.socket | None = None

    def allow(self, seconds: float) -> None:
        """So long for each step; for all of them together there is ``cut``."""
        self.timeout = seconds
        if self.sock is not None:
            self.sock.settimeout(seconds)

    def connect(self) -> None:
        self.sock = socket.create_connection((self.host, self.port), self.timeout)
        self._handle = self.sock.dup()  # since what is wrapped by TLS is another object, which comes too late
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)

    def close(self) -> None:
        super().close()
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def cut(self) -> None:
        """Have whoever waits for it wait no more."""
        handle = self._handle
        if handle is not None:
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is gone already
                pass


def _place(url: str) -> tuple[_Where, str]:
    """Where to connect to, and what to ask for there. Raises ``ConfigError``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{shown(url)}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{shown(url)}: expected a URL such as https://example.org/path")
    if parts.username is not None or parts.fragment:
        raise ConfigError(f"{shown(url)}: a URL that is called has no user name, no password and no #")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{shown(url)}: a URL has no blanks, and %xx for all that is not ASCII")
    is_secure = parts.scheme == "https"
    path = parts.path or "/"
    where = _Where(parts.hostname, port or (443 if is_secure else 80), is_secure)
    return where, f"{path}?{parts.query}" if parts.query else path


def is_private_call(url: str) -> bool:
    """Whether nobody on a network can read what is said, or change it: TLS, or on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """A URL for an error or a log: without user name, password and query, which may be secrets."""
    head, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _context(ca_file: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    if (certificate is None) != (key is None):
        raise ConfigError("certificate and key go together: give both, or none")
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate is not None:
            context.load_cert_chain(certificate, key, _no_password)
    except OSError as error:  # that of ssl is one, too
        files = ", ".join(file for file in (ca_file, certificate, key) if file)
        raise ConfigError(f"{files}: {error.strerror or error}") from None
    return context


def _no_password() -> str:
    """Instead of asking at a terminal."""
    return ""


def _why(error: Exception) -> str:
    """Plain words; never what was sent, which may be in an error's text."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closes the connection without an answer"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return f"it does not answer as HTTP has it ({type(error).__name__})"
