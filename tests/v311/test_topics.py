"""Topic Names and Topic Filters, through a whole broker (3.1.1: 4.7)."""

from __future__ import annotations

import pytest

from curier.session.message import ApplicationMessage
from tests.each import each
from tests.v311.conftest import Make
from tests.v311.harness import Network

statement = pytest.mark.statement

NAMES = [
    "sport",
    "sport/",
    "/sport",
    "sport/tennis",
    "sport/tennis/player1",
    "sport/tennis/player1/ranking",
    "/",
    "//",
    "Sport",
    "a b",
    "\u00e9",
    "e\u0301",
    "\ufeffsport",
    "\uffff",
    "\U0001f600/x",
]

MATCHES = {
    "#": set(NAMES),
    "+": {"sport", "Sport", "a b", "\u00e9", "e\u0301", "\ufeffsport", "\uffff"},
    "sport/#": {"sport", "sport/", "sport/tennis", "sport/tennis/player1", "sport/tennis/player1/ranking"},
    "sport/+": {"sport/", "sport/tennis"},
    "sport/tennis/+": {"sport/tennis/player1"},
    "sport/+/player1/#": {"sport/tennis/player1", "sport/tennis/player1/ranking"},
    "+/+": {"sport/", "/sport", "sport/tennis", "/", "\U0001f600/x"},
    "/+": {"/sport", "/"},
    "/#": {"/sport", "/", "//"},
    "+/#": set(NAMES),
    "+/": {"sport/", "/"},
    "+//": {"//"},
    "/": {"/"},
    "sport": {"sport"},
    "Sport": {"Sport"},
    "SPORT": set(),
    "sport/": {"sport/"},
    "a b": {"a b"},
    "\u00e9": {"\u00e9"},
    "e\u0301": {"e\u0301"},
    "\ufeffsport": {"\ufeffsport"},
    "\uffff": {"\uffff"},
    "+/x": {"\U0001f600/x"},
}


@statement(
    "3.1.1/MQTT-3.3.2-3",
    "3.1.1/MQTT-4.5.0-1",
    "3.1.1/MQTT-4.7.1-2",
    "3.1.1/MQTT-4.7.1-3",
    "3.1.1/MQTT-4.7.3-4",
    "3.1.1/MQTT-3.8.3-2",
)
@each("topic_filter", MATCHES)
def test_what_a_subscriber_is_sent_matches_its_filter(make: Make, topic_filter: str) -> None:
    net = make()
    sender = net.connect("sender")
    for name in NAMES:
        sender.publish(name, b"kept", 0, retain=True)
    client = net.connect()
    client.subscribe(topic_filter)
    assert {publish.topic for publish in client.publishes()} == MATCHES[topic_filter]
    for name in NAMES:
        sender.publish(name, b"live")
    expected = [name for name in NAMES if name in MATCHES[topic_filter]]
    assert [publish.topic for publish in client.publishes()] == expected


@statement("3.1.1/MQTT-4.7.2-1")
@pytest.mark.parametrize("topic_filter", ["#", "+/#", "+/broker", "+/+", "+"])
def test_a_leading_wildcard_matches_no_topic_of_the_server(net: Network, topic_filter: str) -> None:
    client = net.connect()
    client.subscribe(topic_filter)
    exact = net.connect("exact")
    exact.subscribe("$SYS/broker", "$SYS/#", "$SYS/+", "$SYS")
    for topic in (b"$SYS/broker", b"$SYS"):
        assert net.core.publish(ApplicationMessage(topic, b"x", 0, True), None, net.now) == ""
        net.turn()
    assert client.take() == []
    assert [publish.topic for publish in exact.publishes()] == ["$SYS/broker", "$SYS"]
    late = net.connect("late")
    late.subscribe(topic_filter)
    assert late.take() == []


@statement("3.1.1/MQTT-4.7.3-3")
def test_the_longest_topic_filter_works(net: Network) -> None:
    client = net.connect()
    longest = "t" * 65_533 + "/+"
    assert client.subscribe(longest) == [2]
    net.connect("sender").publish("t" * 65_533 + "/x", b"x")
    assert client.payloads() == [b"x"]


@statement("3.1.1/MQTT-4.7.3-2")
@pytest.mark.parametrize("data", ["82 08 0001 0003 610062 00", "a2 07 0001 0003 610062"])
def test_u0000_in_a_filter_closes(net: Network, data: str) -> None:
    client = net.connect()
    client.send(bytes.fromhex(data))
    assert client.closed
    assert client.take() == []


def test_a_topic_name_with_too_many_levels_is_acknowledged_and_goes_nowhere(net: Network) -> None:
    client = net.connect()
    client.subscribe("#")
    for qos in (0, 1, 2):
        client.publish("/" * 30_000, b"x", qos, retain=True)
    assert client.take() == []
    assert not client.closed
    assert len(net.core.retained) == 0
