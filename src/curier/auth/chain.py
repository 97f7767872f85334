"""Several authenticators, asked in a stated order until one of them knows the client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from curier.auth.base import ACCEPT, NOT_MINE, Authenticator, Credentials, Verdict, check_verdict
from curier.errors import ConfigError
from curier.loglines import logger, printable
from curier.types import ReasonCode

_log = logger("curier.auth")

STEP_SECONDS: Final = 0.5
"""Where several are asked, a refusal comes at the next multiple of this after the question: how long it took
would tell which of them knows the user."""


class _Step(NamedTuple):
    """Which of them goes on with an exchange of AUTH packets, and with what."""

    source: Authenticator
    state: object


class Chain(Authenticator):
    """Asks ``sources`` in order. A yes, a no or another AUTH step of one of them is the answer;
    only where it says that the client is not its own (``NOT_MINE``) is the next one asked. One that fails has
    refused (0x88), whoever would come behind it; where none knows the client, it is refused, but for clients
    without a user name where ``allow_anonymous`` is set.

    A client with an Authentication Method is a matter of those who know that method, and no other.
    Of several sources it cannot be told by the time that a refusal takes which of them refused, within half a
    second; 0x89 (Server busy) comes at once. Raises ``ConfigError`` where there are no sources.
    """

    def __init__(self, sources: Sequence[Authenticator], *, allow_anonymous: bool = False) -> None:
        self.sources: Final = tuple(sources)
        if not self.sources:
            raise ConfigError("a chain of authenticators needs at least one: an empty one lets nobody in")
        self._allow_anonymous: Final = allow_anonymous
        if len(self.sources) > 1:
            for source in self.sources:
                source.hides_names = False

    @property
    def methods(self) -> frozenset[str]:
        """Those of all."""
        return frozenset().union(*(source.methods for source in self.sources))

    @property
    def look_seconds(self) -> float:
        """That of the one that is looked at most often."""
        return min((source.look_seconds for source in self.sources if source.look_seconds), default=0.0)

    async def look(self) -> int:
        """Look at all."""
        return sum([await source.look() for source in self.sources])

    def reload(self) -> bool:
        """Have all of them read again what they know; the first error is raised when all have been asked."""
        errors: list[ConfigError] = []
        found = False
        for source in self.sources:
            try:
                found |= source.reload()
            except ConfigError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return found

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT."""
        began = asyncio.get_running_loop().time()
        return await self.take_time(await self._authenticate(credentials), began)

    async def _authenticate(self, credentials: Credentials) -> Verdict:
        method = credentials.authentication_method
        whys: list[str] = []
        for source in self.sources:
            if method is None or method in source.methods:
                verdict = await _ask(source, credentials, source.authenticate(credentials))
                if verdict.is_mine:
                    return verdict
                whys.append(verdict.why)
        if self._allow_anonymous and method is None and credentials.username is None:
            return Verdict(ACCEPT)
        return replace(NOT_MINE, why="; ".join(whys) or NOT_MINE.why)

    async def exchange(self, credentials: Credentials, state: object) -> Verdict:
        """Answer an AUTH packet: whoever began goes on."""
        began = asyncio.get_running_loop().time()
        return await self.take_time(await self._exchange(credentials, state), began)

    async def _exchange(self, credentials: Credentials, state: object) -> Verdict:
        if isinstance(state, _Step):
            return await _ask(state.source, credentials, state.source.exchange(credentials, state.state))
        for source in self.sources:
            if credentials.authentication_method in source.methods:
                verdict = await _ask(source, credentials, source.exchange(credentials, state))
                if verdict.is_mine:
                    return verdict
        return await super().exchange(credentials, state)

    async def take_time(self, verdict: Verdict, began: float) -> Verdict:
        """``verdict``, when it may be told of a question that was put at ``began`` (of the loop's clock): a
        refusal not before the next step, also where somebody else refuses who was let in here.
        """
        if len(self.sources) > 1 and verdict.reason_code >= 0x80:
            if verdict.reason_code != ReasonCode.SERVER_BUSY:
                taken = asyncio.get_running_loop().time() - began
                await asyncio.sleep(STEP_SECONDS - taken % STEP_SECONDS)
        return verdict


async def _ask(source: Authenticator, credentials: Credentials, answer: Awaitable[Verdict]) -> Verdict:
    """What the source says, with its name for the log and for the next step."""
    try:
        verdict = await answer
        check_verdict(verdict)
    except Exception:
        _log.exception("%s failed; %s is refused", source.name, printable(credentials.client_id))
        why = f"{source.name} failed"
        return Verdict(ReasonCode.SERVER_UNAVAILABLE, "authentication is not available", why=why)
    if verdict.reason_code >= 0x80:
        return replace(verdict, why=f"{source.name}: {verdict.why or verdict.reason_string or 'no'}")
    return replace(verdict, state=None if verdict.accepted else _Step(source, verdict.state))
