"""Bytes of one direction become Control Packets however they are cut, and none of them is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from curier.codec.encode import encode
from curier.codec.packets import Connect, Pingreq, Publish
from curier.trace.framing import MORE, PACKET, RAW, Framer, Piece

CONNECT = encode(Connect(5, "me"), 5)
PING = encode(Pingreq(), 5)
PUBLISH = encode(Publish("a/b", b"x" * 300), 5)
CONNACK = b"\x20\x03\x00\x00\x00"


def fed(framer: Framer, data: bytes, sizes: list[int]) -> list[Piece]:
    pieces = []
    for size in sizes:
        pieces += framer.feed(data[:size])
        data = data[size:]
    return pieces + framer.feed(data) + framer.finish()


@given(st.lists(st.integers(1, 50)))
def test_packets_do_not_hang_on_how_their_bytes_come(sizes: list[int]) -> None:
    packets = [CONNECT, PING, PUBLISH, PING, PUBLISH]
    assert fed(Framer(True), b"".join(packets), sizes) == [Piece(PACKET, packet) for packet in packets]


def test_a_packet_byte_by_byte_and_three_in_one_read() -> None:
    framer = Framer(True)
    pieces = [framer.feed(CONNECT[at : at + 1]) for at in range(len(CONNECT))]
    assert pieces == [[]] * (len(CONNECT) - 1) + [[Piece(PACKET, CONNECT)]]
    assert [piece.data for piece in framer.feed(PING + PUBLISH + PING)] == [PING, PUBLISH, PING]


@given(st.binary(max_size=60), st.lists(st.integers(1, 20)), st.booleans())
def test_no_byte_is_lost_or_comes_twice_whatever_they_are(
    junk: bytes, sizes: list[int], from_client: bool
) -> None:
    start = CONNECT if from_client else CONNACK
    pieces = fed(Framer(from_client, most_kept=16), start + junk, sizes)
    assert b"".join(piece.data for piece in pieces) == start + junk


def test_what_is_no_mqtt_is_given_raw_from_there_on_and_it_says_why() -> None:
    framer = Framer(True)
    assert framer.feed(b"GET / HTTP/1.1\r\n") == [Piece(RAW, b"GET / HTTP/1.1\r\n")]
    assert "0x47" in framer.why_not
    assert framer.feed(CONNECT) == [Piece(RAW, CONNECT)]
    late = Framer(True)
    assert late.feed(CONNECT + PING + b"\x00junk") == [
        Piece(PACKET, CONNECT),
        Piece(PACKET, PING),
        Piece(RAW, b"\x00junk"),
    ]
    assert late.why_not == "0x00 begins no Control Packet"
    endless = Framer(True)
    assert endless.feed(CONNECT + b"\x30\xff\xff\xff\xff\x01")[1:] == [
        Piece(RAW, b"\x30\xff\xff\xff\xff\x01")
    ]
    assert "fourth byte" in endless.why_not


def test_a_server_begins_with_an_answer_and_a_capture_with_anything() -> None:
    assert Framer(False).feed(CONNACK) == [Piece(PACKET, CONNACK)]
    assert Framer(False).feed(PING) == [Piece(RAW, PING)]
    assert Framer(False, from_start=False).feed(PUBLISH) == [Piece(PACKET, PUBLISH)]


def test_of_a_long_packet_only_the_beginning_is_gathered() -> None:
    framer = Framer(True, from_start=False, most_kept=100)
    assert framer.feed(PUBLISH[:60]) == []
    assert framer.feed(PUBLISH[60:150]) == [Piece(PACKET, PUBLISH[:150], len(PUBLISH) - 150)]
    assert framer.feed(PUBLISH[150:] + PING) == [Piece(MORE, PUBLISH[150:]), Piece(PACKET, PING)]


def test_a_packet_that_never_becomes_whole_is_given_at_the_end() -> None:
    framer = Framer(True)
    assert framer.feed(CONNECT + PUBLISH[:5]) == [Piece(PACKET, CONNECT)]
    assert framer.finish() == [Piece(RAW, PUBLISH[:5])]
    assert framer.finish() == []
