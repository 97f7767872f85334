"""What a broker does not offer is announced, and refused to who asks all the same (5.0: 3.2.2.3)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.codec import packets as p
from tests.broker.conftest import Make
from tests.broker.harness import quiet
from tests.codec.cases import properties

statement = pytest.mark.statement

ONE = properties(subscription_identifiers=[1])


# ---- Maximum QoS ----


@statement("5.0/MQTT-3.2.2-11", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize(("maximum", "qos"), [(0, 1), (0, 2), (1, 2)])
def test_a_message_above_the_maximum_qos_is_refused(make: Make, maximum: int, qos: int) -> None:
    net = make(quiet(maximum_qos=maximum))
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("#")
    client.publish("t", b"fine", maximum)
    client.send(p.Publish("t", b"not fine", qos, False, False, 9))
    assert client.goodbye().reason_code == 0x9B
    assert watch.payloads() == [b"fine"]


@statement("5.0/MQTT-3.2.2-10", "5.0/MQTT-3.8.4-7")
@pytest.mark.parametrize("maximum", [0, 1, 2])
def test_subscriptions_of_any_qos_are_taken_at_what_there_is(make: Make, maximum: int) -> None:
    net = make(quiet(maximum_qos=maximum))
    client, sender = net.connect("c"), net.connect("sender")
    assert client.subscribe(("t0", 0), ("t1", 1), ("t2", 2)) == [0, min(1, maximum), min(2, maximum)]
    sender.publish("t2", b"x", maximum)
    assert client.message().qos == maximum


# ---- Retain Available ----


@statement("5.0/MQTT-3.2.2-14", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize("payload", [b"", b"x"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_is_refused_where_none_are_kept(make: Make, qos: int, payload: bytes) -> None:
    net = make(quiet(retain_available=False))
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("#")
    client.publish("t", b"fine", qos)
    client.send(p.Publish("t", payload, qos, False, True, 9 if qos else 0))
    assert client.goodbye().reason_code == 0x9A
    assert watch.payloads() == [b"fine"]
    assert len(net.core.retained) == 0


def test_where_nothing_is_retained_the_server_retains_nothing_either(make: Make) -> None:
    net = make(quiet(retain_available=False, sys_interval=10.0))
    net.advance(0)
    client = net.connect("c")
    client.subscribe(("$SYS/#", 8))
    assert client.take() == []
    net.advance(20)
    got = client.messages()
    assert [message.topic for message in got].count("$SYS/broker/version") == 2
    assert not any(message.retain for message in got)


# ---- subscriptions of some kinds ----


@statement("5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize(
    ("setting", "asked", "reason_code"),
    [
        ("wildcard_subscription_available", p.Subscribe(1, [("a", 0), ("a/#", 0)]), 0xA2),
        ("wildcard_subscription_available", p.Subscribe(1, [("+", 0)]), 0xA2),
        ("wildcard_subscription_available", p.Subscribe(1, [("$share/g/+", 0)]), 0xA2),
        ("shared_subscription_available", p.Subscribe(1, [("$share/g/a", 0)]), 0x9E),
        ("subscription_identifiers_available", p.Subscribe(1, [("a", 0)], ONE), 0xA1),
    ],
)
def test_what_is_not_available_is_refused(
    make: Make, setting: str, asked: p.Subscribe, reason_code: int
) -> None:
    options: dict[str, Any] = {setting: False}
    client = make(quiet(**options)).connect("c")
    client.send(asked)
    assert client.goodbye().reason_code == reason_code
    client = make().connect("c")
    client.send(asked)
    assert client.expect(p.Suback).reason_codes == [0] * len(asked.subscriptions)


@pytest.mark.parametrize(
    "setting",
    [
        "wildcard_subscription_available",
        "shared_subscription_available",
        "subscription_identifiers_available",
    ],
)
def test_the_rest_is_as_usual(make: Make, setting: str) -> None:
    options: dict[str, Any] = {setting: False}
    net = make(quiet(**options))
    client, sender = net.connect("c"), net.connect("sender")
    assert client.subscribe("t", "$other") == [2, 2]
    sender.publish("t", b"x", 2)
    assert client.message().qos == 2
