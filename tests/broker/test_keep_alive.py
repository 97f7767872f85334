"""Keep Alive, Server Keep Alive and PINGREQ (5.0: 3.1.2.10, 3.2.2.3.14, 3.12)."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer
from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet

statement = pytest.mark.statement

DAY = 86_400.0


def server_keep_alive(client: Client) -> int | None:
    assert client.connack is not None
    assert client.connack.properties is not None
    return client.connack.properties.server_keep_alive


@statement("5.0/MQTT-3.1.2-22", "5.0/MQTT-3.2.2-22")
@pytest.mark.parametrize("keep_alive", [1, 10, 65535])
def test_a_client_is_closed_on_after_one_and_a_half_times_its_keep_alive(net: Net, keep_alive: int) -> None:
    client = net.connect("c", keep_alive=keep_alive)
    assert server_keep_alive(client) is None
    net.advance(keep_alive * 1.5 - 0.1)
    assert client.take() == []
    net.advance(0.1)
    assert client.goodbye().reason_code == 0x8D


@statement("5.0/MQTT-3.1.2-22")
@pytest.mark.parametrize(
    "packet",
    [
        p.Pingreq(),
        p.Publish("t", b""),
        p.Publish("t", b"", 1, packet_id=1),
        p.Puback(9),
        p.Unsubscribe(1, ["t"]),
    ],
    ids=lambda packet: type(packet).__name__,
)
def test_every_packet_keeps_a_client_alive(net: Net, packet: p.Packet) -> None:
    client = net.connect("c", keep_alive=10)
    for _ in range(20):
        net.advance(14)
        client.send(packet)
    client.take()
    net.advance(14.9)
    assert client.take() == []
    net.advance(0.1)
    assert client.goodbye().reason_code == 0x8D


@statement("5.0/MQTT-3.1.2-22")
def test_what_a_client_is_sent_does_not_keep_it_alive(net: Net) -> None:
    client = net.connect("c", keep_alive=10)
    client.subscribe("t")
    sender = net.connect("sender")
    for _ in range(3):
        net.advance(5)
        sender.publish("t", b"x")
    assert client.goodbye().reason_code == 0x8D


@statement("5.0/MQTT-3.2.2-22")
def test_keep_alive_0_is_no_keep_alive(net: Net) -> None:
    client = net.connect("c")
    net.advance(400 * DAY)
    assert client.take() == []
    assert not client.closed


@statement("5.0/MQTT-3.1.2-22", "5.0/MQTT-3.1.2-21", "5.0/MQTT-3.2.2-21")
@pytest.mark.parametrize(
    ("asked", "told", "seconds"), [(0, 60, 90), (61, 60, 90), (60, None, 90), (10, None, 15)]
)
def test_the_broker_may_set_a_shorter_keep_alive(
    make: Make, asked: int, told: int | None, seconds: float
) -> None:
    net = make(quiet(keep_alive_maximum=60))
    client = net.connect("c", keep_alive=asked)
    assert server_keep_alive(client) == told
    net.advance(seconds - 0.1)
    assert not client.take()
    net.advance(0.1)
    assert client.goodbye().reason_code == 0x8D


def test_the_silence_of_a_client_that_is_kept_waiting_is_not_its_own(make: Make) -> None:
    net = make(authorize=lambda question: None)
    client = net.connect("c", keep_alive=10)
    client.send(p.Publish("t", b"x", 1, packet_id=1))
    net.advance(100)
    assert not client.closed
    net.answer(Answer(0))
    assert client.take() == [p.Puback(1, 0x10)]
    net.advance(14.9)
    assert client.take() == []
    net.advance(15.1)
    assert client.goodbye().reason_code == 0x8D


@statement("5.0/MQTT-3.1.2-22")
def test_keep_alive_ends_with_the_connection(net: Net) -> None:
    net.connect("c", keep_alive=10, expiry=1000).drop()
    client = net.connect("c", clean=False)
    net.advance(100)
    assert not client.closed
    assert client.take() == []


@statement("5.0/MQTT-3.12.4-1")
def test_pingreq_is_answered_with_pingresp(net: Net) -> None:
    client = net.connect("c")
    client.send(p.Pingreq())
    client.expect(p.Pingresp)
    client.send(p.Pingreq(), p.Pingreq())
    assert client.take() == [p.Pingresp(), p.Pingresp()]
    client.send(b"\xc0")
    assert client.take() == []
    client.send(b"\x00")
    client.expect(p.Pingresp)


def test_one_deadline_watches_a_connection_however_long_it_lasts(net: Net) -> None:
    client = net.connect("c", keep_alive=10)
    for _ in range(100):
        net.advance(10)
        client.send(p.Pingreq())
    assert len(net.core.deadlines) == 1
