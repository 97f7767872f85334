"""The file of keys that TLS clients know too (``psk_file``), and what cannot be set beside it."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from curier.errors import ConfigError
from curier.listeners import Listener
from curier.loglines import printable
from curier.net.certificate_files import read

PYTHON_HAS_PSK: Final = hasattr(ssl.SSLContext, "set_psk_server_callback")
OPENSSL_HAS_PSK: Final[bool] = getattr(ssl, "HAS_PSK", False)

MOST_IDENTITY_BYTES: Final = 128
"""Of an identity, and of a hint (RFC 4279 section 5.3: everybody takes these)."""

MOST_KEY_BYTES: Final = 256
LEAST_SAFE_BYTES: Final = 16
"""Of a key. A shorter one can be found by trying, from one handshake that somebody has recorded."""

CIPHERS: Final = (
    "kECDHEPSK+CHACHA20:kECDHEPSK+AES:kPSK+AESGCM:kPSK+CHACHA20:kPSK+AESCCM:kPSK+AES:!SHA1:!eNULL"
)
"""Those with forward secrecy first; the others are all that small devices have."""

EXPECTED: Final = "expected identity:key, the key in pairs of the digits 0 to 9 and a to f, without 0x"


def read_keys(path: str | Path) -> dict[str, bytes]:
    """The keys in a file of lines ``identity:hexkey``, by identity. Blank lines, and those that begin with
    ``#``, are ignored.

    Raises ``ConfigError`` with file and line, which never quotes what may be a key.
    """
    try:
        text = read("psk_file", path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"psk_file {path}: expected text in UTF-8") from None
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"psk_file {path}, line {number}"
        identity, colon, digits = (part.strip() for part in line.partition(":"))
        if not colon or not identity:
            raise ConfigError(f"{where}: {EXPECTED}")
        if not identity.isprintable() or len(identity.encode()) > MOST_IDENTITY_BYTES:
            raise ConfigError(
                f"{where}: an identity is printable and has {MOST_IDENTITY_BYTES} bytes at most"
            )
        if identity in keys:
            raise ConfigError(f"{where}: the identity {identity!r} is there twice; which key is it?")
        keys[identity] = _key(where, digits)
    if not keys:
        raise ConfigError(f"psk_file {path}: there is no key in it, so nobody could connect; {EXPECTED}")
    return keys


def _key(where: str, digits: str) -> bytes:
    if not digits:
        raise ConfigError(f"{where}: the key is empty; {EXPECTED}")
    if ":" in digits:
        raise ConfigError(
            f"{where}: the first colon ends the identity, so there can be none in it; {EXPECTED}"
        )
    if not set(digits) <= set("0123456789abcdefABCDEF"):
        raise ConfigError(f"{where}: the key has other characters; {EXPECTED}")
    if len(digits) % 2:
        raise ConfigError(f"{where}: the key has {len(digits)} digits, which are not pairs; {EXPECTED}")
    if len(digits) > 2 * MOST_KEY_BYTES:
        raise ConfigError(
            f"{where}: the key has {len(digits) // 2} bytes; {MOST_KEY_BYTES} at most are taken"
        )
    return bytes.fromhex(digits)


def about_keys(path: str | Path, keys: Mapping[str, bytes]) -> list[str]:
    """What is to be warned of."""
    short = [printable(identity) for identity, key in keys.items() if len(key) < LEAST_SAFE_BYTES]
    if not short:
        return []
    return [
        f"psk_file {path}: weak, keys of less than {LEAST_SAFE_BYTES} bytes (32 digits) can be found by "
        "trying: " + ", ".join(short[:8])
    ]


_EXCLUDED: Final = (
    *("certificate", "key", "key_password", "key_password_file", "certificates", "client_ca", "identity"),
    "crl",
)


def check_keys(listener: Listener) -> None:
    """Raise ``ConfigError`` for settings that cannot be with a ``psk_file``, and where Python has no PSK."""
    if not PYTHON_HAS_PSK:
        raise ConfigError(
            f"psk_file needs Python 3.13 or newer, and this is {sys.version.split()[0]}: "
            "run the broker with that, or use certificates"
        )
    if not OPENSSL_HAS_PSK:
        raise ConfigError(f"psk_file: {ssl.OPENSSL_VERSION}, which this Python has, was built without PSK")
    for name in _EXCLUDED:
        if getattr(listener, name):
            raise ConfigError(
                f"psk_file is in the place of certificates: leave {name} out, or have two listeners"
            )
    if listener.asks_client != "none":
        raise ConfigError("psk_file is in the place of certificates: leave client_certificates out")
    if listener.lowest_tls != "1.2":
        raise ConfigError('psk_file is for TLS 1.2: leave lowest_tls = "1.3" out')
    if len(listener.psk_hint.encode()) > MOST_IDENTITY_BYTES or not listener.psk_hint.isprintable():
        raise ConfigError(f"psk_hint is printable and has {MOST_IDENTITY_BYTES} bytes at most")
