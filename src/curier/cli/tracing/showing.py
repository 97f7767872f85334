"""``curier trace SOURCE``: follow a source of events, and print them, the flows they make, or drawings."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import click

from curier.cli.options import option, write_sections
from curier.cli.output import Output
from curier.cli.trace import SUBCOMMANDS
from curier.cli.tracing.proxying import check_alone, from_proxy, proxy_options
from curier.cli.tracing.sources import from_file
from curier.frozen import dataclass
from curier.trace.drawing.as_json import diagram_json, flow_json
from curier.trace.drawing.making import MOST_RECEIVERS, View, diagram
from curier.trace.drawing.text import text
from curier.trace.events import Event
from curier.trace.flows import Flow
from curier.trace.in_words import PacketLines, flow_lines
from curier.trace.joining import Joiner
from curier.trace.lines import to_line

PACKETS: Final = "packets"
FLOWS: Final = "flows"
DIAGRAM: Final = "diagram"

LANE_CELLS: Final = 22  # a wider terminal has lanes for more receivers
PIPE_WIDTH: Final = 100

_WHAT: Final = "What is shown"
_LOOK: Final = "How it looks"

EPILOG: Final = """
\b
Examples:
  curier trace day.curier
  curier trace day.curier --flows
  curier trace day.curier --diagram --everyone | less -S
  curier trace day.curier --json --flows | jq 'select(.finished | not)'
  curier trace --proxy tcp://127.0.0.1:1884 tcp://127.0.0.1:1883 --flows
  curier trace --proxy tcp://127.0.0.1:1884 tcp://127.0.0.1:1883 --break 'lose 1st PUBACK'
At length: docs/trace.md.
"""


class ShowCommand(click.Command):
    """Goes by the name of its group, and tells of the subcommands of that."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **more: Any) -> Any:
        """As ``curier trace``, which is what was typed."""
        if parent is not None:
            info_name, parent = parent.info_name, parent.parent
        return super().make_context(info_name, args, parent, **more)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by sections, and the subcommands."""
        write_sections(self, ctx, formatter, last="Options")
        with formatter.section("Commands"):
            formatter.write_dl([*SUBCOMMANDS.items()])


@dataclass(frozen=True, slots=True)
class Look:
    """How things are printed."""

    what: str
    as_json: bool
    ascii_only: bool
    coloured: bool
    utc: bool
    width: int
    everyone: bool

    def view(self, now: float) -> View:
        """How much of a flow is drawn."""
        receivers = 0 if self.everyone else max(MOST_RECEIVERS - 1, (self.width - 34) // LANE_CELLS)
        return View(receivers, 0 if self.everyone else View().rows, self.utc, now)


@click.command(cls=ShowCommand, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="SOURCE", required=False)
@option("--packets", "what", flag_value=PACKETS, section=_WHAT, help="A line for each packet.  [default]")
@option("--flows", "what", flag_value=FLOWS, section=_WHAT, help="A few lines for each flow, when it ends.")
@option("--diagram", "what", flag_value=DIAGRAM, section=_WHAT, help="A drawing of each flow, when it ends.")
@option("--json", "as_json", is_flag=True, section=_WHAT, help="All of that as lines of JSON.")
@option("--everyone", is_flag=True, section=_LOOK, help="A lane for each subscriber, and no row left out.")
@option("--ascii", "ascii_only", is_flag=True, section=_LOOK, help="No character beyond ASCII.")
@option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    section=_LOOK,
    help="Colours, which only add; auto: on a terminal.",
)
@option("--width", type=click.IntRange(40, 1000), section=_LOOK, help="Cells a line may have.")
@option("--utc", is_flag=True, section=_LOOK, help="Times in UTC.")
@proxy_options
def show(source: str | None, **options: Any) -> None:
    """See what goes by on the wire: packets, the flows they make, drawings of them.

    SOURCE is a recording, or - for one on standard input; --proxy is one, too.
    """
    if options["proxy"] is not None:
        if source is not None:
            raise click.UsageError(f"either {source} or --proxy")
        asyncio.run(_Showing(look_of(options)).run(from_proxy(options), is_live=True))
        return
    check_alone(options)
    if source is None:
        raise click.UsageError("of what? Give a recording, or - for standard input")
    look = look_of(options)
    asyncio.run(_Showing(look).run(from_file(source)))


def look_of(options: dict[str, Any]) -> Look:
    """How it is to look, out of the options."""
    terminal = sys.stdout.isatty()
    return Look(
        options["what"] or PACKETS,
        options["as_json"],
        options["ascii_only"] or not _speaks_unicode(),
        wants_colour(options["color"]),
        options["utc"],
        options["width"] or (shutil.get_terminal_size().columns if terminal else PIPE_WIDTH),
        options["everyone"],
    )


def wants_colour(choice: str) -> bool:
    """What is asked for, and otherwise colours on terminals that can and may."""
    if choice != "auto":
        return choice == "always"
    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not is_dumb


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf16")


class _Showing:
    """Prints events as they come, to their end."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.joiner = Joiner()
        self.lines = PacketLines(look.utc, look.ascii_only)
        self.output = Output()

    async def run(self, events: AsyncIterator[Event], is_live: bool = False) -> None:
        """All of them, to the end; where they are live, nothing waits to be printed for others to come."""
        if is_live:
            events = _lively(events, self.output.flush)
        is_of_flows = self.look.what != PACKETS
        try:
            async for event in events:
                if is_of_flows:
                    self.joiner.feed(event)
                    self._print_flows(self.joiner.settled())
                else:
                    self._print(to_line(event) if self.look.as_json else self.lines.line(event))
                if self.output.is_full:
                    await self.output.flush()
            if is_of_flows:
                rest = [flow for flow in self.joiner.flows if not flow.is_finished]
                self._print_flows([*self.joiner.finish(), *rest])
                if self.joiner.dropped:
                    click.echo(f"{self.joiner.dropped} flows were let go of: there were too many", err=True)
            await self.output.flush()
        except BrokenPipeError:
            self.output.abandon()
            raise

    def _print_flows(self, flows: list[Flow]) -> None:
        for flow in flows:
            for line in self._told(flow):
                self._print(line)

    def _told(self, flow: Flow) -> Iterator[str]:
        look = self.look
        if look.what == DIAGRAM:
            made = diagram(flow, look.view(self.joiner.now))
            if look.as_json:
                yield json.dumps(diagram_json(made))
                return
            yield from text(made, look.width, ascii_only=look.ascii_only, coloured=look.coloured)
            yield ""
        elif look.as_json:
            yield json.dumps(flow_json(flow))
        else:
            yield from flow_lines(flow, look.utc, self.joiner.now)

    def _print(self, line: str) -> None:
        encoded = line.encode("ascii", "backslashreplace") if self.look.ascii_only else line.encode()
        self.output.write(encoded + b"\n")


async def _lively(events: AsyncIterator[Event], idle: Callable[[], Awaitable[None]]) -> AsyncIterator[Event]:
    """The same events; ``idle`` is awaited whenever the next one is not there yet."""
    while True:
        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        if not coming.done():
            await idle()
        try:
            yield await coming
        except StopAsyncIteration:
            return
