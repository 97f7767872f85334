"""``curier trace --proxy``, as a process between a client and a broker of ours."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from click.testing import CliRunner

import curier
from curier.cli import main
from tests.waiting import PATIENCE


async def test_it_draws_what_goes_by_breaks_it_and_ends_in_order(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('rules = ["delay PUBREC by 1ms"]\n')
    async with curier.Broker("tcp://127.0.0.1:0") as broker, asyncio.timeout(PATIENCE):
        command = ("trace", "--proxy", "tcp://127.0.0.1:0", f"tcp://127.0.0.1:{broker.port}", "--utc")
        rules = ("--break", "double 1st PUBLISH from me", "--faults", str(faults))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "curier", *command, *rules, stdout=PIPE, stderr=PIPE
        )
        assert process.stderr is not None
        assert process.stdout is not None
        first = (await process.stderr.readline()).decode()
        found = re.fullmatch(r"curier trace: tcp://127\.0\.0\.1:(\d+) leads to mqtt://.*\n", first)
        assert found is not None, first
        assert await process.stderr.readline() == b"curier trace: rule: delay PUBREC by 1ms\n"
        assert await process.stderr.readline() == b"curier trace: rule: double 1st PUBLISH from me\n"
        async with curier.connect(f"mqtt://127.0.0.1:{found[1]}", client_id="me") as client:
            await client.publish("a/b", b"x", qos=2)
            lines: list[str] = []
            while not any("PUBCOMP" in line for line in lines):  # which comes while the proxy runs
                lines.append((await process.stdout.readline()).decode())
            process.send_signal(signal.SIGINT)
            rest, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        text = "".join(lines) + rest.decode()
        assert "by the rule 'double 1st PUBLISH from me'" in text
        assert "by the rule 'delay PUBREC by 1ms'" in text
        assert "the proxy has stopped" in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--proxy", "tcp://127.0.0.1:0", "http://x"], "expected mqtt://"),
        (["--proxy", "tcp://127.0.0.1:0", "tcp://x", "--break", "lose PUBAK"], "did you mean 'PUBACK'?"),
        (["--proxy", "tcp://127.0.0.1:0", "tcp://x", "--target-ca", "ca.pem"], "there are TLS settings"),
        (["--proxy", "tls://127.0.0.1:0", "tcp://x"], "tls://127.0.0.1:0 needs --cert and --key"),
        (["--break", "lose PUBACK"], "--break needs --proxy LISTEN TARGET"),
        (["--target-ca", "ca.pem"], "--target-ca needs --proxy LISTEN TARGET"),
        (["x.curier", "--proxy", "tcp://127.0.0.1:0", "tcp://x"], "either x.curier or --proxy"),
    ],
)
def test_what_cannot_be_is_said_at_once(words: list[str], why: str) -> None:
    result = CliRunner().invoke(main, ["trace", *words])
    assert result.exit_code == 2
    assert why in " ".join(result.output.split())
