"""What went wrong with an order, in words for a log."""

from __future__ import annotations

import josepy
import requests
from acme import errors, messages

from curier.loglines import printable


class NotIssued(Exception):
    """There is no certificate, for this reason."""


KNOWN = (
    NotIssued,
    OSError,
    errors.Error,
    josepy.errors.Error,
    requests.RequestException,
    ValueError,
    KeyError,
)
"""What can go wrong without a mistake of ours. (``RequestException`` is an ``OSError``.)"""


def explain(error: Exception, authority: str) -> str:
    """Why there is no certificate of the authority with this directory URL."""
    if isinstance(error, NotIssued):
        return f"{authority}: {error}"
    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"{authority}: its own certificate is not trusted ({_innermost(error)}); for an authority of "
            + ("your own, REQUESTS_CA_BUNDLE names the file of its root")
        )
    if isinstance(error, requests.Timeout):
        return f"{authority} does not answer"
    if isinstance(error, requests.RequestException):
        return f"{authority} cannot be reached: {_innermost(error)}"
    if isinstance(error, errors.ValidationError):
        return f"{authority}: {'; '.join(_failed(error))}"
    if isinstance(error, errors.IssuanceError):
        return f"{authority}: {_problem(error.error)}"
    if isinstance(error, messages.Error):
        return f"{authority}: {_problem(error)}"
    if isinstance(error, errors.TimeoutError):
        return f"{authority}: it has not come to an end in minutes"
    if isinstance(error, errors.ClientError) and error.args and isinstance(error.args[0], requests.Response):
        return f"{authority} answers {error.args[0].status_code} {printable(error.args[0].reason)}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    return f"{authority}: what it answers is not ACME ({type(error).__name__}: {printable(str(error))})"


def _innermost(error: BaseException) -> str:
    """What the system or OpenSSL says, below what libraries make of it."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
        inner = inner or error.__cause__ or error.__context__
        if inner is None:
            return printable(str(error))
        error = inner


def _problem(error: messages.Error) -> str:
    said = [printable(str(one)) for one in (error.detail or error.title,) if one]
    for one in error.subproblems or ():
        said.append(printable(str(one.detail or one.title)))
    kind = printable(str(error.code or error.typ))
    return f"{'; '.join(said)} ({kind})" if said else kind


def _failed(error: errors.ValidationError) -> list[str]:
    found = []
    for one in error.failed_authzrs:
        name = one.body.identifier.value
        why = [_problem(challenge.error) for challenge in one.body.challenges if challenge.error is not None]
        found.append(
            f"it could not see that {name} leads here: {'; '.join(why)}; port 80 of {name} has to reach "
            "acme_http"
        )
    return found
