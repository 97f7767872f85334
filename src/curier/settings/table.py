"""All settings that belong to the broker as a whole."""

from __future__ import annotations

from typing import Final

from curier.broker.options import Options
from curier.settings.cluster import CLUSTER
from curier.settings.kinds import DIRECTORY, FILE, FILES, FLAG, URLS, one_of
from curier.settings.limits import LIMITS
from curier.settings.log_levels import LEVELS, LOG_LEVELS
from curier.settings.setting import Setting
from curier.settings.web import WEB

DURABILITIES: Final = ("fsync", "os", "memory")
LOG_FORMATS: Final = ("plain", "json")


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
        "acl_file",
        FILE,
        "Let clients do what the rules of this file say, and nothing else; see "
        "[permissions.md](permissions.md).",
        "none",
    ),
    Setting(
        "acl_dialect",
        one_of(("mosquitto-2.1", "mosquitto-2.0")),
        "Which Mosquitto's meaning a file of Mosquitto's has; see "
        "[permissions.md](permissions.md#mosquittos-acl_file).",
        '`"mosquitto-2.1"`',
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
        "no_trace",
        FLAG,
        "Serve no traces, which `curier trace` reads by a Unix socket beside the data; see "
        "[trace.md](trace.md#of-a-broker-that-runs).",
        "`false`",
    ),
    Setting(
        "no_past",
        FLAG,
        "Do not keep in memory what went by last, and what did not arrive; see "
        "[trace.md](trace.md#what-went-by-before-you-looked).",
        "`false`",
    ),
    Setting(
        "log_level",
        one_of(LOG_LEVELS),
        "How much to say in [the log](#the-log): `debug`, `info`, `warning`, `error`.",
        '`"info"`',
    ),
    Setting(
        "log_levels",
        LEVELS,
        'Other levels for some topics, such as `{ connect = "warning", acl = "debug" }`. On the command line '
        "and in the environment `connect=warning acl=debug`.",
        "`{}`",
    ),
    Setting(
        "log_format",
        one_of(LOG_FORMATS),
        "Lines for people, or a JSON object in each.",
        '`"plain"`',
    ),
    Setting(
        "log_file",
        FILE,
        "Write the log there, and not to standard error. It is opened again when it has been moved away, and "
        "on SIGHUP.",
        "none",
    ),
    Setting(
        "audit_log",
        FILE,
        "Write there who came, was refused or banned, and what was denied or changed; see "
        "[below](#the-audit-log).",
        "none",
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

ALL: Final = {**TOP, **WEB, **CLUSTER, **LIMIT}
"""These, and those below ``[web]``; no name is there twice."""
