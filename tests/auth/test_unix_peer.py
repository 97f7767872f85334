"""Users of this machine, as the kernel has them."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from curier.auth import Authenticator, Credentials, LocalPeer, Verdict
from curier.auth.unix_peer import UnixPeer
from curier.config import load
from curier.errors import ConfigError
from curier.server import Broker
from curier.testing.seams import AuthenticatorContract, credentials

ACCOUNTS = {1000: ("ana", [100, 50]), 1001: ("ben", [100])}
GROUPS = {100: "users", 50: "mqtt"}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with two users and two groups."""

    def user(uid: int) -> pwd.struct_passwd:
        return pwd.struct_passwd((ACCOUNTS[uid][0], "x", uid, 100, "", "/", "/bin/sh"))

    def user_named(name: str) -> pwd.struct_passwd:
        return user({known: uid for uid, (known, _) in ACCOUNTS.items()}[name])

    def group(gid: int) -> grp.struct_group:
        return grp.struct_group((GROUPS[gid], "x", gid, []))

    def groups_of(name: str, gid: int) -> Sequence[int]:
        return [gid, *ACCOUNTS[user_named(name).pw_uid][1]]

    monkeypatch.setattr(pwd, "getpwuid", user)
    monkeypatch.setattr(pwd, "getpwnam", user_named)
    monkeypatch.setattr(grp, "getgrgid", group)
    monkeypatch.setattr(
        grp, "getgrnam", lambda name: group({known: gid for gid, known in GROUPS.items()}[name])
    )
    monkeypatch.setattr(os, "getgrouplist", groups_of)


def come(uid: int, gid: int, username: str | None = None) -> Credentials:
    return replace(credentials(username, None), local_peer=LocalPeer(uid, gid, 4711))


def ask(users: UnixPeer, asked: Credentials) -> Verdict:
    return asyncio.run(users.authenticate(asked))


class TestUnixPeer(AuthenticatorContract):
    @pytest.fixture
    def authenticator(self) -> Authenticator:
        return UnixPeer(["ana"])

    @pytest.fixture
    def accepted(self) -> Credentials:
        return come(1000, 100)

    @pytest.fixture(params=[1001, None])
    def refused(self, request: pytest.FixtureRequest) -> Credentials:
        return come(request.param, 100) if request.param else credentials("ana", b"x")


@pytest.mark.parametrize(
    ("users", "groups", "uid", "gid", "identity"),
    [
        (["ana"], [], 1000, 7, "ana"),
        ([1000], [], 1000, 100, "ana"),
        (["ana"], [], 1001, 100, None),
        ([], ["mqtt"], 1000, 100, "ana"),  # in which its user is, whatever the program has
        ([], ["mqtt"], 1001, 100, None),
        ([], [7], 1001, 7, "ben"),  # which the program has
        ([4000], [], 4000, 7, "uid-4000"),
        (["ben"], ["mqtt"], 1000, 100, "ana"),
    ],
)
def test_who_comes_in(
    users: list[str | int], groups: list[str | int], uid: int, gid: int, identity: str | None
) -> None:
    verdict = ask(UnixPeer(users, groups), come(uid, gid))
    assert (verdict.accepted, verdict.identity, verdict.is_mine) == (bool(identity), identity, bool(identity))


def test_permissions_see_the_groups() -> None:
    assert ask(UnixPeer(["ana"]), come(1000, 7)).groups == {"users", "mqtt", "gid-7"}


def test_who_says_to_be_somebody_else_is_a_matter_of_others() -> None:
    users = UnixPeer(["ana"])
    assert ask(users, come(1000, 100, "ana")).accepted
    assert not ask(users, come(1000, 100, "ben")).is_mine


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("", "line 1: authenticator: kind unix-peer needs users or groups"),
        ("users = []", "line 3: authenticator.users: expected a list of names or numbers"),
        ("users = [true]", "line 3: authenticator.users: expected a list of names or numbers"),
        ('groups = "mqtt"', "line 3: authenticator.groups: expected a list of names or numbers"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, lines: str, why: str) -> None:
    file = tmp_path / "broker.toml"
    file.write_text(f'[[authenticator]]\nkind = "unix-peer"\n{lines}\n')
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert why in str(caught.value)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="there is no user 'carl' on this machine"):
        UnixPeer(["carl"])
    with pytest.raises(ConfigError, match="there is no group 'wheel' on this machine"):
        UnixPeer([], ["wheel"])
    with pytest.raises(ConfigError, match="nobody could come in"):
        UnixPeer()


async def test_a_program_comes_in_over_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # this machine
    import curier

    url = f"unix://{tmp_path}/s"
    async with Broker(url, authenticator=UnixPeer([os.getuid()])), curier.connect(url) as client:
        await client.publish("t", "x", qos=1)
