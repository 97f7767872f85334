"""The data types of section 1.5, read and written, and where a Control Packet ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.codec.primitives import (
    Reader,
    encode_binary,
    encode_packet_id,
    encode_topic,
    encode_two,
    encode_utf8,
    encode_varint,
    has_wildcard,
    packet_end,
)
from curier.errors import LocalProtocolError, MalformedPacket, RemoteProtocolError
from tests.codec.wire import varint
from tests.strategies import blobs, texts

# The borders of table 1-1
VARINTS = {
    0: "00",
    127: "7f",
    128: "8001",
    16_383: "ff7f",
    16_384: "808001",
    2_097_151: "ffff7f",
    2_097_152: "80808001",
    268_435_455: "ffffff7f",
}
OVERLONG = ["8000", "ff00", "808000", "80808000"]


def reader(raw: bytes) -> Reader:
    """A Reader in the middle of other bytes, as it is in a chunk."""
    return Reader(b"\xff\xff\xff" + raw + b"\x01\x01\x01\x01\x01", 3, 3 + len(raw))


def test_integers_are_big_endian() -> None:
    one = reader(bytes.fromhex("ff 0102 ffff 01020304 ffffffff"))
    assert [one.byte(""), one.two(""), one.two(""), one.four(""), one.four("")] == [
        255,
        0x0102,
        0xFFFF,
        0x01020304,
        0xFFFFFFFF,
    ]
    one.expect_end()


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_an_integer_does_not_reach_beyond_the_packet(size: int) -> None:
    raw = b"\x80" * size
    with pytest.raises(MalformedPacket, match=f"^field at byte 0 takes 4 bytes, but {size} are left"):
        reader(raw).four("field")
    if size < 2:
        with pytest.raises(MalformedPacket):
            reader(raw).two("field")
    if size < 1:
        with pytest.raises(MalformedPacket):
            reader(raw).byte("field")
    with pytest.raises(MalformedPacket):
        reader(raw).varint("field")


def test_an_error_leaves_the_cursor_where_it_was() -> None:
    one = reader(b"\x00")
    for method in (one.two, one.four):
        with pytest.raises(MalformedPacket):
            method("field")
        assert one.pos == 3
    assert one.byte("field") == 0


@pytest.mark.statement("5.0/MQTT-1.5.5-1")
@pytest.mark.parametrize(("value", "raw"), VARINTS.items())
def test_variable_byte_integers_at_their_borders(value: int, raw: str) -> None:
    assert encode_varint(value).hex() == raw
    one = reader(bytes.fromhex(raw))
    assert one.varint("field") == value
    one.expect_end()


@given(value=st.integers(0, 268_435_455))
def test_variable_byte_integers_as_the_specification_encodes_them(value: int) -> None:
    assert encode_varint(value) == varint(value)
    assert reader(varint(value)).varint("field") == value


@pytest.mark.statement("5.0/MQTT-1.5.5-1")
@pytest.mark.parametrize("raw", OVERLONG)
def test_a_variable_byte_integer_is_as_short_as_it_can_be(raw: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        reader(bytes.fromhex(raw)).varint("field")
    assert caught.value.statement == "MQTT-1.5.5-1"
    with pytest.raises(MalformedPacket) as caught:
        packet_end(b"\x30" + bytes.fromhex(raw), 0)
    assert caught.value.statement == "MQTT-1.5.5-1"


def test_a_variable_byte_integer_has_at_most_four_bytes() -> None:
    for raw in ("8080808001", "ffffffff7f", "80808080"):
        with pytest.raises(MalformedPacket, match="goes on after its fourth byte"):
            reader(bytes.fromhex(raw)).varint("field")
        with pytest.raises(MalformedPacket, match=r"^Remaining Length at byte 1 goes on after its fourth"):
            packet_end(b"\xc0\x00\x30" + bytes.fromhex(raw), 2)


@pytest.mark.parametrize("value", [-1, 268_435_456, 1 << 40])
def test_a_variable_byte_integer_has_limits(value: int) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_varint(value)
    assert caught.value.reason_code == 0x95


@given(text=texts)
def test_strings(text: str) -> None:
    raw = encode_utf8(text)
    assert raw == encode_two(len(text.encode())) + text.encode()
    one = reader(raw + b"rest")
    assert one.utf8("field") == text
    assert one.remaining() == 4
    assert one.rest() == b"rest"
    assert one.remaining() == 0


@given(raw=st.binary(max_size=12))
def test_any_bytes_are_a_string_or_malformed(raw: bytes) -> None:
    """Python's own decoder is the judge of what is well-formed."""
    try:
        expected = raw.decode()
    except UnicodeDecodeError:
        expected = "\x00"
    one = reader(encode_binary(raw))
    if "\x00" in expected:
        with pytest.raises(MalformedPacket):
            one.utf8("field")
    else:
        assert one.utf8("field") == expected


@given(raw=blobs)
def test_binary_data(raw: bytes) -> None:
    assert reader(encode_binary(raw)).binary("field") == raw


@pytest.mark.parametrize("raw", ["", "00", "0001", "000361ff"])
def test_a_string_does_not_reach_beyond_the_packet(raw: str) -> None:
    for method in (reader(bytes.fromhex(raw)).utf8, reader(bytes.fromhex(raw)).binary):
        with pytest.raises(MalformedPacket, match="are left"):
            method("field")


def test_the_longest_string() -> None:
    assert encode_utf8("a" * 65535) == b"\xff\xff" + b"a" * 65535
    assert reader(b"\xff\xff" + bytes(65535)).binary("field") == bytes(65535)


@pytest.mark.statement("5.0/MQTT-4.7.3-3", "3.1.1/MQTT-4.7.3-3")
@pytest.mark.parametrize("text", ["a" * 65536, "é" * 32768])
def test_a_string_of_65536_bytes_cannot_be_written(text: str) -> None:
    for encoder in (encode_utf8, encode_topic):
        with pytest.raises(LocalProtocolError) as caught:
            encoder(text)
        assert caught.value.statement == "MQTT-4.7.3-3"


def test_binary_data_of_65536_bytes_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError, match="65536"):
        encode_binary(bytes(65536))


@pytest.mark.statement("5.0/MQTT-1.5.4-1", "3.1.1/MQTT-1.5.3-1")
@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ud83d\ude00"])
def test_a_surrogate_cannot_be_written(text: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_utf8(text)
    assert caught.value.statement == "MQTT-1.5.4-1"


@pytest.mark.statement("5.0/MQTT-1.5.4-2", "3.1.1/MQTT-1.5.3-2", "5.0/MQTT-4.7.3-2", "3.1.1/MQTT-4.7.3-2")
def test_the_null_character_cannot_be_written() -> None:
    for encoder in (encode_utf8, encode_topic):
        with pytest.raises(LocalProtocolError) as caught:
            encoder("a\x00")
        assert caught.value.statement == "MQTT-1.5.4-2"


@pytest.mark.statement("5.0/MQTT-1.5.4-3", "3.1.1/MQTT-1.5.3-3")
def test_the_byte_order_mark_is_a_character_like_others() -> None:
    assert encode_utf8("\ufeffa") == b"\x00\x04\xef\xbb\xbfa"
    assert reader(b"\x00\x04\xef\xbb\xbfa").utf8("field") == "\ufeffa"


@pytest.mark.statement("5.0/MQTT-4.7.0-1", "3.1.1/MQTT-4.7.1-1")
@pytest.mark.parametrize("topic", ["#", "a/+/b", "a#", "+"])
def test_a_topic_name_has_no_wildcard(topic: str) -> None:
    assert has_wildcard(topic)
    with pytest.raises(LocalProtocolError) as caught:
        encode_topic(topic)
    assert (caught.value.reason_code, caught.value.statement) == (0x90, "MQTT-4.7.0-1")
    with pytest.raises(MalformedPacket) as refused:
        reader(encode_utf8(topic)).topic("field", "the statement")
    assert refused.value.statement == "the statement"


@pytest.mark.statement("5.0/MQTT-4.7.3-1", "3.1.1/MQTT-4.7.3-1")
def test_a_topic_name_is_not_empty() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_topic("")
    assert (caught.value.reason_code, caught.value.statement) == (0x90, "MQTT-4.7.3-1")


@pytest.mark.statement("5.0/MQTT-2.2.1-3", "3.1.1/MQTT-2.3.1-1")
@pytest.mark.parametrize("packet_id", [0, -1, 65536])
def test_a_packet_identifier_has_limits(packet_id: int) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        encode_packet_id(packet_id)
    assert caught.value.statement == "MQTT-2.2.1-3"


def test_packet_identifiers() -> None:
    assert all(encode_two(number) == number.to_bytes(2, "big") for number in range(0x10000))
    with pytest.raises(IndexError):
        encode_two(0x10000)
    for number in (1, 255, 256, 65535):
        assert reader(encode_packet_id(number)).packet_id() == number


@pytest.mark.parametrize(("value", "raw"), VARINTS.items())
def test_a_packet_ends_where_its_remaining_length_says(value: int, raw: str) -> None:
    header = b"\x30" + bytes.fromhex(raw)
    assert packet_end(header, 0) == len(header) + value
    assert packet_end(b"\xc0\x00" + header, 2) == 2 + len(header) + value
    for size in range(len(header)):
        assert packet_end(header[:size], 0) == -1


def test_no_packet_begins_where_the_bytes_end() -> None:
    assert packet_end(b"", 0) == -1
    assert packet_end(b"\xc0\x00", 2) == -1


@given(raw=st.binary(max_size=8))
def test_packet_end_finds_what_the_reader_finds(raw: bytes) -> None:
    one = reader(raw)
    try:
        one.byte("Fixed Header")
        length = one.varint("Remaining Length")
    except MalformedPacket as error:
        if "are left" in error.message:
            assert packet_end(raw, 0) == -1
        else:
            with pytest.raises(MalformedPacket) as caught:
                packet_end(raw, 0)
            assert str(caught.value) == str(error)  # noqa: PT017
    else:
        assert packet_end(raw, 0) == one.pos - 3 + length


def test_the_two_kinds_of_error() -> None:
    one = reader(bytes(range(20)))
    one.pos += 10
    malformed = one.malformed("Field", 4, 6, "is bad", "MQTT-1")
    assert (malformed.reason_code, malformed.statement) == (0x81, "MQTT-1")
    assert str(malformed) == "Field at byte 1 is bad: 01 02 [MQTT-1]"
    forbidden = one.protocol_error("Field", 3, "is worse", "", 0x94)
    assert isinstance(forbidden, RemoteProtocolError)
    assert (forbidden.reason_code, forbidden.statement) == (0x94, "")
    assert str(forbidden) == "Field at byte 0 is worse: 00 01 02 03 04 05 06 07 ..."
