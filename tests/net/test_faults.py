"""Whatever strangers do to a running broker, two clients go on exchanging messages, and memory stays bounded.

The broker is a process of its own, one for all tests of a wire: what one of them leaves behind the next ones
have to bear, and at the end neither file descriptors nor much memory may be missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import curier
from curier.codec.encode import encode
from curier.codec.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Will,
)
from tests.net import doors
from tests.net.conftest import PLAIN, Way, name_of
from tests.net.harness import ChildBroker, Exchange, Peer
from tests.waiting import until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
LIMITS: dict[str, Any] = {
    "connect_timeout": 120.0,  # hundreds connect at once, on a machine that may have other work
    "output_soft_limit": MIB,
    "max_queued_messages": 1000,
    "max_queued_bytes": 4 * MIB,
    "max_subscriptions": 10_000,
}


WAYS: list[Way] = [*PLAIN, (PLAIN[0][0], "wss"), (False, "tls")] if curier.COMPILED else PLAIN
"""All tests go by each of them, one way after the other."""


@pytest.fixture(scope="module", params=WAYS, ids=name_of)
def on_epoll(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Which wire all tests here use meanwhile, by the door that goes with it."""
    on, door = request.param
    with doors.going_by(door):
        yield on


@pytest.fixture(scope="module")
def child(on_epoll: bool) -> Iterator[ChildBroker]:
    with ChildBroker(on_epoll, **LIMITS) as child:
        yield child


@pytest.fixture(scope="module")
def impatient(on_epoll: bool) -> Iterator[ChildBroker]:
    """Waits for a CONNECT no longer than tests can: a busy machine may come too late with it."""
    with ChildBroker(on_epoll, connect_timeout=1.5) as child:
        yield child


@contextlib.asynccontextmanager
async def unharmed(child: ChildBroker, most_mib: int = 16, tries: int = 1) -> AsyncIterator[Exchange]:
    """Two clients exchange messages throughout; memory grows by less than ``most_mib``, no file is left."""
    files = child.open_files()
    before = peak = child.memory_bytes()

    async def measure() -> None:
        nonlocal peak
        while True:
            peak = max(peak, child.memory_bytes())
            await asyncio.sleep(0.01)

    measuring = asyncio.create_task(measure())
    try:
        async with Exchange(child.port, tries) as exchange:
            yield exchange
            await exchange.rounds(10)
    finally:
        measuring.cancel()
    await Peer.close_all()
    await until(lambda: child.open_files() <= files)
    assert peak - before < most_mib * MIB, f"{(peak - before) / MIB:.0f} MiB"


async def read_to_end(peer: Peer) -> bytes:
    """All that comes until the broker ends the connection, in whatever manner."""
    data = b""
    with contextlib.suppress(OSError):
        while chunk := await peer.reader.read(65_536):
            data += chunk
    return data


async def left(peer: Peer) -> None:
    """Send no more, and be told nothing."""
    peer.leave()
    assert await read_to_end(peer) == b""


async def test_garbage(child: ChildBroker) -> None:
    chaos = random.Random(1)
    async with unharmed(child) as exchange:
        for round_ in range(6):
            peers = [await Peer.open(child.port) for _ in range(20)]
            for index, peer in enumerate(peers):
                if index % 2:
                    peer.send_soon(Connect(4 + round_ % 2, "", True, 1))
                peer.writer.write(chaos.randbytes(chaos.choice((1, 2, 10, 1000, 50_000))))
            await exchange.rounds(3)
            await Peer.close_all_but(exchange)


async def test_packets_that_end_in_the_middle(child: ChildBroker) -> None:
    connect = encode(Connect(4, "half", True, 60, "user", b"password", Will("w", b"x")), 4)
    publish = encode(Publish("t", bytes(1000), 1, False, False, 1), 4)
    async with unharmed(child) as exchange:
        for size in range(len(connect)):
            peer = await Peer.open(child.port)
            await peer.send(connect[:size])
            await left(peer)
        for size in (1, 2, 3, 4, 10, 500, len(publish) - 1):
            peer = await Peer.connect(child.port, "half")
            await peer.send(publish[:size])
            await left(peer)
        await exchange.rounds(3)


async def strangers(port: int, count: int) -> list[Peer]:
    """Who has come through the door, in the time there is for that: all, but on a busy machine."""
    peers: list[Peer] = []
    while len(peers) < count:
        with contextlib.suppress(curier.ConnectionLost, OSError, EOFError):
            peers.append(await Peer.open(port))
    return peers


async def test_a_connect_that_never_comes(impatient: ChildBroker) -> None:
    async with unharmed(impatient, tries=20):
        peers = await strangers(impatient.port, 200)
        assert [await read_to_end(peer) for peer in peers] == [b""] * 200


async def test_a_connect_that_comes_byte_by_byte_but_not_in_time(impatient: ChildBroker) -> None:
    connect = encode(Connect(4, "c" * 60_000), 4)
    async with unharmed(impatient, tries=20):
        peers = await strangers(impatient.port, 20)
        ends = [asyncio.create_task(read_to_end(peer)) for peer in peers]
        for byte in connect:
            if all(end.done() for end in ends):
                break
            for peer, end in zip(peers, ends, strict=True):
                if not end.done():
                    peer.writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        assert [end.result() for end in ends] == [b""] * 20


async def test_a_message_that_comes_in_crumbs(child: ChildBroker) -> None:
    publish = encode(Publish("t", bytes(100_000), 1, False, False, 1), 4)
    async with unharmed(child, 8):
        peers = [await Peer.connect(child.port) for _ in range(10)]
        for start in range(0, len(publish), 100):
            for peer in peers:
                await peer.send(publish[start : start + 100])
            await asyncio.sleep(0)
        for peer in peers:
            assert await peer.expect(Puback) == Puback(1)


async def test_large_messages_that_are_only_announced(child: ChildBroker) -> None:
    async with unharmed(child, 8) as exchange:
        for first in (b"\x10", b"\x30"):  # 256 MiB, before and after CONNECT: refused at once
            for _ in range(20):
                if first == b"\x30":
                    peer = await Peer.connect(child.port)
                else:
                    peer = await Peer.open(child.port)
                await peer.send(first + b"\xff\xff\xff\x7f\x00\x04MQTT")
                assert await read_to_end(peer) == b""
        for _ in range(50):  # 15 MiB, which might come
            peer = await Peer.connect(child.port)
            await peer.send(b"\x30\x80\x80\xc0\x07\x00\x01t", bytes(1000))
        await exchange.rounds(10)


async def test_clients_that_never_read(child: ChildBroker) -> None:
    async with unharmed(child, 64) as exchange:
        for number in range(20):
            deaf = await Peer.connect(child.port, f"deaf-{number}", 4 + number % 2, receive_buffer=4096)
            await deaf.subscribe("flood", number % 3)
        quick = await Peer.connect(child.port, "quick")
        await quick.subscribe("flood", 0)
        flooder = await Peer.connect(child.port)
        for _ in range(100):  # 25 MiB to each
            await flooder.publish("flood", bytes(256 * 1024), 1)
            await quick.message()
        await exchange.rounds(10)


async def test_ten_thousand_subscriptions_of_one_client(child: ChildBroker) -> None:
    async with unharmed(child, 32) as exchange:
        greedy = await Peer.connect(child.port, "greedy")
        for start in range(0, 10_000, 1000):
            filters = [(f"a/{number}/+/#", 0) for number in range(start, start + 1000)]
            await greedy.send(Subscribe(1, filters))
            assert set((await greedy.expect(Suback)).reason_codes) == {0}
        await greedy.send(Subscribe(1, [("one/too/many", 0), ("a/1/+/#", 0)]))
        assert (await greedy.expect(Suback)).reason_codes == [0x80, 0]
        await exchange.rounds(10)
        sender = await Peer.connect(child.port)
        await sender.publish("a/7777/b/c", b"found")
        assert (await greedy.message()).payload == b"found"


async def test_deep_topics(child: ChildBroker) -> None:
    deep = "/" * 30_000
    async with unharmed(child) as exchange:
        peer = await Peer.connect(child.port)
        for _ in range(10):
            await peer.publish(deep, b"x", 1, retain=True)
            await peer.send(Subscribe(1, [(deep, 0), ("+/" * 20_000 + "#", 0)]))
            assert (await peer.expect(Suback)).reason_codes == [0x80, 0x80]
        stranger = await Peer.open(child.port)
        await stranger.send(Connect(4, "deep", True, 0, None, None, Will(deep, b"")))
        assert await read_to_end(stranger) == b""
        await exchange.rounds(3)


async def test_a_flood_of_connects_half_of_them_dead(child: ChildBroker) -> None:
    async with unharmed(child) as exchange:
        for _ in range(4):
            peers = await asyncio.gather(*[Peer.open(child.port) for _ in range(120)])
            for index, peer in enumerate(peers):
                if index % 2:
                    peer.send_soon(Connect(4, f"flood-{index}"))
                elif index % 4:
                    peer.reset()
            for index, peer in enumerate(peers):
                if index % 2:
                    assert (await peer.expect(Connack)).reason_code == 0
                    if index % 3:
                        peer.reset()
            await exchange.rounds(1)
            await Peer.close_all_but(exchange)


async def test_many_connections_with_the_same_client_identifier(child: ChildBroker) -> None:
    async with unharmed(child) as exchange:
        peers = [await Peer.connect(child.port, "twin", 5, clean=False) for _ in range(200)]
        for peer in peers[:-1]:
            assert (await peer.expect(Disconnect)).reason_code == 0x8E
        await peers[-1].send(Pingreq())
        await peers[-1].expect(Pingresp)
        await exchange.rounds(3)


async def test_clients_that_vanish(child: ChildBroker) -> None:
    async with unharmed(child):
        watch = await Peer.connect(child.port, "watch")
        await watch.subscribe("gone/#")
        for number in range(50):  # with RST, at once
            peer = await Peer.connect(child.port, f"v-{number}", will=Will(f"gone/{number}", b""))
            peer.reset()
        for number in range(50, 100):  # without a word
            await Peer.connect(child.port, f"v-{number}", keep_alive=1, will=Will(f"gone/{number}", b""))
        gone = {(await watch.message()).topic for _ in range(100)}
        assert gone == {f"gone/{number}" for number in range(100)}


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1])
async def test_connect_and_ten_thousand_messages_at_once(child: ChildBroker, qos: int, version: int) -> None:
    async with unharmed(child):
        watch = await Peer.connect(child.port, "watch")
        await watch.subscribe("t", 0)
        peer = await Peer.open(child.port, version)
        publishes: list[Packet] = [
            Publish("t", b"%d" % number, qos, False, False, number + 1 if qos else 0)
            for number in range(10_000)
        ]
        peer.send_soon(Connect(version, "hasty"), *publishes)
        for number in range(10_000):
            assert (await watch.message()).payload == b"%d" % number
        assert (await peer.expect(Connack)).reason_code == 0
        for number in range(10_000 if qos else 0):
            assert (await peer.expect(Puback)).packet_id == number + 1


async def test_connect_and_twenty_thousand_qos_2_messages_that_are_not_released(child: ChildBroker) -> None:
    async with unharmed(child):
        peer = await Peer.open(child.port)
        ids = range(1, 20_001)
        peer.send_soon(
            Connect(4, "hasty"), *[Publish("t", b"", 2, False, False, packet_id) for packet_id in ids]
        )
        assert (await peer.expect(Connack)).reason_code == 0
        heard = await peer.reader.readexactly(4 * len(ids))
        assert heard == b"".join(encode(Pubrec(packet_id), 4) for packet_id in ids)
        peer.send_soon(*[Pubrel(packet_id) for packet_id in ids])
        heard = await peer.reader.readexactly(4 * len(ids))
        assert heard == b"".join(encode(Pubcomp(packet_id), 4) for packet_id in ids)


async def test_no_file_descriptors_left(on_epoll: bool) -> None:
    child = ChildBroker(on_epoll, max_files=64)
    with contextlib.closing(child._log):
        async with Exchange(child.port) as exchange:
            peers = [await Peer.knock(child.port) for _ in range(100)]  # the kernel takes them all
            await until(lambda: "Too many open files" in child.log())
            await exchange.rounds(10)
            for peer in peers[64:]:  # those it has no room for are not left to wait
                await peer.ended()
            spent = child.cpu_seconds()
            for peer in [await Peer.knock(child.port) for _ in range(10)]:
                await peer.ended()
            assert child.cpu_seconds() - spent < 0.2
            assert child.log().count("Too many open files") == 1
            for peer in peers:
                await peer.close()
            await until(lambda: child.open_files() < 32)
            async with await Peer.connect(child.port) as late:  # there is room again
                await late.publish("t", b"", 1)
            await exchange.rounds(10)
        assert child.stop() == 0
        assert "Traceback" not in child.log()


async def test_a_broker_that_has_borne_all_this_rests(child: ChildBroker) -> None:
    spent = child.cpu_seconds()
    await asyncio.sleep(0.5)
    assert child.cpu_seconds() - spent < 0.2
