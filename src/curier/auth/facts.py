"""What others say of a client that is let in, within limits: who it is, its groups, its claims, until when.

What takes one of these raises ``ValueError`` with ``what`` it was, and what is wrong with it. Besides, what
the broker says to them of itself: a password.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from curier.errors import ConfigError

MOST_CHARACTERS: Final = 1024
"""Of a name, a group, or a claim."""

MOST_GROUPS: Final = 256
MOST_CLAIMS: Final = 64

END_OF_TIME: Final = 253402300799.0
"""The last second of the year 9999; what is later is taken as this."""


def take_name(value: object, what: str) -> str:
    """A name that can be shown."""
    if not isinstance(value, str) or not value or len(value) > MOST_CHARACTERS or not value.isprintable():
        raise ValueError(f"{what} is missing, or no text that can be a name")
    return value


def take_groups(value: object, what: str) -> frozenset[str]:
    """Groups, from a list of texts, or one text with blanks between; None is none."""
    listed = value.split() if isinstance(value, str) else value
    if listed is None:
        return frozenset()
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise ValueError(f"{what} is no list of texts")
    if len(listed) > MOST_GROUPS or any(len(one) > MOST_CHARACTERS for one in listed):
        raise ValueError(f"{what} is too long")
    return frozenset(listed)


def take_claim(value: object, what: str) -> str:
    """A claim, as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise ValueError(f"{what} is neither text nor number")
    text = str(value)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{what} is too long")
    return text


def take_time(value: object, what: str) -> float:
    """A point in time in seconds since 1970, as far as the year 9999 in either direction."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{what} is no number")
    return float(max(-END_OF_TIME, min(value, END_OF_TIME)))


def read_password(path: str | None, text: str | None = None) -> str | None:
    """The broker's own password, as it stands or in a file of one line; None: it has none. Raises
    ``ConfigError``.
    """
    if path is None or text is not None:
        return text
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', 'it is no UTF-8')}") from None
    if len(lines) != 1 or not lines[0]:
        raise ConfigError(f"{path}: expected a password in one line")
    return lines[0]
