"""``curier trace replay``: the clients of a recording play again, against a broker."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import click

from curier.cli.options import option, positive_seconds, write_sections
from curier.cli.running import run
from curier.cli.tracing.replaying import Pace, Playing, is_here
from curier.cli.tracing.sources import CannotTrace
from curier.client.urls import ServerUrl, parse_server_url
from curier.errors import ConfigError, ConnectionLost
from curier.trace.events import Event
from curier.trace.recordings import NotARecording, read_events
from curier.trace.replay import Plan, Replayer, Step

DIFFERENT: Final = 1  # exit code

_BROKER: Final = "The broker"
_PLAY: Final = "How it is played"

EPILOG: Final = """
\b
Examples:
  curier trace replay day.curier
  curier trace replay day.pcap --to mqtt://localhost:18830 --prefix again-
  curier trace replay day.curier --speed 60
Exit code 1: the broker did otherwise than in the recording. Retained messages
and sessions from before the recording are told, and are no difference.
"""


class ReplayCommand(click.Command):
    """Its help comes in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        write_sections(self, ctx, formatter, last="Options")


@click.command(cls=ReplayCommand, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", required=False)
@option(
    "--to",
    metavar="URL",
    default="mqtt://localhost",
    show_default=True,
    section=_BROKER,
    help="Where the broker is; user and password there are those of all connections.",
)
@option("--anywhere", is_flag=True, section=_BROKER, help="Also where that is another machine.")
@option("--prefix", metavar="TEXT", default="", section=_BROKER, help="In front of every Client Identifier.")
@option(
    "--client",
    "clients",
    metavar="ID",
    multiple=True,
    section=_PLAY,
    help="Only this client; again for more.",
)
@option(
    "--topic",
    "topics",
    metavar="FILTER",
    multiple=True,
    section=_PLAY,
    help="Only messages on topics that match.",
)
@option(
    "--speed",
    metavar="X",
    type=click.FloatRange(0, min_open=True),
    section=_PLAY,
    help="X times as fast as it was.  [default: as fast as it is answered]",
)
@option("--step", is_flag=True, section=_PLAY, help="Wait for the Enter key before each packet.")
@option(
    "--patience",
    metavar="SECONDS",
    type=positive_seconds,
    default="5",
    show_default=True,
    section=_PLAY,
    help="For each answer.",
)
@option("--json", "as_json", is_flag=True, help="Say the differences as lines of JSON.")
def replay(file: str | None, **options: Any) -> None:
    """Play the clients of a recording again, and compare what the broker answers.

    FILE is a recording or a capture (pcap, pcapng), or - for one on standard input.

    What waited for an acknowledgement then waits for it now. Passwords are not in recordings: give those of
    the broker in the URL, or have a broker that asks for none.
    """
    if file is None:
        raise click.UsageError("of what? Give a recording, or - for standard input")
    if options["step"] and file == "-":
        raise click.UsageError("--step reads standard input, and so does -")
    url = parse_server_url(options["to"])
    plan = Plan(_events(file), options["clients"], options["topics"])
    if not plan.steps:
        raise CannotTrace(f"{file}: there is nothing to be played. {'; '.join(plan.notes)}".rstrip(". "))
    password = url.password.encode() if url.password is not None else None
    replayer = Replayer(plan, options["prefix"], url.username, password)
    pace = Pace(options["speed"] or 0.0, _ask if options["step"] else None, options["patience"])

    async def main() -> int:
        await _check_place(url, options["anywhere"], plan)
        await Playing(url, replayer, pace).run()
        return _tell(replayer, options["as_json"])

    run(main)


def _events(file: str) -> list[Event]:
    try:
        if file == "-":
            return list(read_events(sys.stdin.buffer))
        with open(file, "rb") as stream:
            return list(read_events(stream))
    except OSError as error:
        raise CannotTrace(f"{file}: {error.strerror}") from None
    except NotARecording as error:
        raise CannotTrace(f"{file}: {error}") from None


async def _check_place(url: ServerUrl, anywhere: bool, plan: Plan) -> None:
    """A recording is not played against somebody's broker by mistake."""
    try:
        if await is_here(url):
            return
    except OSError as error:
        raise ConnectionLost(f"{url}: {error.strerror or error}", was_open=False) from None
    if not anywhere:
        raise ConfigError(f"{url} is not on this machine: if you mean to play it there, add --anywhere")
    connections = len({step.wire.number for step in plan.steps})
    click.echo(f"Playing {connections} connections against {url}, which is not this machine", err=True)


def _ask(step: Step) -> None:
    click.echo(f"{step}  [Enter] ", err=True, nl=False)
    if not sys.stdin.readline():
        raise click.Abort


def _tell(replayer: Replayer, as_json: bool) -> int:
    for note in replayer.notes:
        click.echo(f"Note: {note}", err=True)
    told = [*((one, False) for one in replayer.differences), *((one, True) for one in replayer.before)]
    for one, is_before in told:
        if as_json:
            said = {
                "time": one.time,
                "wire": one.wire.number,
                "client_id": one.wire.client_id,
                "why": one.why,
                "before": is_before,
            }
            click.echo(json.dumps(said))
        else:
            click.echo(f"{one} (from before the recording)" if is_before else str(one))
    if not as_json:
        different, before = len(replayer.differences), len(replayer.before)
        what = f"{different} difference{'' if different == 1 else 's'}" if different else "as then"
        besides = f", {before} from before the recording" if before else ""
        click.echo(f"{len(replayer.plan.steps)} steps, {what}{besides}")
    return DIFFERENT if replayer.differences else 0
