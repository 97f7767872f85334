"""The options of sub and rr that say how a message is printed."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

from curier.cli.formats import BadFormat, Look, Print, printer
from curier.cli.options import Decorated, option
from curier.payloads import KINDS

_OUTPUT: Final = "Output"

_OPTIONS: Final = (
    option("-v", "--verbose", is_flag=True, section=_OUTPUT, help="Print the topic before the payload."),
    option(
        "--json", "json_lines", is_flag=True, section=_OUTPUT, help="Print each message as a line of JSON."
    ),
    option(
        *("-F", "--format"),
        metavar="TEXT",
        section=_OUTPUT,
        help="Print this: %t topic, %p payload, %x payload in hex, %q QoS, %r retained, %l length, %I time, "
        "%U seconds, %j JSON, @X as date(1) has %X, \\n \\t ...",
    ),
    option(
        "--decode",
        type=click.Choice(KINDS),
        section=_OUTPUT,
        help="How payloads are shown; json, cbor and msgpack become JSON.",
    ),
    option("--pretty", is_flag=True, section=_OUTPUT, help="Indent JSON, with colours on a terminal."),
    option("-N", "no_newline", is_flag=True, section=_OUTPUT, help="Print no end of line."),
)


def printing_options(command: Decorated) -> Decorated:
    """The options of every command that prints messages; ``take_printer`` is for their values."""
    for one in reversed(_OPTIONS):
        command = one(command)
    return command


def take_printer(options: dict[str, Any]) -> Print:
    """How to print, out of the options. Raises ``click.UsageError``, ``ConfigError``."""
    named = [name for name, there in (("--json", options["json_lines"]), ("-F", options["format"])) if there]
    if len(named) == 2:
        raise click.UsageError("--json and -F cannot both be; %j in a format is the JSON of --json")
    terminal = sys.stdout.isatty()
    look = Look(
        verbose=options["verbose"],
        json_lines=options["json_lines"],
        format=options["format"],
        decode=options["decode"],
        pretty=options["pretty"],
        newline=not options["no_newline"],
        terminal=terminal,
        colours=terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
    )
    try:
        return printer(look)
    except BadFormat as error:
        raise click.UsageError(f"-F: {error}") from None
