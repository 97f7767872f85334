"""The window of a broker: opened and closed with it, in its event loop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import Final, Self

from curier.errors import ConfigError
from curier.loglines import logger
from curier.rereading import stamp_of
from curier.server import Broker
from curier.settings.web import DEFAULT_URL, parse_web
from curier.web import local, pages
from curier.web.administration import overview_of
from curier.web.app import application
from curier.web.binding import bound, is_loopback, url_of
from curier.web.events import OVERVIEW
from curier.web.guard import Guard
from curier.web.http import HttpServer
from curier.web.identity import Identities
from curier.web.routes import routes
from curier.web.scene import Keeper, Scene
from curier.web.table import Role
from curier.web.tls import WebTls
from curier.web.tokens import Known, Tokens, hash_of, new_token, read_tokens
from curier.web.wire import Wire

log = logger("curier.web")

OWNER: Final = Known("owner", Role.ADMIN)
"""Whoever may read the file beside the window, or has seen the terminal."""


class Web:
    """Pages, API and metrics of ``broker``, which has been started, at ``url``.

    ``may_be_next`` takes one of the next ports where that of ``url`` is in use. ``hosts`` are names that it
    may be called by, besides ``localhost`` and addresses. ``certificate`` and ``key`` are files, for
    ``https``. ``open_metrics`` lets everybody read ``/metrics`` who can reach it, as on loopback. ``tokens``
    is the file of who may ask the API, where there is one; ``beside`` is where the file for commands of this
    user is written while it is open (None: nowhere). ``keeper`` knows the settings.

    Raises ``ConfigError`` for a URL or files that cannot be; ``start`` raises ``OSError`` for an address that
    cannot be had. Starts and stops once; ``stop`` takes a second at most, whoever still reads.
    """

    def __init__(
        self,
        broker: Broker,
        url: str = DEFAULT_URL,
        *,
        may_be_next: bool = False,
        hosts: Sequence[str] = (),
        certificate: str | None = None,
        key: str | None = None,
        open_metrics: bool = False,
        tokens: Path | None = None,
        beside: Path | None = None,
        keeper: Keeper | None = None,
    ) -> None:
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
        self.scene = Scene(broker, keeper)
        self._wire = Wire(self.scene)
        more = [*routes(self.scene, self._identities, self._wire), *pages.routes()]
        is_open = open_metrics or is_loopback(host)
        app = application(broker, more, None if is_open else self._identities)
        self._server = HttpServer(Guard(app, hosts))
        self._sockets: list[socket] = []
        self.urls: list[str] = []
        """The real addresses, once it has started."""

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
        await self._server.start(self._sockets, self._tls.context if self._tls is not None else None)
        if self._tls is not None:
            self._tls.start()
        self.scene.history.on_sample = lambda _: self._tell()
        self.scene.history.start()
        self.scene.broker.core.add_hook(self.scene.hub)
        if self._beside is not None:
            self._write_local(self._beside)

    def _tell(self) -> None:
        """A second has passed."""
        hub = self.scene.hub
        if hub.wants(OVERVIEW):
            hub.tell(OVERVIEW, overview_of(self.scene))
        hub.tick()
        self.scene.bin.tick()

    def _write_local(self, where: Path) -> None:
        url = self.urls[0].replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        token = new_token()
        self._tokens.also[hash_of(token)] = OWNER
        port = self._sockets[0].getsockname()[1]
        try:
            self._local = local.write(
                local.Local(url, token, self._certificate or "", os.getpid()), port, where
            )
        except OSError as error:
            log.warning("%s: cannot be written, so curier admin needs a token: %s", where, error.strerror)

    def login_link(self) -> str:
        """A URL that logs whoever follows it in as admin: once, in the next ten minutes."""
        return f"{self.urls[0]}/login?once={self._identities.link(OWNER)}"

    async def stop(self) -> None:
        """Let nobody in any more, and end what is being answered."""
        if self._local is not None:
            with suppress(OSError):
                self._local.unlink()
        if self._tls is not None:
            self._tls.stop()
        self.scene.history.stop()
        self.scene.hub.close()
        self._wire.close()
        await self._server.stop()


class _TokenFile:
    """The tokens of a file, as it is now, and others beside them."""

    def __init__(self, path: Path | None) -> None:
        self.also: dict[str, Known] = {}
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
        return Tokens({**self._of_file, **self.also})
