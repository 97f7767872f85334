"""Somebody else decides who may connect, and is asked over HTTP: JSON there and back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from curier.auth.base import ACCEPT, NOT_MINE, Authenticator, Credentials, Verdict
from curier.auth.calls import Answered, CallFailed, Calls, TooManyCalls, is_private_call, shown
from curier.auth.facts import MOST_CLAIMS, take_claim, take_groups, take_name, take_time
from curier.auth.remembered import MOST_SECONDS, Remembered
from curier.auth.shares import Shares, ShareTaken
from curier.errors import ConfigError
from curier.loglines import printable
from curier.places import place_of
from curier.types import ReasonCode

MOST_WAITING: Final = 1000
ALLOW: Final = "allow"
DENY: Final = "deny"
NOT_KNOWN: Final = "unknown"


@dataclass(frozen=True)
class HttpSettings:
    """Who is asked, and how.

    ``url`` is ``https://``, or on this machine; else others on the way can read passwords, and
    ``allow_plain`` has to say that this is meant. ``ca_file`` has who may sign its certificate, by default
    the system knows; ``certificate`` and ``key`` are ours, ``token`` is what is sent as bearer token,
    or ``token_file`` has it.
    ``timeout`` is in seconds, for a login as a whole; ``at_once`` is how many are asked about at a time.
    """

    url: str
    timeout: float = 5.0
    at_once: int = 16
    ca_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    allow_plain: bool = False


class HttpAuthenticator(Authenticator):
    """Asks ``settings.url`` with POST about each client that sends a user name or a password.

    What is no whole, right answer in time is a no (0x88), and never kept. Answers that say for how long they
    are good are used again for the same client with the same password from the same address.
    Raises ``ConfigError``.
    """

    def __init__(self, settings: HttpSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings: Final = settings
        if not settings.allow_plain and not is_private_call(settings.url):
            raise ConfigError(
                f"{shown(settings.url)}: others could read the passwords on their way: use https://, or, "
                "where that is meant, allow_plain = true"
            )
        if not settings.timeout > 0 or not settings.at_once > 0:
            raise ConfigError("timeout and at_once have to be more than 0")
        self._calls: Final = Calls(
            settings.url,
            timeout=settings.timeout,
            at_once=settings.at_once,
            waiting=MOST_WAITING,
            ca_file=settings.ca_file,
            certificate=settings.certificate,
            key=settings.key,
        )
        self._headers = self._read_headers()
        self._accepted: Final = Remembered[Verdict](clock=clock)
        self._refused: Final = Remembered[Verdict](clock=clock)  # by themselves: strangers can fill these
        self._shares: Final = Shares()

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"http ({shown(self.settings.url)})"

    def reload(self) -> bool:
        """Forget answers, and read the token again. Raises ``ConfigError``; the token stays then."""
        self._accepted.clear()
        self._refused.clear()
        self._headers = self._read_headers()
        return True

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT."""
        if credentials.authentication_method is not None:
            return NOT_MINE
        if credentials.username is None and credentials.password is None:
            return NOT_MINE
        place = place_of(credentials.address)
        asked = json.dumps(_question(credentials, place)).encode()
        kept = self._accepted.find(asked) or self._refused.find(asked)
        if kept is not None:
            return kept
        try:
            with self._shares.one_of(place):
                answer = await self._calls.call("POST", self._headers, asked)
        except (ShareTaken, TooManyCalls) as error:
            return _busy(str(error))
        except CallFailed as error:
            return _failed(str(error))
        try:
            verdict, seconds = read_answer(answer)
        except ValueError as error:
            return _failed(printable(str(error)))
        if verdict.expires_at is not None:
            seconds = min(seconds, verdict.expires_at - time.time())
        (self._accepted if verdict.accepted else self._refused).keep(asked, verdict, seconds)
        return verdict

    def _read_headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        where, token = self.settings.token_file or "token", self.settings.token
        if token is None and self.settings.token_file is not None:
            try:
                token = Path(where).read_text().strip()
            except OSError as error:
                raise ConfigError(f"{where}: {error.strerror}") from error
            except UnicodeDecodeError:
                raise ConfigError(f"{where}: expected a token of ASCII characters") from None
        if token is not None:
            if not token.isascii():
                raise ConfigError(f"{where}: expected a token of ASCII characters")
            if not token or not token.isprintable():
                raise ConfigError(f"{where}: expected a token in one line")
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _question(credentials: Credentials, place: str) -> dict[str, object]:
    """What is asked, as ``docs/authentication.md`` says it."""
    asked: dict[str, object] = {
        "client_id": credentials.client_id,
        "username": credentials.username,
        "address": credentials.address.rpartition(":")[0].strip("[]") if "/" in place else place,
        "listener": credentials.listener_name or credentials.listener,
        "protocol_version": credentials.protocol_version,
        "certificate_name": credentials.certificate_name,
    }
    password = credentials.password
    if password is None:
        return asked | {"password": None}
    try:
        return asked | {"password": password.decode()}
    except UnicodeDecodeError:
        return asked | {"password_hex": password.hex()}


def read_answer(answer: Answered) -> tuple[Verdict, float]:
    """The verdict, and for how long it is good, in seconds. Raises ``ValueError`` for what is none."""
    if answer.status != 200:
        raise ValueError(f"the answer has the status {answer.status}")
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise ValueError("the answer is no JSON") from None
    if not isinstance(said, dict):
        raise ValueError("the answer is no JSON object")
    seconds = said.get("cache_seconds", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ValueError("cache_seconds is no number of seconds")
    seconds = float(min(seconds, MOST_SECONDS))
    why = said.get("reason", "")
    if not isinstance(why, str):
        raise ValueError("reason is no text")
    why = printable(why)
    result = said.get("result")
    if result == ALLOW:
        return _allowed(said), seconds
    if result == DENY:
        code = ReasonCode.BAD_USER_NAME_OR_PASSWORD
        return Verdict(code, "bad user name or password", why=why or "it says no"), seconds
    if result == NOT_KNOWN:
        return (replace(NOT_MINE, why=why) if why else NOT_MINE), seconds
    raise ValueError('result is none of "allow", "deny" and "unknown"')


def _allowed(said: Mapping[str, object]) -> Verdict:
    identity, claims, end = said.get("identity"), said.get("claims"), said.get("expires_at")
    claims = {} if claims is None else claims
    if not isinstance(claims, dict) or len(claims) > MOST_CLAIMS:
        raise ValueError(f"claims is no JSON object of {MOST_CLAIMS} at most")
    return Verdict(
        ACCEPT,
        identity=None if identity is None else take_name(identity, "identity"),
        groups=take_groups(said.get("groups"), "groups"),
        claims={
            take_name(name, "the name of a claim"): take_claim(value, f"claims.{name}")
            for name, value in claims.items()
        },
        expires_at=None if end is None else take_time(end, "expires_at"),
    )


def _busy(why: str) -> Verdict:
    return Verdict(ReasonCode.SERVER_BUSY, "too many logins are waiting", why=why)


def _failed(why: str) -> Verdict:
    return Verdict(ReasonCode.SERVER_UNAVAILABLE, "authentication is not available", why=why)
