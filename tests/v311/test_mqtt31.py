"""MQTT 3.1: what MQIsdp, protocol level 3, does otherwise than 3.1.1."""

from __future__ import annotations

import pytest

from curier.codec.packets import Connack, Connect, Puback, Publish, Pubrec, Pubrel, Suback, Unsuback, Will
from tests.v311.harness import Network
from tests.v311.test_connect import ACCEPTED, answer_to, connect, text

NAME = text("MQIsdp")


def test_it_is_answered_with_connack(net: Network) -> None:
    assert answer_to(net, connect(name=NAME, level=3)) == (ACCEPTED, False)


@pytest.mark.parametrize(("name", "level"), [("MQIsdp", 4), ("MQIsdp", 5), ("MQTT", 3)])
def test_a_level_that_is_not_of_the_name_is_answered_with_code_1(net: Network, name: str, level: int) -> None:
    assert answer_to(net, connect(name=text(name), level=level)) == (b"\x20\x02\x00\x01", True)


def test_there_is_no_session_present_flag(net: Network) -> None:
    first = net.connect("c", 3, clean=False)
    first.subscribe("t")
    first.disconnect()
    net.connect("sender").publish("t", b"kept", 1)
    client = net.open(3)
    client.send(connect(0x00, name=NAME, level=3))
    assert client.heard[:4] == ACCEPTED  # the byte that became the flag is reserved
    connack, publish = client.take()
    assert connack == Connack(False, 0)
    assert isinstance(publish, Publish)
    assert publish.payload == b"kept"


@pytest.mark.parametrize("length", [1, 23, 24, 100])
def test_long_client_identifiers_are_tolerated(net: Network, length: int) -> None:
    net.connect("i" * length, 3)
    assert list(net.core.sessions) == ["i" * length]


@pytest.mark.parametrize("flags", [0x00, 0x02])
def test_an_empty_client_identifier_is_rejected(net: Network, flags: int) -> None:
    assert answer_to(net, connect(flags, text(""), NAME, 3)) == (b"\x20\x02\x00\x02", True)
    assert not net.core.sessions


def test_bits_of_connect_that_3_1_does_not_use(net: Network) -> None:
    assert answer_to(net, connect(0x03, name=NAME, level=3)) == (b"\x20\x02\x00\x00", False)
    assert answer_to(net, b"\x1f" + connect(0x3A, name=NAME, level=3)[1:]) == (b"\x20\x02\x00\x00", False)


def test_an_ill_formed_connect_is_closed_on(net: Network) -> None:
    assert answer_to(net, connect(0x06, text("c"), NAME, 3)) == (b"", True)


def test_marks_of_packets_sent_again_are_tolerated(net: Network) -> None:
    client = net.connect("c", 3)
    client.send(b"\x8a\x06\x00\x01\x00\x01t\x01")
    assert client.take() == [Suback(1, [1])]
    client.send(b"\xaa\x05\x00\x02\x00\x01t")
    assert client.take() == [Unsuback(2, [])]
    client.send(Publish("t", b"", 2, False, False, 3))
    assert client.take() == [Pubrec(3)]
    client.send(b"\x6a\x02\x00\x03")
    assert client.heard[-4:] == b"\x70\x02\x00\x03"
    assert not client.closed


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_both_ways(net: Network, qos: int) -> None:
    watch = net.connect("watch", 3)
    assert watch.subscribe(("t", 2), ("w", 2), ("$share/a", 0)) == [2, 2, 0x80]
    client = net.connect("c", 3, will=Will("w", b"gone", qos))
    client.publish("t", b"x", qos)
    client.drop()
    got = watch.publishes()
    assert [(publish.payload, publish.qos) for publish in got] == [(b"x", qos), (b"gone", qos)]
    watch.acknowledge(*got)


def test_unacknowledged_messages_come_again_with_dup(net: Network) -> None:
    client = net.connect("c", 3, clean=False)
    client.subscribe("t")
    sender = net.connect("sender", 3)
    sender.publish("t", b"one", 1)
    sender.publish("t", b"two", 2)
    one, two = client.publishes()
    client.send(Pubrec(two.packet_id))
    client.drop()
    again = net.connect("c", 3, clean=False)
    assert again.take() == [Pubrel(two.packet_id), Publish("t", b"one", 1, True, False, one.packet_id)]


def test_retained_messages_come_with_the_flag(net: Network) -> None:
    net.connect("sender", 3).publish("t", b"kept", 1, retain=True)
    client = net.connect("c", 3)
    client.subscribe(("t", 1))
    assert client.publishes() == [Publish("t", b"kept", 1, False, True, 1)]
    client.send(Puback(1))


def test_a_shared_subscription_works(net: Network) -> None:
    client = net.connect("c", 3)
    assert client.subscribe(("$share/g/t", 1)) == [1]
    net.connect("sender", 3).publish("t", b"x")
    assert client.payloads() == [b"x"]


def test_a_second_connection_takes_over(net: Network) -> None:
    first = net.connect("c", 3)
    net.connect("c", 3)
    assert first.closed
    assert first.take() == []


def test_a_second_connect_closes(net: Network) -> None:
    client = net.connect("c", 3)
    client.send(Connect(3, "c"))
    assert client.closed
    assert client.take() == []
