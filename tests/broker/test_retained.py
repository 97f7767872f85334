"""Retained messages (5.0: 3.3.1.3, 3.8.3.1)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from curier.broker.core import BrokerCore
from curier.codec import packets as p
from curier.session.message import ApplicationMessage
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties

statement = pytest.mark.statement

IF_NEW = 0x10
NEVER = 0x20


@pytest.fixture
def sender(net: Net) -> Client:
    return net.connect("sender")


def fetch(net: Net, one: str = "#", options: int = 2) -> list[tuple[str, bytes]]:
    """What a new subscriber is sent, all of it retained."""
    client = net.connect("fetch")
    client.subscribe((one, options))
    got = client.messages()
    while len(got) and (rest := _more(client, got)):
        got += rest
    assert all(message.retain for message in got)
    client.drop()
    return sorted((message.topic, message.payload) for message in got)


def _more(client: Client, got: list[p.Publish]) -> list[p.Publish]:
    client.finish(*got)
    return client.messages()


# ---- storing ----


@statement("5.0/MQTT-3.3.1-5")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_last_retained_message_of_a_topic_is_kept(net: Net, sender: Client, qos: int) -> None:
    sender.publish("t", b"old", qos, True, content_type="old")
    sender.publish("t", b"new", qos, True, user_properties=[("k", "v")])
    sender.publish("u", b"other", 0, True)
    client = net.connect("c")
    client.subscribe("t")
    made = properties(user_properties=[("k", "v")])
    assert client.message() == p.Publish("t", b"new", qos, False, True, 1 if qos else 0, made)


@statement("5.0/MQTT-3.3.1-8")
@pytest.mark.parametrize("payload", [b"", b"x"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_is_not_retained_leaves_the_retained_one_alone(
    net: Net, sender: Client, qos: int, payload: bytes
) -> None:
    sender.publish("t", payload, qos)
    assert fetch(net) == []
    sender.publish("t", b"kept", 0, True)
    sender.publish("t", payload, qos)
    assert fetch(net) == [("t", b"kept")]


@statement("5.0/MQTT-3.3.1-6", "5.0/MQTT-3.3.1-7")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_without_payload_removes_the_one_that_was(
    net: Net, sender: Client, qos: int
) -> None:
    watch = net.connect("watch")
    watch.subscribe(("t", 2 | 8))
    sender.publish("t", b"old", 0, True)
    sender.publish("u", b"stays", 0, True)
    sender.publish("t", b"", qos, True)
    assert [(message.payload, message.retain) for message in watch.messages()] == [
        (b"old", True),
        (b"", True),
    ]
    assert fetch(net) == [("u", b"stays")]
    sender.publish("never", b"", qos, True)
    assert fetch(net) == [("u", b"stays")]
    assert len(net.core.retained) == 1


def test_retained_messages_are_of_the_broker_not_of_sessions(net: Net, sender: Client) -> None:
    sender.publish("t", b"x", 1, True)
    sender.disconnect()
    net.connect("sender", clean=True)
    assert fetch(net) == [("t", b"x")]


# ---- sending ----


@statement("5.0/MQTT-3.3.1-9", "5.0/MQTT-3.8.4-4")
@pytest.mark.parametrize("as_published", [0, 8])
def test_retain_handling_0_sends_them_with_every_subscribe(
    net: Net, sender: Client, as_published: int
) -> None:
    sender.publish("a/1", b"1", 1, True)
    sender.publish("a/2", b"2", 0, True)
    sender.publish("b", b"3", 0, True)
    client = net.connect("c")
    for _ in range(3):
        client.subscribe(("a/+", 1 | as_published))
        got = client.messages()
        assert sorted((m.topic, m.qos, m.retain, m.dup) for m in got) == [
            ("a/1", 1, True, False),
            ("a/2", 0, True, False),
        ]
        client.finish(*got)


@statement("5.0/MQTT-3.3.1-10")
def test_retain_handling_1_sends_them_to_a_new_subscription_only(net: Net, sender: Client) -> None:
    sender.publish("t", b"x", 1, True)
    client = net.connect("c", expiry=60)
    client.subscribe(("t", IF_NEW))
    assert client.payloads() == [b"x"]
    client.subscribe(("t", IF_NEW | 1))
    assert client.take() == []
    client.subscribe(("#", IF_NEW))
    assert client.payloads() == [b"x"]
    client.drop()
    client = net.connect("c", clean=False)
    client.subscribe(("t", IF_NEW))
    assert client.take() == []
    client.unsubscribe("t")
    client.subscribe(("t", IF_NEW))
    assert client.payloads() == [b"x"]


@statement("5.0/MQTT-3.3.1-11")
def test_retain_handling_2_sends_none(net: Net, sender: Client) -> None:
    sender.publish("t", b"x", 1, True)
    client = net.connect("c")
    for _ in range(2):
        client.subscribe(("t", NEVER | 2))
        assert client.take() == []
    sender.publish("t", b"live", 0, True)
    assert client.message() == p.Publish("t", b"live")


@statement("5.0/MQTT-3.8.4-8", "5.0/MQTT-3.3.1-9")
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_retained_messages_come_at_the_lower_of_both_qos(
    net: Net, sender: Client, published: int, granted: int
) -> None:
    sender.publish("t", b"x", published, True)
    client = net.connect("c")
    client.subscribe(("t", granted))
    assert client.message().qos == min(published, granted)


@statement("5.0/MQTT-3.3.4-3")
def test_retained_messages_have_the_identifier_of_their_subscription(net: Net, sender: Client) -> None:
    sender.publish("t", b"x", 1, True)
    client = net.connect("c")
    client.subscribe("other", subscription_identifiers=[1])
    client.subscribe("t", subscription_identifiers=[2])
    assert client.message().properties == properties(subscription_identifiers=[2])


@statement("5.0/MQTT-3.3.1-9", "5.0/MQTT-4.7.1-1", "5.0/MQTT-4.7.1-2")
@pytest.mark.parametrize(
    ("one", "topics"),
    [
        ("a", ["a"]),
        ("a/b", ["a/b"]),
        ("+", ["a", "c"]),
        ("a/+", ["a/", "a/b"]),
        ("a/#", ["a", "a/", "a/b", "a/b/c"]),
        ("+/+", ["/x", "a/", "a/b"]),
        ("/#", ["/x"]),
        ("+/b/#", ["a/b", "a/b/c"]),
        ("#", ["/x", "a", "a/", "a/b", "a/b/c", "c"]),
        ("b", []),
    ],
)
def test_all_that_match_are_sent(net: Net, sender: Client, one: str, topics: list[str]) -> None:
    for topic in ("a", "a/b", "a/", "/x", "a/b/c", "c"):
        sender.publish(topic, topic.encode(), 0, True)
    assert fetch(net, one) == [(topic, topic.encode()) for topic in topics]


@statement("5.0/MQTT-4.7.2-1")
@pytest.mark.parametrize("one", ["#", "+/#", "+/broker/#", "+/+/+"])
def test_retained_messages_of_the_server_are_for_who_asks_by_name(make: Make, one: str) -> None:
    net = make(quiet(sys_interval=10.0))
    net.advance(0)
    assert fetch(net, one) == []
    assert ("$SYS/broker/clients/total", b"0") in fetch(net, "$SYS/#")


def test_each_filter_of_a_subscribe_brings_its_own(net: Net, sender: Client) -> None:
    sender.publish("t", b"x", 0, True)
    client = net.connect("c")
    client.subscribe("t", "#", ("+", NEVER))
    assert client.payloads() == [b"x", b"x"]


def test_none_are_sent_for_a_subscription_that_failed(make: Make) -> None:
    net = make(quiet(max_topic_levels=1))
    net.connect("sender").publish("t", b"x", 0, True)
    client = net.connect("c")
    assert client.subscribe("t/#") == [0x8F]
    assert client.take() == []


# ---- many, and slowly ----


@statement("5.0/MQTT-3.3.1-9", "5.0/MQTT-3.3.4-9")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_very_many_are_all_sent_bit_by_bit(net: Net, sender: Client, qos: int) -> None:
    for number in range(300):
        sender.publish(f"t/{number}", b"%d" % number, qos, True)
    client = net.connect("c", receive_maximum=10)
    client.subscribe("t/+")
    got = client.messages()
    assert len(got) == (10 if qos else 300)
    start = 0
    while start < len(got):
        start, last = len(got), start
        client.finish(*got[last:])
        got += client.messages()
    assert sorted(message.payload for message in got) == sorted(b"%d" % number for number in range(300))


def test_others_have_their_turn_between_very_many(make: Make) -> None:
    net = make()
    sender = net.connect("sender")
    for number in range(2000):
        sender.publish(f"t/{number}", b"x", 0, True)
    client = net.connect("c")
    net.core.receive(client.connection, b"\x82\x09\x00\x01\x00\x00\x03t/#\x00", net.now)
    net.core.take_dirty()
    client.feed(client.connection.take_output())
    assert net.core.has_more_work()
    first = len(client.take())
    assert 1 < first < 2000
    net.turn()
    assert first + len(client.take()) == 2001


def test_what_is_published_meanwhile_comes_as_it_is_now(net: Net, sender: Client) -> None:
    for number in range(6):
        sender.publish(f"t/{number}", b"old", 1, True)
    client = net.connect("c", receive_maximum=2)
    client.subscribe(("t/#", 1), ("u", 1))
    first = client.messages()
    assert len(first) == 2
    rest = sorted({f"t/{number}" for number in range(6)} - {message.topic for message in first})
    sender.publish(rest[0], b"", 1, True)
    sender.publish(rest[1], b"new", 1, True)
    client.finish(*first)
    got = first
    while messages := client.messages():
        got += messages
        client.finish(*messages)
    seen = {topic: [m.payload for m in got if m.topic == topic] for topic in rest}
    assert b"old" not in seen[rest[0]] + seen[rest[1]]
    assert seen[rest[2]] == seen[rest[3]] == [b"old"]


@statement("5.0/MQTT-3.10.4-2")
def test_none_are_sent_any_more_after_unsubscribe(net: Net, sender: Client) -> None:
    for number in range(6):
        sender.publish(f"t/{number}", b"x", 1, True)
    client = net.connect("c", receive_maximum=2)
    client.subscribe("t/#")
    got = client.messages()
    client.unsubscribe("t/#")
    client.finish(*got)
    assert client.take() == []


def test_who_subscribes_again_and_again_and_takes_nothing_is_refused(make: Make) -> None:
    net = make(quiet(max_subscriptions=3))
    sender = net.connect("sender")
    for number in range(6):
        sender.publish(f"t/{number}", b"x", 1, True)
    client = net.connect("c", receive_maximum=2)
    assert [client.subscribe("t/#")[0] for _ in range(5)] == [2, 2, 2, 0x97, 0x97]
    got: list[p.Publish] = []
    while messages := client.messages():
        got += messages
        client.finish(*messages)
    assert len(got) == 18
    assert client.subscribe("t/#") == [2]


def test_a_subscriber_that_comes_back_is_sent_the_rest(net: Net, sender: Client) -> None:
    for number in range(6):
        sender.publish(f"t/{number}", b"%d" % number, 1, True)
    client = net.connect("c", expiry=60, receive_maximum=2)
    client.subscribe("t/#")
    got = client.payloads()
    client.drop()
    client = net.connect("c", clean=False)
    got += client.payloads()
    assert set(got) == {b"%d" % number for number in range(6)}


# ---- expiry ----


@statement("5.0/MQTT-3.3.2-5", "5.0/MQTT-3.3.2-6")
def test_a_retained_message_expires(net: Net, sender: Client) -> None:
    sender.publish("short", b"x", 0, True, message_expiry_interval=10)
    sender.publish("long", b"x", 0, True, message_expiry_interval=100)
    net.advance(4)
    client = net.connect("c")
    client.subscribe("#")
    left = {
        m.topic: m.properties.message_expiry_interval for m in client.messages() if m.properties is not None
    }
    assert left == {"short": 6, "long": 96}
    net.advance(6)
    assert fetch(net) == [("long", b"x")]
    net.advance(1000)
    assert fetch(net) == []
    assert len(net.core.retained) == 0
    assert net.core.statistics.retained_bytes == 0


def test_very_many_expire_bit_by_bit() -> None:
    net = Net()
    sender = net.connect("sender")
    for number in range(2300):
        sender.publish(f"t/{number}", b"x", 0, True, message_expiry_interval=10 if number % 23 else 100)
    net.now += 10
    net.core.deadline_reached(net.now)
    assert 100 < len(net.core.retained) < 2300
    while net.core.next_deadline() < net.now + 1:
        net.now = net.core.next_deadline()
        net.core.deadline_reached(net.now)
    assert len(net.core.retained) == 100
    net.advance(100)
    assert len(net.core.retained) == 0
    assert net.core.statistics.expired_messages == 2300


def test_short_lives_do_not_make_the_sweep_run_all_the_time(net: Net, sender: Client) -> None:
    sender.publish("long", b"x", 0, True, message_expiry_interval=1000)
    sizes = []
    for second in range(60):
        sender.publish(f"t/{second}", b"x", 0, True, message_expiry_interval=1)
        net.advance(1)
        sizes.append(len(net.core.retained))
    assert fetch(net) == [("long", b"x")]
    assert max(sizes) <= 12
    assert sum(later < earlier for earlier, later in pairwise(sizes)) == 5


def test_a_message_that_replaced_an_expiring_one_stays(net: Net, sender: Client) -> None:
    sender.publish("t", b"short", 0, True, message_expiry_interval=10)
    sender.publish("t", b"for ever", 0, True)
    net.advance(1000)
    assert fetch(net) == [("t", b"for ever")]


# ---- limits ----


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_only_so_many_messages_are_retained(make: Make, qos: int) -> None:
    net = make(quiet(max_retained_messages=2, client_share=1, source_share=1))
    watch, sender = net.connect("watch"), net.connect("sender")
    watch.subscribe("#")
    full = 0x97 if qos else 0
    codes = [sender.publish(topic, b"x", qos, True) for topic in ("a", "b", "c")]
    assert codes == [0, 0, full]
    assert [message.topic for message in watch.messages()] == ["a", "b"]
    assert sender.publish("a", b"y", qos, True) == 0  # in place of one
    assert sender.publish("b", b"", qos, True) == 0
    assert sender.publish("c", b"x", qos, True) == 0
    assert fetch(net) == [("a", b"y"), ("c", b"x")]


def test_retained_messages_have_only_so_many_bytes(make: Make) -> None:
    net = make(quiet(max_retained_bytes=100, client_share=1, source_share=1))
    sender = net.connect("sender")
    put: list[tuple[str, int, Any]] = [
        ("a", 50, 0x10), ("b", 48, 0x10), ("c", 1, 0x97), ("a", 51, 0x97), ("a", 10, 0x10), ("c", 10, 0x10)
    ]  # fmt: skip
    assert [sender.publish(topic, bytes(size), 1, True) for topic, size, _ in put] == [
        code for *_, code in put
    ]
    assert [(topic, len(payload)) for topic, payload in fetch(net)] == [("a", 10), ("b", 48), ("c", 10)]


def test_levels_of_retained_topics_are_limited_like_messages() -> None:
    core = BrokerCore(quiet(max_retained_messages=2), 0.0)
    deep = ApplicationMessage(b"/".join([b"l"] * 100), b"x", 0, True)
    assert core.publish(deep, None, 0.0) == ""
    assert "levels in all" in core.publish(ApplicationMessage(b"other", b"x", 0, True), None, 0.0)
    assert core.publish(ApplicationMessage(deep.topic, b"again", 0, True), None, 0.0) == ""
    assert len(core.retained) == 1
