"""``curier passwd``, from the command line down to the file."""

from __future__ import annotations

import stat
from pathlib import Path

import argon2
import pytest
from click.testing import CliRunner, Result

from curier.auth.user_file import read_password_file
from curier.cli import main


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost nothing: what they cost in earnest is for tests/auth."""
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(argon2, "PasswordHasher", lambda: cheap)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def run(*arguments: str | Path, typed: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["passwd", *map(str, arguments)], input=typed)


def fits(path: Path, user: str, password: bytes) -> bool:
    return argon2.PasswordHasher().verify(read_password_file(path)[user], password)


def test_asks_twice_shows_nothing_and_makes_a_file_for_its_owner(path: Path) -> None:
    result = run(path, "ana", typed="s3cret\ns3cret\n")
    assert result.exit_code == 0
    assert result.stdout == f"user ana is added to {path}\n"
    assert "Password of ana:" in result.stderr
    assert "s3cret" not in result.output
    assert fits(path, "ana", b"s3cret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_asks_again_when_the_two_differ(path: Path) -> None:
    result = run(path, "ana", typed="s3cret\nsecret\nother\nother\n")
    assert result.exit_code == 0
    assert fits(path, "ana", b"other")


def test_changes_a_password(path: Path) -> None:
    run(path, "ana", "--stdin", typed="old\n")
    result = run(path, "ana", "--stdin", typed="new\n")
    assert result.stdout == f"the password of ana in {path} is changed\n"
    assert fits(path, "ana", b"new")
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("typed", "password"),
    [
        (b"s3cret\n", b"s3cret"),
        (b"s3cret", b"s3cret"),
        (b"s3cret\r\nmore\n", b"s3cret"),
        ("pässwörd\n".encode(), "pässwörd".encode()),
        (b" a b \n", b" a b "),
        (b"\xff\x00\n", b"\xff\x00"),
    ],
)
def test_takes_the_first_line_of_standard_input(path: Path, typed: bytes, password: bytes) -> None:
    assert run(path, "ana", "--stdin", typed=typed).exit_code == 0
    assert fits(path, "ana", password)


def test_deletes_a_user(path: Path) -> None:
    run(path, "ana", "--stdin", typed="one\n")
    run(path, "bob", "--stdin", typed="two\n")
    result = run(path, "ana", "--delete")
    assert (result.exit_code, result.stdout) == (0, f"user ana is deleted from {path}\n")
    assert list(read_password_file(path)) == ["bob"]


@pytest.mark.parametrize(
    ("arguments", "typed", "expected"),
    [
        (["a:b", "--stdin"], "word\n", "Error: user name 'a:b': a colon ends the name in the file"),
        (["a:b"], "", "Error: user name 'a:b'"),
        (["ana", "--stdin"], "\n", "Error: the password is empty"),
        (["ana", "--stdin"], "", "Error: the password is empty"),
        (["ana", "--delete"], "", "there is no such file"),
        (["ana", "--delete", "--stdin"], "", "--stdin and --delete cannot both be"),
        ([], "", "Missing argument 'USER'"),
    ],
)
def test_what_cannot_be_is_told_in_a_line_with_exit_code_2(
    path: Path, arguments: list[str], typed: str, expected: str
) -> None:
    result = run(path, *arguments, typed=typed)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert not path.exists()


def test_the_file_of_a_broker_that_runs_may_be_malformed_and_stays_so(path: Path) -> None:
    path.write_text("ana:word\n")
    result = run(path, "bob", "--stdin", typed="word\n")
    assert result.exit_code == 2
    assert f"Error: {path}, line 1: expected an Argon2id hash" in result.stderr
    assert path.read_text() == "ana:word\n"
