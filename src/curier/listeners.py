"""Where clients come in: the URL of a listener, and all that belongs to it. Plain data."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import quote, unquote_to_bytes, urlsplit

from curier.acme_settings import LETS_ENCRYPT, check_directory, check_mail, http_address, names_of
from curier.errors import ConfigError

A_LISTENER: Final = "tcp://127.0.0.1:1883"
DEFAULT_LISTEN: Final = (A_LISTENER, "tcp://[::1]:1883")
"""This machine only. Where it has no IPv6, the second one is left out."""

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
AsksClient = Literal["none", "optional", "required"]
Names = Literal["common-name", "dns", "uri", "email", "subject", "fingerprint"]
LowestTls = Literal["1.2", "1.3"]

SCHEMES: Final = {"mqtt": "tcp", "mqtts": "tls", "ssl": "tls"}
"""Other names for the same, and what they mean."""

_PORTS: Final = {"tcp": 1883, "tls": 8883}
_SECURE: Final = frozenset(("tls", "wss"))
_WEB: Final = frozenset(("ws", "wss"))
LEAST_PACKET_SIZE: Final = 64
LONGEST_MOUNT: Final = 1024

_CARRIERS: Final = frozenset(("unix", "fd"))
_KNOWN: Final = "tcp://, tls://, ws://, wss://, unix:// or fd://"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: a parsed URL.

    ``scheme`` is ``tcp``, ``tls``, ``ws``, ``wss``, ``unix`` or ``fd``; in front of the last two may stand
    what is spoken there, as in ``ws+unix``. ``port`` 0 means any free port. ``path`` is that of a WebSocket,
    as sent by clients, or of a Unix socket in the file system; of ``fd`` it is the descriptor's number or
    name, as systemd passes it.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it. Of names, only ``localhost`` is trusted to."""
        if self.carrier == "unix" or self.host == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (inner or address).is_loopback

    @property
    def carrier(self) -> str:
        """What it is spoken on: ``tcp``, ``unix`` or ``fd``, which may turn out to be either."""
        carrier = self.scheme.rpartition("+")[2]
        return carrier if carrier in _CARRIERS else "tcp"

    @property
    def speech(self) -> str:
        """What is spoken there, ``tcp``, ``tls``, ``ws`` or ``wss``, whatever carries it."""
        speech = self.scheme.partition("+")[0]
        return "tcp" if speech in _CARRIERS else speech

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.speech in _SECURE

    @property
    def is_file(self) -> bool:
        """Whether it is a socket in the file system."""
        return self.carrier == "unix"

    @property
    def is_web(self) -> bool:
        """Whether WebSocket is spoken there."""
        return self.speech in _WEB

    def __str__(self) -> str:
        if self.carrier != "tcp":
            return f"{self.scheme}://{quote(self.path)}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A door: its URL, and what is different about those who come in there.

    ``certificate`` and ``key`` are PEM files, the chain leaf first; ``key_password`` is the password of the
    key, or ``key_password_file`` has it; ``certificates`` are further pairs, of which a client's SNI chooses.
    ``client_ca`` is who signs certificates of clients, ``client_certificates`` whether they are asked for
    (None: required where there is a ``client_ca``), ``identity`` which name in one is the user (None: it is
    not), ``crl`` a file of those taken back, ``partial_chain`` takes an intermediate in ``client_ca`` for a
    root. ``lowest_tls`` is ``1.2`` or ``1.3``, ``alpn`` what is agreed to besides ``mqtt``. ``psk_file`` has,
    in the place of certificates, keys that clients know too, as lines ``identity:hexkey``: the identity is
    the user (from Python 3.13 on); ``psk_hint`` is told to them before they choose one.

    ``acme``, a mail address, has the certificate come by ACME, from the authority with the directory URL
    ``acme_directory``, for ``acme_names`` (none: the URL's host). HTTP-01 is answered at ``acme_http``. What
    has to be kept is in the directory ``acme_files`` (None: ``acme`` in the broker's data directory).

    ``paths`` and ``origins`` are those of WebSockets that are served, ``health_path`` one that answers 200 to
    plain HTTP, ``ping_interval`` seconds between pings (0: none), ``trusted_proxies`` whose
    ``X-Forwarded-For`` is believed. ``tcp_keepalive`` is the seconds of silence after which the kernel asks
    whether a client is still there (0: never). ``reuse_port`` lets other processes of the same user listen
    at the same port: each client comes to one of them. ``owner``, ``group`` and ``mode`` are those of a Unix
    socket.
    ``proxy_protocol`` has the networks whose connections must begin with a PROXY header (empty: none may);
    ``proxy_certificates`` takes the client certificate's name out of it.

    ``allow_anonymous`` None is what the broker as a whole does. ``max_connections`` and ``max_packet_size``
    are limits of this door besides the broker's own; 0: none. ``max_connect_rate``, ``max_message_rate`` and
    ``max_byte_rate`` are what may come in there a second, from all together; 0: as much as comes. ``mount``
    is put in front of all topics of its clients, who do not see it. ``name`` is for people: log, ``$SYS``,
    hooks.
    """

    url: str
    name: str = ""
    certificate: str | Path | None = None
    key: str | Path | None = None
    key_password: str = field(default="", repr=False)
    key_password_file: str | Path | None = None
    certificates: tuple[tuple[str | Path, str | Path], ...] = ()
    client_ca: str | Path | None = None
    client_certificates: AsksClient | None = None
    identity: Names | None = None
    crl: str | Path | None = None
    partial_chain: bool = False
    lowest_tls: LowestTls = "1.2"
    ciphers: str = ""
    alpn: tuple[str, ...] = ()
    acme: str = ""
    acme_names: tuple[str, ...] = ()
    acme_directory: str = LETS_ENCRYPT
    acme_http: str = ":80"
    acme_files: str | Path | None = None
    psk_file: str | Path | None = None
    psk_hint: str = ""
    paths: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    health_path: str = ""
    ping_interval: float = 0.0
    trusted_proxies: tuple[Network, ...] = ()
    tcp_keepalive: int = 240
    reuse_port: bool = False
    owner: str = ""
    group: str = ""
    mode: int = 0o660
    proxy_protocol: tuple[Network, ...] = ()
    proxy_certificates: bool = False
    allow_anonymous: bool | None = None
    max_connections: int = 0
    max_packet_size: int = 0
    max_connect_rate: int = 0
    max_message_rate: int = 0
    max_byte_rate: int = 0
    mount: str = ""

    @property
    def address(self) -> Listen:
        """The URL, parsed. Raises ``ConfigError``."""
        return parse_listen(self.url)

    @property
    def asks_client(self) -> AsksClient:
        """Whether clients are asked for a certificate."""
        return self.client_certificates or ("required" if self.client_ca is not None else "none")

    @property
    def knows_all(self) -> bool:
        """Whether nobody comes in whom a certificate, or a key of ``psk_file``, has not named: seen here, or
        by a proxy.
        """
        if self.psk_file is not None:
            return True
        if self.allow_anonymous is False:
            return self.identity is not None or self.proxy_certificates
        return self.identity is not None and self.asks_client == "required"

    def why_closed(
        self, address: Listen, allow_anonymous: bool | None = None
    ) -> Literal["", "nobody", "everybody"]:
        """Where nobody else decides who may connect: "nobody" or "everybody", where that would be a mistake.

        ``allow_anonymous`` is what was said for all listeners, ``address`` the real one. Everybody may come
        in only where that is this machine, or was asked for.
        """
        allowed = allow_anonymous if self.allow_anonymous is None else self.allow_anonymous
        if allowed or self.knows_all:
            return ""
        if allowed is False:
            return "nobody"
        return "" if address.is_loopback else "everybody"

    def check(self) -> None:
        """Raise ``ConfigError`` for settings that have no meaning with this URL."""
        address = self.address
        for name, kind, means in _ONLY:
            if getattr(self, name) != _DEFAULTS[name] and not getattr(address, kind):
                raise ConfigError(f"{address}: {name} is for {means}; leave it out, or change the URL")
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ConfigError(
                    f"{address}: {name}: one of {', '.join(filter(None, words))}, not {getattr(self, name)!r}"
                )
        self._check_acme(address)
        if self.key_password and self.key_password_file is not None:
            raise ConfigError(f"{address}: key_password and key_password_file cannot both be: give one")
        if self.psk_hint and self.psk_file is None:
            raise ConfigError(f"{address}: psk_hint needs a psk_file: the keys that it is a hint to")
        if self.proxy_certificates and not self.proxy_protocol:
            raise ConfigError(f"{address}: proxy_certificates needs proxy_protocol: whose word is taken")
        if self.name and level_of(self.name) != self.name:
            raise ConfigError(
                f"{address}: name is one level of a topic, printable and without / + #, not {self.name!r}"
            )
        if self.mount and (why := why_no_mount(self.mount)):
            raise ConfigError(f'{address}: mount, such as "site-a/", {why}; not {self.mount!r}')
        for name in ("max_connections", "max_connect_rate", "max_message_rate", "max_byte_rate"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{address}: {name} must be 1 or more, or 0 for no limit of its own")
        if self.max_packet_size and self.max_packet_size < LEAST_PACKET_SIZE:
            raise ConfigError(
                f"{address}: max_packet_size must be {LEAST_PACKET_SIZE} or more, or 0 for the broker's"
            )

    def _check_acme(self, address: Listen) -> None:
        """Raise ``ConfigError`` for settings of ACME that cannot be."""
        if not self.acme:
            for name in _ACME:
                if getattr(self, name) != _DEFAULTS[name]:
                    raise ConfigError(f'{address}: {name} is for acme; set acme = "mail@broker.example"')
            return
        for name in ("certificate", "key", "key_password", "key_password_file"):
            if getattr(self, name) != _DEFAULTS[name]:
                raise ConfigError(f"{address}: {name} and acme cannot both be: acme gets the certificate")
        try:
            check_mail(self.acme)
            names_of(self.acme_names, address.host)
            check_directory(self.acme_directory)
            http_address(self.acme_http)
        except ConfigError as error:
            raise ConfigError(f"{address}: {error}") from None


def why_no_mount(mount: str) -> str:
    """What is wrong with what is to stand in front of topics, as the end of a sentence; or ""."""
    if not mount.endswith("/"):
        return "ends with /"
    if "+" in mount or "#" in mount or not mount.isprintable():
        return "is printable and has no wildcards"
    if any(level.startswith("$") for level in mount.split("/")):
        return "has no level that begins with $"
    if len(mount.encode()) > LONGEST_MOUNT:
        return f"has {LONGEST_MOUNT} bytes at most"
    return ""


def level_of(name: str) -> str:
    """The name of a listener as one level of a topic; of a URL, ``tls-127.0.0.1:8883``."""
    name = name.replace("://", "-")
    return "".join("-" if one in "/+#" or not one.isprintable() else one for one in name)


def levels_of(listeners: Sequence[Listener]) -> list[str]:
    """What each is called in a topic, as in ``$SYS/broker/listeners/NAME/...``. Those that have no name of
    their own are called as their URL, with a number behind it where that is taken.

    Raises ``ConfigError`` where two were given the same name.
    """
    given = [listener.name for listener in listeners if listener.name]
    for name in given:
        if given.count(name) > 1:
            raise ConfigError(f"two listeners have the name {name!r}: give each one of its own")
    taken = set(given)
    levels: list[str] = []
    for listener in listeners:
        level = listener.name
        if not level:
            url = level_of(str(listener.address))
            level, number = url, 1
            while level in taken:
                number += 1
                level = f"{url}-{number}"
            taken.add(level)
        levels.append(level)
    return levels


_WORDS: Final[dict[str, tuple[str | None, ...]]] = {
    "client_certificates": (None, *get_args(AsksClient)),
    "identity": (None, *get_args(Names)),
    "lowest_tls": get_args(LowestTls),
}
_DEFAULTS: Final[dict[str, object]] = {one.name: one.default for one in fields(Listener)}
_ACME: Final = ("acme_names", "acme_directory", "acme_http", "acme_files")
_TLS: Final = ("is_secure", "tls:// and wss://")
_SITE: Final = ("is_web", "ws:// and wss://")
_FILE: Final = ("is_file", "unix://")
_ONLY: Final = (
    *(
        (name, *_TLS)
        for name in (
            *("certificate", "key", "key_password", "key_password_file"),
            *("certificates", "client_ca", "client_certificates", "identity"),
            *("crl", "partial_chain", "lowest_tls", "ciphers", "alpn"),
            *("acme", *_ACME),
            *("psk_file", "psk_hint"),
        )
    ),
    *((name, *_SITE) for name in ("paths", "origins", "health_path", "ping_interval", "trusted_proxies")),
    *((name, *_FILE) for name in ("owner", "group", "mode")),
)
"""Which settings only some URLs have: the property of ``Listen`` that says so, and in words."""


def parse_listen(url: str) -> Listen:
    """Parse a listener's URL, such as ``tcp://127.0.0.1:1883``, ``tls://[::1]`` or ``unix:///run/c.sock``.

    Without a port it is 1883, of ``tls`` 8883; WebSockets have none by default. Port 0 is any free port.
    Raises ``ConfigError``, and ``TypeError`` for no text.
    """
    if not isinstance(url, str):
        raise TypeError(f"listen: expected URLs such as {A_LISTENER!r}, got {url!r:.100}")
    scheme, separator, rest = url.partition("://")
    scheme = SCHEMES.get(scheme.lower(), scheme.lower())
    if not separator:
        raise ConfigError(f"{url!r}: expected a URL such as {A_LISTENER} or tcp://[::1]:1883")
    speech, _, carrier = scheme.rpartition("+")
    if carrier in _CARRIERS:
        speech = SCHEMES.get(speech, speech) or "tcp"
        if speech in _PORTS or speech in _WEB:
            return _parse_carried(url, carrier if speech == "tcp" else f"{speech}+{carrier}", carrier, rest)
    if scheme not in _PORTS and scheme not in _WEB:
        raise ConfigError(f"{url!r}: expected the scheme {_KNOWN}, not {scheme}://")
    authority = rest.partition("/")[0]
    if authority.count(":") > 1 and not authority.startswith("["):
        raise ConfigError(f"{url!r}: expected an IPv6 address in brackets, as in tcp://[::1]:1883")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(
            f"{url!r}: expected host and port as in tcp://127.0.0.1:1883; ports go to 65535"
        ) from None
    if not host:
        raise ConfigError(
            f"{url!r}: expected a host: 127.0.0.1 for this machine only, 0.0.0.0 for every address"
        )
    path = parts.path if scheme in _WEB and parts.path != "/" else ""
    if parts.path not in ("", "/", path) or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(f"{url!r}: expected nothing but host and port, as in {A_LISTENER}")
    if port is None:
        port = _PORTS.get(scheme)
    if port is None:
        raise ConfigError(f"{url!r}: expected a port, as in {scheme}://{authority}:8083/mqtt")
    return Listen(scheme, host, port, path)


def _parse_carried(url: str, scheme: str, carrier: str, rest: str) -> Listen:
    """What is no host and port: a Unix socket's path, or systemd's name; percent-encoded like all URLs."""
    try:
        path = unquote_to_bytes(rest).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{url!r}: expected UTF-8 behind the percent signs") from None
    if carrier == "unix":
        if not path.startswith("/") or path.endswith("/") or "\0" in path or "?" in rest or "#" in rest:
            raise ConfigError(
                f"{url!r}: expected the whole path of a socket in the file system, "
                "as in unix:///run/curier.sock"
            )
    elif not path or "/" in path:
        raise ConfigError(f"{url!r}: expected the number or name of a socket that systemd passes: fd://3")
    return Listen(scheme, "", 0, path)
