"""Many retained messages on their way to a subscriber: in blocks or singly, the same is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curier.broker.core import BrokerCore
from curier.broker.fetching import FETCHED_AT_ONCE, FETCHED_PER_TURN, STEP
from curier.codec import packets as p
from curier.codec.properties import Properties
from tests.broker.client import Client
from tests.broker.harness import Net, quiet

RETAINED = 40

messages = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 1, 2]),  # QoS
        st.sampled_from([0, 1, 130, 700]),  # bytes of payload
        st.booleans(),  # with a User Property
        st.sampled_from([0, 0, 5, 500]),  # Message Expiry Interval
    ),
    max_size=RETAINED,
)


def fetch(
    way: str,
    version: int,
    stored: list[tuple[int, int, bool, int]],
    granted: int,
    receive_maximum: int,
    answered: int,
    options: dict[str, Any],
    identifier: int,
) -> list[Any]:
    """What a subscriber is sent that answers so many messages at a time, and how the broker counts it."""
    net = Net(way, quiet(**options))
    sender = net.connect("sender")
    for number, (qos, size, has_property, expiry) in enumerate(stored):
        values: dict[str, Any] = {"user_properties": [("name", "value")]} if has_property else {}
        if expiry:
            values["message_expiry_interval"] = expiry
        sender.publish(f"t/{number}", b"x" * (size + 1), qos, True, **values)
    net.now += 10  # some have expired
    client = net.open()
    client.version = version
    client.send(p.Connect(version, "c", True, 0, None, None, None, None))
    net.core.sessions["c"].outgoing.open(receive_maximum, options["max_inflight_bytes"])
    client.take()
    client.send(p.Subscribe(1, [("t/#", granted)], _identifier(identifier) if version == 5 else None))
    seen: list[Any] = [client.take()]
    open_ones = [packet for packet in seen[0] if isinstance(packet, p.Publish) and packet.qos]
    while open_ones:
        client.send(*[_answer(publish) for publish in open_ones[:answered]])
        del open_ones[:answered]
        came = client.take()
        while released := [packet for packet in came if isinstance(packet, p.Pubrel)]:
            seen.append(came)
            open_ones += [packet for packet in came if isinstance(packet, p.Publish) and packet.qos]
            client.send(*[p.Pubcomp(packet.packet_id) for packet in released])
            came = client.take()
        seen.append(came)
        open_ones += [packet for packet in came if isinstance(packet, p.Publish) and packet.qos]
    outgoing = net.core.sessions["c"].outgoing
    counted = net.core.traffic
    return [
        *seen,
        (counted.packets_sent, counted.publishes_sent, counted.publish_bytes_sent),
        (outgoing.sent_bytes, outgoing.quota, outgoing.last_id, net.core.statistics.dropped),
    ]


def _identifier(identifier: int) -> Any:
    properties = Properties()
    properties.subscription_identifiers = [identifier] if identifier else []
    return properties


def _answer(publish: p.Publish) -> p.Packet:
    return p.Puback(publish.packet_id) if publish.qos == 1 else p.Pubrec(publish.packet_id)


@settings(max_examples=60)
@given(
    version=st.sampled_from([4, 5]),
    stored=messages,
    granted=st.integers(0, 2),
    receive_maximum=st.sampled_from([1, 3, 10, 100]),
    answered=st.sampled_from([1, 3, 100]),
    options=st.fixed_dictionaries({"max_inflight_bytes": st.sampled_from([1, 200, 1000, 1 << 20])}),
    identifier=st.sampled_from([0, 7, 300]),
)
def test_blocks_say_what_single_messages_say(**case: Any) -> None:
    blocks, singly = fetch("fast", **case), fetch("slow", **case)
    assert blocks == singly
    publishes = [packet for step in blocks[:-2] for packet in step if isinstance(packet, p.Publish)]
    lasting = [number for number, (_, _, _, expiry) in enumerate(case["stored"]) if expiry != 5]
    assert sorted(publish.topic for publish in publishes) == sorted(f"t/{number}" for number in lasting)
    assert all(publish.retain for publish in publishes)


def store(net: Net, count: int, payload: bytes = b"x") -> None:
    sender = net.connect("sender")
    for number in range(count):
        sender.publish(f"t/{number}", payload, 1, True)


def ask(net: Net, client: Client, qos: int = 1) -> None:
    """Subscribe, and let the broker do nothing yet."""
    net.core.receive(client.connection, b"\x82\x09\x00\x01\x00\x00\x03t/#" + bytes([qos]), net.now)


def take(net: Net, client: Client) -> list[p.Publish]:
    """What one turn brings."""
    net.core.take_dirty()
    data = client.connection.take_output()
    client.feed(data)
    net.core.written(client.connection, len(data), 0, net.now)
    return [packet for packet in client.take() if isinstance(packet, p.Publish)]


@pytest.mark.parametrize("last_id", [65000, 65535])
def test_packet_identifiers_go_on_behind_the_last(last_id: int) -> None:
    """Without falling back to single messages, which no burst would ever come after."""
    net = Net()
    store(net, 2000)
    client = net.connect("c")
    outgoing = net.core.sessions["c"].outgoing
    outgoing.last_id = last_id
    ask(net, client)
    got = take(net, client)
    while net.core.has_more_work():
        net.core.continue_work(net.now)
        got += take(net, client)
    assert [publish.packet_id for publish in got] == [(last_id + index) % 65535 + 1 for index in range(2000)]
    assert not outgoing.inflight
    client.finish(*got)
    assert outgoing.quota == outgoing.quota_maximum
    assert outgoing.sent_bytes == 0


def test_a_connection_that_is_lost_has_them_sent_again() -> None:
    net = Net()
    store(net, 6)
    client = net.connect("c", expiry=1000, receive_maximum=4)
    client.subscribe(("t/#", 1))
    first = client.messages()
    assert len(first) == 4
    client.finish(first[0])
    client.take()
    client.drop()
    again = net.connect("c", clean=False, expiry=1000, receive_maximum=4)
    got = again.messages()
    assert [(publish.topic, publish.dup, publish.retain) for publish in got[:3]] == [
        (publish.topic, True, True) for publish in first[1:]
    ]


def test_all_clients_together_get_so_many_in_a_turn() -> None:
    net = Net()
    store(net, FETCHED_AT_ONCE)
    clients = [net.connect(f"c{number}") for number in range(FETCHED_PER_TURN // FETCHED_AT_ONCE + 3)]
    for client in clients:
        ask(net, client, 0)
    net.core.take_dirty()
    for client in clients:
        client.feed(client.connection.take_output())
    sent = [sum(isinstance(packet, p.Publish) for packet in client.inbox) for client in clients]
    assert FETCHED_PER_TURN <= sum(sent) < FETCHED_PER_TURN + STEP
    assert 0 in sent
    net.turn()
    sent = [sum(isinstance(packet, p.Publish) for packet in client.take()) for client in clients]
    assert sent == [FETCHED_AT_ONCE] * len(clients)


@pytest.mark.parametrize("way", ["fast", "slow"])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_full_output_loses_none(way: str, qos: int) -> None:
    """Those that the output had no room for are sent later, as they are then."""
    net = Net(way, quiet(output_soft_limit=200_000))
    store(net, 20, bytes(40_000))
    client = net.connect("c")
    ask(net, client, qos)
    net.core.take_dirty()
    client.feed(client.connection.take_output())
    first = {packet.topic for packet in client.take() if isinstance(packet, p.Publish)}
    assert client.connection.is_congested
    removed, changed, *others = sorted({f"t/{number}" for number in range(20)} - first)
    assert len(others) > 10
    sender = net.connect("other")
    sender.publish(removed, b"", 1, True)
    sender.publish(changed, b"new", 1, True)
    net.core.written(client.connection, client.connection.unsent, 0, net.now)
    net.turn()
    rest = {packet.topic: packet.payload for packet in client.messages() if packet.retain}
    assert rest == {changed: b"new"} | dict.fromkeys(others, bytes(40_000))


def test_nothing_is_fetched_where_nothing_is_retained() -> None:
    core: BrokerCore = Net().core
    assert not core.retained.may_match(b"#")
