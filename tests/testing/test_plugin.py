"""The pytest plugin, in pytest runs of its own: with every plugin that runs async tests, and for free."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from curier.errors import ConfigError
from curier.testing.served import ServedBroker

pytestmark = pytest.mark.once

PLUGIN = "curier.testing.plugin"


def run(folder: Path, text: str, *words: str, autoload: bool = False) -> str:
    """What pytest says of a file with these tests; no plugin is there but curier's and those in ``words``."""
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    if not autoload:
        command += ["-W", "error", "-p", PLUGIN]
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    environment.pop("PYTEST_ADDOPTS", None)
    path = [os.path.abspath(one) for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one]
    environment["PYTHONPATH"] = os.pathsep.join([*path, str(folder)])
    done = subprocess.run(
        [*command, "test_it.py"], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.stdout + done.stderr


ASYNC = """
import asyncio
import pytest

async def chat(mqtt_client):
    async with mqtt_client() as client:
        async with client.subscribe("a/#", qos=1) as messages:
            await client.publish("a/b", b"x", qos=1)
            assert (await anext(aiter(messages))).payload == b"x"

@pytest.fixture
def anyio_backend():
    return "asyncio"

{one}
async def test_one(mqtt_client):
    await chat(mqtt_client)

{two}
async def test_two(mqtt_client):  # on another loop, where each test has its own
    await chat(mqtt_client)

def test_sync(mqtt_client, mqtt_broker):
    with mqtt_client.sync() as client:
        client.publish("a", b"x", qos=1)
    assert mqtt_broker.url == f"mqtt://127.0.0.1:{{mqtt_broker.port}}"
"""

ASYNCIO = "pytest_asyncio.plugin"

WAYS = {  # the mark of the first test, of the second one, and the plugins
    "strict": (
        "@pytest.mark.asyncio",
        '@pytest.mark.asyncio(loop_scope="session")',
        ["-p", ASYNCIO, "-o", "asyncio_mode=strict"],
    ),
    "auto": ("", "", ["-p", ASYNCIO, "-p", "anyio", "-o", "asyncio_mode=auto"]),
    "anyio": ("@pytest.mark.anyio", "@pytest.mark.anyio", ["-p", "anyio"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_async_tests_are_run_by_whoever_runs_them(way: str, tmp_path: Path) -> None:
    one, two, words = WAYS[way]
    text = ASYNC.format(one=one, two=two)
    if way != "anyio":
        words = [*words, "-o", "asyncio_default_fixture_loop_scope=function"]
    if way == "auto":
        words = [*words, "-o", "asyncio_default_test_loop_scope=session"]
    told = run(tmp_path, text, *words)
    assert "3 passed" in told, told


FAILING = """
import pytest

def test_pair(mqtt_pair):
    mqtt_pair.faults.add("lose 1st PUBACK to me")
    receipt = mqtt_pair.connect("me").publish("a/b", b"x", qos=1)
    mqtt_pair.run(1)
    assert receipt.reason_code == 0

def test_served(mqtt_client):
    with mqtt_client.sync(client_id="served") as client:
        client.publish("served/topic", b"x", qos=1)
    raise AssertionError

def test_faulty(mqtt_client, mqtt_faults):
    mqtt_faults.add("answer PUBLISH with 0x97")
    with mqtt_client.sync(client_id="faulty") as client:
        client.publish("faulty/topic", b"x", qos=1)

def test_good(mqtt_pair):
    mqtt_pair.connect("nobody sees this")
"""


def test_the_traffic_of_failed_tests_is_drawn_where_it_is_asked_for(tmp_path: Path) -> None:
    told = run(tmp_path, FAILING, "--curier-trace")
    assert "3 failed, 1 passed" in told, told
    pair, served, faulty = (part.partition("\n____")[0] for part in told.split("- MQTT traffic -")[1:])
    assert "by the rule 'lose 1st" in pair
    assert "waits on broker: PUBACK #1" in pair
    assert "served/topic" not in pair
    assert "│ PUBLISH q1 #1  served/topic │" in served
    assert "nobody gets it" in served
    assert "faulty/topic" in faulty
    assert "0x97" in faulty
    assert "nobody sees this" not in told


def test_or_as_lines_or_not_at_all(tmp_path: Path) -> None:
    told = run(tmp_path, FAILING, "--curier-trace", "--curier-trace-as=packets", "-k", "pair")
    assert "✗" in told
    assert "PUBLISH q1 #1  a/b" in told
    told = run(tmp_path, FAILING, "-k", "pair")
    assert "1 failed" in told
    assert "MQTT traffic" not in told


def test_nothing_is_imported_where_nothing_is_used(tmp_path: Path) -> None:
    text = """
import sys

def test_it():
    known = "curier curier.errors curier.frozen curier.testing curier.testing.plugin curier.types"
    assert sorted(name for name in sys.modules if name.partition(".")[0] == "curier") == [
        *known.split(), "curier.version"
    ]
    assert "asyncio" not in sys.modules
"""
    told = run(tmp_path, text)
    assert "1 passed" in told, told


SETTINGS = """
import curier
import pytest
from curier.auth import Authenticator, Verdict

class Nobody(Authenticator):
    async def authenticate(self, credentials):
        return Verdict(0x86)

@pytest.fixture(scope="session")
def mqtt_broker_settings():
    return {"authenticator": Nobody()}

def test_it(mqtt_client):
    with pytest.raises(curier.ConnectRefused):
        with mqtt_client.sync():
            pass
"""


def test_the_broker_has_the_settings_of_the_project(tmp_path: Path) -> None:
    told = run(tmp_path, SETTINGS)
    assert "1 passed" in told, told
    with pytest.raises(ConfigError, match="leave out listen"):
        ServedBroker({"listen": "tcp://127.0.0.1"})


@pytest.mark.slow
def test_every_worker_of_xdist_has_a_broker_of_its_own(tmp_path: Path) -> None:
    text = "\n".join(
        f"def test_{number}(mqtt_client):\n    with mqtt_client.sync(): pass\n" for number in range(4)
    )
    told = run(tmp_path, text, "-p", "xdist", "-n", "2")
    assert "4 passed" in told, told


@pytest.mark.slow
def test_the_plugin_registers_itself_and_can_be_left_out(tmp_path: Path) -> None:
    """As a package that is installed, beside all other plugins of this machine."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"curier": PLUGIN}
    installed = tmp_path / "installed-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[pytest11]\ncurier = {PLUGIN}\n")
    text = "def test_it(mqtt_pair): pass\n"
    for words, outcome in ((("-q",), "1 passed"), (("-p", "no:curier"), "fixture 'mqtt_pair' not found")):
        told = run(tmp_path, text, *words, autoload=True)
        assert outcome in told, told
