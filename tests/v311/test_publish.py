"""PUBLISH from a client and its acknowledgements (3.1.1: 3.3 to 3.7, 4.3)."""

from __future__ import annotations

import tracemalloc

import pytest

from curier.broker.effects import Answer, Authorize
from curier.codec.encode import encode
from curier.codec.packets import Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.v311.conftest import Make
from tests.v311.harness import Client, Network, quiet

statement = pytest.mark.statement


@pytest.fixture
def watch(net: Network) -> Client:
    client = net.connect("watch")
    client.subscribe("#")
    return client


@statement("3.1.1/MQTT-3.3.4-1")
def test_qos_0_is_not_answered(net: Network, watch: Client) -> None:
    client = net.connect()
    client.send(Publish("t", b"x"))
    assert client.take() == []
    assert watch.publishes() == [Publish("t", b"x")]


@statement("3.1.1/MQTT-3.3.4-1", "3.1.1/MQTT-4.3.2-2", "3.1.1/MQTT-2.3.1-6", "3.1.1/MQTT-2.3.1-1")
@pytest.mark.parametrize("packet_id", [1, 258, 65_535])
def test_qos_1_is_answered_with_puback(net: Network, watch: Client, packet_id: int) -> None:
    client = net.connect()
    client.send(Publish("t", b"x", 1, False, False, packet_id))
    assert client.take() == [Puback(packet_id)]
    assert watch.payloads() == [b"x"]


@statement("3.1.1/MQTT-3.3.4-1", "3.1.1/MQTT-4.3.3-2", "3.1.1/MQTT-2.3.1-6")
@pytest.mark.parametrize("packet_id", [1, 258, 65_535])
def test_qos_2_is_answered_with_pubrec_then_pubcomp(net: Network, watch: Client, packet_id: int) -> None:
    client = net.connect()
    client.send(Publish("t", b"x", 2, False, False, packet_id))
    assert client.take() == [Pubrec(packet_id)]
    client.send(Pubrel(packet_id))
    assert client.take() == [Pubcomp(packet_id)]
    assert watch.payloads() == [b"x"]


@statement("3.1.1/MQTT-4.3.2-2")
@pytest.mark.parametrize("dup", [False, True])
def test_after_puback_the_same_identifier_is_a_new_message(net: Network, watch: Client, dup: bool) -> None:
    client = net.connect()
    for _ in range(3):
        client.send(Publish("t", b"x", 1, dup, False, 7))
    assert client.take() == [Puback(7)] * 3
    assert watch.payloads() == [b"x"] * 3


@statement("3.1.1/MQTT-4.3.3-2")
@pytest.mark.parametrize("dup", [False, True])
def test_until_pubrel_the_same_identifier_is_no_new_message(net: Network, watch: Client, dup: bool) -> None:
    client = net.connect()
    client.send(Publish("t", b"x", 2, False, False, 7))
    client.send(Publish("t", b"x", 2, dup, False, 7), Publish("t", b"y", 2, dup, False, 7))
    assert client.take() == [Pubrec(7)] * 3
    assert watch.payloads() == [b"x"]


@statement("3.1.1/MQTT-4.3.3-2")
@pytest.mark.parametrize("dup", [False, True])
def test_after_pubcomp_the_same_identifier_is_a_new_message(net: Network, watch: Client, dup: bool) -> None:
    client = net.connect()
    for _ in range(2):
        client.send(Publish("t", b"x", 2, dup, False, 7))
        client.send(Pubrel(7))
    assert client.take() == [Pubrec(7), Pubcomp(7)] * 2
    assert watch.payloads() == [b"x"] * 2


@statement("3.1.1/MQTT-4.3.3-2")
def test_a_pubrel_is_answered_though_nothing_waits_for_it(net: Network) -> None:
    client = net.connect()
    client.send(Pubrel(7), Pubrel(8))
    assert client.take() == [Pubcomp(7), Pubcomp(8)]


@statement("3.1.1/MQTT-4.3.3-2")
def test_qos_1_and_2_may_use_the_same_identifier_in_both_directions(net: Network) -> None:
    client = net.connect()
    client.subscribe("t")
    client.send(Publish("t", b"x", 2, False, False, 1))
    assert sorted(packet.packet_type for packet in client.take()) == [3, 5]
    client.send(Pubrec(1))
    assert client.take() == [Pubrel(1)]
    client.send(Pubrel(1))
    assert client.take() == [Pubcomp(1)]
    client.send(Pubcomp(1))
    assert not client.closed


@statement("3.1.1/MQTT-4.6.0-2", "3.1.1/MQTT-4.6.0-3")
@pytest.mark.parametrize("is_one_piece", [True, False])
def test_acknowledgements_go_in_the_order_of_the_messages(net: Network, is_one_piece: bool) -> None:
    client = net.connect()
    sent: list[Packet] = []
    expected: list[Packet] = []
    for number, packet_id in enumerate([9, 3, 65_535, 1, 7, 2]):
        qos = 1 + number % 2
        sent.append(Publish(f"t/{number}", b"x" * number, qos, False, number == 3, packet_id))
        expected.append(Puback(packet_id) if qos == 1 else Pubrec(packet_id))
    if is_one_piece:
        client.send(*sent)
    else:
        for packet in sent:
            client.send(packet)
    assert client.take() == expected


@statement("3.1.1/MQTT-4.6.0-4")
def test_pubrels_go_in_the_order_of_the_pubrecs(net: Network) -> None:
    client = net.connect()
    client.subscribe("t")
    sender = net.connect("sender")
    for _ in range(5):
        sender.publish("t", b"x", 2)
    ids = [publish.packet_id for publish in client.publishes()]
    order = [ids[index] for index in (3, 0, 4, 2, 1)]
    client.send(*[Pubrec(packet_id) for packet_id in order])
    assert client.take() == [Pubrel(packet_id) for packet_id in order]


@pytest.fixture(params=[False, True], ids=["", "known"])
def client(request: pytest.FixtureRequest, net: Network, watch: Client) -> Client:
    """Has published to "t" before, or has not: only then may the fast lane take what it sends."""
    client = net.connect()
    if request.param:
        client.publish("t", b"")
        assert watch.payloads() == [b""]
    return client


@statement("3.1.1/MQTT-3.3.1-2", "3.1.1/MQTT-4.3.1-1")
def test_qos_0_with_dup_closes(client: Client, watch: Client) -> None:
    client.send(b"\x38\x03\x00\x01t")
    assert client.closed
    assert watch.take() == []


@statement("3.1.1/MQTT-3.3.1-4")
@pytest.mark.parametrize("first", [0x36, 0x37, 0x3E, 0x3F])
def test_qos_3_closes(client: Client, watch: Client, first: int) -> None:
    client.send(bytes([first]) + b"\x05\x00\x01t\x00\x01")
    assert client.closed
    assert client.take() == watch.take() == []


@statement("3.1.1/MQTT-2.3.1-1")
@pytest.mark.parametrize("first", [0x32, 0x34])
def test_packet_identifier_0_closes(client: Client, watch: Client, first: int) -> None:
    client.send(bytes([first]) + b"\x05\x00\x01t\x00\x00")
    assert client.closed
    assert client.take() == watch.take() == []


@statement("3.1.1/MQTT-2.3.1-5")
def test_a_qos_0_message_has_no_packet_identifier(net: Network, watch: Client) -> None:
    client = net.connect()
    watch.heard = b""
    client.send(b"\x30\x05\x00\x01t\x00\x01")
    assert watch.payloads() == [b"\x00\x01"]
    assert watch.heard == b"\x30\x05\x00\x01t\x00\x01"


@statement("3.1.1/MQTT-3.3.2-1", "3.1.1/MQTT-4.8.0-1")
@pytest.mark.parametrize("data", ["30 00", "30 01 00", "30 02 0001", "32 03 0001 74", "32 04 0001 74 00"])
def test_a_publish_that_ends_too_early_closes(client: Client, watch: Client, data: str) -> None:
    client.send(bytes.fromhex(data))
    assert client.closed
    assert client.take() == watch.take() == []


@statement("3.1.1/MQTT-3.3.2-2", "3.1.1/MQTT-4.7.1-1")
@pytest.mark.parametrize("topic", [b"#", b"+", b"a/+/b", b"a/#", b"a#", b"+b"])
def test_a_wildcard_in_a_topic_name_closes(net: Network, watch: Client, topic: bytes) -> None:
    client = net.connect()
    client.send(bytes([0x30, 2 + len(topic), 0, len(topic)]) + topic)
    assert client.closed
    assert watch.take() == []


@statement("3.1.1/MQTT-4.7.3-1")
def test_an_empty_topic_name_closes(net: Network, watch: Client) -> None:
    client = net.connect()
    client.send(b"\x30\x02\x00\x00")
    assert client.closed
    assert watch.take() == []


@statement("3.1.1/MQTT-4.7.3-2")
def test_u0000_in_a_topic_name_closes(net: Network, watch: Client) -> None:
    client = net.connect()
    client.send(b"\x30\x05\x00\x03a\x00b")
    assert client.closed
    assert watch.take() == []


@statement("3.1.1/MQTT-4.7.3-3")
def test_the_longest_topic_name_goes_through(net: Network, watch: Client) -> None:
    topic = "t" * 65_535
    net.connect().publish(topic, b"x", 1)
    assert watch.publishes() == [Publish(topic, b"x", 1, False, False, 1)]


@statement("3.1.1/MQTT-3.3.5-2")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publish_without_permission_is_acknowledged_all_the_same(make: Make, qos: int) -> None:
    def authorize(question: Authorize) -> Answer:
        return Answer(0x87 if question.action == "publish" and question.topic == b"closed" else 0)

    net = make(authorize=authorize)
    watch = net.connect("watch")
    watch.subscribe("#")
    client = net.connect()
    client.publish("closed", b"no", qos, retain=True)
    client.publish("open", b"yes", qos)
    assert not client.closed
    assert watch.payloads() == [b"yes"]
    assert len(net.core.retained) == 0


@statement("3.1.1/MQTT-3.3.5-2", "3.1.1/MQTT-4.8.0-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_cannot_be_taken_now_closes_without_acknowledgement(make: Make, qos: int) -> None:
    options = quiet()
    options.max_retained_messages = 1
    net = make(options)
    watch = net.connect("watch")
    watch.subscribe("#")
    client = net.connect("c", clean=False)
    client.publish("one", b"x", qos, retain=True)
    client.send(Publish("two", b"y", qos, False, True, 99))
    assert client.closed
    assert client.take() == []
    assert watch.payloads() == [b"x"]
    assert not watch.closed
    other = net.connect("other")
    other.publish("three", b"z", qos)
    assert watch.payloads() == [b"z"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_topics_of_the_server_are_not_for_clients(net: Network, watch: Client, qos: int) -> None:
    watch.subscribe("$SYS/#", "#")
    client = net.connect()
    client.publish("$SYS/broker/version", b"mine", qos)
    client.publish("$queue/x", b"mine", qos)
    assert not client.closed
    assert watch.take() == []


def test_a_packet_over_the_limit_closes_before_it_is_whole(make: Make) -> None:
    options = quiet()
    options.max_packet_size = 1000
    net = make(options)
    client = net.connect()
    client.send(Publish("t", bytes(1000 - 6)))
    assert not client.closed
    client.send(b"\x30\xe6\x07")  # a Remaining Length of 998, one byte too many in all
    assert client.closed


def test_a_message_may_come_in_pieces_of_any_size(net: Network, watch: Client) -> None:
    client = net.connect()
    payload = bytes(range(256)) * 2
    data = encode(Publish("t", payload), 4) + encode(Publish("t", payload, 1, False, False, 5), 4)
    data += data
    for size in (1, 2, 3, 7, 255, 515, 516, 1000):
        for start in range(0, len(data), size):
            client.send(data[start : start + size])
        assert watch.payloads() == [payload] * 4
        assert client.take() == [Puback(5)] * 2


def test_a_packet_that_comes_in_crumbs_takes_no_more_room_than_its_size(net: Network, watch: Client) -> None:
    client = net.connect()
    data = encode(Publish("t", bytes(60_000)), 4)
    before = client.connection.waiting_bytes()
    tracemalloc.start()
    try:
        for start in range(0, len(data) - 2, 2):
            net.core.receive(client.connection, data[start : start + 2], net.now)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (before, client.connection.waiting_bytes()) == (0, len(data) - (len(data) % 2 or 2))
    assert size < 3 * len(data)
    client.send(data[-(len(data) % 2 or 2) :])
    assert watch.payloads() == [bytes(60_000)]
