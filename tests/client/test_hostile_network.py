"""Servers that stop reading, flood, or say nothing, on real sockets: memory is bounded, and the end is clear.

Nothing here depends on how fast anything is: every wait is for something that has to happen.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import curier
from curier.client import life
from curier.client import link as link_module
from curier.client.loop_thread import LoopThread
from curier.codec.encode import encode
from curier.codec.packets import (
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
)
from tests.client.hostile import Peer, hostile
from tests.client.servers import on_every_loop
from tests.client.stage import Watch, life_of
from tests.waiting import until

DOORS = True
QUICK = curier.Reconnect(first=0.01, longest=0.02)
MEGABYTE = b"x" * 2**20


@pytest.mark.slow
@on_every_loop
async def test_a_server_that_stops_reading_is_left_and_nothing_is_lost() -> None:
    """What is published meanwhile waits; keep alive notices, and the next connection has it all."""
    found: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept(session_present=peer.number > 1)
        if peer.number == 1:
            peer.read_no_more()
            await asyncio.Event().wait()
        while True:
            packet = await peer.packet()
            if isinstance(packet, Publish):
                found.append(packet.payload[:2])
                peer.send(Puback(packet.packet_id))
            elif isinstance(packet, Pingreq):
                peer.send(Pingresp())

    async with (
        hostile(script) as url,
        curier.connect(
            url, client_id="me", keep_alive=1, ping_timeout=2, reconnect=QUICK, session_expiry=100
        ) as client,
        Watch(client) as watch,
    ):
        receipts = [client.publish_nowait("a", b"%02d" % number + MEGABYTE, qos=1) for number in range(20)]
        for receipt in receipts:
            await receipt
        lost = next(event for event in watch.events if isinstance(event, curier.ConnectionLost))
        assert "PINGRESP" in str(lost)
        assert list(dict.fromkeys(found)) == [b"%02d" % number for number in range(20)]


@pytest.mark.doors("tcp")  # but on a Unix socket, which holds little
@pytest.mark.parametrize("size", [0, 1000, 2**18])
@on_every_loop
async def test_publishing_without_a_pause_is_refused_before_it_fills_memory(
    tmp_path: Path, size: int
) -> None:
    """No await between the messages: the network gets its turn all the same, and QueueFull says when."""
    stop = asyncio.Event()
    most = 2 * 2**20

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.read_no_more()
        await stop.wait()

    async with (
        hostile(script, str(tmp_path / "socket")) as url,
        curier.connect(url, offline_bytes=most) as client,
    ):

        def publish_all() -> None:
            for _ in range(3 * most // (size + 12)):  # the system holds some as well
                client.publish_nowait("a", bytes(size + 7))

        with pytest.raises(curier.QueueFull, match="offline_bytes"):
            publish_all()
        stop.set()


@pytest.mark.doors("tcp")  # but on a Unix socket, which holds little
@on_every_loop
async def test_a_server_that_has_us_answer_and_reads_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PUBREL for ever, of which each is answered with PUBCOMP: that would fill memory in time."""
    monkeypatch.setattr(link_module, "MOST_ANSWERS", 2**18)
    pubrels = b"\x62\x02\x00\x01" * 4096
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        if peer.number == 1:
            peer.read_no_more()
            await go.wait()
            for _ in range(1000):
                peer.send(pubrels)
                await peer.writer.drain()
        await peer.closed()

    async with (
        hostile(script, str(tmp_path / "socket")) as url,
        curier.connect(url, keep_alive=0, offline_bytes=0, reconnect=QUICK) as client,
        Watch(client) as watch,
    ):
        go.set()
        await until(lambda: "Connected" in watch.kinds())
        assert "does not read" in str(watch.events[0])


@on_every_loop
async def test_a_flood_of_qos_0_is_dropped_counted_and_hides_nothing() -> None:
    """Nobody reads the stream: answers still come through, and the buffer stays as large as it may be."""
    flood = encode(Publish("a", b"x" * 50), 5) * 1000

    async def script(peer: Peer) -> None:
        await peer.accept()
        subscribe = await peer.receive(Subscribe)
        peer.send(Suback(subscribe.packet_id, [0]))
        while True:
            for _ in range(20):
                peer.send(flood)
                await peer.writer.drain()
            publish = await peer.receive(Publish)
            peer.send(Puback(publish.packet_id))

    async with hostile(script) as url, curier.connect(url, linger=0.0) as client:
        stream = await client.subscribe("a", buffer=10, overflow="drop_oldest").open()
        for _ in range(5):
            await client.publish("b", qos=1)
            await asyncio.sleep(0)  # what the loop has read at one go counts behind the readers only
            assert len(stream) < 40_000
        assert stream.dropped + len(stream) == client.statistics.messages_received
        assert stream.dropped >= 80_000


@pytest.mark.parametrize("version", [4, 5])
@on_every_loop
async def test_byte_by_byte(version: int) -> None:
    """A server whose every byte is a chunk of its own, and whose packets end in the next one's beginning."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        subscribe = await peer.receive(Subscribe)
        packets = [Suback(subscribe.packet_id, [1]), *(Publish("a", str(n).encode()) for n in range(50))]
        for byte in b"".join(encode(packet, peer.version) for packet in packets):
            peer.send(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        await peer.closed()

    async with (
        hostile(script) as url,
        curier.connect(url, version=version, client_id="me", linger=0.0) as client,
    ):
        stream = await client.subscribe("a", qos=1).open()
        assert [(await stream.get()).payload for _ in range(50)] == [str(n).encode() for n in range(50)]


# ---- leaving ----


@pytest.mark.parametrize("reads", [True, False])
@on_every_loop
async def test_leaving_a_server_that_answers_nothing(reads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No UNSUBACK, no PUBACK, and nothing is read: leaving ends, and leaves no task behind."""
    # Who reads hears all there is to say, however long the megabytes before it take.
    monkeypatch.setattr(life, "GOODBYE", 30.0 if reads else 0.05)
    left = asyncio.Event()
    seen: list[object] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        subscribe = await peer.receive(Subscribe)
        peer.send(Suback(subscribe.packet_id, [0]))
        if reads:
            while True:
                seen.append(await peer.packet())
        peer.read_no_more()
        await left.wait()

    before = asyncio.all_tasks()
    async with hostile(script) as url:
        servers = asyncio.all_tasks()
        async with curier.connect(url, linger=0.1, keep_alive=0) as client, client.subscribe("a"):
            client.publish_nowait("b", MEGABYTE * 8, qos=1)
        assert not [task for task in asyncio.all_tasks() - servers if "curier" in task.get_name()]
        left.set()
        if reads:
            await until(lambda: any(isinstance(packet, Disconnect) for packet in seen))
            assert any(isinstance(packet, Unsubscribe) for packet in seen)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@on_every_loop
async def test_an_error_in_the_body_does_not_wait_for_unsuback() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        subscribe = await peer.receive(Subscribe)
        peer.send(Suback(subscribe.packet_id, [0]))
        await peer.closed()

    async with hostile(script) as url:
        # Whoever waited would wait for this linger, and the test for ever.
        client = curier.connect(url, linger=86400.0, keep_alive=0)

        async def live() -> None:
            async with client, client.subscribe("a"):
                raise LookupError

        with pytest.raises(LookupError):
            await live()


@pytest.mark.doors("tcp")  # but on a Unix socket, which holds little
@on_every_loop
async def test_leaving_is_cancelled_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However early: no socket stays open, and the session on disk can be opened again."""
    monkeypatch.setattr(life, "GOODBYE", 3600.0)
    monkeypatch.setattr(link_module, "GOODBYE", 0.05)
    stop = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.read_no_more()
        await stop.wait()

    async with hostile(script, str(tmp_path / "socket")) as url:
        for steps in range(1, 9):
            session = curier.Session.disk(tmp_path / "session", "os")
            client = curier.connect(url, client_id="me", session=session, linger=0.0)
            await client.__aenter__()
            client.publish_nowait("a", MEGABYTE)
            client.publish_nowait("a", b"x", qos=1)
            leaving = asyncio.ensure_future(client.__aexit__(None, None, None))
            for _ in range(steps):
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
            assert leaving.cancelled()
            await life_of(client).link.closed()
        stop.set()
    assert not caplog.records  # asyncio would tell of what nobody has caught


# ---- a blocking client, and Ctrl-C ----


@pytest.mark.doors("tcp")
def test_threads_that_wait_when_the_loop_stops_are_told() -> None:
    """Whatever they wait for: an error, not for ever."""
    thread = LoopThread()
    raised: list[BaseException] = []
    waiting = threading.Event()

    async def wait() -> None:
        waiting.set()
        await asyncio.Event().wait()

    def work() -> None:
        try:
            thread.run(wait())
        except curier.MqttError as error:
            raised.append(error)

    other = threading.Thread(target=work)
    other.start()
    assert waiting.wait(100)
    thread.stop()
    other.join(100)
    assert not other.is_alive()
    assert [str(error) for error in raised] == ["the client is closed"]
    with pytest.raises(curier.MqttError, match="closed"):
        thread.run(wait())
    gc.collect()


PROGRAM = """
import asyncio, sys, warnings
import curier
url = sys.argv[2]
async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # no fault of the program on a busy machine
    async with curier.connect(url, linger=1000) as client, client.subscribe("a") as stream:
        client.publish_nowait("b", b"x", qos=1)
        print("ready", flush=True)
        await stream.get()
def sync():
    with curier.connect_sync(url, linger=1000) as client, client.subscribe("a") as stream:
        client.publish_nowait("b", b"x", qos=1)
        print("ready", flush=True)
        next(stream)
try:
    asyncio.run(main(), debug=True) if sys.argv[1] == "async" else sync()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.doors("tcp")
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a program cannot be sent Ctrl-C alone there")
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_ctrl_c_ends_a_program_whose_server_answers_nothing(kind: str) -> None:
    """Once is enough; the server hears of it, and nobody complains on the way out."""
    heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.accept()
        subscribe = await peer.receive(Subscribe)
        peer.send(Suback(subscribe.packet_id, [0]))
        while True:
            packet = await peer.packet()
            if isinstance(packet, Pingreq):
                peer.send(Pingresp())
            if isinstance(packet, Disconnect):
                heard.set_result(None)

    async with hostile(script) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "default",  # tells of what is left open; -X dev would tell of a slow machine, too
            "-c",
            PROGRAM,
            kind,
            url,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (out, err, process.returncode) == (b"interrupted\n", b"", 0)
        await heard
