"""``curier passwd``, from the command line down to the file."""

from __future__ import annotations

import stat
from pathlib import Path

import argon2
import pytest
from click.testing import CliRunner, Result

from curier.auth import hashes
from curier.auth.user_file import read_password_file
from curier.cli import main
from tests.auth.test_hashes import PBKDF2, SHA512


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost nothing: what they cost in earnest is for tests/auth."""
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(hashes, "_OURS", cheap)


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


# -- tokens, costs, users of other files --


@pytest.mark.parametrize("words", [["token", "FILE", "dev1"], ["FILE", "dev1", "--token"]])
def test_a_token_is_printed_once_and_only_its_hash_is_kept(path: Path, words: list[str]) -> None:
    words = [str(path) if word == "FILE" else word for word in words]
    first, second = run(*words), run(*words)
    token = second.stdout.removesuffix("\n")
    assert first.stdout != second.stdout
    assert f"user dev1 is added to {path}; the token is the password" in first.stderr
    assert f"user dev1 in {path} has a new token" in second.stderr
    assert len(token) == len("curier_") + 43  # 256 bits
    (encoded,) = read_password_file(path).values()
    assert hashes.fits(encoded, token.encode())
    assert not hashes.fits(encoded, first.stdout.encode())
    assert token not in path.read_text()


def test_a_file_called_token(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    result = run("token", "ana")
    assert (result.exit_code, "makes a token; a file called token is ./token" in result.stderr) == (2, True)
    assert run("./token", "ana", "--stdin", "--cost", "m=8,t=1,p=1", typed="old\n").exit_code == 0
    assert run("token", "ana", "--stdin", "--cost", "m=8,t=1,p=1", typed="new\n").exit_code == 0
    assert fits(path.with_name("token"), "ana", b"new")


@pytest.mark.parametrize(("cost", "found"), [("low", "m=4096,t=1,p=1"), ("m=16,t=2,p=2",) * 2])
def test_what_a_hash_costs_can_be_chosen(path: Path, cost: str, found: str) -> None:
    assert run(path, "ana", "--stdin", "--cost", cost, typed="word\n").exit_code == 0
    assert f"ana:$argon2id$v=19${found}$" in path.read_text()


@pytest.mark.parametrize(
    ("cost", "why"),
    [
        ("lots", "expected memory in KiB, passes and lanes: low, normal, high, or numbers such as"),
        ("m=7,t=1,p=1", "expected memory"),
        ("m=2097152,t=1,p=1", "2097152 KiB of memory, and 1048576 are allowed"),
        ("m=1048576,t=5,p=1", "5 passes over 1048576 KiB, and 4 are allowed"),
        ("m=1024,t=1,p=65", "65 lanes, and 64 are allowed"),
    ],
)
def test_a_cost_that_cannot_be(path: Path, cost: str, why: str) -> None:
    result = run(path, "ana", "--stdin", "--cost", cost, typed="word\n")
    assert result.exit_code == 2
    assert why in " ".join(result.stderr.replace("│", " ").split())
    assert not path.exists()


def test_users_of_mosquitto_and_plain_ones_are_imported(path: Path) -> None:
    path.write_text(f"# ours\nana:{SHA512}\nzoe:{SHA512}\n")
    other = path.with_name("other")
    other.write_text(f"# theirs\r\nben:{SHA512}\r\n\r\ncarl: {PBKDF2} \r\nana:pass:wörd \r\n", newline="")
    result = run(path, "--import", other, "--cost", "m=8,t=1,p=1")
    assert result.stdout == f"2 users of {other} are added to {path}, and 1 have changed\n"
    users = read_password_file(path)
    assert list(users) == ["ana", "zoe", "ben", "carl"]
    assert (users["ben"], users["carl"], users["zoe"]) == (SHA512, PBKDF2, SHA512)
    assert fits(path, "ana", "pass:wörd ".encode())
    before = path.read_text()
    assert run(path, "--import", path).exit_code == 0  # what is hashed stays hashed
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ben", "line 2: expected user:hash or user:password"),
        (":word", "line 2: the user name is empty"),
        ("ben:", "line 2: the password is empty"),
        ("ana:other", "line 2: the same user stands above"),
        ("ben:$2b$12$" + "a" * 53, "line 2: this looks like a hash of kind 2b, which nothing here knows"),
        ("ben:PBKDF2$sha512$100000$x$y", "line 2: this looks like a hash of kind PBKDF2"),
        ("ben:{SSHA}abcdefgh", "line 2: this looks like a hash of kind SSHA"),
        (f"b:en:{SHA512}", "line 2: the first colon ends the user name"),
        ("ben:" + PBKDF2.replace("$101$", "$999999999$"), "line 2: the hash asks for 999999999 iterations"),
    ],
)
def test_nobody_is_imported_where_a_line_is_wrong(path: Path, line: str, why: str) -> None:
    other = path.with_name("other")
    other.write_text(f"ana:{SHA512}\n{line}\n")
    result = run(path, "--import", other)
    assert (result.exit_code, why in " ".join(result.stderr.split())) == (2, True), result.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    "words", [[], ["--import", "f", "ana"], ["ana", "--token", "--stdin"], ["ana", "--token", "--delete"]]
)
def test_what_cannot_be_asked_for_at_once(path: Path, words: list[str]) -> None:
    assert run(path, *words).exit_code == 2
    assert not path.exists()


def test_a_file_to_import_that_is_not_there(path: Path) -> None:
    result = run(path, "--import", path.with_name("other"))
    assert (result.exit_code, "other: there is no such file" in result.stderr) == (2, True)
