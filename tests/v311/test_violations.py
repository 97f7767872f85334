"""What closes a connection: malformed packets, wrong flags, wrong direction, wrong time (3.1.1: 2.2, 4.8)."""

from __future__ import annotations

import pytest

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec.packets import Connect, Publish, Will
from tests.each import each
from tests.v311.conftest import Make
from tests.v311.harness import Network

statement = pytest.mark.statement

WHOLE = {
    "CONNACK": "20 02 00 00",
    "SUBACK": "90 03 0001 00",
    "UNSUBACK": "b0 02 0001",
    "PINGRESP": "d0 00",
}
"""What only a server sends."""

FLAGS = {
    "PUBACK": (0x40, "02 0001", 0),
    "PUBREC": (0x50, "02 0001", 0),
    "PUBREL": (0x60, "02 0001", 2),
    "PUBCOMP": (0x70, "02 0001", 0),
    "SUBSCRIBE": (0x80, "06 0001 0001 74 00", 2),
    "UNSUBSCRIBE": (0xA0, "05 0001 0001 74", 2),
    "PINGREQ": (0xC0, "00", 0),
    "DISCONNECT": (0xE0, "00", 0),
}


@statement("3.1.1/MQTT-4.8.0-1")
@pytest.mark.parametrize("name", WHOLE)
def test_a_packet_that_only_a_server_sends_closes(net: Network, name: str) -> None:
    client = net.connect()
    client.send(bytes.fromhex(WHOLE[name]))
    assert client.closed
    assert client.take() == []


@statement("3.1.1/MQTT-4.8.0-1")
@pytest.mark.parametrize("data", ["00 00", "0f 00", "f0 00", "f0 02 1800"])
def test_a_reserved_packet_type_closes(net: Network, data: str) -> None:
    client = net.connect()
    client.send(bytes.fromhex(data))
    assert client.closed
    assert client.take() == []


@statement(
    "3.1.1/MQTT-2.2.2-1",
    "3.1.1/MQTT-2.2.2-2",
    "3.1.1/MQTT-3.6.1-1",
    "3.1.1/MQTT-3.8.1-1",
    "3.1.1/MQTT-3.10.1-1",
    "3.1.1/MQTT-3.14.1-1",
)
@pytest.mark.parametrize("name", FLAGS)
def test_wrong_flags_close(net: Network, name: str) -> None:
    first, rest, right = FLAGS[name]
    watch = net.connect("watch")
    watch.subscribe("w")
    for flags in range(16):
        client = net.connect("c", will=Will("w", b"gone"))
        client.send(bytes([first | flags]) + bytes.fromhex(rest))
        if flags == right:
            assert client.closed == (name == "DISCONNECT")
            assert watch.take() == []
            client.drop()
            watch.take()
        else:
            assert client.closed
            assert watch.payloads() == [b"gone"]


@statement("3.1.1/MQTT-4.8.0-1")
@each(
    "data",
    [
        pytest.param("40 00", id="PUBACK without Packet Identifier"),
        pytest.param("40 01 00", id="PUBACK of half a Packet Identifier"),
        pytest.param("40 03 0001 00", id="PUBACK with a Reason Code"),
        pytest.param("62 03 0001 00", id="PUBREL with a Reason Code"),
        pytest.param("40 02 0000", id="PUBACK with Packet Identifier 0"),
        pytest.param("50 02 0000", id="PUBREC with Packet Identifier 0"),
        pytest.param("62 02 0000", id="PUBREL with Packet Identifier 0"),
        pytest.param("70 02 0000", id="PUBCOMP with Packet Identifier 0"),
        pytest.param("c0 01 00", id="PINGREQ with a body"),
        pytest.param("e0 01 00", id="DISCONNECT with a body"),
        pytest.param("82 80 80 80 80", id="a Remaining Length that does not end"),
        pytest.param("82 05 0001 0001 74", id="a filter without its QoS"),
        pytest.param("82 07 0001 0001 74 00 00", id="half a filter behind a whole one"),
    ],
)
def test_a_malformed_packet_closes(make: Make, data: str) -> None:
    net = make()
    client = net.connect()
    client.send(bytes.fromhex(data))
    assert client.closed
    assert client.take() == []


@statement("3.1.1/MQTT-4.8.0-1", "3.1.1/MQTT-3.14.4-3")
def test_what_follows_a_violation_or_a_goodbye_is_not_processed(net: Network) -> None:
    watch = net.connect("watch")
    watch.subscribe("#")
    for last in (b"\xd0\x00", b"\xe0\x00", b"\x10\x00"):
        client = net.connect()
        client.send(Publish("t", b"before"), last, Publish("t", b"after"))
        assert client.closed
        client.send(Publish("t", b"later"))
        assert watch.payloads() == [b"before"]


@statement("3.1.1/MQTT-4.8.0-1", "3.1.1/MQTT-4.8.0-2")
def test_nobody_else_notices(net: Network) -> None:
    watch = net.connect("watch")
    watch.subscribe("t")
    sender = net.connect("sender")
    for data in (b"\xff" * 100, b"\x00" * 100, b"\x36\x03\x00\x01t", b"\x10\x00"):
        client = net.connect()
        client.subscribe("t")
        client.send(data)
        assert client.closed
        sender.publish("t", b"x", 1)
        assert watch.payloads() == [b"x"]
    assert not watch.closed
    assert not sender.closed


def test_it_is_told_which_rule_was_broken(net: Network) -> None:
    told: list[str] = []

    class Listener(Hook):
        def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
            told.append(why)

    net.core.add_hook(Listener())
    net.connect().send(Connect(4, "c"))
    net.connect().send(b"\x36\x05\x00\x01t\x00\x01")
    assert "[MQTT-3.1.0-2]" in told[0]
    assert "[MQTT-3.3.1-4]" in told[1]
    assert net.core.statistics.protocol_errors == 2
