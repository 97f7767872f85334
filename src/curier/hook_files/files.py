"""The hook files of a broker: put into it, and replaced there when they are read again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from curier.auth.base import CONTINUE, Action, Authenticator, Authorizer, Credentials, Verdict
from curier.errors import ConfigError
from curier.hook_files.reading import Defined, read

if TYPE_CHECKING:
    from curier.server import Broker


class HookFiles:
    """The files at ``paths``. ``defined`` is what is in them, in their order, as of the last ``load`` or
    ``reload`` that found nothing wrong.

    They are run in a thread, since they may do much: nothing stands still for it.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths: Final = tuple(paths)
        self.defined = Defined()
        self.authenticator: OfFiles | None = None
        self.authorizer: AllOfFiles | None = None
        self._turns: Final = asyncio.Lock()

    async def load(self) -> None:
        """Before the broker is made, of which they are part then. Raises ``ConfigError``."""
        self.defined = defined = await asyncio.to_thread(_read_all, self.paths)
        if defined.authenticators:
            self.authenticator = OfFiles(defined.authenticators[0])
        if defined.authorizers:
            self.authorizer = AllOfFiles(defined.authorizers)

    async def reload(self, broker: Broker) -> None:
        """Put what is in the files now into the place of what was. Connected clients stay, what they may do
        is asked anew. Raises ``ConfigError``; nothing has changed then.
        """
        async with self._turns:
            defined = await asyncio.to_thread(_read_all, self.paths)
            _same("an authenticator", self.defined.authenticators, defined.authenticators)
            _same("an authorizer", self.defined.authorizers, defined.authorizers)
            for hook in self.defined.hooks:
                broker.core.remove_hook(hook)
            for hook in defined.hooks:
                broker.core.add_hook(hook)
            if self.authenticator is not None:
                self.authenticator.source = defined.authenticators[0]
                assert broker.authenticator is not None
                broker.core.authentication_methods = broker.authenticator.methods
            if self.authorizer is not None:
                self.authorizer.replace(defined.authorizers)
            self.defined = defined


def _read_all(paths: Sequence[str]) -> Defined:
    found = [read(path) for path in paths]
    defined = Defined(
        tuple(chain.from_iterable(one.hooks for one in found)),
        tuple(chain.from_iterable(one.authenticators for one in found)),
        tuple(chain.from_iterable(one.authorizers for one in found)),
    )
    if len(defined.authenticators) > 1:
        names = " and ".join(type(one).__name__ for one in defined.authenticators)
        raise ConfigError(f"{' and '.join(paths)}: one authenticator can decide who connects, not {names}")
    return defined


def _same(what: str, before: Sequence[object], after: Sequence[object]) -> None:
    """A broker that asked nobody, and now should, or the other way round: not without a restart, so that
    nothing is ever open because of a slip in a file.
    """
    if bool(before) != bool(after):
        now = "no longer" if before else "now"
        raise ConfigError(f"the hook files {now} define {what}; that needs a restart of the broker")


class _Step(NamedTuple):
    """Who began an exchange of AUTH packets, and goes on with it whatever is read meanwhile."""

    source: Authenticator
    state: object


class OfFiles(Authenticator):
    """Asks ``source``, which may be replaced."""

    def __init__(self, source: Authenticator) -> None:
        self.source = source

    @property
    def name(self) -> str:
        """That of ``source``."""
        return self.source.name

    @property
    def methods(self) -> frozenset[str]:
        """Those of ``source``."""
        return self.source.methods

    @property
    def look_seconds(self) -> float:
        """That of ``source``."""
        return self.source.look_seconds

    async def look(self) -> int:
        """Look at ``source``."""
        return await self.source.look()

    async def authenticate(self, credentials: Credentials) -> Verdict:
        """Answer a CONNECT."""
        source = self.source
        return _begun(source, await source.authenticate(credentials))

    async def exchange(self, credentials: Credentials, state: object) -> Verdict:
        """Answer an AUTH packet."""
        source, state = state if isinstance(state, _Step) else _Step(self.source, state)
        return _begun(source, await source.exchange(credentials, state))


def _begun(source: Authenticator, verdict: Verdict) -> Verdict:
    """The verdict, which remembers who gave it where another step follows."""
    return (
        replace(verdict, state=_Step(source, verdict.state)) if verdict.reason_code == CONTINUE else verdict
    )


class AllOfFiles(Authorizer):
    """Allows what all of ``sources`` allow, which may be replaced; they are asked in order."""

    def __init__(self, sources: Sequence[Authorizer]) -> None:
        self._sources: tuple[Authorizer, ...] = ()
        self.replace(sources)

    def replace(self, sources: Sequence[Authorizer]) -> None:
        """Ask these from now on, also about what was asked before."""
        for source in self._sources:
            source.unwatch(self.changed)
        self._sources = tuple(sources)
        for source in self._sources:
            source.watch(self.changed)
        self.changed()

    async def authorize(
        self, identity: str | None, client_id: str, action: Action, topic: str, qos: int, retain: bool
    ) -> Verdict:
        """The first no, or the last yes."""
        while True:
            sources = self._sources
            for source in sources:
                verdict = await source.authorize(identity, client_id, action, topic, qos, retain)
                if not verdict.accepted:
                    break
            if sources is self._sources:  # else it is an answer of before, and would be remembered
                return verdict
