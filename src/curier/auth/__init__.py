"""Who a client is and what it may do: the seams, and the implementations that come with the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curier.auth.base import (
    NOT_MINE,
    Action,
    AllowAnonymous,
    Authenticator,
    Authorizer,
    Certificate,
    Credentials,
    LocalPeer,
    Verdict,
)
from curier.auth.chain import Chain
from curier.errors import missing_package

if TYPE_CHECKING:
    from curier.auth.password_file import PasswordFile

__all__ = [
    "NOT_MINE",
    "Action",
    "AllowAnonymous",
    "Authenticator",
    "Authorizer",
    "Certificate",
    "Chain",
    "Credentials",
    "LocalPeer",
    "PasswordFile",
    "Verdict",
]


def __getattr__(name: str) -> object:
    """``PasswordFile`` on first use: it needs a package that not every broker has."""
    if name != "PasswordFile":
        raise AttributeError(f"module 'curier.auth' has no attribute {name!r}")
    try:
        from curier.auth.password_file import PasswordFile
    except ImportError as error:
        raise missing_package(error, "a password file") from error
    return PasswordFile
