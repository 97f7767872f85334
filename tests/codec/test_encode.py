"""What the encoder refuses to write, and the short forms it chooses."""

from __future__ import annotations

from typing import Any

import pytest

from curier.codec import constants as c
from curier.codec import packets as p
from curier.codec.encode import encode, encode_ack
from curier.codec.properties import Properties
from curier.errors import LocalProtocolError
from tests.codec.cases import properties
from tests.each import each

DATA_WITHOUT_METHOD = properties(authentication_data=b"d")


def refused(
    name: str, packet: p.Packet, versions: tuple[int, ...], code: int, statement: str, *statements: str
) -> list[Any]:
    """A packet that cannot be written in these versions, as parameters of a test."""
    marks = [pytest.mark.statement(*statements)] if statements else []
    return [
        pytest.param(packet, version, code, statement, id=f"{name}, {version}", marks=marks)
        for version in versions
    ]


V3, V5, ALL = (3, 4), (5,), (3, 4, 5)
ZERO_ID = ("3.1.1/MQTT-2.3.1-1", "5.0/MQTT-2.2.1-3")
EMPTY = ("3.1.1/MQTT-4.7.3-1", "5.0/MQTT-4.7.3-1")
# fmt: off
REFUSED = [
    *refused("no packet", p.Packet(), ALL, 0x82, ""),
    *refused("a Will is no packet", p.Will("a", b""), ALL, 0x82, ""),
    *refused("AUTH before 5.0", p.Auth(), V3, 0x82, ""),
    *refused("AUTH without method", p.Auth(0x18), V5, 0x82, ""),
    *refused("AUTH, data without method", p.Auth(0, DATA_WITHOUT_METHOD), V5, 0x82, ""),
    *refused("CONNECT, data without method", p.Connect(5, "", properties=DATA_WITHOUT_METHOD), V5, 0x82, ""),
    *refused("CONNACK, data without method", p.Connack(False, 0, DATA_WITHOUT_METHOD), V5, 0x82, ""),
    *refused("CONNECT, version 6", p.Connect(6, ""), ALL, 0x84, "MQTT-3.1.2-2"),
    *refused("CONNECT, Keep Alive", p.Connect(4, "", True, 65536), ALL, 0x82, ""),
    *refused("CONNECT, negative Keep Alive", p.Connect(4, "", True, -1), ALL, 0x82, ""),
    *refused("CONNECT, password alone, 3.1", p.Connect(3, "", password=b""), ALL, 0x82,
             "3.1.1/MQTT-3.1.2-22"),
    *refused("CONNECT, password alone, 3.1.1", p.Connect(4, "", password=b""), ALL, 0x82,
             "3.1.1/MQTT-3.1.2-22", "3.1.1/MQTT-3.1.2-22"),
    *refused("CONNECT, Will QoS", p.Connect(4, "", will=p.Will("a", b"", 3)), ALL, 0x82, "MQTT-3.3.1-4",
             "3.1.1/MQTT-3.1.2-14", "5.0/MQTT-3.1.2-12"),
    *refused("CONNECT, Will Topic", p.Connect(4, "", will=p.Will("+", b"")), ALL, 0x90, "MQTT-4.7.0-1"),
    *refused("CONNECT, empty Will Topic", p.Connect(5, "", will=p.Will("", b"")), ALL, 0x90, "MQTT-4.7.3-1"),
    *refused("CONNECT, long Will Payload", p.Connect(4, "", will=p.Will("a", bytes(65536))), ALL, 0x81,
             "MQTT-4.7.3-3"),
    *refused("CONNACK, Session Present", p.Connack(True, 5), V3, 0x82, "MQTT-3.2.2-6", "3.1.1/MQTT-3.2.2-4"),
    *refused("CONNACK, Session Present", p.Connack(True, 0x87), V5, 0x82, "MQTT-3.2.2-6",
             "5.0/MQTT-3.2.2-6"),
    *refused("PUBLISH, QoS 3", p.Publish("a", b"", 3, packet_id=1), ALL, 0x82, "MQTT-3.3.1-4",
             "3.1.1/MQTT-3.3.1-4", "5.0/MQTT-3.3.1-4"),
    *refused("PUBLISH, QoS -1", p.Publish("a", b"", -1, packet_id=1), ALL, 0x82, "MQTT-3.3.1-4"),
    *refused("PUBLISH, DUP with QoS 0", p.Publish("a", b"", 0, True), ALL, 0x82, "MQTT-3.3.1-2",
             "3.1.1/MQTT-3.3.1-2", "5.0/MQTT-3.3.1-2"),
    *refused("PUBLISH, Packet Identifier with QoS 0", p.Publish("a", b"", packet_id=1), ALL, 0x82,
             "MQTT-2.2.1-2", "3.1.1/MQTT-2.3.1-5", "5.0/MQTT-2.2.1-2"),
    *refused("PUBLISH, no Packet Identifier", p.Publish("a", b"", 1), ALL, 0x82, "MQTT-2.2.1-3", *ZERO_ID),
    *refused("PUBLISH, wildcard", p.Publish("a/#", b""), ALL, 0x90, "MQTT-4.7.0-1",
             "3.1.1/MQTT-3.3.2-2", "5.0/MQTT-3.3.2-2"),
    *refused("PUBLISH, empty", p.Publish("", b""), ALL, 0x90, "MQTT-4.7.3-1", *EMPTY),
    *refused("PUBLISH, alias before 5.0", p.Publish("", b"", properties=properties(topic_alias=1)), V3, 0x90,
             "MQTT-4.7.3-1"),
    *refused("PUBLISH, Topic Alias 0", p.Publish("a", b"", properties=properties(topic_alias=0)), V5, 0x82,
             "", "5.0/MQTT-3.3.2-8"),
    *refused("PUBACK, no Packet Identifier", p.Puback(0), ALL, 0x82, "MQTT-2.2.1-3"),
    *refused("SUBSCRIBE, none", p.Subscribe(1, []), ALL, 0x82, "MQTT-3.8.3-2",
             "3.1.1/MQTT-3.8.3-3", "5.0/MQTT-3.8.3-2"),
    *refused("SUBSCRIBE, empty", p.Subscribe(1, [("", 0)]), ALL, 0x8F, "MQTT-4.7.3-1", *EMPTY),
    *refused("SUBSCRIBE, no Packet Identifier", p.Subscribe(0, [("a", 0)]), ALL, 0x82, "MQTT-2.2.1-3",
             *ZERO_ID),
    *refused("SUBSCRIBE, QoS 3", p.Subscribe(1, [("a", 3)]), ALL, 0x82, "MQTT-3.8.3-5"),
    *refused("SUBSCRIBE, options before 5.0", p.Subscribe(1, [("a", 4)]), V3, 0x82, "MQTT-3.8.3-5"),
    *refused("SUBSCRIBE, reserved bits", p.Subscribe(1, [("a", 0x40)]), V5, 0x82, "MQTT-3.8.3-5",
             "5.0/MQTT-3.8.3-5"),
    *refused("SUBSCRIBE, Retain Handling 3", p.Subscribe(1, [("a", 0x30)]), V5, 0x82, "MQTT-3.8.3-5"),
    *refused("SUBSCRIBE, negative", p.Subscribe(1, [("a", -1)]), ALL, 0x82, "MQTT-3.8.3-5"),
    *refused("SUBSCRIBE, No Local and shared", p.Subscribe(1, [("$share/g/a", 4)]), V5, 0x82, "MQTT-3.8.3-4",
             "5.0/MQTT-3.8.3-4"),
    *refused("SUBACK, none", p.Suback(1, []), ALL, 0x82, "MQTT-3.8.4-6", "5.0/MQTT-3.8.4-6"),
    *refused("UNSUBSCRIBE, none", p.Unsubscribe(1, []), ALL, 0x82, "MQTT-3.10.3-2",
             "3.1.1/MQTT-3.10.3-2", "5.0/MQTT-3.10.3-2"),
    *refused("UNSUBSCRIBE, empty", p.Unsubscribe(1, [""]), ALL, 0x8F, "MQTT-4.7.3-1", *EMPTY),
    *refused("UNSUBACK, none", p.Unsuback(1, []), V5, 0x82, "MQTT-3.8.4-6"),
]
# fmt: on


@each(("packet", "version", "code", "statement"), REFUSED)
def test_what_mqtt_forbids_is_not_written(packet: p.Packet, version: int, code: int, statement: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode(packet, version)
    assert (caught.value.reason_code, caught.value.statement) == (code, statement)


def test_a_packet_larger_than_mqtt_can_say_is_not_written() -> None:
    with pytest.raises(LocalProtocolError, match="268435460 bytes is too large") as caught:
        encode(p.Publish("a", bytes(268_435_457)), 4)
    assert caught.value.reason_code == 0x95


@pytest.mark.parametrize(
    ("packet_type", "first"), [(c.PUBACK, 0x40), (c.PUBREC, 0x50), (c.PUBREL, 0x62), (c.PUBCOMP, 0x70)]
)
def test_an_acknowledgement_is_as_short_as_it_can_be(packet_type: int, first: int) -> None:
    head = bytes([first])
    for version in (3, 4, 5):
        assert encode_ack(packet_type, 0x0102, 0, None, version) == head + b"\x02\x01\x02"
    assert encode_ack(packet_type, 1, 0, Properties(), 5) == head + b"\x02\x00\x01"
    failure = 0x92 if packet_type in (c.PUBREL, c.PUBCOMP) else 0x87
    assert encode_ack(packet_type, 1, failure, None, 5) == head + b"\x03\x00\x01" + bytes([failure])
    assert encode_ack(packet_type, 1, failure, properties(reason_string=""), 4) == head + b"\x02\x00\x01"
    assert encode_ack(packet_type, 1, 0, properties(reason_string=""), 5) == head + bytes.fromhex(
        "07 0001 00 03 1f0000"
    )


def test_properties_are_left_out_before_50() -> None:
    carried = properties(user_properties=[("a", "b")])
    assert encode(p.Publish("a", b"x", properties=carried), 4) == bytes.fromhex("30 04 0001 61 78")
    assert encode(p.Connack(False, 0, carried), 4) == bytes.fromhex("20 02 00 00")
    assert encode(p.Disconnect(4, carried), 4) == b"\xe0\x00"
    assert encode(p.Unsuback(1, [0x11], carried), 4) == bytes.fromhex("b0 02 0001")
    assert encode(p.Connect(4, "", properties=carried), 5) == encode(p.Connect(4, ""), 5)


def test_31_has_no_session_present() -> None:
    assert encode(p.Connack(True, 0), 3) == bytes.fromhex("20 02 00 00")
    assert encode(p.Connack(True, 0), 4) == bytes.fromhex("20 02 01 00")
