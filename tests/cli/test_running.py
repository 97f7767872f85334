"""How a command that is a client ends, and what it says on the way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from curier.cli.running import Voice, exit_code, explain, run
from curier.cli.wording import in_options
from curier.client.events import (
    Closed,
    Connected,
    Event,
    HeldUp,
    MessagesDropped,
    PublishGivenUp,
    Reconnecting,
    SessionLost,
    SubscriptionLost,
)
from curier.errors import (
    ConfigError,
    ConnectionLost,
    ConnectRefused,
    LocalProtocolError,
    MqttError,
    PublishRefused,
    StoreError,
    SubscribeRefused,
)


def running(main: Callable[[], Coroutine[Any, Any, int]]) -> Result:
    @click.command()
    def command() -> None:
        run(main)

    return CliRunner().invoke(command)


async def nothing() -> int:
    return 0


async def code_27() -> int:
    return 27


async def refused() -> int:
    raise PublishRefused(0x87, "not \x1b[2J yours")


async def closed_pipe() -> int:
    raise BrokenPipeError


@pytest.mark.parametrize(
    ("main", "code", "said"),
    [
        (nothing, 0, ""),
        (code_27, 27, ""),
        (closed_pipe, 0, ""),
        (refused, 0x87, "Error: refused with Reason Code 0x87 (Not authorized): not \\x1b[2J yours\n"),
    ],
)
def test_the_end_of_a_command(main: Callable[[], Coroutine[Any, Any, int]], code: int, said: str) -> None:
    result = running(main)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_it_finish(number: int, code: int) -> None:
    finished: list[str] = []

    async def main() -> int:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            finished.append("goodbye")
        return 0

    result = running(main)
    assert (result.exit_code, finished) == (code, ["goodbye"])


def test_wrong_settings_and_strange_errors_are_for_others() -> None:
    async def wrong() -> int:
        raise ConfigError("x")

    async def strange() -> int:
        raise asyncio.CancelledError

    assert isinstance(running(wrong).exception, ConfigError)
    with pytest.raises(asyncio.CancelledError):
        running(strange)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConnectRefused(0x86, "bad user name or password"),
            "0x86 (Bad User Name or Password): bad user name or password",
        ),
        (ConnectRefused(0x86), "refused with Reason Code 0x86 (Bad User Name or Password)"),
        (SubscribeRefused(0x87, "", "a/#"), "a/#: refused with Reason Code 0x87 (Not authorized)"),
        (PublishRefused(0x42), "refused with Reason Code 0x42"),
        (ConnectionLost("the network is gone"), "the network is gone"),
        (ConnectionLost("DISCONNECT", 0x8E, True), "DISCONNECT (Session taken over)"),
        (MqttError("a\nb"), "a\\nb"),
    ],
)
def test_errors_are_explained_in_a_line(error: MqttError, said: str) -> None:
    assert explain(error).endswith(said)


EVENTS: list[tuple[Event, str, str]] = [
    (
        Connected("mqtt://a", "gw", True, 4),
        "note",
        "connected to mqtt://a as gw, MQTT 3.1.1, with its session",
    ),
    (
        Connected("mqtt://a", "gw", False, 5),
        "note",
        "connected to mqtt://a as gw, MQTT 5.0, with a new session",
    ),
    (
        Reconnecting(2, 1.25, "mqtt://a", ConnectionLost("gone")),
        "warn",
        "Warning: gone; attempt 2 to connect to mqtt://a in 1.2 s",
    ),
    (SessionLost(0), "warn", "Warning: the server has lost the session"),
    (SessionLost(3), "warn", "Warning: the server has lost the session; 3 messages are published again"),
    (
        SubscriptionLost("a/\x1b", 0x87, "no"),
        "warn",
        "Warning: a/\\x1b is refused now: 0x87 (Not authorized) no",
    ),
    (MessagesDropped(("a",), 7), "", ""),
    (HeldUp(("a",), 7, "no answer"), "note", "7 messages wait for whoever reads standard output: no answer"),
    (PublishGivenUp("a", 7, "too large"), "warn", "Warning: a message is given up: too large"),
    (
        MessagesDropped((), 7),
        "warn",
        "Warning: the session brought 7 messages that no -t names; they are gone",
    ),
    (Closed(None), "", ""),
]


@pytest.mark.parametrize(("event", "kind", "said"), EVENTS)
@pytest.mark.parametrize(("quiet", "debug"), [(False, False), (True, False), (False, True)])
def test_what_happens_is_said_on_stderr(
    event: Event, kind: str, said: str, quiet: bool, debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Voice(quiet, debug).tell(event)
    is_said = (kind == "note" and debug) or (kind == "warn" and not quiet)
    assert capsys.readouterr() == ("", f"{said}\n" if is_said else "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionLost("nobody listens", was_open=False), 1),
        (ConnectionLost("gone"), 7),
        (ConnectionLost("DISCONNECT", 0x98, True), 7),
        (ConnectRefused(0x87, "", 5), 5),
        (ConnectRefused(0x87, "", 0x87), 0x87),
        (ConnectRefused(0x87, "not by the server"), 0x87),
        (SubscribeRefused(0x80), 0x80),
        (PublishRefused(0x97), 0x97),
        (PublishRefused(0x42), 1),
        (LocalProtocolError(0x90, "no Topic Name"), 2),
        (StoreError("full"), 1),
    ],
)
def test_each_cause_has_its_exit_code(error: MqttError, code: int) -> None:
    async def main() -> int:
        raise error

    assert (exit_code(error), running(main).exit_code) == (code, code)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("ca_file /x: No such file", "--cafile /x: No such file"),
        ("certificate /x: there is no such file", "--cert /x: there is no such file"),
        ("certificate a, key b: the key is not that", "--cert a, --key b: the key is not that"),
        ("key b: there is no such file", "--key b: there is no such file"),
        ("a TLS key needs its certificate: give both, certificate and key", "--key needs --cert: give both"),
        ("x: no CONNACK within 10 seconds (connect_timeout)", "x: no CONNACK within 10 seconds"),
        (
            "it has no TLS version that minimum_version allows",
            "it has no TLS version that --tls-version allows",
        ),
        ("will: 'a/#' is no Topic Name", "--will-topic: 'a/#' is no Topic Name"),
    ],
)
def test_settings_of_the_library_are_said_as_options(said: str, shown: str) -> None:
    assert in_options(said) == shown
