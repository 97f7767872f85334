"""The settings of a listener whose certificate comes by ACME: what they may be."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from curier.errors import ConfigError

LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
STAGING: Final = "https://acme-staging-v02.api.letsencrypt.org/directory"
HTTP_PORT: Final = 80
"""Where HTTP-01 asks, always [RFC 8555 section 8.3]."""

MOST_NAMES: Final = 100
"""In one certificate, of Let's Encrypt."""

_MAIL: Final = re.compile(r"[^\s@,?:]+@[^\s@,?:]+")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


def check_mail(mail: str) -> None:
    """Raise ``ConfigError`` for what is no mail address, as far as that can be seen."""
    if not (_MAIL.fullmatch(mail) and mail.isascii() and mail.isprintable()):
        raise ConfigError(f'acme is your mail address, such as "mail@broker.example", not {mail!r}')


def names_of(names: tuple[str, ...], host: str) -> tuple[str, ...]:
    """The names to be certified, in small letters: ``names``, or else the listener's host.

    Raises ``ConfigError`` for those that no public authority certifies after HTTP-01.
    """
    found = tuple(dict.fromkeys(name.lower() for name in names or (host,)))
    if len(found) > MOST_NAMES:
        raise ConfigError(f"acme_names has {MOST_NAMES} names at most, not {len(found)}")
    for name in found:
        why = _why_no_name(name)
        if why:
            raise ConfigError(
                f"acme needs the public name of this broker: {name!r} {why}; set it with "
                'acme_names = ["broker.example"]'
            )
    return found


def _why_no_name(name: str) -> str:
    if name.startswith("*."):
        return "has a wildcard, which HTTP-01 cannot prove"
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        return "is an address"
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "is no name of DNS (outside of ASCII, its xn-- form is)"
    return "" if len(labels) > 1 else "is known on this machine or network only"


def check_directory(url: str) -> None:
    """Raise ``ConfigError`` for what is no directory URL. Without TLS it has to be this machine's."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("https", "http") or not url.isprintable() or "@" in parts.netloc:
        raise ConfigError(f"acme_directory is a URL such as {LETS_ENCRYPT}, not {url!r}")
    if parts.scheme == "http" and host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(f"acme_directory has to be https://, except on this machine; not {url!r}")


def http_address(text: str) -> tuple[str, int]:
    """Host and port of where HTTP-01 is answered, the host "" for every address. Raises ``ConfigError``."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not (port.isascii() and port.isdecimal()) or not 0 < int(port[:6]) < 65536:
        raise ConfigError(f'acme_http is an address and port, such as ":80" or "10.0.0.5:80", not {text!r}')
    return host, int(port)
