"""The window of a broker: opened and closed with it, in its event loop.

Most brokers run for weeks and are looked at now and then. So what answers requests (``serving``, with
Starlette, uvicorn and all that stands on them) is loaded when the first one comes. The window listens from
the start; until all is there a connection waits in the kernel.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from curier.errors import ConfigError, missing_package
from curier.listeners import Network
from curier.loglines import logger
from curier.rereading import in_thread, stamp_of
from curier.server import Broker
from curier.settings.web import DEFAULT_URL, parse_web
from curier.web import local
from curier.web.binding import bound, is_loopback, url_of
from curier.web.history import History
from curier.web.identity import Identities
from curier.web.keeper import Keeper
from curier.web.people import People
from curier.web.roles import Role
from curier.web.tls import WebTls
from curier.web.tokens import Known, Tokens, hash_of, new_token, read_tokens

if TYPE_CHECKING:
    from curier.web.scene import Scene
    from curier.web.serving import Serving

log = logger("curier.web")

PACKAGES: Final = ("starlette", "uvicorn", "h11", "msgspec")

OWNER: Final = Known("owner", Role.ADMIN)
"""Whoever may read the file beside the window, or has seen the terminal."""


def lacking() -> ConfigError | None:
    """Which package of ``curier[web]`` is not there, and the way out; None: all are."""
    for package in PACKAGES:
        if find_spec(package) is None:
            return missing_package(ImportError(name=package), "the window (pages, API, metrics)")
    return None


class Web:
    """Pages, API and metrics of ``broker``, which has been started, at ``url``.

    ``may_be_next`` takes one of the next ports where that of ``url`` is in use. ``hosts`` are names that it
    may be called by, besides ``localhost`` and addresses; ``prefix`` is a path that a proxy adds and does not
    take away; ``proxies`` are networks of those that are believed when they say who asks. ``certificate`` and
    ``key`` are files, for ``https``. ``open_metrics`` lets everybody read ``/metrics`` who can reach it, as
    on loopback. ``tokens`` is the file of who may ask the API, where there is one; ``beside`` is where the
    file for commands of this user is written while it is open (None: nowhere). ``keeper`` knows the settings,
    ``people`` which users of the broker may log in; it is called for each request of theirs.

    Raises ``ConfigError`` for a package, a URL or files that cannot be; ``start`` raises ``OSError`` for an
    address that cannot be had. Starts and stops once; ``stop`` takes a second at most, whoever still reads.
    """

    def __init__(
        self,
        broker: Broker,
        url: str = DEFAULT_URL,
        *,
        may_be_next: bool = False,
        hosts: Sequence[str] = (),
        prefix: str = "",
        proxies: tuple[Network, ...] = (),
        certificate: str | None = None,
        key: str | None = None,
        open_metrics: bool = False,
        tokens: Path | None = None,
        beside: Path | None = None,
        keeper: Keeper | None = None,
        people: Callable[[], People] = People,
    ) -> None:
        missing = lacking()
        if missing is not None:
            raise missing
        try:
            self._scheme, host, _ = parse_web(url)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self._url = url
        self._may_be_next = may_be_next
        self._certificate = certificate
        self._tls = WebTls(url, certificate, key) if self._scheme == "https" else None
        self._tokens = _TokenFile(tokens)
        self._beside = beside
        self._local: Path | None = None
        self._identities = Identities(self._tokens.now)
        self._broker = broker
        self._hosts = hosts
        self._prefix = prefix.rstrip("/")
        self._proxies = proxies
        self._keeper = keeper
        self._people = people
        self._has_open_metrics = open_metrics or is_loopback(host)
        self._history = History(broker)
        self._sockets: list[socket] = []
        self._looked_at: list[socket] = []
        self._loading: asyncio.Task[None] | None = None
        self.serving: Serving | None = None
        """What answers requests, from the first one on."""
        self.urls: list[str] = []
        """The real addresses, once it has started."""

    @property
    def scene(self) -> Scene:
        """What is asked about, once somebody has asked."""
        assert self.serving is not None
        return self.serving.scene

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        self._sockets = await bound(self._url, self._may_be_next)
        self.urls = [url_of(self._scheme, sock) for sock in self._sockets]
        if self._tls is not None:
            self._tls.start()
        self._history.start()
        if self._beside is not None:
            self._write_local(self._beside)
        loop = asyncio.get_running_loop()
        try:
            for sock in self._sockets:
                loop.add_reader(sock, self._somebody_comes)
                self._looked_at.append(sock)
        except NotImplementedError:  # a loop that does not tell: that of Windows
            self._somebody_comes()

    def _somebody_comes(self) -> None:
        """The first connection waits."""
        self._look_no_more()
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())

    def _look_no_more(self) -> None:
        loop = asyncio.get_running_loop()
        while self._looked_at:
            loop.remove_reader(self._looked_at.pop())

    async def _load(self) -> None:
        """Begin to answer. What takes long is done in a thread: the broker's loop is not stopped for it."""
        try:
            serving = await in_thread("window", self._made)
            await serving.start(self._sockets, self._tls.context if self._tls is not None else None)
            self.serving = serving
        except Exception:  # a package that cannot be loaded
            log.exception("the window cannot be opened")
            self._close_sockets()

    def _made(self) -> Serving:
        from curier.web.serving import Serving  # a tenth of a second, and 9 MiB

        return Serving(
            self._broker,
            self._history,
            self._identities,
            self._keeper,
            self._people,
            hosts=self._hosts,
            prefix=self._prefix,
            proxies=self._proxies,
            has_open_metrics=self._has_open_metrics,
        )

    def _write_local(self, where: Path) -> None:
        token = new_token()
        self._tokens.of_owner = token
        port = self._sockets[0].getsockname()[1]
        try:
            self._local = local.write(
                local.Local(self._here(), token, self._certificate or "", os.getpid()), port, where
            )
        except OSError as error:
            log.warning("%s: cannot be written, so curier admin needs a token: %s", where, error.strerror)

    def login_link(self) -> str:
        """A URL that logs whoever follows it in as admin: once, in the next ten minutes."""
        return f"{self._here()}/login?once={self._identities.link(OWNER)}"

    def _here(self) -> str:
        """Where this machine finds it, when it listens on all addresses."""
        return self.urls[0].replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

    async def stop(self) -> None:
        """Let nobody in any more, and end what is being answered."""
        if self._local is not None:
            with suppress(OSError):
                self._local.unlink()
        if self._tls is not None:
            self._tls.stop()
        self._history.stop()
        self._look_no_more()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        if self.serving is not None:
            await self.serving.stop()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()


class _TokenFile:
    """The tokens of a file, as it is now, and that of the owner beside them."""

    def __init__(self, path: Path | None) -> None:
        self.of_owner = ""
        self._path = path
        self._stamp: object = None
        self._of_file: dict[str, Known] = {}
        self.now()

    def now(self) -> Tokens:
        """All of them. A file that is wrong leaves those of before; the log says so."""
        stamp = stamp_of(self._path) if self._path is not None else None
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._of_file = read_tokens(self._path) if self._path is not None and stamp else {}
            except ConfigError as error:
                log.error("%s; the tokens before this change stay valid", error)
        of_owner = {hash_of(self.of_owner): OWNER} if self.of_owner else {}
        return Tokens({**self._of_file, **of_owner})
