"""PUBLISH to a client: QoS flows, redelivery, order (3.1.1: 4.3, 4.4, 4.6), and timed re-sending."""

from __future__ import annotations

import pytest

from curier.codec.packets import Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.each import each
from tests.v311.conftest import Make
from tests.v311.harness import Client, Network, quiet

statement = pytest.mark.statement


@pytest.fixture
def sender(net: Network) -> Client:
    return net.connect("sender")


def reconnect(client: Client) -> Client:
    """The network fails, and the client comes back to its session."""
    client.drop()
    return client.network.connect("c", clean=False)


@pytest.fixture
def client(net: Network) -> Client:
    """Has a session, and subscriptions at each QoS to what is named after it."""
    client = net.connect("c", clean=False)
    client.subscribe(("q0", 0), ("q1", 1), ("q2", 2), ("q/0", 0), ("q/1", 1), ("q/2", 2))
    return client


# ---- flows ----


@statement("3.1.1/MQTT-4.3.1-1", "3.1.1/MQTT-2.3.1-5")
def test_qos_0(client: Client, sender: Client) -> None:
    client.heard = b""
    sender.publish("q0", b"x")
    assert client.heard == b"\x30\x05\x00\x02q0x"


@statement("3.1.1/MQTT-4.3.2-1", "3.1.1/MQTT-2.3.1-4")
def test_qos_1_until_puback(client: Client, sender: Client) -> None:
    sender.publish("q1", b"x", 1)
    (publish,) = client.publishes()
    assert (publish.qos, publish.dup) == (1, False)
    assert publish.packet_id
    client = reconnect(client)
    (again,) = client.publishes()
    client.acknowledge(again)
    assert reconnect(client).take() == []


@statement("3.1.1/MQTT-4.3.3-1", "3.1.1/MQTT-2.3.1-4", "3.1.1/MQTT-2.3.1-6")
def test_qos_2_until_pubcomp(client: Client, sender: Client) -> None:
    sender.publish("q2", b"x", 2)
    (publish,) = client.publishes()
    assert (publish.qos, publish.dup) == (2, False)
    assert publish.packet_id
    client.send(Pubrec(publish.packet_id))
    assert client.take() == [Pubrel(publish.packet_id)]
    client = reconnect(client)
    assert client.take() == [Pubrel(publish.packet_id)]
    client.send(Pubcomp(publish.packet_id))
    assert reconnect(client).take() == []


@statement("3.1.1/MQTT-2.3.1-4", "3.1.1/MQTT-4.3.2-1", "3.1.1/MQTT-4.3.3-1")
def test_unfinished_messages_have_different_identifiers(client: Client, sender: Client) -> None:
    for number in range(100):
        sender.publish(f"q{1 + number % 2}", b"x", 2)
    got = client.publishes()
    ids = [publish.packet_id for publish in got]
    assert len(set(ids)) == 100
    client.send(*[Pubrec(publish.packet_id) for publish in got if publish.qos == 2])
    client.take()  # their identifiers are not free before PUBCOMP
    for _ in range(100):
        sender.publish("q1", b"y", 1)
    assert not set(ids) & {publish.packet_id for publish in client.publishes()}


@statement("3.1.1/MQTT-2.3.1-4")
def test_identifiers_are_used_again_after_the_last_but_never_one_in_use(
    client: Client, sender: Client
) -> None:
    sender.publish("q1", b"stays", 1)
    sender.publish("q2", b"stays too", 2)
    first, second = client.publishes()
    client.send(Pubrec(second.packet_id))  # from now on only its PUBREL waits
    client.take()
    assert (first.packet_id, second.packet_id) == (1, 2)
    assert client.connection.session is not None
    client.connection.session.outgoing.last_id = 65_534
    sender.publish("q1", b"a", 1)
    sender.publish("q1", b"b", 1)
    assert [publish.packet_id for publish in client.publishes()] == [65_535, 3]


@statement("3.1.1/MQTT-3.3.1-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_is_not_passed_on(client: Client, sender: Client, qos: int) -> None:
    for packet_id in (5, 6):  # the second time the way is known
        sender.send(Publish(f"q{qos}", b"x", qos, True, False, packet_id))
        (publish,) = client.publishes()
        assert not publish.dup


@statement("3.1.1/MQTT-3.8.4-6")
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_delivery_is_at_the_lower_qos(client: Client, sender: Client, published: int, granted: int) -> None:
    sender.publish(f"q/{granted}", b"x", published)
    (publish,) = client.publishes()
    assert publish.qos == min(published, granted)
    assert bool(publish.packet_id) == bool(publish.qos)


def test_an_acknowledgement_of_nothing_does_no_harm(client: Client, sender: Client) -> None:
    client.send(Puback(9), Pubcomp(9))
    assert client.take() == []
    client.send(Pubrec(9))
    assert client.take() == [Pubrel(9)]
    assert not client.closed


def test_a_repeated_pubrec_is_answered_again(client: Client, sender: Client) -> None:
    sender.publish("q2", b"x", 2)
    (publish,) = client.publishes()
    client.send(Pubrec(publish.packet_id), Pubrec(publish.packet_id))
    assert client.take() == [Pubrel(publish.packet_id)] * 2


@statement("3.1.1/MQTT-4.8.0-1")
@pytest.mark.parametrize(("qos", "answer"), [(1, Pubrec), (2, Puback)])
def test_an_acknowledgement_of_another_qos_closes(
    client: Client, sender: Client, qos: int, answer: type[Pubrec | Puback]
) -> None:
    sender.publish(f"q{qos}", b"x", qos)
    (publish,) = client.publishes()
    client.send(answer(publish.packet_id))
    assert client.closed


# ---- again on the next connection ----


@statement("3.1.1/MQTT-4.4.0-1", "3.1.1/MQTT-3.3.1-1", "3.1.1/MQTT-2.3.1-3", "3.1.1/MQTT-2.3.1-4")
def test_unacknowledged_messages_come_again_with_dup_and_their_identifiers(
    client: Client, sender: Client
) -> None:
    for number in range(6):
        sender.publish(f"q{1 + number % 2}", b"%d" % number, 2)
    once = client.publishes()
    client = reconnect(client)
    again = client.publishes()
    for publish in once:
        publish.dup = True
    assert again == once
    client = reconnect(client)
    assert client.publishes() == once


@statement("3.1.1/MQTT-3.3.1-1", "3.1.1/MQTT-3.3.1-3")
def test_what_was_never_sent_comes_without_dup(client: Client, sender: Client) -> None:
    sender.publish("q1", b"sent", 1)
    client.take()
    client.drop()
    sender.publish("q1", b"not sent", 1)
    got = client.network.connect("c", clean=False).publishes()
    assert [(publish.payload, publish.dup) for publish in got] == [(b"sent", True), (b"not sent", False)]


@statement("3.1.1/MQTT-4.6.0-1", "3.1.1/MQTT-4.4.0-1")
def test_messages_come_again_in_their_first_order(client: Client, sender: Client) -> None:
    for number in range(10):
        sender.publish(f"q{1 + number % 2}", b"%d" % number, 2)
    got = client.publishes()
    client.acknowledge(got[2], got[7], got[4])
    client.take()
    client.drop()
    for number in range(10, 13):
        sender.publish("q2", b"%d" % number, 2)
    again = client.network.connect("c", clean=False)
    expected = [b"%d" % number for number in (0, 1, 3, 5, 6, 8, 9, 10, 11, 12)]
    assert again.payloads() == expected


@statement("3.1.1/MQTT-4.4.0-1", "3.1.1/MQTT-4.3.3-1", "3.1.1/MQTT-4.6.0-4", "3.1.1/MQTT-2.3.1-6")
def test_pubrels_come_again_and_never_their_publish(client: Client, sender: Client) -> None:
    for _ in range(4):
        sender.publish("q2", b"x", 2)
    ids = [publish.packet_id for publish in client.publishes()]
    client.send(Pubrec(ids[2]), Pubrec(ids[0]))
    client.take()
    client = reconnect(client)
    packets = client.take()
    assert packets[:2] == [Pubrel(ids[2]), Pubrel(ids[0])]
    assert [packet.packet_id for packet in packets[2:] if isinstance(packet, Publish)] == [ids[1], ids[3]]


@statement("3.1.1/MQTT-4.3.3-1", "3.1.1/MQTT-4.4.0-1")
def test_a_message_acknowledged_before_its_turn_does_not_come_again(client: Client, sender: Client) -> None:
    sender.publish("q2", b"one", 2)
    sender.publish("q2", b"two", 2)
    one, two = client.publishes()
    client.network.core.options.max_inflight = 1
    client = reconnect(client)
    assert [publish.packet_id for publish in client.publishes()] == [one.packet_id]
    client.send(Pubrec(two.packet_id))  # it came on the connection before
    assert client.take() == [Pubrel(two.packet_id)]
    client.send(Pubrec(one.packet_id), Pubcomp(one.packet_id))
    assert client.take() == [Pubrel(one.packet_id)]


@statement("3.1.1/MQTT-4.4.0-1")
def test_nothing_comes_again_on_the_same_connection(client: Client, sender: Client) -> None:
    sender.publish("q1", b"x", 1)
    sender.publish("q2", b"x", 2)
    client.take()
    client.network.advance(1_000_000)
    assert client.take() == []


@statement("3.1.1/MQTT-4.4.0-1")
def test_no_more_than_fits_is_unfinished_at_a_time(make: Make) -> None:
    options = quiet()
    options.max_inflight = 3
    net = make(options)
    client = net.connect("c", clean=False)
    client.subscribe(("t", 1))
    sender = net.connect("sender")
    for number in range(8):
        sender.publish("t", b"%d" % number, 1)
    assert [publish.payload for publish in client.publishes()] == [b"0", b"1", b"2"]
    client.drop()
    client = net.connect("c", clean=False)
    got: list[bytes] = []
    while batch := client.publishes():
        assert len(batch) <= 3
        got += [publish.payload for publish in batch]
        client.send(*[Puback(publish.packet_id) for publish in batch])
    assert got == [b"%d" % number for number in range(8)]


# ---- order ----


@statement("3.1.1/MQTT-4.6.0-6", "3.1.1/MQTT-4.6.0-5")
@each("qos", [0, 1, 2])
@each("max_inflight", [1, 7, 1024])
def test_messages_of_a_publisher_arrive_in_order(make: Make, qos: int, max_inflight: int) -> None:
    options = quiet()
    options.max_inflight = max_inflight
    net = make(options)
    client = net.connect("c", clean=False)
    client.subscribe("t/#")
    sender = net.connect("sender")
    ids = range(1, 101) if qos else [0] * 100
    sent: list[Packet] = [
        Publish(f"t/{number % 3}", b"%d" % number, qos, False, number % 5 == 0, packet_id)
        for number, packet_id in enumerate(ids)
    ]
    sender.send(*sent[:50])
    sender.send(*sent[50:])
    got: list[bytes] = []
    while batch := client.publishes():
        got += [publish.payload for publish in batch]
        client.acknowledge(*batch)
    assert got == [b"%d" % number for number in range(100)]


@statement("3.1.1/MQTT-4.6.0-6")
def test_messages_that_waited_come_before_later_ones(client: Client, sender: Client) -> None:
    client.drop()
    sender.publish("q1", b"0", 1)
    sender.publish("q1", b"1", 1)
    again = client.network.connect("c", clean=False)
    sender.publish("q1", b"2", 1)
    assert again.payloads() == [b"0", b"1", b"2"]


@statement("3.1.1/MQTT-4.5.0-1")
def test_every_session_with_a_matching_subscription_gets_the_message(net: Network, sender: Client) -> None:
    here = [net.connect(f"here-{number}") for number in range(3)]
    for client in here:
        client.subscribe("t")
    for number in range(3):
        away = net.connect(f"away-{number}", clean=False)
        away.subscribe("+")
        away.disconnect()
    other = net.connect("other")
    other.subscribe("u")
    sender.publish("t", b"x", 1)
    here += [net.connect(f"away-{number}", clean=False) for number in range(3)]
    assert [client.payloads() for client in here] == [[b"x"]] * 6
    assert other.take() == []


# ---- timed re-sending ----


@pytest.fixture
def retrying(make: Make) -> Network:
    options = quiet()
    options.retry_interval = 20.0
    return make(options)


@statement("3.1.1/MQTT-3.3.1-1", "3.1.1/MQTT-2.3.1-3")
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("qos", [1, 2])
def test_a_publish_is_sent_again_after_a_time(retrying: Network, qos: int, version: int) -> None:
    client = retrying.connect("c", version)
    client.subscribe("t")
    retrying.advance(5)
    retrying.connect("sender").publish("t", b"x", qos)
    (once,) = client.publishes()
    assert not once.dup
    retrying.advance(19.9)
    assert client.take() == []
    once.dup = True
    retrying.advance(0.2)
    assert client.publishes() == [once]
    for _ in range(3):
        retrying.advance(20)
        assert client.publishes() == [once]
    client.acknowledge(once)
    client.take()
    retrying.advance(100)
    assert client.take() == []


@pytest.mark.parametrize("version", [3, 4])
def test_a_pubrel_is_sent_again_after_a_time(retrying: Network, version: int) -> None:
    client = retrying.connect("c", version)
    client.subscribe("t")
    retrying.connect("sender").publish("t", b"x", 2)
    (publish,) = client.publishes()
    retrying.advance(10)
    client.send(Pubrec(publish.packet_id))
    assert client.take() == [Pubrel(publish.packet_id)]
    retrying.advance(19.9)
    assert client.take() == []
    retrying.advance(0.2)
    assert client.take() == [Pubrel(publish.packet_id)]
    for _ in range(3):
        retrying.advance(20)
        assert client.take() == [Pubrel(publish.packet_id)]
    client.send(Pubcomp(publish.packet_id))
    retrying.advance(100)
    assert client.take() == []


def test_messages_are_sent_again_in_their_order(retrying: Network) -> None:
    client = retrying.connect("c")
    client.subscribe("t")
    sender = retrying.connect("sender")
    for number in range(5):
        sender.publish("t", b"%d" % number, 1 + number % 2)
    assert len(client.publishes()) == 5
    retrying.advance(41)
    assert client.payloads() == [b"0", b"1", b"2", b"3", b"4"] * 2


@pytest.mark.statement("5.0/MQTT-4.4.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_is_sent_again_to_a_5_0_client(retrying: Network, qos: int) -> None:
    client = retrying.connect("c", 5)
    client.subscribe("t")
    retrying.connect("sender").publish("t", b"x", qos)
    (publish,) = client.publishes()
    retrying.advance(1000)
    assert client.take() == []
    if qos == 2:
        client.send(Pubrec(publish.packet_id))
        assert client.take() == [Pubrel(publish.packet_id)]
        retrying.advance(1000)
        assert client.take() == []


def test_a_client_that_comes_back_is_sent_again_on_its_new_connection_only(retrying: Network) -> None:
    client = retrying.connect("c", clean=False)
    client.subscribe("t")
    retrying.connect("sender").publish("t", b"x", 1)
    retrying.advance(15)
    client.take()
    client = reconnect(client)
    assert len(client.publishes()) == 1
    retrying.advance(19.9)  # 34.9 seconds after the first time, 19.9 after the last
    assert client.take() == []
    retrying.advance(0.2)
    assert len(client.publishes()) == 1
