"""``curier verify``: its options, a short run that is kept, and what it says when it cannot judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import curier
from curier.cli import main
from curier.errors import ConfigError
from curier.verify.brokers import OwnBroker, Unjudged, command_broker, free_port
from curier.verify.play import Plan, Play
from tests.waiting import until

SHORT = ("--rounds", "2", "--seconds", "1", "--rate", "200")


def verify(directory: Path, *words: str) -> Result:
    result = CliRunner().invoke(main, ["verify", "--dir", str(directory), *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--url", "mqtt://localhost"), "--url needs --kill"),
        (("--kill", "true"), "--kill and --start are for a broker at --url"),
        (("--command", "x {port}", "--kill", "true"), "leave --kill and --start out"),
        (("--command", "x {port}", "--durability", "os"), "--durability is of our own broker"),
        (("--command", "mosquitto -p 1883"), "it has no {port}"),
        (("--command", "'"), "No closing quotation"),
        (("--cafile", "ca.pem"), "are for a broker at --url"),
        (("--url", "mqtt://localhost", "--kill", "true", "--insecure"), "are for mqtts:// and wss://"),
        (("--url", "http://localhost", "--kill", "true"), "http"),
        (("--seconds", "0"), "more than 0 seconds"),
        (("--dir", "/nowhere/at/all"), "does not exist"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    result = verify(tmp_path, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_command_is_given_port_and_directory(tmp_path: Path) -> None:
    broker = command_broker("run --at {dir}/x -p {port}", tmp_path)
    assert broker.command == ["run", "--at", f"{tmp_path}/x", "-p", str(broker.url.port)]
    with pytest.raises(ConfigError):
        command_broker("", tmp_path)


def test_a_program_that_is_not_there_or_ends_is_no_verdict(tmp_path: Path) -> None:
    result = verify(tmp_path, "--command", "/no/such/program {port}")
    assert result.exit_code == 2
    assert "could not be judged: /no/such/program: cannot be run" in result.stdout
    result = verify(tmp_path, "--command", "sh -c 'echo cannot start; exit 3' {port}")
    assert result.exit_code == 2
    assert "the broker ended by itself, with code 3:\ncannot start" in result.stdout
    assert "What kill -9 does not show" not in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_nothing_is_no_verdict() -> None:
    result = verify(Path("/proc"), "--rounds", "1")
    assert result.exit_code == 2
    assert "--dir /proc: nothing can be made there: " in result.stderr


async def play_with(kill: str, url: str, tmp_path: Path, expected: str) -> Play:
    """With more patience than at first, where a busy machine needs it to come so far."""
    from curier.client.dial import DialSettings
    from curier.client.urls import parse_server_url
    from curier.verify.brokers import BrokerElsewhere

    there = parse_server_url(url)
    for patience in (0.5, 5.0, 50.0):
        broker = BrokerElsewhere(there, DialSettings(), kill, "", tmp_path / "log")
        play = Play(broker, Plan(rounds=1, seconds=0.1, patience=patience))
        await play.run()
        if expected in play.unjudged:
            break
    return play


async def test_a_kill_that_kills_nobody_is_noticed(tmp_path: Path) -> None:
    async with curier.Broker(["tcp://127.0.0.1:0"]) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        said = "the kill came back, but clients are connected as they were"
        play = await play_with("true", url, tmp_path, said)
        assert play.unjudged.startswith(said)
        said = "failed with code 1:\nno such process"
        play = await play_with("echo no such process; exit 1", url, tmp_path, said)
        assert said in play.unjudged


async def test_a_broker_that_is_not_there_is_named_with_the_reason(tmp_path: Path) -> None:
    said = "connection refused"
    play = await play_with("true", f"mqtt://127.0.0.1:{free_port()}", tmp_path, said)
    assert said in play.unjudged


@pytest.mark.crash
def test_our_own_broker_keeps_its_promises_and_is_removed_again(tmp_path: Path) -> None:
    result = verify(tmp_path, *SHORT, "--json", "--seed", "5")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["verdict"]) == (0, "kept"), result.stdout
    assert told["acknowledged"] > 20
    assert told["delivered"] >= told["acknowledged"]
    assert (told["kills"], told["seed"], told["faults"]) == (2, 5, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.crash
def test_a_broker_that_keeps_nothing_is_refuted_and_left_to_be_looked_at(tmp_path: Path) -> None:
    result = verify(tmp_path, *SHORT, "--durability", "memory")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[2].startswith("refuted: ")
    assert "was acknowledged at" in result.stdout
    assert "What kill -9 does not show" in result.stdout
    (left,) = tmp_path.iterdir()
    told = json.loads((left / "verify.json").read_text())
    assert told["counts"]["session lost"] > 2
    assert (left / "broker.log").exists()


@pytest.mark.crash
async def test_a_broker_elsewhere_is_killed_by_commands_and_left_clean(tmp_path: Path) -> None:
    """Ours, started by the command of a user, as a stranger's would be."""
    from random import Random

    from curier.client.dial import DialSettings
    from curier.verify.brokers import BrokerElsewhere

    own = OwnBroker(tmp_path, "fsync", Random(1))
    pid = tmp_path / "pid"
    start = f"echo $$ > {pid}; exec " + " ".join(own.command)
    broker = BrokerElsewhere(own.url, DialSettings(), f"kill -9 $(cat {pid})", start, tmp_path / "log")
    play = Play(broker, Plan(rounds=1, seconds=0.5, rate=200, prefix="clean", cleans_up=True))
    try:
        await play.run()
        assert (play.unjudged, play.faults) == ("", [])
        assert len(play.kills) == 1
        async with (
            curier.connect(str(own.url)) as client,
            client.subscribe("clean/#", qos=1) as stream,
        ):
            await client.publish("clean/last", "x", qos=1)
            assert (await stream.get(timeout=100)).topic == "clean/last"  # and nothing retained before it
    finally:
        await broker.kill()
        assert broker._started
        for popen in broker._started:
            await until(lambda popen=popen: popen.poll() is not None)  # type: ignore[misc]


async def test_a_program_that_cannot_be_run_raises_when_it_is_to(tmp_path: Path) -> None:
    with pytest.raises(Unjudged):
        await command_broker("/no/such {port}", tmp_path).start()
