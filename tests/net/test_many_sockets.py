"""Many sockets that are ready, or at their end, at once: others have their turns meanwhile."""

from __future__ import annotations

import asyncio
import socket
import termios
import time
from fcntl import ioctl
from itertools import pairwise
from struct import unpack

import pytest

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec.constants import MQTT_50
from curier.codec.encode import encode
from curier.codec.packets import Connect, Disconnect, Pingresp, Publish
from curier.net import reactor
from curier.session.message import ApplicationMessage
from tests.net.harness import Peer, running
from tests.waiting import until

MANY = 3 * reactor.MOST_ENDS

only_reactor = pytest.mark.skipif(not reactor.IS_AVAILABLE, reason="each transport of asyncio has a callback")


class Slow(Hook):
    """Takes half of a turn's time for each message, and notes whose it was."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.seconds = reactor.TURN_SECONDS / 2

    def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        assert connection is not None
        self.seen.append(connection.client_id)
        time.sleep(self.seconds)
        return 0


def arrived(peers: list[Peer]) -> None:
    """Wait, and let nobody else do anything, until what they wrote lies in the sockets of the broker."""
    for peer in peers:
        number = peer.writer.get_extra_info("socket").fileno()
        while unpack("i", ioctl(number, termios.TIOCOUTQ, bytes(4)))[0]:
            time.sleep(0.001)


@only_reactor
async def test_sockets_are_served_in_turn_while_there_is_time() -> None:
    slow = Slow()
    async with running(True, hooks=[slow]) as broker:
        peers = [await Peer.connect(broker.port, f"c{number}", 5) for number in range(12)]
        for peer in peers:
            peer.writer.write(encode(Publish("t", b"x"), 5) * 2 + b"\xc0\x00")
        seen = [0]
        while len(slow.seen) < 24:
            await asyncio.sleep(0)
            seen.append(len(slow.seen))
        assert max([after - before for before, after in pairwise(seen)]) <= 4  # two sockets
        assert sorted(slow.seen[::2]) == sorted({f"c{number}" for number in range(12)})
        for peer in peers:
            await peer.expect(Pingresp)


@only_reactor
async def test_those_that_have_more_wait_for_those_that_were_left() -> None:
    slow = Slow()
    async with running(True, hooks=[slow]) as broker:
        peers = [await Peer.connect(broker.port, f"c{number}", 5) for number in range(6)]
        for peer in peers:
            peer.writer.write(encode(Publish("t", bytes(440)), 5) * 100)
        arrived(peers)
        everybody = {f"c{number}" for number in range(6)}
        await until(lambda: everybody <= set(slow.seen))
        first = [number for number, name in enumerate(slow.seen) if name not in slow.seen[:number]]
        until_then = slow.seen[: first[-1]]  # who looks may come later
        # Where milliseconds are long a turn serves one of each kind, and one may say twice as much each time:
        # 31 messages in the five turns until the turn of the last one.
        assert max([until_then.count(name) for name in everybody]) < 100
        slow.seconds = 0.0


@only_reactor
@pytest.mark.parametrize("says_goodbye", [False, True])
async def test_connections_end_a_few_hundred_in_a_turn(says_goodbye: bool) -> None:
    async with running(True) as broker:
        core = broker.core
        clients: list[socket.socket] = []
        for number in range(MANY):
            clients.append(socket.create_connection(("127.0.0.1", broker.port)))
            clients[-1].sendall(encode(Connect(MQTT_50, f"c{number}"), MQTT_50))
            if number % 50 == 0:
                await until(lambda: core.statistics.connected == len(clients))
        await until(lambda: core.statistics.connected == MANY)
        for client in clients:
            if says_goodbye:
                client.sendall(encode(Disconnect(), MQTT_50))
            client.close()
        left = [MANY]
        while left[-1]:
            await asyncio.sleep(0)
            left.append(len(core.connections))
        assert max([before - after for before, after in pairwise(left)]) <= reactor.MOST_ENDS
