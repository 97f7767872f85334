"""``curier trace fate``: where did my message go?"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import click

from curier.cli.options import option, write_sections
from curier.cli.tracing.choosing import Chooser
from curier.cli.tracing.files import Files
from curier.cli.tracing.look import PIPE_WIDTH, Look
from curier.cli.tracing.showing import FLOWS, Showing
from curier.cli.tracing.sources import Source, source_of, until_stopped
from curier.trace.choice import Choice, choice
from curier.trace.drawing.as_json import flow_json
from curier.trace.events import DENIED, KEPT, REFUSED, Event, Happening
from curier.trace.fate import Which, fate_words
from curier.trace.flows import Flow, Publication
from curier.trace.joining import Joiner
from curier.trace.wording import clock_words, shown, span_words

NOT_FOUND: Final = 1  # exit code

_WHICH: Final = "Which messages"

EPILOG: Final = """
\b
Examples:
  curier trace fate day.curier --topic site/7/temp
  curier trace fate day.curier --client gateway-7 --id 12
  curier trace fate day.curier --payload 21.5
Exit code 1: no such message is in the recording. 2: there is nothing to be traced.
"""


class FateCommand(click.Command):
    """Its help comes in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        write_sections(self, ctx, formatter, last="Options")


@click.command(cls=FateCommand, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", required=False)
@option("--topic", metavar="FILTER", section=_WHICH, help="Published to a topic that matches.")
@option("--client", metavar="ID", section=_WHICH, help="Published by this client.")
@option(
    "--id",
    "packet_id",
    metavar="N",
    type=click.IntRange(1, 65535),
    section=_WHICH,
    help="With this Packet Identifier.",
)
@option("--payload", metavar="TEXT", section=_WHICH, help="With this in the first KiB of its payload.")
@option(
    "--last",
    metavar="N",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    section=_WHICH,
    help="The last so many of them in a recording.",
)
@option("--json", "as_json", is_flag=True, help="Say it as lines of JSON.")
@option("--utc", is_flag=True, help="Times in UTC.")
def fate(source: str | None, **options: Any) -> None:
    """Where did my message go? Who got it and when, who did not and why, who is still waited for.

    SOURCE is a recording or a capture, or - for one on standard input; or the data directory of a broker that
    runs, which is followed until Ctrl-C: first what it still knows of what went by, then what is published
    from now on.
    """
    if not any(options[name] for name in ("topic", "client", "packet_id", "payload")):
        raise click.UsageError("of which message? Give --topic, --client, --id or --payload")
    try:
        chosen = choice(topic=options["topic"])  # of its client alone, receivers would not be seen
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from None
    found_at = source_of(source, chosen, past=True)
    if found_at.is_live:
        _follow(found_at, chosen, options)
        return
    joiner = asyncio.run(_joined(found_at.events))
    found = [flow for flow in joiner.publications if is_wanted(flow, options)][-options["last"] :]
    for line in told(found, joiner, options):
        click.echo(line)
    if not found:
        for line in why_not(joiner, options):
            click.echo(line, err=True)
        click.get_current_context().exit(NOT_FOUND)


class Wanted(Chooser):
    """Chooses publications as ``is_wanted`` does."""

    def __init__(self, choice: Choice, options: dict[str, Any]) -> None:
        super().__init__(choice)
        self._options = options

    def fits_flow(self, flow: Flow) -> bool:
        """Is it one of those that are asked for?"""
        return isinstance(flow, Publication) and is_wanted(flow, self._options)


def _follow(source: Source, choice: Choice, options: dict[str, Any]) -> None:
    """Tell fates as they are decided, or wait, until the broker stops or we are stopped."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    look = Look(ascii_only, False, options["utc"], PIPE_WIDTH, False)
    showing = Showing(FLOWS, options["as_json"], look, Wanted(choice, options), Files())
    showing.is_live = True
    asyncio.run(showing.run(_with_words(source.events, options, showing)))


async def _with_words(
    events: AsyncIterator[Event], options: dict[str, Any], showing: Showing
) -> AsyncIterator[Event]:
    """The same, but for refusals of which only is known whose request it was, and for what says from when to
    when the past is known: that is told.
    """
    client = options["client"]
    first: Happening | None = None
    async for event in events:
        if isinstance(event, Happening) and event.kind == KEPT:
            if first is not None:
                showing.print_all()
                _tell_past(first, event, showing.joiner, options)
            first = event
        elif isinstance(event, Happening) and event.kind in (DENIED, REFUSED) and not event.topic:
            if client and event.client_id == client:
                showing.print_event(event)
        else:
            yield event


def _tell_past(first: Happening, last: Happening, joiner: Joiner, options: dict[str, Any]) -> None:
    """From when to when the past is known, and what there was where no such message was in it."""
    if not any(is_wanted(flow, options) for flow in joiner.publications):
        for line in why_not(joiner, options):
            click.echo(line, err=True)
    for line in joiner.gaps.told(options["utc"]):
        click.echo(line, err=True)
    since, until = (clock_words(one.time, options["utc"]) for one in (first, last))
    span = f" ({since} to {until}, {span_words(last.time - first.time)})" if last.time > first.time else ""
    click.echo(f"known is {first.why}{span}; waiting for what follows", err=True)


async def _joined(events: AsyncIterator[Event]) -> Joiner:
    joiner = Joiner()
    async for event in until_stopped(events):
        joiner.feed(event)
    return joiner


def is_wanted(flow: Publication, options: dict[str, Any]) -> bool:
    """Is it one of those that are asked for?"""
    which = Which(
        options["topic"] or "", options["client"] or "", options["packet_id"] or 0, options["payload"] or ""
    )
    return which.is_meant(flow)


def told(found: list[Publication], joiner: Joiner, options: dict[str, Any]) -> Iterator[str]:
    """The fates, line by line."""
    for flow in found:
        if options["as_json"]:
            yield json.dumps(flow_json(flow))
            continue
        yield f"{clock_words(flow.began, options['utc'])}  {shown(flow.title, 400)}"
        for line in fate_words(flow, options["utc"], joiner.now, joiner.gaps):
            yield f"  {line}"


def why_not(joiner: Joiner, options: dict[str, Any]) -> Iterator[str]:
    """What was seen instead."""
    publications = joiner.publications
    yield f"none of {len(publications)} publications is such a message"
    if joiner.dropped:
        yield f"{joiner.dropped} older flows are not kept any more"
    if options["client"]:
        names = {flow.publisher for flow in publications if flow.publisher}
        if options["client"] not in names and names:
            yield f"published have: {', '.join(shown(name) for name in sorted(names)[:10])}"
    if options["topic"] and publications:
        topics = {flow.topic for flow in publications}
        yield f"topics are: {', '.join(shown(topic) for topic in sorted(topics)[:10])}"
