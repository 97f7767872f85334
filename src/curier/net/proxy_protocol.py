"""The PROXY protocol, versions 1 and 2: a proxy's first words, which say for whom it connects.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt is the specification; sections are its own.
Whether there is a header is never guessed from what comes, since then every client could write one: a
listener requires it, or forbids it.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NoReturn, final

from curier.codec.decode import CLAIM_BYTES
from curier.greetings import HTTP, greeting, told_in_http
from curier.net.layer import Layer, LayerError
from curier.net.tls_words import told_in_mqtt

MAX_HEADER_BYTES: Final = 4096
"""Of a header of version 2 with all it carries; the specification lets it have 65 551."""

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
FIRST_WORD: Final = b"PROXY "
LINE_BYTES: Final = 107  # of the longest line of version 1, with its end (section 2.1)

LOCAL: Final = 0x20  # version and command
PROXY: Final = 0x21
UNSPECIFIED: Final = 0x00  # family and transport
_ADDRESS_BYTES: Final = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_INET, _INET6 = 0x10, 0x20

# Types of what follows the addresses (section 2.2), and of what lies within that on TLS (2.2.6).
ALPN: Final = 0x01
AUTHORITY: Final = 0x02
CRC32C: Final = 0x03
UNIQUE_ID: Final = 0x05
TLS: Final = 0x20
TLS_VERSION: Final = 0x21
TLS_COMMON_NAME: Final = 0x22
_ONCE: Final = frozenset((ALPN, AUTHORITY, CRC32C, UNIQUE_ID, TLS, TLS_VERSION, TLS_COMMON_NAME))
UNIQUE_ID_BYTES: Final = 128

CLIENT_TLS: Final = 0x01  # bits of the client field
CLIENT_CERTIFICATE: Final = 0x02 | 0x04  # shown on this connection, or earlier in the same TLS session


@final
class ProxyHeader(Layer):
    """Takes the header off the front of a connection. All bytes behind it go up as they are.

    Once it is there (``is_open``), ``address`` is the client's, as ``host:port``; where the proxy speaks for
    itself (LOCAL) or does not tell, it remains that of the socket. The rest is "" or None where the header
    does not say: ``alpn``, ``authority`` (the name the client asked for), ``unique_id``, ``tls_version``
    (such as ``TLSv1.3``), and whether the client ``has_verified_certificate`` towards the proxy.
    ``certificate_name`` is that one's Common Name, if asked for with ``takes_certificate``.
    """

    def __init__(self, address: str, takes_certificate: bool = False) -> None:
        super().__init__()
        self.address = address
        self.is_forwarded: bool = False  # the address is one that the header tells
        self.alpn: str = ""
        self.authority: str = ""
        self.unique_id: bytes = b""
        self.tls_version: str = ""
        self.has_verified_certificate: bool = False
        self._takes_certificate = takes_certificate
        self._waiting = bytearray()
        self._answer: bytes = b""  # for those who have to come by a proxy
        self._is_past: bool = False  # nothing is looked at any more

    def receive(self, data: bytes) -> bytes:
        if self._is_past:
            return data
        waiting = self._waiting
        waiting += data
        if not self.is_open:
            length = self._read(waiting)
            if not length:
                return b""
            del waiting[:length]
            self.is_open = True
        # A second one is a client's that wants to be another, or that of a proxy nobody has told us of.
        version = version_of(waiting)
        if version > 0:
            raise LayerError("a second PROXY header behind the first")
        if version < 0:
            return b""
        self._is_past = True
        rest = bytes(waiting)
        self._waiting = bytearray()
        return rest

    def midst(self) -> str:
        return "" if self.is_open or not self._waiting else "the PROXY header"

    def send(self, data: bytes) -> list[bytes]:
        return [data]

    def send_pieces(self, pieces: list[bytes]) -> list[bytes]:
        return pieces

    def answers(self) -> bytes:
        answer = self._answer
        self._answer = b""
        return answer

    def close(self, code: int) -> bytes:
        return b""

    def _refuse(self, first: bytes) -> NoReturn:
        """There is no header."""
        what = greeting(first)
        if what == HTTP:
            self._answer = told_in_http("This port is for proxies, which have to send a PROXY header.\n")
        else:
            self._answer = told_in_mqtt(first, "this port is for proxies, which have to send a PROXY header")
        raise LayerError(
            f"a PROXY header is expected here, and the connection begins with {what or 'something else'}: "
            "the proxy has to be told to send one; clients without a proxy need a listener without "
            "proxy_protocol"
        )

    def _read(self, waiting: bytearray) -> int:
        """How many bytes the header has, once it is read; 0: it is not there yet."""
        version = version_of(waiting)
        if version == 0:
            self._refuse(bytes(waiting[:CLAIM_BYTES]))
        if version < 0:
            return 0
        if version == 2:
            return self._read_binary(waiting)
        end = waiting.find(b"\r\n", 0, LINE_BYTES)
        if end < 0:
            if len(waiting) >= LINE_BYTES:
                raise LayerError(f"a PROXY header of version 1 without an end in {LINE_BYTES} bytes")
            return 0
        self._read_line(bytes(waiting[:end]))
        return end + 2

    # ---- version 1 ----

    def _read_line(self, line: bytes) -> None:
        words = line.split(b" ")
        if words[1] == b"UNKNOWN":  # whatever follows is to be ignored
            return
        try:
            _, family, source, target, *ports = line.decode("ascii").split(" ")
            host = _host(family, source)
            _host(family, target)
            port, _ = map(_port, ports)
        except ValueError:
            raise LayerError("a PROXY header of version 1 that is malformed") from None
        self._forward(host, port)

    # ---- version 2 ----

    def _read_binary(self, waiting: bytearray) -> int:
        if len(waiting) < 16:
            return 0
        command, family, length = struct.unpack_from("!BBH", waiting, 12)
        if command not in (LOCAL, PROXY):
            raise LayerError(
                f"a PROXY header with version and command 0x{command:02X}; 0x20 and 0x21 are known"
            )
        if 16 + length > MAX_HEADER_BYTES:
            raise LayerError(f"a PROXY header of {16 + length} bytes; {MAX_HEADER_BYTES} are the most")
        if len(waiting) < 16 + length:
            return 0
        header = bytes(waiting[: 16 + length])
        # "The receiver must use the real connection endpoints and discard the protocol block including the
        # family" (LOCAL); without a family "the receiver should ignore address information".
        if command == PROXY and family != UNSPECIFIED:
            self._read_addresses(header, family)
        return len(header)

    def _read_addresses(self, header: bytes, family: int) -> None:
        size = _ADDRESS_BYTES.get(family)
        if size is None:
            raise LayerError(f"a PROXY header with the unknown family and transport 0x{family:02X}")
        if len(header) < 16 + size:
            raise LayerError("a PROXY header that is too short for its addresses")
        self._read_values(header, 16 + size)
        if family & 0xF0 == _INET:
            self._forward(str(IPv4Address(header[16:20])), int.from_bytes(header[24:26], "big"))
        elif family & 0xF0 == _INET6:
            self._forward(_host6(IPv6Address(header[16:32])), int.from_bytes(header[48:50], "big"))
        # A client at a Unix socket of the proxy has no address that would tell it from others.

    def _forward(self, host: str, port: int) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.is_forwarded = True

    def _read_values(self, header: bytes, start: int) -> None:
        for kind, at, value in _values(header, start):
            if kind == CRC32C:
                if len(value) != 4:
                    raise LayerError(f"a PROXY header with a checksum of {len(value)} bytes")
                # Of the whole header, with zeros where the checksum is.
                if crc32c(header[:at] + bytes(4) + header[at + 4 :]) != int.from_bytes(value, "big"):
                    raise LayerError("a PROXY header whose checksum (CRC32C) is wrong")
            elif kind == ALPN:
                self.alpn = value.decode(errors="replace")
            elif kind == AUTHORITY:
                self.authority = value.decode(errors="replace")
            elif kind == UNIQUE_ID:
                if len(value) > UNIQUE_ID_BYTES:
                    raise LayerError(f"a PROXY header with a unique identifier of {len(value)} bytes")
                self.unique_id = value
            elif kind == TLS:
                self._read_tls(value)
            # Others are skipped: NOOP, namespaces, those of balancers (0xEA), all to come.

    def _read_tls(self, value: bytes) -> None:
        if len(value) < 5:
            raise LayerError("a PROXY header that is malformed where it tells of TLS")
        client, verified = struct.unpack_from("!BI", value)
        within = {kind: text for kind, _, text in _values(value, 5)}
        if not client & CLIENT_TLS:
            return
        self.tls_version = within.get(TLS_VERSION, b"").decode(errors="replace")
        self.has_verified_certificate = bool(client & CLIENT_CERTIFICATE) and verified == 0
        if self._takes_certificate and self.has_verified_certificate:
            self.certificate_name = _name(within.get(TLS_COMMON_NAME, b""))


def version_of(data: bytes | bytearray) -> int:
    """Of the PROXY header that ``data`` begins with: 1 or 2; 0: it is none; -1: too little to say."""
    if data.startswith(FIRST_WORD):
        return 1
    if data.startswith(SIGNATURE):
        return 2
    return -1 if FIRST_WORD.startswith(data) or SIGNATURE.startswith(data) else 0


def _host(family: str, text: str) -> str:
    """An address of version 1. Raises ``ValueError``."""
    if family == "TCP4":
        return str(IPv4Address(text))
    if family == "TCP6" and "%" not in text:
        return _host6(IPv6Address(text))
    raise ValueError(family)


def _host6(address: IPv6Address) -> str:
    return str(address.ipv4_mapped or address)


def _port(text: str) -> int:
    """A port of version 1: decimal, no zeros in front. Raises ``ValueError``."""
    port = int(text)
    if str(port) != text or not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _values(data: bytes, pos: int) -> list[tuple[int, int, bytes]]:
    """From ``pos`` on: type, where the value begins, and the value."""
    found: list[tuple[int, int, bytes]] = []
    seen: set[int] = set()
    while pos < len(data):
        if pos + 3 > len(data):
            raise LayerError("a PROXY header whose last value is cut off")
        kind, length = struct.unpack_from("!BH", data, pos)
        pos += 3
        if pos + length > len(data):
            raise LayerError(f"a PROXY header whose value of type 0x{kind:02X} runs past its end")
        if kind in _ONCE and kind in seen:
            raise LayerError(f"a PROXY header with two values of type 0x{kind:02X}")
        seen.add(kind)
        found.append((kind, pos, data[pos : pos + length]))
        pos += length
    return found


def _name(value: bytes) -> str | None:
    """A Common Name that can be a user's: as ``identity`` has it for certificates that we see ourselves."""
    try:
        name = value.decode()
    except UnicodeDecodeError:
        raise LayerError("a PROXY header with a Common Name that is not UTF-8") from None
    if not name.isprintable():
        raise LayerError("a PROXY header with characters in the Common Name that cannot be shown")
    if name != name.strip():
        raise LayerError("a PROXY header with a Common Name that begins or ends with a blank")
    return name or None


# ---- checksum ----


def _table() -> tuple[int, ...]:
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # the polynomial of Castagnoli, reversed
        table.append(value)
    return tuple(table)


_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3309 (appendix), which the standard library does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
