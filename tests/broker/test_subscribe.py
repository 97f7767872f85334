"""SUBSCRIBE and UNSUBSCRIBE (5.0: 3.8 to 3.11, 3.3.4, 4.7)."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer, Authorize
from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import TOO_DEEP, Net, quiet
from tests.codec.cases import NO_FILTERS, properties
from tests.each import each

statement = pytest.mark.statement

NO_LOCAL = 4
AS_PUBLISHED = 8


@pytest.fixture
def sender(net: Net) -> Client:
    return net.connect("sender")


def identifiers(message: p.Publish) -> list[int]:
    return sorted(message.properties.subscription_identifiers) if message.properties is not None else []


# ---- SUBACK ----


@statement("5.0/MQTT-3.8.4-1", "5.0/MQTT-3.8.4-2", "5.0/MQTT-2.2.1-6", "5.0/MQTT-3.8.4-7")
@pytest.mark.parametrize("packet_id", [1, 256, 65535])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_subscribe_is_answered_with_suback(net: Net, packet_id: int, qos: int) -> None:
    client = net.connect("c")
    client.send(p.Subscribe(packet_id, [("t", qos)]))
    assert client.take() == [p.Suback(packet_id, [qos])]


@statement("5.0/MQTT-3.8.4-5", "5.0/MQTT-3.8.4-6", "5.0/MQTT-3.9.3-1", "5.0/MQTT-3.9.3-2", "5.0/MQTT-3.8.4-7")
def test_suback_has_a_reason_code_for_each_filter_in_order(make: Make) -> None:
    net = make(authorize=lambda question: Answer(0x87 if question.topic == b"no" else 0))
    client = net.connect("c")
    codes = client.subscribe(("a", 1), (TOO_DEEP, 1), ("no", 0), ("b", 2), ("c", 0))
    assert codes == [1, 0x8F, 0x87, 2, 0]
    assert list(net.core.sessions["c"].subscriptions) == [b"a", b"b", b"c"]


@statement("5.0/MQTT-3.8.4-5")
def test_many_filters_in_one_packet_are_as_many_subscriptions(net: Net, sender: Client) -> None:
    client = net.connect("c")
    assert client.subscribe(("a", 0), ("b/+", 1), ("a", 2), subscription_identifiers=[9]) == [0, 1, 2]
    sender.publish("a", b"x", 2)
    sender.publish("b/c", b"x", 2)
    assert [(message.qos, identifiers(message)) for message in client.messages()] == [(2, [9]), (1, [9])]


@pytest.mark.parametrize("told", [None, 1, 0])
@statement("5.0/MQTT-3.1.2-29")
def test_suback_says_why_if_that_is_wanted(net: Net, told: int | None) -> None:
    client = net.connect("c", request_problem_information=told)
    client.send(p.Subscribe(1, [(TOO_DEEP, 0)]))
    suback = client.expect(p.Suback)
    assert (suback.properties is None) == (told == 0)


@statement("5.0/MQTT-3.1.2-29", "5.0/MQTT-3.4.2-3", "5.0/MQTT-3.5.2-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_no_other_packet_says_why_if_that_is_not_wanted(net: Net, qos: int) -> None:
    client = net.connect("c", request_problem_information=0)
    client.send(p.Publish("$SYS/no", b"", qos, False, False, 1))
    assert client.take() == [p.Puback(1, 0x87) if qos == 1 else p.Pubrec(1, 0x87)]
    client.send(p.Pubrel(7), p.Pubrec(8), p.Unsubscribe(9, ["nothing"]))
    assert client.take() == [p.Pubcomp(7, 0x92), p.Pubrel(8, 0x92), p.Unsuback(9, [0x11])]
    client.send(p.Connect(5, "c"))
    assert client.goodbye().properties is not None  # DISCONNECT may


@statement("5.0/MQTT-3.1.2-29")
def test_messages_keep_their_user_properties_though_reasons_are_not_wanted(net: Net, sender: Client) -> None:
    client = net.connect("c", request_problem_information=0)
    client.subscribe("t")
    sender.publish("t", b"x", 0, user_properties=[("k", "v")])
    assert client.message().properties == properties(user_properties=[("k", "v")])


# ---- permissions ----


def test_permission_is_asked_for_every_filter_before_any_is_granted(make: Make) -> None:
    asked: list[tuple[str, bytes, int]] = []

    def authorize(question: Authorize) -> Answer | None:
        asked.append((question.action, question.topic, question.qos))
        return None

    net = make(authorize=authorize)
    client = net.connect("c")
    client.send(p.Subscribe(1, [("a", 0), (TOO_DEEP, 1), ("c", 1), ("a", 2)]), p.Pingreq())
    while net.questions:
        assert client.take() == []
        assert not net.core.sessions["c"].subscriptions
        net.answer(Answer(0))
    assert client.take() == [p.Suback(1, [0, 0x8F, 1, 2], properties(reason_string=LEVELS)), p.Pingresp()]
    assert sorted(asked) == [("subscribe", b"a", 0), ("subscribe", b"a", 2), ("subscribe", b"c", 1)]


LEVELS = "a Topic Filter must not have more than 128 levels here, and this has 129"


@pytest.mark.parametrize("answers_at_once", [True, False])
def test_a_subscribe_with_very_many_filters_is_asked_about_to_the_end(answers_at_once: bool) -> None:
    asked: list[bytes] = []

    def authorize(question: Authorize) -> Answer | None:
        asked.append(question.topic)
        return Answer(0x87 if question.topic == b"t/4500" else 0) if answers_at_once else None

    net = Net("fast", authorize=authorize)
    client = net.connect("c")
    for number in range(2000):
        client.connection.verdicts[b"%d" % number] = 0  # of many topics before
    client.send(p.Subscribe(1, [(f"t/{number}", 0) for number in range(5000)]))
    while net.questions:
        net.answer(Answer(0x87 if net.questions[0].topic == b"t/4500" else 0))  # type: ignore[attr-defined]
    codes = client.expect(p.Suback).reason_codes
    assert [number for number, code in enumerate(codes) if code] == [4500]
    assert len(asked) == 5000
    net.authorize = lambda question: Answer(0)
    client.subscribe("one more")
    client.publish("t", b"x")
    assert len(client.connection.verdicts) <= 4096


def test_a_subscription_may_be_refused_with_any_reason(make: Make) -> None:
    net = make(authorize=lambda question: Answer(int(question.topic)))
    client = net.connect("c")
    wanted = {
        0x80: 0x80,
        0x83: 0x83,
        0x87: 0x87,
        0x8F: 0x8F,
        0x97: 0x97,
        0x9E: 0x9E,
        0xA2: 0xA2,
        0x8A: 0x87,
        0x96: 0x80,
    }
    assert client.subscribe(*(str(code) for code in wanted)) == list(wanted.values())


# ---- replacing a subscription (3.8.4) ----


@statement("5.0/MQTT-3.8.4-3")
def test_the_same_filter_again_replaces_the_subscription(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe(("t", 2 | NO_LOCAL), subscription_identifiers=[1])
    client.subscribe(("t", 1), subscription_identifiers=[2])
    sender.publish("t", b"x", 2)
    message = client.message()
    assert (message.qos, identifiers(message)) == (1, [2])
    client.publish("t", b"own", 0)
    assert client.payloads() == [b"own"]
    client.subscribe(("t", 0))
    sender.publish("t", b"x", 2)
    message = client.message()
    assert (message.qos, identifiers(message)) == (0, [])
    assert client.unsubscribe("t") == [0]
    sender.publish("t", b"x", 2)
    assert client.take() == []


@statement("5.0/MQTT-3.8.4-4")
@pytest.mark.parametrize("qos", [1, 2])
def test_replacing_a_subscription_loses_no_message(net: Net, sender: Client, qos: int) -> None:
    client = net.connect("c", receive_maximum=1)
    client.subscribe("t")
    for number in range(10):
        sender.publish("t", b"%d" % number, qos)
        client.subscribe(("t", 2))
    got: list[bytes] = []
    while messages := client.messages():
        got += [message.payload for message in messages]
        client.finish(*messages)
    assert got == [b"%d" % number for number in range(10)]


@statement("5.0/MQTT-3.8.4-3")
def test_filters_that_are_not_identical_are_different_subscriptions(net: Net) -> None:
    client = net.connect("c")
    for number, one in enumerate(["t", "T", "t/", "/t", "+", "#", "t/#", "$share/g/t", "$share/h/t"], 1):
        client.subscribe(one)
        assert len(net.core.sessions["c"].subscriptions) == number


# ---- overlapping subscriptions (3.3.4) ----


@statement("5.0/MQTT-3.3.4-2", "5.0/MQTT-3.3.4-3", "5.0/MQTT-3.3.4-4")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_overlapping_subscriptions_give_one_copy_at_the_highest_qos_with_all_identifiers(
    net: Net, sender: Client, qos: int
) -> None:
    client = net.connect("c")
    client.subscribe(("a/b", 0), subscription_identifiers=[1])
    client.subscribe(("a/+", 2), subscription_identifiers=[268_435_455])
    client.subscribe(("#", 1))
    client.subscribe(("a/#", 1), subscription_identifiers=[1])
    client.subscribe(("b/#", 2), subscription_identifiers=[4])
    sender.publish("a/b", b"x", qos)
    message = client.message()
    assert (message.qos, identifiers(message)) == (qos, [1, 1, 268_435_455])


@statement("5.0/MQTT-3.3.4-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_client_gets_its_own_identifiers(net: Net, sender: Client, qos: int) -> None:
    clients = [net.connect(f"c{number}", expiry=60) for number in range(4)]
    for number, client in enumerate(clients):
        client.subscribe("t", **({"subscription_identifiers": [number]} if number else {}))
    clients[3].drop()
    sender.publish("t", b"x", qos)
    assert [identifiers(client.message()) for client in clients[:3]] == [[], [1], [2]]
    if qos:
        assert identifiers(net.connect("c3", clean=False).message()) == [3]


@statement("5.0/MQTT-3.3.4-6", "5.0/MQTT-4.13.1-1")
def test_identifiers_of_a_publisher_are_a_protocol_error(net: Net) -> None:
    client = net.connect("c")
    client.send(p.Publish("t", b"", 0, False, False, 0, properties(subscription_identifiers=[1])))
    assert client.goodbye().reason_code == 0x82


# ---- No Local ----


@statement("5.0/MQTT-3.8.3-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_local_keeps_own_messages_away(net: Net, sender: Client, qos: int) -> None:
    client = net.connect("c")
    client.subscribe(("t", 2 | NO_LOCAL))
    other = net.connect("other")
    other.subscribe(("t", 2 | NO_LOCAL))
    assert client.publish("t", b"own", qos) == 0
    sender.publish("t", b"other", qos)
    assert client.payloads() == [b"other"]
    assert other.payloads() == [b"own", b"other"]


@statement("5.0/MQTT-3.8.3-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_local_concerns_its_own_subscription_only(net: Net, sender: Client, qos: int) -> None:
    client = net.connect("c")
    client.subscribe(("t", 2 | NO_LOCAL), subscription_identifiers=[1])
    client.subscribe(("#", 1), subscription_identifiers=[2])
    client.publish("t", b"own", qos)
    own = client.message()
    assert (own.qos, identifiers(own)) == (min(qos, 1), [2])
    sender.publish("t", b"other", qos)
    other = client.message()
    assert (other.qos, identifiers(other)) == (qos, [1, 2])


@statement("5.0/MQTT-3.8.3-3")
def test_no_local_goes_by_the_client_identifier(net: Net) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe(("t", 2 | NO_LOCAL))
    client.drop()
    client = net.connect("c", clean=False)
    client.publish("t", b"own", 1)
    assert client.take() == []


@statement("5.0/MQTT-3.8.3-4", "5.0/MQTT-4.13.1-1")
def test_no_local_on_a_shared_subscription_is_a_protocol_error(net: Net) -> None:
    client = net.connect("c")
    client.send(bytes.fromhex("82 10 0001 00 000a") + b"$share/g/t" + bytes([NO_LOCAL]))
    assert client.goodbye().reason_code == 0x82


# ---- Retain As Published ----


@statement("5.0/MQTT-3.3.1-12", "5.0/MQTT-3.3.1-13")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_retain_is_passed_on_where_the_subscription_wants_it(
    net: Net, sender: Client, retain: bool, qos: int
) -> None:
    plain, keeping = net.connect("plain"), net.connect("keeping")
    plain.subscribe(("t", 2))
    keeping.subscribe(("t", 2 | AS_PUBLISHED))
    sender.publish("t", b"x", qos, retain)
    assert plain.message().retain is False
    assert keeping.message().retain is retain


@statement("5.0/MQTT-3.3.1-13")
def test_retain_as_published_holds_for_what_waited_too(net: Net, sender: Client) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe(("t", 2 | AS_PUBLISHED))
    client.drop()
    sender.publish("t", b"1", 1, True)
    sender.publish("t", b"2", 1, False)
    client = net.connect("c", clean=False, expiry=60)
    assert [message.retain for message in client.messages()] == [True, False]
    client.drop()
    assert [message.retain for message in net.connect("c", clean=False).messages()] == [True, False]


# ---- UNSUBSCRIBE ----


@statement(
    "5.0/MQTT-3.10.4-4", "5.0/MQTT-3.10.4-5", "5.0/MQTT-2.2.1-6", "5.0/MQTT-3.10.4-1", "5.0/MQTT-3.10.4-2"
)
@pytest.mark.parametrize("packet_id", [1, 256, 65535])
def test_unsubscribe_is_answered_with_unsuback(net: Net, sender: Client, packet_id: int) -> None:
    client = net.connect("c")
    client.subscribe("t")
    client.send(p.Unsubscribe(packet_id, ["t"]))
    assert client.take() == [p.Unsuback(packet_id, [0])]
    sender.publish("t", b"x", 1)
    assert client.take() == []
    client.send(p.Unsubscribe(packet_id, ["t"]))
    assert client.take() == [p.Unsuback(packet_id, [0x11])]


@statement("5.0/MQTT-3.10.4-6", "5.0/MQTT-3.11.3-1", "5.0/MQTT-3.11.3-2")
def test_unsuback_has_a_reason_code_for_each_filter_in_order(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe("a", "b", "c")
    assert client.unsubscribe("x", "b", "y/#", "a", "b") == [0x11, 0, 0x11, 0, 0x11]
    for topic in "abc":
        sender.publish(topic, topic.encode(), 0)
    assert client.payloads() == [b"c"]


@statement("5.0/MQTT-3.10.4-1", "5.0/MQTT-4.7.3-4")
def test_filters_are_compared_to_the_letter(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe("a/+", "ä")
    assert client.unsubscribe("a/b", "a/#", "+/+", "#", "A/+", "a\u0308") == [0x11] * 6
    sender.publish("a/b", b"1")
    sender.publish("ä", b"2")
    sender.publish("a\u0308", b"3")
    assert client.payloads() == [b"1", b"2"]
    assert client.unsubscribe("a/+", "ä") == [0, 0]


@statement("5.0/MQTT-3.10.4-3")
@pytest.mark.parametrize("qos", [1, 2])
def test_deliveries_that_were_begun_are_completed_after_unsubscribe(
    net: Net, sender: Client, qos: int
) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    sender.publish("t", b"x", qos)
    message = client.message()
    client.unsubscribe("t")
    client.drop()
    client = net.connect("c", clean=False)
    assert client.message() == p.Publish("t", b"x", qos, True, False, message.packet_id)
    client.finish(message)
    assert client.take() == []


@statement("5.0/MQTT-3.10.4-1")
def test_unsubscribe_takes_one_of_overlapping_subscriptions(net: Net, sender: Client) -> None:
    client = net.connect("c")
    client.subscribe(("t", 2), subscription_identifiers=[1])
    client.subscribe(("#", 1), subscription_identifiers=[2])
    client.unsubscribe("t")
    sender.publish("t", b"x", 2)
    message = client.message()
    assert (message.qos, identifiers(message)) == (1, [2])


def test_subscriptions_are_those_of_one_session(net: Net, sender: Client) -> None:
    one, two = net.connect("one"), net.connect("two")
    one.subscribe("t")
    two.subscribe("t")
    assert one.unsubscribe("t") == [0]
    sender.publish("t", b"x")
    assert one.take() == []
    assert two.payloads() == [b"x"]


# ---- limits ----


def test_a_session_has_only_so_many_subscriptions(make: Make) -> None:
    net = make(quiet(max_subscriptions=2))
    client = net.connect("c")
    assert client.subscribe("a", "b", "c", "a") == [2, 2, 0x97, 2]
    client.unsubscribe("a")
    assert client.subscribe("c", "$share/g/d") == [2, 0x97]


def test_a_topic_filter_has_only_so_many_levels(make: Make) -> None:
    client = make(quiet(max_topic_levels=3)).connect("c")
    filters = ["a/b/c", "a/b/c/d", "+/+/#", "+/+/+/#", "$share/g/a/b/c", "$share/g/a/b/c/d"]
    assert client.subscribe(*filters) == [2, 0x8F, 2, 0x8F, 2, 0x8F]


def test_a_topic_filter_has_only_so_many_bytes(make: Make) -> None:
    client = make(quiet(max_topic_length=256)).connect("c")
    longest = "a" * 254 + "/#"
    filters = [longest, "a" + longest, f"$share/group/{longest}", f"$share/g/a{longest}"]
    assert client.subscribe(*filters) == [2, 0x8F, 2, 0x8F]


@statement(
    "5.0/MQTT-4.13.1-1", "5.0/MQTT-4.7.1-1", "5.0/MQTT-4.7.1-2", "5.0/MQTT-4.8.2-1", "5.0/MQTT-4.8.2-2"
)
@each("text", [text for text, versions, _ in NO_FILTERS if 5 in versions])
@each("kind", [p.Subscribe, p.Unsubscribe])
def test_what_is_no_topic_filter_closes_and_nothing_of_it_is_done(
    make: Make, kind: type[p.Subscribe | p.Unsubscribe], text: str
) -> None:
    net = make()
    client = net.connect("c", session_expiry_interval=100)
    client.subscribe("kept")
    if kind is p.Subscribe:
        client.send(p.Subscribe(9, [("new", 0), (text, 0)]))
    else:
        client.send(p.Unsubscribe(9, ["kept", text]))
    assert client.goodbye().reason_code == 0x81
    assert list(net.core.sessions["c"].subscriptions) == [b"kept"]
