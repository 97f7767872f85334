"""What `pip install curier` alone can do: everything of a client, and a broker in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = (
    "import sys; sys.modules.update(dict.fromkeys(('apsw', 'argon2', 'cryptography', 'acme', 'josepy'))); "
)


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program where the packages of `curier[broker]` are not installed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", WITHOUT + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)


def test_a_client_and_a_broker_in_memory() -> None:
    program = """
import asyncio, tempfile, curier
async def main():
    async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        session = curier.Session.disk(tempfile.mkdtemp())
        async with curier.connect(f"mqtt://127.0.0.1:{broker.port}", session=session) as client:
            async with client.subscribe("a", qos=2) as stream:
                await client.publish("a", "hello", qos=2)
                print((await stream.get(timeout=20)).payload)
asyncio.run(main())
"""
    done = run(program)
    assert (done.stdout, done.stderr) == ("b'hello'\n", "")


@pytest.mark.parametrize("command", ["pub", "sub", "rr", "broker", "bench"])
def test_commands_that_need_nothing_more(command: str) -> None:
    done = run(f"import curier.cli; curier.cli.main(['{command}', '--help'])")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


def test_the_manual_leaves_out_what_needs_more(tmp_path: Path) -> None:
    done = run(f"import curier.cli; curier.cli.main(['man', {str(tmp_path)!r}])")
    assert done.returncode == 0, done.stderr
    assert "Warning: curier passwd is left out: curier passwd needs the package argon2" in done.stderr
    assert "passwd" not in (tmp_path / "curier.1").read_text()
    assert (tmp_path / "curier-pub.1").exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import curier; curier.Broker(data='d')", "data: d needs the package apsw"),
        ("from curier.auth import PasswordFile", "a password file needs the package argon2"),
    ],
)
def test_what_needs_more_says_so(program: str, said: str) -> None:
    done = run(program)
    assert f"curier.errors.ConfigError: {said}: pip install 'curier[broker]'" in done.stderr


@pytest.mark.parametrize(
    ("missing", "extra"), [("acme", "acme"), ("josepy", "acme"), ("cryptography", "broker")]
)
def test_acme_says_what_it_needs(missing: str, extra: str, tmp_path: Path) -> None:
    program = f"""
import sys
for name in ("acme", "josepy", "cryptography"):
    del sys.modules[name]
sys.modules[{missing!r}] = None
import curier
curier.Broker(curier.Listener("tls://b.example", acme="m@b.example", acme_files={str(tmp_path)!r}))
"""
    done = run(program)
    said = f"curier.errors.ConfigError: acme needs the package {missing}: pip install 'curier[{extra}]'"
    assert said in done.stderr
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("command", "package"), [("passwd", "argon2"), ("store", "apsw"), ("cert", "cryptography")]
)
def test_commands_that_need_more_say_so(command: str, package: str) -> None:
    done = run(f"import curier.cli; curier.cli.main(['{command}', '--help'])")
    assert done.returncode == 1
    assert (
        done.stderr == f"Error: curier {command} needs the package {package}: pip install 'curier[broker]'\n"
    )
