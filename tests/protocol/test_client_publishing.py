"""What a client publishes: QoS 0, 1 and 2, quota, re-sending, Topic Aliases."""

from __future__ import annotations

from typing import Any

import pytest

from curier.codec.packets import (
    Connack,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
)
from curier.codec.publish import forwarded_properties
from curier.errors import LocalProtocolError
from curier.protocol.connection import CONNECTED
from curier.protocol.events import Connected, Published
from tests.protocol.stage import Stage, message, properties, publishes, refusal, without_dup

VERSIONS = [3, 4, 5]
EXPIRY = properties(session_expiry_interval=300)


def lasting(version: int = 5, **settings: Any) -> Stage:
    """A connected client whose session outlives its connection."""
    return Stage.connected(version, clean_start=False, asked=EXPIRY if version == 5 else None, **settings)


# ---- publishing ----


@pytest.mark.statement(
    "5.0/MQTT-4.3.1-1", "3.1.1/MQTT-4.3.1-1", "5.0/MQTT-2.2.1-2", "3.1.1/MQTT-2.3.1-5",
    "5.0/MQTT-3.3.1-2", "3.1.1/MQTT-3.3.1-2",
)  # fmt: skip
@pytest.mark.parametrize("version", VERSIONS)
def test_qos_0_is_sent_and_done(version: int) -> None:
    stage = Stage.connected(version)
    entry = stage.publish(0, b"pay", retain=True)
    assert stage.sent() == [Publish("a/b", b"pay", 0, False, True, 0)]
    done = stage.event(Published)
    assert done.entry is entry
    assert done.reason_code == 0


@pytest.mark.statement(
    "5.0/MQTT-4.3.2-1", "5.0/MQTT-4.3.2-2", "5.0/MQTT-4.3.2-3", "3.1.1/MQTT-4.3.2-1", "5.0/MQTT-2.2.1-5",
    "3.1.1/MQTT-2.3.1-6",
)  # fmt: skip
@pytest.mark.parametrize("version", VERSIONS)
def test_qos_1_is_done_when_it_is_acknowledged(version: int) -> None:
    stage = Stage.connected(version)
    first, second = stage.publish(1, b"1"), stage.publish(1, b"2")
    assert publishes(stage.sent()) == [(1, b"1", False), (2, b"2", False)]
    assert stage.session.outgoing.unfinished() == [first, second]
    why = properties(reason_string="nobody listens") if version == 5 else None
    stage.serve(Puback(2, 0x10 if version == 5 else 0, why))
    done = stage.event(Published)
    assert done.entry is second
    assert (done.reason_code, done.reason_string) == ((0x10, "nobody listens") if version == 5 else (0, ""))
    assert stage.session.outgoing.unfinished() == [first]
    stage.serve(Puback(1), Puback(1), Puback(7))
    assert stage.event(Published).entry is first
    assert stage.client.state == CONNECTED


@pytest.mark.statement(
    "5.0/MQTT-4.3.3-1", "5.0/MQTT-4.3.3-2", "5.0/MQTT-4.3.3-3", "5.0/MQTT-4.3.3-4", "5.0/MQTT-4.3.3-5",
    "3.1.1/MQTT-4.3.3-1",
)  # fmt: skip
@pytest.mark.parametrize("version", VERSIONS)
def test_qos_2_is_done_when_it_is_completed(version: int) -> None:
    stage = Stage.connected(version)
    entry = stage.publish(2)
    assert stage.sent() == [Publish("a/b", b"x", 2, False, False, 1)]
    stage.serve(Pubrec(1))
    assert stage.sent() == [Pubrel(1)]
    assert stage.events() == []
    assert stage.session.outgoing.unfinished() == [entry]
    stage.serve(Pubcomp(1), Pubcomp(1))
    assert stage.event(Published).entry is entry
    assert stage.session.outgoing.unfinished() == []


@pytest.mark.statement("5.0/MQTT-4.4.0-2")
@pytest.mark.parametrize("answer", [Puback, Pubrec])
def test_a_refused_message_is_over(answer: type[Puback] | type[Pubrec]) -> None:
    stage = lasting()
    entry = stage.publish(1 if answer is Puback else 2)
    stage.sent()
    stage.serve(answer(1, 0x87, properties(reason_string="not you")))
    done = stage.event(Published)
    assert (done.entry, done.reason_code, done.reason_string) == (entry, 0x87, "not you")
    assert stage.sent() == []
    again = stage.again()
    assert again.sent() == []
    again.event(Connected)
    again.serve(Pubrec(1, 0x87))
    assert again.sent() == again.events() == []


def test_a_pubrec_for_nothing_is_told_so() -> None:
    stage = Stage.connected()
    stage.serve(Pubrec(9), Pubcomp(9))
    assert stage.sent() == [Pubrel(9, 0x92)]


def test_a_message_is_delivered_though_the_server_has_forgotten_its_identifier() -> None:
    stage = lasting()
    entry = stage.publish(2)
    stage.serve(Pubrec(1))
    again = stage.again()
    again.event(Connected)
    again.serve(Pubcomp(1, 0x92))
    done = again.event(Published)
    assert (done.entry, done.reason_code) == (entry, 0)


@pytest.mark.parametrize(("qos", "answer"), [(1, Pubrec(1)), (2, Puback(1))])
def test_the_wrong_acknowledgement_closes_the_connection(qos: int, answer: Packet) -> None:
    stage = Stage.connected()
    stage.publish(qos)
    stage.serve(answer)
    refusal(stage, 0x82, "Packet Identifier 1")


@pytest.mark.statement(
    "5.0/MQTT-3.3.2-2", "3.1.1/MQTT-3.3.2-2", "5.0/MQTT-3.3.1-4", "3.1.1/MQTT-3.3.1-4", "5.0/MQTT-4.7.3-1",
    "3.1.1/MQTT-4.7.3-1", "5.0/MQTT-1.5.4-1", "5.0/MQTT-1.5.4-2", "5.0/MQTT-4.7.3-3", "3.1.1/MQTT-4.7.3-3",
)  # fmt: skip
@pytest.mark.parametrize(
    ("topic", "qos", "said"),
    [
        (b"", 0, "must not be empty"),
        (b"a/#", 0, "wildcard"),
        (b"a+", 1, "wildcard"),
        (b"\xff", 0, "not UTF-8"),
        (b"a\x00", 0, "U+0000"),
        (b"x" * 65536, 0, "65535"),
        (b"a", 3, "QoS 3"),
        (b"a", -1, "QoS -1"),
    ],
)
def test_what_is_no_message_is_not_sent(topic: bytes, qos: int, said: str) -> None:
    for stage in (Stage.connected(), Stage()):
        wrong = message("t", b"", qos)
        wrong.topic = topic
        with pytest.raises(LocalProtocolError) as refused:
            stage.client.publish(wrong, stage.now)
        assert said in str(refused.value)
        assert stage.sent() == []
        assert stage.session.outgoing.unfinished() == []


@pytest.mark.statement("5.0/MQTT-3.3.4-6")
def test_properties_go_as_they_are_and_are_left_out_before_50() -> None:
    given = properties(content_type="text", user_properties=[("a", "1"), ("a", "2")])
    whole = properties(
        content_type="text", user_properties=[("a", "1"), ("a", "2")], subscription_identifiers=[7]
    )
    for version in VERSIONS:
        stage = Stage.connected(version)
        stage.publish(0, b"", "t", encoded=forwarded_properties(whole))
        assert stage.sent() == [Publish("t", b"", 0, False, False, 0, given if version == 5 else None)]


@pytest.mark.statement("5.0/MQTT-3.2.2-11", "5.0/MQTT-3.2.2-14")
def test_what_the_server_does_not_offer_is_not_published() -> None:
    stage = Stage.connected(connack=properties(maximum_qos=1, retain_available=0))
    with pytest.raises(LocalProtocolError, match=r"QoS 1 at most \[MQTT-3\.2\.2-11\]") as refused:
        stage.publish(2)
    assert refused.value.reason_code == 0x9B
    with pytest.raises(LocalProtocolError, match=r"no retained messages \[MQTT-3\.2\.2-14\]") as refused:
        stage.publish(0, retain=True)
    assert refused.value.reason_code == 0x9A
    assert stage.sent() == stage.events() == []
    stage.publish(1)
    assert len(stage.sent()) == 1


# ---- waiting: for the connection, for quota ----


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_wait_for_the_connection_in_order(version: int) -> None:
    stage = Stage(version)
    entries = [stage.publish(qos, str(qos).encode()) for qos in (1, 0, 2)]
    assert [entry.packet_id for entry in entries] == [0, 0, 0]
    stage.connect()
    stage.serve(Connack(False))
    assert publishes(stage.sent()) == [(1, b"1", False), (0, b"0", False), (2, b"2", False)]
    _, done = stage.events()
    assert isinstance(done, Published)
    assert done.entry is entries[1]


def test_what_waited_at_qos_0_is_not_overtaken() -> None:
    stage = Stage()
    for qos, payload in ((1, b"1"), (1, b"2"), (0, b"3"), (1, b"4"), (0, b"5")):
        stage.publish(qos, payload)
    stage.connect()
    stage.serve(Connack(False, 0, properties(receive_maximum=1)))
    stage.publish(0, b"6")
    assert publishes(stage.sent()) == [(1, b"1", False), (0, b"3", False), (0, b"5", False), (0, b"6", False)]
    stage.serve(Puback(1), Puback(2))
    assert publishes(stage.sent()) == [(2, b"2", False), (3, b"4", False)]


@pytest.mark.statement("5.0/MQTT-3.2.2-11", "5.0/MQTT-3.2.2-14", "5.0/MQTT-3.2.2-15")
def test_what_waited_and_is_too_much_for_the_server_is_refused_here() -> None:
    stage = Stage()
    waiting = [
        stage.publish(2),
        stage.publish(0, retain=True),
        stage.publish(1, b"x" * 40),
        stage.publish(1, b"old", expires_at=stage.now + 5),
        stage.publish(1, b"fine", expires_at=stage.now + 60),
    ]
    stage.now += 10
    stage.connect()
    stage.serve(Connack(False, 0, properties(maximum_qos=1, retain_available=0, maximum_packet_size=40)))
    _, *refused = stage.events()
    assert [(event.entry, event.reason_code) for event in refused if isinstance(event, Published)] == [
        (waiting[0], 0x9B),
        (waiting[1], 0x9A),
        (waiting[2], 0x95),
        (waiting[3], 0x80),
    ]
    expired = refused[3]
    assert isinstance(expired, Published)
    assert "Expiry" in expired.reason_string
    assert publishes(stage.sent()) == [(1, b"fine", False)]


def test_the_message_expiry_interval_is_counted_down() -> None:
    stage = Stage()
    stage.publish(0, b"waited", expires_at=stage.now + 60)
    stage.now += 10
    stage.connect()
    stage.serve(Connack(False))
    stage.publish(0, b"new", expires_at=stage.now + 60)
    intervals = [packet.properties for packet in stage.sent() if isinstance(packet, Publish)]
    assert intervals == [properties(message_expiry_interval=50), properties(message_expiry_interval=60)]


@pytest.mark.statement(
    "5.0/MQTT-3.3.4-7", "5.0/MQTT-3.3.4-8", "5.0/MQTT-4.9.0-1", "5.0/MQTT-4.9.0-2", "5.0/MQTT-4.9.0-3"
)
def test_the_receive_maximum_of_the_server_is_kept() -> None:
    stage = Stage.connected(connack=properties(receive_maximum=2))
    for number in range(5):
        stage.publish(1 + number % 2, str(number).encode())
    assert publishes(stage.sent()) == [(1, b"0", False), (2, b"1", False)]
    # Everything else goes on.
    stage.publish(0, b"qos 0")
    stage.client.subscribe([("a", 0)], stage.now)
    stage.client.ping(stage.now)
    stage.serve(Publish("q", b"", 2, False, False, 1), Pubrel(1), Pubrec(2))
    assert [type(packet) for packet in stage.sent()] == [Publish, Subscribe, Pingreq, Pubrec, Pubcomp, Pubrel]
    # A PUBREC that accepts frees nothing, the end of a message does.
    stage.serve(Pubcomp(2))
    assert publishes(stage.sent()) == [(4, b"2", False)]
    stage.serve(Puback(1))
    assert publishes(stage.sent()) == [(5, b"3", False)]
    stage.serve(Pubrec(5, 0x97))
    assert publishes(stage.sent()) == [(6, b"4", False)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_own_limit_is_kept_as_well(version: int) -> None:
    stage = Stage.connected(version, max_inflight=1)
    stage.publish(1, b"1")
    stage.publish(1, b"2")
    assert publishes(stage.sent()) == [(1, b"1", False)]
    stage.serve(Puback(1))
    assert publishes(stage.sent()) == [(2, b"2", False)]


def test_a_quota_larger_than_the_limit_of_the_server_helps_nothing() -> None:
    stage = Stage.connected(max_inflight=65535, connack=properties(receive_maximum=1))
    stage.publish(1)
    stage.publish(1)
    assert len(stage.sent()) == 1


# ---- sending again ----


@pytest.mark.statement(
    "5.0/MQTT-4.4.0-1", "3.1.1/MQTT-4.4.0-1", "5.0/MQTT-3.3.1-1", "3.1.1/MQTT-3.3.1-1",
    "3.1.1/MQTT-2.3.1-3", "5.0/MQTT-4.6.0-1", "3.1.1/MQTT-4.6.0-1", "5.0/MQTT-4.6.0-4",
    "3.1.1/MQTT-4.6.0-4", "5.0/MQTT-4.3.3-6",
)  # fmt: skip
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_unfinished_is_sent_again_in_order(version: int) -> None:
    stage = lasting(version)
    for number in range(6):
        stage.publish(1 + number % 2, str(number).encode())
    first = stage.sent()
    stage.serve(Pubrec(4), Puback(3), Pubrec(2))
    assert stage.sent() == [Pubrel(4), Pubrel(2)]
    again = stage.again()
    *released, one, five, six = again.sent()
    assert released == [Pubrel(4), Pubrel(2)]
    assert publishes([one, five, six]) == [(1, b"0", True), (5, b"4", True), (6, b"5", True)]
    assert [without_dup(packet) for packet in (one, five, six)] == [first[0], first[4], first[5]]
    again.publish(1, b"new")
    assert publishes(again.sent()) == [(7, b"new", False)]
    again.serve(Puback(1), Pubcomp(2), Pubcomp(4), Puback(5), Pubrec(6), Pubcomp(6), Puback(7))
    assert len(again.events()) == 7
    assert stage.session.outgoing.unfinished() == []


def test_sending_again_keeps_the_receive_maximum_and_comes_before_what_is_new() -> None:
    stage = lasting()
    for payload in (b"1", b"2", b"3"):
        stage.publish(1, payload)
    again = stage.again(properties(receive_maximum=2))
    again.publish(1, b"new")
    assert publishes(again.sent()) == [(1, b"1", True), (2, b"2", True)]
    again.serve(Puback(2))
    assert publishes(again.sent()) == [(3, b"3", True)]
    again.serve(Puback(1))
    assert publishes(again.sent()) == [(4, b"new", False)]


def test_an_acknowledgement_may_overtake_the_re_sending() -> None:
    """A PUBACK of the last connection cannot come any more, but a server may know what it has."""
    stage = lasting()
    stage.publish(1, b"1")
    stage.publish(1, b"2")
    again = stage.again(properties(receive_maximum=1))
    assert publishes(again.sent()) == [(1, b"1", True)]
    again.serve(Puback(2), Puback(1))
    assert again.sent() == []
    assert stage.session.outgoing.unfinished() == []


@pytest.mark.statement("5.0/MQTT-4.3.3-7")
def test_a_message_once_sent_does_not_expire() -> None:
    stage = lasting()
    stage.publish(2, expires_at=stage.now + 5)
    stage.now += 10
    (packet,) = stage.again().sent()
    assert isinstance(packet, Publish)
    assert packet.properties == properties(message_expiry_interval=0)


def test_what_the_server_takes_no_more_is_not_sent_again() -> None:
    stage = lasting()
    entries = [stage.publish(1, b"x" * 40), stage.publish(2), stage.publish(1)]
    again = stage.again(properties(maximum_packet_size=40, maximum_qos=1, receive_maximum=1))
    _, *over = again.events()
    assert [(event.entry, event.reason_code) for event in over if isinstance(event, Published)] == [
        (entries[0], 0x95),
        (entries[1], 0x9B),
    ]
    assert publishes(again.sent()) == [(3, b"x", True)]
    assert stage.session.outgoing.unfinished() == [entries[2]]


@pytest.mark.parametrize("version", [3, 4])
def test_before_50_what_is_unanswered_is_sent_again_in_time(version: int) -> None:
    stage = Stage.connected(version, retry_interval=20.0)
    assert stage.client.next_deadline() == float("inf")
    stage.publish(1, b"1")
    stage.publish(2, b"2")
    stage.wait(5)
    stage.publish(1, b"3")
    stage.sent()
    stage.wait(5)
    stage.serve(Pubrec(2))
    assert stage.sent() == [Pubrel(2)]
    stage.wait(9.5)
    assert stage.sent() == []
    stage.wait(0.5)
    assert publishes(stage.sent()) == [(1, b"1", True)]
    stage.wait(5)
    assert publishes(stage.sent()) == [(3, b"3", True)]
    stage.wait(5)
    assert stage.sent() == [Pubrel(2)]
    stage.serve(Puback(1), Pubcomp(2), Puback(3))
    stage.wait(100)
    assert stage.sent() == []
    assert stage.client.next_deadline() == float("inf")
    stage.publish(1, b"4")
    stage.wait(20)
    assert publishes(stage.sent()) == [(4, b"4", False), (4, b"4", True)]


def test_timed_re_sending_does_not_hurry_what_waits_for_quota() -> None:
    stage = lasting(4)
    stage.publish(1, b"1")
    stage.publish(1, b"2")
    again = stage.again(max_inflight=1)
    again.sent()
    again.wait(20)
    assert publishes(again.sent()) == [(1, b"1", True)]


@pytest.mark.statement("5.0/MQTT-4.4.0-1")
def test_in_50_nothing_is_sent_again_on_the_same_connection() -> None:
    stage = Stage.connected(keep_alive=0)
    stage.publish(1)
    stage.publish(2)
    stage.sent()
    assert stage.client.next_deadline() == float("inf")
    stage.client.deadline_reached(stage.now + 1000)
    assert stage.sent() == []


@pytest.mark.parametrize("version", [3, 4])
def test_timed_re_sending_can_be_turned_off(version: int) -> None:
    stage = Stage.connected(version, retry_interval=0.0)
    stage.publish(1)
    assert stage.client.next_deadline() == float("inf")


# ---- aliases for what is published ----


@pytest.mark.statement("5.0/MQTT-3.2.2-17", "5.0/MQTT-3.3.2-8", "5.0/MQTT-3.3.2-9", "5.0/MQTT-3.3.2-7")
def test_topic_aliases_are_used_within_the_maximum_of_the_server() -> None:
    stage = lasting(connack=properties(topic_alias_maximum=2))
    for topic in ("room/1", "room/2", "room/3", "abc", "room/1", "room/2", "room/3"):
        stage.publish(0, b"", topic)
    found = [
        (packet.topic, packet.properties.topic_alias if packet.properties else None)
        for packet in stage.sent()
        if isinstance(packet, Publish)
    ]
    assert found == [
        ("room/1", 1), ("room/2", 2), ("room/3", None), ("abc", None), ("", 1), ("", 2), ("room/3", None)
    ]  # fmt: skip
    entry = stage.publish(1, b"", "room/1")
    again = stage.again(properties(topic_alias_maximum=2))
    assert again.sent() == [Publish("room/1", b"", 1, True, False, entry.packet_id)]
    again.publish(0, b"", "room/1")
    (packet,) = again.sent()
    assert isinstance(packet, Publish)
    assert (packet.topic, packet.properties) == ("room/1", properties(topic_alias=1))


@pytest.mark.statement("5.0/MQTT-3.2.2-18")
@pytest.mark.parametrize(("offered", "wanted"), [(None, 32), (0, 32), (5, 0)])
def test_without_a_maximum_there_are_no_aliases(offered: int | None, wanted: int) -> None:
    stage = Stage.connected(connack=properties(topic_alias_maximum=offered), topic_aliases=wanted)
    stage.publish(0, b"", "room/1")
    stage.publish(0, b"", "room/1")
    assert stage.sent() == [Publish("room/1", b"")] * 2


def test_an_alias_goes_along_with_other_properties_and_only_where_there_is_room() -> None:
    stage = Stage.connected(connack=properties(topic_alias_maximum=9, maximum_packet_size=31))
    encoded = forwarded_properties(properties(content_type="text"))
    stage.publish(0, b"12345678", "room/1", encoded=encoded, expires_at=stage.now + 9)
    (plain,) = stage.sent()
    assert isinstance(plain, Publish)
    assert plain.properties == properties(content_type="text", message_expiry_interval=9)
    assert plain.topic == "room/1"  # with an alias it would be too large
    for _ in range(2):
        stage.publish(0, b"", "room/1", encoded=encoded)
    first, second = stage.sent()
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert (first.topic, second.topic) == ("room/1", "")
    assert first.properties == second.properties == properties(content_type="text", topic_alias=1)
