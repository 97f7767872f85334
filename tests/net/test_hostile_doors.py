"""Strangers at listeners with layers, who want the broker to work for them, or to keep what they say."""

from __future__ import annotations

import asyncio
import time

import pytest

from curier.net.handshakes import Handshakes
from curier.net.layers import MOST_KEPT, Layers
from curier.net.tls import Tls, whole_records
from curier.net.wire import LINGER_SECONDS, Wire
from tests.net.doors import TlsDoor
from tests.net.harness import options, running
from tests.net.test_tls_layer import Client, server_context
from tests.waiting import until


def hello() -> bytes:
    client = Client()
    client.step()
    return client.outgoing.read()


# ---- handshakes ----


def test_a_hello_in_single_bytes_is_one_step() -> None:
    layers = Layers([Tls(server_context())])
    *first, last = hello()
    for byte in first:
        assert layers.receive(bytes((byte,))) == b""
        assert not layers.is_busy
    layers.receive(bytes((last,)))
    assert layers.needs_work
    layers.work()
    layers.worked()
    assert layers.receive(b"") == b""
    assert len(layers.take()) > 500  # our certificate


def test_a_hello_cut_before_what_looks_like_the_last_step_is_left_to_threads() -> None:
    said = hello()
    while 0x17 not in said[11:43]:  # the client's random
        said = hello()
    at = said.index(0x17, 11)
    layers = Layers([Tls(server_context())])
    layers.receive(said[:at])
    if layers.needs_work:
        layers.work()
        layers.worked()
    layers.receive(b"")
    layers.receive(said[at:])
    assert layers.needs_work
    assert not layers.waiting  # nothing is signed yet


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", 0),
        (b"\x16\x03\x01\0", 0),
        (b"\x16\x03\x01\0\x02a", 0),
        (b"\x16\x03\x01\0\x02ab", 7),
        (b"\x16\x03\x01\0\x02ab\x14\x03\x03\0\x01a\x17\x03", 13),
        (b"\x16\x03\x01\0\0", 5),
        (b"\x16\x02\x01\0\x02a", 6),  # no version of TLS
        (b"\x16\x03\x01\x48\x01a", 6),  # longer than a record may be
    ],
)
def test_whole_records(data: bytes, whole: int) -> None:
    assert whole_records(data) == whole


def test_no_more_is_received_while_a_step_is_taken() -> None:
    layers = Layers([Tls(server_context())])
    layers.receive(hello())
    layers.taken()
    assert not layers.is_full
    layers.receive(bytes(MOST_KEPT))
    assert layers.is_full
    layers.work()
    layers.worked()
    assert not layers.is_full


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
