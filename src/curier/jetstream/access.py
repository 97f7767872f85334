"""How a node comes to its servers of NATS, and is known there: URLs, TLS, a user or a file of credentials.

What nats-py is given for each connection is made when it is: a file that was renewed meanwhile is read anew.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from curier.errors import ConfigError
from curier.frozen import dataclass

SECURE: Final = ("tls", "wss")
MOST_BYTES: Final = 1 << 20
JWT: Final = "BEGIN NATS USER JWT"
SEED: Final = "BEGIN USER NKEY SEED"
BARE_SEED: Final = "SU"  # with which the seed of a user begins


class NotSecure(ConfigError):
    """A server does not speak TLS, though it is to: nothing that is secret was sent to it."""


@dataclass(frozen=True, slots=True)
class Access:
    """How this node comes to the servers. ``servers`` are URLs, which may have a user and a password, or a
    token. ``tls`` is for all of them; without it, system authorities are for those that ask for TLS.
    """

    servers: tuple[str, ...]
    credentials: str = ""  # a file of NATS: a JWT and its seed, or a seed alone
    tls: ssl.SSLContext | None = None
    has_certificate: bool = False  # one of this node, in ``tls``

    def needs_tls(self, server: str) -> bool:
        """Is nothing to be said to it in the clear?"""
        return self.tls is not None or urlsplit(server).scheme in SECURE

    def options(self, server: str) -> dict[str, Any]:
        """What nats-py is told of who this is. Raises ``ConfigError`` for a file that is none of NATS."""
        options: dict[str, Any] = {"tls": self.tls}
        if self.credentials:
            options["nkeys_seed" if is_seed(self.credentials) else "user_credentials"] = self.credentials
        parts = urlsplit(server)
        if parts.username is not None and parts.password is not None:
            options |= {"user": unquote(parts.username), "password": unquote(parts.password)}
        elif parts.username is not None:
            options["token"] = unquote(parts.username)
        return options


def access_of(
    servers: tuple[str, ...], credentials: str = "", cafile: str = "", certificate: str = "", key: str = ""
) -> Access:
    """With these files. Raises ``ConfigError`` for those that cannot be used."""
    if credentials:
        is_seed(credentials)
    return Access(servers, credentials, tls_of(cafile, certificate, key), bool(certificate))


def tls_of(cafile: str, certificate: str, key: str) -> ssl.SSLContext | None:
    """Of these files; None where there are none. Raises ``ConfigError`` for those that cannot be used."""
    if not (cafile or certificate):
        return None
    try:
        context = ssl.create_default_context(cafile=cafile or None)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{cafile}: no authorities can be read: {_said(error)}; it is to be a PEM file of those "
            "who signed the certificates of NATS (--cluster-cafile)"
        ) from None
    if certificate:
        try:
            context.load_cert_chain(certificate, key or None, _no_password)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{certificate}: this node's certificate for NATS cannot be used: {_said(error)}; "
                "certificate and key are PEM files without a password that belong together "
                "(--cluster-certificate, --cluster-key)"
            ) from None
    return context


def _no_password() -> str:
    raise ValueError("its key has a password")


def is_seed(path: str) -> bool:
    """Has this file of credentials the seed of a user alone? Else it has a JWT, too. Raises ``ConfigError``;
    nothing of what stands in the file is in its words.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(MOST_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(
            f"{path}: the credentials for NATS cannot be read: {_said(error)} (--cluster-credentials)"
        ) from None
    if JWT in text and SEED in text:
        return False
    if text.strip().startswith(BARE_SEED) and len(text.split()) == 1:
        return True
    raise ConfigError(
        f"{path} is no file of NATS's credentials: expected what nsc generate creds writes, or the seed of a "
        "user (SU...) alone (--cluster-credentials)"
    )


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
