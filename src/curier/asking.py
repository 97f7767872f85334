"""The core's questions about clients, put to authenticators and authorizers, which may take their time.

Only the client in question waits. An error of whoever is asked, and an answer that is none, are a no.
"""

from __future__ import annotations

import asyncio
import time
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
from curier.broker.effects import Answer, Authenticate, Authorize
from curier.broker.model import BrokerConnection, Known
from curier.loglines import logger, printable
from curier.net.tls import Tls
from curier.net.turn import Turn
from curier.types import ReasonCode

log = logger("curier.server")


class Asking:
    """Puts each question in a task of its own."""

    def __init__(
        self, turn: Turn, authenticator: Authenticator | None, authorizer: Authorizer | None
    ) -> None:
        self._turn: Final = turn
        self._authenticator: Final = authenticator
        self._authorizer: Final = authorizer
        self.open: dict[int, set[asyncio.Task[None]]] = {}  # by number of the connection

    def ask(self, effect: Authenticate | Authorize) -> None:
        """Have the question answered with ``Turn.resume``; it is called off when the connection ends."""
        number = effect.connection.number
        work = self._authenticate(effect) if isinstance(effect, Authenticate) else self._authorize(effect)
        task = asyncio.get_running_loop().create_task(work)
        self.open.setdefault(number, set()).add(task)
        task.add_done_callback(partial(self._answered, number))

    def call_off(self, number: int) -> None:
        """Nobody wants to know any more about this connection."""
        for task in self.open.pop(number, ()):
            task.cancel()

    def call_all_off(self) -> None:
        """Nor about any other."""
        for number in list(self.open):
            self.call_off(number)

    def _answered(self, number: int, task: asyncio.Task[None]) -> None:
        tasks = self.open.get(number)
        if tasks is not None:
            tasks.discard(task)
            if not tasks:
                del self.open[number]

    async def _authenticate(self, effect: Authenticate) -> None:
        assert self._authenticator is not None
        connect = effect.connect
        credentials = self._credentials(effect)
        try:
            if effect.is_step:
                verdict = await self._authenticator.exchange(credentials, effect.state)
            else:
                verdict = await self._authenticator.authenticate(credentials)
            check_verdict(verdict)
        except Exception:
            log.exception("the authenticator failed; %s is refused", printable(connect.client_id))
            verdict = Verdict(ReasonCode.SERVER_UNAVAILABLE, "authentication is not available")
        identity = verdict.identity if verdict.identity is not None else connect.username
        answer = Answer(
            verdict.reason_code, verdict.reason_string, identity, verdict.authentication_data, verdict.state
        )
        answer.why = verdict.why
        if verdict.groups or verdict.claims or verdict.expires_at is not None:
            expires_at = 0.0
            if verdict.expires_at is not None:  # by the wall clock, which may have been set since the start
                expires_at = max(1.0, self._turn.clock.now() + (verdict.expires_at - time.time()))
            answer.known = Known(verdict.groups, dict(verdict.claims), expires_at)
        self._turn.resume(effect, answer)

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
