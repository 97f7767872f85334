"""Will Messages (3.1.1: 3.1.2.5 to 3.1.2.7, 3.14.4)."""

from __future__ import annotations

import pytest

from curier.codec.packets import Connack, Connect, Publish, Will
from tests.v311.conftest import Make
from tests.v311.harness import Client, Network, quiet

statement = pytest.mark.statement


@pytest.fixture
def watch(net: Network) -> Client:
    client = net.connect("watch")
    client.subscribe("#")
    return client


@statement("3.1.1/MQTT-3.1.2-8")
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_will_is_published_when_the_network_fails(
    net: Network, watch: Client, qos: int, clean: bool
) -> None:
    client = net.connect("c", clean=clean, will=Will("w", b"gone", qos))
    assert watch.take() == []
    client.drop()
    (publish,) = watch.publishes()
    assert (publish.topic, publish.payload, publish.qos, publish.retain) == ("w", b"gone", qos, False)
    assert not publish.dup


@statement("3.1.1/MQTT-3.1.2-8", "3.1.1/MQTT-4.8.0-1")
def test_a_will_is_published_when_the_client_breaks_a_rule(net: Network, watch: Client) -> None:
    client = net.connect("c", will=Will("w", b"gone"))
    client.send(b"\xf0\x00")
    assert client.closed
    assert watch.payloads() == [b"gone"]


@statement("3.1.1/MQTT-3.1.2-8", "3.1.1/MQTT-3.1.2-24")
def test_a_will_is_published_when_the_client_falls_silent(net: Network, watch: Client) -> None:
    net.connect("c", keep_alive=10, will=Will("w", b"gone"))
    net.advance(15)
    assert watch.payloads() == [b"gone"]


@statement("3.1.1/MQTT-3.1.2-10", "3.1.1/MQTT-3.14.4-3")
@pytest.mark.parametrize("clean", [True, False])
def test_disconnect_discards_the_will(net: Network, watch: Client, clean: bool) -> None:
    client = net.connect("c", clean=clean, will=Will("w", b"gone"))
    client.disconnect()
    client.drop()
    net.connect("c", clean=clean).drop()
    assert watch.take() == []


@statement("3.1.1/MQTT-3.1.2-10")
def test_a_will_is_published_once(net: Network, watch: Client) -> None:
    net.connect("c", clean=False, will=Will("w", b"gone")).drop()
    assert watch.payloads() == [b"gone"]
    net.connect("c", clean=False).drop()
    net.connect("c", clean=True).drop()
    net.advance(1000)
    assert watch.take() == []


@statement("3.1.1/MQTT-3.1.2-12")
@pytest.mark.parametrize("clean", [True, False])
def test_no_will_without_will_flag(net: Network, watch: Client, clean: bool) -> None:
    net.connect("c", clean=clean).drop()
    net.connect("d", clean=clean, keep_alive=1)
    net.advance(2)
    assert watch.take() == []


@statement("3.1.1/MQTT-3.1.2-8")
def test_the_will_is_that_of_the_connection(net: Network, watch: Client) -> None:
    net.connect("c", clean=False, will=Will("w", b"one")).disconnect()
    net.connect("c", clean=False, will=Will("w", b"two")).drop()
    assert watch.payloads() == [b"two"]


@statement("3.1.1/MQTT-3.1.2-16")
def test_without_will_retain_it_is_not_retained(net: Network, watch: Client) -> None:
    net.connect("c", will=Will("w", b"gone", 1, False)).drop()
    late = net.connect("late")
    late.subscribe("w")
    assert late.take() == []
    assert watch.payloads() == [b"gone"]


@statement("3.1.1/MQTT-3.1.2-17")
def test_with_will_retain_it_is_retained(net: Network, watch: Client) -> None:
    net.connect("c", will=Will("w", b"gone", 1, True)).drop()
    assert [publish.retain for publish in watch.publishes()] == [False]
    late = net.connect("late")
    late.subscribe("w")
    assert late.publishes() == [Publish("w", b"gone", 1, False, True, 1)]


@statement("3.1.1/MQTT-3.1.2-17", "3.1.1/MQTT-3.3.1-10")
def test_an_empty_retained_will_removes_the_retained_message(net: Network, watch: Client) -> None:
    net.connect("other").publish("w", b"here", 0, retain=True)
    net.connect("c", will=Will("w", b"", 0, True)).drop()
    assert watch.payloads() == [b"here", b""]
    assert len(net.core.retained) == 0


@statement("3.1.1/MQTT-3.1.2-8")
def test_a_refused_connection_leaves_no_will(net: Network, watch: Client) -> None:
    client = net.open()
    client.send(Connect(4, "", False, 0, None, None, Will("w", b"gone")))
    assert client.expect(Connack).reason_code == 2
    assert client.closed
    assert watch.take() == []


def test_a_will_reaches_the_session_it_comes_from(net: Network) -> None:
    client = net.connect("c", clean=False, will=Will("w", b"mine", 1))
    client.subscribe("w")
    client.drop()
    assert net.connect("c", clean=False).payloads() == [b"mine"]


@statement("3.1.1/MQTT-4.7.2-1")
@pytest.mark.parametrize("topic", ["$SYS/broker/version", "$queue/x"])
def test_a_will_on_a_topic_of_the_server_is_not_authorized(net: Network, topic: str) -> None:
    client = net.open()
    client.send(Connect(4, "c", True, 0, None, None, Will(topic, b"")))
    assert client.expect(Connack).reason_code == 5
    assert client.closed


def test_a_will_with_too_many_levels_closes_without_connack(make: Make) -> None:
    options = quiet()
    options.max_topic_levels = 3
    net = make(options)
    client = net.open()
    client.send(Connect(4, "c", True, 0, None, None, Will("a/b/c/d", b"")))
    assert client.closed
    assert client.take() == []
