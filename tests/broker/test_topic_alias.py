"""Topic Aliases in both directions (5.0: 3.3.2.3.4, 3.3.4)."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer
from curier.codec import packets as p
from curier.codec.properties import Properties
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties

statement = pytest.mark.statement


def aliased(topic: str, alias: int, payload: bytes = b"x", qos: int = 0) -> p.Publish:
    return p.Publish(topic, payload, qos, False, False, 5 if qos else 0, properties(topic_alias=alias))


def alias_of(message: p.Publish) -> int | None:
    made = message.properties
    return made.topic_alias if isinstance(made, Properties) else None


# ---- aliases of a client ----


@pytest.fixture
def reader(net: Net) -> Client:
    client = net.connect("reader")
    client.subscribe("#")
    return client


@statement("5.0/MQTT-3.3.2-12")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("alias", [1, 2, 31, 32])
def test_every_alias_within_the_maximum_is_taken(net: Net, reader: Client, alias: int, qos: int) -> None:
    client = net.connect("c")
    client.send(aliased("a/b", alias, b"1", qos), aliased("", alias, b"2"), aliased("", alias, b"3"))
    got = reader.messages()
    assert [(message.topic, message.payload) for message in got] == [
        ("a/b", b"1"),
        ("a/b", b"2"),
        ("a/b", b"3"),
    ]
    assert {alias_of(message) for message in got} == {None}


@statement("5.0/MQTT-3.3.2-12")
def test_aliases_are_independent_and_may_be_set_anew(net: Net, reader: Client) -> None:
    client = net.connect("c")
    client.send(
        aliased("a", 1), aliased("b", 2), aliased("", 1), aliased("", 2), aliased("c", 1), aliased("", 1)
    )
    client.send(aliased("", 2))
    assert [message.topic for message in reader.messages()] == ["a", "b", "a", "b", "c", "c", "b"]


@statement("5.0/MQTT-3.2.2-17", "5.0/MQTT-3.3.2-9", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize("alias", [33, 65535])
@pytest.mark.parametrize("qos", [0, 1])
def test_an_alias_above_the_maximum_is_refused(net: Net, alias: int, qos: int) -> None:
    client = net.connect("c")
    client.send(aliased("t", alias, qos=qos))
    assert client.goodbye().reason_code == 0x94
    assert client.take() == []


@statement("5.0/MQTT-3.2.2-18")
def test_without_a_maximum_no_alias_is_taken(make: Make) -> None:
    client = make(quiet(topic_alias_maximum=0)).connect("c")
    client.send(aliased("t", 1))
    assert client.goodbye().reason_code == 0x94


@statement("5.0/MQTT-3.3.2-8")
def test_alias_0_is_refused(net: Net) -> None:
    client = net.connect("c")
    client.send(bytes.fromhex("30 07 0001 74 03 230000"))
    assert client.goodbye().reason_code == 0x94


@statement("5.0/MQTT-4.13.1-1")
def test_an_alias_that_was_not_set_is_a_protocol_error(net: Net, reader: Client) -> None:
    client = net.connect("c")
    client.send(aliased("t", 1), aliased("", 2))
    assert client.goodbye().reason_code == 0x82
    assert len(reader.messages()) == 1


@statement("5.0/MQTT-4.13.1-1", "5.0/MQTT-4.7.3-1")
def test_neither_topic_nor_alias_is_a_protocol_error(net: Net) -> None:
    client = net.connect("c")
    client.send(bytes.fromhex("30 04 0000 00 78"))
    assert client.goodbye().reason_code == 0x82


@statement("5.0/MQTT-3.3.2-7")
def test_aliases_end_with_the_connection(net: Net, reader: Client) -> None:
    client = net.connect("c", expiry=60)
    client.send(aliased("t", 1))
    client.drop()
    client = net.connect("c", clean=False)
    client.send(aliased("", 1))
    assert client.goodbye().reason_code == 0x82
    assert len(reader.messages()) == 1


def test_each_client_has_its_own_aliases(net: Net, reader: Client) -> None:
    one, two = net.connect("one"), net.connect("two")
    one.send(aliased("of/one", 1))
    two.send(aliased("of/two", 1))
    one.send(aliased("", 1))
    assert [message.topic for message in reader.messages()] == ["of/one", "of/two", "of/one"]


def test_a_refused_message_sets_its_alias_all_the_same(make: Make) -> None:
    """The client cannot know: it may have sent the next one already."""
    net = make(authorize=lambda question: Answer(0x87 if question.qos == 1 else 0))
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe(("#", 0))
    client.send(aliased("t", 1, b"no", 1), aliased("", 1, b"yes"))
    assert client.expect(p.Puback).reason_code == 0x87
    assert [(message.topic, message.payload) for message in reader.messages()] == [("t", b"yes")]


# ---- aliases of the broker ----


@statement("5.0/MQTT-3.1.2-27", "5.0/MQTT-3.3.2-11")
@pytest.mark.parametrize("maximum", [None, 0])
def test_a_client_without_a_maximum_is_sent_no_alias(net: Net, maximum: int | None) -> None:
    client, sender = net.connect("c", topic_alias_maximum=maximum), net.connect("sender")
    client.subscribe("#")
    for _ in range(3):
        sender.publish("some/topic", b"x")
    assert [(message.topic, alias_of(message)) for message in client.messages()] == [("some/topic", None)] * 3


@statement("5.0/MQTT-3.1.2-26", "5.0/MQTT-3.3.2-11", "5.0/MQTT-3.3.2-8")
@pytest.mark.parametrize("maximum", [1, 3, 65535])
def test_aliases_stay_within_the_maximum_of_the_client(net: Net, maximum: int) -> None:
    client, sender = net.connect("c", topic_alias_maximum=maximum), net.connect("sender")
    client.subscribe("#")
    known: dict[int, str] = {}
    for _ in range(3):
        for number in range(50):
            sender.publish(f"topic/{number}", b"%d" % number, number % 3)
            message = client.message()
            client.finish(message)
            alias = alias_of(message)
            if alias is not None:
                assert 0 < alias <= maximum
                known[alias] = message.topic or known[alias]
            topic = message.topic or known[alias or 0]
            assert (topic, message.payload) == (f"topic/{number}", b"%d" % number)
    assert len(known) == min(maximum, 32)


@statement("5.0/MQTT-3.3.2-7", "5.0/MQTT-4.4.0-1")
def test_the_aliases_of_the_broker_end_with_the_connection(net: Net) -> None:
    client, sender = net.connect("c", expiry=60, topic_alias_maximum=5), net.connect("sender")
    client.subscribe("some/topic")
    sender.publish("some/topic", b"1", 1)
    sender.publish("some/topic", b"2", 1)
    client.drop()
    client = net.connect("c", clean=False, topic_alias_maximum=5)
    sender.publish("some/topic", b"3", 1)
    got = client.messages()
    assert [message.payload for message in got] == [b"1", b"2", b"3"]
    assert got[0].topic == "some/topic"
    assert all(message.topic or alias_of(message) for message in got)


@statement("5.0/MQTT-3.1.2-27")
def test_a_client_that_allows_none_any_more_is_sent_none_any_more(net: Net) -> None:
    client, sender = net.connect("c", expiry=60, topic_alias_maximum=5), net.connect("sender")
    client.subscribe("some/topic")
    sender.publish("some/topic", b"1", 1)
    sender.publish("some/topic", b"2", 1)
    client.drop()
    client = net.connect("c", clean=False)
    assert [message.topic for message in client.messages()] == ["some/topic"] * 2


def test_the_broker_may_choose_no_aliases(make: Make) -> None:
    net = make(quiet(outgoing_topic_aliases=0))
    client, sender = net.connect("c", topic_alias_maximum=5), net.connect("sender")
    client.subscribe("#")
    sender.publish("some/topic", b"x")
    sender.publish("some/topic", b"x")
    assert {alias_of(message) for message in client.messages()} == {None}


def test_both_directions_have_their_own_aliases(net: Net) -> None:
    client = net.connect("c", topic_alias_maximum=5)
    client.subscribe("some/topic", "else/where")
    client.send(aliased("some/topic", 1), aliased("else/where", 2), aliased("", 1), aliased("", 2))
    got = client.messages()
    assert [message.topic for message in got] == ["some/topic", "else/where", "", ""]
    assert [alias_of(message) for message in got] == [1, 2, 1, 2]
