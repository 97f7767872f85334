"""SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (3.1.1: 3.8 to 3.11), overlap, Shared Subscriptions."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer, Authorize
from curier.codec.packets import (
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from tests.each import each
from tests.v311.conftest import Make
from tests.v311.harness import TOO_DEEP, Network, quiet

statement = pytest.mark.statement


@statement("3.1.1/MQTT-3.8.4-1", "3.1.1/MQTT-3.8.4-2", "3.1.1/MQTT-2.3.1-7", "3.1.1/MQTT-3.8.4-5")
@each("packet_id", [1, 258, 65_535])
@each("qos", [0, 1, 2])
def test_subscribe_is_answered_with_suback(make: Make, packet_id: int, qos: int) -> None:
    net = make()
    client = net.connect()
    client.send(Subscribe(packet_id, [("t", qos)]))
    assert client.take() == [Suback(packet_id, [qos])]


@statement("3.1.1/MQTT-3.8.4-4", "3.1.1/MQTT-3.9.3-1", "3.1.1/MQTT-3.8.4-5", "3.1.1/MQTT-3.9.3-2")
def test_many_filters_have_one_suback_in_their_order(net: Network) -> None:
    client = net.connect()
    client.send(
        Subscribe(9, [("a", 2), (TOO_DEEP, 1), ("c", 0), ("$share/d/", 2), ("e", 1), ("$share//x", 0)])
    )
    assert client.take() == [Suback(9, [2, 0x80, 0, 0x80, 1, 0x80])]
    sender = net.connect("sender")
    for topic in "abcde":
        sender.publish(topic, topic.encode(), 2)
    assert client.payloads() == [b"a", b"c", b"e"]


@statement("3.1.1/MQTT-3.8.4-4")
def test_many_filters_count_as_many_subscribes(net: Network) -> None:
    net.connect("sender").publish("t", b"kept", 0, retain=True)
    client = net.connect()
    client.send(Subscribe(1, [("t", 2), ("t", 0)]))
    assert client.take() == [Suback(1, [2, 0]), *[Publish("t", b"kept", 0, False, True)] * 2]
    net.connect("other").publish("t", b"x", 2)
    assert client.publishes() == [Publish("t", b"x", 0)]  # the second replaced the first


@statement("3.1.1/MQTT-3.8.4-5", "3.1.1/MQTT-3.8.4-6")
def test_a_lower_qos_may_be_granted(make: Make) -> None:
    options = quiet()
    options.maximum_qos = 1
    net = make(options)
    client = net.connect()
    assert client.subscribe(("a", 0), ("b", 1), ("c", 2)) == [0, 1, 1]
    net.connect("sender").publish("c", b"x", 1)
    (publish,) = client.publishes()
    assert publish.qos == 1


@statement("3.1.1/MQTT-3.8.4-3")
def test_the_same_filter_replaces_the_subscription(net: Network) -> None:
    client = net.connect()
    sender = net.connect("sender")
    for qos in (1, 0, 2, 1):
        client.subscribe(("t", qos))
        sender.publish("t", b"x", 2)
        (publish,) = client.publishes()
        assert publish.qos == qos
        client.acknowledge(publish)
    client.unsubscribe("t")
    sender.publish("t", b"x", 2)
    assert client.take() == []


@statement("3.1.1/MQTT-3.3.5-1")
@each("highest", ["a/b", "a/+", "a/#", "+/b", "#"])
@each("order", [1, -1])
def test_overlapping_subscriptions_deliver_at_their_highest_qos(make: Make, highest: str, order: int) -> None:
    net = make()
    client = net.connect()
    for topic_filter in ["a/b", "a/+", "a/#", "+/b", "#"][::order]:
        client.subscribe((topic_filter, 2 if topic_filter == highest else 1))
    sender = net.connect("sender")
    sender.publish("a/b", b"x", 2)
    (publish,) = client.publishes()
    assert publish.qos == 2
    client.acknowledge(publish)
    client.take()
    client.unsubscribe(highest)
    sender.publish("a/b", b"y", 2)
    (publish,) = client.publishes()
    assert publish.qos == 1


@statement("3.1.1/MQTT-3.8.3-3", "3.1.1/MQTT-4.8.0-1")
def test_subscribe_without_a_filter_closes(net: Network) -> None:
    client = net.connect()
    client.send(b"\x82\x02\x00\x01")
    assert client.closed
    assert client.take() == []


@statement("3.1.1/MQTT-3.8.3-4")
@pytest.mark.parametrize("options", [0x03, 0x04, 0x08, 0x10, 0x40, 0x80, 0xFF])
def test_reserved_bits_or_qos_3_close(net: Network, options: int) -> None:
    client = net.connect("c", clean=False)
    client.send(b"\x82\x0a\x00\x01\x00\x01a\x00\x00\x01t" + bytes([options]))
    assert client.closed
    assert client.take() == []
    assert net.core.sessions["c"].subscriptions == {}


@statement("3.1.1/MQTT-3.8.1-1", "3.1.1/MQTT-2.2.2-2", "3.1.1/MQTT-2.2.2-1")
@pytest.mark.parametrize("flags", [0x0, 0x1, 0x3, 0x4, 0x6, 0xA, 0xF])
def test_wrong_flags_of_subscribe_close(net: Network, flags: int) -> None:
    client = net.connect()
    client.send(bytes([0x80 | flags]) + b"\x06\x00\x01\x00\x01t\x00")
    assert client.closed
    assert client.take() == []


@statement("3.1.1/MQTT-2.3.1-1")
@pytest.mark.parametrize("data", ["82 06 0000 0001 74 00", "a2 05 0000 0001 74"])
def test_packet_identifier_0_closes(net: Network, data: str) -> None:
    client = net.connect()
    client.send(bytes.fromhex(data))
    assert client.closed
    assert client.take() == []


@statement("3.1.1/MQTT-4.7.3-1", "3.1.1/MQTT-3.8.3-1", "3.1.1/MQTT-3.10.3-1")
@pytest.mark.parametrize(
    "data", ["82 05 0001 0000 00", "a2 04 0001 0000", "82 05 0001 0001 74", "a2 03 000100"]
)
def test_a_filter_that_is_empty_or_cut_short_closes(net: Network, data: str) -> None:
    client = net.connect()
    client.send(bytes.fromhex(data))
    assert client.closed
    assert client.take() == []


@statement("3.1.1/MQTT-4.8.0-1", "3.1.1/MQTT-4.7.1-2", "3.1.1/MQTT-4.7.1-3")
@each("version", [3, 4])
@each("topic_filter", ["a#", "#/a", "a/#/b", "##", "a+", "+a", "++", "$share/g/a#"])
@each("kind", [Subscribe, Unsubscribe])
def test_what_is_no_topic_filter_closes_and_nothing_of_it_is_done(
    make: Make, kind: type[Subscribe | Unsubscribe], topic_filter: str, version: int
) -> None:
    net = make()
    client = net.connect("c", version, clean=False)
    client.subscribe("kept")
    if kind is Subscribe:
        client.send(Subscribe(9, [("new", 0), (topic_filter, 0)]))
    else:
        client.send(Unsubscribe(9, ["kept", topic_filter]))
    assert client.closed
    assert client.take() == []
    assert list(net.core.sessions["c"].subscriptions) == [b"kept"]


@statement("3.1.1/MQTT-3.8.4-5", "3.1.1/MQTT-3.9.3-2")
@pytest.mark.parametrize("topic_filter", [TOO_DEEP, "$share/g", "$share//t", "$share/g/", "$share/+/t"])
def test_a_filter_that_cannot_be_here_is_answered_with_failure(net: Network, topic_filter: str) -> None:
    """Shared Subscriptions are of 5.0: what their rules forbid is well formed before."""
    client = net.connect()
    assert client.subscribe(topic_filter) == [0x80]
    client.unsubscribe(topic_filter)
    assert not client.closed


@statement("3.1.1/MQTT-3.8.3-2")
@pytest.mark.parametrize("topic_filter", ["a/+", "#", "+", "$share/g/+"])
def test_wildcards_that_are_not_supported_are_rejected(make: Make, topic_filter: str) -> None:
    options = quiet()
    options.wildcard_subscription_available = False
    net = make(options)
    client = net.connect()
    assert client.subscribe(topic_filter, "a") == [0x80, 2]


@statement("3.1.1/MQTT-3.8.4-5", "3.1.1/MQTT-3.9.3-2")
def test_a_forbidden_subscription_is_answered_with_failure(make: Make) -> None:
    def authorize(question: Authorize) -> Answer:
        return Answer(0x87 if question.action == "subscribe" and question.topic == b"closed" else 0)

    net = make(authorize=authorize)
    client = net.connect()
    assert client.subscribe("open", "closed", "wide") == [2, 0x80, 2]
    net.connect("sender").publish("closed", b"x")
    assert client.take() == []


@statement("3.1.1/MQTT-3.9.3-2")
def test_a_subscription_too_many_is_answered_with_failure(make: Make) -> None:
    options = quiet()
    options.max_subscriptions = 2
    net = make(options)
    client = net.connect()
    assert client.subscribe("a", "b", "c", "a") == [2, 2, 0x80, 2]
    client.unsubscribe("a")
    assert client.subscribe("c", "a") == [2, 0x80]


@statement("3.1.1/MQTT-3.9.3-2")
def test_a_filter_with_too_many_levels_is_answered_with_failure(net: Network) -> None:
    client = net.connect()
    assert client.subscribe("/" * 30_000, "a/" * 127 + "b") == [0x80, 2]


# ---- UNSUBSCRIBE ----


@statement("3.1.1/MQTT-3.10.4-4", "3.1.1/MQTT-3.10.4-5", "3.1.1/MQTT-2.3.1-7")
@pytest.mark.parametrize("packet_id", [1, 258, 65_535])
@pytest.mark.parametrize("is_subscribed", [True, False])
def test_unsubscribe_is_answered_with_unsuback(net: Network, packet_id: int, is_subscribed: bool) -> None:
    client = net.connect()
    if is_subscribed:
        client.subscribe("t")
    client.send(Unsubscribe(packet_id, ["t"]))
    assert client.take() == [Unsuback(packet_id, [])]


@statement("3.1.1/MQTT-3.10.4-2", "3.1.1/MQTT-3.10.4-6")
def test_after_unsubscribe_nothing_new_comes(net: Network) -> None:
    client = net.connect()
    client.subscribe("a", "b", "c", "d/+")
    client.send(Unsubscribe(5, ["a", "nothing", "c", "a"]))
    assert client.take() == [Unsuback(5, [])]
    sender = net.connect("sender")
    for topic in ("a", "b", "c", "d/e"):
        sender.publish(topic, topic.encode(), 1)
    assert client.payloads() == [b"b", b"d/e"]
    client.unsubscribe("b", "d/+")
    for topic in ("a", "b", "c", "d/e"):
        sender.publish(topic, topic.encode(), 1)
    assert client.take() == []


@statement("3.1.1/MQTT-3.10.4-1")
@pytest.mark.parametrize("other", ["A/+", "a/b", "a/#", "a/+/", "/a/+", "+/+", "$share/g/a/+", "a/ /+"])
def test_filters_are_compared_character_by_character(net: Network, other: str) -> None:
    client = net.connect()
    client.subscribe("a/+")
    client.unsubscribe(other)
    net.connect("sender").publish("a/b", b"x")
    assert client.payloads() == [b"x"]
    client.unsubscribe("a/+")
    net.connect("other").publish("a/b", b"x")
    assert client.take() == []


@statement("3.1.1/MQTT-3.10.4-3")
def test_deliveries_that_have_begun_are_completed(net: Network) -> None:
    client = net.connect("c", clean=False)
    client.subscribe("t")
    sender = net.connect("sender")
    sender.publish("t", b"one", 1)
    sender.publish("t", b"two", 2)
    one, two = client.publishes()
    client.unsubscribe("t")
    client.send(Pubrec(two.packet_id))
    assert client.take() == [Pubrel(two.packet_id)]
    client.drop()
    client = net.connect("c", clean=False)
    pubrel, again = client.take()
    assert pubrel == Pubrel(two.packet_id)
    assert again == Publish("t", b"one", 1, True, False, one.packet_id)
    client.send(Puback(one.packet_id), Pubcomp(two.packet_id))
    client.drop()
    assert net.connect("c", clean=False).take() == []


@statement("3.1.1/MQTT-3.10.3-2", "3.1.1/MQTT-4.8.0-1")
def test_unsubscribe_without_a_filter_closes(net: Network) -> None:
    client = net.connect()
    client.send(b"\xa2\x02\x00\x01")
    assert client.closed
    assert client.take() == []


@statement("3.1.1/MQTT-3.10.1-1", "3.1.1/MQTT-2.2.2-2")
@pytest.mark.parametrize("flags", [0x0, 0x1, 0x3, 0x4, 0x6, 0xA, 0xF])
def test_wrong_flags_of_unsubscribe_close(net: Network, flags: int) -> None:
    client = net.connect()
    client.subscribe("t")
    client.send(bytes([0xA0 | flags]) + b"\x05\x00\x01\x00\x01t")
    assert client.closed
    assert client.take() == []


def test_unsubscribing_while_away_is_not_possible_but_kept_across_connections(net: Network) -> None:
    client = net.connect("c", clean=False)
    client.subscribe("a", "b")
    client.unsubscribe("a")
    client.disconnect()
    again = net.connect("c", clean=False)
    sender = net.connect("sender")
    sender.publish("a", b"a")
    sender.publish("b", b"b")
    assert again.payloads() == [b"b"]


# ---- Shared Subscriptions, which 3.1.1 clients may use as well ----


def test_a_shared_subscription_gives_each_message_to_one_member(net: Network) -> None:
    clients = [net.connect(f"c{number}") for number in range(3)]
    for client in clients:
        assert client.subscribe(("$share/g/t/+", 1)) == [1]
    sender = net.connect("sender")
    for number in range(30):
        sender.publish("t/x", b"%d" % number, number % 2)
    got = [client.payloads() for client in clients]
    assert [len(payloads) for payloads in got] == [10, 10, 10]
    assert sorted(b for payloads in got for b in payloads) == sorted(b"%d" % number for number in range(30))
    clients[0].unsubscribe("$share/g/t/+")
    sender.publish("t/x", b"x")
    sender.publish("t/x", b"x")
    assert [len(client.publishes()) for client in clients] == [0, 1, 1]


def test_groups_and_plain_subscriptions_each_have_their_copy(net: Network) -> None:
    client = net.connect()
    client.subscribe("t", "$share/g/t", "$share/h/t", "$share/g/#")
    net.connect("sender").publish("t", b"x")
    assert client.payloads() == [b"x"] * 4


def test_a_shared_subscription_is_sent_no_retained_messages(net: Network) -> None:
    net.connect("sender").publish("t", b"kept", 1, retain=True)
    client = net.connect()
    client.subscribe("$share/g/t")
    assert client.take() == []


def test_shared_subscriptions_that_are_not_supported_are_rejected(make: Make) -> None:
    options = quiet()
    options.shared_subscription_available = False
    net = make(options)
    assert net.connect().subscribe("$share/g/t", "t") == [0x80, 2]


@pytest.mark.parametrize("kind", [Subscribe, Unsubscribe])
@pytest.mark.parametrize("count", [50, 51, 3000])
def test_a_packet_has_only_so_many_filters(
    make: Make, kind: type[Subscribe | Unsubscribe], count: int
) -> None:
    options = quiet()
    options.max_filters_per_packet = 50
    net = make(options)
    client = net.connect("c")
    names = [f"topic/{number}" for number in range(count)]
    client.send(Subscribe(1, [(name, 1) for name in names]) if kind is Subscribe else Unsubscribe(1, names))
    if count == 50:
        assert client.take() == [Suback(1, [1] * 50) if kind is Subscribe else Unsuback(1, [])]
    assert client.closed is (count > 50)
    assert net.core.statistics.subscriptions == (50 if count == 50 and kind is Subscribe else 0)


def test_thousands_of_filters_in_one_packet(net: Network) -> None:
    client = net.connect("c")
    names = [f"topic/{number}" for number in range(3000)]
    client.send(Subscribe(1, [(name, 1) for name in names] + [(TOO_DEEP, 0)]))
    assert client.take() == [Suback(1, [1] * 3000 + [0x80])]
    client.send(Unsubscribe(2, names))
    assert client.take() == [Unsuback(2, [])]
    assert net.core.statistics.subscriptions == 0
