"""Where a server is, and the proxy before it: URLs, read strictly and shown without their secrets.

    mqtt://user:password@broker.example:1883     TCP, port 1883
    mqtts://broker.example                       TLS, port 8883
    ws://broker.example/mqtt                     WebSocket, port 80; without a path: /mqtt
    wss://broker.example/mqtt?key=value          WebSocket in TLS, port 443
    unix:///run/curier.sock                      a Unix socket

User, password and a Unix path are percent-encoded UTF-8 (RFC 3986). What a URL cannot say is a
``ConfigError``, which never repeats what stands before the last ``@``.
"""

from __future__ import annotations

import re
from dataclasses import field, replace
from typing import Final
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from curier.errors import ConfigError
from curier.frozen import dataclass

DEFAULT_PATH: Final = "/mqtt"
"""Of a WebSocket URL without a path: what most brokers expect."""

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443, "unix": 0}
_PROXY_PORTS: Final = {"http": 80, "socks5": 1080, "socks5h": 1080}
_MEANT: Final = {
    "tcp": "mqtt",
    "mqtt+tcp": "mqtt",
    "ssl": "mqtts",
    "tls": "mqtts",
    "mqtt+ssl": "mqtts",
    "http": "ws",
    "https": "wss",
    "mqtt+unix": "unix",
}
_MEANT_PROXY: Final = {"socks": "socks5", "https": "http"}
_IPV6: Final = r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._~-]+)?"


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """One server. ``host`` is a name in ASCII or an address without brackets, "" for a Unix socket.

    ``path`` is the file of a Unix socket, or the percent-encoded path of a WebSocket URL, with ``query``
    after it. ``repr`` shows neither password nor query, ``str`` nothing but where the server is.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = field(default="", repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted, and the server has to show a certificate."""
        return self.scheme in ("mqtts", "wss")

    @property
    def is_websocket(self) -> bool:
        """Whether MQTT travels in WebSocket frames."""
        return self.scheme in ("ws", "wss")

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets; the path of a Unix socket."""
        return self.path if self.scheme == "unix" else join_address(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}{self.path if self.is_websocket else ''}"


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """A proxy: ``http`` (CONNECT) or ``socks5``, which both look up the server's name themselves."""

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{join_address(self.host, self.port)}"


def join_address(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_server_url(url: str) -> ServerUrl:
    """Read the URL of a server; ``ConfigError`` says what is wrong with it."""
    parts, shown = _split(url, _PORTS, _MEANT, "mqtt")
    username, password = _user(parts, shown)
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2]:
            raise ConfigError(f"{shown}: a Unix socket has no host: write unix:///path with three slashes")
        path = _decode(parts.path, "path", shown)
        if path in ("", "/") or "\0" in path or parts.query:
            raise ConfigError(f"{shown}: expected the path of a socket, such as unix:///run/curier.sock")
        return ServerUrl("unix", "", 0, path, "", username, password)
    host = _host(parts, shown)
    port = _port(parts, shown, _PORTS[parts.scheme])
    if parts.scheme in ("ws", "wss"):
        path = _visible(parts.path) or DEFAULT_PATH
        return ServerUrl(parts.scheme, host, port, path, _visible(parts.query), username, password)
    if parts.path not in ("", "/") or parts.query:
        raise ConfigError(
            f"{shown}: {parts.scheme}:// takes nothing after the port; only ws:// and wss:// do"
        )
    return ServerUrl(parts.scheme, host, port, "", "", username, password)


def parse_proxy_url(url: str) -> ProxyUrl:
    """Read the URL of a proxy: ``http://user:password@host:port`` or ``socks5://...``."""
    parts, shown = _split(url, _PROXY_PORTS, _MEANT_PROXY, "socks5")
    username, password = _user(parts, shown)
    if parts.path not in ("", "/") or parts.query:
        raise ConfigError(f"{shown}: a proxy is scheme://user:password@host:port and nothing more")
    for what, value in (("user", username), ("password", password)):
        if len((value or "").encode()) > 255:  # RFC 1929 section 2
            raise ConfigError(f"{shown}: the {what} for a proxy is longer than 255 bytes")
    if password and username is None:
        raise ConfigError(f"{shown}: a password for a proxy needs a user before it")
    if parts.scheme == "http" and ":" in (username or ""):  # RFC 7617 section 2
        raise ConfigError(f"{shown}: the user for an HTTP proxy cannot have a colon in it")
    scheme = "http" if parts.scheme == "http" else "socks5"
    port = _port(parts, shown, _PROXY_PORTS[parts.scheme])
    return ProxyUrl(scheme, _host(parts, shown), port, username, password)


def parse_references(reference: str, url: ServerUrl) -> list[ServerUrl]:
    """The servers of a Server Reference (4.11): hosts with or without ports, with spaces between.

    They are reached as ``url`` is, by its scheme and path, and by its port where they have none. What cannot
    be read is left out: it is a stranger's.
    """
    found = []
    for one in reference.split():
        host, port = one, ""
        if not one.endswith("]") and ":" in one:
            host, _, port = one.rpartition(":")
        try:
            there = parse_server_url(f"{url.scheme}://{host}:{port or url.port}")
        except ConfigError:
            continue
        found.append(replace(url, host=there.host, port=there.port))
    return found if url.scheme != "unix" else []


def _split(url: str, schemes: dict[str, int], meant: dict[str, str], usual: str) -> tuple[SplitResult, str]:
    """Return the parts, and the URL as it may be shown."""
    # A password may have been written without percent signs, so all up to the last @ may be part of it.
    shown = re.sub(r"^([^/]*//)?.*@", r"\1***@", url, flags=re.DOTALL) if "@" in url else url
    shown = shown.partition("?")[0]
    if any(char <= " " or char == "\x7f" for char in url):
        raise ConfigError(f"{shown!r}: a URL has no blanks or control characters; write a blank as %20")
    scheme, found, _ = url.partition("://")
    if not found:
        raise ConfigError(f"{shown!r} is not a URL: write {usual}://{shown}")
    scheme = scheme.lower()
    if scheme not in schemes:
        expected = ", ".join(f"{name}://" for name in schemes)
        hint = f"; did you mean {meant[scheme]}://?" if scheme in meant else ""
        raise ConfigError(f"{shown}: expected {expected}{hint}")
    parts = None
    try:
        parts = urlsplit(url)
    except ValueError:  # whose words may repeat the password
        pass
    if parts is None or parts.netloc.count("@") > 1 or "@" in parts.path + parts.fragment:
        raise ConfigError(
            f"{shown}: cannot be read; only an IPv6 address stands in brackets, and in user and password "
            "@ / ? # [ ] are written %40 %2F %3F %23 %5B %5D"
        )
    if "#" in url:
        raise ConfigError(f"{shown}: a server's URL has no #...; as a part of something else write %23")
    return parts, shown


def _user(parts: SplitResult, shown: str) -> tuple[str | None, str | None]:
    """User and password; an empty user beside a password is none."""
    user, at, _ = parts.netloc.rpartition("@")
    if not at:
        return None, None
    name, colon, secret = user.partition(":")
    password = _decode(secret, "password", shown) if colon else None
    return (_decode(name, "user", shown) or None), password


def _decode(text: str, what: str, shown: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ConfigError(f"{shown}: a % in the {what} has to be followed by two hex digits; write it as %25")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        pass
    raise ConfigError(f"{shown}: the {what} is not percent-encoded UTF-8")


def _host(parts: SplitResult, shown: str) -> str:
    address = parts.netloc.rpartition("@")[2]
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        host = host.replace("%25", "%", 1)  # a zone, RFC 6874
        if ":" not in host or not re.fullmatch(_IPV6, host) or not (rest == "" or rest.startswith(":")):
            raise ConfigError(f"{shown}: expected an IPv6 address in the brackets, and then :port")
        return host
    if address.count(":") > 1:
        raise ConfigError(f"{shown}: write an IPv6 address in brackets, such as {parts.scheme}://[::1]")
    host = address.partition(":")[0]
    if not host:
        raise ConfigError(f"{shown}: expected a host, such as {parts.scheme}://localhost")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ConfigError(f"{shown}: that cannot be the name of a host") from None
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_is_label(label) for label in labels):
        raise ConfigError(f"{shown}: that cannot be the name of a host")
    return host


def _is_label(text: str) -> bool:
    """Is this a part of a name in ASCII, as hosts have them?"""
    inner = text.replace("-", "").replace("_", "")
    return 0 < len(text) < 64 and "-" not in (text[0], text[-1]) and (not inner or inner.isalnum())


def _port(parts: SplitResult, shown: str, default: int) -> int:
    text = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ConfigError(f"{shown}: expected a port of 1 to 65535 after the host")
    return int(text)


def _visible(text: str) -> str:
    """Percent-encode what may not stand in a request line (RFC 3986 section 2)."""
    return quote(text, safe="/?:@!$&'()*+,;=%~-._[]|")
