"""Who is next with a handshake, and who has to go where too many wait."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator

import pytest

from curier.broker.core import BrokerCore
from curier.net import handshakes
from curier.net.clock import Clock
from curier.net.handshakes import Handshakes
from curier.net.layers import Layers
from curier.net.tls import Tls
from curier.net.turn import Turn
from curier.net.wire import Wire
from tests.net.doors import server_files, trusting
from tests.net.harness import options
from tests.waiting import until

order: list[str] = []


class Comer(Wire):
    """A client that has said its ClientHello."""

    def __init__(self, turn: Turn, address: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*server_files())
        super().__init__(turn.attach(address, "tls"), Layers([Tls(context)]))
        turn.add(self)
        outgoing = ssl.MemoryBIO()
        client = trusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        assert self.layers is not None
        self.layers.receive(outgoing.read())

    def worked(self) -> None:
        assert self.layers is not None
        self.layers.worked()
        order.append(self.connection.address)
        assert self.layers.receive(b"") == b""
        assert len(self.layers.take()) > 500  # our certificate

    def close(self) -> None:
        pass


@pytest.fixture
async def turn() -> AsyncIterator[Turn]:
    order.clear()
    clock = Clock()
    made = Turn(BrokerCore(options(), clock.now()), asyncio.get_running_loop(), clock, lambda effect: None)
    yield made
    made.stop()


async def test_without_threads_a_step_is_taken_where_it_is_wanted(turn: Turn) -> None:
    made = Handshakes(turn, threads=0)
    made.take(Comer(turn, "192.0.2.1:1"))
    assert order == ["192.0.2.1:1"]


FLOOD = [f"192.0.2.1:{port}" for port in range(10)]


async def test_places_take_turns(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "SLICE_SECONDS", 0.0)
    made = Handshakes(turn, threads=0)
    for address in [*FLOOD, "198.51.100.1:1", "[2001:db8::1]:1", "[2001:db8::2]:1"]:
        made.take(Comer(turn, address))
    assert made.waiting == 13
    await until(lambda: len(order) == 13)
    assert set(order[1:3]) == {"198.51.100.1:1", "[2001:db8::1]:1"}
    assert order.index("[2001:db8::2]:1") == 4  # of the network of the other
    assert [address for address in order if address in FLOOD] == FLOOD
    assert not turn.core.take_faults()


async def test_without_threads_others_have_their_turn_between(
    turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "SLICE_SECONDS", 0.0)
    made = Handshakes(turn, threads=0)
    for address in FLOOD:
        made.take(Comer(turn, address))
    seen = []
    while made.waiting:
        await asyncio.sleep(0)
        seen.append(len(order))
    assert seen == sorted(set(seen))[: len(seen)]
    assert len(seen) >= len(FLOOD)


async def test_where_the_line_is_full_the_place_with_the_most_gives_way(
    turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(handshakes, "MOST_WAITING", 5)
    made = Handshakes(turn, threads=0)
    comers = [Comer(turn, address) for address in FLOOD]
    for comer in comers:
        made.take(comer)
    assert [comer.connection.is_closed() for comer in comers] == [False] * 5 + [True] * 5
    other = Comer(turn, "198.51.100.1:1")
    made.take(other)
    assert not other.connection.is_closed()
    assert comers[4].connection.is_closed()
    await until(lambda: len(order) == 5)
    assert "198.51.100.1:1" in order


async def test_threads_take_the_steps_and_the_loop_is_told(turn: Turn) -> None:
    made = Handshakes(turn, threads=2)
    comers = [Comer(turn, f"192.0.2.{number}:1") for number in range(100)]
    for comer in comers:
        made.take(comer)
    comers[-1].connection.end(0x80, "gone", turn.clock.now())
    await until(lambda: len(order) == 99)
    assert sum(thread.name == "curier-handshakes" for thread in threading.enumerate()) == 2
    made.stop()
    assert not any(thread.name == "curier-handshakes" for thread in threading.enumerate())
    assert not turn.core.take_faults()


async def test_an_error_with_one_costs_only_that_one(
    turn: Turn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Handshakes(turn, threads=0)
    bad, good = Comer(turn, "192.0.2.1:1"), Comer(turn, "192.0.2.2:1")

    def fails() -> None:
        raise ValueError("on purpose")

    monkeypatch.setattr(bad, "worked", fails)
    made.take(bad)
    made.take(good)
    await until(lambda: bad.connection.is_closed() and bool(order))
    assert order == ["192.0.2.2:1"]
    assert not good.connection.is_closed()
    await until(lambda: "a TLS handshake" in caplog.text)
