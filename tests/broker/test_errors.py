"""How broken rules are answered, and the end of connections (5.0: 3.14, 4.13)."""

from __future__ import annotations

from typing import cast

import pytest

from curier.broker.hooks import Hook
from curier.codec import packets as p
from curier.codec.constants import PUBLISH
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import BADS, Bad, parameters
from tests.each import each

statement = pytest.mark.statement

# Whatever the table of wire cases holds that could come behind CONNECT.
BROKEN = [
    row
    for row in parameters(BADS)
    if row.values[2] == 5 and cast(bytes, row.values[1])[:1] not in (b"", b"\x10")
]


@statement("5.0/MQTT-4.13.1-1")
@each(("case", "raw", "version"), BROKEN)
def test_every_broken_packet_is_answered_and_closed(case: Bad, raw: bytes, version: int) -> None:
    for way in ("fast", "slow"):
        net = Net(way)
        other = net.connect("other")
        other.subscribe("#")
        client = net.connect("c", expiry=60)
        client.send(raw)
        if not client.closed:  # cut off: the rest may come
            assert client.take() == []
            client.send(bytes(200))
        reason_code = client.goodbye().reason_code
        assert reason_code == case.reason_code or raw[0] >> 4 != PUBLISH
        assert reason_code >= 0x80
        other.send(p.Pingreq())
        other.pop(p.Pingresp)
        assert list(net.core.sessions) == ["other", "c"]


@statement("5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize(
    ("raw", "reason_code"),
    [
        pytest.param("00 00", 0x81, id="type 0"),
        pytest.param("20 03 000000", 0x82, id="CONNACK"),
        pytest.param("90 04 0001 00 00", 0x82, id="SUBACK"),
        pytest.param("b0 04 0001 00 00", 0x82, id="UNSUBACK"),
        pytest.param("d0 00", 0x82, id="PINGRESP"),
        pytest.param("36 07 0001 74 0001 00 00", 0x81, id="QoS 3", marks=statement("5.0/MQTT-3.3.1-4")),
        pytest.param("38 04 0001 74 00", 0x81, id="QoS 0 with DUP", marks=statement("5.0/MQTT-3.3.1-2")),
        pytest.param("30 04 0001 23 00", 0x81, id="wildcard", marks=statement("5.0/MQTT-3.3.2-2")),
        pytest.param("60 02 0001", 0x81, id="PUBREL with flags 0", marks=statement("5.0/MQTT-3.6.1-1")),
        pytest.param("80 07 0001 00 0001 74 00", 0x81, id="SUBSCRIBE 0", marks=statement("5.0/MQTT-3.8.1-1")),
        pytest.param("82 03 0001 00", 0x82, id="no filter", marks=statement("5.0/MQTT-3.8.3-2")),
        pytest.param("82 07 0001 00 0001 74 40", 0x81, id="reserved", marks=statement("5.0/MQTT-3.8.3-5")),
        pytest.param("82 07 0001 00 0001 74 03", 0x82, id="SUBSCRIBE QoS 3"),
        pytest.param("82 07 0001 00 0001 74 30", 0x82, id="Retain Handling 3"),
        pytest.param("82 09 0001 02 0b00 0001 74 00", 0x82, id="Subscription Identifier 0"),
        pytest.param("82 07 0000 00 0001 74 00", 0x81, id="Packet Identifier 0"),
        pytest.param("a0 06 0001 00 0001 74", 0x81, id="UNSUBSCRIBE 0", marks=statement("5.0/MQTT-3.10.1-1")),
        pytest.param("a2 03 0001 00", 0x82, id="none", marks=statement("5.0/MQTT-3.10.3-2")),
        pytest.param("e1 00", 0x81, id="DISCONNECT with flags", marks=statement("5.0/MQTT-3.14.1-1")),
        pytest.param("e0 01 01", 0x82, id="DISCONNECT 0x01", marks=statement("5.0/MQTT-3.14.2-1")),
        pytest.param("f1 00", 0x81, id="AUTH with flags", marks=statement("5.0/MQTT-3.15.1-1")),
        pytest.param("40 03 0001 01", 0x82, id="PUBACK 0x01", marks=statement("5.0/MQTT-3.4.2-1")),
        pytest.param("50 03 0001 92", 0x82, id="PUBREC 0x92", marks=statement("5.0/MQTT-3.5.2-1")),
        pytest.param("62 03 0001 80", 0x82, id="PUBREL 0x80", marks=statement("5.0/MQTT-3.6.2-1")),
        pytest.param("70 03 0001 80", 0x82, id="PUBCOMP 0x80", marks=statement("5.0/MQTT-3.7.2-1")),
        pytest.param("30 ffffffff01", 0x81, id="Remaining Length of five bytes"),
        pytest.param("c0 01 00", 0x81, id="PINGREQ with a body"),
    ],
)  # fmt: skip
def test_the_reason_is_told_with_disconnect(raw: str, reason_code: int) -> None:
    for way, problem_information in (("fast", 0), ("slow", 1)):
        client = Net(way).connect("c", request_problem_information=problem_information)
        client.send(bytes.fromhex(raw) + b"\xc0\x00")  # what follows is not looked at
        goodbye = client.goodbye()
        assert goodbye.reason_code == reason_code
        assert goodbye.properties is not None
        assert goodbye.properties.reason_string
        assert client.take() == []


@statement("5.0/MQTT-3.14.2-2")
def test_disconnect_of_the_broker_has_a_reason_and_nothing_else(net: Net) -> None:
    client = net.connect("c", expiry=60)
    client.send(b"\x00\x00")
    made = client.goodbye().properties
    assert made is not None
    assert made.session_expiry_interval is None
    assert made.user_properties == []


@statement("5.0/MQTT-3.14.4-1", "5.0/MQTT-3.14.4-2")
def test_nothing_follows_disconnect_in_either_direction(net: Net) -> None:
    client = net.connect("c", expiry=60)
    client.subscribe("t")
    client.send(p.Pingreq(), b"\x00\x00", p.Publish("t", b"x", 1, packet_id=1))
    assert [type(packet) for packet in client.take()] == [p.Pingresp, p.Disconnect]
    assert client.closed
    net.connect("sender").publish("t", b"kept", 1)
    client.send(p.Pingreq())
    assert client.take() == []
    assert net.connect("c", clean=False).payloads() == [b"kept"]


@pytest.mark.parametrize(
    "reason_code", [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
)
def test_disconnect_of_a_client_is_not_answered(net: Net, reason_code: int) -> None:
    told: list[tuple[int, str]] = []

    class Ends(Hook):
        def on_disconnect(self, connection: object, reason_code: int, why: str) -> None:
            told.append((reason_code, why))

    net.core.add_hook(Ends())
    client = net.connect("c")
    client.send(p.Disconnect(reason_code), p.Pingreq())
    assert client.closed
    assert client.take() == []
    assert told == [(reason_code, "the client disconnected")]


@statement("5.0/MQTT-3.14.2-1", "5.0/MQTT-4.13.2-1")
def test_a_broker_that_stops_says_so(make: Make) -> None:
    net = make(authenticate=lambda question: None)
    waiting, silent = net.send_connect("waiting"), net.open()
    net.authenticate = None
    net.core.asks_authentication = False
    client = net.connect("c")
    net.core.shut_down(net.now)
    net.turn()
    assert client.goodbye().reason_code == 0x8B
    assert waiting.closed
    assert silent.closed
    assert waiting.take() == silent.take() == []
    assert net.core.connections == {}


def test_a_client_that_does_not_take_what_it_is_sent_is_let_go(make: Make) -> None:
    net = make(quiet(output_soft_limit=1000, output_hard_limit=2000, max_packet_size=200))
    client = net.connect("c", expiry=60)
    net.core.written(client.connection, 0, 3_000_000, net.now)
    net.turn()
    assert client.goodbye().reason_code == 0x97
    assert list(net.core.sessions) == ["c"]


def test_closing_twice_is_closing_once(net: Net) -> None:
    told: list[int] = []

    class Ends(Hook):
        def on_disconnect(self, connection: object, reason_code: int, why: str) -> None:
            told.append(reason_code)

    net.core.add_hook(Ends())
    client = net.connect("c", will=p.Will("t", b"x"))
    watch = net.connect("watch")
    watch.subscribe("#")
    client.send(b"\x00\x00")
    client.drop()
    client.drop()
    assert told == [0x81]
    assert watch.payloads() == [b"x"]
    assert net.core.statistics.connected == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_errors_do_not_depend_on_how_the_bytes_are_cut(net: Net, size: int) -> None:
    client = net.connect("c")
    client.subscribe("t")
    raw = bytes.fromhex("30 05 0001 74 00 31  c0 00  30 05 0001 74 00 32  36 07 0001 74 0001 00 00  c0 00")
    for start in range(0, len(raw), size):
        client.send(raw[start : start + size])
    got = client.take()
    assert [type(packet) for packet in got] == [p.Publish, p.Pingresp, p.Publish, p.Disconnect]
