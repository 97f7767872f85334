"""Slow clients cost only themselves: bounded output, dropped QoS 0, capped queues, publishers that wait."""

from __future__ import annotations

import asyncio
import socket

import pytest

import curier
from curier.codec.packets import Connect, Disconnect, Pingreq, Pingresp, Puback, Publish
from curier.net.reactor import SocketWire
from curier.net.transports import TransportWire
from curier.net.wire import TURN_BYTES
from tests.net import doors
from tests.net.harness import Exchange, Peer, connection_of, options, running
from tests.waiting import until

DOORS = "every"

KIB = 1024


def broker_end(broker: curier.Broker, client_id: str) -> socket.socket:
    """The broker's end of a client's socket; it stays open until this one is closed as well."""
    assert broker._turn is not None
    wire = broker._turn.wires[connection_of(broker, client_id).number]
    if isinstance(wire, SocketWire):
        fd = wire.fd
    else:
        assert isinstance(wire, TransportWire)
        fd = wire.transport.get_extra_info("socket").fileno()
    return socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM)


def allow_long_turns(broker: curier.Broker) -> None:
    """All sockets that are ready are served in one turn, however long that takes."""
    assert broker._turn is not None
    for wire in broker._turn.wires.values():
        if isinstance(wire, SocketWire):
            wire.reactor.turn_seconds = 60.0


def shrink_send_buffer(broker: curier.Broker, client_id: str) -> None:
    """Its kernel takes little."""
    with broker_end(broker, client_id) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * KIB)


async def deaf_subscriber(broker: curier.Broker, topic_filter: str, qos: int) -> Peer:
    """A client that has subscribed, and reads nothing more; both kernels take little for it."""
    deaf = await Peer.connect(broker.port, "deaf", 5, receive_buffer=4 * KIB)
    await deaf.subscribe(topic_filter, qos)
    shrink_send_buffer(broker, "deaf")
    deaf.deafen()
    return deaf


async def test_qos_0_for_a_client_that_does_not_read_is_dropped_and_counted(use_reactor: bool) -> None:
    limits = options(output_soft_limit=256 * KIB)
    payload = bytes(16 * KIB)
    async with running(use_reactor, options=limits) as broker, Exchange(broker.port) as exchange:
        deaf = await deaf_subscriber(broker, "t", 0)
        quick = await Peer.connect(broker.port, "quick")
        await quick.subscribe("t")
        sender = await Peer.connect(broker.port)
        received = 0
        for _ in range(50):
            await sender.send(*[Publish("t", payload)] * 20)
            for _ in range(20):
                received += len((await quick.message()).payload)
            assert connection_of(broker, "deaf").written_unsent <= 256 * KIB + TURN_BYTES
        assert received == 1000 * len(payload)
        connection = connection_of(broker, "deaf")
        assert connection.is_congested
        dropped = broker.core.statistics.dropped
        assert 900 <= dropped < 1000
        await exchange.rounds(5)
        deaf.listen()
        for _ in range(1000 - dropped):  # now it reads: what was kept, and then all that is new
            assert (await deaf.message()).payload == payload
        await until(lambda: not connection.is_congested)
        await sender.send(Publish("t", b"new"))
        assert (await deaf.message()).payload == b"new"
        assert broker.core.statistics.dropped == dropped
        assert connection.unsent == 0


async def test_qos_1_for_a_client_that_does_not_read_waits_up_to_its_cap(use_reactor: bool) -> None:
    limits = options(output_soft_limit=64 * KIB, max_queued_messages=30)
    async with running(use_reactor, options=limits) as broker, Exchange(broker.port) as exchange:
        deaf = await deaf_subscriber(broker, "t", 1)
        sender = await Peer.connect(broker.port)
        for number in range(300):
            await sender.publish("t", b"%04d" % number + bytes(4 * KIB), 1)
        session = broker.core.sessions["deaf"]
        assert len(session.outgoing.queue) == 30
        inflight = session.outgoing.inflight_count()
        dropped = broker.core.statistics.dropped
        assert inflight + 30 + dropped == 300
        await exchange.rounds(5)
        deaf.listen()
        got = [int((await deaf.message()).payload[:4]) for _ in range(inflight + 30)]
        assert got == list(range(inflight + 30))  # the newest were refused
        await sender.publish("t", b"9999", 1)
        assert (await deaf.message()).payload == b"9999"
        assert broker.core.statistics.dropped == dropped


async def test_a_client_over_the_hard_limit_is_told_and_disconnected(use_reactor: bool) -> None:
    limits = options(output_soft_limit=KIB, output_hard_limit=KIB, max_packet_size=4 * KIB)
    async with running(use_reactor, options=limits) as broker, Exchange(broker.port):
        senders = [await Peer.connect(broker.port, version=5) for _ in range(50)]
        for sender in senders:  # so that they are read in large pieces
            await sender.send(*[Publish("nobody/hears", bytes(KIB))] * 300)
            await sender.publish("nobody/hears", b"", 1)
        deaf = await deaf_subscriber(broker, "t", 0)
        await senders[0].publish("t", b"makes the way known", 1)
        end = broker_end(broker, "deaf")
        allow_long_turns(broker)
        for sender in senders:  # much at once: it is all there before anybody can see that it has to wait
            sender.send_soon(*[Publish("t", bytes(KIB))] * 50)
        await until(lambda: "deaf" not in broker.core.sessions)
        with (
            end
        ):  # it has two seconds to be told, which is not what this is about: both kernels take much again
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * KIB * KIB)
            client_end = deaf.writer.get_extra_info("socket")
            client_end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB * KIB)
        deaf.listen()
        while not isinstance(packet := await deaf.receive(), Disconnect):
            assert isinstance(packet, Publish)
        assert packet.reason_code == 0x97
        await deaf.ended()


async def test_a_publisher_that_does_not_read_its_answers_is_not_read_from(use_reactor: bool) -> None:
    limits = options(output_soft_limit=16 * KIB)
    async with running(use_reactor, options=limits) as broker, Exchange(broker.port) as exchange:
        deaf = await Peer.connect(broker.port, "deaf", 5, receive_buffer=4 * KIB)
        shrink_send_buffer(broker, "deaf")
        deaf.deafen()
        # Each answer is larger than its question: it says why.
        count = 6_000 if doors.current().name == "tcp" else 30_000  # clients of other doors read ahead
        publishes = [Publish("$SYS/x", b"", 1, False, False, 1 + number) for number in range(count)]
        await deaf.send(*publishes[: count // 2])
        connection = connection_of(broker, "deaf")
        assert broker._turn is not None
        wire = broker._turn.wires[connection.number]
        await until(lambda: not wire.is_reading)
        deaf.send_soon(*publishes[count // 2 :])
        await exchange.rounds(5)
        await until(lambda: not wire.is_reading)  # a client that reads ahead may still have taken some
        assert 16 * KIB < connection.written_unsent < 16 * KIB + TURN_BYTES
        assert broker.core.statistics.refused < count  # the rest waits where it is
        deaf.listen()
        for publish in publishes:
            puback = await deaf.expect(Puback)
            assert (puback.packet_id, puback.reason_code) == (publish.packet_id, 0x87)
        await deaf.send(Pingreq())
        await deaf.expect(Pingresp)
        assert wire.is_reading


async def read_slowly(broker: curier.Broker) -> float:
    """Longer than 1.5 Keep Alives; the longest time for which nothing was read."""
    loop = asyncio.get_running_loop()
    began = last = loop.time()
    longest = 0.0
    try:
        slow = await Peer.open(broker.port, 5, receive_buffer=4 * KIB)
        await slow.send(Connect(5, "deaf", True, 1))  # Keep Alive of a second
        await slow.receive()
        await slow.subscribe("t")
        connection = connection_of(broker, "deaf")
        shrink_send_buffer(broker, "deaf")
        broker.publish(curier.Message("t", bytes(4_000_000)))
        await until(lambda: connection.is_congested)
        while last < began + 2.5:
            await slow.reader.readexactly(4 * KIB)
            longest, last = max(longest, loop.time() - last), loop.time()
            await asyncio.sleep(0.01)
        assert connection.is_congested
        assert connection_of(broker, "deaf") is connection
    except (AssertionError, EOFError, KeyError, OSError):
        if max(longest, loop.time() - last) < 1.0:
            raise
    return longest


async def test_a_slow_reader_that_takes_bytes_is_not_taken_for_dead(use_reactor: bool) -> None:
    for _ in range(10):
        async with running(use_reactor, options=options(output_soft_limit=64 * KIB)) as broker:
            if await read_slowly(broker) < 1.0:
                return
        # A busy machine has made a deaf client of it.
    pytest.fail("the machine is too busy")


async def test_a_large_burst_that_drains_leaves_no_trace(use_reactor: bool) -> None:
    limits = options(output_soft_limit=1024 * KIB)
    async with running(use_reactor, options=limits) as broker:
        client = await Peer.connect(broker.port, "c", receive_buffer=64 * KIB)
        await client.subscribe("t")
        sender = await Peer.connect(broker.port)
        for _ in range(8):  # each less than the limit, all of them more
            await sender.publish("t", bytes(900 * KIB), 1)
            assert len((await client.message()).payload) == 900 * KIB
        await client.send(Pingreq())
        await client.expect(Pingresp)
        assert connection_of(broker, "c").unsent == 0
        assert broker.core.statistics.dropped == 0


async def test_a_client_over_its_rate_is_not_read_from_until_it_may_send_again(use_reactor: bool) -> None:
    async with running(use_reactor, options=options(max_byte_rate=KIB)) as broker:
        sender = await Peer.connect(broker.port, "sender")
        await sender.send(
            Publish("t", bytes(250 * KIB), 1, packet_id=1)
        )  # for which four minutes are to pass
        await sender.expect(Puback)
        assert broker._turn is not None
        wire = broker._turn.wires[connection_of(broker, "sender").number]
        await until(lambda: not wire.is_reading)
        await sender.send(Publish("t", b"", 1, packet_id=2))
        broker.core.change_options(options(), broker._turn.clock.now())
        broker._turn.schedule()
        await sender.expect(Puback)
        assert wire.is_reading
