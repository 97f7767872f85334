"""Files of the real mosquitto_passwd: taken by the authenticator, changed by ``curier passwd``."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from curier.auth import PasswordFile
from curier.auth.user_file import delete_user, set_password
from curier.testing.seams import credentials
from tests.conftest import require_peer


def mosquitto_passwd(*words: str) -> None:
    subprocess.run([require_peer("mosquitto_passwd"), *words], check=True, capture_output=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    mosquitto_passwd("-H", "sha512", "-c", "-b", str(path), "old", "s3crét $word:#")
    mosquitto_passwd("-H", "sha512-pbkdf2", "-b", str(path), "new", "s3crét $word:#")
    return path


def accepted(path: Path, user: str, password: str) -> bool:
    users = PasswordFile(path)
    return asyncio.run(users.authenticate(credentials(user, password.encode()))).accepted


@pytest.mark.parametrize("user", ["old", "new"])
def test_its_users_get_in(path: Path, user: str) -> None:
    assert accepted(path, user, "s3crét $word:#")
    assert not accepted(path, user, "s3crét $word:")


def test_a_file_is_changed_by_both_programs_in_turn(path: Path) -> None:
    set_password(path, "old", b"changed")
    set_password(path, "third", b"word")
    assert [accepted(path, user, "s3crét $word:#") for user in ("old", "new")] == [False, True]
    mosquitto_passwd("-b", str(path), "third", "another")  # Mosquitto before 2.1 keeps lines it cannot read
    delete_user(path, "new")
    assert [accepted(path, *known) for known in (("old", "changed"), ("third", "another"))] == [True, True]
    assert not accepted(path, "new", "s3crét $word:#")
