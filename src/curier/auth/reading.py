"""The users of a file, whatever its kind, which its content tells."""

from __future__ import annotations

from pathlib import Path

from curier import dynamic_security
from curier.auth.dynamic_clients import users_of
from curier.auth.user_file import Users, read_password_file
from curier.errors import ConfigError


def read_users(path: Path) -> Users:
    """Those of a password file, or of Mosquitto's ``dynamic-security.json``. Raises ``ConfigError`` where it
    cannot be read, or is wrong, with the line.
    """
    try:
        with path.open("rb") as file:
            is_json = dynamic_security.looks_like_it(file.read(1024))
        if is_json:
            return users_of(str(path), path.read_bytes())
    except FileNotFoundError:
        pass  # of which read_password_file says what to do
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return Users(read_password_file(path))
