"""The text of a password file: what is read, what is refused, how it is changed, by many at once too."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import argon2
import pytest

from curier.auth.user_file import delete_user, read_password_file, set_password
from curier.errors import ConfigError

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ANA = f"ana:{CHEAP.hash('right', salt=b'of-salt-of-salt-')}"
BOB = f"bob:{CHEAP.hash('other', salt=b'of-salt-of-salt2')}"
DIGEST = f"${'A' * 86}=="


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    file.write_text(f"# who may connect\n\n{ANA}\n{BOB}\n")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    "text",
    [
        f"{ANA}\n{BOB}\n",
        f"{ANA}\n{BOB}",
        f"\ufeff{ANA}\n{BOB}\n",
        f"\ufeff# users\r\n{ANA}\r\n\r\n{BOB}\r\n",
        f"  {ANA}  \n\t{BOB.replace(':', ' : ')}\n",
        f"#{ANA}\n{ANA}\n{BOB}\n",
    ],
)
def test_editors_may_leave_their_marks(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    assert read_password_file(path) == {
        "ana": ANA.partition(":")[2],
        "bob": BOB.partition(":")[2],
    }
    set_password(path, "ana", b"new")
    delete_user(path, "bob")
    (changed,) = read_password_file(path).items()
    assert changed[0] == "ana"
    assert argon2.PasswordHasher().verify(changed[1], b"new")


# -- what is said of a malformed one --


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("secret", "line 3: expected user:hash"),
        (":secret", "line 3: expected user:hash"),
        ("carl:", "line 3: expected an Argon2id hash"),
        ("carl:secret", "line 3: expected an Argon2id hash"),
        ("carl:$6$salt$secret", "line 3: expected an Argon2id hash"),
        ("carl:$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2VjcmV0c2VjcmV0", "line 3: expected an Argon2id hash"),
        ("carl:$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHQ$c2VjcmV0c2VjcmV0", "line 3: expected an Argon2id hash"),
        ("carl:$argon2id$v=19$m=7,t=1,p=1$c2FsdHNhbHQ$c2VjcmV0c2VjcmV0", "line 3: expected an Argon2id hash"),
        ("carl:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$c2VjcmV0c", "line 3: expected an Argon2id hash"),
        ("carl:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ", "line 3: expected an Argon2id hash"),
        ("carl:$6$c2Fs$c2VjcmV0", "line 3: expected an Argon2id hash"),
        (f"carl:$7$0$c2Fs{DIGEST}", "line 3: expected an Argon2id hash"),
        (f"carl:$8$c2Fs{DIGEST}", "line 3: expected an Argon2id hash"),
        (f"carl:$6$c2F{DIGEST}", "line 3: expected an Argon2id hash"),
        (f"48:e1:e9:$6$c2Fs{DIGEST}", "line 3: the first colon ends the user name"),
        (f"carl:$6$c2Fs{DIGEST} # a note", "line 3: expected an Argon2id hash"),
        (
            f"carl:$7$999999999$c2Fs{DIGEST}",
            "line 3: the hash asks for 999999999 iterations, and 5000000 are",
        ),
        (
            f"carl:{ANA.partition(':')[2].replace('m=8', 'm=9999999')}",
            "line 3: the hash asks for 9999999 KiB",
        ),
        (ANA, "line 3: user 'ana' is there twice"),
        (f" ana : {ANA.partition(':')[2]}", "line 3: user 'ana' is there twice"),
    ],
)
def test_a_malformed_line_is_named_but_not_quoted(path: Path, line: str, expected: str) -> None:
    path.write_text(f"# users\n{ANA}\n{line}\n{BOB}\n")
    with pytest.raises(ConfigError) as caught:
        read_password_file(path)
    assert str(caught.value).startswith(f"{path}, {expected}")
    assert "secret" not in str(caught.value)
    assert "c2FsdHNhbHQ" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file; make it with: curier passwd .*users USER"):
        read_password_file(tmp_path / "users")


def test_a_directory_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_password_file(tmp_path)
    (tmp_path / "users").write_bytes(b"ana:\xff\n")
    with pytest.raises(ConfigError, match="expected UTF-8 text"):
        read_password_file(tmp_path / "users")


# -- writing it --


def test_a_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "users"
    assert set_password(path, "ana", b"right") is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    encoded = read_password_file(path)["ana"]
    argon2.PasswordHasher().verify(encoded, b"right")
    cost = argon2.extract_parameters(encoded)
    assert (cost.memory_cost, cost.time_cost, cost.parallelism) == (19 * 1024, 2, 1)


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


# -- many at once --


CHANGES = """
import sys
from pathlib import Path

import argon2

from curier.auth.user_file import delete_user, set_password

cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
argon2.PasswordHasher = lambda: cheap
name = sys.argv[2]
path = Path(sys.argv[1])
for number in range(20):
    set_password(path, f"{name}-{number}", b"word")
    if number % 2:
        delete_user(path, f"{name}-{number}")
"""


@pytest.mark.slow
def test_programs_that_change_it_at_once_lose_nobody(path: Path, tmp_path: Path) -> None:
    path.unlink()  # the first of them makes it
    names = ["a", "b", "c", "d"]
    programs = [subprocess.Popen([sys.executable, "-c", CHANGES, str(path), name]) for name in names]
    assert [program.wait(60) for program in programs] == [0] * len(names)
    expected = {f"{name}-{number}" for name in names for number in range(0, 20, 2)}
    assert set(read_password_file(path)) == expected
    assert list(tmp_path.iterdir()) == [path]


def test_who_dies_with_the_lock_keeps_nobody_out(path: Path, tmp_path: Path) -> None:
    (tmp_path / ".users.lock").write_text("")
    delete_user(path, "ana")
    assert list(read_password_file(path)) == ["bob"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("mode", "group", "user", "expected"),
    [
        (0o750, 1883, 0, 0o640),  # as /etc/curier is made for the broker's group
        (0o755, 1883, 0, 0o600),  # everybody may look into it
        (0o700, 1883, 0, 0o600),
        (0o750, 0, 0, 0o600),
        (0o750, 1883, 1000, 0o600),
    ],
)
def test_a_file_that_root_makes_in_the_brokers_directory_is_for_the_broker_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, group: int, user: int, expected: int
) -> None:
    given: list[tuple[int, int]] = []
    stat_of = Path.stat

    def in_that_group(path: Path, **how: bool) -> os.stat_result:
        found = stat_of(path, **how)
        if path != tmp_path:
            return found
        return os.stat_result((stat.S_IFDIR | mode, *found[1:5], group, *found[6:10]))

    monkeypatch.setattr(Path, "stat", in_that_group)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "chown", lambda path, owner, to: given.append((owner, to)))
    made = tmp_path / "users"
    set_password(made, "ana", b"right", "low")
    assert stat.S_IMODE(os.stat(made).st_mode) == expected
    assert given == ([(-1, group)] if expected == 0o640 else [])
