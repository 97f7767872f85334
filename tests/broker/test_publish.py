"""What a client publishes: how it is answered, what is refused (5.0: 3.3, 3.4, 3.5, 4.3, 4.5)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer, Authorize
from curier.broker.hooks import Hook
from curier.codec import packets as p
from curier.codec.constants import PUBACK
from curier.codec.reasons import reason_code_allowed
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties
from tests.each import each

statement = pytest.mark.statement

RESERVED = [
    "$SYS/broker/uptime",
    "$SYS",
    "$SYS/broker/connection/state",
    "$share/g/t",
    "$queue/t",
    "$curier/t",
]

NOBODY = 0x10  # No matching subscribers


def publish(
    packet_id: int, payload: bytes = b"x", qos: int = 1, topic: str = "t", dup: bool = False
) -> p.Publish:
    return p.Publish(topic, payload, qos, dup, False, packet_id if qos else 0)


# ---- the answer ----


@statement("5.0/MQTT-3.3.4-1")
@pytest.mark.parametrize(
    ("qos", "answers"), [(0, []), (1, [p.Puback(5, NOBODY)]), (2, [p.Pubrec(5, NOBODY)])], ids=["0", "1", "2"]
)
def test_each_qos_has_its_answer(net: Net, qos: int, answers: list[p.Packet]) -> None:
    client = net.connect("c")
    client.send(publish(5, qos=qos))
    assert client.take() == answers


@statement("5.0/MQTT-4.3.2-4", "5.0/MQTT-2.2.1-5", "5.0/MQTT-4.5.0-1")
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_a_qos_1_message_is_delivered_and_acknowledged(net: Net, packet_id: int) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    client.send(publish(packet_id))
    assert client.take() == [p.Puback(packet_id)]
    assert reader.payloads() == [b"x"]


@statement("5.0/MQTT-4.3.2-5")
@pytest.mark.parametrize("dup", [False, True])
def test_after_puback_the_same_packet_identifier_is_a_new_message(net: Net, dup: bool) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    client.send(publish(7, b"one"))
    client.send(publish(7, b"two", dup=dup))
    assert client.take() == [p.Puback(7), p.Puback(7)]
    assert reader.payloads() == [b"one", b"two"]


@statement("5.0/MQTT-4.3.3-8", "5.0/MQTT-4.3.3-11", "5.0/MQTT-2.2.1-5")
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
def test_a_qos_2_message_is_delivered_and_acknowledged_in_two_steps(net: Net, packet_id: int) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    client.send(publish(packet_id, qos=2))
    assert client.take() == [p.Pubrec(packet_id)]
    client.send(p.Pubrel(packet_id))
    assert client.take() == [p.Pubcomp(packet_id)]
    assert reader.payloads() == [b"x"]


@statement("5.0/MQTT-4.3.3-10")
@pytest.mark.parametrize("dup", [True, False])
@pytest.mark.parametrize("reconnects", [True, False])
def test_until_pubrel_a_repeated_qos_2_message_is_answered_and_not_delivered(
    net: Net, dup: bool, reconnects: bool
) -> None:
    reader, client = net.connect("reader"), net.connect("c", expiry=60)
    reader.subscribe("t")
    client.send(publish(7, qos=2))
    assert client.take() == [p.Pubrec(7)]
    if reconnects:
        client.drop()
        client = net.connect("c", clean=False)
    client.send(publish(7, qos=2, dup=dup), publish(7, qos=2, dup=True))
    assert client.take() == [p.Pubrec(7), p.Pubrec(7)]
    client.send(p.Pubrel(7))
    assert client.take() == [p.Pubcomp(7)]
    assert reader.payloads() == [b"x"]


@statement("5.0/MQTT-4.3.3-12")
@pytest.mark.parametrize("dup", [True, False])
def test_after_pubcomp_the_same_packet_identifier_is_a_new_message(net: Net, dup: bool) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    client.publish("t", b"one", 2)
    client.send(publish(1, b"two", 2, dup=dup))
    assert client.take() == [p.Pubrec(1)]
    assert reader.payloads() == [b"one", b"two"]


@statement("5.0/MQTT-4.3.3-9")
def test_after_a_refusing_pubrec_the_same_packet_identifier_is_a_new_message(make: Make) -> None:
    verdicts = {b"no": Answer(0x87), b"t": Answer(0)}
    net = make(authorize=lambda question: verdicts[question.topic])
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    client.send(publish(7, qos=2, topic="no"))
    assert client.expect(p.Pubrec).reason_code == 0x87
    client.send(publish(7, b"new", 2, dup=True))
    assert client.take() == [p.Pubrec(7)]
    assert reader.payloads() == [b"new"]


@statement("5.0/MQTT-4.3.3-11")
def test_pubrel_for_an_unknown_packet_identifier_is_answered_too(net: Net) -> None:
    client = net.connect("c")
    client.send(p.Pubrel(9), p.Pubrel(9, 0x92))
    assert client.take() == [p.Pubcomp(9, 0x92), p.Pubcomp(9, 0x92)]


@statement("5.0/MQTT-4.3.3-11")
def test_pubrel_may_come_on_the_next_connection(net: Net) -> None:
    client = net.connect("c", expiry=60)
    client.send(publish(7, qos=2))
    client.drop()
    client = net.connect("c", clean=False)
    client.send(p.Pubrel(7))
    assert client.take() == [p.Pubcomp(7)]


@statement("5.0/MQTT-4.3.3-13")
def test_a_qos_2_flow_goes_on_though_the_message_has_expired(net: Net) -> None:
    reader, client = net.connect("reader", expiry=100), net.connect("c")
    reader.subscribe("t")
    reader.drop()
    client.send(p.Publish("t", b"x", 2, False, False, 7, properties(message_expiry_interval=5)))
    net.advance(10)
    client.send(p.Publish("t", b"x", 2, True, False, 7, properties(message_expiry_interval=5)))
    client.send(p.Pubrel(7))
    assert client.take() == [p.Pubrec(7), p.Pubrec(7), p.Pubcomp(7)]
    assert net.connect("reader", clean=False).take() == []


def test_answers_come_in_the_order_of_the_messages(net: Net) -> None:
    reader, client = net.connect("reader", expiry=60), net.connect("c")
    reader.subscribe("t")
    kinds = [1, 2, 2, 1, 1, 2]
    client.send(*(publish(number, qos=qos) for number, qos in enumerate(kinds, 1)))
    wanted = [p.Puback(number) if qos == 1 else p.Pubrec(number) for number, qos in enumerate(kinds, 1)]
    assert client.take() == wanted


def test_a_packet_in_pieces_is_one_packet(net: Net) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    raw = bytes.fromhex("3207 0001 74 0003 00 21") * 3 + bytes.fromhex("3005 0001 74 00 22")
    for start in range(0, len(raw), 4):
        client.send(raw[start : start + 4])
    assert client.take() == [p.Puback(3)] * 3
    assert reader.payloads() == [b"!", b"!", b"!", b'"']


def test_a_large_message_arrives_whole(net: Net) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    payload = bytes(range(256)) * 4096
    client.publish("t", payload, 1)
    assert reader.payloads() == [payload]


# ---- refusals ----


def refusing(net: Net, qos: int, reason_code: int, why: str | None) -> None:
    """A publish to ``no`` is refused with this Reason Code, and the connection goes on."""
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("#")
    client.send(publish(3, topic="no", qos=qos))
    made = properties(reason_string=why) if why else None
    assert client.take() == [[], [p.Puback(3, reason_code, made)], [p.Pubrec(3, reason_code, made)]][qos]
    client.publish("yes", b"y", 1)
    assert watch.payloads() == [b"y"]


@statement("5.0/MQTT-3.4.2-1", "5.0/MQTT-3.5.2-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_who_may_not_publish_is_told_so(make: Make, qos: int) -> None:
    net = make(authorize=lambda question: Answer(0x87 if question.topic == b"no" else 0))
    refusing(net, qos, 0x87, "not authorized to publish to this topic")


@statement("5.0/MQTT-3.4.2-1", "5.0/MQTT-3.5.2-1")
@each("reason_code", [0x80, 0x83, 0x87, 0x90, 0x97, 0x99, 0x86, 0x8E, 0x96])
@each("qos", [0, 1, 2])
def test_a_hook_may_refuse_a_message(make: Make, qos: int, reason_code: int) -> None:
    net = make()

    class Refuse(Hook):
        def on_publish(self, connection: object, message: Any) -> int:
            return reason_code if message.topic == b"no" else 0

    net.core.add_hook(Refuse())
    allowed = reason_code_allowed(PUBACK, reason_code, 5)
    shown = reason_code if allowed else 0x87 if reason_code == 0x86 else 0x80
    refusing(net, qos, shown, "refused by a hook")


@statement("5.0/MQTT-4.7.2-1")
@each("qos", [0, 1, 2])
@each("topic", RESERVED)
def test_topics_of_the_server_are_not_for_clients(make: Make, qos: int, topic: str) -> None:
    net = make()
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("$SYS/#", "#")
    for _ in range(2):
        code = client.publish(topic, b"x", qos)
        assert code == (0x87 if qos else 0)
    client.publish(topic, b"x", qos, True)
    assert watch.messages() == []
    assert len(net.core.retained) == 0


@pytest.mark.parametrize("topic", [*RESERVED, "$queue/#", "$curier/+", "$share/g/$queue/t"])
def test_nor_may_anybody_wait_for_what_cannot_come(net: Net, topic: str) -> None:
    heard = topic.startswith("$SYS") or topic == "$share/g/t"
    assert net.connect("c").subscribe(topic, "t") == [2 if heard else 0x8F, 2]


@statement("5.0/MQTT-4.7.2-1")
@each("qos", [0, 1, 2])
@each("topic", ["$aws/things/a/shadow", "$x", "$SYStem/a", "$", "$shared/a", "$queued"])
def test_other_topics_that_begin_with_a_dollar_are_like_any_other(make: Make, qos: int, topic: str) -> None:
    net = make()
    exact, all_of_it, client = net.connect("exact"), net.connect("all"), net.connect("c")
    exact.subscribe(topic, topic + "/#")
    all_of_it.subscribe("#", "+/#", "+")
    for _ in range(3):  # the third finds a route that is known
        assert client.publish(topic, b"x", qos) == 0
    assert exact.payloads() == [b"x"] * 3
    client.publish(topic, b"kept", qos, True)
    assert exact.payloads() == [b"kept"]
    late = net.connect("late")
    late.subscribe(topic, "#")
    assert [(message.topic, message.payload) for message in late.messages()] == [(topic, b"kept")]
    assert all_of_it.messages() == []


@statement("5.0/MQTT-4.7.2-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_nor_are_they_where_the_broker_publishes_to_them(make: Make, qos: int) -> None:
    net = make(quiet(sys_interval=10.0))
    net.advance(0)
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("$SYS/broker/uptime")
    net.advance(20)
    assert {message.topic for message in watch.messages()} == {"$SYS/broker/uptime"}
    client.publish("$SYS/broker/uptime", b"for ever", qos)
    assert watch.messages() == []


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_topic_name_with_too_many_levels_is_refused(make: Make, qos: int) -> None:
    net = make(quiet(max_topic_levels=3))
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("#")
    assert client.publish("a/b/c", b"x", qos) == 0
    assert client.publish("a/b/c/d", b"x", qos) == (0x90 if qos else 0)
    assert [message.topic for message in watch.messages()] == ["a/b/c"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_topic_name_that_is_too_long_is_refused(make: Make, qos: int) -> None:
    net = make(quiet(max_topic_length=256))
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("#")
    assert client.publish("a" * 256, b"x", qos) == 0
    assert client.publish("a" * 257, b"x", qos) == (0x90 if qos else 0)
    assert [message.topic for message in watch.messages()] == ["a" * 256]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_payload_that_is_not_the_text_it_claims_to_be_is_refused_where_asked_for(
    make: Make, qos: int
) -> None:
    net = make(quiet(check_payload_format=True))
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("#")
    assert client.publish("t", b"\xc3\xa9", qos, payload_format_indicator=1) == 0
    assert client.publish("t", b"\xc3", qos, payload_format_indicator=1) == (0x99 if qos else 0)
    assert client.publish("t", b"\xc3", qos, payload_format_indicator=0) == 0
    assert client.publish("t", b"\xc3", qos) == 0
    assert watch.payloads() == [b"\xc3\xa9", b"\xc3", b"\xc3"]


def test_a_payload_is_taken_at_its_word_otherwise(net: Net) -> None:
    assert net.connect("c").publish("t", b"\xc3", 1, payload_format_indicator=1) == NOBODY


def test_a_refusal_without_an_answer_is_not_told_with_the_next_one(net: Net) -> None:
    client = net.connect("c")
    client.publish("$nobody", b"x", 0)
    client.send(publish(1))
    assert client.take() == [p.Puback(1, NOBODY)]


def test_what_is_accepted_without_receivers_is_said_to_be_so(net: Net) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    assert client.publish("t", b"x", 1) == client.publish("t", b"x", 2) == NOBODY
    reader.subscribe("t")
    assert client.publish("t", b"x", 1) == client.publish("t", b"x", 2) == 0
    reader.unsubscribe("t")
    assert client.publish("t", b"x", 1) == NOBODY


# ---- permissions ----


def test_permission_is_asked_once_for_each_topic_qos_and_retain(make: Make) -> None:
    asked: list[tuple[bytes, int, bool]] = []

    def authorize(question: Authorize) -> Answer:
        assert question.action == "publish"
        asked.append((question.topic, question.qos, question.retain))
        return Answer(0)

    net = make(authorize=authorize)
    client = net.connect("c")
    for _ in range(3):
        client.publish("t", b"x", 0)
        client.publish("t", b"x", 1)
        client.publish("t", b"x", 1, True)
        client.publish("u", b"x", 0)
    assert asked == [(b"t", 0, False), (b"t", 1, False), (b"t", 1, True), (b"u", 0, False)]
    net.core.permissions_changed()
    client.publish("t", b"x", 0)
    assert asked[4:] == [(b"t", 0, False)]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_permission_that_is_taken_away_is_no_permission(make: Make, qos: int) -> None:
    answers = [Answer(0), Answer(0x87)]
    net = make(authorize=lambda question: Answer(0) if question.action == "subscribe" else answers[0])
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("t")
    client.publish("t", b"one", qos)
    client.publish("t", b"two", qos)
    answers.pop(0)
    client.publish("t", b"three", qos)
    net.core.permissions_changed()
    assert client.publish("t", b"four", qos) == (0x87 if qos else 0)
    watch.subscribe("other")  # brings all routes up to date
    client.publish("t", b"five", qos)
    assert watch.payloads() == [b"one", b"two", b"three"]


def test_a_client_waits_for_its_permission_and_others_do_not(make: Make) -> None:
    net = make(authorize=lambda question: Answer(0) if question.topic != b"slow" else None)
    watch, client, other = net.connect("watch"), net.connect("c"), net.connect("other")
    watch.subscribe("#")
    client.send(publish(1, b"1", topic="slow"), publish(2, b"2"), p.Pingreq())
    client.send(publish(3, b"3"))
    other.publish("t", b"other", 1)
    assert client.take() == []
    assert watch.payloads() == [b"other"]
    net.answer(Answer(0))
    assert client.take() == [p.Puback(1), p.Puback(2), p.Pingresp(), p.Puback(3)]
    assert watch.payloads() == [b"1", b"2", b"3"]
    assert net.questions == []


def test_a_client_that_left_before_the_answer_publishes_nothing(make: Make) -> None:
    net = make(authorize=lambda question: Answer(0) if question.topic != b"slow" else None)
    watch, client = net.connect("watch"), net.connect("c")
    watch.subscribe("#")
    client.send(publish(1, topic="slow"))
    client.drop()
    net.answer(Answer(0))
    assert watch.messages() == []


def test_permissions_are_asked_for_again_when_there_are_too_many() -> None:
    net = Net("fast", authorize=lambda question: Answer(0x87 if question.topic == b"t/7" else 0))
    client = net.connect("c")
    client.send(*(p.Publish(f"t/{number}", b"x") for number in range(4200)))
    assert 100 < len(client.connection.verdicts) <= 4096
    assert client.publish("t/7", b"x", 1) == 0x87
    assert client.publish("t/8", b"x", 1) == NOBODY
