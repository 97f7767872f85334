"""The core's questions about clients, put to authenticators and authorizers, which may take their time.

Only the client in question waits. An error of whoever is asked, and an answer that is none, are a no.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from curier.auth.base import (
    Action,
    Authenticator,
    Authorizer,
    Certificate,
    Credentials,
    LocalPeer,
    Verdict,
    check_verdict,
)
from curier.banning import Banning
from curier.broker.effects import Answer, Authenticate, Authorize
from curier.broker.model import NOTHING_KNOWN, BrokerConnection, Known
from curier.inside import is_inside, is_own
from curier.loglines import logger, printable
from curier.net.tls import Tls
from curier.net.turn import Turn
from curier.types import ReasonCode

log = logger("curier.server")

GONE: Final = "this user may not connect any more"
"""All that those are told who would be let in no more."""

REVOKED: Final = "the certificate is revoked"
CERTIFICATES_AT_ONCE: Final = 50  # are looked up before others have their turn

LONGEST_NAME: Final = 200
"""Characters of a user name in a line that says why a client was refused."""

AT_ONCE: Final = 1000
"""Clients that are asked about before others have their turn."""


class Asking:
    """Puts each question in a task of its own."""

    def __init__(
        self,
        turn: Turn,
        authenticator: Authenticator | None,
        authorizer: Authorizer | None,
        banning: Banning | None = None,
    ) -> None:
        self._turn: Final = turn
        self._authenticator: Final = authenticator
        self._authorizer: Final = authorizer
        self._banning: Final = banning
        self.open: dict[int, set[asyncio.Task[None]]] = {}  # by number of the connection
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Have the authenticator look for changes from now on, until ``call_all_off``."""
        if self._authenticator is not None and self._authenticator.look_seconds:
            self._looking = asyncio.get_running_loop().create_task(self._look(self._authenticator))

    def ask(self, effect: Authenticate | Authorize) -> None:
        """Have the question answered with ``Turn.resume``; it is called off when the connection ends."""
        number = effect.connection.number
        if isinstance(effect, Authenticate):
            work = self._let_in(effect) if is_inside(effect.connection) else self._authenticate(effect)
        else:
            work = self._authorize(effect)
        task = asyncio.get_running_loop().create_task(work)
        self.open.setdefault(number, set()).add(task)
        task.add_done_callback(partial(self._answered, number))

    async def who_is(self, authenticator: Authenticator, credentials: Credentials) -> Verdict:
        """What ``authenticator`` says of somebody who comes in another way than by MQTT. It is counted, and
        not asked about who is banned, as with clients.
        """
        banned = self._banning.verdict(credentials) if self._banning is not None else None
        if banned is not None:
            return banned
        verdict = await self._ask(authenticator, credentials)
        if self._banning is not None:
            self._banning.answered(credentials, verdict)
        return verdict

    def call_off(self, number: int) -> None:
        """Nobody wants to know any more about this connection."""
        for task in self.open.pop(number, ()):
            task.cancel()

    def call_all_off(self) -> None:
        """Nor about any other."""
        if self._looking is not None:
            self._looking.cancel()
        for number in list(self.open):
            self.call_off(number)

    async def _look(self, authenticator: Authenticator) -> None:
        """Disconnect those who would be let in no more, soon after that is known."""
        before: int | None = None
        while True:
            try:
                found = await authenticator.look()
                if before is not None and found != before:
                    if self._banning is not None:
                        self._banning.users_changed()
                    await self._ask_again()
                before = found
            except Exception:
                log.exception("the authenticator failed to look for changes")
            await asyncio.sleep(authenticator.look_seconds)

    async def _ask_again(self) -> None:
        for place, connection in enumerate(list(self._turn.core.connections.values()), 1):
            why_no_more = cast(Callable[[], str] | None, connection.known.why_no_more)
            why = why_no_more() if why_no_more is not None else ""
            self._expel(connection, why, GONE)
            if not place % AT_ONCE:
                await asyncio.sleep(0)

    async def end_revoked(self) -> None:
        """Disconnect those whose certificates have been revoked since they were let in."""
        for place, connection in enumerate(list(self._turn.core.connections.values()), 1):
            tls = self._tls_of(connection)
            self._expel(connection, tls.why_no_more() if tls is not None else "", REVOKED)
            if not place % CERTIFICATES_AT_ONCE:
                await asyncio.sleep(0)

    def _expel(self, connection: BrokerConnection, why: str, told: str) -> None:
        if why and not connection.is_closed():
            now = self._turn.clock.now()
            self._turn.core.expel(connection, ReasonCode.NOT_AUTHORIZED, told, why, now)
            self._turn.schedule()

    def _answered(self, number: int, task: asyncio.Task[None]) -> None:
        tasks = self.open.get(number)
        if tasks is not None:
            tasks.discard(task)
            if not tasks:
                del self.open[number]

    async def _let_in(self, effect: Authenticate) -> None:
        """A client of the program's own is who it says."""
        self._turn.resume(effect, Answer(0, identity=effect.connect.username))

    async def _authenticate(self, effect: Authenticate) -> None:
        assert self._authenticator is not None
        connect = effect.connect
        credentials = self._credentials(effect)
        banned: Verdict | None = None
        if self._banning is not None and not effect.is_step:
            banned = self._banning.verdict(credentials)
        verdict = banned or await self._ask(self._authenticator, credentials, effect)
        if self._banning is not None and banned is None:
            self._banning.answered(credentials, verdict)
        identity = verdict.identity if verdict.identity is not None else connect.username
        answer = Answer(
            verdict.reason_code, verdict.reason_string, identity, verdict.authentication_data, verdict.state
        )
        if verdict.reason_code >= 0x80 and connect.username is not None:
            who = f"user {connect.username[:LONGEST_NAME]}"  # who it is not, perhaps
            answer.why = f"{who}: {verdict.why or verdict.reason_string or 'refused'}"
        else:
            answer.why = verdict.why
        if verdict.groups or verdict.claims or verdict.expires_at is not None or verdict.why_no_more:
            expires_at = 0.0
            if verdict.expires_at is not None:  # by the wall clock, which may have been set since the start
                expires_at = max(1.0, self._turn.clock.now() + (verdict.expires_at - time.time()))
            claims = dict(verdict.claims) if verdict.claims else NOTHING_KNOWN.claims
            answer.known = Known(verdict.groups, claims, expires_at, verdict.why_no_more)
        self._turn.resume(effect, answer)

    async def _ask(
        self, authenticator: Authenticator, credentials: Credentials, effect: Authenticate | None = None
    ) -> Verdict:
        try:
            if effect is not None and effect.is_step:
                verdict = await authenticator.exchange(credentials, effect.state)
            else:
                verdict = await authenticator.authenticate(credentials)
            check_verdict(verdict)
        except Exception:
            log.exception("the authenticator failed; %s is refused", printable(credentials.client_id))
            return Verdict(ReasonCode.SERVER_UNAVAILABLE, "authentication is not available")
        return verdict

    def _credentials(self, effect: Authenticate) -> Credentials:
        connect = effect.connect
        connection = effect.connection
        return Credentials(
            client_id=connect.client_id,
            username=connect.username,
            password=connect.password,
            address=connection.address,
            listener=connection.listener,
            protocol_version=connect.version,
            authentication_method=connection.authentication_method,
            authentication_data=effect.data,
            certificate=self._certificate_of(connection),
            certificate_name=connection.certificate_name,
            local_peer=LocalPeer(*connection.local_peer) if connection.local_peer is not None else None,
            listener_name=connection.listener_name,
            psk_identity=self._psk_identity_of(connection),
        )

    def _tls_of(self, connection: BrokerConnection) -> Tls | None:
        wire = self._turn.wires.get(connection.number)
        return wire.layers.tls if wire is not None and wire.layers is not None else None

    def _certificate_of(self, connection: BrokerConnection) -> Certificate | None:
        """That which a client has shown to us."""
        tls = self._tls_of(connection)
        found = tls.certificate() if tls is not None else None
        return None if found is None else Certificate(*found)

    def _psk_identity_of(self, connection: BrokerConnection) -> str | None:
        """Whose key a client has shown to know."""
        tls = self._tls_of(connection)
        return tls.claim.identity if tls is not None and tls.claim is not None else None

    async def _authorize(self, effect: Authorize) -> None:
        assert self._authorizer is not None
        connection = effect.connection
        topic = effect.topic.decode()
        if is_own(connection.identity, connection.address):
            self._turn.resume(effect, Answer(0))  # it does what the program has it do
            return
        try:
            verdict = await self._authorizer.authorize(
                connection.identity,
                connection.client_id,
                cast(Action, effect.action),
                topic,
                effect.qos,
                effect.retain,
            )
            check_verdict(verdict)
        except Exception:
            who, what = printable(connection.client_id), printable(topic)
            log.exception("the authorizer failed; %s may not %s %s", who, effect.action, what)
            verdict = Verdict(ReasonCode.NOT_AUTHORIZED, "authorization is not available")
        self._turn.resume(effect, Answer(verdict.reason_code, verdict.reason_string))
