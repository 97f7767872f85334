"""Who asks: tokens with roles, links that log in once, sessions in cookies, and pages of other sites."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from curier.errors import ConfigError
from curier.server import Broker
from curier.web import forms, identity, local, table
from curier.web.identity import Identities
from curier.web.roles import Role
from curier.web.table import PREFIX
from curier.web.tokens import Known, Tokens, add_token, hash_of, read_tokens, remove_token
from tests.web.asking import people, window

ME = f"{PREFIX}/self"
PUBLISH = f"{PREFIX}/publish"
MESSAGE = {"topic": "a", "text": "x"}


@pytest.fixture
async def broker() -> Broker:
    return Broker(listen=["tcp://127.0.0.1:0"])


async def test_each_role_may_what_those_before_may(broker: Broker, tmp_path: Path) -> None:
    async with broker, people(broker, tmp_path) as by:
        assert (await by["viewer"].ask(table.SELF, forms.Nothing())).role == "viewer"
        why = await by["viewer"].refused(table.PUBLISH, forms.Publish("a"), 403)
        assert why == "this is for the role operator, and viewer is viewer"
        await by["operator"].ask(table.PUBLISH, forms.Publish("a"))
        await by["operator"].refused(table.SETTINGS, forms.Nothing(), 403)
        await by["admin"].refused(table.SETTINGS, forms.Nothing(), 409)  # a broker within a program


async def test_a_token_is_known_when_it_is_made_and_not_when_it_is_taken_back(
    broker: Broker, tmp_path: Path
) -> None:
    path = tmp_path / "tokens"
    async with broker, window(broker, tokens=path) as (_, client):
        token = add_token(path, "ana", Role.VIEWER)
        headers = {"authorization": f"bearer {token}"}
        assert (await client.get(ME, headers=headers)).json() == {"name": "ana", "role": "viewer"}
        assert remove_token(path, "ana")
        refused = await client.get(ME, headers=headers)
        assert (refused.status_code, refused.json()["detail"]) == (
            401,
            "this token is not known, or was taken back",
        )
        path.write_text("ana:king:x\n")  # what is wrong keeps nobody out, and lets nobody in
        assert (await client.get(ME, headers=headers)).status_code == 401


def test_the_file_has_no_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    token = add_token(path, "ana", Role.ADMIN)
    second = add_token(path, "bob", Role.VIEWER)
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    renewed = add_token(path, "ana", Role.OPERATOR)
    assert read_tokens(path) == {
        hash_of(renewed): Known("ana", Role.OPERATOR),
        hash_of(second): Known("bob", Role.VIEWER),
    }
    assert remove_token(path, "bob")
    assert not remove_token(path, "bob")
    with pytest.raises(ConfigError, match="expected a name of letters"):
        add_token(path, "a:b", Role.ADMIN)
    path.write_text("x\n")
    with pytest.raises(ConfigError, match="line 1: expected NAME:ROLE:HASH"):
        read_tokens(path)


async def test_a_link_logs_in_once(broker: Broker) -> None:
    async with broker, window(broker) as (web, client):
        link = web.login_link()
        answer = await client.get(link)
        assert (answer.status_code, answer.headers["location"]) == (303, "./")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await client.get(ME)).json() == {"name": "owner", "role": "admin"}
        client.cookies.clear()
        assert (await client.get(link)).status_code == 401
        assert (await client.get(ME)).status_code == 401


async def test_a_link_to_a_window_on_all_addresses_can_be_followed_here(broker: Broker) -> None:
    async with broker, window(broker, url="http://0.0.0.0:0") as (web, _):
        assert web.login_link().startswith("http://127.0.0.1:")


async def test_a_session_ends_with_a_logout(broker: Broker) -> None:
    async with broker, window(broker) as (web, client):
        await client.get(web.login_link())
        [(name, cookie)] = client.cookies.items()
        await client.post(f"{PREFIX}/session/end", headers={"x-curier": "1"})
        client.cookies.set(name, cookie)
        assert (await client.get(ME)).status_code == 401


async def test_two_brokers_of_one_machine_do_not_log_each_others_people_out(broker: Broker) -> None:
    async with broker, window(broker) as (web, client), window(broker) as (other, _):
        await client.get(web.login_link())
        await client.get(other.login_link())  # a browser sends cookies to all ports of a host
        assert (await client.get(web.urls[0] + ME)).status_code == 200
        assert (await client.get(other.urls[0] + ME)).status_code == 200


async def test_a_login_ends_with_the_token_it_was_made_by(broker: Broker, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    async with broker, window(broker, tokens=path) as (web, client):
        headers = {"authorization": f"Bearer {add_token(path, 'ana', Role.VIEWER)}"}
        await client.post(f"{PREFIX}/session", headers=headers)
        link = (await client.post(f"{PREFIX}/session/link", headers=headers)).json()["link"]
        assert (await client.get(ME)).json() == {"name": "ana", "role": "viewer"}
        remove_token(path, "ana")
        refused = await client.get(ME)
        assert (refused.status_code, refused.json()["detail"]) == (
            401,
            "the token by which this login was made was taken back",
        )
        assert (await client.get(f"/{link}")).status_code == 401
        await client.get(web.login_link())  # which no token of the file has made
        assert (await client.get(ME)).json() == {"name": "owner", "role": "admin"}


async def test_a_cookie_alone_changes_nothing(broker: Broker) -> None:
    async with broker, window(broker) as (web, client):
        await client.get(web.login_link())
        refused = await client.post(PUBLISH, json=MESSAGE)
        assert refused.status_code == 403
        assert "X-Curier" in refused.json()["detail"]
        assert (await client.post(PUBLISH, json=MESSAGE, headers={"x-curier": "1"})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_pages_of_other_sites_may_not_ask(broker: Broker, headers: dict[str, str]) -> None:
    async with broker, window(broker) as (web, client):
        await client.get(web.login_link())
        for answer in (
            await client.get(ME, headers=headers),
            await client.post(PUBLISH, json=MESSAGE, headers={"x-curier": "1", **headers}),
        ):
            assert answer.status_code == 403
            assert "may not ask this server" in answer.json()["detail"]
            assert "origin" not in headers or "(Host)" in answer.json()["detail"]  # a proxy may be the cause
        same = {"origin": web.urls[0], "sec-fetch-site": "same-origin", "x-curier": "1"}
        assert (await client.post(PUBLISH, json=MESSAGE, headers=same)).status_code == 200


async def test_a_form_is_no_json(broker: Broker, tmp_path: Path) -> None:
    async with broker, window(broker, tokens=tmp_path / "tokens") as (_, client):
        token = add_token(tmp_path / "tokens", "ana", Role.ADMIN)
        answer = await client.post(PUBLISH, data=MESSAGE, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 415


def test_sessions_and_links_end_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MOST_LINKS", 2)
    now = 0.0
    identities = Identities(lambda: Tokens({}), lambda: now)
    ana = Known("ana", Role.VIEWER)
    links = [identities.link(ana) for _ in range(3)]
    assert identities.follow(links[0]) is None  # the oldest had to go
    assert identities.follow(links[1]) == ana
    now = identity.LINK_SECONDS
    assert identities.follow(links[2]) is None


async def test_the_file_for_commands_is_there_while_the_window_is_open(
    broker: Broker, tmp_path: Path
) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    where = local.directory(environment)
    async with broker, window(broker, beside=where) as (web, client):
        (path,) = where.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(where.stat().st_mode) == 0o700
        (found,) = local.found(environment)
        assert found.url == web.urls[0]
        headers = {"authorization": f"Bearer {found.token}"}
        assert (await client.get(ME, headers=headers)).json()["role"] == "admin"
        assert local.only(web.urls[0] + "/", environment) == found
    assert [*where.iterdir()] == []
    with pytest.raises(ConfigError, match=r"there is no window at http://127\.0\.0\.1:1 "):
        local.only("http://127.0.0.1:1", environment)


async def test_a_directory_that_cannot_be_written_is_no_reason_not_to_open(
    broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "curier").write_text("in the way")
    async with broker, window(broker, beside=tmp_path / "curier") as (_, client):
        assert (await client.get("/healthz")).status_code == 200
    assert "so curier admin needs a token" in caplog.text


def test_the_file_of_a_broker_that_was_killed_is_passed_over(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    where = local.directory(environment)
    local.write(local.Local("http://127.0.0.1:1", "t", process=os.getpid()), 1, where)
    os.utime(where / "window-1.json", (1, 1))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    local.write(local.Local("http://127.0.0.1:2", "t", process=gone.pid), 2, where)
    assert local.only(None, environment).url == "http://127.0.0.1:1"


def test_systemd_has_a_place_for_it() -> None:
    assert local.directory({"RUNTIME_DIRECTORY": "/run/curier", "XDG_RUNTIME_DIR": "/x"}) == Path(
        "/run/curier"
    )
    assert local.directory({"XDG_STATE_HOME": "/s"}) == Path("/s/curier/windows")
    assert os.path.isabs(local.directory({}))
