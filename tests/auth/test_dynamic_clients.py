"""Users of Mosquitto's dynamic-security.json: who comes in, and who does not any more."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import curier.auth.passwords as passwords
from curier.auth import PasswordFile, Verdict
from curier.auth.checks import Checks
from curier.auth.reading import read_users
from curier.errors import ConfigError
from curier.rereading import LOOK_INTERVAL
from curier.testing.seams import credentials
from tests.auth.test_password_file import CHEAP, Clock, InThread

SALT = b"0123456789ab"


def client(name: object, word: bytes | None = b"right", **more: Any) -> dict[str, Any]:
    """One as Mosquitto 2.0 writes it; ``...`` for a member leaves it out."""
    one = {"username": name, "textname": "", "roles": []}
    if word is not None:
        keys = {"password": hashlib.pbkdf2_hmac("sha512", word, SALT, 101, 64), "salt": SALT}
        one |= {name: base64.b64encode(value).decode() for name, value in keys.items()}
        one |= {"iterations": 101}
    one |= more
    return {name: value for name, value in one.items() if value is not ...}


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "Checks", partial(Checks, make_hasher=InThread))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dynamic-security.json"
    write(
        path,
        client("ana"),
        client("off", disabled=True),
        client("bound", clientid="c1"),
        client("new", None, encoded_password=CHEAP.hash("right")),
        client("none", None),
        client("ana", b"other"),
    )
    path.chmod(0o600)
    return path


def write(path: Path, *clients: Any) -> None:
    path.write_text(json.dumps({"clients": [*clients], "roles": []}, indent="\t"))


def ask(users: PasswordFile, name: str | None, password: bytes | None, client_id: str = "c1") -> Verdict:
    return asyncio.run(users.authenticate(credentials(name, password, client_id)))


@pytest.mark.parametrize(
    ("name", "client_id", "password", "why"),
    [
        ("ana", "c1", b"right", ""),
        ("ana", "c1", b"other", "the password is wrong"),  # of several the first counts
        ("ana", "c1", b"", "the password is wrong"),
        ("new", "c1", b"right", ""),
        ("bound", "c1", b"right", ""),
        ("bound", "c2", b"right", "the user has another client id"),
        ("bound", "c2", b"wrong", "the password is wrong"),
        ("off", "c1", b"right", "the user is disabled"),
        ("off", "c1", b"wrong", "the password is wrong"),
        ("none", "c1", b"", "the password is wrong"),
        ("nobody", "c1", b"right", "there is no such user"),
    ],
)
def test_who_comes_in(path: Path, name: str, client_id: str, password: bytes, why: str) -> None:
    verdict = ask(PasswordFile(path), name, password, client_id)
    assert (verdict.accepted, verdict.why) == (not why, why)
    if why:  # a stranger is told nothing of it
        assert (verdict.reason_code, verdict.reason_string) == (0x86, "bad user name or password")
        assert verdict.is_mine == (name != "nobody")


def test_without_a_password_or_a_name_it_is_somebody_elses_matter(path: Path) -> None:
    assert not ask(PasswordFile(path), "ana", None).is_mine
    assert not ask(PasswordFile(path), None, b"right").is_mine
    assert ask(PasswordFile(path, allow_anonymous=True), None, None).accepted


def test_who_may_connect_no_more_is_known_after_a_look(path: Path) -> None:
    clock = Clock()
    users = PasswordFile(path, clock=clock)
    asked = [ask(users, name, b"right").why_no_more for name in ("ana", "bound", "new")]

    def whys() -> list[str]:
        for _ in range(2):
            clock.now += LOOK_INTERVAL
            asyncio.run(users.look())
        return [why_no_more() for why_no_more in asked if why_no_more is not None]

    new = client("new", None, encoded_password=CHEAP.hash("right"))
    write(path, client("ana", disabled=True), client("bound", clientid="c2"), new)
    assert whys() == [
        f"user ana is disabled in {path}",
        f"user bound has another client id in {path}",
        f"user new has another password in {path}",
    ]
    path.write_text('{"clients": [')  # half of it, as somebody writes it
    assert whys()[0] == f"user ana is disabled in {path}"
    write(path)
    assert whys()[0] == f"user ana is gone from {path}"


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (client("u", iterations=0), "its iterations are no number that can be"),
        (client("u", iterations=True), "its iterations are no number"),
        (client("u", iterations="101"), "its iterations are no number"),
        (client("u", iterations=...), "its iterations are no number"),
        (client("u", iterations=5_000_001), "asks for 5000001 iterations"),
        (client("u", salt="x"), "its password is no hash"),
        (client("u", password="secret"), "its password is no hash"),
        (client("u", None, encoded_password="secret"), "its password is no hash"),
        (
            client(
                "u", None, encoded_password="$argon2id$v=19$m=9999999,t=1,p=1$" + "A" * 22 + "$" + "A" * 43
            ),
            "asks for 9999999 KiB",
        ),
    ],
)
def test_what_is_wrong_with_a_client_is_logged_and_others_come_in(
    path: Path, caplog: pytest.LogCaptureFixture, one: dict[str, Any], why: str
) -> None:
    write(path, one, client("ana"))
    users = PasswordFile(path)
    assert ask(users, "ana", b"right").accepted
    assert ask(users, "u", b"right").why == "the password is wrong"
    assert f"{path}: 1 clients cannot log in; the first is u: " in caplog.text
    assert why in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "text", ['{"clients": 7}', '{"clients": [7, {}, {"username": ""}]}', "{}", '\ufeff{"a": 1}']
)
def test_nobody_is_in_a_file_without_clients(path: Path, text: str) -> None:
    path.write_text(text)
    assert not read_users(path).hashes


@pytest.mark.parametrize(
    ("text", "why"),
    [('{"clients": [', "line 1, column 14"), ('{"a":"\\ud800"}', "no JSON"), ('{"":' * 100_000, "no JSON")],
)
def test_files_that_cannot_be_used(path: Path, text: str, why: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        read_users(path)


def test_a_user_of_a_password_file_may_be_called_as_json_begins(path: Path) -> None:
    path.write_text(f"{{a}}:{CHEAP.hash('x')}\n")
    assert [*read_users(path).hashes] == ["{a}"]
