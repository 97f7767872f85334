"""Every wire case: whole, cut short at every byte, with bytes too many, among other bytes, and back again."""

from __future__ import annotations

import pytest

from curier.codec import constants as c
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Packet
from curier.codec.primitives import packet_end
from curier.errors import MalformedPacket, ProtocolError
from tests.codec.cases import ALL, BADS, WIRES, Bad, Wire, parameters
from tests.codec.wire import body_of, packet_bytes, resized
from tests.each import each

LISTS_OR_PAYLOAD = (c.PUBLISH, c.SUBSCRIBE, c.SUBACK, c.UNSUBSCRIBE, c.UNSUBACK)
OPTIONAL_TAIL = (c.PUBACK, c.PUBREC, c.PUBREL, c.PUBCOMP, c.DISCONNECT, c.AUTH)


def decode_all(raw: bytes, version: int) -> Packet:
    return decode(raw, 0, len(raw), version)


def cuts(size: int) -> list[int]:
    """Every place to cut `size` bytes short; of very many bytes, those near both ends."""
    places = list(range(size))
    return places if size <= 600 else places[:300] + places[-300:]


def test_the_notation_counts_for_itself() -> None:
    assert packet_bytes("30 ('a/b' {23 0001} <00ff> 78)", 5) == bytes.fromhex(
        "30 0e 0003 612f62 03 23 0001 0002 00ff 78"
    )
    assert packet_bytes("30 ('a' {} " + "00" * 200 + ")", 4) == bytes.fromhex("30 cb01 0001 61") + bytes(200)


@each(("case", "raw", "version"), parameters(WIRES))
def test_bytes_become_the_packet(case: Wire, raw: bytes, version: int) -> None:
    packet = decode_all(raw, version)
    assert packet == case.packet
    assert repr(packet) == repr(case.packet)
    assert packet.packet_type == raw[0] >> 4


@each(("case", "raw", "version"), parameters(WIRES))
def test_the_packet_becomes_bytes(case: Wire, raw: bytes, version: int) -> None:
    encoded = encode(case.packet, version)
    if case.shortest:
        assert encoded == raw
    else:
        assert encoded != raw
        assert len(encoded) <= len(raw)
        assert decode_all(encoded, version) == case.packet


@each(("case", "raw", "version"), parameters(WIRES))
def test_a_packet_is_found_among_other_bytes(case: Wire, raw: bytes, version: int) -> None:
    chunk = b"\xff\x00" + raw + b"\xff\xff\xff\xff\x01"
    end = packet_end(chunk, 2, version if raw[0] >> 4 != c.CONNECT else 4)
    assert end == 2 + len(raw)
    assert decode(chunk, 2, end, version) == case.packet


@each(("case", "raw", "version"), parameters(WIRES))
def test_a_packet_cut_short_is_refused(case: Wire, raw: bytes, version: int) -> None:
    for end in cuts(len(raw)):
        with pytest.raises(MalformedPacket):
            decode(raw, 0, end, version)


@each(("case", "raw", "version"), parameters(WIRES))
def test_a_body_cut_short_is_refused_or_another_packet(case: Wire, raw: bytes, version: int) -> None:
    """With a Remaining Length that fits the shorter body; what lies behind the packet changes nothing."""
    body = body_of(raw)
    packet_type = raw[0] >> 4
    for size in cuts(len(body)):
        shorter = resized(raw, body[:size])
        chunk = shorter + body[size:]
        if packet_type in LISTS_OR_PAYLOAD or (version == 5 and packet_type in OPTIONAL_TAIL):
            try:
                packet = decode(chunk, 0, len(shorter), version)
            except ProtocolError:
                continue
            assert packet != case.packet or not case.shortest
            assert packet == decode_all(shorter, version)
            assert decode_all(encode(packet, version), version) == packet
        else:
            with pytest.raises(MalformedPacket):
                decode(chunk, 0, len(shorter), version)


@each(("case", "raw", "version"), parameters(WIRES))
def test_bytes_too_many_are_refused(case: Wire, raw: bytes, version: int) -> None:
    with pytest.raises(MalformedPacket):
        decode_all(raw + b"\x00", version)
    longer = resized(raw, body_of(raw) + b"\xff")
    if raw[0] >> 4 == c.PUBLISH:
        assert decode_all(longer, version) != case.packet  # it is the payload's last byte
    else:
        with pytest.raises(ProtocolError):
            decode_all(longer, version)


@each(("case", "raw", "version"), parameters(BADS))
def test_bad_bytes_are_refused_by_the_rule(case: Bad, raw: bytes, version: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_all(raw, version)
    assert type(caught.value) is case.error
    assert caught.value.reason_code == case.reason_code
    assert caught.value.statement == case.statement


@each(("case", "raw", "version"), parameters(BADS))
def test_bad_bytes_stay_bad_among_other_bytes(case: Bad, raw: bytes, version: int) -> None:
    chunk = b"\x30\x02" + raw + b"\x00\x01\x61\x00\x00"
    with pytest.raises(ProtocolError) as caught:
        decode(chunk, 2, 2 + len(raw), version)
    assert caught.value.reason_code == case.reason_code
    assert caught.value.statement == case.statement


@pytest.mark.parametrize("version", ALL)
def test_every_packet_has_a_case(version: int) -> None:
    types = {case.packet.packet_type for case in WIRES if version in case.versions}
    assert types == set(range(c.CONNECT, c.AUTH + (version == 5)))


def test_an_error_names_the_field_the_place_and_the_bytes() -> None:
    with pytest.raises(
        MalformedPacket, match=r"^Topic Name at byte 4 contains U\+0000: 00 \[MQTT-1.5.4-2\]$"
    ):
        decode(b"\xc0\x00\x30\x04\x00\x02\x00\x61", 2, 8, 4)
    with pytest.raises(MalformedPacket, match=r"^Keep Alive at byte 10 takes 2 bytes, but 1 are left: 00$"):
        decode_all(packet_bytes("10 ('MQTT' 04 00 00)", 4), 4)
    with pytest.raises(
        MalformedPacket, match=r"^Topic Name at byte 2 is a Topic Name .*: 00 0c 61( 61){5} \.\.\. "
    ):
        decode_all(packet_bytes("30 ('aaaaaaaaaaa+')", 4), 4)


def test_an_error_does_not_show_a_password() -> None:
    raw = packet_bytes("10 ('MQTT' 05 40 0000 {} '' 0009 736563726574)", 5)
    with pytest.raises(
        MalformedPacket, match=r"^Password at byte 15 is 9 bytes long, but 6 are left: 00 09$"
    ):
        decode_all(raw, 5)
