"""The seams themselves: what answers look like, and what the base classes do by themselves."""

from __future__ import annotations

import asyncio

import pytest

from curier.auth import Action, AllowAnonymous, Authenticator, Authorizer, Credentials, Verdict
from curier.testing.seams import Access, AuthenticatorContract, AuthorizerContract, credentials


class TestAllowAnonymous(AuthenticatorContract):
    @pytest.fixture
    def authenticator(self) -> Authenticator:
        return AllowAnonymous()

    @pytest.fixture
    def accepted(self) -> Credentials:
        return credentials(None, None)

    @pytest.fixture
    def refused(self) -> None:
        return None


class OwnTopics(Authorizer):
    """A client may use the topics below its identity."""

    async def authorize(
        self, identity: str | None, client_id: str, action: Action, topic: str, qos: int, retain: bool
    ) -> Verdict:
        if identity is not None and topic.startswith(f"{identity}/"):
            return Verdict(0)
        return Verdict(0x87)


class TestAuthorizerOfOwnTopics(AuthorizerContract):
    @pytest.fixture
    def authorizer(self) -> Authorizer:
        return OwnTopics()

    @pytest.fixture
    def allowed(self) -> Access:
        return Access("ana", "c1", "publish", "ana/light")

    @pytest.fixture(params=["publish", "subscribe"])
    def denied(self, request: pytest.FixtureRequest) -> Access:
        return Access("ana", "c1", request.param, "bob/light")


def test_repr_of_credentials_shows_no_secret() -> None:
    shown = repr(
        Credentials("c1", "ana", b"s3cret", "127.0.0.1:1", "tcp://127.0.0.1:1883", 5, "SCRAM", b"t0ken", None)
    )
    assert "ana" in shown
    assert "s3cret" not in shown
    assert "t0ken" not in shown


def test_repr_of_a_verdict_shows_no_secret() -> None:
    shown = repr(Verdict(0x18, authentication_data=b"t0ken", state={"salt": "s3cret"}))
    assert "t0ken" not in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize(("reason_code", "accepted"), [(0, True), (0x18, False), (0x86, False)])
def test_only_reason_code_zero_accepts(reason_code: int, accepted: bool) -> None:
    assert Verdict(reason_code).accepted is accepted


def test_an_authenticator_knows_no_method_by_itself() -> None:
    plain = AllowAnonymous()
    assert plain.methods == frozenset()
    assert asyncio.run(plain.exchange(credentials("ana", None), None)).reason_code == 0x8C


def test_watchers_belong_to_one_authorizer() -> None:
    calls: list[int] = []
    one, other = OwnTopics(), OwnTopics()
    one.watch(lambda: calls.append(1))
    other.changed()
    assert calls == []
    one.changed()
    assert calls == [1]
