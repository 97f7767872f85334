"""``curier ban``: who is banned by a broker that runs, and who no more: as below ``curier admin``."""

from __future__ import annotations

from pathlib import Path

import click

from curier.cli.admin import Asking, asking_options, command_for
from curier.web import table

EXAMPLES = """\
\b
Examples:
  curier ban list
  curier ban add --client-id sensor-7 --seconds 600
  curier ban lift --place 192.0.2.1
  curier ban lift --place "new places" --who "user ana"
  curier ban lift --who "client sensor-7"
"""


@click.group(epilog=EXAMPLES)
@asking_options
def ban(
    ctx: click.Context, url: str | None, token_file: Path | None, cafile: Path | None, as_json: bool
) -> None:
    """List who is banned by a broker that runs, ban somebody, end a ban."""
    ctx.obj = Asking(url, token_file, cafile, as_json)


ban.add_command(command_for(table.BANS), "list")
ban.add_command(command_for(table.BAN), "add")
ban.add_command(command_for(table.LIFT), "lift")
