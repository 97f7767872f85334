"""CONNECT and CONNACK: who is let in, what both are told, who is refused and how (5.0: 3.1, 3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer
from curier.codec import packets as p
from curier.codec.constants import CONNACK
from curier.codec.encode import encode
from curier.codec.reasons import reason_code_allowed
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net, quiet
from tests.codec.cases import properties

statement = pytest.mark.statement

ACCEPTED = p.Connack(
    False, 0, properties(receive_maximum=1024, maximum_packet_size=1 << 24, topic_alias_maximum=32)
)
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def refused(client: Client) -> p.Connack:
    """The CONNACK of a client that is refused, and nothing else."""
    connack = client.expect(p.Connack)
    assert client.closed
    assert connack.reason_code >= 0x80
    assert not connack.session_present
    assert reason_code_allowed(CONNACK, connack.reason_code, 5)
    return connack


# ---- the first packet ----


@statement("5.0/MQTT-3.1.4-5", "5.0/MQTT-3.2.0-1")
def test_connect_is_answered_with_connack(net: Net) -> None:
    client = net.send_connect("c")
    assert client.expect(p.Connack) == ACCEPTED
    assert not client.closed


@statement("5.0/MQTT-3.1.0-1")
@pytest.mark.parametrize(
    "packet",
    [
        p.Pingreq(),
        p.Publish("t", b""),
        p.Subscribe(1, [("t", 0)]),
        p.Disconnect(),
        p.Auth(0x18, properties(authentication_method="m")),
    ],
    ids=lambda packet: type(packet).__name__,
)
def test_a_first_packet_other_than_connect_closes_without_a_word(net: Net, packet: p.Packet) -> None:
    client = net.open()
    client.send(packet)
    assert client.closed
    assert client.take() == []


@statement("5.0/MQTT-3.1.0-1", "3.1.1/MQTT-3.1.0-1")
@pytest.mark.doors(
    "tls", "ws", "wss"
)  # one PROXY header may not be followed by another, which begins with "\r"
@pytest.mark.parametrize("more", [b"", b"\xff\xff", b"\xff\xff\xff\x7f"])
def test_a_first_byte_that_cannot_be_connect_closes_at_once(net: Net, more: bytes) -> None:
    # Through a door, which takes all bytes alike and its time for a handshake, some of each packet type.
    for first in range(0, 256, 7 if net.door else 1):
        client = net.open()
        client.send(bytes([first]) + more)
        assert client.closed == (first >> 4 != 1 or more == b"\xff\xff\xff\x7f"), hex(first)
        assert client.take() == []


@statement("5.0/MQTT-3.1.0-2", "5.0/MQTT-3.2.0-2", "5.0/MQTT-4.13.1-1")
def test_a_second_connect_is_a_protocol_error(net: Net) -> None:
    client = net.connect("c")
    client.send(p.Connect(5, "c"))
    assert client.goodbye().reason_code == 0x82
    assert client.take() == []


@statement("5.0/MQTT-3.1.2-1")
def test_another_protocol_name_closes_without_a_word(net: Net) -> None:
    client = net.open()
    client.send(bytes.fromhex("100d 0004 4d515458 05 02 0000 00 0000"))
    assert client.closed
    assert client.take() == []


@statement("5.0/MQTT-3.1.2-2")
def test_another_protocol_version_is_refused_as_every_version_understands(net: Net) -> None:
    client = net.open()
    client.version = 4
    client.send(bytes.fromhex("100d 0004 4d515454 06 02 0000 00 0000"))
    assert client.closed
    assert client.take() == [p.Connack(False, 1)]  # Unacceptable protocol version, 3.1.1


@statement(
    "5.0/MQTT-3.1.4-1", "5.0/MQTT-3.1.2-3", "5.0/MQTT-4.13.1-1", "5.0/MQTT-3.2.2-7", "5.0/MQTT-3.14.0-1"
)
@pytest.mark.parametrize(
    ("raw", "reason_code"),
    [
        ("100d 0004 4d515454 05 03 0000 00 0000", 0x81),  # the reserved flag
        ("100d 0004 4d515454 05 02 0000 00 0005", 0x81),  # ends within the Client Identifier
        ("1010 0004 4d515454 05 02 0000 03 210000 0000", 0x82),  # Receive Maximum 0
        ("1012 0004 4d515454 05 02 0000 05 2700000000 0000", 0x82),  # Maximum Packet Size 0
        ("1013 0004 4d515454 05 02 0000 06 210001 210001 0000", 0x82),  # Receive Maximum twice
        ("100f 0004 4d515454 05 02 0000 02 1702 0000", 0x82),  # Request Problem Information 2
        ("1010 0004 4d515454 05 02 0000 03 160000 0000", 0x82),  # Authentication Data without a method
        ("1010 0004 4d515454 05 02 0000 03 230001 0000", 0x81),  # Topic Alias does not belong here
    ],
)
def test_a_connect_that_breaks_a_rule_is_refused_and_closed(net: Net, raw: str, reason_code: int) -> None:
    client = net.open()
    client.send(bytes.fromhex(raw))
    connack = refused(client)
    assert connack.reason_code == reason_code
    assert connack.properties is not None
    assert connack.properties.reason_string


def test_a_connect_in_pieces_is_one_connect(net: Net) -> None:
    client = net.open()
    for byte in encode(p.Connect(5, "c", True, 0), 5):
        assert client.take() == []
        client.send(bytes([byte]))
    assert client.expect(p.Connack) == ACCEPTED


def test_without_a_whole_connect_in_time_the_connection_is_closed(make: Make) -> None:
    net = make(quiet(connect_timeout=3.0))
    silent, slow, quick = net.open(), net.open(), net.open()
    connect = encode(p.Connect(5, "c", True, 0), 5)
    net.advance(2)
    slow.send(connect[:-1])
    quick.send(connect)
    net.advance(0.9)
    assert [client.closed for client in (silent, slow, quick)] == [False, False, False]
    net.advance(0.1)
    assert [client.closed for client in (silent, slow, quick)] == [True, True, False]
    assert silent.take() == slow.take() == []


def test_strangers_may_not_send_a_packet_of_any_size(make: Make) -> None:
    net = make(quiet(max_packet_size=100))
    client = net.open()
    client.send(bytes.fromhex("10 e400"))  # no more than its length, which would be 102 bytes
    assert client.closed
    assert client.take() == []


# ---- Client Identifiers (3.1.3.1) ----


@statement("5.0/MQTT-3.1.3-5", "5.0/MQTT-3.1.3-3", "5.0/MQTT-3.1.3-4")
@pytest.mark.parametrize(
    "client_id", ["a", LETTERS[:23], LETTERS[23:46], LETTERS[-23:], LETTERS, "with space/and#+$", "🜁" * 100]
)
def test_client_identifiers_of_every_kind_are_taken(net: Net, client_id: str) -> None:
    client = net.send_connect(client_id)
    assert client.expect(p.Connack) == ACCEPTED


@statement("5.0/MQTT-3.1.3-6", "5.0/MQTT-3.1.3-7", "5.0/MQTT-3.2.2-16", "5.0/MQTT-3.1.3-2")
def test_an_empty_client_identifier_gets_one_of_its_own(net: Net) -> None:
    assigned = []
    for _ in range(3):
        client = net.connect("", expiry=60)
        assert client.connack is not None
        assert client.connack.properties is not None
        assigned.append(client.connack.properties.assigned_client_identifier)
        assert client.connection.client_id == assigned[-1]
    assert len({*assigned, None, ""}) == 5
    first = str(assigned[0])
    again = net.connect(first, clean=False, expiry=60)  # it is as if the client had chosen it
    assert again.connack is not None
    assert again.connack.session_present


@statement("5.0/MQTT-3.2.2-16")
def test_an_assigned_client_identifier_is_not_one_a_client_has_chosen(make: Make) -> None:
    net = make(id_prefix="a")
    taken = [net.connect(f"a{number}", expiry=60) for number in range(1, 4)]
    taken[0].drop()
    client = net.connect("")
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.assigned_client_identifier not in {f"a{n}" for n in range(1, 4)}
    assert not taken[1].closed


def test_who_chose_a_client_identifier_is_assigned_none(net: Net) -> None:
    client = net.connect("c")
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.assigned_client_identifier is None


@statement("5.0/MQTT-3.1.3-8", "5.0/MQTT-3.1.4-2", "5.0/MQTT-4.13.2-1")
def test_a_rejected_client_identifier_is_answered_0x85(make: Make) -> None:
    net = make(authenticate=lambda question: Answer(0x85 if question.connect.client_id == "bad" else 0))
    assert refused(net.send_connect("bad")).reason_code == 0x85
    net.connect("good")


# ---- what is not possible here ----


@statement("5.0/MQTT-3.1.4-2", "5.0/MQTT-3.2.2-6", "5.0/MQTT-3.2.2-7", "5.0/MQTT-3.2.2-8")
@pytest.mark.parametrize(
    ("will", "settings", "reason_code"),
    [
        (p.Will("t", b"", 2), {"maximum_qos": 1}, 0x9B),
        (p.Will("t", b"", 1), {"maximum_qos": 0}, 0x9B),
        (p.Will("t", b"x", 0, True), {"retain_available": False}, 0x9A),
        (p.Will("a/b/c", b""), {"max_topic_levels": 2}, 0x90),
        (p.Will("a" * 257, b""), {"max_topic_length": 256}, 0x90),
        (p.Will("$SYS/broker/uptime", b""), {}, 0x87),
        (p.Will("$share/g/t", b""), {}, 0x87),
        (
            p.Will("t", b"\xff", 0, False, properties(payload_format_indicator=1)),
            {"check_payload_format": True},
            0x99,
        ),
    ],
)
def test_a_will_that_cannot_be_is_refused(
    make: Make, will: p.Will, settings: dict[str, Any], reason_code: int
) -> None:
    net = make(quiet(**settings))
    assert refused(net.send_connect("c", will=will)).reason_code == reason_code
    assert net.core.sessions == {}


@statement("5.0/MQTT-3.2.2-12")
@pytest.mark.parametrize(("maximum", "qos"), [(0, 0), (1, 1), (2, 2)])
def test_a_will_within_the_maximum_qos_is_taken(make: Make, maximum: int, qos: int) -> None:
    make(quiet(maximum_qos=maximum)).connect("c", will=p.Will("t", b"", qos))


@statement("5.0/MQTT-3.2.2-12")
def test_a_will_above_the_maximum_qos_closes(make: Make) -> None:
    client = make(quiet(maximum_qos=1)).send_connect("c", will=p.Will("t", b"", 2))
    assert refused(client).reason_code == 0x9B


@statement("5.0/MQTT-3.2.2-13")
def test_a_retained_will_where_nothing_is_retained_closes(make: Make) -> None:
    client = make(quiet(retain_available=False)).send_connect("c", will=p.Will("t", b"x", 0, True))
    assert refused(client).reason_code == 0x9A


def test_a_payload_of_a_will_is_only_looked_at_where_that_is_asked_for(net: Net) -> None:
    will = p.Will("t", b"\xff", 0, False, properties(payload_format_indicator=1))
    net.connect("c", will=will)


def test_too_many_connections_find_the_server_busy(make: Make) -> None:
    net = make(quiet(max_connections=2))
    first, _ = net.connect("a"), net.connect("b")
    assert refused(net.send_connect("c")).reason_code == 0x89
    assert refused(net.send_connect("")).reason_code == 0x89
    first.disconnect()
    net.connect("c")


def test_a_client_that_lost_its_connection_may_come_back_to_a_busy_server(make: Make) -> None:
    net = make(quiet(max_connections=2))
    net.connect("a")
    lost = net.connect("b")  # which the broker does not know yet
    again = net.connect("b")
    assert lost.goodbye().reason_code == 0x8E
    assert not again.closed
    assert net.core.statistics.connected == 2


@pytest.mark.parametrize("client_id", ["c", ""])
def test_too_many_sessions_exceed_a_quota(make: Make, client_id: str) -> None:
    net = make(quiet(max_sessions=2, source_share=1))
    net.connect("a", expiry=60).drop()
    net.connect("b", expiry=60).drop()
    assert refused(net.send_connect(client_id, session_expiry_interval=1)).reason_code == 0x97
    net.connect("a", clean=False, expiry=60).drop()  # has its place
    net.connect("b", expiry=60).drop()  # with Clean Start, too
    net.connect(client_id)  # needs none
    net.connect("a", clean=False)  # gives its own back
    net.connect("d", expiry=60)
    assert net.core.statistics.stored_sessions == 2
    net.advance(60)
    assert net.core.statistics.stored_sessions == 1
    net.connect("e", expiry=60)


# ---- who is asked (3.1.4) ----


@statement("5.0/MQTT-3.1.4-2", "5.0/MQTT-3.2.2-7")
@pytest.mark.parametrize("reason_code", [0x80, 0x83, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x9F])
def test_a_client_that_is_not_wanted_is_refused_and_closed(make: Make, reason_code: int) -> None:
    net = make(authenticate=lambda question: Answer(reason_code, "not you"))
    assert refused(net.send_connect("c")) == p.Connack(
        False, reason_code, properties(reason_string="not you")
    )
    assert net.core.sessions == {}


@pytest.mark.parametrize("reason_code", [0x9C, 0x9D])
def test_a_client_may_be_sent_to_another_server(make: Make, reason_code: int) -> None:
    net = make(authenticate=lambda question: Answer(reason_code, server_reference="b.example:8883 c.example"))
    connack = refused(net.send_connect("c"))
    assert connack == p.Connack(False, reason_code, properties(server_reference="b.example:8883 c.example"))


def test_the_question_holds_what_the_client_said(make: Make) -> None:
    asked: list[p.Connect] = []

    def authenticate(question: Any) -> Answer:
        asked.append(question.connect)
        assert not question.is_step
        assert question.data is None
        return Answer(0)

    net = make(authenticate=authenticate)
    connect = p.Connect(5, "c", True, 7, "ana", b"secret", None, properties(user_properties=[("k", "v")]))
    net.open().send(connect)
    assert asked == [connect]


@statement("5.0/MQTT-3.1.4-6")
def test_what_follows_a_refused_connect_is_not_done(make: Make) -> None:
    answers = {"watch": Answer(0), "bad": Answer(0x87)}
    net = make(authenticate=lambda question: answers[question.connect.client_id])
    watch = net.connect("watch")
    watch.subscribe("#")
    client = net.open()
    client.send(p.Connect(5, "bad"), p.Subscribe(1, [("t", 0)]), p.Publish("t", b"sneaked", 0, False, True))
    assert refused(client).reason_code == 0x87
    assert watch.messages() == []
    assert len(net.core.retained) == 0
    client.send(p.Publish("t", b"later"))
    assert watch.messages() == []


def test_what_follows_an_accepted_connect_is_done_in_order(make: Make) -> None:
    net = make(authenticate=lambda question: None)
    client = net.open()
    client.send(p.Connect(5, "c"), p.Subscribe(1, [("t", 0)]), p.Publish("t", b"early"), p.Pingreq())
    assert client.take() == []
    client.send(p.Publish("t", b"meanwhile"))
    assert client.take() == []
    net.answer(Answer(0))
    got = client.take()
    assert [type(packet) for packet in got] == [p.Connack, p.Suback, p.Publish, p.Pingresp, p.Publish]


def test_a_client_that_left_while_it_was_asked_about_is_no_client(make: Make) -> None:
    net = make(authenticate=lambda question: None)
    client = net.send_connect("c")
    client.drop()
    net.answer(Answer(0))
    assert client.take() == []
    assert net.core.sessions == {}
    assert net.core.statistics.connected == 0


# ---- CONNACK Properties (3.2.2.3) ----


def told(client: Client) -> Any:
    """The Properties of its CONNACK."""
    assert client.connack is not None
    return client.connack.properties


@statement("5.0/MQTT-3.2.2-9")
@pytest.mark.parametrize(("maximum", "value"), [(0, 0), (1, 1), (2, None)])
def test_connack_tells_the_maximum_qos_where_it_is_not_2(make: Make, maximum: int, value: int | None) -> None:
    assert told(make(quiet(maximum_qos=maximum)).connect()).maximum_qos == value


@pytest.mark.parametrize(
    ("setting", "value", "attribute", "shown"),
    [
        ("retain_available", False, "retain_available", 0),
        ("wildcard_subscription_available", False, "wildcard_subscription_available", 0),
        ("subscription_identifiers_available", False, "subscription_identifier_available", 0),
        ("shared_subscription_available", False, "shared_subscription_available", 0),
        ("receive_maximum", 7, "receive_maximum", 7),
        ("max_packet_size", 999, "maximum_packet_size", 999),
        ("topic_alias_maximum", 3, "topic_alias_maximum", 3),
        ("topic_alias_maximum", 0, "topic_alias_maximum", None),
    ],
)
def test_connack_tells_what_is_not_as_usual(
    make: Make, setting: str, value: int, attribute: str, shown: int | None
) -> None:
    assert getattr(told(make(quiet(**{setting: value})).connect()), attribute) == shown
    if setting.endswith("available"):
        assert getattr(told(make().connect()), attribute) is None


@pytest.mark.parametrize(
    ("asked", "maximum", "shown"),
    [
        (0, FOREVER, None),
        (99, FOREVER, None),
        (FOREVER, FOREVER, None),
        (99, 60, 60),
        (60, 60, None),
        (FOREVER, 0, 0),
    ],
)
def test_connack_tells_a_session_expiry_that_is_not_the_one_asked_for(
    make: Make, asked: int, maximum: int, shown: int | None
) -> None:
    net = make(quiet(session_expiry_maximum=maximum))
    assert told(net.connect("c", expiry=asked)).session_expiry_interval == shown


@statement("5.0/MQTT-3.1.2-28")
@pytest.mark.parametrize(("asked", "shown"), [(None, None), (0, None), (1, "answers/c/")])
def test_response_information_is_told_to_who_asks(make: Make, asked: int | None, shown: str | None) -> None:
    net = make(quiet(response_information="answers/{client_id}/"))
    assert told(net.connect("c", request_response_information=asked)).response_information == shown


def test_there_may_be_no_response_information(net: Net) -> None:
    assert told(net.connect("c", request_response_information=1)).response_information is None


@statement("5.0/MQTT-3.1.2-29")
@pytest.mark.parametrize("asked", [None, 0, 1])
def test_a_refusing_connack_may_say_why_in_any_case(make: Make, asked: int | None) -> None:
    net = make(authenticate=lambda question: Answer(0x87, "not you"))
    connack = refused(net.send_connect("c", request_problem_information=asked))
    assert connack.properties == properties(reason_string="not you")
