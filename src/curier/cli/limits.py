"""``curier limits``: what all limits are in the end, and where each comes from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from curier.cli.options import option
from curier.cli.settings import InSections, setting_options, settings_from
from curier.settings.listener import LISTENER
from curier.settings.table import LIMIT

EXAMPLES = """\
\b
Examples:
  curier limits
  curier limits --config broker.toml
  curier limits --config broker.toml --max-connections 100 --json
"""


@click.command(cls=InSections, epilog=EXAMPLES)
@setting_options
@option("--json", "as_json", is_flag=True, help="The result as JSON.")
def limits(file: Path | None, as_json: bool, **options: object) -> None:
    """Print every limit, as a broker with these options would have it, and where it comes from.

    That is the default, a line of the file, an environment variable or an option. Limits of single listeners
    follow. A limit that is out of its range is an error, as for curier broker.
    """
    config = settings_from(file, options)
    config.check()
    rows = [
        (name, setting.kind.written(getattr(config.options, name)), config.origins.get(name, "default"))
        for name, setting in LIMIT.items()
    ]
    for door in config.listeners:
        for name, setting in LISTENER.items():
            value = getattr(door, name)
            if name.startswith("max_") and value:
                rows.append((name, setting.kind.written(value), f"listener {door.name or door.url}"))
    if as_json:
        keys = ("name", "value", "from")
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
        return
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, origin in rows:
        click.echo(f"{name:<{widths[0]}}  {value:>{widths[1]}}  {origin}")
