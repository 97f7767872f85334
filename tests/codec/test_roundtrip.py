"""Packets to bytes and back, and bytes of any kind: they are a packet or a ProtocolError, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import Packet
from curier.codec.primitives import packet_end
from curier.errors import MalformedPacket, RemoteProtocolError
from tests.codec.cases import ALL, WIRES
from tests.codec.wire import body_of, packet_bytes, resized
from tests.strategies import connects, packets

CORPUS = sorted(
    {
        (packet_bytes(case.notation, version), version)
        for case in WIRES
        for version in case.versions
        if len(case.notation) < 1000
    }
)


def decoded(chunk: bytes, start: int, end: int, version: int) -> Packet | None:
    """The packet, or None where the bytes are refused in one of the two ways they may be."""
    try:
        return decode(chunk, start, end, version)
    except (MalformedPacket, RemoteProtocolError) as error:
        if error.reason_code not in (0x81, 0x82, 0x84, 0x94):
            raise
        return None


def check(raw: bytes, version: int) -> None:
    """Decode `raw`; a packet that comes of it can be sent on and is the same again."""
    packet = decoded(raw, 0, len(raw), version)
    assert packet == decoded(b"\xf0\x00" + raw + b"\x00\x00", 2, 2 + len(raw), version)
    if packet is not None:
        again = encode(packet, version)
        assert len(again) <= len(raw)
        assert decode(again, 0, len(again), version) == packet


@pytest.mark.parametrize("version", ALL)
@given(data=st.data())
def test_a_packet_comes_back_as_it_was(version: int, data: st.DataObject) -> None:
    packet = data.draw(packets(version))
    raw = encode(packet, version)
    assert packet_end(raw, 0) == len(raw)
    assert decode(raw, 0, len(raw), version) == packet
    assert encode(decode(raw, 0, len(raw), version), version) == raw


@given(data=st.data())
def test_a_connect_says_its_own_version(data: st.DataObject) -> None:
    packet = data.draw(st.sampled_from(ALL).flatmap(connects))
    raws = {encode(packet, version) for version in ALL}
    assert len(raws) == 1
    raw = raws.pop()
    assert all(decode(raw, 0, len(raw), version) == packet for version in ALL)


@given(raw=st.binary(max_size=60), version=st.sampled_from(ALL))
def test_any_bytes(raw: bytes, version: int) -> None:
    check(raw, version)


@given(first=st.integers(0, 255), body=st.binary(max_size=60), version=st.sampled_from(ALL))
def test_any_body_behind_a_fixed_header(first: int, body: bytes, version: int) -> None:
    check(resized(bytes([first]), body), version)


@given(
    case=st.sampled_from(CORPUS),
    version=st.sampled_from(ALL),
    places=st.lists(st.integers(0, 10_000), min_size=1, max_size=4),
    values=st.lists(st.integers(0, 255), min_size=4, max_size=4),
    repair=st.booleans(),
)
def test_a_real_packet_with_bytes_changed(
    case: tuple[bytes, int], version: int, places: list[int], values: list[int], repair: bool
) -> None:
    """`repair` keeps the Fixed Header and changes only the body."""
    raw = case[0]
    changed = bytearray(body_of(raw) if repair else raw)
    for place, value in zip(places, values, strict=False):
        if changed:
            changed[place % len(changed)] = value
    check(resized(raw, bytes(changed)) if repair else bytes(changed), version)


@given(
    case=st.sampled_from(CORPUS),
    version=st.sampled_from(ALL),
    place=st.integers(0, 10_000),
    cut=st.integers(0, 8),
    put=st.binary(max_size=8),
)
def test_a_real_packet_with_bytes_cut_and_put(
    case: tuple[bytes, int], version: int, place: int, cut: int, put: bytes
) -> None:
    body = body_of(case[0])
    place %= len(body) + 1
    check(resized(case[0], body[:place] + put + body[place + cut :]), version)
