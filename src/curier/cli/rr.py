"""``curier rr``: publish a request, print the response."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from curier.cli.connecting import Connection, connection_options
from curier.cli.options import ClientCommand, option, positive_seconds
from curier.cli.output import Output
from curier.cli.printing import printing_options, take_printer
from curier.cli.pub import ATTEMPTS, message_options, publish_one, source_of
from curier.cli.running import EXIT_CODES, Voice, connected, in_time, or_timed_out, run
from curier.cli.sources import has_properties
from curier.payloads import BadPayload
from curier.types import Message, QoS, Subscription

if TYPE_CHECKING:
    from curier.client.client import Client

_RESPONSE: Final = "Response"

EPILOG: Final = f"""
\b
Examples:
  curier rr -t service/time -m now -W 5
  curier rr -t service/sum -m '[1, 2, 3]' --encode cbor --decode cbor
  curier rr -V 311 -t lamp/1/get -e lamp/1/state -m '' -W 2 -v
{EXIT_CODES}
Options, formats and profiles at length: docs/command-line.md.
"""


@click.command(cls=ClientCommand, epilog=EPILOG, no_args_is_help=True)
@message_options
@option(
    *("-e", "--response-topic"),
    metavar="TOPIC",
    section=_RESPONSE,
    help="Where the response comes.  [default in 5.0: a topic of this client's own]",
)
@option(
    *("-W", "--timeout"),
    metavar="SECONDS",
    type=positive_seconds,
    section=_RESPONSE,
    help="Wait no longer than this for it; exit code 27 then.  [default: no end]",
)
@option("-R", "--no-retained", is_flag=True, section=_RESPONSE, help="A retained message is no response.")
@printing_options
@connection_options
@click.pass_context
def rr(ctx: click.Context, /, **options: Any) -> None:
    """Publish a request and print the response to it.

    Letters and names are those of mosquitto_rr. In MQTT 5.0 the request says where the response is to go and
    what it is to repeat, so that it cannot be taken for another. Without -e the topic is made up.
    """
    connection = Connection.take(ctx, options, ("publish", "subscribe"))
    source = source_of(connection, options)
    if source.pattern.response_topic is None and connection.protocol_version not in (None, 5):
        raise click.UsageError("before 5.0 a response needs a topic: -e TOPIC")
    show = take_printer(options)
    needs_5 = has_properties(replace(source.pattern, response_topic=None))
    settings = connection.settings(needs_5, ATTEMPTS)
    expiry = connection.properties.of("disconnect").get("session_expiry")
    voice = Voice(connection.quiet, connection.debug)

    async def main() -> int:
        request = await source.one()
        output = Output()
        timeout = options["timeout"]
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        async with contextlib.AsyncExitStack() as stack, in_time(deadline):
            client = await stack.enter_async_context(connected(settings, voice, expiry))
            response = await respond_to(client, request, options["no_retained"], voice)
        try:
            output.write(show(response))
        except BadPayload as error:
            raise click.ClickException(f"the response on {response.topic} {error}") from None
        try:
            await output.flush()
        except BrokenPipeError:
            output.abandon()
            raise
        return 0

    run(lambda: or_timed_out(main, voice))


async def respond_to(client: Client, request: Message, fresh_only: bool, voice: Voice) -> Message:
    """The response to a request; where it has no Response Topic, the client makes one."""
    if request.response_topic is None:
        return await client.request(
            request.topic,
            request.payload,
            timeout=float("inf"),
            qos=request.qos,
            content_type=request.content_type,
            message_expiry=request.message_expiry,
            user_properties=request.user_properties,
        )
    wanted = Subscription(request.response_topic, QoS(request.qos))
    async with client.subscribe(wanted) as responses:
        await publish_one(client, request, voice)
        async for message in responses:
            if message.retain and fresh_only:
                continue
            if request.correlation_data in (None, message.correlation_data):
                return message
    raise AssertionError("a stream that nobody closes ends with an error")
