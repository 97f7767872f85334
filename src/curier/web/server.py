"""The window of a broker: opened and closed with it, in its event loop."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from socket import socket
from types import TracebackType
from typing import Self

from curier.errors import ConfigError
from curier.server import Broker
from curier.settings.web import DEFAULT_URL, parse_web
from curier.web.app import application
from curier.web.binding import bound, is_loopback, url_of
from curier.web.guard import Guard
from curier.web.http import HttpServer


class Web:
    """Pages, API and metrics of ``broker``, which has been started, at ``url``.

    ``may_be_next`` takes one of the next ports where that of ``url`` is in use. ``hosts`` are names that it
    may be called by, besides ``localhost`` and addresses. ``certificate`` and ``key`` are files, for
    ``https``. ``open_metrics`` lets everybody read ``/metrics`` who can reach it, as on loopback.

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
    ) -> None:
        try:
            self._scheme, host, _ = parse_web(url)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self._url = url
        self._may_be_next = may_be_next
        self._context = _context(certificate, key) if self._scheme == "https" else None
        app = application(broker, open_metrics=open_metrics or is_loopback(host))
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
        await self._server.start(self._sockets, self._context)

    async def stop(self) -> None:
        """Let nobody in any more, and end what is being answered."""
        await self._server.stop()


def _context(certificate: str | None, key: str | None) -> ssl.SSLContext:
    if certificate is None or key is None:
        raise ConfigError("https needs a certificate and its key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the certificate {certificate} with the key {key} cannot be used: {error}"
        ) from None
    return context
