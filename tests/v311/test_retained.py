"""Retained messages (3.1.1: 3.3.1.3)."""

from __future__ import annotations

import pytest

from curier.codec.packets import Puback, Publish, Suback, Subscribe
from tests.each import each
from tests.v311.conftest import Make
from tests.v311.harness import Network, quiet

statement = pytest.mark.statement


@statement("3.1.1/MQTT-3.3.1-5", "3.1.1/MQTT-3.3.1-6", "3.1.1/MQTT-3.3.1-8")
@each("published", [0, 1, 2])
@each("granted", [0, 1, 2])
def test_a_new_subscription_is_sent_the_retained_message(make: Make, published: int, granted: int) -> None:
    net = make()
    net.connect("sender").publish("t", b"kept", published, retain=True)
    client = net.connect()
    client.subscribe(("t", granted))
    qos = min(published, granted)
    assert client.publishes() == [Publish("t", b"kept", qos, False, True, 1 if qos else 0)]


@statement("3.1.1/MQTT-3.3.1-6")
def test_the_last_one_of_each_matching_topic(net: Network) -> None:
    sender = net.connect("sender")
    for number in range(3):
        for topic in ("a/b", "a/c", "a", "b/c"):
            sender.publish(topic, b"%s %d" % (topic.encode(), number), number, retain=True)
    client = net.connect()
    client.subscribe("a/#")
    assert sorted(client.payloads()) == [b"a 2", b"a/b 2", b"a/c 2"]
    client.subscribe("+/c")
    assert sorted(client.payloads()) == [b"a/c 2", b"b/c 2"]
    client.subscribe("nothing")
    assert client.take() == []


@statement("3.1.1/MQTT-3.3.1-6", "3.1.1/MQTT-4.7.2-1")
def test_wildcards_find_no_retained_messages_of_the_server(make: Make) -> None:
    net = make()
    options = quiet()
    options.sys_interval = 10.0
    net = make(options)
    net.turn()
    net.advance(11)
    client = net.connect()
    client.subscribe("#", "+/broker/version")
    assert client.take() == []
    client.subscribe("$SYS/broker/version")
    (publish,) = client.publishes()
    assert (publish.topic, publish.retain) == ("$SYS/broker/version", True)


@statement("3.1.1/MQTT-3.3.1-7")
def test_a_retained_message_of_qos_0_displaces_the_stored_one(net: Network) -> None:
    sender = net.connect("sender")
    sender.publish("t", b"one", 2, retain=True)
    sender.publish("t", b"two", 0, retain=True)
    client = net.connect()
    client.subscribe("t")
    assert client.payloads() == [b"two"]


@statement("3.1.1/MQTT-3.3.1-9")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_established_subscription_sees_no_retain_flag(net: Network, qos: int) -> None:
    client = net.connect()
    client.subscribe("t")
    net.connect("sender").publish("t", b"x", qos, retain=True)
    (publish,) = client.publishes()
    assert not publish.retain


@statement("3.1.1/MQTT-3.3.1-9")
def test_what_waited_for_a_session_has_no_retain_flag(net: Network) -> None:
    client = net.connect("c", clean=False)
    client.subscribe("t")
    client.disconnect()
    net.connect("sender").publish("t", b"x", 1, retain=True)
    (publish,) = net.connect("c", clean=False).publishes()
    assert not publish.retain


@statement("3.1.1/MQTT-3.3.1-10", "3.1.1/MQTT-3.3.1-11")
def test_an_empty_payload_removes_and_is_passed_on(net: Network) -> None:
    sender = net.connect("sender")
    sender.publish("t", b"x", 1, retain=True)
    sender.publish("u", b"y", 1, retain=True)
    client = net.connect()
    client.subscribe("t")
    assert client.payloads() == [b"x"]
    sender.publish("t", b"", 1, retain=True)
    assert [(p.payload, p.retain) for p in client.publishes()] == [(b"", False)]
    late = net.connect("late")
    late.subscribe("#")
    assert late.payloads() == [b"y"]


@statement("3.1.1/MQTT-3.3.1-11")
def test_an_empty_payload_where_nothing_is_stored(net: Network) -> None:
    net.connect("sender").publish("t", b"", 1, retain=True)
    assert len(net.core.retained) == 0
    client = net.connect()
    client.subscribe("t")
    assert client.take() == []


@statement("3.1.1/MQTT-3.3.1-12")
@pytest.mark.parametrize("payload", [b"other", b""])
def test_without_the_flag_nothing_stored_changes(net: Network, payload: bytes) -> None:
    sender = net.connect("sender")
    sender.publish("u", payload, 1)
    sender.publish("t", b"kept", 1, retain=True)
    sender.publish("t", payload, 1)
    client = net.connect()
    client.subscribe("#")
    assert client.payloads() == [b"kept"]


@statement("3.1.1/MQTT-3.8.4-3", "3.1.1/MQTT-3.3.1-6")
def test_the_same_subscription_again_brings_them_again(net: Network) -> None:
    net.connect("sender").publish("t", b"kept", 1, retain=True)
    client = net.connect()
    for qos in (1, 1, 0, 2):
        client.subscribe(("t", qos))
        (publish,) = client.publishes()
        assert (publish.payload, publish.retain, publish.qos) == (b"kept", True, min(qos, 1))
        client.acknowledge(publish)


def test_a_session_that_comes_back_is_not_sent_them_again(net: Network) -> None:
    net.connect("sender").publish("t", b"kept", 1, retain=True)
    client = net.connect("c", clean=False)
    client.subscribe("t")
    client.acknowledge(*client.publishes())
    client.disconnect()
    assert net.connect("c", clean=False).take() == []


def test_suback_comes_before_them(net: Network) -> None:
    net.connect("sender").publish("t", b"kept", 0, retain=True)
    client = net.connect()
    client.send(Subscribe(5, [("t", 0), ("t", 1)]))
    packets = client.take()
    assert packets[0] == Suback(5, [0, 1])
    assert packets[1:] == [Publish("t", b"kept", 0, False, True)] * 2


@pytest.mark.parametrize("qos", [0, 1])
def test_thousands_of_them_arrive_each_once(make: Make, qos: int) -> None:
    options = quiet()
    options.max_inflight = 100
    net = make(options)
    sender = net.connect("sender")
    topics = [f"t/{number}" for number in range(700)]
    for topic in topics:
        sender.publish(topic, b"x", qos, retain=True)
    client = net.connect()
    client.subscribe(("t/+", 1))
    got: list[str] = []
    while batch := client.publishes():
        got += [publish.topic for publish in batch]
        if qos:
            assert len(batch) <= 100
            client.send(*[Puback(publish.packet_id) for publish in batch])
    assert sorted(got) == sorted(topics)
