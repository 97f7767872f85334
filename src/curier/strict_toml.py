"""TOML files read strictly: every error names file, line and key, and says what was expected.

A key that is not known is an error too, so that a slip of the pen cannot quietly leave a default in place.
The functions named ``take_...`` and ``parse_...`` check one value each: they return what it means, or raise
``ValueError`` with what was expected.
"""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from curier.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Keys: TypeAlias = tuple[str | int, ...]
"""The way to a value: names of keys, and which table of several."""

_SIZES: Final = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
_TIMES: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_QUANTITY: Final = r"(?a:(\d{1,18}(?:\.\d{1,9})?)\s*([A-Za-z]*))"


class TomlFile:
    """A parsed file that knows where its keys stand. Raises ``ConfigError`` where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text = _read(path)
        self._lines: dict[Keys, int] | None = None
        self._added: dict[Keys, tuple[TomlFile, Keys]] = {}
        self.errors: list[ConfigError] = []
        """What was wrong, of what was read with ``noted``."""
        import tomllib  # which most commands have no use for

        try:
            self.table = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(_syntax_error(path, self._text, str(error))) from None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Go on after an error, which is put into ``errors``."""
        try:
            yield
        except ConfigError as error:
            self.errors.append(error)

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in the file, not even a comment."""
        return not self._text.strip()

    def add(self, other: TomlFile) -> None:
        """Take over the keys of another file. Lists of tables are joined, and so are tables; a key that is
        in both files is an error, which is noted.
        """
        for name, value in other.table.items():
            mine = self.table.get(name)
            if mine is None:
                self.table[name] = value
                self._added[(name,)] = other, (name,)
            elif _are_tables(mine) and _are_tables(value):
                for number, one in enumerate(value):
                    self._added[(name, len(mine))] = other, (name, number)
                    mine.append(one)
            elif isinstance(mine, dict) and isinstance(value, dict):
                for key, one in value.items():
                    if key in mine:
                        self.errors.append(self._twice((name, key), other))
                        continue
                    mine[key] = one
                    self._added[name, key] = other, (name, key)
            else:
                self.errors.append(self._twice((name,), other))

    def _twice(self, keys: Keys, other: TomlFile) -> ConfigError:
        return other.wrong(keys, f"it is set in {self.place(keys)} already; keep one of the two")

    def folder(self, keys: Keys) -> Path:
        """What a path that stands there is relative to: where its file is."""
        return self._home(keys)[0].path.parent

    def place(self, keys: Keys) -> str:
        """File and line, for people."""
        home, own = self._home(keys)
        if home._lines is None:
            home._lines = _lines_of(home._text)
        line = home._lines.get(own)
        return f"{home.path}, line {line}" if line else str(home.path)

    def _home(self, keys: Keys) -> tuple[TomlFile, Keys]:
        """The file where a key stands, and its place there."""
        for end in range(len(keys), 0, -1):
            found = self._added.get(keys[:end])
            if found is not None:
                return found[0], found[1] + keys[end:]
        return self, keys

    def value(self, keys: Keys, take: Callable[[object], object]) -> object:
        """The value of a key, as ``take`` makes it."""
        found: Any = self.table
        for key in keys:
            found = found[key]
        try:
            return take(found)
        except (ValueError, ConfigError) as error:
            raise self.wrong(keys, str(error)) from None

    def unknown(self, keys: Keys, known: Sequence[str]) -> ConfigError:
        """The error for a key that is not known, with the one that was perhaps meant."""
        import difflib

        near = difflib.get_close_matches(str(keys[-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of: {', '.join(known)}"
        return self.wrong(keys, f"there is no such key; {hint}")

    def wrong(self, keys: Keys, message: str) -> ConfigError:
        """The error for a key and its value."""
        name = ".".join(key for key in keys if isinstance(key, str))  # of several tables, the line says which
        return ConfigError(f"{self.place(keys)}: {name}: {message}")


def _are_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def parse_size(value: object) -> int:
    """Bytes from a whole number or a text such as ``"16 MiB"`` or ``"1.5 GB"``; else ``ValueError``."""
    size = _quantity(value, _SIZES)
    if size is None or size != int(size):
        raise ValueError(f'expected a whole number of bytes, or a size such as "16 MiB", got {shown(value)}')
    return int(size)


def parse_seconds(value: object) -> float:
    """Seconds from a number or a text such as ``"10 s"`` or ``"5 min"``; else ``ValueError``."""
    seconds = _quantity(value, _TIMES)
    if seconds is None:
        raise ValueError(
            f'expected a number of seconds, or a time such as "10 s" or "5 min", got {shown(value)}'
        )
    return float(seconds)


def take_whole_seconds(value: object) -> int:
    """A time of whole seconds."""
    seconds = parse_seconds(value)
    if seconds != int(seconds):
        raise ValueError(f"expected a whole number of seconds, got {shown(value)}")
    return int(seconds)


def take_count(value: object) -> int:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a whole number, 0 or more, got {shown(value)}")
    return value


def take_flag(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {shown(value)}")
    return value


def take_string(value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(f"expected text in quotes, got {shown(value)}")
    return value


def take_path(value: object) -> str:
    """A path: a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a path in quotes, got {shown(value)}")
    return value


def read_secret(text: str, folder: Path) -> str:
    """``text``, or what it stands for: ``env:NAME`` is a variable of the environment, ``file:PATH`` the first
    line of a file, relative to ``folder``. Raises ``ValueError``, which has nothing of a secret.
    """
    how, colon, where = text.partition(":")
    if colon and how == "env":
        value = os.environ.get(where)
        if value is None:
            raise ValueError(f"there is no variable {where} in the environment")
        return value
    if colon and how == "file":
        path = folder / where
        try:
            return path.read_text().split("\n", 1)[0].removesuffix("\r")
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path}: expected UTF-8 text") from None
    return text


def take_one_of(names: Sequence[str]) -> Callable[[object], object]:
    """What takes one of these words."""

    def take(value: object) -> object:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"expected one of {', '.join(names)}, got {shown(value)}")
        return value

    return take


def _quantity(value: object, units: Mapping[str, float]) -> float | None:
    """A number of the base unit, from a number or a text with a unit; ``None`` where it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if 0 <= value < 2**63 else None  # which neither infinity nor NaN is
    found = re.fullmatch(_QUANTITY, value.strip()) if isinstance(value, str) else None
    if found is None or found[2].lower() not in units:
        return None
    number = float(found[1]) if "." in found[1] else int(found[1])
    return number * units[found[2].lower()]


def shown(value: object) -> str:
    """A value as an error shows it: not longer than a line bears."""
    return str(value).lower() if isinstance(value, bool) else reprlib.repr(value)


def read_bytes(path: Path) -> bytes:
    """All of a file that people write. Raises ``ConfigError`` where it is not there, or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _read(path: Path) -> str:
    data = read_bytes(path)
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: expected UTF-8 text") from None


def _syntax_error(path: Path, text: str, message: str) -> str:
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if found is not None:
        return f"{path}, line {found[2]}, column {found[3]}: {found[1]}"
    line = text.count("\n") + 1
    column = len(text.rpartition("\n")[2]) + 1
    return f"{path}, line {line}, column {column}: {message}"


def _lines_of(text: str) -> dict[Keys, int]:
    """The line where each key of a valid file is set.

    A statement is as many lines as it takes to be valid by itself: a table's header, or a key with its value.
    """
    import tomllib

    found: dict[Keys, int] = {}
    numbers: dict[Keys, int] = {}  # of several tables, the last
    table: Keys = ()
    statement = ""
    start = 1
    for end, line in enumerate(text.split("\n"), 1):
        statement += f"{line}\n"
        if line.rstrip().endswith(",") and "#" not in line:
            continue  # nothing ends so, and to try each line of a long list would take long
        try:
            parsed: Any = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # within a value of many lines
        if statement.lstrip().startswith("["):
            table = ()
            while parsed:
                [(name, parsed)] = parsed.items()
                table += (name,)
                found.setdefault(table, start)
                if isinstance(parsed, list):
                    numbers[table] = numbers.get(table, -1) + 1
                    parsed = parsed[0]
                if table in numbers:
                    table += (numbers[table],)
                    found.setdefault(table, start)
        else:
            _note(found, table, parsed, start)
        statement = ""
        start = end + 1
    return found


def _note(found: dict[Keys, int], table: Keys, value: object, line: int) -> None:
    """Remember the line of all keys within a value."""
    if isinstance(value, dict):
        for key, one in value.items():
            found.setdefault((*table, key), line)
            _note(found, (*table, key), one, line)
    elif _are_tables(value) and isinstance(value, list):
        for number, one in enumerate(value):
            found.setdefault((*table, number), line)
            _note(found, (*table, number), one, line)
