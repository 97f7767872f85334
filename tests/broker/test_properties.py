"""Properties of messages: what is passed on as it came, and Message Expiry (5.0: 3.3.2.3)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.hooks import Hook
from curier.codec import packets as p
from curier.codec.properties import Properties
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net, quiet
from tests.codec.cases import properties

statement = pytest.mark.statement

PAIRS = [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("ä", "ö" * 200), ("a", "0")]


@pytest.fixture
def sender(net: Net) -> Client:
    return net.connect("sender")


# ---- passed on as they came ----


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"payload_format_indicator": 0}, marks=statement("5.0/MQTT-3.3.2-4")),
        pytest.param({"payload_format_indicator": 1}, marks=statement("5.0/MQTT-3.3.2-4")),
        pytest.param({"response_topic": "an/swer"}, marks=statement("5.0/MQTT-3.3.2-15")),
        pytest.param({"correlation_data": bytes(range(256))}, marks=statement("5.0/MQTT-3.3.2-16")),
        pytest.param({"correlation_data": b""}, marks=statement("5.0/MQTT-3.3.2-16")),
        pytest.param({"user_properties": PAIRS}, marks=statement("5.0/MQTT-3.3.2-17", "5.0/MQTT-3.3.2-18")),
        pytest.param({"content_type": "text/plain; ü"}, marks=statement("5.0/MQTT-3.3.2-20")),
        pytest.param({"content_type": ""}, marks=statement("5.0/MQTT-3.3.2-20")),
        {
            "payload_format_indicator": 1,
            "response_topic": "r",
            "correlation_data": b"c",
            "user_properties": PAIRS,
            "content_type": "t",
        },
    ],
    ids=lambda values: ",".join(values),
)
@pytest.mark.parametrize(
    ("way", "qos"), [("live", 0), ("live", 1), ("later", 1), ("again", 2), ("retained", 0), ("shared", 1)]
)
def test_properties_are_passed_on_as_they_came(
    net: Net, sender: Client, qos: int, way: str, values: dict[str, Any]
) -> None:
    client = net.connect("c", expiry=60)
    if way != "retained":
        client.subscribe("$share/g/t" if way == "shared" else "t")
    if way == "later":
        client.drop()
    sender.publish("t", b"x", qos, way == "retained", **values)
    if way == "retained":
        client.subscribe("t")
    elif way in ("later", "again"):
        client.drop()
        client = net.connect("c", clean=False)
    assert client.message().properties == properties(**values)


@statement("5.0/MQTT-3.3.2-17", "5.0/MQTT-3.3.2-18")
def test_user_properties_keep_their_order_among_other_properties(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe("t", subscription_identifiers=[3])
    # User Properties around a Message Expiry Interval, a Topic Alias and a Content Type
    user = [
        b"\x26\x00\x01" + bytes([key]) + b"\x00\x01" + bytes([value]) for key, value in (b"az", b"by", b"ax")
    ]
    made = user[0] + bytes.fromhex("02 00000009") + user[1] + bytes.fromhex("23 0001 03 0001 63") + user[2]
    sender.send(b"\x30" + bytes([4 + len(made)]) + b"\x00\x01t" + bytes([len(made)]) + made)
    got = client.message().properties
    assert got == properties(
        user_properties=[("a", "z"), ("b", "y"), ("a", "x")],
        message_expiry_interval=9,
        content_type="c",
        subscription_identifiers=[3],
    )


def test_clients_of_older_versions_get_the_message_without_properties(net: Net, sender: Client) -> None:
    client = net.open()
    client.version = 4
    client.send(p.Connect(4, "old"))
    client.send(p.Subscribe(1, [("t", 1)]))
    client.take()
    sender.publish("t", b"x", 1, content_type="text", user_properties=PAIRS)
    assert client.message() == p.Publish("t", b"x", 1, False, False, 1)


def test_messages_of_older_versions_have_no_properties(net: Net) -> None:
    reader = net.connect("reader")
    reader.subscribe("t")
    client = net.open()
    client.version = 4
    client.send(p.Connect(4, "old"), p.Publish("t", b"x", 1, False, False, 1), p.Publish("t", b"y"))
    assert reader.messages() == [p.Publish("t", b"x", 1, False, False, 1), p.Publish("t", b"y")]


# ---- Message Expiry Interval (3.3.2.3.3) ----


def interval(message: p.Publish) -> int | None:
    made = message.properties
    return made.message_expiry_interval if isinstance(made, Properties) else None


@statement("5.0/MQTT-3.3.2-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("seconds", [0, 1, 60, 2**31, FOREVER])
def test_what_did_not_wait_has_the_interval_it_came_with(
    net: Net, sender: Client, seconds: int, qos: int
) -> None:
    client = net.connect("c")
    client.subscribe("t")
    for fraction in range(8):
        net.now = 1_700_000_000 + fraction / 8 + 2**-22 * fraction
        sender.publish("t", b"x", qos, message_expiry_interval=seconds)
        assert interval(client.message()) == seconds


@statement("5.0/MQTT-3.3.2-6")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize(
    ("waited", "left"), [(0.0, 60), (0.5, 60), (1.0, 59), (10.75, 50), (59.0, 1), (59.9, 1)]
)
def test_the_time_a_message_waited_is_taken_off(
    net: Net, sender: Client, qos: int, waited: float, left: int
) -> None:
    client = net.connect("c", expiry=1000)
    client.subscribe("t")
    client.drop()
    sender.publish("t", b"x", qos, message_expiry_interval=60)
    net.advance(waited)
    assert interval(net.connect("c", clean=False).message()) == left


@statement("5.0/MQTT-3.3.2-5")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_has_expired_is_not_delivered(net: Net, sender: Client, qos: int) -> None:
    seen: list[tuple[str, bytes, str]] = []

    class Drops(Hook):
        def on_drop(self, client_id: str, message: Any, why: str) -> None:
            seen.append((client_id, message.payload, why))

    net.core.add_hook(Drops())
    client = net.connect("c", expiry=1000)
    client.subscribe("t")
    client.drop()
    sender.publish("t", b"short", qos, message_expiry_interval=5)
    sender.publish("t", b"long", qos, message_expiry_interval=50)
    sender.publish("t", b"for ever", qos)
    net.advance(5)
    client = net.connect("c", clean=False)
    assert client.payloads() == [b"long", b"for ever"]
    assert seen == [("c", b"short", "its Message Expiry Interval has passed")]
    assert len(net.core.sessions["c"].outgoing.unfinished()) == 2


@statement("5.0/MQTT-3.3.2-5", "5.0/MQTT-3.3.2-6")
def test_a_message_that_waits_for_quota_may_expire_too(net: Net, sender: Client) -> None:
    client = net.connect("c", receive_maximum=1)
    client.subscribe("t")
    for seconds in (100, 5, 50):
        sender.publish("t", b"%d" % seconds, 1, message_expiry_interval=seconds)
    first = client.message()
    net.advance(20)
    client.finish(first)
    second = client.message()
    assert (second.payload, interval(second)) == (b"50", 30)


@statement("5.0/MQTT-4.3.3-7", "5.0/MQTT-4.4.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_sent_once_no_longer_expires(net: Net, sender: Client, qos: int) -> None:
    client = net.connect("c", expiry=1000)
    client.subscribe("t")
    sender.publish("t", b"x", qos, message_expiry_interval=5)
    assert interval(client.message()) == 5
    client.drop()
    net.advance(3)
    client = net.connect("c", clean=False, expiry=1000)
    again = client.message()
    assert (again.dup, interval(again)) == (True, 2)
    client.drop()
    net.advance(100)
    last = net.connect("c", clean=False).message()
    assert (last.payload, last.dup, interval(last)) == (b"x", True, 0)


@statement("5.0/MQTT-4.3.3-7", "5.0/MQTT-4.3.3-13")
def test_a_qos_2_delivery_is_completed_though_the_message_has_expired(net: Net, sender: Client) -> None:
    client = net.connect("c", expiry=1000)
    client.subscribe("t")
    sender.publish("t", b"x", 2, message_expiry_interval=5)
    net.advance(10)
    client.send(p.Pubrec(1))
    client.pop(p.Pubrel)
    client.drop()
    net.advance(10)
    assert net.connect("c", clean=False).take() == [p.Pubrel(1)]


@statement("5.0/MQTT-3.3.2-5")
def test_expired_messages_make_room_in_a_full_queue(make: Make) -> None:
    net = make(quiet(max_queued_messages=3))
    sender = net.connect("sender")
    client = net.connect("c", expiry=1000)
    client.subscribe("t")
    client.drop()
    for number in range(3):
        sender.publish("t", b"old %d" % number, 1, message_expiry_interval=None if number == 1 else 5)
    net.advance(10)
    for number in range(3):
        sender.publish("t", b"new %d" % number, 1)
    assert net.connect("c", clean=False).payloads() == [b"old 1", b"new 0", b"new 1"]


def test_older_clients_are_not_sent_expired_messages_either(net: Net, sender: Client) -> None:
    client = net.open()
    client.version = 4
    client.send(p.Connect(4, "old", False), p.Subscribe(1, [("t", 1)]))
    client.drop()
    sender.publish("t", b"short", 1, message_expiry_interval=5)
    sender.publish("t", b"long", 1, message_expiry_interval=50)
    net.advance(10)
    client = net.open()
    client.version = 4
    client.send(p.Connect(4, "old", False))
    client.pop(p.Connack)
    assert client.payloads() == [b"long"]
