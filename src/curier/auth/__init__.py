"""Who a client is and what it may do: the seams, and the implementations that come with the broker."""

from curier.auth.base import Action, AllowAnonymous, Authenticator, Authorizer, Credentials, Verdict
from curier.auth.password_file import PasswordFile

__all__ = [
    "Action",
    "AllowAnonymous",
    "Authenticator",
    "Authorizer",
    "Credentials",
    "PasswordFile",
    "Verdict",
]
