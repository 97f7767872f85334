"""Strangers who begin packets and never end them do not take the memory of the machine."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from curier.codec.encode import encode
from curier.codec.packets import Publish
from tests.net.harness import ChildBroker, Exchange, Peer
from tests.waiting import until

pytestmark = pytest.mark.slow
DOORS = "spread"

MIB = 1024 * 1024
BEGUN = encode(Publish("t", bytes(15 * MIB)), 5)[:-100]


async def begin(port: int, name: str) -> Peer:
    """A client that sends all but the end of a large message, or as much as the broker takes."""
    peer = await Peer.connect(port, name)
    with contextlib.suppress(OSError):
        for at in range(0, len(BEGUN), MIB):
            await peer.send(BEGUN[at : at + MIB])
    return peer


async def test_unfinished_packets_take_no_more_than_all_clients_may_hold(use_reactor: bool) -> None:
    with ChildBroker(use_reactor, memory_limit=64 * MIB) as child:
        before = peak = child.memory_bytes()
        async with Exchange(child.port) as exchange:
            for number in range(20):
                await begin(child.port, f"c{number}")
                peak = max(peak, child.memory_bytes())
            await exchange.rounds(10)
            await Peer.close_all_but(exchange)
        await Peer.close_all()
    # What is given back may stay with the C library for a while; all 20 would be 300 MiB.
    assert 32 * MIB < peak - before < 200 * MIB


@pytest.fixture
def program(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`curier broker`, on any port."""
    settings = tmp_path / "curier.toml"
    settings.write_text('listen = ["tcp://127.0.0.1:0"]\nmemory = true\nlog_level = "error"\n')
    command = [sys.executable, "-m", "curier", "broker", "--config", str(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.send_signal(signal.SIGTERM)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries do as they do")
async def test_what_a_flood_has_taken_goes_back_to_the_system(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    port = int(program.stdout.readline().rpartition(":")[2])
    seen = psutil.Process(program.pid)
    before = seen.memory_info().rss
    for number in range(12):
        await begin(port, f"c{number}")
    assert seen.memory_info().rss - before > 150 * MIB
    await Peer.close_all()
    await until(lambda: seen.memory_info().rss - before < 40 * MIB)
