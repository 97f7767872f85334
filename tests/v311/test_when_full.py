"""Publishers that wait where a receiver has no room and nothing may be dropped: ``when_full = "refuse"``."""

from __future__ import annotations

import pytest

from curier.broker.stalling import MOST_BYTES, StallWatch
from curier.codec.packets import Packet, Pingreq, Pingresp, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.v311.conftest import Make
from tests.v311.harness import Client, Network, quiet

ROOM = 2  # messages


@pytest.fixture
def net(make: Make) -> Network:
    options = quiet()
    options.max_queued_messages = ROOM
    options.when_full = "refuse"
    return make(options)


@pytest.fixture
def sender(net: Network) -> Client:
    """A publisher; the one who is to get its messages is away."""
    away = net.connect("away", clean=False)
    away.subscribe("t")
    away.drop()
    return net.connect("sender")


def publishes(count: int, qos: int = 1, first: int = 1) -> list[Packet]:
    numbers = range(first, first + count)
    return [Publish("t", b"%d" % n, qos, False, False, n if qos else 0) for n in numbers]


def closed(client: Client) -> bool:
    return client.closed


def paused(client: Client) -> bool:
    return client.connection.paused


def test_what_has_no_room_is_answered_when_it_has(net: Network, sender: Client) -> None:
    sender.send(*publishes(5))
    assert sender.take() == [Puback(1), Puback(2)]
    net.advance(3600)
    assert sender.take() == []
    back = net.connect("away", clean=False)
    net.advance(0.1)
    assert sender.take() == [Puback(3), Puback(4), Puback(5)]
    assert back.payloads() == [b"1", b"2", b"3", b"4", b"5"]


def test_qos_2_too(net: Network, sender: Client) -> None:
    sender.send(*publishes(3, 2))
    assert sender.take() == [Pubrec(1), Pubrec(2)]
    sender.send(Pubrel(1))
    assert sender.take() == [Pubcomp(1)]
    net.connect("away", clean=False)
    net.advance(0.1)
    assert sender.take() == [Pubrec(3)]


def test_nothing_overtakes_a_message_that_waits(net: Network, sender: Client) -> None:
    watch = net.connect("watch")
    watch.subscribe("t", "other")
    sender.send(*publishes(3), Publish("other", b"qos 0"), Publish("other", b"qos 1", 1, False, False, 9))
    assert watch.payloads() == [b"1", b"2"]
    sender.send(Pingreq())
    assert sender.take() == [Puback(1), Puback(2), Pingresp()]
    net.connect("away", clean=False)
    net.advance(0.1)
    assert watch.payloads() == [b"3", b"qos 0", b"qos 1"]
    assert sender.take() == [Puback(3), Puback(9)]


@pytest.mark.parametrize("qos", [0, 1])
def test_it_goes_on_a_part_of_the_way(net: Network, sender: Client, qos: int) -> None:
    sender.send(*publishes(9))
    assert len(sender.take()) == ROOM
    for _ in range(3):
        back = net.connect("away", clean=False)
        got = back.publishes()
        back.drop()  # without an answer: nothing of it has gone
        assert len(got) >= ROOM
    net.advance(0.1)
    answered = ROOM + len(sender.take())
    session = net.core.sessions["away"]
    assert len(session.outgoing.unfinished()) == answered


def test_a_client_may_make_room_for_itself(net: Network) -> None:
    client = net.connect("c", clean=False)
    client.subscribe("t")
    connection = client.connection
    session = connection.server_session
    assert session is not None
    session.outgoing.open(1)  # as if it took one at a time
    client.send(*publishes(6))
    answered: list[Packet] = []
    for _ in range(6):
        packets = client.take()
        answered += [packet for packet in packets if isinstance(packet, Puback)]
        client.acknowledge(*[packet for packet in packets if isinstance(packet, Publish)])
        net.advance(0.1)
    packets = client.take()
    answered += [packet for packet in packets if isinstance(packet, Puback)]
    assert answered == [Puback(n) for n in range(1, 7)]


@pytest.mark.parametrize("clean", [True, False])
def test_it_goes_on_when_the_session_ends(net: Network, sender: Client, clean: bool) -> None:
    sender.send(*publishes(4))
    sender.take()
    net.connect("away", clean=clean).disconnect()
    net.advance(0.1)
    assert sender.take() == [Puback(3), Puback(4)]


def test_who_puts_off_too_much_is_not_read_from(net: Network, sender: Client) -> None:
    payload = bytes(MOST_BYTES // 4)
    sender.send(*publishes(2))
    for packet_id in range(3, 12):
        sender.send(Publish("t", payload, 1, False, False, packet_id))
    assert paused(sender)
    assert len(sender.take()) == ROOM
    back = net.connect("away", clean=False)
    for _ in range(20):
        back.acknowledge(*back.publishes())
        net.advance(0.1)
    assert sender.take() == [Puback(packet_id) for packet_id in range(3, 12)]
    assert not paused(sender)
    assert net.core.take_welcomed()[-1] is sender.connection


def test_what_waits_goes_with_its_connection(net: Network, sender: Client) -> None:
    sender.send(*publishes(5))
    sender.disconnect()
    net.advance(1)
    net.connect("away", clean=False)
    assert net.core.statistics.queued_bytes == 0
    assert isinstance(net.core.stalls, StallWatch)
    assert net.core.stalls.connections == []


def test_what_is_wrong_with_it_is_said_when_it_is_looked_at(net: Network, sender: Client) -> None:
    sender.send(*publishes(3), b"\x32\x05\x00\x01+\x00\x09")
    assert not closed(sender)
    back = net.connect("away", clean=False)
    net.advance(0.1)
    assert closed(sender)
    assert back.payloads() == [b"1", b"2", b"3"]
