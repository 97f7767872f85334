"""The password file: who gets in, what it costs, how it changes, what is said of a malformed one."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from pathlib import Path

import argon2
import pytest
from argon2.exceptions import VerificationError

import curier.auth.password_file as module
from curier.auth import Authenticator, Credentials, PasswordFile, Verdict
from curier.auth.password_file import delete_user, read_password_file, set_password
from curier.errors import ConfigError
from curier.testing.seams import AuthenticatorContract, credentials

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ANA = f"ana:{CHEAP.hash('right', salt=b'of-salt-of-salt-')}"
BOB = f"bob:{CHEAP.hash('other', salt=b'of-salt-of-salt2')}"


class Clock:
    """Time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.write_text(f"# who may connect\n\n{ANA}\n{BOB}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that are checked the costly way, in order."""
    seen: list[str] = []
    verify = argon2.PasswordHasher.verify

    def spy(self: argon2.PasswordHasher, encoded: str, password: bytes) -> bool:
        seen.append(encoded)
        return verify(self, encoded, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", spy)
    return seen


def ask(authenticator: Authenticator, username: str | None, password: bytes | None) -> Verdict:
    return asyncio.run(authenticator.authenticate(credentials(username, password)))


class TestPasswordFile(AuthenticatorContract):
    @pytest.fixture
    def authenticator(self, path: Path) -> Authenticator:
        return PasswordFile(path)

    @pytest.fixture
    def accepted(self) -> Credentials:
        return credentials("ana", b"right")

    @pytest.fixture(params=[("ana", b"wrong"), ("nobody", b"right"), ("ana", None), (None, None), ("", b"")])
    def refused(self, request: pytest.FixtureRequest) -> Credentials:
        return credentials(*request.param)


# -- who gets in --


def test_the_right_password_makes_the_user_name_the_identity(path: Path) -> None:
    verdict = ask(PasswordFile(path), "ana", b"right")
    assert (verdict.reason_code, verdict.identity) == (0, "ana")


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("ana", b"wrong"),
        ("ana", b""),
        ("ana", None),
        ("ana", b"other"),
        ("nobody", b"right"),
        (None, b"right"),
    ],
)
def test_everyone_else_is_refused_with_one_and_the_same_answer(
    path: Path, username: str | None, password: bytes | None
) -> None:
    assert ask(PasswordFile(path), username, password) == Verdict(0x86, "bad user name or password")


def test_without_user_name_one_is_anonymous_where_that_is_allowed(path: Path) -> None:
    verdict = ask(PasswordFile(path, allow_anonymous=True), None, None)
    assert (verdict.reason_code, verdict.identity) == (0, None)


def test_a_user_name_is_checked_even_where_anonymous_is_allowed(path: Path) -> None:
    assert ask(PasswordFile(path, allow_anonymous=True), "ana", b"wrong").reason_code == 0x86
    assert ask(PasswordFile(path, allow_anonymous=True), "nobody", None).reason_code == 0x86


def test_a_check_that_cannot_be_made_refuses_and_is_logged(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_memory(*_: object) -> bool:
        raise VerificationError("Memory allocation error")

    monkeypatch.setattr(argon2.PasswordHasher, "verify", no_memory)
    assert ask(PasswordFile(path), "ana", b"right").reason_code == 0x88
    assert "user 'ana' could not be checked: Memory allocation error" in caplog.text


# -- what it costs --


def test_an_unknown_user_costs_a_check_as_dear_as_a_known_one(path: Path, checks: list[str]) -> None:
    users = PasswordFile(path)
    ask(users, "ana", b"wrong")
    ask(users, "nobody", b"wrong")
    known, unknown = (argon2.extract_parameters(encoded) for encoded in checks)
    assert unknown == known
    assert checks[1] not in read_password_file(path).values()


def test_in_an_empty_file_unknown_users_cost_the_default(
    path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("")
    ask(PasswordFile(path), "nobody", b"guess")
    ours = argon2.PasswordHasher()
    asked = argon2.extract_parameters(checks[0])
    assert (asked.memory_cost, asked.time_cost, asked.parallelism) == (
        ours.memory_cost,
        ours.time_cost,
        ours.parallelism,
    )


def test_a_password_that_was_right_is_recognised_for_a_while(
    path: Path, checks: list[str], clock: Clock
) -> None:
    users = PasswordFile(path, clock=clock)
    assert ask(users, "ana", b"right").accepted
    clock.now += module.REMEMBER_SECONDS - 1
    assert ask(users, "ana", b"right").accepted
    assert len(checks) == 1
    clock.now += 1
    assert ask(users, "ana", b"right").accepted
    assert len(checks) == 2


def test_a_password_that_was_wrong_is_never_recognised(path: Path, checks: list[str]) -> None:
    users = PasswordFile(path)
    for _ in range(2):
        assert not ask(users, "ana", b"wrong").accepted
    assert len(checks) == 2


def test_recognising_one_user_lets_nobody_else_in(path: Path) -> None:
    users = PasswordFile(path)
    assert ask(users, "ana", b"right").accepted
    for username, password in (("bob", b"right"), ("ana", b"righ"), ("an", b"aright"), ("anar", b"ight")):
        assert not ask(users, username, password).accepted


def test_what_is_recognised_is_bounded(
    path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBER_CLIENTS", 1)
    users = PasswordFile(path)
    for username, password in (("ana", b"right"), ("bob", b"other"), ("ana", b"right")):
        assert ask(users, username, password).accepted
    assert len(checks) == 3


def test_no_more_checks_at_once_than_cores_and_none_on_the_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    lock = threading.Lock()
    both_at_work = threading.Barrier(2)
    at_work, most, threads = 0, 0, set()

    def slow(*_: object) -> bool:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
            threads.add(threading.current_thread())
        both_at_work.wait(30)
        with lock:
            at_work -= 1
        return True

    monkeypatch.setattr(argon2.PasswordHasher, "verify", slow)
    users = PasswordFile(path)

    async def storm() -> list[Verdict]:
        return await asyncio.gather(
            *(users.authenticate(credentials("ana", b"%d" % number)) for number in range(8))
        )

    assert all(verdict.accepted for verdict in asyncio.run(storm()))
    assert most == 2
    assert threading.main_thread() not in threads


def test_a_reconnect_storm_of_one_user_costs_a_check_per_core_at_most(
    path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    users = PasswordFile(path)

    async def storm() -> list[Verdict]:
        return await asyncio.gather(*(users.authenticate(credentials("ana", b"right")) for _ in range(50)))

    assert all(verdict.accepted for verdict in asyncio.run(storm()))
    assert len(checks) == 1


# -- how it changes --


def test_a_change_is_noticed_after_a_second_at_most(path: Path, clock: Clock) -> None:
    users = PasswordFile(path, clock=clock)
    assert ask(users, "ana", b"right").accepted
    path.write_text(f"{BOB}\n")
    clock.now += module.LOOK_INTERVAL
    assert not ask(users, "ana", b"right").accepted
    assert ask(users, "bob", b"other").accepted


def test_the_file_is_looked_at_once_a_second_at_most(path: Path, clock: Clock) -> None:
    users = PasswordFile(path, clock=clock)
    path.write_text(f"{BOB}\n")
    clock.now += module.LOOK_INTERVAL / 2
    assert ask(users, "ana", b"right").accepted


def test_a_changed_password_ends_the_recognition_of_the_old_one(path: Path) -> None:
    users = PasswordFile(path)
    assert ask(users, "ana", b"right").accepted
    path.write_text(f"ana:{CHEAP.hash('new')}\n")
    users.reload()
    assert not ask(users, "ana", b"right").accepted
    assert ask(users, "ana", b"new").accepted


@pytest.mark.parametrize("broken", ["malformed", "missing"])
def test_a_change_that_cannot_be_used_leaves_the_users_before_it(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    users = PasswordFile(path, clock=clock)
    if broken == "malformed":
        path.write_text("ana\n")
    else:
        path.unlink()
    for _ in range(2):  # it is said once
        clock.now += module.LOOK_INTERVAL
        assert ask(users, "ana", b"right").accepted
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert str(path) in errors[0]
    assert "the users before this change stay valid" in errors[0]


def test_a_file_readable_by_all_is_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    PasswordFile(path)
    assert caplog.text == ""
    path.chmod(0o644)
    PasswordFile(path)
    assert "chmod 600" in caplog.text


# -- what is said of a malformed one --


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("secret", "line 3: expected user:argon2id-hash"),
        (":secret", "line 3: expected user:argon2id-hash"),
        ("carl:", "line 3: expected an Argon2id hash"),
        ("carl:secret", "line 3: expected an Argon2id hash"),
        ("carl:$6$salt$secret", "line 3: expected an Argon2id hash"),
        ("carl:$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2VjcmV0c2VjcmV0", "line 3: expected an Argon2id hash"),
        ("carl:$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHQ$c2VjcmV0c2VjcmV0", "line 3: expected an Argon2id hash"),
        ("carl:$argon2id$v=19$m=7,t=1,p=1$c2FsdHNhbHQ$c2VjcmV0c2VjcmV0", "line 3: expected an Argon2id hash"),
        ("carl:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2VjcmV0c", "line 3: expected an Argon2id hash"),
        ("carl:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ", "line 3: expected an Argon2id hash"),
        (ANA, "line 3: user 'ana' is there twice"),
    ],
)
def test_a_malformed_line_is_named_but_not_quoted(path: Path, line: str, expected: str) -> None:
    path.write_text(f"# users\n{ANA}\n{line}\n{BOB}\n")
    with pytest.raises(ConfigError) as caught:
        PasswordFile(path)
    assert str(caught.value).startswith(f"{path}, {expected}")
    assert "secret" not in str(caught.value)
    assert "c2FsdHNhbHQ" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file; make it with: curier passwd .*users USER"):
        PasswordFile(tmp_path / "users")


def test_a_directory_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        PasswordFile(tmp_path)
    (tmp_path / "users").write_bytes(b"ana:\xff\n")
    with pytest.raises(ConfigError, match="expected UTF-8 text"):
        PasswordFile(tmp_path / "users")


# -- writing it --


def test_a_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "users"
    assert set_password(path, "ana", b"right") is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    encoded = read_password_file(path)["ana"]
    argon2.PasswordHasher().verify(encoded, b"right")
    assert argon2.extract_parameters(encoded).memory_cost == 64 * 1024  # KiB


def test_a_change_keeps_mode_comments_order_and_the_other_users(path: Path) -> None:
    path.chmod(0o640)
    assert set_password(path, "ana", b"new") is False
    assert set_password(path, "carl", b"third") is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# who may connect", ""]
    assert [line.split(":")[0] for line in lines[2:]] == ["ana", "bob", "carl"]
    assert lines[2] != ANA
    assert lines[3] == BOB


def test_a_change_goes_behind_a_symbolic_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    delete_user(link, "ana")
    assert link.is_symlink()
    assert list(read_password_file(path)) == ["bob"]


def test_deleting_takes_one_user_away(path: Path) -> None:
    delete_user(path, "ana")
    assert path.read_text() == f"# who may connect\n\n{BOB}\n"
    with pytest.raises(ConfigError, match="there is no user 'ana'"):
        delete_user(path, "ana")


@pytest.mark.parametrize("user", ["", "a:b", "#a", " a", "a\n", "a\x00b", "x" * 65_536])
def test_names_that_cannot_stand_in_the_file_are_refused(path: Path, user: str) -> None:
    before = path.read_text()
    with pytest.raises(ConfigError, match="user name"):
        set_password(path, user, b"word")
    assert path.read_text() == before


@pytest.mark.parametrize("password", [b"", b"x" * 65_536])
def test_passwords_that_cannot_be_sent_are_refused(path: Path, password: bytes) -> None:
    with pytest.raises(ConfigError, match="the password is"):
        set_password(path, "ana", password)


def test_a_malformed_file_is_left_as_it_is(path: Path) -> None:
    path.write_text("ana\n")
    with pytest.raises(ConfigError, match="line 1"):
        set_password(path, "bob", b"word")
    with pytest.raises(ConfigError, match="line 1"):
        delete_user(path, "ana")
    assert path.read_text() == "ana\n"


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        set_password(tmp_path / "no" / "users", "ana", b"word")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
        set_password(path, "ana", b"new")
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]
