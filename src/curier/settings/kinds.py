"""Kinds of values: how each is read from a file, from text, and written down again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from curier.listeners import A_LISTENER, parse_listen
from curier.strict_toml import (
    parse_seconds,
    parse_size,
    shown,
    take_count,
    take_flag,
    take_one_of,
    take_path,
    take_string,
    take_whole_seconds,
)

Take = Callable[[object], object]
_UNITS: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of values.

    ``take`` makes one of what TOML has, or raises ``ValueError`` with what was expected; ``read`` makes of
    text, as options and the environment have it, what TOML would have; ``write`` the other way. ``words``
    name the kind for people, ``metavar`` for the help; ``schema`` is JSON Schema's form.
    """

    words: str
    take: Take
    metavar: str
    schema: Mapping[str, object]
    read: Callable[[str], object] = str
    choices: tuple[str, ...] = ()
    write: Callable[[object], str] | None = None

    def parse(self, text: str) -> object:
        """The value that ``text`` means. Raises ``ValueError``."""
        return self.take(self.read(text))

    def written(self, value: object) -> str:
        """A value as TOML: what ``take`` makes the same value of."""
        if self.write is not None:
            return self.write(value)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return f"[{', '.join(map(self.written, value))}]"
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        if isinstance(value, int) and self is SIZE:
            unit = next((one for one in _UNITS if value and value % one[0] == 0), None)
            if unit is not None:
                return f'"{value // unit[0]} {unit[1]}"'
        if isinstance(value, int):
            return f"{value:_}" if value >= 10_000 else str(value)
        if isinstance(value, float):
            return f"{value:g}"
        raise TypeError(f"no value of a setting: {value!r}")


def _flag(text: str) -> object:
    return {"true": True, "false": False}.get(text, text)


def _number(text: str) -> object:
    return int(text) if re.fullmatch(r"[0-9]+(_[0-9]+)*", text) and len(text) < 20 else text


def _words(text: str) -> object:
    return text.split()


def _urls(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(url, str) for url in value):
        raise ValueError(f'expected a list of URLs, such as ["{A_LISTENER}"], got {shown(value)}')
    for url in value:
        parse_listen(url)
    return tuple(value)


def _paths(text: str) -> object:
    return text.split(os.pathsep)


def _files(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f'expected a list of files, such as ["hooks.py"], got {shown(value)}')
    return tuple(value)


def _quantity(pattern: str) -> dict[str, object]:
    return {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": pattern}]}


def one_of(names: Sequence[str]) -> Kind:
    """One of these words."""
    words = [f'`"{name}"`' for name in names]
    return Kind(
        f"{', '.join(words[:-1])} or {words[-1]}",
        take_one_of(names),
        "WORD",
        {"enum": [*names]},
        choices=tuple(names),
    )


def several(kind: Kind, what: str) -> Kind:
    """A list of such values."""

    def take(value: object) -> object:
        if not isinstance(value, list):
            raise ValueError(f"expected a list of {what}, got {shown(value)}")
        return tuple(map(kind.take, value))

    def write(value: object) -> str:
        assert isinstance(value, tuple)
        return f"[{', '.join(map(kind.written, value))}]"

    schema = {"type": "array", "items": kind.schema}
    return Kind(f"a list of {what}", take, kind.metavar, schema, _words, write=write)


_SIZE_TEXT: Final = r"^\s*\d+(\.\d+)?\s*([kKmMgG]?[bB]|[kKmMgG]i[bB])?\s*$"
_TIME_TEXT: Final = r"^\s*\d+(\.\d+)?\s*([mM]?[sS]|[mM][iI][nN]|[hH]|[dD])?\s*$"

FLAG: Final = Kind("`true` or `false`", take_flag, "", {"type": "boolean"}, _flag)
COUNT: Final = Kind("a number", take_count, "NUMBER", {"type": "integer", "minimum": 0}, _number)
SIZE: Final = Kind("a size", parse_size, "SIZE", _quantity(_SIZE_TEXT), _number)
SECONDS: Final = Kind("a time", parse_seconds, "TIME", _quantity(_TIME_TEXT), _number)
WHOLE_SECONDS: Final = Kind(
    "a time of whole seconds", take_whole_seconds, "TIME", _quantity(_TIME_TEXT), _number
)
TEXT: Final = Kind("text", take_string, "TEXT", {"type": "string"})
FILE: Final = Kind("a path", take_path, "FILE", {"type": "string", "minLength": 1})
DIRECTORY: Final = Kind("a path", take_path, "DIR", {"type": "string", "minLength": 1})
FILES: Final = Kind(
    "a list of paths", _files, "FILE", {"type": "array", "items": {"type": "string", "minLength": 1}}, _paths
)
URLS: Final = Kind(
    "a list of URLs",
    _urls,
    "URL",
    {"type": "array", "items": {"type": "string"}, "minItems": 1},
    _words,
)
