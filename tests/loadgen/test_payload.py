"""A batch is what its messages are one by one; the check finds every damaged byte."""

from hypothesis import given
from hypothesis import strategies as st

from curier.codec.decode import decode
from curier.codec.packets import Publish
from curier.codec.primitives import packet_end
from curier.loadgen.loop import Loop
from curier.loadgen.payload import HEADER, HEADER_BYTES, MOST_IDS, SPAN, Template, check_of, fill, id_columns
from curier.loadgen.plan import Plan
from curier.loadgen.publisher import Publisher
from tests.each import each


def template(qos: int = 1, version: int = 4, payload: int = 64) -> Template:
    plan = Plan("pub", qos=qos, version=version, payload=payload, run=0xABCDEF01)
    with Loop() as loop:
        return Publisher(plan, loop, 7, set()).template


@given(
    st.integers(0, 2**40),
    st.integers(1, 300),
    st.integers(0, 2),
    st.sampled_from([4, 5]),
    st.integers(32, 99),
)
def test_a_batch_is_its_messages_one_by_one(
    number: int, count: int, qos: int, version: int, payload: int
) -> None:
    count = min(count, SPAN - number % SPAN)
    one = template(qos, version, payload)
    batch = one.numbered_batch(number, count, 123_456_789, number + count)
    singles = [one.numbered_batch(number + index, 1, 123_456_789, number + count) for index in range(count)]
    assert batch == b"".join(singles)
    data = bytes(batch)
    pos = 0
    for index in range(count):
        stop = packet_end(data, pos)
        packet = decode(data, pos, stop, version)
        assert isinstance(packet, Publish)
        assert packet.topic == "curier-bench/abcdef01/7"
        assert packet.qos == qos
        assert packet.packet_id == ((number + index) % MOST_IDS + 1 if qos else 0)
        run, stream, sent_at, end, told, check = HEADER.unpack_from(packet.payload)
        assert (run, stream, sent_at, told) == (0xABCDEF01, 7, 123_456_789, number + index)
        assert end == (number + count) % 2**32
        assert check == check_of(packet.payload, 0, told)
        assert packet.payload[HEADER_BYTES:] == fill(7, payload - HEADER_BYTES)
        pos = stop
    assert pos == len(data)


@each("at", range(HEADER_BYTES))
def test_the_check_finds_every_damaged_byte(at: int) -> None:
    one = template()
    packet = one.batch(70_000, 1, 5, 70_001)
    header = packet[one.at : one.at + HEADER_BYTES]
    for bit in range(8):
        damaged = bytearray(header)
        damaged[at] ^= 1 << bit
        *_, number, check = HEADER.unpack(damaged)
        assert check != check_of(damaged, 0, number)


def test_packet_identifiers_begin_anew_after_the_largest() -> None:
    high, low = id_columns(MOST_IDS - 2, 4)
    assert [a << 8 | b for a, b in zip(high, low, strict=True)] == [65534, 65535, 1, 2]
