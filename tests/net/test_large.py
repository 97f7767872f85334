"""What is much, in one message or in one read, passes through real sockets a piece at a time, and whole."""

from __future__ import annotations

import asyncio

import pytest

from curier.codec.packets import Pingresp, Publish
from curier.net.wire import TURN_BYTES, WRITE_BYTES
from curier.protocol.connection import STEPS_AT_ONCE
from tests.net import doors
from tests.net.harness import Peer, options, running
from tests.waiting import until

DOORS = "spread"


async def test_a_large_message_for_many_readers(use_reactor: bool) -> None:
    """More than is written in one turn, to each and to all; with small ones behind it."""
    payload = bytes(range(256)) * (WRITE_BYTES * 3 // 256 + 1)
    async with running(use_reactor) as broker:
        peers = [await Peer.connect(broker.port, f"r{number}", 4 + number % 2) for number in range(8)]
        assert len(payload) * len(peers) > 2 * TURN_BYTES
        for peer in peers:
            await peer.subscribe("t")
        sender = await Peer.connect(broker.port, "s", 5)
        await sender.send(Publish("t", payload), Publish("t", b"next"))

        async def take(peer: Peer) -> None:
            for expected in (payload, b"next"):
                packet = await peer.expect(Publish)
                assert packet.payload == expected

        await asyncio.gather(*(take(peer) for peer in peers))


@pytest.mark.doors(*doors.WITH_HALVES)
async def test_who_ends_its_direction_is_answered_to_the_end(use_reactor: bool) -> None:
    count = 5 * STEPS_AT_ONCE
    async with running(use_reactor, options=options()) as broker:
        peer = await Peer.connect(broker.port, "c", 5)
        peer.writer.write(b"\xc0\x00" * count)
        peer.writer.write_eof()
        for _ in range(count):
            await peer.expect(Pingresp)
        await peer.ended()
        await until(lambda: not broker.core.connections)


async def test_who_has_sent_much_goes_on_being_read_from(use_reactor: bool) -> None:
    async with running(use_reactor, options=options()) as broker:
        peer = await Peer.connect(broker.port, "c")
        for _ in range(3):
            peer.writer.write(b"\xc0\x00" * 300_000)
            assert await peer.reader.readexactly(600_000) == b"\xd0\x00" * 300_000
