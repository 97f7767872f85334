"""``curier sub``: subscribe, and print what comes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import click

from curier.cli.connecting import Connection, connection_options
from curier.cli.formats import Print
from curier.cli.options import QOS, ClientCommand, option, positive_seconds
from curier.cli.output import Output
from curier.cli.printing import printing_options, take_printer
from curier.cli.running import EXIT_CODES, FAILED, Voice, connected, in_time, or_timed_out, run
from curier.cli.topics import check_filters
from curier.frozen import dataclass
from curier.payloads import BadPayload
from curier.topics.filters import matches
from curier.types import QoS, Subscription

if TYPE_CHECKING:
    from curier.client.client import Client
    from curier.client.outbox import Receipt
    from curier.client.received import ReceivedMessage
    from curier.client.streams import Stream

BUFFER_MESSAGES: Final = 10_000
"""So many messages with QoS 0 may wait for a terminal; a file or a pipe drops none, and is waited for."""

TOLD_EVERY: Final = 2.0
"""Seconds between two lines that say how many messages were dropped."""

REMOVALS: Final = 100
"""Retained messages that are being removed at a time."""

_WHICH: Final = "Messages"

EPILOG: Final = f"""
\b
Examples:
  curier sub -t 'greetings/#' -v
  curier sub -h broker.example -t 'site/+/temperature' -q 1 -F '%I %t %p'
  curier sub -L 'mqtts://ana@broker.example/site/#' --json | jq .payload
  curier sub -t readings --decode cbor --pretty
  curier sub -t 'jobs/#' -c -i worker -q 1 -C 1
  curier sub -t '#' -T '$SYS/#' --retained-only -W 2 -v
  curier sub -t 'old/#' --remove-retained --retained-only -W 5
{EXIT_CODES}
Options, formats and profiles at length: docs/command-line.md.
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which messages to print, and when to stop. Times are in seconds, ``share`` is a part of 1."""

    filters: tuple[str, ...]
    unsubscribe: tuple[str, ...] = ()
    filter_out: tuple[bytes, ...] = ()
    qos: int = 0
    count: int | None = None
    timeout: float | None = None
    only_subscribe: bool = False
    skip_retained: bool = False
    retained_only: bool = False
    remove_retained: bool = False
    share: float = 1.0


@click.command(cls=ClientCommand, epilog=EPILOG, no_args_is_help=True)
@option(
    "-t",
    "--topic",
    metavar="FILTER",
    multiple=True,
    section=_WHICH,
    help="What to subscribe to; may be given again.",
)
@option("-q", "--qos", type=QOS, metavar="0|1|2", section=_WHICH, help="The best QoS to get.  [default: 0]")
@option(
    *("-T", "--filter-out"),
    metavar="FILTER",
    multiple=True,
    section=_WHICH,
    help="Leave these topics out; may be given again.",
)
@option(
    *("-U", "--unsubscribe"),
    metavar="FILTER",
    multiple=True,
    section=_WHICH,
    help="End this subscription of the session, see -c; may be given again.",
)
@option("-C", "--count", metavar="N", type=click.IntRange(1), section=_WHICH, help="Stop after N messages.")
@option(
    *("-W", "--timeout"),
    metavar="SECONDS",
    type=positive_seconds,
    section=_WHICH,
    help="Stop after so long, with exit code 27.",
)
@option(
    "-E", "--exit-when-subscribed", is_flag=True, section=_WHICH, help="Stop when the server has subscribed."
)
@option("-R", "--no-retained", is_flag=True, section=_WHICH, help="Do not print retained messages.")
@option("--retained-only", is_flag=True, section=_WHICH, help="Print no others, and stop at the first other.")
@option("--remove-retained", is_flag=True, section=_WHICH, help="Have the server forget those that come.")
@option(
    "--retain-as-published", is_flag=True, section=_WHICH, help="See what publishers said of retaining (5.0)."
)
@option("--no-local", is_flag=True, section=_WHICH, help="Not what this client publishes itself (5.0).")
@option(
    "--random-filter",
    metavar="PERCENT",
    type=click.FloatRange(0, 100, min_open=True),
    section=_WHICH,
    help="Print so many out of a hundred.",
)
@printing_options
@connection_options
@click.pass_context
def sub(ctx: click.Context, /, **options: Any) -> None:
    """Subscribe to topics and print the messages that come, until Ctrl-C.

    Letters and names are those of mosquitto_sub. Standard output gets messages and nothing else. Those with
    QoS 1 and 2 are acknowledged when they have been written there. A lost connection is opened again.
    """
    connection = Connection.take(ctx, options, ("subscribe",))
    wish = wish_of(connection, options)
    show = take_printer(options)
    own = connection.properties.of("subscribe")
    subscriptions = [
        Subscription(
            topic_filter,
            QoS(wish.qos),
            no_local=options["no_local"],
            retain_as_published=options["retain_as_published"],
            identifier=own.get("identifier"),
        )
        for topic_filter in wish.filters
    ]
    needs_5 = options["no_local"] or options["retain_as_published"]
    settings = connection.settings(needs_5)
    expiry = connection.properties.of("disconnect").get("session_expiry")
    voice = Voice(connection.quiet, connection.debug)
    is_watched = sys.stdout.isatty()

    async def main() -> int:
        deadline = None if wish.timeout is None else asyncio.get_running_loop().time() + wish.timeout
        async with contextlib.AsyncExitStack() as stack:
            async with in_time(deadline):
                client = await stack.enter_async_context(connected(settings, voice, expiry))
                stream = None
                if subscriptions:
                    stream = client.subscribe(
                        *subscriptions,
                        buffer=BUFFER_MESSAGES if is_watched else None,
                        overflow="drop_oldest" if is_watched else "block",
                        ack="manual" if wish.qos else "auto",
                        user_properties=own.get("user_properties", ()),
                    )
                    await stream.open()
                if wish.unsubscribe:
                    await client.unsubscribe(*wish.unsubscribe)
            if stream is None or wish.only_subscribe:
                return 0
            return await Reading(client, stream, show, wish, voice).run(deadline)

    run(lambda: or_timed_out(main, voice))


def wish_of(connection: Connection, options: dict[str, Any]) -> Wish:
    """What is wanted, out of the options. Raises ``click.UsageError``."""
    filters = (*options["topic"], *((connection.topic,) if connection.topic else ()))
    check_filters("-t", filters)
    check_filters("-T", options["filter_out"])
    check_filters("-U", options["unsubscribe"])
    if not filters and not options["unsubscribe"]:
        raise click.UsageError("to what? Give a Topic Filter: -t FILTER, or mqtt://host/FILTER")
    both = set(filters).intersection(options["unsubscribe"])
    if both:
        raise click.UsageError(f"-t and -U both name {both.pop()}; choose one of them")
    if options["retained_only"] and options["no_retained"]:
        raise click.UsageError("--retained-only and -R cannot both be: nothing would be left")
    return Wish(
        filters,
        options["unsubscribe"],
        tuple(one.encode() for one in options["filter_out"]),
        connection.qos or 0,
        options["count"],
        options["timeout"],
        options["exit_when_subscribed"],
        options["no_retained"],
        options["retained_only"],
        options["remove_retained"],
        (options["random_filter"] or 100.0) / 100.0,
    )


class Reading:
    """Reads a stream to its end: prints, removes, counts, acknowledges what is printed."""

    def __init__(
        self,
        client: Client,
        stream: Stream,
        show: Print,
        wish: Wish,
        voice: Voice,
        output: Output | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._show = show
        self._wish = wish
        self._voice = voice
        self._output = output if output is not None else Output()
        self._counted = 0  # those that could not be read, too
        self._unread = 0
        self._taken: list[ReceivedMessage] = []  # with QoS 1 and 2, not acknowledged yet
        self._removals: deque[Receipt] = deque()
        self._removed: set[str] = set()  # topics whose removal has not come back yet

    async def run(self, deadline: float | None = None) -> int:
        """Until there is nothing more to read, or that time on the loop's clock. Returns the exit code."""
        telling = asyncio.ensure_future(self._tell_drops())
        left = 0  # came, and will not be printed
        try:
            try:
                async with in_time(deadline):
                    await self._read()
            except BaseException:
                left = len(self._stream)
                raise
            finally:
                telling.cancel()
                await self._flush()
                if dropped := self._stream.dropped:
                    self._voice.warn(f"Warning: {dropped + left} messages were dropped in all (QoS 0)")
        except BrokenPipeError:
            self._output.abandon()
            raise
        while self._removals:
            await self._removals.popleft()
        return FAILED if self._unread else 0

    async def _read(self) -> None:
        stream = self._stream
        while True:
            message = stream.get_nowait()
            if message is None:
                await self._flush()
                message = await anext(stream, None)
                if message is None:
                    return
            if message.qos:
                self._taken.append(message)
            if await self._is_last(message):
                return
            if self._output.is_full:
                await self._flush()

    async def _flush(self) -> None:
        """Write what is printed, and acknowledge it then."""
        await self._output.flush()
        for message in self._taken:
            message.ack()
        self._taken.clear()

    async def _tell_drops(self) -> None:
        """Say now and then how many messages were dropped."""
        told = 0
        while True:
            await asyncio.sleep(TOLD_EVERY)
            if (dropped := self._stream.dropped) > told:
                told = dropped
                so_far = f"{dropped} were dropped so far (QoS 0)"
                self._voice.warn(f"Warning: messages come faster than they are printed; {so_far}")

    async def _is_last(self, message: ReceivedMessage) -> bool:
        """Do what is to be done with a message. Is it the last one?"""
        wish = self._wish
        if not message.retain:
            was_removal = not message.payload and message.topic in self._removed
            self._removed.discard(message.topic)
            if wish.retained_only:
                return not (was_removal and self._removed)
        if wish.filter_out and self._is_left_out(message.topic.encode()):
            return False
        if message.retain and wish.remove_retained:
            await self._remove(message.topic)
        if message.retain and wish.skip_retained:
            return False
        if wish.share < 1.0 and random.random() >= wish.share:
            return False
        try:
            self._output.write(self._show(message))
        except BadPayload as error:
            self._unread += 1
            self._voice.warn(f"Error: the message on {message.topic} {error}")
        self._counted += 1
        return self._counted == wish.count

    def _is_left_out(self, topic: bytes) -> bool:
        return any(matches(one, topic) for one in self._wish.filter_out)

    async def _remove(self, topic: str) -> None:
        self._removed.add(topic)
        self._removals.append(self._client.publish_nowait(topic, b"", qos=1, retain=True))
        if len(self._removals) > REMOVALS:
            await self._removals.popleft()
