"""What a command imports before it does anything: half of its time is spent on that, or was.

A module that turns up here unasked belongs into the function that needs it. One that every start of a command
does need is added to the list, after a look at what it costs (``python bench/start.py``).
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import curier
from tests.cli.conftest import BrokerThread

FACE = "curier curier.errors curier.frozen curier.types curier.version"
COMMANDS = f"{FACE} curier.__main__ curier.cli curier.cli.streams curier.unloaded"
CLIENT_COMMAND = f"""{COMMANDS}
    curier.cli.connecting curier.cli.options curier.payloads curier.cli.profiles curier.cli.properties
    curier.cli.running curier.cli.tls_options curier.cli.topics curier.cli.wording
    curier.codec curier.codec.constants curier.codec.filters curier.strict_toml
    curier.topics curier.topics.filters"""
PUB = f"{CLIENT_COMMAND} curier.cli.parameters curier.cli.progress curier.cli.pub curier.cli.sources"
SUB = f"{CLIENT_COMMAND} curier.cli.formats curier.cli.output curier.cli.printing curier.cli.sub"
RR = f"{PUB} curier.cli.formats curier.cli.output curier.cli.printing curier.cli.rr"
CLIENT = f"""{FACE}
    curier.client curier.client.arguments curier.client.buffers curier.client.client curier.client.connecting
    curier.client.dial curier.client.dialing curier.client.dialing.environment
    curier.client.dialing.strangers curier.client.dialing.talk curier.client.dialing.tcp
    curier.client.dialing.threads curier.client.dialing.tls curier.client.dialing.unsent curier.client.events
    curier.client.keeper curier.client.life curier.client.link curier.client.logged curier.client.naming
    curier.client.outbox curier.client.overlaps curier.client.publishing curier.client.received
    curier.client.requests curier.client.router curier.client.session curier.client.settings
    curier.client.signatures curier.client.streams curier.client.subscriptions curier.client.suspicion
    curier.client.urls curier.client.watch
    curier.codec curier.codec.constants curier.codec.decode curier.codec.encode curier.codec.filters
    curier.codec.packets curier.codec.primitives curier.codec.properties curier.codec.publish
    curier.codec.reasons
    curier.protocol curier.protocol.arriving curier.protocol.client curier.protocol.client_alive
    curier.protocol.client_messages
    curier.protocol.connection curier.protocol.events curier.protocol.older
    curier.session curier.session.incoming curier.session.journal curier.session.message
    curier.session.outgoing curier.session.records curier.session.restoring curier.session.session
    curier.topics curier.topics.filters curier.topics.tree"""

COMMON = "import asyncio, ssl, click"
"""What a client command cannot be without. What these import themselves depends on the version of Python."""

OTHERS = {
    *("copy", "dataclasses", "gc", "ipaddress", "mypy_extensions", "urllib", "urllib.parse"),
    *("random", "_random", "bisect", "_bisect", "_sha512", "_sha2"),
}
"""All besides that a client command may import."""

HELP = {"shutil", "fnmatch", "zlib", "bz2", "_bz2", "_compression", "lzma", "_lzma", "click._textwrap"}
"""click's own, for the width of a terminal."""


TELL = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "


def imported(program: str, *words: str) -> set[str]:
    """The modules that a program has when it ends."""
    command = [sys.executable, "-c", TELL + program, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def split(modules: set[str]) -> tuple[set[str], set[str]]:
    """Those of curier, and the others; without those in which the compiled form is kept."""
    ours = {name for name in modules if name.partition(".")[0] == "curier"}
    return ours, {name for name in modules - ours if not name.endswith("__mypyc") and "librt" not in name}


RUN = "from curier.__main__ import run; run('curier')"


@pytest.fixture(scope="module")
def common() -> set[str]:
    return imported(COMMON)


def test_importing_curier_imports_what_is_plain_data() -> None:
    ours, others = split(imported("import curier"))
    assert ours == {*FACE.split()}
    assert not others & {"asyncio", "ssl", "socket", "logging", "click", "threading", "typing_extensions"}


def test_connect_imports_the_client_and_nothing_for_special_wishes(common: set[str]) -> None:
    ours, others = split(imported("import curier; curier.connect"))
    assert ours == {*CLIENT.split()}
    assert others - common <= OTHERS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--help", COMMANDS),
        ("pub --help", PUB),
        ("sub --help", SUB),
        ("rr --help", RR),
        ("pub -p {port} -t start/pub -m hello", f"{PUB} {CLIENT}"),
        ("pub -p {port} -t start/pub -m hello -q 1", f"{PUB} {CLIENT}"),
        ("sub -p {port} -t start/kept -C 1", f"{SUB} {CLIENT}"),
    ],
)
def test_a_command_imports_what_it_runs(
    words: str, expected: str, broker: BrokerThread, common: set[str]
) -> None:
    with curier.connect_sync(f"mqtt://127.0.0.1:{broker.port}") as client:
        client.publish("start/kept", "hello", qos=1, retain=True)
    try:
        ours, others = split(imported(RUN, *words.format(port=broker.port).split()))
    finally:
        with curier.connect_sync(f"mqtt://127.0.0.1:{broker.port}") as client:
            client.publish("start/kept", b"", qos=1, retain=True)
    assert ours == {*expected.split()}
    assert others - common <= OTHERS | (HELP if "--help" in words else set())
