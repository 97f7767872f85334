"""A file of rules, whatever its kind, which its content tells."""

from __future__ import annotations

from pathlib import Path

from curier.dynamic_security import looks_like_it
from curier.errors import ConfigError
from curier.permissions.base import Rules
from curier.permissions.dialects import MOSQUITTO_21
from curier.permissions.dynamic_security import DynamicSecurity
from curier.permissions.mosquitto_acl import MosquittoAcl
from curier.permissions.toml_file import TomlRules, looks_like_ours


def read_rules(path: Path, dialect: str = MOSQUITTO_21) -> Rules:
    """The rules of a file. ``dialect`` says which Mosquitto's meaning those of its kinds have where they
    differ. Raises ``ConfigError`` where it cannot be read, or is wrong, with the line.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if looks_like_it(data):
        return DynamicSecurity(str(path), data, dialect)
    if looks_like_ours(data.decode(errors="replace")):
        return TomlRules(path)
    return MosquittoAcl(str(path), data, dialect)
