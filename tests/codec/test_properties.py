"""Each Property in each packet, against table 2-4 as `tests.strategies` has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.codec import constants as c
from curier.codec.primitives import Reader
from curier.codec.properties import WILL, Properties, decode_properties, encode_properties
from curier.errors import LocalProtocolError, MalformedPacket, RemoteProtocolError
from tests.codec.cases import properties
from tests.codec.wire import packet_bytes
from tests.each import each
from tests.strategies import PROPERTIES, PROPERTY_PACKETS
from tests.strategies import properties as any_properties

# One value of each Property, and its bytes in the notation of `tests.codec.wire`
VALUES: dict[str, tuple[Any, str]] = {
    "payload_format_indicator": (1, "01 01"),
    "message_expiry_interval": (1, "02 00000001"),
    "content_type": ("text", "03 'text'"),
    "response_topic": ("a/b", "08 'a/b'"),
    "correlation_data": (b"\xff\x00", "09 <ff00>"),
    "subscription_identifiers": ([300], "0b ac02"),
    "session_expiry_interval": (0x01020304, "11 01020304"),
    "assigned_client_identifier": ("id", "12 'id'"),
    "server_keep_alive": (0x0102, "13 0102"),
    "authentication_method": ("SCRAM", "15 'SCRAM'"),
    "authentication_data": (b"", "16 <>"),
    "request_problem_information": (0, "17 00"),
    "will_delay_interval": (60, "18 0000003c"),
    "request_response_information": (1, "19 01"),
    "response_information": ("é", "1a <c3a9>"),
    "server_reference": ("other:1883", "1c 'other:1883'"),
    "reason_string": ("because", "1f 'because'"),
    "receive_maximum": (65535, "21 ffff"),
    "topic_alias_maximum": (0, "22 0000"),
    "topic_alias": (1, "23 0001"),
    "maximum_qos": (0, "24 00"),
    "retain_available": (1, "25 01"),
    "user_properties": ([("name", "value")], "26 'name' 'value'"),
    "maximum_packet_size": (0xFFFFFFFF, "27 ffffffff"),
    "wildcard_subscription_available": (0, "28 00"),
    "subscription_identifier_available": (1, "29 01"),
    "shared_subscription_available": (0, "2a 00"),
}
REPEATABLE = {"user_properties": PROPERTY_PACKETS, "subscription_identifiers": (c.PUBLISH,)}
PLACES = [(name, packet_type) for name in VALUES for packet_type in PROPERTY_PACKETS]
ALLOWED = [(name, packet_type) for name, packet_type in PLACES if packet_type in PROPERTIES[name][1]]
FORBIDDEN = sorted(set(PLACES) - set(ALLOWED))


def decode_all(raw: bytes, packet_type: int) -> Properties:
    reader = Reader(raw, 0, len(raw))
    decoded = decode_properties(reader, packet_type)
    reader.expect_end()
    return decoded


def test_the_two_tables_name_the_same_properties() -> None:
    assert set(VALUES) == set(PROPERTIES)
    assert len(VALUES) == 27
    assert all(vars_name in PROPERTIES for vars_name in Properties.__annotations__)


@each(("name", "packet_type"), ALLOWED)
def test_a_property_in_its_place(name: str, packet_type: int) -> None:
    value, notation = VALUES[name]
    raw = packet_bytes("{" + notation + "}", 5)
    assert encode_properties(properties(**{name: value}), packet_type) == raw
    assert decode_all(raw, packet_type) == properties(**{name: value})


@each(("name", "packet_type"), FORBIDDEN)
def test_a_property_out_of_its_place(name: str, packet_type: int) -> None:
    value, notation = VALUES[name]
    with pytest.raises(LocalProtocolError, match="does not belong"):
        encode_properties(properties(**{name: value}), packet_type)
    with pytest.raises(MalformedPacket, match="does not belong") as caught:
        decode_all(packet_bytes("{" + notation + "}", 5), packet_type)
    assert caught.value.reason_code == 0x81


@each(("name", "packet_type"), ALLOWED)
def test_a_property_twice(name: str, packet_type: int) -> None:
    value, notation = VALUES[name]
    raw = packet_bytes("{" + notation + notation + "}", 5)
    if packet_type in REPEATABLE.get(name, ()):
        assert decode_all(raw, packet_type) == properties(**{name: value * 2})
        assert encode_properties(properties(**{name: value * 2}), packet_type) == raw
    else:
        with pytest.raises(RemoteProtocolError, match="more than once") as caught:
            decode_all(raw, packet_type)
        assert caught.value.reason_code == 0x82


def test_two_subscription_identifiers_cannot_be_written_in_a_subscribe() -> None:
    with pytest.raises(LocalProtocolError, match="more than once"):
        encode_properties(properties(subscription_identifiers=[1, 2]), c.SUBSCRIBE)


@each(
    ("name", "value", "notation"),
    [
        ("payload_format_indicator", 2, "01 02"),
        ("request_problem_information", 2, "17 02"),
        ("request_response_information", 255, "19 ff"),
        ("maximum_qos", 2, "24 02"),
        ("retain_available", 2, "25 02"),
        ("wildcard_subscription_available", 2, "28 02"),
        ("subscription_identifier_available", 2, "29 02"),
        ("shared_subscription_available", 2, "2a 02"),
        ("subscription_identifiers", [0], "0b 00"),
        ("receive_maximum", 0, "21 0000"),
        ("maximum_packet_size", 0, "27 00000000"),
        ("topic_alias", 0, "23 0000"),
        ("session_expiry_interval", -1, ""),
        ("session_expiry_interval", 1 << 32, ""),
        ("server_keep_alive", 65536, ""),
        ("topic_alias", 65536, ""),
        ("subscription_identifiers", [268_435_456], ""),
    ],
)
def test_values_that_are_not_allowed(name: str, value: object, notation: str) -> None:
    packet_type = min(PROPERTIES[name][1] - {WILL})
    with pytest.raises(LocalProtocolError, match="not in"):
        encode_properties(properties(**{name: value}), packet_type)
    if notation:
        with pytest.raises(RemoteProtocolError, match="not in") as caught:
            decode_all(packet_bytes("{" + notation + "}", 5), packet_type)
        assert caught.value.reason_code == (0x94 if name == "topic_alias" else 0x82)


@pytest.mark.statement("5.0/MQTT-3.3.2-14", "5.0/MQTT-4.7.3-1")
@pytest.mark.parametrize("topic", ["", "a/#", "+"])
@pytest.mark.parametrize("packet_type", [c.PUBLISH, WILL])
def test_a_response_topic_is_a_topic_name(topic: str, packet_type: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_properties(properties(response_topic=topic), packet_type)
    with pytest.raises(MalformedPacket):
        decode_all(packet_bytes("{08 '" + topic + "'}", 5), packet_type)


@pytest.mark.statement("5.0/MQTT-1.5.7-1")
@pytest.mark.parametrize("pair", [("\x00", ""), ("", "\ud800"), ("", "a" * 65536)])
def test_both_strings_of_a_pair_obey_the_rules(pair: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_properties(properties(user_properties=[pair]), c.PUBLISH)


@pytest.mark.statement("5.0/MQTT-2.2.2-1")
@each("packet_type", PROPERTY_PACKETS)
def test_no_properties_are_a_zero(packet_type: int) -> None:
    assert encode_properties(None, packet_type) == b"\x00"
    assert encode_properties(Properties(), packet_type) == b"\x00"
    assert decode_all(b"\x00", packet_type) == Properties()


def test_what_comes_after_the_properties_is_left_alone() -> None:
    reader = Reader(b"\xff\x02\x01\x01\x01\x01", 1, 6)
    assert decode_properties(reader, c.PUBLISH) == properties(payload_format_indicator=1)
    assert (reader.pos, reader.end) == (4, 6)


@given(data=st.data(), packet_type=st.sampled_from(PROPERTY_PACKETS))
def test_any_properties_come_back(data: st.DataObject, packet_type: int) -> None:
    wanted = data.draw(any_properties(packet_type)) or Properties()
    assert decode_all(encode_properties(wanted, packet_type), packet_type) == wanted


@given(raw=st.binary(max_size=40), packet_type=st.sampled_from(PROPERTY_PACKETS))
def test_any_bytes_are_properties_or_refused(raw: bytes, packet_type: int) -> None:
    try:
        decoded = decode_all(bytes([len(raw)]) + raw, packet_type)
    except (MalformedPacket, RemoteProtocolError):
        return
    assert decode_all(encode_properties(decoded, packet_type), packet_type) == decoded


def test_properties_are_equal_when_all_are() -> None:
    assert Properties() == Properties()
    assert Properties() != "Properties()"
    for name, (value, _) in VALUES.items():
        assert properties(**{name: value}) == properties(**{name: value})
        assert properties(**{name: value}) != Properties()


def test_the_lists_of_properties_are_their_own() -> None:
    one, other = Properties(), Properties()
    one.user_properties.append(("a", "b"))
    one.subscription_identifiers.append(1)
    assert other == Properties()


def test_the_repr_shows_what_is_there_but_no_secret() -> None:
    assert repr(Properties()) == "Properties()"
    shown = properties(receive_maximum=1, authentication_data=b"secret", user_properties=[("a", "b")])
    assert repr(shown) == (
        "Properties(authentication_data=<6 bytes>, receive_maximum=1, user_properties=[('a', 'b')])"
    )
