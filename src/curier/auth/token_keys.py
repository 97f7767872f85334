"""Keys that tokens are signed with, and which algorithms each may be used for: that is for the key to say,
and never for a token (RFC 8725, section 3.1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from curier.errors import ConfigError

MOST_KEYS: Final = 100
MOST_FILE_BYTES: Final = 256 * 1024

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_HASHES: Final = (("HS256", 32), ("HS384", 48), ("HS512", 64))
"""RFC 7518, section 3.2: a secret is no shorter than what the hash gives, in bytes."""


@dataclass(frozen=True)
class TokenKey:
    """One key. ``name`` is what a token may call it (``kid``); None: it has none, and is tried for all.
    ``algorithms`` are those that its kind allows.
    """

    name: str | None
    key: Any = field(repr=False)
    algorithms: tuple[str, ...]


def of_secret(secret: bytes) -> TokenKey:
    """A secret shared with whoever signs. Raises ``ValueError``."""
    algorithms = tuple(name for name, least in _HASHES if len(secret) >= least)
    if not algorithms:
        raise ValueError(f"a secret for tokens has 32 bytes or more, not {len(secret)}: openssl rand -hex 32")
    if secret.lstrip().startswith((b"-----BEGIN", b"ssh-")):
        raise ValueError("this is a key, not a secret: it belongs into key_file")
    return TokenKey(None, secret, algorithms)


def of_public(key: object, name: str | None = None) -> TokenKey:
    """A public key. Raises ``ValueError`` for one of another kind, or one that is too weak or too large."""
    if isinstance(key, RSAPublicKey):
        if not 2048 <= key.key_size <= 8192 or key.public_numbers().e >= 2**32:
            raise ValueError(f"an RSA key of 2048 to 8192 bits is wanted, not of {key.key_size}")
        return TokenKey(name, key, _RSA)
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return TokenKey(name, key, (_CURVES[key.curve.name],))
    if isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return TokenKey(name, key, ("EdDSA",))
    raise ValueError("a public key is wanted, of RSA, P-256, P-384, P-521, Ed25519 or Ed448")


def of_jwk(jwk: Mapping[str, object]) -> TokenKey:
    """A key of a set of keys (RFC 7517), which is public. Raises ``ValueError``."""
    if jwk.get("kty") == "oct":
        raise ValueError("a secret is none of the keys that may be in a set")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("it is for other things than signatures")
    operations = jwk.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        raise ValueError("it is not for verifying")
    public = {part: value for part, value in jwk.items() if part in ("kty", "n", "e", "crv", "x", "y")}
    try:
        made = of_public(PyJWK(public, _algorithm_of(public)).key)
    except (PyJWTError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it cannot be read ({type(error).__name__})") from None
    name, algorithm = jwk.get("kid"), jwk.get("alg")
    if not isinstance(name, str | None):
        raise ValueError("its kid is no text")
    algorithms = tuple(one for one in made.algorithms if algorithm in (None, one))
    if not algorithms:
        raise ValueError("its alg does not fit its kind")
    return TokenKey(name, made.key, algorithms)


def _algorithm_of(public: Mapping[str, object]) -> str | None:
    """What PyJWT has to be told, which knows Ed448 only so."""
    return "EdDSA" if public.get("kty") == "OKP" else None


def of_set(text: bytes) -> tuple[list[TokenKey], list[str]]:
    """The keys of a set (JWKS), and why others that are in it are left out. Raises ``ValueError``."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("expected a JSON Web Key Set, and it is no JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError('expected a JSON Web Key Set: {"keys": [...]}')
    keys: list[TokenKey] = []
    left_out: list[str] = []
    for number, jwk in enumerate(listed, 1):
        if len(keys) == MOST_KEYS:
            left_out.append(f"all from key {number} on: a set has {MOST_KEYS} keys at most")
            break
        try:
            if not isinstance(jwk, dict):
                raise ValueError("it is no key")
            keys.append(of_jwk(jwk))
        except ValueError as error:
            if len(left_out) < 10:
                left_out.append(f"key {number}: {error}")
    return keys, left_out


def take_secret(text: str) -> tuple[TokenKey, ...]:
    """A secret that stands in the settings. Raises ``ConfigError``."""
    try:
        return (of_secret(text.encode()),)
    except ValueError as error:
        raise ConfigError(f"secret: {error}") from None


def read_secret(path: str) -> tuple[TokenKey, ...]:
    """The secret in a file, without the end of its line. Raises ``ConfigError``."""
    secret = _content(path).removesuffix(b"\n").removesuffix(b"\r")
    try:
        return (of_secret(secret),)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def read_keys(path: str) -> tuple[TokenKey, ...]:
    """The public keys in a file: PEM, of keys or certificates, or a JSON Web Key Set.

    Raises ``ConfigError``.
    """
    content = _content(path)
    try:
        if content.lstrip().startswith(b"{"):
            keys, left_out = of_set(content)
            if left_out:
                raise ValueError("; ".join(left_out))
        else:
            keys = [of_public(key) for key in _pem_keys(content)]
        if not keys:
            raise ValueError("there is no public key in it")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return tuple(keys)


def _pem_keys(content: bytes) -> Sequence[object]:
    """Those of all PEM blocks. Raises ``ValueError``."""
    found: list[object] = []
    for block in content.split(b"-----BEGIN ")[1:]:
        pem = b"-----BEGIN " + block
        if block.startswith(b"CERTIFICATE"):
            found.append(x509.load_pem_x509_certificate(pem).public_key())
        elif b"PRIVATE" in block.partition(b"\n")[0]:
            raise ValueError("a private key is in it; the broker needs the public one only")
        else:
            found.append(load_pem_public_key(pem))
        if len(found) > MOST_KEYS:
            raise ValueError(f"it has more than {MOST_KEYS} keys")
    return found


def _content(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MOST_FILE_BYTES:
        raise ConfigError(f"{path}: it has {len(content)} bytes; {MOST_FILE_BYTES} are the most")
    return content
