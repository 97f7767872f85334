"""The flat SUBSCRIBE and SUBACK say what ``decode`` and ``encode`` say."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from curier.codec.constants import SUBSCRIBE
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.filters import SOUND, filter_fault
from curier.codec.packets import Suback, Subscribe
from curier.codec.primitives import encode_varint, packet_end
from curier.codec.subscribe import parse_subscribe, plain_suback
from curier.errors import ProtocolError
from tests.codec.cases import BADS, WIRES, Bad, Wire, parameters
from tests.each import each

versions = st.sampled_from([3, 4, 5])


def check(data: bytes, version: int) -> bool:
    """A packet found plain is a SUBSCRIBE without fault and Properties, and read alike; is it plain?"""
    plain = parse_subscribe(b"before" + data + b"behind", 6, 6 + len(data), version)
    if plain is None:
        return False
    packet = decode(data, 0, len(data), version)
    assert isinstance(packet, Subscribe)
    assert packet.properties is None
    assert plain.packet_id == packet.packet_id
    assert plain.identifier == 0
    assert [
        (topic_filter.decode(), options)
        for topic_filter, options in zip(plain.filters, plain.options, strict=True)
    ] == packet.subscriptions
    return True


@given(versions, st.lists(st.tuples(st.text(min_size=1), st.sampled_from([0, 1, 2, 0x2E])), min_size=1))
def test_every_subscribe_without_properties_is_plain(
    version: int, subscriptions: list[tuple[str, int]]
) -> None:
    if version != 5:
        subscriptions = [(topic_filter, options & 3) for topic_filter, options in subscriptions]
    try:
        data = encode(Subscribe(1, subscriptions), version)
    except ProtocolError:
        return
    assert check(data, version) == all(
        filter_fault(topic_filter.encode(), version) == SOUND for topic_filter, _ in subscriptions
    )


@given(
    versions,
    st.binary(max_size=3),
    st.lists(st.tuples(st.sampled_from([b"a", b"", b"$share/g/a", b"\x00", b"\xff"]), st.integers(0, 255))),
    st.binary(max_size=2),
)
@example(5, b"\x00\x01\x00", [(b"$share/g/a", 4)], b"")
@example(5, b"\x00\x01\x00", [(b"$other", 4)], b"")
def test_nothing_with_a_fault_is_plain(
    version: int, head: bytes, filters: list[tuple[bytes, int]], tail: bytes
) -> None:
    body = head + b"".join(
        len(topic_filter).to_bytes(2, "big") + topic_filter + bytes([options])
        for topic_filter, options in filters
    )
    body += tail
    check(b"\x82" + encode_varint(len(body)) + body, version)


@each(("case", "raw", "version"), parameters([*WIRES, *BADS]))
def test_the_cases_of_the_wire(case: Wire | Bad, raw: bytes, version: int) -> None:
    if len(raw) > 1 and raw[0] >> 4 == SUBSCRIBE and packet_end(raw, 0, version) == len(raw):
        assert not (check(raw, version) and isinstance(case, Bad))


@given(versions, st.integers(1, 65535), st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=300))
def test_a_suback_is_encoded_alike(version: int, packet_id: int, reason_codes: list[int]) -> None:
    data = plain_suback(packet_id, reason_codes, version)
    assert data == encode(Suback(packet_id, reason_codes), version)
