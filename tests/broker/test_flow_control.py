"""Receive Maximum in both directions (5.0: 3.3.4, 4.9)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet

statement = pytest.mark.statement


def publish(
    packet_id: int, qos: int = 2, payload: bytes = b"x", topic: str = "t", dup: bool = False
) -> p.Publish:
    return p.Publish(topic, payload, qos, dup, False, packet_id)


def reader(net: Net, count: int, qos: int, **values: Any) -> Client:
    """A client that is subscribed, and has been published ``count`` messages at this QoS."""
    client = net.connect("c", **values)
    client.subscribe("t", "zero")
    sender = net.connect("sender")
    for number in range(count):
        sender.publish("t", b"%d" % number, qos)
    return client


# ---- what a client may send ----


@statement("5.0/MQTT-3.3.4-7", "5.0/MQTT-4.13.1-1", "5.0/MQTT-4.9.0-3")
def test_more_unfinished_messages_than_the_receive_maximum_are_too_many(make: Make) -> None:
    net = make(quiet(receive_maximum=3))
    client = net.connect("c")
    client.send(publish(1), publish(2), publish(3))
    assert [type(packet) for packet in client.take()] == [p.Pubrec] * 3
    client.send(p.Pingreq(), p.Publish("t", b"QoS 0 is no matter"), p.Subscribe(9, [("u", 0)]))
    assert [type(packet) for packet in client.take()] == [p.Pingresp, p.Suback]
    client.send(publish(4))
    assert client.goodbye().reason_code == 0x93


@statement("5.0/MQTT-3.3.4-7")
@pytest.mark.parametrize("qos", [1, 2])
def test_the_next_message_of_any_qos_is_too_many(make: Make, qos: int) -> None:
    net = make(quiet(receive_maximum=1))
    client = net.connect("c")
    client.send(publish(1), publish(2, qos))
    assert client.goodbye().reason_code == 0x93


@statement("5.0/MQTT-3.3.4-7")
def test_a_finished_message_makes_room_for_another(make: Make) -> None:
    net = make(quiet(receive_maximum=2))
    client = net.connect("c")
    for packet_id in range(1, 50):
        client.send(publish(packet_id), publish(packet_id + 100, 1))
        client.send(p.Pubrel(packet_id))
    client.send(publish(1), publish(2))
    client.send(p.Pubrel(1))
    client.send(publish(3))
    client.send(p.Pubrel(3), p.Pubrel(2))
    client.send(publish(1), publish(2))
    assert p.Disconnect not in {type(packet) for packet in client.take()}
    client.send(publish(3))
    assert client.goodbye().reason_code == 0x93


@statement("5.0/MQTT-3.3.4-7")
def test_a_refused_qos_2_message_is_finished(make: Make) -> None:
    net = make(quiet(receive_maximum=1))
    client = net.connect("c")
    for packet_id in range(1, 10):
        client.send(publish(packet_id, topic="$SYS/no"))
    assert {packet.reason_code for packet in client.take() if isinstance(packet, p.Pubrec)} == {0x87}
    client.send(publish(1))
    client.send(publish(2))
    assert client.goodbye().reason_code == 0x93


@statement("5.0/MQTT-3.3.4-7")
def test_a_repeated_message_counts_like_the_first(make: Make) -> None:
    """Nobody may send one again on the same connection (4.4), so this costs who does it."""
    net = make(quiet(receive_maximum=2))
    client = net.connect("c")
    client.send(publish(1), publish(1, dup=True))
    assert client.take() == [p.Pubrec(1, 0x10), p.Pubrec(1)]
    client.send(publish(1, dup=True))
    assert client.goodbye().reason_code == 0x93


def test_an_old_client_may_send_again_as_often_as_it_likes(net: Net) -> None:
    client = net.open()
    client.version = 4
    client.send(p.Connect(4, "c"))
    client.take()
    client.connection.receive_quota = client.connection.receive_quota_maximum = 5
    for _ in range(100):
        client.send(publish(1, dup=True))
    assert client.take() == [p.Pubrec(1)] * 100
    client.send(p.Pubrel(1))
    assert client.take() == [p.Pubcomp(1)]


@statement("5.0/MQTT-3.3.4-7")
def test_the_receive_maximum_begins_anew_with_each_connection(make: Make) -> None:
    net = make(quiet(receive_maximum=2))
    client = net.connect("c", expiry=60)
    client.send(publish(1), publish(2))
    client.drop()
    client = net.connect("c", clean=False)
    client.send(publish(1, dup=True), publish(2, dup=True))
    assert client.take() == [p.Pubrec(1), p.Pubrec(2)]
    client.send(p.Pubrel(1))
    client.send(publish(3))
    assert client.take() == [p.Pubcomp(1), p.Pubrec(3, 0x10)]
    client.send(publish(4))
    assert client.goodbye().reason_code == 0x93


def test_an_old_pubrel_does_not_raise_the_quota_above_its_maximum(make: Make) -> None:
    net = make(quiet(receive_maximum=2))
    client = net.connect("c", expiry=60)
    client.send(publish(1), publish(2))
    client.drop()
    client = net.connect("c", clean=False)
    client.send(p.Pubrel(1), p.Pubrel(2), p.Pubrel(3))
    client.send(publish(5), publish(6))
    assert [type(packet) for packet in client.take()] == [p.Pubcomp] * 3 + [p.Pubrec] * 2
    client.send(publish(7))
    assert client.goodbye().reason_code == 0x93


@statement("5.0/MQTT-3.3.4-7")
def test_a_message_counts_until_its_acknowledgement_may_be_sent() -> None:
    net = Net("journal", quiet(receive_maximum=2))
    keeper = net.connect("keeper", expiry=60)
    keeper.subscribe("t")
    client = net.connect("c")
    net.commits = False
    client.send(publish(1, 1), publish(2, 1))
    assert client.take() == []
    net.commit()
    assert client.take() == [p.Puback(1), p.Puback(2)]
    net.commits = True
    net.turn()
    net.commits = False
    client.send(publish(1, 1), publish(2, 1))
    client.send(publish(3, 1))
    assert client.goodbye().reason_code == 0x93


# ---- what a client is sent ----


@statement("5.0/MQTT-3.3.4-9", "5.0/MQTT-4.9.0-1", "5.0/MQTT-4.9.0-2")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("maximum", [1, 2, 7])
def test_no_more_is_sent_than_the_receive_maximum(net: Net, maximum: int, qos: int) -> None:
    client = reader(net, 20, qos, receive_maximum=maximum)
    got = client.messages()
    assert len(got) == maximum
    payloads = []
    while got:
        payloads.append(got[0].payload)
        client.finish(got.pop(0))
        got += client.messages()
        assert len(got) <= maximum
    assert payloads == [b"%d" % number for number in range(20)]


@statement("5.0/MQTT-3.3.4-9", "5.0/MQTT-4.9.0-2")
def test_a_qos_2_message_counts_until_pubcomp(net: Net) -> None:
    client = reader(net, 3, 2, receive_maximum=1)
    client.expect(p.Publish)
    client.send(p.Pubrec(1), p.Pubrec(1))
    assert client.take() == [p.Pubrel(1), p.Pubrel(1)]
    client.send(p.Pubcomp(1))
    assert client.message().payload == b"1"
    client.send(p.Pubcomp(1), p.Pubcomp(99), p.Puback(99))  # of no avail
    assert client.take() == []


@statement("5.0/MQTT-3.3.4-9")
@pytest.mark.parametrize(
    ("qos", "answers"),
    [
        (1, [p.Puback(1, 0x80)]),
        (1, [p.Puback(1, 0x97)]),
        (2, [p.Pubrec(1, 0x80)]),
        (2, [p.Pubrec(1), p.Pubcomp(1, 0x92)]),
    ],
)
def test_every_final_answer_makes_room(net: Net, qos: int, answers: list[p.Packet]) -> None:
    client = reader(net, 2, qos, receive_maximum=1)
    client.expect(p.Publish)
    client.send(*answers)
    assert client.pop(p.Publish).payload == b"1"


@statement("5.0/MQTT-3.3.4-10", "5.0/MQTT-4.9.0-3")
def test_other_packets_go_though_the_receive_maximum_is_used_up(net: Net) -> None:
    client = reader(net, 5, 2, receive_maximum=1)
    client.expect(p.Publish)
    client.send(p.Pingreq())
    client.expect(p.Pingresp)
    client.subscribe("u")
    client.unsubscribe("u")
    client.publish("elsewhere", b"x", 1)
    client.publish("elsewhere", b"x", 2)
    client.publish("zero", b"QoS 0 as well", 0)
    assert client.payloads() == [b"QoS 0 as well"]
    client.send(p.Pubrec(1))
    assert client.take() == [p.Pubrel(1)]


@statement("5.0/MQTT-4.9.0-1", "5.0/MQTT-3.3.4-9")
def test_without_a_receive_maximum_the_broker_has_its_own(make: Make) -> None:
    net = make(quiet(max_inflight=10))
    assert len(reader(net, 25, 1).messages()) == 10
    other = net.connect("other", receive_maximum=100)
    other.subscribe("t")
    for _ in range(25):
        net.connect("sender").publish("t", b"x", 1)
    assert len(other.messages()) == 10


@statement("5.0/MQTT-3.3.4-9", "5.0/MQTT-4.4.0-1", "5.0/MQTT-4.9.0-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_smaller_receive_maximum_on_the_next_connection_is_kept_to(net: Net, qos: int) -> None:
    client = reader(net, 12, qos, expiry=60, receive_maximum=8)
    assert len(client.messages()) == 8
    client.drop()
    client = net.connect("c", clean=False, expiry=60, receive_maximum=3)
    got: list[p.Publish] = []
    while messages := client.messages():
        got += messages
        client.finish(*messages)
    assert [(m.payload, m.dup) for m in got] == [(b"%d" % number, number < 8) for number in range(12)]


@statement("5.0/MQTT-4.9.0-1", "5.0/MQTT-4.9.0-2")
def test_pubrel_sent_again_takes_nothing_from_the_quota_and_gives_nothing_back(net: Net) -> None:
    client = reader(net, 6, 2, expiry=60, receive_maximum=2)
    client.send(p.Pubrec(1), p.Pubrec(2))
    client.drop()
    client = net.connect("c", clean=False, expiry=60, receive_maximum=2)
    got = client.take()
    assert got[:2] == [p.Pubrel(1), p.Pubrel(2)]
    assert len(got) == 4
    client.send(p.Pubcomp(1), p.Pubcomp(2))
    assert client.take() == []


def test_many_clients_each_have_their_own_quota(net: Net) -> None:
    clients = [net.connect(f"c{number}", receive_maximum=number) for number in range(1, 5)]
    for client in clients:
        client.subscribe("t")
    sender = net.connect("sender")
    for _ in range(10):
        sender.publish("t", b"x", 1)
    assert [len(client.messages()) for client in clients] == [1, 2, 3, 4]
