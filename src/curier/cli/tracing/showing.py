"""``curier trace SOURCE``: follow a source of events, and print them, the flows they make, or drawings."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from curier.cli.options import option, write_sections
from curier.cli.output import Output
from curier.cli.trace import SUBCOMMANDS
from curier.cli.tracing.choosing import Chooser, choosing_options, chosen
from curier.cli.tracing.files import Files, Saving
from curier.cli.tracing.look import Look, is_dumb, look_of, looking_options
from curier.cli.tracing.proxying import check_alone, from_proxy, nothing_told, proxy_options
from curier.cli.tracing.sources import Source, same_file, source_of, until_stopped
from curier.trace.details import field_lines, fields_json
from curier.trace.drawing.as_json import diagram_json, flow_json
from curier.trace.drawing.making import diagram
from curier.trace.drawing.text import text
from curier.trace.events import Event, Packet
from curier.trace.flows import Flow
from curier.trace.in_words import PacketLines, flow_lines
from curier.trace.joining import Joiner
from curier.trace.lines import to_line

PACKETS: Final = "packets"
FIELDS: Final = "fields"
FLOWS: Final = "flows"
DIAGRAM: Final = "diagram"
_OF_PACKETS: Final = (PACKETS, FIELDS)

IDLE_SECONDS: Final = 0.5
"""Without an event for so long, what is gathered is printed, and flows that are over are told."""

QUIET_SECONDS: Final = 5.0
"""A flow that waits for so long without anything new is shown as it is, and again when it is over."""

_WHAT: Final = "What is shown"
_FILES: Final = "Files"

EPILOG: Final = """
\b
Examples:
  curier trace
  curier trace --client gateway-7 --topic 'site/#' --flows
  curier trace /var/lib/curier --save day.curier --packets
  curier trace day.curier --diagram --everyone | less -S
  curier trace --proxy tcp://127.0.0.1:1884 tcp://127.0.0.1:1883 --break 'lose 1st PUBACK'
  curier trace day.curier --flows --json | jq 'select(.finished | not)'
  tcpdump -i any -U -w - port 1883 | curier trace - --diagram
Should the terminal ever be left in disorder (after kill -9), `reset` puts it right.
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


def sources_and_commands(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """How a shell may go on with the first word: a file, a directory, or a subcommand."""
    commands = [
        CompletionItem(name, help=text) for name, text in SUBCOMMANDS.items() if name.startswith(begun)
    ]
    return [*commands, CompletionItem(begun, type="file")]


@click.command(cls=ShowCommand, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", required=False, shell_complete=sources_and_commands)
@option("--packets", "what", flag_value=PACKETS, section=_WHAT, help="A line for each packet.")
@option("--fields", "what", flag_value=FIELDS, section=_WHAT, help="Each packet with all its fields.")
@option("--flows", "what", flag_value=FLOWS, section=_WHAT, help="A few lines for each flow, when it ends.")
@option("--diagram", "what", flag_value=DIAGRAM, section=_WHAT, help="A drawing of each flow, when it ends.")
@option("--json", "as_json", is_flag=True, section=_WHAT, help="All of that as lines of JSON.")
@choosing_options
@option("--save", metavar="FILE", section=_FILES, help="Write the events into FILE: .curier or .pcapng.")
@option(
    "--save-port",
    metavar="N",
    type=click.IntRange(1, 65535),
    section=_FILES,
    help="In a .pcapng, the port of each server; Wireshark takes 1883 for MQTT, and no other.",
)
@option("--svg", metavar="FILE", section=_FILES, help="Draw the last publication into FILE, at the end.")
@option("--mermaid", metavar="FILE", section=_FILES, help="The same, as text of Mermaid.")
@option(
    "--flow",
    "number",
    metavar="N",
    type=click.IntRange(1),
    section=_FILES,
    help="Draw this flow instead: its number in --flows --json.",
)
@looking_options
@proxy_options
def show(source: str | None, **options: Any) -> None:
    """See what goes by on the wire: packets, the flows they make, drawings of them.

    SOURCE is the data directory of a broker that runs, or its socket; a recording; a capture (pcap, pcapng);
    or - for one of these two on standard input. Without, it is the broker that this user has started last,
    with its data in the usual place or in memory. --proxy is a source as well.

    On a terminal, and where nothing else is asked for, it shows flows while they go on: space pauses, q ends.
    Otherwise it is lines, one for each packet.
    """
    if options["proxy"] is None:
        check_alone(options)
        found = source_of(source, chosen(options), options["past"])
        if options["past"] and not found.is_live:
            raise click.UsageError("--past is for a broker that runs: a recording has no more than is in it")
        show_source(found, options)
    elif source is not None:
        raise click.UsageError(f"either {source} or --proxy")
    elif options["past"]:
        raise click.UsageError("--past is for a broker that runs: a proxy knows of no past")
    else:
        listen, target = options["proxy"]
        quiet = {"told": nothing_told} if _wants_screen(options) else {}
        show_source(Source(f"{listen} to {target}", from_proxy(options, **quiet), is_live=True), options)


def show_source(source: Source, options: dict[str, Any]) -> None:
    """Show a source as the options of ``show`` say."""
    look, chooser = look_of(options), Chooser(chosen(options))
    if options["number"] and not (options["svg"] or options["mermaid"]):
        raise click.UsageError("--flow says what --svg or --mermaid draws: give one of them, too")
    if source.file and options["save"] and same_file(source.file, options["save"]):
        raise click.UsageError(
            f"--save {options['save']} is the recording that is read: give it another name"
        )
    files = Files(**{name: options[name] for name in ("save", "save_port", "svg", "mermaid", "number")})
    if _wants_screen(options):
        from curier.cli.tracing.screen import watch  # which needs a terminal

        joiner = asyncio.run(watch(source, look, chooser, files))
    else:
        showing = Showing(options["what"] or PACKETS, options["as_json"], look, chooser, files)
        showing.is_live = source.is_live
        asyncio.run(showing.run(source.events))
        joiner = showing.joiner
        for line in chooser.complaint():
            click.echo(line, err=True)
    files.draw(joiner, look, chooser)


def _wants_screen(options: dict[str, Any]) -> bool:
    if options["what"] or options["as_json"] or is_dumb():
        return False
    try:
        from curier.cli.tracing.terminal import can_be_used
    except ImportError:  # a system without such terminals
        return False
    return can_be_used()


class Showing:
    """Prints events as they come, to their end."""

    def __init__(self, what: str, as_json: bool, look: Look, chooser: Chooser, files: Files) -> None:
        self.what = what
        self.as_json = as_json
        self.look = look
        self.chooser = chooser
        self.files = files
        self.joiner = Joiner()
        self.lines = PacketLines(look.utc, look.ascii_only)
        self.output = Output()
        self.is_live = False  # the times of its events are those of now
        self._joins = what not in _OF_PACKETS or files.wants_flows or bool(chooser.choice.topics)

    async def run(self, events: AsyncIterator[Event]) -> None:
        saving = Saving(self.files)
        idle = asyncio.ensure_future(self._when_idle())
        try:
            async for event in until_stopped(events):
                flow = self.joiner.feed(event) if self._joins else None
                if self.chooser.fits(event, flow):
                    saving.add(event)
                    if self.what in _OF_PACKETS:
                        self.print_event(event)
                if self.what not in _OF_PACKETS:
                    self._print_flows(self.joiner.settled())
                if self.output.is_full:
                    await self.output.flush()
            if self.what not in _OF_PACKETS:
                rest = [flow for flow in self.joiner.flows if not flow.is_finished and not flow.told_open]
                self._print_flows([*self.joiner.finish(), *rest])
        except BrokenPipeError:
            self.output.abandon()
            raise
        finally:
            idle.cancel()
            saving.close()
            await self.output.flush()
            if self.what not in _OF_PACKETS and self.joiner.dropped:
                click.echo(f"{self.joiner.dropped} flows were let go of: there were too many", err=True)

    def print_event(self, event: Event) -> None:
        """An event, as a line or as JSON."""
        if not self.as_json:
            self._print(self.lines.line(event))
        if self.what == FIELDS and isinstance(event, Packet):
            for line in [json.dumps(fields_json(event))] if self.as_json else field_lines(event):
                self._print(line)
        elif self.as_json:
            self._print(to_line(event))

    async def _when_idle(self) -> None:
        """Nothing is kept back for long, also while no event comes."""
        while True:
            await asyncio.sleep(IDLE_SECONDS)
            if self.what not in _OF_PACKETS and self.is_live:
                now = time.time()
                self._print_flows([*self.joiner.settled(now), *self.joiner.waiting(now, QUIET_SECONDS)])
            await self.output.flush()

    def print_all(self) -> None:
        """All flows that are there and were not printed, whether they are over or wait."""
        self._print_flows([*self.joiner.finish(), *self.joiner.waiting(time.time(), -1.0)])

    def _print_flows(self, flows: list[Flow]) -> None:
        if self.what in _OF_PACKETS:
            return
        for flow in flows:
            if self.chooser.fits_flow(flow):
                for line in self._told(flow):
                    self._print(line)

    def _told(self, flow: Flow) -> Iterator[str]:
        look = self.look
        now = time.time() if self.is_live else self.joiner.now
        if self.what == DIAGRAM:
            made = diagram(flow, look.view(now))
            if self.as_json:
                yield json.dumps(diagram_json(made))
                return
            yield from text(made, look.width, ascii_only=look.ascii_only, coloured=look.coloured)
            yield ""
        elif self.as_json:
            yield json.dumps(flow_json(flow))
        else:
            yield from flow_lines(flow, look.utc, now, self.joiner.gaps)

    def _print(self, line: str) -> None:
        encoded = line.encode("ascii", "backslashreplace") if self.look.ascii_only else line.encode()
        self.output.write(encoded + b"\n")
