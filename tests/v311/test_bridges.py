"""Bridges of other brokers: what they ask for by habit, and what the broker does with it.

None of it is in the specification. Mosquitto's bridges connect so by default.
"""

from __future__ import annotations

import pytest

from curier.codec.packets import Connack, Connect, Will
from tests.v311.harness import Client, Network

STATE = "$SYS/broker/connection/hall.east/state"

BEFORE_50 = pytest.mark.parametrize("version", [3, 4])


def bridge(net: Network, version: int, client_id: str = "bridge", *, is_bridge: bool = True) -> Client:
    """A bridge as Mosquitto's is: its will says that it is gone."""
    client = net.open(version)
    will = Will(STATE, b"0", 1, True)
    client.send(Connect(version, client_id, True, 60, will=will, is_bridge=is_bridge))
    assert client.expect(Connack).reason_code == 0
    return client


@BEFORE_50
def test_a_bridge_gets_nothing_back_that_it_has_brought(net: Network, version: int) -> None:
    one, other = bridge(net, version), net.connect("other")
    one.subscribe("site/#")
    other.subscribe("site/#")
    for qos in (0, 1, 2):
        one.publish("site/a", b"in", qos)
        other.publish("site/b", b"out", qos)
    assert one.payloads() == [b"out"] * 3
    assert other.payloads() == [b"in", b"out"] * 3


@BEFORE_50
def test_another_client_gets_its_own_messages(net: Network, version: int) -> None:
    client = bridge(net, version, is_bridge=False)
    client.subscribe("site/#")
    client.publish("site/a", b"mine")
    assert client.payloads() == [b"mine"]


@BEFORE_50
def test_a_bridge_is_told_which_messages_were_retained(net: Network, version: int) -> None:
    one, plain, sender = bridge(net, version), net.connect("plain"), net.connect("sender")
    one.subscribe("t")
    plain.subscribe("t")
    sender.publish("t", b"kept", 1, True)
    sender.publish("t", b"passing", 1, False)
    assert [message.retain for message in one.publishes()] == [True, False]
    assert [message.retain for message in plain.publishes()] == [False, False]


@BEFORE_50
def test_a_bridge_may_take_part_in_a_shared_subscription(net: Network, version: int) -> None:
    one = bridge(net, version)
    assert one.subscribe("$share/g/t") == [2]
    one.publish("t", b"x")
    assert one.payloads() == [b"x"]  # there is no No Local for those


@pytest.mark.parametrize("version", [3, 4, 5])
def test_the_state_of_a_bridge_is_kept_and_told(net: Network, version: int) -> None:
    watch = net.connect("watch")
    watch.subscribe("$SYS/broker/connection/#")
    one = bridge(net, version, is_bridge=version < 5)
    one.publish(STATE, b"1", 1, True)
    assert watch.payloads() == [b"1"]
    one.drop()
    assert watch.payloads() == [b"0"]
    late = net.connect("late")
    late.subscribe(STATE)
    assert [message.retain for message in late.publishes()] == [True]
