"""Mosquitto's ``dynamic-security.json`` as tables, from which others read who may come in, and do what."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from curier.errors import ConfigError

_BEGINNING: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{\s*(?:[\"}]|$)")


def looks_like_it(data: bytes) -> bool:
    """Whether the beginning of a file is that of JSON."""
    return _BEGINNING.match(data) is not None


def parse(name: str, data: bytes) -> dict[str, Any]:
    """All of the file ``name``, which has this text. Raises ``ConfigError`` with the line that is no JSON."""
    try:
        found = json.loads(data.decode("utf-8-sig"))
        json.dumps(found, ensure_ascii=False).encode()  # or it has halves of characters
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}, line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: no JSON: {error}") from None
    return table(found)


def table(value: Any) -> dict[str, Any]:
    """A table, or an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def tables(value: Any) -> list[dict[str, Any]]:
    """The tables in a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def named(parent: dict[str, Any], key: str, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The tables of a list that have a name, of several with the same one the first; and which others."""
    found: dict[str, dict[str, Any]] = {}
    ignored: list[str] = []
    for one in tables(parent.get(key)):
        if isinstance(one.get(name), str) and one[name] not in found:
            found[one[name]] = one
        else:
            ignored.append(f"{one.get(name)!r} of {key}")
    return [*found.values()], ignored
