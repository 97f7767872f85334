"""Writes the tables of settings into the documentation: `make settings`, or `python -m tests.settings_page`.

Between `<!-- settings: NAME -->` and `<!-- end -->` a page has what `TABLES[NAME]` makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from curier.mosquitto_conf import translating
from curier.settings.cluster import CLUSTER
from curier.settings.limits import LIMITS
from curier.settings.listener import LISTENER
from curier.settings.table import LIMIT, TOP
from curier.settings.web import WEB

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [
    DOCS / "configuration.md",
    DOCS / "listeners.md",
    DOCS / "coming-from-mosquitto.md",
    DOCS / "metrics.md",
    DOCS / "api.md",
]
PLACE = re.compile(r"(<!-- settings: ([^\n]*?) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def table(head: tuple[str, ...], *rows: tuple[str, ...]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in lines).replace(
        " --- ", "---"
    )


def options() -> str:
    return table(
        ("option", "in the file", "default", "meaning"),
        ("`--config`", "", "none", "Read settings from this TOML file."),
        *(
            (f"`{one.option}`", f"`{one.key}`", one.default, one.about)
            for one in (*TOP.values(), *WEB.values(), *CLUSTER.values())
        ),
        ("`--no-web`", "", "off", "No window: the same as `--web off`."),
        (
            "`--accept-loss`",
            "",
            "off",
            "Start, this once, though something that was acknowledged is missing from the directory; "
            "see [durability.md](durability.md#when-something-is-missing).",
        ),
        (
            "`--lab`",
            "",
            "off",
            "Laboratory, for tests alone: break this broker's connections on purpose, by the rules of a TOML "
            "file; see [trace.md](trace.md#the-laboratory-of-a-broker).",
        ),
    )


def keys() -> str:
    return table(
        ("key", "kind"),
        *((f"`{one.name}`", one.kind.words) for one in TOP.values()),
        ("`sys_interval`", "a time; may stand below `[limits]` instead"),
        (
            "`listener`",
            "tables, each with the [settings of a listener](listeners.md#settings-of-a-listener); "
            "beside `listen`, or in its place",
        ),
        ("`include`", "a pattern of paths, or a list of them: further files"),
        ("`authenticator`", "tables, each with one who is asked; see [below](#several-ways-in)"),
        ("`ban`", "the table of who is banned; see [below](#bans)"),
        (
            "`web`",
            "the table of the [window](api.md): " + ", ".join(f"`{one.key_there}`" for one in WEB.values()),
        ),
        (
            "`cluster`",
            "the table of a [cluster](cluster.md): "
            + ", ".join(f"`{one.key_there}`" for one in CLUSTER.values()),
        ),
        (
            "`webhook`",
            "tables, each with who is told by HTTP of what happens; see [webhooks.md](webhooks.md)",
        ),
        (
            "`bridge`",
            "tables, each with a broker that messages are carried to and from; see [bridge.md](bridge.md)",
        ),
        ("`limits`", "the table of the settings below"),
    )


def limits(section: str) -> Callable[[], str]:
    def made() -> str:
        return table(
            ("setting", "default", "meaning"),
            *((f"`{one.name}`", one.default, one.about) for one in LIMIT.values() if one.section == section),
        )

    return made


def listener() -> str:
    return table(
        ("key", "kind", "default", "meaning"),
        *((f"`{one.name}`", one.kind.words, one.default, one.about) for one in LISTENER.values()),
    )


def mosquitto_limits() -> str:
    return table(
        ("Mosquitto", "curier"),
        *((f"`{theirs}`", f"`limits.{ours}`") for theirs, ours in translating.SAME.items()),
    )


def mosquitto_rest() -> str:
    rest = {
        **{name: f"not needed: {why}" for name, why in translating.NOT_NEEDED.items()},
        **translating.NONE,
    }
    return table(("Mosquitto", "curier"), *((f"`{name}`", why) for name, why in sorted(rest.items())))


def operations() -> str:
    from curier.web.table import OPERATIONS

    rows = ((one.method, f"`{one.path}`", one.role.name.lower(), one.summary) for one in OPERATIONS)
    return table(("method", "path", "role", "what"), *rows)


def admin_commands() -> str:
    from curier.cli.admin import command_for
    from curier.web.table import OPERATIONS

    rows: list[tuple[str, ...]] = []
    for one in OPERATIONS:
        words = [
            f"`{param.name}`" if param.param_type_name == "argument" else f"`{param.opts[0]}`"
            for param in command_for(one).params
            if not getattr(param, "hidden", False)
        ]
        rows.append((f"`{one.command}`", ", ".join(words), one.role.name.lower(), one.summary))
    return table(("command", "arguments and options", "role", "what"), *rows)


def metrics() -> str:
    from curier.web.metrics import METRICS

    rows = ((f"`{one.name}`", one.kind, one.help) for one in METRICS)
    return table(("metric", "kind", "meaning"), *rows)


TABLES: dict[str, Callable[[], str]] = {
    "options": options,
    "keys": keys,
    **{section: limits(section) for section in LIMITS},
    "listener": listener,
    "mosquitto limits": mosquitto_limits,
    "mosquitto rest": mosquitto_rest,
    "metrics": metrics,
    "operations": operations,
    "admin commands": admin_commands,
}


def written(page: str) -> str:
    """The page, with its tables as they have to be."""
    return PLACE.sub(lambda place: f"{place[1]}{TABLES[place[2]]()}{place[3]}", page)


def main() -> None:
    for path in PAGES:
        path.write_text(written(path.read_text()))


if __name__ == "__main__":
    main()
