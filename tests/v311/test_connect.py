"""CONNECT and CONNACK (3.1.1 sections 3.1 and 3.2), byte by byte where bytes decide."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer
from curier.codec.packets import Connack, Connect, Pingreq, Pingresp, Publish, Subscribe, Will
from tests.each import each
from tests.v311.conftest import Make
from tests.v311.harness import Network, quiet

statement = pytest.mark.statement

ACCEPTED = b"\x20\x02\x00\x00"


def text(value: str | bytes) -> bytes:
    """A length-prefixed field."""
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


def connect(
    flags: int = 0x02,
    payload: bytes = text("c"),
    name: bytes = text("MQTT"),
    level: int = 4,
    first: int = 0x10,
) -> bytes:
    """A CONNECT with Keep Alive 60, as wrong as the test wants it; shorter than 128 bytes."""
    body = name + bytes([level, flags]) + b"\x00\x3c" + payload
    return bytes([first, len(body)]) + body


def answer_to(net: Network, data: bytes) -> tuple[bytes, bool]:
    """The bytes a stranger is answered, and whether the connection is closed then."""
    client = net.open()
    client.send(data)
    return client.heard, client.closed


@statement("3.1.1/MQTT-3.1.4-4", "3.1.1/MQTT-3.2.0-1", "3.1.1/MQTT-3.2.2-1", "3.1.1/MQTT-3.2.2-3")
@pytest.mark.parametrize("flags", [0x02, 0x00])
def test_a_connect_is_answered_with_connack(net: Network, flags: int) -> None:
    assert answer_to(net, connect(flags)) == (ACCEPTED, False)


@statement("3.1.1/MQTT-3.1.0-1")
@each(
    "packet",
    [
        "c0 00",
        "e0 00",
        "30 03 0001 74",
        "32 05 0001 74 0001",
        "40 02 0001",
        "50 02 0001",
        "62 02 0001",
        "70 02 0001",
        "82 06 0001 0001 74 00",
        "a2 05 0001 0001 74",
        "20 02 00 00",
        "d0 00",
        "90 03 0001 00",
        "b0 02 0001",
        "f0 00",
        "00 00",
    ],
)
def test_anything_but_connect_first_is_closed_on(make: Make, packet: str) -> None:
    net = make()
    assert answer_to(net, bytes.fromhex(packet) + connect()) == (b"", True)


@statement("3.1.1/MQTT-3.1.0-2")
def test_a_second_connect_closes(net: Network) -> None:
    assert answer_to(net, connect() + connect()) == (ACCEPTED, True)


@statement("3.1.1/MQTT-3.1.2-2", "3.1.1/MQTT-3.2.2-5", "3.1.1/MQTT-3.2.2-4")
@each("level", [0, 1, 2, 3, 6, 127, 0x83, 0x85, 0x86, 255])
def test_an_unknown_level_is_answered_with_code_1(make: Make, level: int) -> None:
    net = make()
    assert answer_to(net, connect(level=level)) == (b"\x20\x02\x00\x01", True)


@statement("3.1.1/MQTT-3.1.2-1")
@pytest.mark.parametrize("name", ["", "MQT", "mqtt", "MQTTx", "MQIsd", "HTTP"])
def test_another_protocol_name_is_closed_on(net: Network, name: str) -> None:
    assert answer_to(net, connect(name=text(name))) == (b"", True)


@statement(
    "3.1.1/MQTT-3.1.4-1",
    "3.1.1/MQTT-3.1.2-3",
    "3.1.1/MQTT-3.1.2-9",
    "3.1.1/MQTT-3.1.2-11",
    "3.1.1/MQTT-3.1.2-13",
    "3.1.1/MQTT-3.1.2-14",
    "3.1.1/MQTT-3.1.2-15",
    "3.1.1/MQTT-3.1.2-18",
    "3.1.1/MQTT-3.1.2-19",
    "3.1.1/MQTT-3.1.2-20",
    "3.1.1/MQTT-3.1.2-21",
    "3.1.1/MQTT-3.1.2-22",
    "3.1.1/MQTT-3.1.3-1",
    "3.1.1/MQTT-3.1.3-3",
    "3.1.1/MQTT-3.1.3-4",
    "3.1.1/MQTT-3.1.3-10",
    "3.1.1/MQTT-3.1.3-11",
)
@each(
    "data",
    [
        pytest.param(connect(0x03), id="the reserved flag"),
        pytest.param(connect(first=0x11), id="flags in the fixed header"),
        pytest.param(connect(0x0A), id="Will QoS 1 without Will Flag"),
        pytest.param(connect(0x22), id="Will Retain without Will Flag"),
        pytest.param(connect(0x1E, text("c") + text("w") + text("m")), id="Will QoS 3"),
        pytest.param(connect(0x06), id="no Will Topic"),
        pytest.param(connect(0x06, text("c") + text("w")), id="no Will Message"),
        pytest.param(connect(0x02, text("c") + text("w") + text("m")), id="a will without Will Flag"),
        pytest.param(connect(0x06, text("c") + text("w/#") + text("m")), id="a wildcard in the Will Topic"),
        pytest.param(connect(0x06, text("c") + text("") + text("m")), id="an empty Will Topic"),
        pytest.param(connect(0x06, text("c") + text(b"\xff") + text("m")), id="ill-formed Will Topic"),
        pytest.param(connect(0x06, text("c") + text("w\0") + text("m")), id="U+0000 in the Will Topic"),
        pytest.param(connect(0x82), id="no user name"),
        pytest.param(connect(0x02, text("c") + text("u")), id="a user name without its flag"),
        pytest.param(connect(0x82, text("c") + text(b"\xed\xa0\x80")), id="a surrogate in the user name"),
        pytest.param(connect(0xC2, text("c") + text("u")), id="no password"),
        pytest.param(connect(0x82, text("c") + text("u") + text("p")), id="a password without its flag"),
        pytest.param(connect(0x42, text("c") + text("p")), id="a password without a user name"),
        pytest.param(connect(0x02, b""), id="no Client Identifier"),
        pytest.param(connect(0x02, b"\x00\x05abc"), id="a Client Identifier cut short"),
        pytest.param(connect(0x02, text(b"\xc0\x80")), id="an overlong form in the Client Identifier"),
        pytest.param(connect(0x02, text(b"a\0b")), id="U+0000 in the Client Identifier"),
        pytest.param(b"\x10\x00", id="nothing at all"),
        pytest.param(b"\x10\x80\x80\x80\x80\x01", id="a Remaining Length of five bytes"),
    ],
)
def test_an_ill_formed_connect_is_closed_on_without_connack(make: Make, data: bytes) -> None:
    net = make()
    assert answer_to(net, data) == (b"", True)
    assert not net.core.sessions


@statement("3.1.1/MQTT-3.1.2-9", "3.1.1/MQTT-3.1.2-19", "3.1.1/MQTT-3.1.2-21", "3.1.1/MQTT-3.1.3-1")
def test_all_fields_in_their_order(make: Make) -> None:
    seen: list[Connect] = []

    def authenticate(packet: Connect) -> Answer:
        seen.append(packet)
        return Answer(0)

    net = make(authenticate=authenticate)
    fields = text("c") + text("w") + text(b"\xff\x00") + text("ann") + text(b"\x00pw")
    assert answer_to(net, connect(0xF6, fields)) == (ACCEPTED, False)
    assert seen == [Connect(4, "c", True, 60, "ann", b"\x00pw", Will("w", b"\xff\x00", 2, True))]


@statement("3.1.1/MQTT-3.1.3-5")
@pytest.mark.parametrize(
    "client_id", ["a", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHI", "JKLMNOPQRSTUVWXYZ"]
)
def test_plain_client_identifiers_are_accepted(net: Network, client_id: str) -> None:
    net.connect(client_id)
    assert list(net.core.sessions) == [client_id]


@pytest.mark.parametrize("client_id", ["x" * 24, "y" * 65_500, "a/b #+$ é", "\ufeff", "😀"])
def test_other_client_identifiers_are_accepted_too(net: Network, client_id: str) -> None:
    net.connect(client_id)
    assert list(net.core.sessions) == [client_id]


@statement("3.1.1/MQTT-3.1.3-6")
def test_an_empty_client_identifier_becomes_a_unique_one(net: Network) -> None:
    one, two = net.connect(""), net.connect("")
    names = list(net.core.sessions)
    assert len(names) == 2
    assert "" not in names
    one.subscribe("t")
    two.publish("t", b"x")
    assert one.payloads() == [b"x"]


def test_an_assigned_client_identifier_is_never_one_in_use(net: Network) -> None:
    taken = net.core.id_prefix + "1"
    net.connect(taken)
    client = net.connect("")
    assert client.connection.client_id != taken
    assert not client.closed


@statement("3.1.1/MQTT-3.1.3-8", "3.1.1/MQTT-3.1.3-9", "3.1.1/MQTT-3.2.2-4", "3.1.1/MQTT-3.2.2-5")
def test_an_empty_client_identifier_without_clean_session_is_rejected(net: Network) -> None:
    assert answer_to(net, connect(0x00, text(""))) == (b"\x20\x02\x00\x02", True)
    assert not net.core.sessions


@statement("3.1.1/MQTT-3.2.2-4", "3.1.1/MQTT-3.2.2-5")
@pytest.mark.parametrize(
    ("reason_code", "code"),
    [(0x84, 1), (0x85, 2), (0x88, 3), (0x89, 3), (0x86, 4), (0x87, 5), (0x8A, 5)],
)
def test_refusals_have_their_return_code(make: Make, reason_code: int, code: int) -> None:
    net = make(authenticate=lambda packet: Answer(reason_code))
    assert answer_to(net, connect(0x00)) == (bytes([0x20, 2, 0, code]), True)
    assert not net.core.sessions


@statement("3.1.1/MQTT-3.2.2-4")
def test_a_refusal_says_no_session_present_even_where_there_is_one(make: Make) -> None:
    codes = [0, 0x87]
    net = make(authenticate=lambda packet: Answer(codes.pop(0)))
    net.connect("c", clean=False).disconnect()
    assert answer_to(net, connect(0x00)) == (b"\x20\x02\x00\x05", True)
    assert "c" in net.core.sessions


@statement("3.1.1/MQTT-3.2.2-6")
@pytest.mark.parametrize("reason_code", [0x80, 0x83, 0x8C, 0x97, 0x9C, 0x9D, 0x9F])
def test_a_refusal_without_a_return_code_closes_without_connack(make: Make, reason_code: int) -> None:
    net = make(authenticate=lambda packet: Answer(reason_code))
    assert answer_to(net, connect()) == (b"", True)


def test_a_full_broker_says_that_it_is_not_available(make: Make) -> None:
    options = quiet()
    options.max_connections = 1
    net = make(options)
    first = net.connect("one")
    assert answer_to(net, connect()) == (b"\x20\x02\x00\x03", True)
    first.disconnect()
    assert answer_to(net, connect()) == (ACCEPTED, False)


@statement("3.1.1/MQTT-3.1.4-5")
def test_what_follows_a_rejected_connect_is_not_processed(make: Make) -> None:
    net = make(authenticate=lambda packet: Answer(0 if packet.client_id == "watch" else 0x87))
    watch = net.connect("watch")
    watch.subscribe("#")
    stranger = net.open()
    stranger.send(
        Connect(4, "c"),
        Publish("t", b"x", 0),
        Publish("t", b"x", 1, False, True, 1),
        Subscribe(2, [("#", 0)]),
    )
    assert stranger.expect(Connack).reason_code == 5
    assert stranger.closed
    stranger.send(Publish("t", b"late"))
    assert watch.take() == []
    assert len(net.core.retained) == 0
    assert stranger.take() == []


@statement("3.1.1/MQTT-3.2.0-1", "3.1.1/MQTT-3.1.4-4")
def test_what_follows_an_accepted_connect_is_processed_after_connack(make: Make) -> None:
    net = make(authenticate=lambda packet: Answer(0))
    client = net.open()
    client.send(Connect(4, "c"), Subscribe(1, [("t", 0)]), Publish("t", b"x"), Pingreq())
    kinds = [packet.packet_type for packet in client.take()]
    assert kinds == [2, 9, 3, 13]


def test_a_connect_may_come_byte_by_byte(net: Network) -> None:
    client = net.open()
    for byte in connect():
        client.send(bytes([byte]))
    assert client.expect(Connack).reason_code == 0


def test_no_complete_connect_in_time_is_closed_on(net: Network) -> None:
    client = net.open()
    client.send(connect()[:-1])
    net.advance(9.9)
    early = client.closed
    net.advance(0.1)
    assert (early, client.closed) == (False, True)
    assert client.take() == []


def test_the_connect_timeout_is_over_with_connack(net: Network) -> None:
    client = net.connect("c")
    net.advance(10_000)
    client.send(Pingreq())
    assert client.take() == [Pingresp()]


@statement("3.1.1/MQTT-1.5.3-1", "3.1.1/MQTT-1.5.3-2")
@each("field", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\0b"])
@each("kind", ["publish", "subscribe", "unsubscribe"])
def test_ill_formed_text_closes_the_connection(make: Make, kind: str, field: bytes) -> None:
    net = make()
    client = net.connect()
    topic = text(field)
    body = {
        "publish": b"\x30" + bytes([len(topic)]) + topic,
        "subscribe": b"\x82" + bytes([len(topic) + 3]) + b"\x00\x01" + topic + b"\x00",
        "unsubscribe": b"\xa2" + bytes([len(topic) + 2]) + b"\x00\x01" + topic,
    }[kind]
    client.send(body)
    assert client.closed
    assert client.take() == []


@statement("3.1.1/MQTT-1.5.3-3")
def test_a_byte_order_mark_stays(net: Network) -> None:
    client = net.connect("\ufeffc")
    assert "\ufeffc" in net.core.sessions
    assert "c" not in net.core.sessions
    client.subscribe("\ufefft", "t")
    client.publish("\ufefft", b"marked")
    (publish,) = client.publishes()
    assert publish.topic == "\ufefft"
