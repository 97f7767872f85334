"""How a WebSocket begins: one HTTP request, and its answer (RFC 6455 section 4, RFC 9112). Bytes alone.

Whether a handshake is right the package ``websockets`` decides, imported with the first door. What comes
before that is decided here: whether it is HTTP at all, how long it may be, the path, the origin, the
subprotocol; and what those are told who meant something else.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from curier.codec.decode import CLAIM_BYTES
from curier.errors import ConfigError
from curier.greetings import GREETING_BYTES, greeting, way_out
from curier.listeners import Listener, Network
from curier.loglines import printable
from curier.net.proxy_protocol import SIGNATURE
from curier.net.tls_words import told_in_mqtt
from curier.net.websocket import SILENT

if TYPE_CHECKING:
    from websockets.http11 import Response
    from websockets.server import ServerProtocol

_NEEDED: Final = ("curier.net.web", "websockets.http11", "websockets.server")

DEFAULT_PATHS: Final = ("/", "/mqtt")
SUBPROTOCOLS: Final = ("mqtt", "mqttv3.1")
"""The second is what clients offer that are older than the standard. It says nothing of MQTT's version."""

HEAD_BYTES: Final = 65_536  # of a request, all of it
LINE_BYTES: Final = 16_384
BEGINNING_BYTES: Final = 256  # of a request line, looked at with each piece that comes
MOST_HEADERS: Final = 128
LEAST_PING_SECONDS: Final = 1
MOST_PROXIES: Final = 32  # in a row

_TOKEN: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) HTTP/(\d\.\d)")
_REQUEST_LINE_SO_FAR: Final = re.compile(
    r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,24}( [\x21-\x7e]*( (H(T(T(P(/(\d(\.\d?)?)?)?)?)?)?)?)?)?"
)
_LINE_END: Final = re.compile(rb"[\r\n]")
_HEADER: Final = re.compile(rf"({_TOKEN}):([\x20-\x7e\x80-\xff\t]*)")  # no more, or it may take forever
_ORIGIN_PORTS: Final = {"http": 80, "https": 443}

# RFC 9113: empty SETTINGS; GOAWAY with the error HTTP_1_1_REQUIRED, which many go back to HTTP/1.1 for.
_HTTP2_ANSWER: Final = b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0\0\0\0\x0d"


def prepare() -> None:
    """Import what handshakes need: with the first one, it would stop the loop for longer than 20 ms."""
    for name in _NEEDED:
        import_module(name)


class Refused(Exception):
    """No WebSocket. ``answer`` is for the peer; the text is for the log, and empty where there is nothing to
    say: the peer got what it asked for. ``is_visit``: it is what browsers ask for by themselves.
    """

    def __init__(self, answer: bytes, why: str, is_visit: bool = False) -> None:
        super().__init__(why)
        self.answer = answer
        self.is_visit = is_visit


@dataclass(frozen=True, slots=True)
class Site:
    """What is served at one listener, in the form in which it is compared."""

    paths: frozenset[str]
    origins: frozenset[str] | None
    health_path: str
    trusted_proxies: tuple[Network, ...]
    ping_interval: float  # seconds; 0: no pings


def site_of(listener: Listener) -> Site:
    """What ``listener`` serves. Raises ``ConfigError``."""
    path = listener.address.path if listener.address.carrier == "tcp" else ""
    paths = ((path,) if path else ()) + listener.paths or DEFAULT_PATHS
    for path in (*paths, listener.health_path or "/"):
        if not path.startswith("/") or "?" in path or "#" in path:
            raise ConfigError(f"{listener.url}: {path!r} cannot be the path of a URL; it begins with /")
    if not (listener.ping_interval == 0 or LEAST_PING_SECONDS <= listener.ping_interval < math.inf):
        raise ConfigError(
            f"{listener.url}: ping_interval is {LEAST_PING_SECONDS} seconds or more, or 0 for none; not "
            f"{listener.ping_interval!r}"
        )
    origins = set()
    for origin in listener.origins:
        read = normal_origin(origin)
        if read is None:
            raise ConfigError(
                f"{listener.url}: {origin!r} is no origin; one is scheme, host and port alone, such as "
                "https://example.org"
            )
        origins.add(read)
    return Site(
        frozenset(_normal_path(path) for path in paths),
        frozenset(origins) or None,
        _normal_path(listener.health_path) if listener.health_path else "",
        listener.trusted_proxies,
        listener.ping_interval,
    )


class Handshake:
    """One request, as it comes."""

    def __init__(self, site: Site, address: str) -> None:
        self.address = address
        """Of the client: once the WebSocket is open, what a trusted proxy says it is."""
        self._site = site
        self._head = bytearray()
        self._line_at = 0  # where the line under way begins
        self._has_request_line = False  # has it been looked at, whole?

    @property
    def has_begun(self) -> bool:
        """Has any of it come?"""
        return bool(self._head)

    def receive(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Bytes from below. Returns None as long as the request is not whole; then the answer that opens
        the WebSocket, and what has come behind the request. Raises ``Refused``.
        """
        head = self._head
        before = len(head)
        head += data
        if before < GREETING_BYTES:
            _meet_stranger(bytes(head[:CLAIM_BYTES]))
        if not self._has_request_line and head[:1].isalpha():
            self._look_at_request_line(before)
        end = head.find(b"\r\n\r\n", max(1, before - 3))
        size = end if end >= 0 else len(head)
        self._line_at = max(self._line_at, head.rfind(b"\n", before, size) + 1)
        if size > HEAD_BYTES:
            raise _refusal(431, f"a request with more than {HEAD_BYTES} bytes of headers")
        if size - self._line_at > LINE_BYTES:
            raise _refusal(431, f"a request with a line of more than {LINE_BYTES} bytes")
        if end < 0:
            if head.find(b"\n\n", max(0, before - 1)) >= 0:  # or it would wait for ever
                raise _refusal(400, "a request whose lines do not end with CR LF")
            return None
        method, target, version, headers = _parse(bytes(head[:end]))
        rest = bytes(head[end + 4 :])
        self._head = bytearray()
        return self._answer(method, target, version, headers), rest

    def _look_at_request_line(self, before: int) -> None:
        """Refuse what is no HTTP as soon as that is clear: it may never end its lines. ``before`` bytes of it
        were here already.
        """
        end = _LINE_END.search(self._head, before)
        if end is not None:
            self._has_request_line = True
        elif before >= BEGINNING_BYTES:
            return  # a target that is long; or each byte of it would have all be looked at again
        line = self._head[: None if end is None else end.start()].decode("latin-1")
        if not (_REQUEST_LINE_SO_FAR if end is None else _REQUEST_LINE).fullmatch(line):
            raise _no_http(line)

    def _answer(self, method: str, target: str, version: str, headers: list[tuple[str, str]]) -> bytes:
        site = self._site
        path = _normal_path(target)
        asks = any("websocket" in value.lower() for value in _values(headers, "upgrade"))
        if not asks or version != "1.1" or method != "GET":
            _serve_page(site, method, path, version, asks)
        if path not in site.paths:
            raise _refusal(404, f"a WebSocket at {printable(path)}; here it is at {_listed(site.paths)}")
        if any(name.lower() == "transfer-encoding" for name, _ in headers) or any(
            value != "0" for value in _values(headers, "content-length")
        ):
            raise _refusal(400, "a handshake with a body")
        _check_origin(site, _values(headers, "origin"))
        response = _accept(target, headers)
        if response.status_code != 101:
            why = bytes(response.body).decode(errors="replace").partition("\n")[0]
            raise Refused(response.serialize(), f"a handshake that is wrong: {printable(why)}")
        if site.trusted_proxies:
            lines = _values(headers, "x-forwarded-for")
            self.address = forwarded(lines, self.address, site.trusted_proxies)
        return response.serialize()


def _meet_stranger(start: bytes) -> None:
    """Refuse what is no HTTP/1, by its first bytes: its lines may never end."""
    if start.startswith(b"PRI * HTTP/2"):
        raise Refused(_HTTP2_ANSWER, "HTTP/2; WebSocket is spoken over HTTP/1.1 here, so proxies need to")
    first = start[:GREETING_BYTES]
    what = greeting(first)
    if what in ("", "HTTP"):
        if not start or first[:1].isalpha() or SIGNATURE.startswith(first):
            return
        what = f"something that begins with {first.hex(' ')}"
        more = ""
    else:
        more = f"; {way_out(what)}"
    why = f"{what}, which is not spoken at this listener: here it is MQTT over WebSocket{more}"
    told = told_in_mqtt(start, "this port speaks MQTT over WebSocket")
    raise Refused(told, why) if told else _refusal(400, why)


def _parse(head: bytes) -> tuple[str, str, str, list[tuple[str, str]]]:
    """Method, target, version and headers of a whole request."""
    lines = head.decode("latin-1").split("\r\n")
    for line in lines:
        if len(line) > LINE_BYTES:
            raise _refusal(431, f"a request with a line of {len(line)} bytes; at most {LINE_BYTES} are taken")
    if len(lines) - 1 > MOST_HEADERS:
        raise _refusal(431, f"a request with {len(lines) - 1} headers; at most {MOST_HEADERS} are taken")
    request = _REQUEST_LINE.fullmatch(lines[0])
    if request is None:
        raise _no_http(lines[0])
    headers = []
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise _refusal(400, "a request with a header that is none")  # which may hold a secret
        headers.append((header[1], header[2].strip(" \t")))
    return request[1], request[2], request[3], headers


def _serve_page(site: Site, method: str, path: str, version: str, asks: bool) -> None:
    """Answer what does not ask for a WebSocket, or cannot: browsers, probes, proxies not set up for it."""
    asked = f"plain HTTP: {printable(method)} {printable(path)}"
    where = (
        f"This is an MQTT broker (curier). It speaks MQTT over WebSocket at {_listed(site.paths)}: come with "
        "an MQTT client.\n"
    )
    if site.health_path and path == site.health_path and method in ("GET", "HEAD"):
        raise Refused(_page(200, "OK\n", without_body=method == "HEAD"), "")
    if method == "OPTIONS":
        raise Refused(_page(200, where, [("Allow", "GET, HEAD, OPTIONS")]), "")
    if method not in ("GET", "HEAD"):
        raise Refused(_page(405, where, [("Allow", "GET, HEAD, OPTIONS")]), asked)
    without_body = method == "HEAD"
    if asks:
        hint = (
            f"It is opened with HTTP/1.1, and this request is HTTP/{version}. A proxy in between has to "
            "speak it (nginx: proxy_http_version 1.1).\n"
        )
        raise Refused(_page(426, where + hint, _UPGRADE, without_body), f"{asked} in HTTP/{version}")
    is_visit = path in _VISITED
    if path not in site.paths:
        raise Refused(_page(404, where, without_body=without_body), asked, is_visit)
    hint = (
        "If this came by a proxy, it does not pass on the headers Upgrade and Connection, or speaks HTTP/1.0 "
        "(nginx: proxy_http_version 1.1).\n"
    )
    raise Refused(_page(426, where + hint, _UPGRADE, without_body), asked, is_visit)


_VISITED: Final = ("/", "/favicon.ico")
_UPGRADE: Final = [("Upgrade", "websocket"), ("Connection", "Upgrade")]


def _refusal(status: int, why: str) -> Refused:
    return Refused(_page(status, f"This is an MQTT broker (curier). It was sent {why}.\n"), why)


def _no_http(line: str) -> Refused:
    return _refusal(400, f"a request that is no HTTP/1: {printable(line)}")


def _page(
    status: int, text: str, headers: Iterable[tuple[str, str]] = (), without_body: bool = False
) -> bytes:
    """A short answer in plain text, behind which the connection is closed."""
    from http import HTTPStatus

    body = text.encode()
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += ["Connection: close", "Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}"]
    lines += ["Cache-Control: no-store", "X-Content-Type-Options: nosniff"]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if without_body else body)


def _accept(target: str, headers: list[tuple[str, str]]) -> Response:
    """What the package makes of a GET in HTTP/1.1. No extension is agreed on: compression is of no use to
    small packets, and costs memory and, with strangers, safety.
    """
    from websockets.datastructures import Headers
    from websockets.http11 import Request
    from websockets.server import ServerProtocol

    server = ServerProtocol(select_subprotocol=_select, logger=SILENT)
    return server.accept(Request(target, Headers(headers)))


def _select(server: ServerProtocol, offered: Sequence[Any]) -> Any:
    """Choose one of what was offered [MQTT-6.0.0-4]. A client that offers none [MQTT-6.0.0-3] may come in: it
    will hardly have meant something else.
    """
    from websockets.exceptions import NegotiationError

    for name in SUBPROTOCOLS:
        for one in offered:
            if one.lower() == name:
                return one
    if offered:
        raise NegotiationError(f"offer the subprotocol {SUBPROTOCOLS[0]}")
    return None


def _check_origin(site: Site, origins: list[str]) -> None:
    """Browsers say which site's page it is that connects (RFC 6454); programs need not, and may come in."""
    if site.origins is None or not origins:
        return
    if len(origins) > 1 or normal_origin(origins[0]) not in site.origins:
        raise _refusal(
            403, f"a page of {printable(', '.join(origins))}, which is refused: it is not among the origins"
        )


def normal_origin(origin: str) -> str | None:
    """``https://a.example`` of ``HTTPS://A.example:443``; None of what cannot be read."""
    if origin == "null":
        return origin
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not parts.scheme or not host or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    if re.search(r"[^\x21-\x7e]", origin):
        return None
    host = f"[{host}]" if ":" in host else host
    is_default = port is None or port == _ORIGIN_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{port}"


def _normal_path(target: str) -> str:
    """``/mqtt`` of ``/mqtt/``, ``/mqtt?x=1`` and ``http://host/mqtt`` (RFC 9112 section 3.2.2)."""
    if not target.startswith("/") and "://" in target:
        target = "/" + target.partition("://")[2].partition("?")[0].partition("/")[2]
    path = unquote(target.partition("?")[0].partition("#")[0])
    return path[:-1] if path.endswith("/") and path != "/" else path


def _listed(paths: Iterable[str]) -> str:
    return " or ".join(sorted(paths))


def _values(headers: list[tuple[str, str]], name: str) -> list[str]:
    return [value for one, value in headers if one.lower() == name]


def forwarded(lines: list[str], address: str, trusted: tuple[Network, ...]) -> str:
    """The client's address out of all ``X-Forwarded-For`` lines, as trusted proxies have it.

    Each proxy appends whom it was talking to, so it is read from the right, past those that are trusted; what
    stands further left may be invented. ``address`` where that of the socket is not trusted, or what is there
    cannot be read. Who comes by a Unix socket is trusted, since somebody has let them. A port that nobody
    tells is 0.
    """
    peer = _host_and_port(address)
    if peer is not None and not _is_trusted(peer, trusted):
        return address
    entries = ",".join(lines).rsplit(",", MOST_PROXIES) if lines else []
    found = address
    for entry in reversed(entries[-MOST_PROXIES:]):
        read = _host_and_port(entry.strip(" \t").strip('"'))
        if read is None:
            return address
        ip, port = read
        found = f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"
        if not _is_trusted(read, trusted):
            break
    return found


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _host_and_port(text: str) -> tuple[_Address, int] | None:
    """Read ``192.0.2.1``, ``192.0.2.1:5678``, ``2001:db8::1`` or ``[2001:db8::1]:5678``."""
    if text.startswith("["):
        host, closing, port = text[1:].partition("]")
        if not closing or (port and not port.startswith(":")):
            return None
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if port and not re.fullmatch(r"[0-9]{1,5}", port):
        return None
    try:
        return ipaddress.ip_address(host), int(port or 0)
    except ValueError:
        return None


def _is_trusted(read: tuple[_Address, int], trusted: tuple[Network, ...]) -> bool:
    ip = read[0]
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in trusted)
