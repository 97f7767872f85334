"""Strangers at listeners with layers, who want the broker to work for them, or to keep what they say."""

from __future__ import annotations

import asyncio
import time

import pytest

from curier.net.handshakes import Handshakes
from curier.net.wire import LINGER_SECONDS, Wire
from tests.net.doors import TlsDoor
from tests.net.harness import options, running
from tests.net.test_tls_layer import Client
from tests.waiting import until


def hello() -> bytes:
    client = Client()
    client.step()
    return client.outgoing.read()


async def test_who_has_gone_while_nobody_takes_their_step_costs_nothing(
    use_reactor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Wire] = []

    def take(self: Handshakes, wire: Wire) -> None:
        assert wire.layers is not None
        wire.layers.taken()
        taken.append(wire)

    monkeypatch.setattr(Handshakes, "take", take)
    listen = [TlsDoor().listener()]
    async with running(use_reactor, listen=listen, options=options(connect_timeout=0.1)) as broker:
        _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(hello())
        await until(lambda: bool(taken) and taken[0].connection.is_closed())
        writer.close()
        began = time.process_time()
        await asyncio.sleep(LINGER_SECONDS)
        assert time.process_time() - began < LINGER_SECONDS / 2  # nor does the loop spin
