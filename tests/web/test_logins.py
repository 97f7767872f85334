"""Users of the broker at the window: who may log in with name and password, and until when."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from curier.auditing import Audit
from curier.auth import AllowAnonymous, Authenticator, Chain, Credentials, Verdict
from curier.auth.bans import BanSettings
from curier.auth.base import NOT_MINE
from curier.listeners import Listener
from curier.server import Broker
from curier.web import logins
from curier.web.identity import SESSION_SECONDS, Identities
from curier.web.logins import MOST_OF_PLACE, LogIn, Logins
from curier.web.people import People
from curier.web.problems import Problem
from curier.web.roles import Role
from curier.web.scene import Scene
from curier.web.table import PREFIX
from curier.web.tokens import Tokens
from tests.web.asking import window

ME = f"{PREFIX}/self"
LOGIN = f"{PREFIX}/session/user"
NOW = {"x-curier": "1"}
WRONG = logins.FAILED


class Users(Authenticator):
    """Knows some, by their passwords, until they are gone."""

    def __init__(self) -> None:
        self.gone = ""
        self.asked: list[Credentials] = []
        self.verdict = Verdict(0, groups=frozenset(("staff",)), why_no_more=lambda: self.gone)

    async def authenticate(self, credentials: Credentials) -> Verdict:
        self.asked.append(credentials)
        if credentials.username == "broken":
            raise RuntimeError("it is broken")
        if credentials.username == "of-steps":
            return Verdict(0x18)
        return self.verdict if credentials.password == b"right" else NOT_MINE


class Place:
    """A window, and somebody at it."""

    def __init__(self) -> None:
        self.users = Users()
        self.people = People(viewers=("ana", "bob"), operators=("@staff",))
        self.lines: list[str] = []
        self.broker = Broker(
            listen=["tcp://127.0.0.1:0"],
            authenticator=self.users,
            audit=Audit(self.lines.append),
            bans=BanSettings(failures=2, never=()),
        )
        self.client: httpx.AsyncClient

    async def log_in(self, user: str = "ana", password: str = "right", **headers: str) -> httpx.Response:
        said = {"user": user, "password": password}
        return await self.client.post(LOGIN, json=said, headers={**NOW, **headers})

    def said(self) -> list[dict[str, str]]:
        """By the audit log."""
        return [json.loads(line) for line in self.lines]


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(logins, "FAILURE_SECONDS", 0.0)
    made = Place()
    async with made.broker, window(made.broker, people=lambda: made.people) as (_, made.client):
        yield made


async def test_who_is_named_logs_in_as_what_the_settings_say(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert (await place.client.get(LOGIN)).json() == {"possible": True}
    assert (await place.log_in()).status_code == 204
    assert (await place.client.get(ME)).json() == {"name": "ana", "role": "operator"}  # by the group
    place.people = People(admins=("ana",))
    assert (await place.client.get(ME)).json()["role"] == "admin"
    place.people = People(viewers=("bob",))
    refused = await place.client.get(ME)
    assert (refused.status_code, refused.json()["detail"]) == (
        401,
        "ana may not log in any more, or has to do so again",
    )
    place.people = People(admins=("ana",))
    assert (await place.client.get(ME)).status_code == 401  # that login is over
    (line,) = place.said()
    assert (line["event"], line["action"], line["who"]) == (
        "action",
        "login",
        "ana (operator) at 127.0.0.1",
    )
    assert "right" not in f"{place.lines}{caplog.text}"
    (asked,) = place.users.asked
    assert (asked.client_id, asked.listener_name, asked.address.rpartition(":")[0]) == (
        "",
        "window",
        "127.0.0.1",
    )


async def test_a_login_ends_with_the_user(place: Place) -> None:
    await place.log_in()
    link = (await place.client.post(f"{PREFIX}/session/link", headers=NOW)).json()["link"]
    place.users.gone = "ana was deleted"
    assert (await place.client.get(ME)).status_code == 401
    assert (await place.client.get(f"/{link}")).status_code == 401


@pytest.mark.parametrize(
    ("user", "password", "why"),
    [
        ("ana", "wrong", "nobody knows it"),
        ("nobody", "wrong", "nobody knows it"),
        ("broken", "right", "authentication is not available"),
        ("of-steps", "right", "refused"),
        ("", "right", "a user name and a password are needed"),
        ("ana", "", "a user name and a password are needed"),
        ("an\0a", "right", "no user name has a null character"),
        ("a" * 65_536, "right", "a user name or a password has at most 65535 bytes"),
    ],
)
async def test_all_failures_are_one_answer_and_the_audit_log_has_more(
    place: Place, user: str, password: str, why: str
) -> None:
    refused = await place.log_in(user, password)
    assert (refused.status_code, refused.json()["detail"], refused.headers.get("set-cookie")) == (
        401,
        WRONG,
        None,
    )
    (line,) = place.said()
    assert (line["event"], line["listener"], line["why"]) == ("refused", "window", why)
    assert line.get("username", "")[:4] == user.replace("\0", "\\x00")[:4] or "\\" in line["username"]


async def test_who_is_not_named_does_not_get_in(place: Place) -> None:
    place.people = People(viewers=("bob", "staff"), admins=("@ana",))
    refused = await place.log_in()
    assert (refused.status_code, refused.json()["detail"]) == (401, WRONG)
    assert place.said()[0]["why"].startswith("ana is named neither below viewers")


async def test_the_identity_counts_and_not_what_was_typed(place: Place) -> None:
    place.users.verdict = Verdict(0, identity="eve")
    assert (await place.log_in("ana")).status_code == 401
    place.people = People(viewers=("eve",), admins=("@staff",))
    assert (await place.log_in("ana")).status_code == 204
    assert (await place.client.get(ME)).json() == {"name": "eve", "role": "viewer"}
    place.users.verdict = Verdict(0, identity="@staff")  # is no group
    assert (await place.log_in("ana")).status_code == 401


async def test_guesses_are_counted_and_banned_as_by_mqtt(place: Place) -> None:
    for _ in range(2):
        await place.log_in(password="wrong")
    assert place.broker.bans is not None
    assert [ban.who for ban in place.broker.bans.present()] == ["user ana"]
    refused = await place.log_in()  # which is right
    assert (refused.status_code, refused.json()["detail"]) == (401, WRONG)
    assert len(place.users.asked) == 2


async def test_no_failure_is_told_sooner_than_another(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "FAILURE_SECONDS", 5000.0)
    waited: list[float] = []
    sleep = asyncio.sleep

    async def patient(seconds: float) -> None:
        if seconds > 1000:
            waited.append(seconds)
        else:
            await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", patient)
    for user, password in (
        ("", ""),
        ("ana", "wrong"),
        ("ana", "wrong"),
        ("ana", "banned"),
        ("broken", "right"),
    ):
        assert (await place.log_in(user, password)).status_code == 401
    place.people = People(viewers=("bob",))
    assert (await place.log_in("eve")).status_code == 401
    assert len(waited) == 6


async def test_it_takes_the_header_json_and_no_page_of_another_site(place: Place) -> None:
    said = {"user": "ana", "password": "right"}
    for answer, status in (
        (await place.client.post(LOGIN, json=said), 403),
        (await place.client.post(LOGIN, data=said, headers=NOW), 415),
        (await place.log_in(origin="http://evil.example"), 403),
        (await place.log_in(**{"sec-fetch-site": "same-site"}), 403),
        (await place.log_in(host="evil.example"), 421),
        (await place.client.post(LOGIN, json={"user": "ana"}, headers=NOW), 400),
        (await place.client.post(LOGIN, json={**said, "role": "admin"}, headers=NOW), 400),
    ):
        assert answer.status_code == status
    assert place.users.asked == []


@pytest.mark.parametrize("authenticator", [None, AllowAnonymous(), Users()])
async def test_where_nobody_may_log_in_that_is_said(authenticator: Authenticator | None) -> None:
    broker = Broker(listen=["tcp://127.0.0.1:0"], authenticator=authenticator)
    named = People() if isinstance(authenticator, Users) else People(viewers=("ana",))
    async with broker, window(broker, people=lambda: named) as (_, client):
        assert (await client.get(LOGIN)).json() == {"possible": False}
        refused = await client.post(LOGIN, json={"user": "ana", "password": "x"}, headers=NOW)
        assert refused.status_code == 403
        assert "no user of the broker may log in here" in refused.json()["detail"]


async def test_rules_of_listeners_are_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users()
    door = Listener("tcp://127.0.0.1:0", allow_anonymous=True)
    async with Broker(listen=[door], authenticator=users) as broker:
        made = Logins(Scene(broker), Identities(lambda: Tokens({})), lambda: People(viewers=("ana",)))
        assert (await made.log_in(LogIn("ana", "right"), ("::1", 4711))).role == Role.VIEWER
        assert users.asked[0].address == "[::1]:4711"


async def test_a_login_lasts_no_longer_than_the_broker_can_answer_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    identities = Identities(lambda: Tokens({}), lambda: now)
    made = Logins(Scene(place.broker), identities, lambda: place.people)
    monkeypatch.setattr("curier.web.logins.time.time", lambda: 1000.0)
    for verdict, until in (
        (place.users.verdict, SESSION_SECONDS),
        (replace(place.users.verdict, why_no_more=None), logins.UNSURE_SECONDS),
        (replace(place.users.verdict, expires_at=1060.0), 60.0),
    ):
        place.users.verdict = verdict
        known = await made.log_in(LogIn("ana", "right"), ("127.0.0.1", 1))
        assert known.until == until
    link = identities.link(known)
    now = 59.0
    again = identities.follow(link)
    assert again is not None
    assert again.until == 60.0  # and a link makes it no longer
    later = identities.link(known)
    now = 60.0
    assert identities.follow(later) is None


async def test_too_many_at_once_are_told_to_wait(place: Place) -> None:
    made = Logins(Scene(place.broker), Identities(lambda: Tokens({})), lambda: place.people)
    made._waiting["127.0.0.1"] = MOST_OF_PLACE
    with pytest.raises(Problem, match="too many logins at once") as error:
        await made.log_in(LogIn("ana", "right"), ("127.0.0.1", 1))
    assert error.value.status == 429
    await made.log_in(LogIn("ana", "right"), ("127.0.0.2", 1))
    assert dict(made._waiting) == {"127.0.0.1": MOST_OF_PLACE}


async def test_a_right_password_of_somebody_not_named_takes_as_long_as_a_wrong_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = Chain([Users(), Users()])
    waited: list[int] = []

    async def take_time(verdict: Verdict, began: float) -> Verdict:
        waited.append(verdict.reason_code)
        return verdict

    monkeypatch.setattr(chain, "take_time", take_time)
    monkeypatch.setattr(logins, "FAILURE_SECONDS", 0.0)
    async with Broker(listen=["tcp://127.0.0.1:0"], authenticator=chain) as broker:
        made = Logins(Scene(broker), Identities(lambda: Tokens({})), lambda: People(viewers=("bob",)))
        with pytest.raises(Problem):
            await made.log_in(LogIn("ana", "right"), ("127.0.0.1", 1))
    assert [code >= 0x80 for code in waited] == [False, True]
