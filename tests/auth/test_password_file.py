"""Authentication by a password file: who gets in, what it costs, how it changes."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import argon2
import pytest
from argon2.exceptions import VerificationError

import curier.auth.passwords as passwords
from curier.auth import Authenticator, Chain, Credentials, PasswordFile, Verdict, hashes
from curier.auth.checks import Checks
from curier.auth.hashes import cost_of, default_cost, new_token
from curier.auth.line import FEW, MOST_OF_ADDRESS
from curier.auth.user_file import read_password_file
from curier.rereading import LOOK_INTERVAL
from curier.testing.seams import AuthenticatorContract, credentials

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ANA = f"ana:{CHEAP.hash('right', salt=b'of-salt-of-salt-')}"
MOSQUITTO = (
    "$7$101$ZDDu5iddS9fhOOxA$3ai/PKjgZedWQhqy8W6uHPu6h5Xardp55c0klwWCLiZoFgFqiblw0Q+lf0GR4/RpziMTxtTIz0"
    "bRT7yGcXShwA=="
)
"""By mosquitto_passwd; the password is x."""

BOB = f"bob:{CHEAP.hash('other', salt=b'of-salt-of-salt2')}"


class Clock:
    """Time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class InThread:
    """Checks in the thread that asks, so that tests can look at it."""

    def __init__(self, niceness: int) -> None:
        pass

    def fits(self, encoded: str, password: bytes) -> bool:
        return hashes.fits(encoded, password)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What processes do is for test_hash_process.py."""
    monkeypatch.setattr(passwords, "Checks", partial(Checks, make_hasher=InThread))


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
    verdict = ask(PasswordFile(path), username, password)
    assert (verdict.reason_code, verdict.reason_string) == (0x86, "bad user name or password")


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
    assert "password of ana could not be checked: Memory allocation error" in caplog.text


# -- what it costs --


def test_a_token_is_checked_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process, no line, nothing remembered; and a name that is not there costs no more."""
    token, encoded = new_token()
    path.write_text(f"dev1:{encoded}\n")
    users = PasswordFile(path)
    monkeypatch.setattr(Checks, "run", None)
    assert ask(users, "dev1", token.encode()).accepted
    assert ask(users, "dev1", token.encode() + b" ").reason_code == 0x86
    assert ask(users, "dev2", token.encode()).reason_code == 0x86
    assert not users._passwords.known._right
    assert not users._passwords.known._wrong


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
    assert cost_of(checks[0]) == default_cost()


def test_where_costs_differ_each_is_as_frequent_among_unknown_names(path: Path, checks: list[str]) -> None:
    dear = argon2.PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash("x")
    path.write_text("".join(f"dear{n}:{dear}\n" for n in range(3)) + f"{ANA}\nmosquitto:{MOSQUITTO}\n")
    users = PasswordFile(path)
    for number in range(200):
        ask(users, f"unknown {number}", b"guess")
    passes = [argon2.extract_parameters(encoded).time_cost for encoded in checks]
    assert 80 < passes.count(2) < 160  # of 200, three fifths
    assert 15 < passes.count(1) < 75
    assert 15 < 200 - len(passes) < 75  # Mosquitto's
    before = len(checks)
    ask(users, "unknown 0", b"another guess")
    assert checks[before:] == [encoded for encoded in checks[:1] if len(checks) > before]


def test_users_of_mosquitto_get_in(path: Path) -> None:
    path.write_text(f"{ANA}\ncarl:{MOSQUITTO}\n")
    users = PasswordFile(path)
    assert ask(users, "carl", b"x").identity == "carl"
    assert ask(users, "ana", b"right").accepted
    assert not ask(users, "carl", b"y").accepted


def test_a_password_that_was_right_is_known_for_a_while(path: Path, checks: list[str], clock: Clock) -> None:
    users = PasswordFile(path, clock=clock)
    assert ask(users, "ana", b"right").accepted
    clock.now += passwords.RIGHT_SECONDS - 1
    assert ask(users, "ana", b"right").accepted
    assert len(checks) == 1
    clock.now += 1
    assert ask(users, "ana", b"right").accepted
    assert len(checks) == 2


@pytest.mark.parametrize("username", ["ana", "nobody"])
def test_a_password_that_was_wrong_is_known_for_a_while(
    path: Path, checks: list[str], clock: Clock, username: str
) -> None:
    users = PasswordFile(path, clock=clock)
    for seconds in (0, passwords.WRONG_SECONDS - 1, 1):
        clock.now += seconds
        assert ask(users, username, b"wrong").reason_code == 0x86
    assert len(checks) == 2
    assert not ask(users, username, b"wronger").accepted
    assert len(checks) == 3


def test_what_was_wrong_is_right_as_soon_as_the_file_says_so(path: Path, clock: Clock) -> None:
    users = PasswordFile(path, clock=clock)
    for username in ("ana", "carl"):
        assert not ask(users, username, b"new").accepted
    path.write_text("".join(f"{username}:{CHEAP.hash('new')}\n" for username in ("ana", "carl")))
    look_twice(users, clock)
    for username in ("ana", "carl"):
        assert ask(users, username, b"new").accepted


def test_recognising_one_user_lets_nobody_else_in(path: Path) -> None:
    users = PasswordFile(path)
    assert ask(users, "ana", b"right").accepted
    for username, password in (("bob", b"right"), ("ana", b"righ"), ("an", b"aright"), ("anar", b"ight")):
        assert not ask(users, username, password).accepted


def test_what_is_known_is_bounded(path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MOST_RIGHT", 1)
    monkeypatch.setattr(passwords, "MOST_WRONG", 1)
    users = PasswordFile(path)
    for username, password in (("ana", b"right"), ("bob", b"other"), ("ana", b"right")):
        assert ask(users, username, password).accepted
    assert len(checks) == 3
    for password in (b"a", b"b", b"a"):
        assert not ask(users, "ana", password).accepted
    assert len(checks) == 6


def test_no_check_is_done_on_the_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()

    def verify(*_: object) -> bool:
        threads.add(threading.current_thread())
        return True

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    assert ask(PasswordFile(path), "ana", b"right").accepted
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize(("word", "reason_code"), [(b"right", 0), (b"wrong", 0x86)])
def test_a_storm_of_one_user_costs_one_check_on_each_side_of_the_line(
    path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch, word: bytes, reason_code: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    users = PasswordFile(path)

    async def storm() -> list[Verdict]:
        return await asyncio.gather(*(users.authenticate(credentials("ana", word)) for _ in range(50)))

    assert {verdict.reason_code for verdict in asyncio.run(storm())} == {reason_code}
    assert 1 <= len(checks) <= 2  # the second if it begins before the first has ended


class Gate:
    """Holds up each check until it is told to go on."""

    def __init__(self) -> None:
        self.begun: queue.Queue[bytes] = queue.Queue()
        self._may_end: dict[bytes, threading.Event] = defaultdict(threading.Event)
        self._is_open = False

    def pass_through(self, password: bytes) -> None:
        may_end = self._may_end[password]
        self.begun.put(password)
        assert self._is_open or may_end.wait(100)

    async def next(self) -> bytes:
        """The password whose check is the next to begin."""
        return await asyncio.to_thread(self.begun.get, timeout=100)

    def let_go(self, password: bytes) -> None:
        self._may_end[password].set()

    def open(self) -> None:
        self._is_open = True
        for event in list(self._may_end.values()):
            event.set()


def test_more_than_can_be_checked_are_told_that_the_server_is_busy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who comes from elsewhere is checked as soon as a check of the first lane ends."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    gate = Gate()
    verify = argon2.PasswordHasher.verify

    def slow(self: argon2.PasswordHasher, encoded: str, password: bytes) -> bool:
        gate.pass_through(password)
        return verify(self, encoded, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", slow)
    users = PasswordFile(path)

    def guess(number: int) -> asyncio.Task[Verdict]:
        return asyncio.create_task(users.authenticate(credentials("ana", b"%d" % number)))

    async def storm() -> list[Verdict]:
        guesses = [guess(0)]
        assert await gate.next() == b"0"  # by the worker of the first lane
        guesses += [guess(number) for number in range(1, FEW + 2)]  # too many for the first lane
        await gate.next()  # by the worker of the others
        guesses += [guess(number) for number in range(FEW + 2, 500)]
        assert (await guesses[-1]).reason_code == 0x89  # the line is full
        elsewhere = replace(credentials("ana", b"right"), address="192.0.2.1:1")
        good = asyncio.create_task(users.authenticate(elsewhere))
        await asyncio.sleep(0)
        assert users._passwords.checks._work.line.length == MOST_OF_ADDRESS + 1  # it waits, too
        gate.let_go(b"0")
        assert await gate.next() == b"right"  # behind none but those that were being checked
        gate.open()
        return await asyncio.gather(good, *guesses)

    good, *guesses = asyncio.run(storm())
    assert good.accepted
    answers = [(verdict.reason_code, verdict.reason_string) for verdict in guesses]
    busy = (0x89, "too many logins are waiting")
    assert answers.count(busy) == 500 - MOST_OF_ADDRESS - 2  # as many are being checked
    assert set(answers) == {busy, (0x86, "bad user name or password")}


def test_in_a_chain_users_of_another_file_cost_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And count for nothing: the chain hides by time who knows whom."""
    (tmp_path / "others").write_text(f"{BOB}\n")
    (tmp_path / "others").chmod(0o600)
    path.write_text(f"{ANA}\n")
    first, second = PasswordFile(path), PasswordFile(tmp_path / "others")
    monkeypatch.setattr(first._passwords.checks, "run", None)
    assert asyncio.run(Chain([first, second]).authenticate(credentials("bob", b"other"))).accepted


# -- how it changes --


def look_twice(users: PasswordFile, clock: Clock) -> int:
    """What has changed since the last look is read when the next one sees the same."""
    for _ in range(2):
        clock.now += LOOK_INTERVAL
        changes = asyncio.run(users.look())
    return changes


def test_a_change_is_noticed_after_a_second_at_most(path: Path, clock: Clock) -> None:
    users = PasswordFile(path, clock=clock)
    assert ask(users, "ana", b"right").accepted
    path.write_text(f"{BOB}\n")
    look_twice(users, clock)
    assert not ask(users, "ana", b"right").accepted
    assert ask(users, "bob", b"other").accepted


def test_nobody_is_gone_while_somebody_writes_the_file(path: Path, clock: Clock) -> None:
    """mosquitto_passwd and editors write it in place: for a moment it is empty, or has half of its users."""
    users = PasswordFile(path, clock=clock)
    before = asyncio.run(users.look())
    bob = ask(users, "bob", b"other").why_no_more
    assert bob is not None
    for text in ("", f"{ANA}\n", f"{ANA}\n{BOB}\n# as before\n"):
        path.write_text(text)
        clock.now += LOOK_INTERVAL
        assert (asyncio.run(users.look()), bob()) == (before, "")
    clock.now += LOOK_INTERVAL
    assert asyncio.run(users.look()) > before
    assert bob() == ""


def test_the_file_is_looked_at_once_a_second_at_most(path: Path, clock: Clock) -> None:
    users = PasswordFile(path, clock=clock)
    path.write_text(f"{BOB}\n")
    clock.now += LOOK_INTERVAL / 2
    assert ask(users, "ana", b"right").accepted


def test_a_changed_password_ends_the_recognition_of_the_old_one(path: Path) -> None:
    users = PasswordFile(path)
    assert ask(users, "ana", b"right").accepted
    path.write_text(f"ana:{CHEAP.hash('new')}\n")
    users.reload()
    assert not ask(users, "ana", b"right").accepted
    assert ask(users, "ana", b"new").accepted


def test_who_was_accepted_and_would_be_no_more_is_known_after_a_look(path: Path, clock: Clock) -> None:
    users = PasswordFile(path, clock=clock)
    before = asyncio.run(users.look())
    ana, bob = (ask(users, name, word).why_no_more for name, word in (("ana", b"right"), ("bob", b"other")))
    assert ana is not None
    assert bob is not None
    assert (ana(), bob()) == ("", "")
    path.write_text(f"# new\n{ANA}\nbob:{CHEAP.hash('new')}\n")
    assert asyncio.run(users.look()) == before  # it was a moment ago
    assert look_twice(users, clock) != before
    assert (ana(), bob()) == ("", f"user bob has another password in {path}")
    path.write_text(f"{BOB}\n")
    users.reload()
    assert (ana(), bob()) == (f"user ana is gone from {path}", "")
    path.unlink()  # nobody is gone because of that
    look_twice(users, clock)
    assert (ana() != "", bob()) == (True, "")


def test_who_is_deleted_while_the_password_is_checked_does_not_come_in(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = PasswordFile(path)

    path.write_text(f"{BOB}\n")

    async def run(self: Checks, *_: object) -> bool:
        users.reload()
        return True

    monkeypatch.setattr(Checks, "run", run)
    assert ask(users, "ana", b"right").reason_code == 0x86


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
        look_twice(users, clock)
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
