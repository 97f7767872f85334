"""Hundreds of connections that end at once: others have their turns meanwhile."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise

import pytest

from curier.codec.constants import MQTT_50
from curier.codec.encode import encode
from curier.codec.packets import Connect, Disconnect
from curier.net import reactor
from tests.net.harness import running
from tests.waiting import until

MANY = 3 * reactor.MOST_ENDS


@pytest.mark.skipif(not reactor.IS_AVAILABLE, reason="asyncio's transports end in callbacks of their own")
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
