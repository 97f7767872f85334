"""How a command that is a client runs, what it says on the way, and how it ends.

Standard output is for messages alone; everything else is said on standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from curier.cli.wording import in_options
from curier.errors import (
    ConfigError,
    ConnectionLost,
    ConnectRefused,
    LocalProtocolError,
    MqttError,
    Refused,
)
from curier.types import ReasonCode, reason_name

if TYPE_CHECKING:
    from curier.client.client import Client
    from curier.client.events import Event
    from curier.client.settings import ClientSettings

FAILED: Final = 1
WRONG: Final = 2
LOST: Final = 7
TIMED_OUT: Final = 27
SIGNALLED: Final = 128
"""And the number of the signal: 130 after Ctrl-C, 143 after SIGTERM."""

EXIT_CODES: Final = f"""
\b
Exit codes:
  0    done
  1    no connection, or a message that could not be read or written
  2    an option, a profile or a file is wrong
  {LOST}    the connection was lost for good
  {TIMED_OUT}   the time of -W is over
  130  Ctrl-C (143: SIGTERM), after a proper goodbye to the server
  1-5, 128-162  refused by the server: its Return Code (3.1.1) or Reason Code (5.0)
"""

VERSIONS: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}


def printable(text: str) -> str:
    """``text`` for one line on a terminal, whatever a server has put into it."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class Ended(click.ClickException):
    """The end of a command that failed: one line for the user, and this exit code."""

    def __init__(self, error: MqttError, exit_code: int) -> None:
        super().__init__(explain(error))
        self.exit_code = exit_code  # type: ignore[misc]  # each has its own


class TimeIsUp(Exception):
    """The time of ``-W`` is over."""


def exit_code(error: MqttError) -> int:
    """What an error is for scripts: the numbers of mosquitto_pub and its kin where the cause is the same."""
    if isinstance(error, ConnectRefused) and error.return_code:
        return error.return_code
    if isinstance(error, Refused) and error.reason_code >= ReasonCode.UNSPECIFIED_ERROR:
        return error.reason_code
    if isinstance(error, ConnectionLost) and error.was_open:
        return LOST
    return WRONG if isinstance(error, LocalProtocolError) else FAILED


def explain(error: MqttError) -> str:
    """One line for people, with the name of the Reason Code."""
    text = printable(str(error))
    if isinstance(error, ConnectionLost) and not error.by_server:
        text = in_options(text)
    code = getattr(error, "reason_code", None)
    if isinstance(error, ConnectionLost) and not error.by_server:
        return text
    try:
        name = ReasonCode(code).name.replace("_", " ").capitalize() if code else ""
    except ValueError:
        return text
    return f"{text} ({name})" if name and name.lower() not in text.lower() else text


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Run to the end of ``main`` and exit with the code that it returns, or that says what has happened.

    The first SIGINT or SIGTERM cancels ``main``, which says goodbye to the server; the second ends at once.
    Raises ``click.ClickException`` for what failed.
    """
    stopped_by: list[int] = []
    try:
        code = asyncio.run(_until_stopped(main, stopped_by))
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        code = SIGNALLED + stopped_by[0]
    except KeyboardInterrupt:  # where the loop takes no signal handlers
        code = SIGNALLED + signal.SIGINT
    except ConfigError as error:
        raise ConfigError(in_options(str(error))) from error
    except MqttError as error:
        raise Ended(error, exit_code(error)) from error
    except BrokenPipeError:
        code = 0  # the reader has what it wanted, as with head
    if code:
        click.get_current_context().exit(code)


async def _until_stopped(main: Callable[[], Coroutine[Any, Any, int]], stopped_by: list[int]) -> int:
    task = asyncio.ensure_future(main())

    def on_signal(number: int) -> None:
        if stopped_by:
            os._exit(SIGNALLED + number)
        stopped_by.append(number)
        task.cancel()

    with signals_to(on_signal):
        return await task


@contextlib.contextmanager
def signals_to(on_signal: Callable[[int], object]) -> Iterator[None]:
    """Have that called for SIGINT and SIGTERM, where the event loop can; on Windows Ctrl-C goes its way."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in numbers:
            loop.add_signal_handler(number, on_signal, number)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class Voice:
    """What is said on standard error: ``warn`` unless ``--quiet``, ``note`` with ``--debug`` only."""

    def __init__(self, quiet: bool, debug: bool) -> None:
        self._quiet = quiet
        self._debug = debug

    def warn(self, text: str) -> None:
        """Say what people should know, though it goes on."""
        if not self._quiet:
            self._say(text)

    def note(self, text: str) -> None:
        """Say what happens."""
        if self._debug:
            self._say(text)

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()

    def tell(self, event: Event) -> None:
        """Say what has happened to a client."""
        from curier.client import events

        match event:
            case events.Connected(url, client_id, session_present, version):
                kept = "with its session" if session_present else "with a new session"
                self.note(f"connected to {url} as {client_id}, MQTT {VERSIONS.get(version, version)}, {kept}")
            case events.Reconnecting(attempt, delay, url, error):
                why = explain(error)
                self.warn(f"Warning: {why}; attempt {attempt} to connect to {url} in {delay:.1f} s")
            case events.SessionLost(republished):
                again = f"; {republished} messages are published again" if republished else ""
                self.warn(f"Warning: the server has lost the session{again}")
            case events.SubscriptionLost(topic_filter, code, reason):
                self.warn(f"Warning: {topic_filter} is refused now: {reason_name(code)} {reason}")
            case events.MessagesDropped((), dropped):
                self.warn(f"Warning: the session brought {dropped} messages that no -t names; they are gone")
            case events.HeldUp(_, waiting, why):
                self.note(f"{waiting} messages wait for whoever reads standard output: {why}")
            case events.PublishGivenUp(_, _, why):
                self.warn(f"Warning: a message is given up: {why}")
            case _:  # a stream that drops messages is told by sub, which knows how many
                pass


async def or_timed_out(main: Callable[[], Coroutine[Any, Any, int]], voice: Voice) -> int:
    """The exit code of ``main``, or that which says that its time was up."""
    try:
        return await main()
    except TimeIsUp:
        voice.warn("Timed out")
        return TIMED_OUT


@contextlib.asynccontextmanager
async def in_time(deadline: float | None) -> AsyncIterator[None]:
    """What has to be done by ``deadline``, on the loop's clock. Raises ``TimeIsUp``."""
    try:
        async with asyncio.timeout_at(deadline) as limit:
            yield
    except TimeoutError:
        if limit.expired():
            raise TimeIsUp from None
        raise


@contextlib.asynccontextmanager
async def connected(
    settings: ClientSettings, voice: Voice, session_expiry: int | None = None
) -> AsyncIterator[Client]:
    """A client that is connected, and tells what happens to it. Raises ``Ended`` for a connection that is
    lost for good, ``ConnectionLost`` where there was none.

    ``session_expiry`` is for the DISCONNECT at its end, in seconds; None leaves what CONNECT said.
    """
    from curier.client.client import Client

    logging.getLogger("curier.client").addHandler(logging.NullHandler())  # what it says, events say as well
    client = Client(settings)
    telling = asyncio.ensure_future(_tell(client, voice))
    await asyncio.sleep(0)  # it listens before there is anything to hear
    try:
        async with client:
            yield client
            if session_expiry is not None:
                await client.disconnect(session_expiry=session_expiry)
    except ConnectionLost as error:  # also of an attempt to connect again
        if client.statistics.connections:
            raise Ended(error, LOST) from error
        raise
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell(client: Client, voice: Voice) -> None:
    async for event in client.events():
        voice.tell(event)
