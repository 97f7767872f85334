"""The last packet says why, and must arrive: a connection is closed behind it, whatever is still unread."""

from __future__ import annotations

import asyncio
import math

import pytest

from curier.auth.base import Authenticator, Credentials, Verdict
from curier.codec.packets import Connack, Connect, Disconnect, Pingreq, Puback, Publish
from curier.net.wire import LINGER_SECONDS, MOST_LINGER_SECONDS, Linger
from tests.net.harness import Peer, connection_of, is_time_to_cut, options, running
from tests.waiting import until

DOORS = "every"

MEGABYTE = bytes(1_000_000)


class Nobody(Authenticator):
    """Lets nobody in, after a while."""

    async def authenticate(self, credentials: Credentials) -> Verdict:
        await asyncio.sleep(0.01)
        return Verdict(0x87, "nobody may come in")


@pytest.mark.parametrize("version", [4, 5])
async def test_a_refusal_reaches_a_client_that_goes_on_sending(use_reactor: bool, version: int) -> None:
    async with running(use_reactor, authenticator=Nobody()) as broker:
        peer = await Peer.open(broker.port, version)
        peer.send_soon(Connect(version, "c"), *[Publish("t", MEGABYTE) for _ in range(4)])
        connack = await peer.expect(Connack)
        assert connack.reason_code == (0x87 if version == 5 else 5)
        if version == 5:
            assert connack.properties is not None
            assert connack.properties.reason_string == "nobody may come in"
        await peer.ended()


async def test_a_protocol_error_is_told_to_a_client_that_goes_on_sending(use_reactor: bool) -> None:
    async with running(use_reactor) as broker:
        peer = await Peer.connect(broker.port, "c", 5)
        await peer.send(b"\x36\x05\x00\x01t\x00\x01", *[Publish("t", MEGABYTE) for _ in range(4)])
        disconnect = await peer.expect(Disconnect)
        assert disconnect.reason_code == 0x81
        assert disconnect.properties is not None
        assert "[MQTT-3.3.1-4]" in (disconnect.properties.reason_string or "")
        await peer.ended()


async def test_a_client_that_says_goodbye_gets_what_it_is_owed(use_reactor: bool) -> None:
    async with running(use_reactor) as broker:
        peer = await Peer.connect(broker.port, "c", 5)
        await peer.subscribe("t")
        await peer.send(*[Publish("t", MEGABYTE, 1, packet_id=number) for number in (1, 2, 3)], Disconnect())
        got = [await peer.receive() for _ in range(6)]
        assert sum(isinstance(packet, Puback) for packet in got) == 3
        assert sum(isinstance(packet, Publish) and packet.payload == MEGABYTE for packet in got) == 3
        await peer.ended()
        await until(lambda: not broker.core.connections)


async def test_a_takeover_is_told(use_reactor: bool) -> None:
    async with running(use_reactor) as broker:
        first = await Peer.connect(broker.port, "c", 5)
        async with await Peer.connect(broker.port, "c", 5) as second:
            assert (await first.expect(Disconnect)).reason_code == 0x8E
            await first.ended()
            await second.publish("t", b"", 1)
        await first.close()


async def test_messages_before_the_last_packet_arrive_too(use_reactor: bool) -> None:
    async with running(use_reactor) as broker:
        peer = await Peer.connect(broker.port, "c", 5)
        await peer.subscribe("t")
        await peer.send(*[Publish("t", MEGABYTE) for _ in range(5)], b"\x00\x00")
        for _ in range(5):
            assert (await peer.message()).payload == MEGABYTE
        assert (await peer.expect(Disconnect)).reason_code == 0x81
        await peer.ended()


@pytest.mark.parametrize("unread", [b"", MEGABYTE * 7])
async def test_a_client_that_does_not_close_is_cut(
    use_reactor: bool, unread: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curier.net.transports.LINGER_SECONDS", 0.05)
    async with running(use_reactor) as broker:
        peer = await Peer.connect(broker.port, "c", receive_buffer=4096)
        await peer.subscribe("t")
        if unread:
            await peer.send(Publish("t", unread))
            await until(lambda: broker.core.traffic.publishes_sent == 1)
        await peer.send(Pingreq(), b"\x00\x00")
        wires = broker._reactor.wires if broker._reactor else broker._transports.wires  # type: ignore[union-attr]
        await until(lambda: not broker.core.connections)
        await until(lambda: is_time_to_cut(broker) and not wires)


def looks(*unsent: int) -> list[bool]:
    """Of a wire with so many unsent bytes when it is closed, and at each look after."""
    linger = Linger(unsent[0], 100.0)
    return [
        linger.goes_on(left, 100.0 + LINGER_SECONDS * number) for number, left in enumerate(unsent[1:], 1)
    ]


def test_a_slow_reader_is_looked_at_again_while_what_it_has_not_taken_gets_less() -> None:
    assert looks(100, 99, 98, 98) == [True, True, False]
    assert looks(100, 0, 0) == [True, False]
    assert looks(0, 0) == [False]
    assert looks(100, 100) == [False]
    times = int(MOST_LINGER_SECONDS / LINGER_SECONDS)
    assert looks(*range(100, 100 - times - 1, -1)) == [True] * (times - 1) + [False]


async def test_a_slow_reader_gets_its_last_packet() -> None:
    async with running(True) as broker, await Peer.connect(broker.port, "other") as other:
        reactor = broker._reactor
        if reactor is None:
            pytest.skip("no epoll here")
        peer = await Peer.connect(broker.port, "c", 5, receive_buffer=4096)
        await peer.subscribe("t")
        await other.publish("t", MEGABYTE * 7, 1)
        await (await Peer.connect(broker.port, "c", 5)).close()  # takes over
        await until(lambda: len(reactor.cuts) == 1)
        (wire,) = [wire for wire in reactor.wires.values() if wire.is_closing]
        linger = wire.linger
        assert linger is not None
        assert linger.unsent > 1_000_000
        assert len((await peer.message()).payload) == len(MEGABYTE) * 7
        reactor.cuts[0] = (0.0, *reactor.cuts[0][1:])  # the time has come
        reactor._cut()
        assert wire.fd >= 0
        assert len(reactor.cuts) == 1
        assert (await peer.expect(Disconnect)).reason_code == 0x8E
        reactor.cuts[0] = (0.0, *reactor.cuts[0][1:])
        reactor._cut()
        assert (wire.fd >= 0) is bool(reactor.cuts)
        reactor.cuts.clear()
        await peer.close()
        await until(lambda: wire.fd < 0)


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_client_that_closes_is_let_go_at_once(
    use_reactor: bool, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curier.net.transports.LINGER_SECONDS", 1000)
    async with running(use_reactor, options=options(output_soft_limit=1000)) as broker:
        peer = await Peer.connect(broker.port, "c", 5)
        if is_slow:  # so slow that it is not read from
            await peer.subscribe("t")
            await peer.send(Publish("t", MEGABYTE * 7))
            await until(lambda: connection_of(broker, "c").is_congested)
        await Peer.connect(broker.port, "c", 5)  # takes over
        if is_slow:
            assert len((await peer.message()).payload) == len(MEGABYTE) * 7
        assert (await peer.expect(Disconnect)).reason_code == 0x8E
        await peer.ended()
        assert is_time_to_cut(broker, math.inf)
        await peer.close()
        wires = broker._reactor.wires if broker._reactor else broker._transports.wires  # type: ignore[union-attr]
        await until(lambda: len(wires) == 1)


async def test_a_client_that_vanishes_with_output_on_its_way(use_reactor: bool) -> None:
    async with (
        running(use_reactor, options=options()) as broker,
        await Peer.connect(broker.port, "other") as other,
    ):
        peer = await Peer.connect(broker.port, "c", receive_buffer=4096)
        await peer.subscribe("t")
        for _ in range(10):
            await other.publish("t", MEGABYTE, 1)
        connection = connection_of(broker, "c")
        assert connection.written_unsent > 0
        peer.reset()
        await until(lambda: "c" not in broker.core.sessions)
        await other.publish("t", MEGABYTE, 1)
