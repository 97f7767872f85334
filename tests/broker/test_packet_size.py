"""Maximum Packet Size in both directions (5.0: 3.1.2.11.4, 3.2.2.3.6)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer
from curier.broker.hooks import Hook
from curier.codec import packets as p
from curier.codec.encode import encode
from tests.broker.conftest import Make
from tests.broker.harness import TOO_DEEP, Net, quiet
from tests.codec.cases import properties
from tests.each import each

statement = pytest.mark.statement


class Drops(Hook):
    """Who was dropped what, and why."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, str]] = []

    def on_drop(self, client_id: str, message: Any, why: str) -> None:
        self.seen.append((client_id, message.payload, why))


# ---- what a client may send ----


@statement("5.0/MQTT-3.2.2-15", "5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("known", [True, False], ids=["topic known", "topic new"])
def test_a_packet_of_the_maximum_size_is_taken_and_a_larger_one_is_not(
    make: Make, qos: int, known: bool
) -> None:
    net = make(quiet(max_packet_size=100))
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    if known:
        client.publish("t", b"", qos)
        reader.take()
    size = 100 - (6 if qos == 0 else 8)
    client.send(p.Publish("t", bytes(size), qos, False, False, 9 if qos else 0))
    assert not client.closed
    assert reader.payloads() == [bytes(size)]
    client.send(p.Publish("t", bytes(size + 1), qos, False, False, 10 if qos else 0))
    assert client.goodbye().reason_code == 0x95
    assert reader.messages() == []


@statement("5.0/MQTT-3.2.2-15")
def test_a_packet_that_is_too_large_is_refused_when_its_length_is_known(make: Make) -> None:
    net = make(quiet(max_packet_size=100))
    client = net.connect("c")
    client.send(bytes.fromhex("30 ffffff7f"))
    assert client.goodbye().reason_code == 0x95


def test_connect_may_be_smaller_only(make: Make) -> None:
    net = make()
    client = net.open()
    client.send(bytes.fromhex("10 808080 02"))  # 4 MiB, and a stranger
    assert client.closed
    assert client.take() == []


# ---- what a client is sent ----


@statement("5.0/MQTT-3.1.2-24", "5.0/MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_that_is_too_large_is_dropped_and_the_flow_goes_on(net: Net, qos: int) -> None:
    drops = Drops()
    net.core.add_hook(drops)
    client = net.connect("c", maximum_packet_size=60, receive_maximum=2)
    client.subscribe("t")
    sender = net.connect("sender")
    fits = 60 - (6 if qos == 0 else 8)
    for size in (fits, fits + 1, fits - 1, 1000, fits, 100):
        assert sender.publish("t", bytes(size), qos) == 0
    got = client.messages()
    client.finish(*got)
    got += client.messages()
    assert [len(payload) for payload in (message.payload for message in got)] == [fits, fits - 1, fits]
    client.finish(*got[2:])
    assert [(name, len(payload)) for name, payload, _ in drops.seen] == [
        ("c", fits + 1),
        ("c", 1000),
        ("c", 100),
    ]
    assert net.core.sessions["c"].outgoing.unfinished() == []
    sender.publish("t", b"on", qos)
    assert client.payloads() == [b"on"]


@statement("5.0/MQTT-3.1.2-24")
def test_properties_of_the_subscription_count(net: Net) -> None:
    client = net.connect("c", maximum_packet_size=60)
    client.subscribe("t", subscription_identifiers=[5])
    sender = net.connect("sender")
    sender.publish("t", bytes(53), 0)
    sender.publish("t", bytes(52), 0)
    assert client.payloads() == [bytes(52)]


@statement("5.0/MQTT-3.1.2-24", "5.0/MQTT-3.1.2-26")
@pytest.mark.parametrize("qos", [0, 1])
def test_a_topic_alias_costs_no_message(net: Net, qos: int) -> None:
    client = net.connect("c", maximum_packet_size=60, topic_alias_maximum=5)
    client.subscribe("long/topic")
    sender = net.connect("sender")
    fits = 60 - (15 if qos == 0 else 17)
    for _ in range(2):
        sender.publish("long/topic", bytes(fits), qos)  # fits without an alias, not with one
    assert client.payloads() == [bytes(fits)] * 2


@statement("5.0/MQTT-3.1.2-24", "5.0/MQTT-3.1.2-25")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_smaller_maximum_on_the_next_connection_is_kept_to(net: Net, qos: int) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    sender = net.connect("sender")
    for size in (100, 10, 200, 20):
        sender.publish("t", bytes(size), qos)
    assert len(client.messages()) == 4
    client.drop()
    sender.publish("t", bytes(300), qos)
    sender.publish("t", bytes(30), qos)
    client = net.connect("c", clean=False, maximum_packet_size=64, receive_maximum=1)
    got = []
    while messages := client.messages():
        got += messages
        client.finish(*messages)
    assert [len(message.payload) for message in got] == [10, 20, 30]


@statement("5.0/MQTT-3.1.2-24")
def test_retained_messages_that_are_too_large_are_passed_over(net: Net) -> None:
    sender = net.connect("sender")
    for number in range(6):
        sender.publish(f"t/{number}", bytes(20 + 20 * number), 1, True)
    client = net.connect("c", maximum_packet_size=64)
    client.subscribe("t/#")
    assert [message.topic for message in client.messages()] == ["t/0", "t/1"]


# ---- what is left out to make a packet smaller ----


@statement("5.0/MQTT-3.2.2-19", "5.0/MQTT-3.2.2-20")
@pytest.mark.parametrize(("maximum", "told"), [(None, True), (40, True), (27, True), (26, False), (5, False)])
def test_connack_leaves_its_reason_string_out(make: Make, maximum: int | None, told: bool) -> None:
    net = make(authenticate=lambda question: Answer(0x87, "x" * 19))
    client = net.send_connect("c", maximum_packet_size=maximum)
    connack = client.expect(p.Connack)
    assert connack.reason_code == 0x87
    assert (connack.properties is not None) is told
    assert client.closed


@statement("5.0/MQTT-3.2.2-19", "5.0/MQTT-3.1.2-24")
@each(("maximum", "said"), [(None, 200), (200, 200), (40, 5), (5, 5), (4, 0)])
@each("wrong", ["client id", "will topic", "size"])
def test_a_connect_that_is_wrong_is_answered_within_its_own_limit(
    make: Make, maximum: int | None, said: int, wrong: str
) -> None:
    net = make(quiet(max_packet_size=150))
    limit = properties(maximum_packet_size=maximum)
    packet = encode(p.Connect(5, "c" * 9, True, 0, will=p.Will("t" * 9, b""), properties=limit), 5)
    if wrong == "client id":
        packet = packet.replace(b"c" * 9, b"\xff" * 9)
    elif wrong == "will topic":
        packet = packet.replace(b"t" * 9, b"t" * 8 + b"#")
    else:
        packet = b"\x10\xff\x7f" + packet[2:]
    client = net.open()
    client.send(packet)
    assert client.closed
    answers = [len(encode(packet, 5)) for packet in client.take()]
    if not said:
        assert answers == []
    else:
        assert (answers[0] > 5) is (said > 5)
        assert answers[0] <= said


@statement("5.0/MQTT-3.1.2-24", "5.0/MQTT-3.1.4-2")
@pytest.mark.parametrize("maximum", [1, 4, 5, 15])
def test_who_cannot_take_connack_is_not_let_in(net: Net, maximum: int) -> None:
    will = p.Will("t", b"")
    client = net.send_connect("c", will=will, maximum_packet_size=maximum)
    assert client.closed
    assert [
        (type(packet), packet.reason_code) for packet in client.take() if isinstance(packet, p.Connack)
    ] == ([(p.Connack, 0x83)] if maximum >= 5 else [])
    assert net.core.sessions == {}
    assert net.core.statistics.connected == 0


@statement(
    "5.0/MQTT-3.4.2-2", "5.0/MQTT-3.4.2-3", "5.0/MQTT-3.5.2-2", "5.0/MQTT-3.5.2-3", "5.0/MQTT-3.1.2-24"
)
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize(("missing", "told"), [(-10, True), (0, True), (1, False), (30, False)])
def test_puback_and_pubrec_leave_their_reason_string_out(
    net: Net, missing: int, told: bool, qos: int
) -> None:
    why = properties(reason_string="topics below $SYS belong to the server")
    whole = p.Puback(3, 0x87, why) if qos == 1 else p.Pubrec(3, 0x87, why)
    client = net.connect("c", maximum_packet_size=len(encode(whole, 5)) - missing)
    client.send(p.Publish("$SYS/x", b"", qos, False, False, 3))
    short = p.Puback(3, 0x87) if qos == 1 else p.Pubrec(3, 0x87)
    assert client.take() == [whole if told else short]


@statement(
    "5.0/MQTT-3.6.2-2", "5.0/MQTT-3.6.2-3", "5.0/MQTT-3.7.2-2", "5.0/MQTT-3.7.2-3", "5.0/MQTT-3.1.2-24"
)
@pytest.mark.parametrize("maximum", [None, 16])
def test_pubrel_and_pubcomp_have_nothing_to_leave_out(net: Net, maximum: int | None) -> None:
    client = net.connect("c", maximum_packet_size=maximum)
    client.send(p.Pubrec(7), p.Pubrel(8), p.Publish("t", b"", 2, packet_id=9))
    assert client.take() == [p.Pubrel(7, 0x92), p.Pubcomp(8, 0x92), p.Pubrec(9, 0x10)]
    client.send(p.Pubrel(9))
    assert client.take() == [p.Pubcomp(9)]


@statement("5.0/MQTT-3.9.2-1", "5.0/MQTT-3.9.2-2", "5.0/MQTT-3.1.2-24")
@pytest.mark.parametrize(("maximum", "told"), [(100, True), (20, False)])
def test_suback_leaves_its_reason_string_out(net: Net, maximum: int, told: bool) -> None:
    client = net.connect("c", maximum_packet_size=maximum)
    client.send(p.Subscribe(1, [(TOO_DEEP, 0)]))
    suback = client.expect(p.Suback)
    assert suback.reason_codes == [0x8F]
    assert (suback.properties is not None) is told


@statement("5.0/MQTT-3.14.2-3", "5.0/MQTT-3.14.2-4", "5.0/MQTT-3.1.2-24")
@pytest.mark.parametrize(("maximum", "told"), [(100, True), (20, False)])
def test_disconnect_leaves_its_reason_string_out(net: Net, maximum: int, told: bool) -> None:
    client = net.connect("c", maximum_packet_size=maximum)
    client.send(p.Connect(5, "c"))
    assert (client.goodbye().properties is not None) is told


@statement("5.0/MQTT-3.1.2-24", "5.0/MQTT-3.9.2-1", "5.0/MQTT-3.11.2-1", "5.0/MQTT-3.11.2-2")
@pytest.mark.parametrize("kind", [p.Subscribe, p.Unsubscribe])
def test_an_answer_that_cannot_be_made_small_enough_ends_the_connection(
    net: Net, kind: type[p.Packet]
) -> None:
    client = net.connect("c", maximum_packet_size=30)
    names = [f"t/{number}" for number in range(25)]
    packet: p.Packet = p.Unsubscribe(1, names)
    if kind is p.Subscribe:
        packet = p.Subscribe(1, [(name, 0) for name in names])
    client.send(encode(packet, 5))
    client.take()
    assert not client.closed
    names.append("one/too/many")
    packet = (
        p.Unsubscribe(2, names) if kind is p.Unsubscribe else p.Subscribe(2, [(name, 0) for name in names])
    )
    client.send(encode(packet, 5))
    assert client.goodbye().reason_code == 0x95


@statement("5.0/MQTT-3.15.2-2", "5.0/MQTT-3.15.2-3", "5.0/MQTT-3.1.2-24")
def test_auth_has_no_reason_string_and_must_fit(make: Make) -> None:
    answers = [Answer(0x18, "never told", data=b"x" * 10), Answer(0x18, data=b"x" * 100)]
    net = make(authenticate=lambda question: answers.pop(0), authentication_methods=frozenset({"m"}))
    client = net.send_connect("c", authentication_method="m", maximum_packet_size=30)
    asked = client.expect(p.Auth)
    assert asked.properties is not None
    assert asked.properties.reason_string is None
    client.send(asked)
    assert client.closed
    assert client.expect(p.Connack).reason_code == 0x83


def test_a_reason_string_is_never_longer_than_a_string_may_be(net: Net) -> None:
    client = net.connect("c")
    client.send(p.Publish("x" * 60_000 + "/" + "\x01" * 5000, b""))
    name = b"\x01" * 65_534 + b"#"
    client.send(b"\x30" + b"\x82\x80\x04" + b"\xff\xff" + name + b"\x00")
    goodbye = client.goodbye()
    assert goodbye.reason_code == 0x81
    assert goodbye.properties is not None
    assert goodbye.properties.reason_string is not None
    assert len(goodbye.properties.reason_string) < 1000


@statement("5.0/MQTT-3.6.2-2", "5.0/MQTT-3.6.2-3", "5.0/MQTT-3.7.2-2", "5.0/MQTT-3.7.2-3")
def test_pubrel_and_pubcomp_never_grow_by_properties(make: Make) -> None:
    net = make(quiet())
    client = net.connect("c", maximum_packet_size=40)
    client.send(p.Pubrec(77), p.Pubrel(78))  # both unknown: there would be something to explain
    assert client.take() == [p.Pubrel(77, 0x92), p.Pubcomp(78, 0x92)]
    client.send(p.Publish("t", b"", 2, False, False, 9), p.Pubrel(9))
    assert client.take() == [p.Pubrec(9, 0x10), p.Pubcomp(9)]
