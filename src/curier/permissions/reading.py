"""A file of rules, whatever its kind, which its content tells."""

from __future__ import annotations

from pathlib import Path

from curier.dynamic_security import looks_like_it
from curier.permissions.base import Rules
from curier.permissions.dialects import MOSQUITTO_21
from curier.permissions.dynamic_security import DynamicSecurity
from curier.permissions.mosquitto_acl import MosquittoAcl
from curier.permissions.toml_file import TomlRules, looks_like_ours
from curier.strict_toml import read_bytes


def read_rules(path: Path, dialect: str = MOSQUITTO_21) -> Rules:
    """The rules of a file. ``dialect`` says which Mosquitto's meaning those of its kinds have where they
    differ. Raises ``ConfigError`` where it cannot be read, or is wrong, with the line.
    """
    data = read_bytes(path)
    if looks_like_it(data):
        return DynamicSecurity(str(path), data, dialect)
    if looks_like_ours(data.decode(errors="replace")):
        return TomlRules(path)
    return MosquittoAcl(str(path), data, dialect)
