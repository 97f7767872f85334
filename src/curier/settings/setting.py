"""What a setting is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from curier.settings.kinds import Kind

ENVIRONMENT: Final = "CURIER_"
"""What the names of environment variables begin with."""


@dataclass(frozen=True)
class Setting:
    """One setting of the broker.

    ``about`` is for the documentation, in Markdown; its first sentence is the help of the option. ``default``
    is what holds where nobody says anything: a value as TOML has it, or words. ``table`` is the table of the
    file where it stands; "" is the top. ``one`` is what one of several is called, where an option is that;
    ``key_there`` is its key in that table, where that is not its name.
    """

    name: str
    kind: Kind
    about: str
    default: str
    section: str = "Options"
    table: str = ""
    one: str = ""
    key_there: str = ""

    @property
    def option(self) -> str:
        """Its option on the command line."""
        return f"--{(self.one or self.name).replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT + self.name.upper()

    @property
    def key(self) -> str:
        """Its place in the file."""
        name = self.key_there or self.name
        return f"{self.table}.{name}" if self.table else name

    @property
    def help(self) -> str:
        """The first sentence of what is said about it, as plain text."""
        return re.split(r"(?<=\.) (?=[A-Z`])", plain(self.about))[0]


def plain(markdown: str) -> str:
    """The text of a line of Markdown: links without where they lead, and no marks of code."""
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", markdown).replace("`", "")
