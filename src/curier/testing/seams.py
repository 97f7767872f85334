"""Tests that every implementation of a seam passes: ours, and yours.

Subclass a contract in a test module, name the subclass ``Test...``, and give it the fixtures that its
docstring lists; pytest then runs the inherited tests against your implementation:

    class TestLdap(AuthenticatorContract):
        @pytest.fixture
        def authenticator(self) -> Authenticator:
            return Ldap("ldap://...")

        @pytest.fixture
        def accepted(self) -> Credentials:
            return credentials("ana", b"right")

        @pytest.fixture
        def refused(self) -> Credentials:
            return credentials("ana", b"wrong")

The tests are plain functions that start an event loop of their own, so they need no plugin of pytest.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from curier.auth.base import Action, Authenticator, Authorizer, Credentials, Verdict

CONNACK_REFUSALS: Final = frozenset(
    (*range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F)
)
"""The Reason Codes of CONNACK that refuse (5.0 section 3.2.2.2)."""

PUBLISH_REFUSALS: Final = frozenset((0x80, 0x83, 0x87, 0x90, 0x97, 0x99))
"""The Reason Codes of PUBACK and PUBREC that refuse a message (sections 3.4.2.1 and 3.5.2.1)."""

SUBSCRIBE_REFUSALS: Final = frozenset((0x80, 0x83, 0x87, 0x8F, 0x97, 0x9E, 0xA1, 0xA2))
"""The Reason Codes of SUBACK that refuse a subscription (section 3.9.3)."""


def credentials(username: str | None, password: bytes | None, client_id: str = "tester") -> Credentials:
    """Credentials of a client on this machine that speaks MQTT 5.0."""
    return Credentials(
        client_id=client_id,
        username=username,
        password=password,
        address="127.0.0.1:50000",
        listener="tcp://127.0.0.1:1883",
        protocol_version=5,
    )


class AuthenticatorContract:
    """What every ``Authenticator`` does.

    Fixtures: ``authenticator``; ``accepted`` and ``refused``, the ``Credentials`` of a client that it lets in
    at once, and of one that it does not (``None`` if it lets everyone in).
    """

    def test_accepts_whom_it_should(self, authenticator: Authenticator, accepted: Credentials) -> None:
        verdict = asyncio.run(authenticator.authenticate(accepted))
        assert verdict.accepted
        assert verdict.identity is None or verdict.identity

    def test_refuses_with_a_reason_code_of_connack(
        self, authenticator: Authenticator, refused: Credentials | None
    ) -> None:
        if refused is not None:
            verdict = asyncio.run(authenticator.authenticate(refused))
            assert verdict.reason_code in CONNACK_REFUSALS
            assert len(verdict.reason_string.encode()) <= 65_535

    def test_keeps_no_state_from_one_client_to_the_next(
        self, authenticator: Authenticator, accepted: Credentials, refused: Credentials | None
    ) -> None:
        clients = [client for client in (accepted, refused, accepted, refused) if client is not None]

        async def one_by_one() -> list[Verdict]:
            return [await authenticator.authenticate(client) for client in clients]

        verdicts = asyncio.run(one_by_one())
        assert [verdict.accepted for verdict in verdicts] == [client is accepted for client in clients]

    def test_answers_many_at_once_each_with_its_own_verdict(
        self, authenticator: Authenticator, accepted: Credentials, refused: Credentials | None
    ) -> None:
        clients = [client for client in (accepted, refused) * 4 if client is not None]

        async def together() -> list[Verdict]:
            return await asyncio.gather(*(authenticator.authenticate(client) for client in clients))

        verdicts = asyncio.run(together())
        assert [verdict.accepted for verdict in verdicts] == [client is accepted for client in clients]

    def test_serves_on_after_a_client_left_before_its_answer(
        self, authenticator: Authenticator, accepted: Credentials
    ) -> None:
        async def leave_and_come_back() -> Verdict:
            leaving = asyncio.create_task(authenticator.authenticate(accepted))
            await asyncio.sleep(0)
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
            return await authenticator.authenticate(accepted)

        assert asyncio.run(leave_and_come_back()).accepted

    def test_takes_what_strangers_send(self, authenticator: Authenticator) -> None:
        odd = (None, "", "a", "a:b", "#", " ", "\U0001f511", "x" * 65_535)
        secrets = (None, b"", b"\x00\xff", b"x" * 65_535)

        async def all_of_them() -> list[Verdict]:
            return [
                await authenticator.authenticate(credentials(name, word)) for name in odd for word in secrets
            ]

        for verdict in asyncio.run(all_of_them()):
            assert verdict.reason_code in CONNACK_REFUSALS | {0x00, 0x18}

    def test_refuses_an_exchange_by_a_method_it_does_not_know(
        self, authenticator: Authenticator, accepted: Credentials
    ) -> None:
        unknown = replace(accepted, authentication_method="no such method", authentication_data=b"data")
        assert "no such method" not in authenticator.methods
        verdict = asyncio.run(authenticator.exchange(unknown, None))
        assert verdict.reason_code in CONNACK_REFUSALS

    def test_tells_nobody_a_password(self, authenticator: Authenticator, accepted: Credentials) -> None:
        secret = "correct-horse-battery"
        seen = _Lines()
        root = logging.getLogger()
        level = root.level
        root.addHandler(seen)
        root.setLevel(logging.DEBUG)
        try:
            told = replace(accepted, password=secret.encode())
            verdict = asyncio.run(authenticator.authenticate(told))
        finally:
            root.removeHandler(seen)
            root.setLevel(level)
        assert secret not in "\n".join(
            [*seen.lines, repr(verdict), verdict.reason_string, repr(authenticator)]
        )


@dataclass(frozen=True)
class Access:
    """One question to an ``Authorizer``."""

    identity: str | None
    client_id: str
    action: Action
    topic: str
    qos: int = 0
    retain: bool = False

    async def ask(self, authorizer: Authorizer) -> Verdict:
        """The answer to it."""
        return await authorizer.authorize(
            self.identity, self.client_id, self.action, self.topic, self.qos, self.retain
        )


class AuthorizerContract:
    """What every ``Authorizer`` does.

    Fixtures: ``authorizer``; ``allowed`` and ``denied``, an ``Access`` that it allows and one that it does
    not.
    """

    def test_allows_what_it_should(self, authorizer: Authorizer, allowed: Access) -> None:
        assert asyncio.run(allowed.ask(authorizer)).accepted

    def test_refuses_with_a_reason_code_of_the_acknowledgement(
        self, authorizer: Authorizer, denied: Access
    ) -> None:
        verdict = asyncio.run(denied.ask(authorizer))
        assert verdict.reason_code in (PUBLISH_REFUSALS if denied.action == "publish" else SUBSCRIBE_REFUSALS)
        assert len(verdict.reason_string.encode()) <= 65_535

    def test_gives_the_same_answer_to_the_same_question(
        self, authorizer: Authorizer, allowed: Access, denied: Access
    ) -> None:
        questions = (allowed, denied, allowed, denied)

        async def together() -> list[Verdict]:
            return await asyncio.gather(*(question.ask(authorizer) for question in questions))

        verdicts = asyncio.run(together())
        assert [verdict.accepted for verdict in verdicts] == [True, False, True, False]

    def test_takes_every_kind_of_topic(self, authorizer: Authorizer) -> None:
        topics = ("a", "/", "a//b", "$SYS/broker/uptime", "\U0001f511", "x" * 65_535)
        filters = (*topics, "#", "+", "+/a/#", "$share/group/a/#")
        questions = [Access(None, "", "publish", topic, 2, True) for topic in topics]
        questions += [Access(None, "", "subscribe", topic, 2) for topic in filters]

        async def all_of_them() -> list[Verdict]:
            return [await question.ask(authorizer) for question in questions]

        for question, verdict in zip(questions, asyncio.run(all_of_them()), strict=True):
            refusals = PUBLISH_REFUSALS if question.action == "publish" else SUBSCRIBE_REFUSALS
            assert verdict.reason_code in refusals | {0x00}

    def test_tells_its_watchers_of_a_change_of_rules(self, authorizer: Authorizer) -> None:
        calls: list[str] = []

        def first() -> None:
            calls.append("first")

        def second() -> None:
            calls.append("second")

        authorizer.watch(first)
        authorizer.watch(second)
        authorizer.changed()
        authorizer.unwatch(first)
        authorizer.unwatch(first)
        authorizer.changed()
        authorizer.unwatch(second)
        authorizer.changed()
        assert calls == ["first", "second", "second"]


class _Lines(logging.Handler):
    """Keeps every line that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
