"""From a URL to a connection that carries MQTT: TCP or Unix socket, proxy, TLS, WebSocket, in this order.

Whatever the way, the MQTT side gets an ``asyncio.Transport`` of plain MQTT bytes. Only what every event loop
has is used (asyncio's, on Windows too, and uvloop's).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Final, TypeVar

from curier.client.dialing.talk import Talk
from curier.client.dialing.tcp import connect_tcp
from curier.client.dialing.threads import in_thread
from curier.client.dialing.tls import TlsSettings, explain, make_context
from curier.client.urls import ProxyUrl, ServerUrl, parse_proxy_url
from curier.errors import ConfigError, ConnectionLost
from curier.frozen import dataclass

__all__ = ["DialSettings", "TlsSettings", "dial"]

P = TypeVar("P", bound=asyncio.Protocol)

TLS_SHUTDOWN_SECONDS: Final = 5.0
"""How long a server may take to answer the end of TLS, before its connection is closed without."""

log = logging.getLogger("curier.client")


@dataclass(frozen=True, slots=True)
class DialSettings:
    """How to connect, whatever the server.

    ``timeout``: seconds for everything together, from the look-up of the name to the WebSocket handshake.
    ``tls``: for ``mqtts://`` and ``wss://``; ``None``: ``TlsSettings()``; a context of your own is used as
    it is. ``proxy``: ``http://`` or ``socks5://``, with user and password if need be; for all but
    ``unix://``. ``websocket_headers``: names and values added to the handshake. ``max_frame_bytes``: the
    largest WebSocket frame taken. ``local_address``: where connections of TCP come from.
    ``happy_eyeballs_delay``: seconds after which the next address of a host is tried beside the one before
    (RFC 8305); ``None``: only when that has failed.
    """

    timeout: float = 10.0
    tls: ssl.SSLContext | TlsSettings | None = None
    proxy: str | None = field(default=None, repr=False)
    websocket_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    max_frame_bytes: int = 16 * 2**20
    local_address: str | None = None
    happy_eyeballs_delay: float | None = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.timeout < 1e9:
            raise ConfigError(f"the time to connect is a number of seconds above 0, not {self.timeout!r}")
        if self.max_frame_bytes < 1:
            raise ConfigError(f"max_frame_bytes is at least 1, not {self.max_frame_bytes!r}")
        if self.happy_eyeballs_delay is not None and not self.happy_eyeballs_delay >= 0:
            raise ConfigError(
                f"happy_eyeballs_delay is a number of seconds or None, not {self.happy_eyeballs_delay!r}"
            )
        if self.websocket_headers:
            from curier.net.websocket import check_headers

            check_headers(self.websocket_headers)
        if self.proxy is not None:
            parse_proxy_url(self.proxy)


def ignore(carrier: asyncio.Transport) -> None:
    """Have no need of it."""


async def dial(
    url: ServerUrl,
    settings: DialSettings,
    make: Callable[[], P],
    on_carrier: Callable[[asyncio.Transport], None] = ignore,
) -> tuple[asyncio.Transport, P]:
    """Connect to ``url`` and give the connection to the protocol that ``make`` makes. ``on_carrier`` is given
    the transport of the socket, whatever is built on it.

    Returns after the protocol's ``connection_made``. Raises ``ConnectionLost`` that says in plain words what
    went wrong (its ``__cause__`` is the error beneath), ``ConfigError`` for what can never work: files of
    certificates, TLS settings for a URL without TLS, a package that is not installed. Cancelling it, like any
    failure, closes the connection.
    """
    if settings.tls is not None and url.scheme in ("mqtt", "ws"):
        secure = "mqtts" if url.scheme == "mqtt" else "wss"
        raise ConfigError(
            f"{url} is not encrypted, but there are TLS settings: write {secure}://, or leave them out"
        )
    attempt = _Attempt(url, settings)
    try:
        async with asyncio.timeout(settings.timeout) as limit:
            return await attempt.run(make, on_carrier)
    except BaseException as error:
        attempt.abort()
        if isinstance(error, TimeoutError) and limit.expired():
            why = f"no connection to {url} within {settings.timeout:g} seconds: {attempt.step}"
            raise ConnectionLost(why, was_open=False) from error
        if isinstance(error, ConnectionLost):
            error.was_open = False
        raise


class _Attempt:
    """One call of ``dial``; ``step`` is what it is waiting for."""

    def __init__(self, url: ServerUrl, settings: DialSettings) -> None:
        self.url = url
        self.settings = settings
        self.step = ""
        self.proxy: ProxyUrl | None = None
        if settings.proxy is not None and url.scheme != "unix":
            self.proxy = parse_proxy_url(settings.proxy)
        self._socket: asyncio.Transport | None = None  # that of the socket, whatever is built on it

    def abort(self) -> None:
        """Close the connection without further words."""
        if self._socket is not None:
            self._socket.abort()

    async def run(
        self, make: Callable[[], P], on_carrier: Callable[[asyncio.Transport], None]
    ) -> tuple[asyncio.Transport, P]:
        url = self.url
        context = await self._context() if url.is_tls else None
        if url.scheme == "unix":
            transport, talk = await self._connect_unix()
        else:
            transport, talk = await self._connect()
        self._socket = transport
        on_carrier(transport)
        if self.proxy is not None:
            from curier.client.dialing.proxy import open_tunnel

            self.step = f"waiting for the proxy {self.proxy}"
            await open_tunnel(transport, talk, self.proxy, url.host, url.port)
        talk.peer = "the server"
        if context is not None:
            transport, talk = await self._secure(transport, talk, context)
        if url.is_websocket:
            return await self._open_websocket(transport, talk, make())
        protocol = make()
        talk.hand_over(transport, protocol)
        return transport, protocol

    async def _connect(self) -> tuple[asyncio.Transport, Talk]:
        """Connect to the server, or to the proxy before it."""
        target = self.proxy or self.url
        what = f"the proxy {target}" if self.proxy else str(target)
        self.step = f"nothing came back from {target.host}"
        settings = self.settings
        try:
            return await connect_tcp(
                target.host,
                target.port,
                settings.happy_eyeballs_delay,
                partial(Talk, what),
                settings.local_address,
            )
        except (OSError, BaseExceptionGroup, UnicodeError) as error:
            where = f" from {settings.local_address}" if settings.local_address is not None else ""
            why = _plain(error, target.host)
            raise ConnectionLost(f"cannot connect to {what}{where}: {why}") from error

    async def _connect_unix(self) -> tuple[asyncio.Transport, Talk]:
        loop = asyncio.get_running_loop()
        self.step = "the socket takes no connection"
        try:
            return await loop.create_unix_connection(partial(Talk, "the server"), self.url.path)
        except NotImplementedError as error:
            raise ConfigError(f"{self.url}: there are no Unix sockets here; use mqtt://localhost") from error
        except OSError as error:
            raise ConnectionLost(f"cannot connect to {self.url}: {_plain(error, '')}") from error

    async def _context(self) -> ssl.SSLContext:
        """What TLS needs; before anything is opened, so that a wrong file is told without a server."""
        tls = self.settings.tls if self.settings.tls is not None else TlsSettings()
        if isinstance(tls, ssl.SSLContext):
            return tls
        self.step = "reading certificates"
        return await in_thread(partial(make_context, tls))

    async def _secure(
        self, transport: asyncio.Transport, talk: Talk, context: ssl.SSLContext
    ) -> tuple[asyncio.Transport, Talk]:
        talk.check()
        talk.check_nothing_left()
        name = self.url.host
        if isinstance(self.settings.tls, TlsSettings):
            name = self.settings.tls.server_name or name
        if context.verify_mode == ssl.CERT_NONE:
            log.warning("%s: insecure: the server's certificate is not verified", self.url)
        self.step = "the server did not finish the TLS handshake"
        secured = Talk("the server")
        try:
            above = await asyncio.get_running_loop().start_tls(
                transport,
                secured,
                context,
                server_hostname=name.partition("%")[0],
                ssl_handshake_timeout=self.settings.timeout + 1.0,  # ours comes first
                ssl_shutdown_timeout=TLS_SHUTDOWN_SECONDS,
            )
        except (OSError, ssl.CertificateError) as error:
            raise ConnectionLost(explain(error, name, self.url.address)) from error
        if above is None:  # closed as soon as it was open
            raise ConnectionLost("the server closed the connection after the TLS handshake")
        secured.connection_made(above)
        return above, secured

    async def _open_websocket(
        self, transport: asyncio.Transport, talk: Talk, protocol: P
    ) -> tuple[asyncio.Transport, P]:
        from curier.net.websocket import ClientWebSocket  # most connections are without

        url = self.url
        websocket = ClientWebSocket(
            url.host,
            url.port,
            f"{url.path}?{url.query}" if url.query else url.path,
            secure=url.is_tls,
            headers=self.settings.websocket_headers,
            max_frame_bytes=self.settings.max_frame_bytes,
        )
        self.step = "the server did not finish the WebSocket handshake"
        talk.hand_over(transport, websocket)
        await websocket.opened()
        websocket.start(protocol)
        return websocket, protocol


def _plain(error: BaseException, host: str) -> str:
    """Say in plain words why there is no connection."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_plain(each, host) for each in error.exceptions))
    if isinstance(error, socket.gaierror):
        return f"the name {host} is not known here ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: nobody listens there"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket"
    if isinstance(error, UnicodeError):
        return f"{host} cannot be the name of a host"
    assert isinstance(error, OSError)
    return (error.strerror or str(error) or type(error).__name__).lower()
