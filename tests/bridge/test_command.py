"""``curier bridge``: what it is told by options and files, and that it carries, as a program of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from curier.cli import main
from tests.bridge.brokers import SECONDS, brokers, came, client
from tests.waiting import until

WRONG = [
    ([], "give a FILE, or --local, --remote and -t"),
    (["x.toml", "--local", "mqtt://x"], "give a FILE, or --local, --remote and -t"),
    (["--local", "mqtt://x", "-t", "a"], "--local, --remote and -t are all needed"),
    (["--local", "mqtt://x", "--remote", "mqtt://y", "-t", "a up"], "out, in or both, not 'up'"),
    (["--local", "x", "--remote", "mqtt://y", "-t", "a"], "x"),
    (["missing.toml"], "missing.toml: there is no such file"),
]
FILES = [
    ("", "there is no [[bridge]]"),
    ("listen = 'tcp://x'", "listen: there is no such key; expected one of: bridge"),
    ("[[bridge]]\nname = 'b'\nurl = 'mqtt://y'\ntopics = ['a']", "expected local"),
    ("[[bridge]]\nname = 'b'\nurl = 'mqtt://y'\ntopics = ['a']\nlocal = { usr = 'x' }", "did you mean url?"),
    (
        "[[bridge]]\nname = 'b'\nurl = 'mqtt://y'\ntopics = ['a']\n[bridge.local]\nurl = ['mqtt://x', 'mqtt://z']",
        "local: url: one server",
    ),
]


def test_what_it_cannot_do_is_said(tmp_path: Path) -> None:
    for args, why in WRONG:
        result = CliRunner().invoke(main, ["bridge", *args])
        assert result.exit_code == 2, args
        assert why in result.stderr, args
    file = tmp_path / "b.toml"
    for text, why in FILES:
        file.write_text(text)
        result = CliRunner().invoke(main, ["bridge", str(file)])
        assert result.exit_code == 2, text
        assert why in result.stderr, text


def test_a_file_that_cannot_be_read_is_told_before_it_begins(tmp_path: Path) -> None:
    """By ``curier bridge``, and for a broker by ``curier config check``."""
    file = tmp_path / "b.toml"
    there = "[[bridge]]\nname = 'b'\nurl = 'mqtts://y'\ntopics = ['a']\n"
    for own, where in (
        (f"{there}ca_file = 'no.pem'\n[bridge.local]\nurl = 'mqtt://x'", ""),
        (f"{there}[bridge.local]\nurl = 'mqtts://x'\nca_file = 'no.pem'", "local: "),
    ):
        file.write_text(own)
        result = CliRunner().invoke(main, ["bridge", str(file)])
        assert result.exit_code == 2, own
        assert f"the bridge b: {where}ca_file {tmp_path}/no.pem: No such file" in result.stderr
    file.write_text(f"listen = ['tcp://127.0.0.1:0']\n{there}ca_file = 'no.pem'")
    result = CliRunner().invoke(main, ["config", "check", str(file)])
    assert result.exit_code == 2
    assert f"the bridge b: ca_file {tmp_path}/no.pem: No such file" in result.stderr


async def test_a_bridge_from_a_broker_to_itself_carries_what_is_called_otherwise(tmp_path: Path) -> None:
    async with brokers(1) as (here,), client(here, "b/#") as (local, to):
        url = f"mqtt://127.0.0.1:{here.port}"
        topics = ("-t", 'a/# out 1 "" b/')
        async with program("--local", url, "--remote", url, *topics, "--data", str(tmp_path)):
            await until(lambda: sum(bool(one.subscriptions) for one in here.core.sessions.values()) == 2)
            await local.publish("a/x", b"1", qos=1)
            message = await to.get(SECONDS)
            assert (message.topic, message.payload) == ("b/a/x", b"1")


@contextlib.asynccontextmanager
async def program(*args: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``curier bridge``, from its first line to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "curier", "bridge", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            assert (await process.stdout.readline()).startswith(b"carrying for ")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.slow
async def test_it_carries_both_ways_reads_its_file_again_and_stops(tmp_path: Path) -> None:
    file = tmp_path / "bridges.toml"
    async with brokers(2) as (here, there), client(here, "#", "$SYS/broker/connection/#") as (local, at):
        text = (
            f"[[bridge]]\nname = 'b'\nurl = 'mqtt://127.0.0.1:{there.port}'\ntopics = ['# both 2']\n"
            f"[bridge.local]\nurl = 'mqtt://127.0.0.1:{here.port}'\n"
        )
        file.write_text(text)
        async with (
            program(str(file), "--data", str(tmp_path / "data")) as process,
            client(there) as (remote, to),
        ):
            assert (await came(at, b"1"))[-1] == b"1"
            await until(
                lambda: any(one.subscriptions for name, one in there.core.sessions.items() if ".b" in name)
            )
            await local.publish("a", b"from here", qos=2)
            assert await came(to, b"from here") == [b"from here"]
            await remote.publish("a", b"from there", qos=2)
            assert (await came(at, b"from there"))[-1] == b"from there"
            file.write_text(text.replace("name = 'b'", "name = 'c'"))
            process.send_signal(signal.SIGHUP)
            await until(
                lambda: any(".c" in name and one.subscriptions for name, one in there.core.sessions.items())
            )
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), SECONDS) == 0
