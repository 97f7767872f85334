"""``curier trace``: what goes by on the wire, as lines, flows and drawings.

A group of commands whose nameless one, which follows a source, is in ``tracing.showing``.
"""

from __future__ import annotations

from typing import Final

import click

from curier.cli import CommandsByName

SUBCOMMANDS: Final = {
    "fate": "Who got a message, when, who did not, and why.",
    "replay": "Play a recording again, and compare what the broker answers.",
    "tour": "The three flows of MQTT, and what each loses and doubles, explained.",
}
"""Each is a command of this name in a module of this name in ``tracing``; what it does, in a line."""

SHOW: Final = "show"
"""What is meant where none of these is named."""

_MODULES: Final = {SHOW: "curier.cli.tracing.showing"} | {
    name: f"curier.cli.tracing.{name}" for name in SUBCOMMANDS
}


class TraceCommands(click.Group):
    """Without the name of a subcommand, the first word is a source, and ``show`` is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``show`` where no subcommand is named. A file called as one of them is ``./fate``."""
        if not args or args[0] not in (*SUBCOMMANDS, SHOW):
            args = [SHOW, *args]
        return super().parse_args(ctx, args)


@click.group(cls=TraceCommands, commands=CommandsByName(_MODULES))
def trace() -> None:
    """See what goes by on the wire."""
