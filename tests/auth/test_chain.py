"""Several authenticators in a row: who is asked, whose answer counts, what a failure costs."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from curier.auth import NOT_MINE, Authenticator, Chain, Credentials, Verdict
from curier.auth.chain import STEP_SECONDS
from curier.errors import ConfigError
from curier.testing.seams import AuthenticatorContract, credentials


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long refusals were put off, which they are not here."""
    times: list[float] = []
    sleep = asyncio.sleep

    async def no_sleep(seconds: float) -> None:
        times.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", no_sleep)
    return times


class Says(Authenticator):
    """Gives one answer to everybody, or raises it."""

    def __init__(self, answer: Any, *methods: str) -> None:
        self.answer = answer
        self.known = frozenset(methods)
        self.asked = 0
        self.states: list[object] = []

    @property
    def methods(self) -> frozenset[str]:
        return self.known

    async def authenticate(self, credentials: Credentials) -> Verdict:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]  # some tests have it answer nonsense

    async def exchange(self, credentials: Credentials, state: object) -> Verdict:
        self.states.append(state)
        return await self.authenticate(credentials)


class OnlyAna(Authenticator):
    async def authenticate(self, credentials: Credentials) -> Verdict:
        if credentials.username != "ana":
            return NOT_MINE
        return Verdict(0, identity="ana") if credentials.password == b"right" else Verdict(0x86)


YES = Verdict(0, identity="bob")
NO = Verdict(0x87, "not you")


class TestChain(AuthenticatorContract):
    @pytest.fixture
    def authenticator(self) -> Authenticator:
        return Chain([Says(NOT_MINE), OnlyAna()])

    @pytest.fixture
    def accepted(self) -> Credentials:
        return credentials("ana", b"right")

    @pytest.fixture(params=["ana", "nobody", None])
    def refused(self, request: pytest.FixtureRequest) -> Credentials:
        return credentials(request.param, b"wrong")


def ask(*answers: Any) -> tuple[Verdict, list[int]]:
    sources = [Says(answer) for answer in answers]
    verdict = asyncio.run(Chain(sources).authenticate(credentials("u", b"p")))
    return verdict, [source.asked for source in sources]


@pytest.mark.parametrize(
    ("answers", "code", "asked"),
    [
        ((YES, NO), 0, [1, 0]),
        ((NO, YES), 0x87, [1, 0]),  # a no is final
        ((NOT_MINE, YES), 0, [1, 1]),
        ((NOT_MINE, NO, YES), 0x87, [1, 1, 0]),
        ((NOT_MINE, NOT_MINE), 0x86, [1, 1]),
        ((OSError("s3cret"), YES), 0x88, [1, 0]),  # who cannot decide has not agreed
        ((NOT_MINE, OSError("down")), 0x88, [1, 1]),
        ((None, YES), 0x88, [1, 0]),
        ((True, YES), 0x88, [1, 0]),
        ((Verdict(0, is_mine=False), YES), 0x88, [1, 0]),
        ((Verdict(0, claims={"a": 1}), YES), 0x88, [1, 0]),  # type: ignore[dict-item]
        ((Verdict(0, groups=["g"]), YES), 0x88, [1, 0]),  # type: ignore[arg-type]
        ((Verdict(0, groups=frozenset([1])), YES), 0x88, [1, 0]),  # type: ignore[list-item]
        ((Verdict(0, expires_at=float("nan")), YES), 0x88, [1, 0]),
    ],
)
def test_whose_answer_counts(answers: tuple[Any, ...], code: int, asked: list[int]) -> None:
    verdict, found = ask(*answers)
    assert (verdict.reason_code, found) == (code, asked)
    assert "s3cret" not in verdict.reason_string + verdict.why


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        ((NO, YES), 1),
        ((NOT_MINE, NO), 1),
        ((NOT_MINE, OSError()), 1),
        ((NOT_MINE, NOT_MINE), 1),
        ((NO,), 0),
        ((NOT_MINE, YES), 0),
        ((Verdict(0x89), YES), 0),
    ],
)
def test_the_time_of_a_refusal_does_not_tell_whose_it_is(
    answers: tuple[Any, ...], count: int, slept: list[float]
) -> None:
    ask(*answers)
    assert len(slept) == count
    assert all(0 < seconds <= STEP_SECONDS for seconds in slept)


@pytest.mark.parametrize(
    ("username", "password", "answer", "code"),
    [
        (None, None, NOT_MINE, 0),
        (None, b"not a token", NOT_MINE, 0),
        (None, b"an old token", NO, 0x87),
        ("u", b"p", NOT_MINE, 0x86),
        ("u", None, NOT_MINE, 0x86),
        ("", None, NOT_MINE, 0x86),
    ],
)
def test_who_has_no_name_may_come_in_behind_all_others(
    username: str | None, password: bytes | None, answer: Verdict, code: int
) -> None:
    chain = Chain([Says(answer), OnlyAna()], allow_anonymous=True)
    verdict = asyncio.run(chain.authenticate(credentials(username, password)))
    assert (verdict.reason_code, verdict.identity) == (code, None)


def test_all_read_again_what_they_know_and_the_first_error_is_told() -> None:
    class Reads(Says):
        read = 0

        def reload(self) -> bool:
            self.read += 1
            if self.answer is not YES:
                raise ConfigError(f"{self.answer} is broken")
            return True

    sources = [Reads("first"), Reads(YES), Reads("third")]
    with pytest.raises(ConfigError, match="first is broken"):
        Chain(sources).reload()
    assert [source.read for source in sources] == [1, 1, 1]
    assert Chain([Says(YES), Reads(YES)]).reload()
    assert not Chain([Says(YES)]).reload()


def test_an_empty_chain_is_none() -> None:
    with pytest.raises(ConfigError, match="lets nobody in"):
        Chain([])


def test_who_refused_is_for_the_log_and_not_for_the_client() -> None:
    verdict, _ = ask(NOT_MINE, replace(NO, why="the account is closed"))
    assert verdict.why == "Says: the account is closed"
    assert verdict.reason_string == "not you"
    unknown, _ = ask(NOT_MINE, replace(NOT_MINE, why="there is no such user"))
    assert unknown.why == "Says: nobody knows it; Says: there is no such user"
    assert unknown.reason_string == "bad user name or password"


def test_a_failure_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        ask(OSError("down"), YES)
    assert "Says failed; tester is refused" in caplog.text


def test_a_method_is_a_matter_of_those_who_know_it() -> None:
    async def talk() -> None:
        passwords, tokens = Says(YES), Says(Verdict(0x18, state="one"), "TOKEN")
        chain = Chain([passwords, tokens])
        assert chain.methods == {"TOKEN"}
        client = replace(credentials("u", b"p"), authentication_method="TOKEN")
        verdict = await chain.authenticate(client)
        assert (verdict.reason_code, passwords.asked) == (0x18, 0)
        await chain.exchange(client, verdict.state)
        await chain.exchange(client, None)  # a re-authentication begins
        assert tokens.states == ["one", None]
        assert passwords.asked == 0
        odd = replace(client, authentication_method="OTHER")
        assert (await chain.authenticate(odd)).reason_code == 0x86
        assert (await chain.exchange(odd, None)).reason_code == 0x8C

    asyncio.run(talk())
