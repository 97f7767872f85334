"""The settings of a listener, which stand below ``[[listener]]``: those of ``curier.Listener``."""

from __future__ import annotations

import ipaddress
from typing import Final, get_args

from curier.listeners import AsksClient, Names, Network, parse_listen
from curier.settings.kinds import (
    COUNT,
    DIRECTORY,
    FILE,
    FLAG,
    SECONDS,
    SIZE,
    TEXT,
    WHOLE_SECONDS,
    Kind,
    one_of,
    several,
)
from curier.settings.setting import Setting
from curier.strict_toml import shown, take_path


def take_network(value: object) -> Network:
    """An address, or a network such as ``10.0.0.0/8``."""
    try:
        if isinstance(value, str):
            return ipaddress.ip_network(value)
    except ValueError:
        pass
    raise ValueError(f'expected an address or a network, such as "10.0.0.0/8" or "::1", got {shown(value)}')


def _url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f'expected a URL in quotes, such as "tls://0.0.0.0:8883", got {shown(value)}')
    parse_listen(value)
    return value


def _pair(value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f'expected a certificate and its key, ["cert.pem", "key.pem"], got {shown(value)}')
    certificate, key = map(take_path, value)
    return certificate, key


def _mode(value: object) -> int:
    """Of a file: 0o660 as TOML writes it, or "0660" as chmod does."""
    mode = value
    if isinstance(value, str) and value.isdecimal() and set(value) <= set("01234567"):
        mode = int(value, 8)
    if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= 0o777:
        raise ValueError(f'expected the mode of a file, such as "0660", got {shown(value)}')
    return mode


_STRING: Final = {"type": "string"}
_URL: Final = Kind("a URL", _url, "URL", _STRING)
_PAIR: Final = Kind(
    "a pair of paths", _pair, "PAIR", {"type": "array", "items": _STRING, "minItems": 2, "maxItems": 2}
)
_MODE: Final = Kind("the mode of a file", _mode, "MODE", {"type": ["string", "integer"]})
_NETWORK: Final = Kind("a network", take_network, "NETWORK", _STRING, write='"{}"'.format)
NETWORKS: Final = several(_NETWORK, "networks")
_TEXTS: Final = several(TEXT, "names")


def _of(name: str, kind: Kind, about: str, default: str = "none") -> tuple[str, Setting]:
    return name, Setting(name, kind, about, default, table="listener")


LISTENER: Final[dict[str, Setting]] = dict(
    (
        _of("url", _URL, "Where.", "–"),
        _of("name", TEXT, "What log, `$SYS`, hooks and authenticators call it.", "its URL"),
        _of("certificate", FILE, "A PEM file: the certificate, then those who signed it."),
        _of("key", FILE, "A PEM file: its key."),
        _of("key_password", TEXT, 'The key\'s password, better as `"env:NAME"` or `"file:PATH"`.'),
        _of("key_password_file", FILE, "The first line of this file is the key's password."),
        _of(
            "certificates",
            several(_PAIR, 'pairs ["cert.pem", "key.pem"]'),
            'More pairs, as `[["other.pem", "other.key"]]`, of which the name that a client asks for '
            "chooses.",
        ),
        _of("client_ca", FILE, "A PEM file: who signs certificates of clients."),
        _of(
            "client_certificates",
            one_of(get_args(AsksClient)),
            "Whether clients are asked for a certificate.",
            '`"required"` with a `client_ca`',
        ),
        _of(
            "identity",
            one_of(get_args(Names)),
            "The name in a client's certificate that says who it is.",
        ),
        _of("crl", FILE, "Which certificates of clients were taken back."),
        _of("partial_chain", FLAG, "Take an intermediate in `client_ca` for a root.", "`false`"),
        _of("lowest_tls", one_of(("1.2", "1.3")), "The lowest version of TLS.", '`"1.2"`'),
        _of("ciphers", TEXT, "Of TLS 1.2, as OpenSSL names them.", "OpenSSL's"),
        _of("alpn", _TEXTS, "Names to agree to besides `mqtt`."),
        _of(
            "acme",
            TEXT,
            "A mail address: the certificate comes by ACME; see "
            "[security.md](security.md#certificates-by-acme).",
        ),
        _of("acme_names", _TEXTS, "The names that certificate is for.", "the host of the URL"),
        _of("acme_directory", TEXT, "The directory URL of the authority.", "Let's Encrypt"),
        _of(
            "acme_http", TEXT, "Where HTTP-01 is answered; port 80 of the names has to lead there.", '`":80"`'
        ),
        _of(
            "acme_files",
            DIRECTORY,
            "The directory of account, keys and certificates.",
            "`acme` in the data directory",
        ),
        _of(
            "psk_file",
            FILE,
            "In the place of certificates, keys that clients know too; needs Python 3.13. See "
            "[security.md](security.md#keys-without-certificates-psk).",
        ),
        _of("psk_hint", TEXT, "What clients are told before they choose a key."),
        _of(
            "paths",
            several(FILE, "paths"),
            "Of WebSockets that are served, besides that of the URL.",
            "`/` and `/mqtt`",
        ),
        _of(
            "origins",
            several(TEXT, "origins"),
            "Web pages that may connect, such as `https://example.org`; others than browsers name none and "
            "may.",
            "all",
        ),
        _of("health_path", FILE, "A path that answers 200 to plain HTTP."),
        _of(
            "ping_interval",
            SECONDS,
            "Seconds between pings of WebSocket; nobody is cut for not answering. 0: none.",
            "`0`",
        ),
        _of("trusted_proxies", NETWORKS, "Networks whose `X-Forwarded-For` is believed."),
        _of(
            "tcp_keepalive",
            WHOLE_SECONDS,
            "Seconds of silence after which the kernel asks whether a client is still there; 0: never.",
            "`240`",
        ),
        _of(
            "reuse_port",
            FLAG,
            "Let other processes of this user listen at the same port, where the system can do that: each "
            "client comes to one of them.",
            "`false`",
        ),
        _of("owner", TEXT, "The owner of a Unix socket.", "the broker"),
        _of("group", TEXT, "The group of a Unix socket.", "the broker's"),
        _of("mode", _MODE, "The mode of a Unix socket.", '`"0660"`'),
        _of(
            "proxy_protocol",
            NETWORKS,
            "Networks whose connections must begin with a PROXY header.",
        ),
        _of(
            "proxy_certificates",
            FLAG,
            "Take the common name in the client's certificate, as the proxy says it, for who the client is.",
            "`false`",
        ),
        _of(
            "allow_anonymous",
            FLAG,
            "Whether clients without a user name may come in here, whatever holds elsewhere.",
            "as elsewhere",
        ),
        _of("max_connections", COUNT, "A limit of this listener besides the broker's; 0: none.", "`0`"),
        _of("max_packet_size", SIZE, "A limit of this listener besides the broker's; 0: none.", "`0`"),
        _of(
            "max_connect_rate",
            COUNT,
            "New connections a second at this listener, from everywhere; further ones are closed, and the "
            "log says so. 0: as many as come.",
            "`0`",
        ),
        _of(
            "max_message_rate",
            COUNT,
            "Messages a second that are taken of all who came in here together; they are slowed, each in its "
            "turn. 0: as many as come.",
            "`0`",
        ),
        _of("max_byte_rate", SIZE, "The same of bytes.", "`0`"),
        _of("mount", TEXT, "Put in front of all topics of its clients, who do not see it."),
    )
)
