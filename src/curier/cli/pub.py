"""``curier pub``: publish messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import click

from curier.cli.connecting import Connection, connection_options
from curier.cli.options import QOS, ClientCommand, Decorated, only_once, option
from curier.cli.parameters import seconds
from curier.cli.progress import Progress
from curier.cli.running import EXIT_CODES, Voice, connected, run
from curier.cli.sources import Kind, Pace, Sent, Source, check_sources, has_properties
from curier.cli.topics import check_name
from curier.frozen import dataclass
from curier.payloads import KINDS
from curier.types import Message, QoS, reason_name

if TYPE_CHECKING:
    from curier.client.client import Client

ATTEMPTS: Final = 5
"""To connect again, in a row, where --reconnect says nothing."""

WINDOW: Final = 100
"""Messages on their way at a time, where -M says nothing."""

_MESSAGE: Final = "Message"
_PROPERTIES: Final = "Properties of the message (5.0)"

EPILOG: Final = f"""
\b
Examples:
  curier pub -t greetings/world -m hello
  curier pub -h broker.example -t lamp/1/set -m on -q 1 -r
  curier pub -L mqtts://ana@broker.example/readings -q 1 -f reading.bin
  tail -f app.log | curier pub -t logs/app -l -q 1
  curier pub -t readings -q 2 -l -f readings.txt --rate 500
  curier pub -t load -m ping --repeat 1000 --rate 100
  curier pub -t config -m '{{"on": true}}' --encode cbor --content-type application/cbor
  curier sub -t 'site/#' --json -W 60 >site.jsonl ; curier pub --json -l -f site.jsonl
{EXIT_CODES}
Options, formats and profiles at length: docs/command-line.md.
"""


_OPTIONS: Final = (
    option(
        *("-t", "--topic"),
        metavar="TOPIC",
        multiple=True,
        callback=only_once,
        section=_MESSAGE,
        help="Where to publish.",
    ),
    option(
        *("-m", "--message"),
        metavar="TEXT",
        multiple=True,
        callback=only_once,
        section=_MESSAGE,
        help="The payload.",
    ),
    option(
        *("-f", "--file"),
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        multiple=True,
        callback=only_once,
        section=_MESSAGE,
        help="The payload is what the file holds.",
    ),
    option("-s", "--stdin-file", is_flag=True, section=_MESSAGE, help="It is all of standard input."),
    option("-n", "--null-message", is_flag=True, section=_MESSAGE, help="It is empty."),
    option(
        "--encode",
        type=click.Choice(KINDS),
        section=_MESSAGE,
        help="What the payload is written in; cbor and msgpack are made from JSON.",
    ),
    option("-q", "--qos", type=QOS, metavar="0|1|2", section=_MESSAGE, help="QoS.  [default: 0]"),
    option("-r", "--retain", is_flag=True, section=_MESSAGE, help="The server keeps it for later."),
    option(
        "--user-property",
        "user_properties",
        metavar="NAME VALUE",
        nargs=2,
        multiple=True,
        section=_PROPERTIES,
        help="A User Property; may be given again.",
    ),
    option("--content-type", metavar="TEXT", section=_PROPERTIES, help="What the payload is."),
    option("--correlation-data", metavar="TEXT", section=_PROPERTIES, help="What an answer repeats."),
    option(
        "--message-expiry",
        metavar="SECONDS",
        type=click.IntRange(0, 0xFFFFFFFF),
        section=_PROPERTIES,
        help="After so long nobody wants it any more.",
    ),
    option("--text", is_flag=True, section=_PROPERTIES, help="The payload is UTF-8 text."),
)


def message_options(command: Decorated) -> Decorated:
    """What pub and rr have in common: the message and its properties."""
    for one in reversed(_OPTIONS):
        command = one(command)
    return command


@dataclass(frozen=True, slots=True)
class Plan:
    """How often, and how fast."""

    repeat: int = 1
    repeat_delay: float = 0.0
    rate: float | None = None
    window: int = WINDOW


@click.command(cls=ClientCommand, epilog=EPILOG, no_args_is_help=True)
@message_options
@option(
    "-l", "--stdin-line", is_flag=True, section=_MESSAGE, help="Each line of stdin, or of -f, is a message."
)
@option(
    "--json",
    "json_lines",
    is_flag=True,
    section=_MESSAGE,
    help="With -l: each line is a message in JSON, as `curier sub --json` writes it.",
)
@option("--repeat", metavar="N", type=click.IntRange(1), section=_MESSAGE, help="Publish it so many times.")
@option(
    "--repeat-delay",
    metavar="SECONDS",
    type=seconds,
    section=_MESSAGE,
    help="And wait so long in between, from one's end on.",
)
@option(
    "--rate",
    metavar="N",
    type=click.FloatRange(0, min_open=True),
    section=_MESSAGE,
    help="No more than so many messages a second.",
)
@option(
    *("-M", "--max-inflight"),
    metavar="N",
    type=click.IntRange(1, 65000),
    section=_MESSAGE,
    help=f"So many messages on their way at a time.  [default: {WINDOW}]",
)
@option("--response-topic", metavar="TOPIC", section=_PROPERTIES, help="Where an answer is awaited.")
@connection_options
@click.pass_context
def pub(ctx: click.Context, /, **options: Any) -> None:
    """Publish a message, or a message for each line of a file.

    Letters and names are those of mosquitto_pub. It ends when the server has taken all of it: for QoS 1 and 2
    when it has acknowledged it.
    """
    connection = Connection.take(ctx, options, ("publish",))
    source = source_of(connection, options)
    if (options["repeat"] or options["repeat_delay"]) and source.is_many:
        raise click.UsageError("--repeat is for one message, -l for many")
    if options["repeat_delay"] and options["rate"] is not None:
        raise click.UsageError("--repeat-delay and --rate cannot both be: choose one of them")
    plan = Plan(
        options["repeat"] or 1,
        options["repeat_delay"] or 0.0,
        options["rate"],
        connection.max_inflight or WINDOW,
    )
    settings = connection.settings(has_properties(source.pattern), ATTEMPTS)
    expiry = connection.properties.of("disconnect").get("session_expiry")
    voice = Voice(connection.quiet, connection.debug)

    async def main() -> int:
        message = None if source.is_many else await source.one()
        async with connected(settings, voice, expiry) as client:
            if message is None:
                await publish_lines(client, source, plan, voice)
            else:
                await publish_again(client, message, plan, voice)
        return 0

    run(main)


def source_of(connection: Connection, options: dict[str, Any]) -> Source:
    """What to send, out of the options. Raises ``click.UsageError``."""
    topic = options["topic"]
    if topic is not None and connection.topic is not None:
        raise click.UsageError("-t and the URL both name a topic; choose one of them")
    topic = topic if topic is not None else connection.topic
    check_name("-t", topic)
    json_lines = options.get("json_lines", False)
    if topic is None and not json_lines:
        raise click.UsageError("where to? Give a topic: -t TOPIC, or mqtt://host/TOPIC")
    given = check_sources(
        {
            "-m": options["message"] is not None,
            "-f": options["file"] is not None,
            "-l": options.get("stdin_line", False),
            "-s": options["stdin_file"],
            "-n": options["null_message"],
        }
    )
    if given is None:
        lines = ", -l (the lines of stdin)" if "stdin_line" in options else ""
        raise click.UsageError(f"what to send? -m TEXT, -f FILE{lines}, -s (all of stdin) or -n (nothing)")
    if json_lines and given != "-l":
        raise click.UsageError("--json is for lines: give -l as well")
    if json_lines and options["encode"] is not None:
        raise click.UsageError("--json says what the payload is; --encode has no use beside it")
    kinds: dict[str, Kind] = {"-m": "message", "-f": "file", "-l": "lines", "-s": "stdin", "-n": "null"}
    properties = _properties(connection, options)
    check_name("--response-topic", properties.get("response_topic"))
    pattern = Message(
        topic or "",
        qos=QoS(connection.qos or 0),
        retain=options["retain"],
        **properties,
    )
    return Source(
        kinds[given], pattern, options["message"] or "", options["file"], options["encode"], json_lines
    )


def _properties(connection: Connection, options: dict[str, Any]) -> dict[str, Any]:
    """The properties of the message, from -D and from the options with names of their own."""
    found = connection.properties.of("publish")
    correlation = options["correlation_data"]
    given = {
        "content_type": options["content_type"],
        "response_topic": options["response_topic"],
        "correlation_data": None if correlation is None else correlation.encode(errors="surrogateescape"),
        "message_expiry": options["message_expiry"],
        "payload_is_text": options["text"] or None,
    }
    for name, value in given.items():
        if value is not None:
            if name in found:
                raise click.UsageError(f"--{name.replace('_', '-')} is there with -D publish as well")
            found[name] = value
    found["user_properties"] = (*found.get("user_properties", ()), *options["user_properties"])
    return found


async def publish_lines(client: Client, source: Source, plan: Plan, voice: Voice) -> None:
    """Publish all lines, and return when the server has them. Raises ``PublishRefused``."""
    share = [0.0]
    with Progress(share=(lambda: share[0]) if source.file is not None else None) as progress:
        count = await publish_all(client, source.many(share), source.pattern, plan, progress)
    voice.note(f"{count} messages published")


async def publish_again(client: Client, message: Message, plan: Plan, voice: Voice) -> None:
    """Publish a message as often as it is to be. Raises ``PublishRefused``."""
    if plan.repeat == 1:
        await publish_one(client, message, voice)
        return
    with Progress(plan.repeat) as progress:
        if not plan.repeat_delay:
            await publish_all(client, _again(message, plan.repeat), message, plan, progress)
            return
        for number in range(plan.repeat):
            if number:
                await asyncio.sleep(plan.repeat_delay)
            await publish_one(client, message, voice)
            progress.advance()


async def publish_all(
    client: Client,
    batches: AsyncIterator[Iterable[Sent]],
    pattern: Message,
    plan: Plan,
    progress: Progress,
) -> int:
    """Publish all there is, no faster than it may be; how many there were. Raises ``PublishRefused``."""
    from curier.client.outbox import Window

    window, qos, retain = Window(plan.window), pattern.qos, pattern.retain
    pace = Pace(plan.rate) if plan.rate is not None else None
    count = 0
    async for batch in batches:
        if pace is None:
            count += await client.publish_within(window, progress.over(batch), qos, retain)
            continue
        for message in batch:
            await pace.wait()
            count += await client.publish_within(window, (message,), qos, retain)
            progress.advance()
    await window.fewer_than(1)
    return count


async def _again(message: Message, times: int) -> AsyncIterator[Iterable[Message]]:
    yield repeat(message, times)


async def publish_one(client: Client, message: Message, voice: Voice) -> None:
    """Publish one message to the end. Raises ``PublishRefused``."""
    result = await client.publish(
        message.topic,
        message.payload,
        qos=message.qos,
        retain=message.retain,
        message_expiry=message.message_expiry,
        content_type=message.content_type,
        response_topic=message.response_topic,
        correlation_data=message.correlation_data,
        user_properties=message.user_properties,
        payload_is_text=message.payload_is_text,
    )
    code = reason_name(result.reason_code)
    voice.note(f"published to {message.topic}: {code} {result.reason_string}".rstrip())
