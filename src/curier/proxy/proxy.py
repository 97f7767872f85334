"""The proxy: it listens, and joins each client that comes with a connection of its own to the broker."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from curier.client.dial import DialSettings, dial
from curier.client.dialing.tls import TlsSettings
from curier.client.urls import ServerUrl, parse_server_url
from curier.errors import ConfigError
from curier.faults.line import Faults
from curier.frozen import dataclass
from curier.listeners import Listener, parse_listen
from curier.net.clock import Clock
from curier.net.doors import Door, check_doors, entrances_of
from curier.net.listening import open_listener
from curier.net.passed import Passed
from curier.net.socket_file import SocketFile
from curier.proxy.ends import ClientEnd, End, Meeting
from curier.proxy.headers import proxy_header
from curier.proxy.joint import Joint
from curier.trace.events import Event, Wire

log = logging.getLogger("curier.proxy")

MOST_CONNECTIONS = 1000

_MEANT = {"tcp": "mqtt", "tls": "mqtts", "ssl": "mqtts"}


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How to stand between: each side is set apart.

    ``listen``: where clients connect, a URL as of a broker's listener, or a ``Listener`` with certificates
    and all else that one has. ``target``: the broker's URL. ``dial``: how to connect to it. ``key_log``: a
    file to which the keys of TLS on both sides are appended (for Wireshark): whoever has it can read the
    connections. ``header``: which version of the PROXY protocol tells the broker for whom a connection is
    made, 0 for none. ``max_connections``: at once.
    """

    listen: Listener
    target: ServerUrl
    dial: DialSettings = DialSettings()
    key_log: Path | None = None
    header: Literal[0, 1, 2] = 0
    max_connections: int = MOST_CONNECTIONS


def settings_for(listen: str | Listener, target: str, **more: Any) -> ProxySettings:
    """Settings from two URLs; the target's may begin with ``tcp://`` or ``tls://`` as well.

    Raises ``ConfigError``.
    """
    listener = Listener(listen) if isinstance(listen, str) else listen
    scheme, separator, rest = target.partition("://")
    url = parse_server_url(f"{_MEANT.get(scheme.lower(), scheme)}{separator}{rest}")
    settings = ProxySettings(listener, url, **more)
    check_doors([listener])
    if settings.header not in (0, 1, 2):
        raise ConfigError(
            f"there is no version {settings.header!r} of the PROXY protocol: 1 or 2, or 0 for none"
        )
    if settings.dial.tls is not None and not url.is_tls:
        raise ConfigError(
            f"{url} is not encrypted, but there are TLS settings for it: write tls:// or wss://"
        )
    if url.username is not None or url.password is not None:
        raise ConfigError(f"{url}: clients bring user and password themselves; leave them out here")
    return settings


class Proxy:
    """Listens from ``start`` until ``close``, or within ``async with``. ``tell`` is given each Event.

        async with Proxy(settings_for("tcp://127.0.0.1:0", "tcp://127.0.0.1:1883"), tell=print) as proxy:
            print(proxy.url)

    ``faults`` may be changed at any time. Each packet goes on when it is whole, or has 1 MiB; what is no MQTT
    goes on as it comes.
    """

    def __init__(
        self, settings: ProxySettings, *, faults: Faults | None = None, tell: Callable[[Event], None]
    ) -> None:
        self.settings = settings
        self.faults = faults if faults is not None else Faults()
        self.urls: list[str] = []
        self._tell = tell
        self._clock = Clock()
        self.faults.clock = self._clock.now
        self._joints: set[Joint] = set()
        self._servers: list[asyncio.Server] = []
        self._files: list[SocketFile] = []
        self._number = 0
        self._dial_settings = settings.dial

    @property
    def url(self) -> str:
        """Where it listens: the first URL, with the port as bound."""
        return self.urls[0]

    @property
    def port(self) -> int:
        """The port of that; 0 for a Unix socket."""
        return parse_listen(self.url).port

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._joints)

    async def start(self) -> None:
        """Listen. Raises ``ConfigError``, and ``OSError`` for people."""
        settings, listener = self.settings, self.settings.listen
        (entrance,) = entrances_of([listener])
        certificates = None
        if listener.address.is_secure:
            from curier.net.certificates import Certificates  # which needs packages that TLS alone needs

            certificates = Certificates(listener)
            if settings.key_log is not None:
                _log_keys(certificates.context(), settings.key_log)
        self._dial_settings = self._keyed(settings.dial)
        for opened in await open_listener(listener, Passed()):
            url = str(opened.address)
            door = Door(url, listener, entrance, certificates)
            server = await asyncio.get_running_loop().create_server(
                partial(ClientEnd, door, partial(self._join, url)), sock=opened.sock
            )
            self._servers.append(server)
            self.urls.append(url)
            self._files += [opened.file] if opened.file is not None else []

    def _keyed(self, dial: DialSettings) -> DialSettings:
        """The same, with TLS that tells its keys, where they are asked for."""
        key_log, target = self.settings.key_log, self.settings.target
        if key_log is None or not target.is_tls:
            return dial
        tls = dial.tls
        if tls is None or isinstance(tls, TlsSettings):
            tls = dataclasses.replace(tls if tls is not None else TlsSettings(), key_log_file=key_log)
        else:
            _log_keys(tls, key_log)
        return dataclasses.replace(dial, tls=tls)

    async def close(self) -> None:
        """Listen no more, and end all connections."""
        for server in self._servers:
            server.close()
        for file in self._files:
            file.remove()
        for joint in list(self._joints):
            joint.close("", "the proxy has stopped")
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _join(self, url: str, client: ClientEnd, address: str, here: str) -> Meeting:
        """A client has come."""
        self._number += 1
        if len(self._joints) >= self.settings.max_connections:
            log.warning("%s is closed at once: there are %d connections", address, len(self._joints))
            client.close()
            return Meeting()
        wire = Wire(self._number, "", 0, "", address, here, self.settings.listen.name or url)
        joint = Joint(wire, client, self._dial, self.faults, self._tell, self._clock, self._joints.discard)
        self._joints.add(joint)
        return joint

    async def _dial(self, end: End, client: str, here: str) -> None:
        """Connect ``end`` to the broker."""

        def carrier(transport: asyncio.Transport) -> None:
            end.carrier = transport
            if self.settings.header:
                transport.write(proxy_header(self.settings.header, client, here))

        await dial(self.settings.target, self._dial_settings, lambda: end, carrier)


def _log_keys(context: ssl.SSLContext, path: Path) -> None:
    try:
        path.touch(0o600)
        context.keylog_filename = str(path)
    except OSError as error:
        raise ConfigError(f"{path}: keys cannot be written there: {error.strerror}") from None
