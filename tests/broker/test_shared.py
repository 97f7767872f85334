"""Shared Subscriptions (5.0: 4.8.2)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from curier.broker.hooks import Hook
from curier.codec import packets as p
from curier.codec.encode import encode
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties

statement = pytest.mark.statement

SHARE = "$share/g/t"


@pytest.fixture
def sender(net: Net) -> Client:
    return net.connect("sender")


def members(net: Net, count: int, one: str | tuple[str, int] = SHARE, **values: Any) -> list[Client]:
    """As many clients, ``m0`` and so on, that share a subscription."""
    clients = [net.connect(f"m{number}", **values) for number in range(count)]
    for client in clients:
        client.subscribe(one)
    return clients


def publish(sender: Client, count: int, qos: int = 0, topic: str = "t") -> list[bytes]:
    payloads = [b"%d" % number for number in range(count)]
    for payload in payloads:
        sender.publish(topic, payload, qos)
    return payloads


# ---- one of them, in turn ----


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("expiry", [0, 60])
def test_each_message_goes_to_one_member_in_turn(net: Net, sender: Client, qos: int, expiry: int) -> None:
    clients = members(net, 3, expiry=expiry)
    publish(sender, 9, qos)
    assert [client.payloads() for client in clients] == [
        [b"0", b"3", b"6"],
        [b"1", b"4", b"7"],
        [b"2", b"5", b"8"],
    ]


@statement("5.0/MQTT-4.8.2-3")
@pytest.mark.parametrize("published", [0, 1, 2])
def test_each_member_is_sent_at_the_qos_granted_to_it(net: Net, sender: Client, published: int) -> None:
    for granted in (0, 1, 2):
        net.connect(f"m{granted}").subscribe((SHARE, granted))
    clients = [net.connect(f"n{granted}") for granted in (0, 1, 2)]
    for granted, client in enumerate(clients):
        client.subscribe(("$share/other/t", granted))
    publish(sender, 3, published)
    assert [client.message().qos for client in clients] == [min(published, granted) for granted in (0, 1, 2)]


def test_a_shared_subscription_alone_is_like_any_other(net: Net, sender: Client) -> None:
    (client,) = members(net, 1, "$share/g/a/+/#")
    for topic in ("a", "a/b", "a/b/c", "b", "g/a/b"):
        sender.publish(topic, b"x", 1)
    assert [message.topic for message in client.messages()] == ["a/b", "a/b/c"]


def test_an_empty_first_level_is_a_level(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe("$share/g//finance")
    sender.publish("/finance", b"yes")
    sender.publish("finance", b"no")
    assert client.payloads() == [b"yes"]


def test_other_share_names_and_other_filters_are_other_subscriptions(net: Net, sender: Client) -> None:
    one, two, three = net.connect("one"), net.connect("two"), net.connect("three")
    one.subscribe("$share/g/t")
    two.subscribe("$share/h/t")
    three.subscribe("$share/g/+")
    plain = net.connect("plain")
    plain.subscribe("t")
    sender.publish("t", b"x", 1)
    assert [client.payloads() for client in (one, two, three, plain)] == [[b"x"]] * 4


def test_a_member_with_an_ordinary_subscription_gets_both_copies(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe("t", subscription_identifiers=[1])
    client.subscribe(SHARE, subscription_identifiers=[2])
    sender.publish("t", b"x", 1)
    made = [message.properties for message in client.messages()]
    assert sorted(one.subscription_identifiers for one in made if one is not None) == [[1], [2]]


@statement("5.0/MQTT-3.3.4-3")
def test_a_message_carries_the_identifier_of_its_member(net: Net, sender: Client) -> None:
    one, two, three = net.connect("one"), net.connect("two"), net.connect("three")
    one.subscribe(SHARE, subscription_identifiers=[1])
    two.subscribe(SHARE)
    three.subscribe(SHARE, subscription_identifiers=[3])
    publish(sender, 3)
    assert [client.message().properties for client in (one, two, three)] == [
        properties(subscription_identifiers=[1]),
        None,
        properties(subscription_identifiers=[3]),
    ]


@statement("5.0/MQTT-3.3.1-12", "5.0/MQTT-3.3.1-13")
def test_retain_as_published_is_of_each_member(net: Net, sender: Client) -> None:
    one, two = net.connect("one"), net.connect("two")
    one.subscribe((SHARE, 2 | 8))
    two.subscribe((SHARE, 2))
    for _ in range(2):
        sender.publish("t", b"x", 0, True)
    assert [client.message().retain for client in (one, two)] == [True, False]


def test_no_retained_messages_are_sent(net: Net, sender: Client) -> None:
    sender.publish("t", b"x", 1, True)
    for client in members(net, 2):
        assert client.take() == []
        client.subscribe(SHARE)
        assert client.take() == []


@statement("5.0/MQTT-4.6.0-5")
def test_one_member_alone_gets_messages_in_order(net: Net, sender: Client) -> None:
    (client,) = members(net, 1)
    payloads = publish(sender, 50, 1)
    assert client.payloads() == payloads


# ---- joining and leaving ----


def test_subscribing_again_counts_once(net: Net, sender: Client) -> None:
    one, two = members(net, 2)
    one.subscribe((SHARE, 0))
    one.subscribe((SHARE, 1))
    publish(sender, 6, 2)
    assert [message.qos for message in one.messages()] == [1] * 3
    assert len(two.messages()) == 3
    assert one.unsubscribe(SHARE) == [0]
    assert one.unsubscribe(SHARE) == [0x11]
    publish(sender, 3)
    assert one.take() == []
    assert len(two.messages()) == 3


def test_a_member_leaves_with_the_whole_filter_only(net: Net, sender: Client) -> None:
    (client,) = members(net, 1)
    assert client.unsubscribe("t", "g/t", "$share/h/t") == [0x11] * 3
    publish(sender, 1)
    assert len(client.messages()) == 1


def test_it_lasts_as_long_as_any_member(net: Net, sender: Client) -> None:
    one, two, three = members(net, 3, expiry=60)
    one.unsubscribe(SHARE)
    two.disconnect(0, session_expiry_interval=0)
    assert sender.publish("t", b"x", 1) == 0
    assert three.payloads() == [b"x"]
    three.drop()
    net.advance(60)
    assert net.core.groups == {}
    assert sender.publish("t", b"x", 1) == 0x10


# ---- who can take it ----


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_who_is_away_is_passed_over(net: Net, sender: Client, qos: int) -> None:
    one, two, three = members(net, 3, expiry=60)
    two.drop()
    publish(sender, 4, qos)
    assert [len(client.messages()) for client in (one, three)] == [2, 2]
    assert net.connect("m1", clean=False).take() == []


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("expiry", [0, 60])
def test_who_has_no_quota_left_is_passed_over(net: Net, sender: Client, qos: int, expiry: int) -> None:
    slow = net.connect("slow", expiry=expiry, receive_maximum=1)
    slow.subscribe(SHARE)
    quick = members(net, 2, expiry=expiry)
    publish(sender, 7, qos)
    assert len(slow.messages()) == 1
    assert [len(client.messages()) for client in quick] == [3, 3]


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("expiry", [0, 60])
@pytest.mark.parametrize("count", [2, 3])
def test_where_nobody_has_quota_messages_wait_in_turn(
    net: Net, sender: Client, qos: int, expiry: int, count: int
) -> None:
    clients = members(net, count, expiry=expiry, receive_maximum=1)
    payloads = publish(sender, 4 * count, qos)
    assert [len(net.core.sessions[f"m{number}"].outgoing.queue) for number in range(count)] == [3] * count
    got: list[bytes] = []
    for client in clients:
        while messages := client.messages():
            got += [message.payload for message in messages]
            client.finish(*messages)
    assert sorted(got) == sorted(payloads)


def test_who_is_there_without_quota_is_better_than_who_is_away(net: Net, sender: Client) -> None:
    one, two, three = members(net, 3, expiry=60, receive_maximum=1)
    one.drop()
    three.drop()
    publish(sender, 5, 1)
    assert len(two.messages()) == 1
    assert {name: len(net.core.sessions[name].outgoing.queue) for name in ("m0", "m1", "m2")} == {
        "m0": 0,
        "m1": 4,
        "m2": 0,
    }


@pytest.mark.parametrize("qos", [1, 2])
def test_where_all_are_away_messages_wait_in_turn(net: Net, sender: Client, qos: int) -> None:
    for client in members(net, 3, expiry=60):
        client.drop()
    payloads = publish(sender, 9, qos)
    got = [net.connect(f"m{number}", clean=False).payloads() for number in range(3)]
    assert [len(one) for one in got] == [3, 3, 3]
    assert sorted([*got[0], *got[1], *got[2]]) == payloads


def test_a_full_queue_is_passed_over_and_where_all_are_full_messages_are_dropped(make: Make) -> None:
    seen: list[tuple[str, bytes]] = []

    class Drops(Hook):
        def on_drop(self, client_id: str, message: Any, why: str) -> None:
            seen.append((client_id, message.payload))

    net = make(quiet(max_queued_messages=2))
    net.core.add_hook(Drops())
    sender = net.connect("sender")
    for client in members(net, 2, expiry=60):
        client.drop()
    net.connect("m0", clean=False, expiry=60).drop()
    publish(sender, 6, 1)
    assert [len(net.core.sessions[f"m{number}"].outgoing.queue) for number in range(2)] == [2, 2]
    assert seen == [(SHARE, b"4"), (SHARE, b"5")]


def test_a_member_that_takes_qos_0_only_needs_no_quota(net: Net, sender: Client) -> None:
    one = net.connect("one", receive_maximum=1)
    one.subscribe((SHARE, 0))
    publish(sender, 3, 2)
    assert [message.qos for message in one.messages()] == [0, 0, 0]


@pytest.mark.parametrize(("published", "granted"), [(0, 2), (2, 0)])
def test_what_needs_no_quota_goes_to_who_has_none(
    net: Net, sender: Client, published: int, granted: int
) -> None:
    clients = members(net, 2, (SHARE, granted), receive_maximum=1)
    clients[0].subscribe("u")
    sender.publish("u", b"takes the quota", 1)
    publish(sender, 4, published)
    assert [[m.payload for m in client.messages() if m.topic == "t"] for client in clients] == [
        [b"0", b"2"],
        [b"1", b"3"],
    ]


def test_qos_0_is_for_who_is_there(net: Net, sender: Client) -> None:
    one, _ = members(net, 2, expiry=60)
    one.drop()
    publish(sender, 4, 0)
    assert net.connect("m0", clean=False).take() == []


# ---- the end of a member ----


@pytest.mark.parametrize("how", ["expiry", "clean start", "disconnect"])
def test_qos_1_messages_go_to_another_member_when_a_session_ends(net: Net, sender: Client, how: str) -> None:
    first = net.connect("first", expiry=60, receive_maximum=2)
    first.subscribe(SHARE)
    publish(sender, 4, 1)
    assert len(first.messages()) == 2  # and two that wait
    if how != "disconnect":
        first.drop()
    other = net.connect("other")
    other.subscribe(SHARE)
    assert other.take() == []
    if how == "expiry":
        net.advance(60)
    elif how == "clean start":
        net.connect("first")
    else:
        first.disconnect(0, session_expiry_interval=0)
    got = other.messages()
    assert [(m.payload, m.qos, m.dup) for m in got] == [(b"%d" % number, 1, False) for number in range(4)]


@statement("5.0/MQTT-4.8.2-5")
@pytest.mark.parametrize("received", [False, True])
def test_a_qos_2_message_in_delivery_goes_to_nobody_else(net: Net, sender: Client, received: bool) -> None:
    first = net.connect("first", expiry=60, receive_maximum=1)
    first.subscribe(SHARE)
    publish(sender, 3, 2)
    assert first.message().payload == b"0"
    if received:
        first.send(p.Pubrec(1))
    first.drop()
    other = net.connect("other")
    other.subscribe(SHARE)
    net.advance(60)
    assert other.payloads() == [b"1", b"2"]  # whose delivery had not begun


@statement("5.0/MQTT-4.8.2-4", "5.0/MQTT-4.4.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_delivery_that_was_broken_off_is_completed_with_the_same_client(
    net: Net, sender: Client, qos: int
) -> None:
    one, two = members(net, 2, expiry=60)
    publish(sender, 1, qos)
    assert one.message().payload == b"0"
    one.drop()
    assert two.take() == []
    one = net.connect("m0", clean=False)
    assert one.message() == p.Publish("t", b"0", qos, True, False, 1)
    one.finish(p.Publish("t", b"0", qos, packet_id=1))
    assert two.take() == []


@statement("5.0/MQTT-4.8.2-6", "5.0/MQTT-4.4.0-2")
@pytest.mark.parametrize(
    ("qos", "refusal"),
    [(1, p.Puback(1, 0x80)), (1, p.Puback(1, 0x97)), (2, p.Pubrec(1, 0x80))],
    ids=["80", "97", "q2"],
)
def test_a_message_that_is_refused_goes_to_nobody_else(
    net: Net, sender: Client, qos: int, refusal: p.Packet
) -> None:
    one, two = members(net, 2, expiry=60)
    publish(sender, 1, qos)
    one.message()
    one.send(refusal)
    one.drop()
    net.advance(60)
    assert two.take() == []


@statement("5.0/MQTT-3.3.2-5")
def test_what_has_expired_is_handed_over_to_nobody(net: Net, sender: Client) -> None:
    first = net.connect("first", expiry=60)
    first.subscribe(SHARE)
    first.drop()
    sender.publish("t", b"short", 1, message_expiry_interval=30)
    sender.publish("t", b"long", 1, message_expiry_interval=300)
    net.advance(50)
    other = net.connect("other")
    other.subscribe(SHARE)
    net.advance(10)
    message = other.message()
    assert (message.payload, message.properties) == (b"long", properties(message_expiry_interval=240))


def test_without_another_member_messages_end_with_the_session(net: Net, sender: Client) -> None:
    (client,) = members(net, 1, expiry=60)
    client.drop()
    publish(sender, 2, 1)
    net.advance(60)
    late = net.connect("late")
    late.subscribe(SHARE)
    assert late.take() == []


def test_ordinary_messages_are_not_handed_over(net: Net, sender: Client) -> None:
    one, two = members(net, 2, expiry=60)
    one.subscribe("u")
    one.drop()
    sender.publish("u", b"x", 1)
    net.advance(60)
    assert two.take() == []


def test_the_turn_goes_on_whoever_comes_and_goes(net: Net, sender: Client) -> None:
    clients = members(net, 4)
    count: Counter[int] = Counter()
    for number in range(40):
        if number == 12:
            clients[1].disconnect()
        if number == 24:
            clients[1] = net.connect("m1")
            clients[1].subscribe(SHARE)
        sender.publish("t", b"x", 1)
        for index, client in enumerate(clients):
            messages = client.messages()
            client.finish(*messages)
            count[index] += len(messages)
    assert [count[index] for index in range(4)] == [11, 7, 11, 11]


# ---- those who take no packet so large ----


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(
    "values", [{}, {"user_properties": [("k", "v" * 20)]}, {"message_expiry_interval": 9}]
)
def test_a_member_is_skipped_exactly_where_a_message_is_too_large(
    net: Net, sender: Client, qos: int, values: dict[str, Any]
) -> None:
    whole = p.Publish(
        "t", b"x" * 100, qos, False, False, 1 if qos else 0, properties(**values) if values else None
    )
    size = len(encode(whole, 5))
    for maximum, expected in ((size, [2, 2]), (size - 1, [0, 4])):
        small = net.connect("small", maximum_packet_size=maximum)
        large = net.connect("large")
        for client in (small, large):
            client.subscribe(SHARE)
        for _ in range(4):
            sender.publish("t", b"x" * 100, qos, **values)
        assert [len(small.payloads()), len(large.payloads())] == expected
        assert net.core.statistics.dropped == 0


def test_where_no_member_takes_a_packet_so_large_it_is_dropped(net: Net, sender: Client) -> None:
    clients = members(net, 2, maximum_packet_size=50)
    publish(sender, 4)
    sender.publish("t", b"x" * 50, 1)
    assert [len(client.payloads()) for client in clients] == [2, 2]
    assert net.core.statistics.dropped == 1
