"""What a setting is, and all that belong to the broker as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from curier.broker.options import Options
from curier.settings.kinds import DIRECTORY, FILE, FILES, FLAG, URLS, Kind, one_of
from curier.settings.limits import LIMITS

DURABILITIES: Final = ("fsync", "os", "memory")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
ENVIRONMENT: Final = "CURIER_"
"""What the names of environment variables begin with."""


@dataclass(frozen=True)
class Setting:
    """One setting of the broker.

    ``about`` is for the documentation, in Markdown; its first sentence is the help of the option. ``default``
    is what holds where nobody says anything: a value as TOML has it, or words. ``table`` is the table of the
    file where it stands; "" is the top. ``one`` is what one of several is called, where an option is that.
    """

    name: str
    kind: Kind
    about: str
    default: str
    section: str = "Options"
    table: str = ""
    one: str = ""

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
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def help(self) -> str:
        """The first sentence of what is said about it, as plain text."""
        return re.split(r"(?<=\.) (?=[A-Z`])", plain(self.about))[0]


def plain(markdown: str) -> str:
    """The text of a line of Markdown: links without where they lead, and no marks of code."""
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", markdown).replace("`", "")


_TOP: Final = (
    Setting(
        "listen",
        URLS,
        "Where to listen; may be given more than once. By default it is this machine only; where it has no "
        "IPv6, the second address is left out. Port 0 takes a free port, no port means 1883. An IPv6 address "
        "stands in brackets: `tcp://[::1]:1883`. Unix sockets and more: [listeners.md](listeners.md).",
        "`tcp://127.0.0.1:1883` and `tcp://[::1]:1883`",
    ),
    Setting(
        "certificate",
        FILE,
        "The broker's certificate, a PEM file, for all of `listen` that are `tls://` or `wss://`; see "
        "[security.md](security.md#tls).",
        "none",
    ),
    Setting("key", FILE, "Its private key.", "none"),
    Setting("client_ca", FILE, "Demand certificates of clients there, signed by one of these.", "none"),
    Setting(
        "data",
        DIRECTORY,
        "The directory for durable state; see "
        "[what is stored, and where](../README.md#what-is-stored-and-where).",
        "`~/.local/state/curier`",
    ),
    Setting("memory", FLAG, "Keep everything in memory only.", "`false`"),
    Setting(
        "durability",
        one_of(DURABILITIES),
        "What an acknowledgement waits for: `fsync` the disk, `os` the operating system, `memory` nothing "
        "(as `--memory`).",
        '`"fsync"`',
    ),
    Setting(
        "allow_anonymous",
        FLAG,
        "Let clients in that send no user name, from anywhere.",
        "[see below](#who-may-connect)",
    ),
    Setting(
        "password_file",
        FILE,
        "Let in the users of this file; see [curier passwd](#curier-passwd).",
        "none",
    ),
    Setting(
        "hooks",
        FILES,
        "Load hooks, authenticators and authorizers from this Python file; may be given more than once. See "
        "[embedding.md](embedding.md#without-a-program-of-your-own).",
        "none",
        one="hook",
    ),
    Setting(
        "log_level",
        one_of(LOG_LEVELS),
        "How much to say on standard error: `debug`, `info`, `warning`, `error`.",
        '`"info"`',
    ),
)


def _limits() -> tuple[Setting, ...]:
    defaults = Options()
    return tuple(
        Setting(
            name,
            kind,
            about,
            f"`{kind.written(getattr(defaults, name))}`",
            section,
            "limits",
        )
        for section, rows in LIMITS.items()
        for name, kind, about in rows
    )


TOP: Final = {one.name: one for one in _TOP}
"""Those at the top of the file, in the order of the documentation."""

LIMIT: Final = {one.name: one for one in _limits()}
"""Those below ``[limits]``, which are the attributes of ``Options``."""

ALL: Final = {**TOP, **LIMIT}
"""Both; no name is in both."""
