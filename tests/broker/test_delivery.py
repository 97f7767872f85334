"""What a client is sent: QoS, Packet Identifiers, DUP, sending again, order (5.0: 2.2.1, 4.3, 4.4, 4.6)."""

from __future__ import annotations

import pytest

from curier.broker.witness import Witness
from curier.codec import packets as p
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing, OutgoingFlow
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet

statement = pytest.mark.statement

MESSAGE = ApplicationMessage(b"t", b"", 2, False)


@pytest.fixture
def sender(net: Net) -> Client:
    return net.connect("sender")


def away(net: Net, client_id: str = "c", qos: int = 2) -> None:
    """A session that is subscribed to ``t`` and not connected."""
    client = net.connect(client_id, expiry=1000)
    client.subscribe(("t", qos))
    client.drop()


# ---- QoS ----


@statement("5.0/MQTT-3.8.4-8", "5.0/MQTT-4.3.1-1", "5.0/MQTT-4.3.2-2", "5.0/MQTT-4.3.3-2", "5.0/MQTT-3.3.1-2")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
def test_a_message_comes_at_the_lower_of_both_qos(
    net: Net, sender: Client, published: int, granted: int
) -> None:
    client = net.connect("c")
    assert client.subscribe(("t", granted)) == [granted]
    sender.publish("t", b"x", published)
    qos = min(published, granted)
    assert client.message() == p.Publish("t", b"x", qos, False, False, 1 if qos else 0)


@statement("5.0/MQTT-3.3.1-3", "5.0/MQTT-4.3.2-2", "5.0/MQTT-4.3.3-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_dup_of_the_publisher_is_not_passed_on(net: Net, sender: Client, qos: int) -> None:
    client = net.connect("c")
    client.subscribe("t")
    sender.send(p.Publish("t", b"x", qos, True, False, 1))
    assert client.message() == p.Publish("t", b"x", qos, False, False, 1)


@statement("5.0/MQTT-3.3.2-3", "5.0/MQTT-4.5.0-1")
def test_every_matching_subscription_gets_a_message_and_no_other(net: Net, sender: Client) -> None:
    filters = [
        "a/b",
        "a/+",
        "a/#",
        "#",
        "+/b",
        "+/+",
        "a/b/#",
        "a",
        "a/b/c",
        "A/b",
        "/a/b",
        "b/#",
        "+",
        "+/+/+",
    ]
    clients = [net.connect(f"c{number}") for number in range(len(filters))]
    for client, one in zip(clients, filters, strict=True):
        client.subscribe(one)
    sender.publish("a/b", b"x", 1)
    got = [one for client, one in zip(clients, filters, strict=True) if client.messages()]
    assert got == filters[:7]


@pytest.mark.parametrize("length", [1024, 1025, 65535])
def test_very_long_topics_are_delivered_and_not_remembered(net: Net, length: int) -> None:
    topic = "x" * length
    client, sender = net.connect("c"), net.connect("sender")
    client.subscribe(topic)
    for qos in (0, 1, 2):
        sender.publish(topic, b"x", qos)
    assert [message.qos for message in client.messages()] == [0, 1, 2]
    assert (topic.encode() in net.core.router.cache.table) is (length == 1024)


# ---- Packet Identifiers (2.2.1) ----


@statement("5.0/MQTT-2.2.1-4", "5.0/MQTT-4.3.2-1", "5.0/MQTT-4.3.3-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_each_unfinished_message_has_a_packet_identifier_of_its_own(make: Make, qos: int) -> None:
    net = make()
    client, sender = net.connect("c"), net.connect("sender")
    client.subscribe("t")
    for _ in range(300):
        sender.send(p.Publish("t", b"x", qos, False, False, 1), p.Pubrel(1))
    got = client.messages()
    assert len({message.packet_id for message in got} - {0}) == len(got) == 300
    client.finish(got[5])
    sender.send(p.Publish("t", b"x", qos, False, False, 1))
    assert client.message().packet_id not in {message.packet_id for message in got if message is not got[5]}


class Seen(Witness):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []

    def happened(
        self, kind: str, client_id: str, connection: object, message: ApplicationMessage | None, why: str
    ) -> None:
        if client_id == "c":
            self.told.append((kind, why))


def test_who_forgot_a_message_between_pubrec_and_pubcomp_has_got_it(net: Net, sender: Client) -> None:
    seen = Seen()
    net.core.shows_to(seen, False)
    client = net.connect("c")
    client.subscribe(("t", 2))
    sender.publish("t", b"x", 2)
    got = client.message()
    client.send(p.Pubrec(got.packet_id))
    assert client.pop(p.Pubrel) == p.Pubrel(got.packet_id)
    client.send(p.Pubcomp(got.packet_id, 0x92))
    assert seen.told == [("delivered", "")]
    sender.publish("t", b"x", 2)
    client.send(p.Pubrec(client.message().packet_id, 0x97))
    assert seen.told[1:] == [("dropped", "its client refused it: 0x97 (Quota exceeded)")]


@statement("5.0/MQTT-2.2.1-4")
def test_packet_identifiers_go_round_past_those_in_use(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe(("t", 1))
    sender.publish("t", b"stays", 1)
    assert client.message().packet_id == 1
    session = client.connection.server_session
    assert session is not None
    session.outgoing.last_id = 65534
    sender.publish("t", b"x", 1)
    sender.publish("t", b"x", 1)
    assert [message.packet_id for message in client.messages()] == [65535, 2]


@statement("5.0/MQTT-2.2.1-4", "5.0/MQTT-4.9.0-2")
def test_where_there_is_quota_there_is_a_packet_identifier() -> None:
    flow = OutgoingFlow()
    for packet_id in range(1, 65535):  # a PUBREC came for each, a PUBCOMP for none
        entry = Outgoing(MESSAGE, 2, False)
        entry.packet_id = packet_id
        flow.releasing[packet_id] = entry
    flow.open(1024)
    assert flow.quota == 1
    entry = Outgoing(MESSAGE, 1, False)
    flow.start(entry, 0.0)
    assert (entry.packet_id, flow.quota) == (65535, 0)
    flow.completed(7)
    assert flow.quota == 0
    flow.acknowledged(65535)
    assert flow.quota == 1


@statement("5.0/MQTT-2.2.1-5")
def test_both_sides_use_the_same_packet_identifiers_independently(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe("t", "u")
    sender.publish("t", b"in", 2)
    assert client.message().packet_id == 1
    client.send(p.Publish("t", b"out", 2, False, False, 1))
    got = client.take()
    assert p.Pubrec(1) in got
    client.send(p.Pubrec(1), p.Pubrel(1))
    assert client.take() == [p.Pubrel(1), p.Pubcomp(1)]


# ---- the flows of QoS 1 and 2 (4.3) ----


@statement("5.0/MQTT-4.3.3-4", "5.0/MQTT-2.2.1-5")
def test_pubrec_is_answered_with_pubrel(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe("t")
    for number in range(1, 4):
        sender.publish("t", b"x", 2)
        client.expect(p.Publish)
        client.send(p.Pubrec(number, 0x10 if number == 2 else 0))
        assert client.take() == [p.Pubrel(number)]
        client.send(p.Pubcomp(number))
        assert client.take() == []


@statement("5.0/MQTT-4.3.3-4")
def test_a_repeated_pubrec_is_answered_again(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe("t")
    sender.publish("t", b"x", 2)
    client.expect(p.Publish)
    client.send(p.Pubrec(1), p.Pubrec(1))
    assert client.take() == [p.Pubrel(1), p.Pubrel(1)]


def test_pubrec_for_an_unknown_packet_identifier_is_answered_0x92(net: Net) -> None:
    client = net.connect("c")
    client.send(p.Pubrec(77))
    assert client.take() == [p.Pubrel(77, 0x92)]
    client.send(p.Pubrec(77, 0x80), p.Puback(77), p.Pubcomp(77), p.Pubcomp(77, 0x92))
    assert client.take() == []
    assert not client.closed


@statement("5.0/MQTT-4.3.2-3", "5.0/MQTT-4.3.3-3", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize(
    ("qos", "wrong"),
    [(1, p.Pubrec(1)), (1, p.Pubrec(1, 0x80)), (1, p.Pubcomp(1)), (2, p.Puback(1)), (2, p.Pubcomp(1))],
)
def test_the_wrong_answer_is_a_protocol_error(net: Net, sender: Client, qos: int, wrong: p.Packet) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    sender.publish("t", b"x", qos)
    client.expect(p.Publish)
    client.send(wrong)
    assert client.goodbye().reason_code == 0x82
    assert net.connect("c", clean=False).message() == p.Publish("t", b"x", qos, True, False, 1)


# ---- sending again (4.4) ----


@statement("5.0/MQTT-4.4.0-1", "5.0/MQTT-3.3.1-1", "5.0/MQTT-4.3.2-3", "5.0/MQTT-4.3.3-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_not_acknowledged_is_sent_again_on_the_next_connection(
    net: Net, sender: Client, qos: int
) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    sender.publish("t", b"x", qos)
    assert client.message() == p.Publish("t", b"x", qos, False, False, 1)
    for _ in range(3):
        client.drop()
        net.advance(10)
        client = net.connect("c", clean=False, expiry=60)
        assert client.message() == p.Publish("t", b"x", qos, True, False, 1)
    client.finish(p.Publish("t", b"x", qos, packet_id=1))
    client.drop()
    assert net.connect("c", clean=False).take() == []


@statement("5.0/MQTT-4.4.0-1")
@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_is_sent_again_on_the_same_connection(make: Make, qos: int) -> None:
    net = make(quiet(retry_interval=5.0))
    client, sender = net.connect("c"), net.connect("sender")
    client.subscribe("t")
    sender.publish("t", b"x", qos)
    client.expect(p.Publish)
    net.advance(1000)
    assert client.take() == []
    client.send(p.Pubrec(1) if qos == 2 else p.Pingreq())
    client.take()
    net.advance(1000)
    assert client.take() == []


@statement("5.0/MQTT-4.4.0-1", "5.0/MQTT-4.3.3-5", "5.0/MQTT-4.3.3-6")
def test_after_pubrec_only_pubrel_is_sent_again(net: Net, sender: Client) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    sender.publish("t", b"x", 2)
    client.send(p.Pubrec(1))
    for _ in range(3):
        client.drop()
        client = net.connect("c", clean=False, expiry=60)
        assert client.take() == [p.Pubrel(1)]
    client.send(p.Pubcomp(1))
    client.drop()
    assert net.connect("c", clean=False).take() == []


@statement("5.0/MQTT-4.4.0-2")
@pytest.mark.parametrize(("qos", "refusal"), [(1, p.Puback(1, 0x83)), (2, p.Pubrec(1, 0x83))], ids=["1", "2"])
def test_what_is_refused_is_not_sent_again(net: Net, sender: Client, qos: int, refusal: p.Packet) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    sender.publish("t", b"x", qos)
    client.expect(p.Publish)
    client.send(refusal)
    assert client.take() == []
    client.drop()
    client = net.connect("c", clean=False, expiry=60)
    assert client.take() == []
    sender.publish("t", b"y", qos)
    assert client.payloads() == [b"y"]


@statement("5.0/MQTT-4.6.0-1", "5.0/MQTT-4.4.0-1")
def test_messages_are_sent_again_in_their_first_order(net: Net, sender: Client) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    for number in range(8):
        sender.publish("t", b"%d" % number, 1 + number % 2)
    first = client.messages()
    client.finish(first[2], first[5])
    client.drop()
    sender.publish("t", b"new", 1)
    again = net.connect("c", clean=False).messages()
    wanted = [message for message in first if message not in (first[2], first[5])]
    assert [(m.payload, m.packet_id, m.dup) for m in again[:-1]] == [
        (m.payload, m.packet_id, True) for m in wanted
    ]
    assert (again[-1].payload, again[-1].dup) == (b"new", False)


@statement("5.0/MQTT-4.6.0-4")
def test_pubrels_are_sent_again_in_the_order_of_the_pubrecs(net: Net, sender: Client) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    for _ in range(4):
        sender.publish("t", b"x", 2)
    client.take()
    client.send(p.Pubrec(3), p.Pubrec(1), p.Pubrec(4))
    assert client.take() == [p.Pubrel(3), p.Pubrel(1), p.Pubrel(4)]
    client.drop()
    again = net.connect("c", clean=False).take()
    assert again[:3] == [p.Pubrel(3), p.Pubrel(1), p.Pubrel(4)]
    assert again[3:] == [p.Publish("t", b"x", 2, True, False, 2)]


def test_an_answer_of_the_connection_before_counts(net: Net, sender: Client) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    for number in range(3):
        sender.publish("t", b"%d" % number, 1)
    client.drop()
    client = net.connect("c", clean=False, receive_maximum=1)
    assert client.payloads() == [b"0"]
    client.send(p.Puback(2))  # not yet sent again
    assert client.take() == []
    client.send(p.Puback(1))
    assert client.payloads() == [b"2"]


# ---- order (4.6) ----


@statement("5.0/MQTT-4.6.0-5", "5.0/MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_come_in_the_order_they_were_published(net: Net, sender: Client, qos: int) -> None:
    client = net.connect("c")
    client.subscribe("t", "other/#")
    payloads = [b"%d" % number for number in range(100)]
    for payload in payloads:
        sender.publish("t", payload, qos)
        sender.publish("other/x", b"", (qos + 1) % 3)
    assert [message.payload for message in client.messages() if message.topic == "t"] == payloads


@statement("5.0/MQTT-4.6.0-5", "5.0/MQTT-4.6.0-6", "5.0/MQTT-4.5.0-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_order_holds_over_absence_and_small_receive_maximum(make: Make, qos: int) -> None:
    net = make(quiet(queue_qos0=True))
    sender = net.connect("sender")
    away(net)
    payloads = [b"%d" % number for number in range(30)]
    for payload in payloads[:20]:
        sender.publish("t", payload, qos)
        sender.publish("t", b"of another QoS", (qos + 1) % 3)
    client = net.connect("c", clean=False, receive_maximum=2)
    got: list[bytes] = []
    for payload in payloads[20:]:
        sender.publish("t", payload, qos)
    while messages := client.messages():
        got += [message.payload for message in messages if message.payload.isdigit()]
        client.finish(*messages)
    assert got == payloads


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_of_many_publishers_all_arrive(net: Net, qos: int) -> None:
    client = net.connect("c")
    client.subscribe("#")
    senders = [net.connect(f"s{number}") for number in range(10)]
    for number in range(50):
        for sender in senders:
            sender.publish("t", b"%d" % number, qos)
    got = client.payloads()
    assert sorted(got) == sorted(b"%d" % number for number in range(50) for _ in senders)
