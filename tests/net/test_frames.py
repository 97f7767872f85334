"""Frames: what RFC 6455 says of them, any cut and mask, and the package ``websockets`` as a judge."""

from __future__ import annotations

import os
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from curier.net import frames
from curier.net.frames import FrameReader, binary_frames, close_frame, head, packets_end

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 31, 125, 126, 127, 1023, 1024, 1025, 65_535, 65_536, 100_003]


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, mask: bytes | None = b"\1\2\3\4") -> bytes:
    """A frame as section 5.2 draws it, masked as section 5.3 says."""
    start = bytes([opcode | (0x80 if fin else 0)])
    bit = 0 if mask is None else 0x80
    if len(data) < 126:
        start += bytes([len(data) | bit])
    elif len(data) < 65_536:
        start += bytes([126 | bit]) + struct.pack("!H", len(data))
    else:
        start += bytes([127 | bit]) + struct.pack("!Q", len(data))
    if mask is None:
        return start + data
    return start + mask + bytes(octet ^ mask[number % 4] for number, octet in enumerate(data))


def fed(reader: FrameReader, stream: bytes, step: int) -> bytes:
    """What comes of a stream in chunks of ``step`` bytes."""
    return b"".join(reader.read(stream[at : at + step]) for at in range(0, len(stream), step))


def test_the_examples_of_the_rfc() -> None:
    """Section 5.7."""
    binary = bytes(range(256))
    cases = [
        (bytes.fromhex("8285 37fa213d 7f9f4d5158"), b"Hello"),
        (frame(BINARY, b"Hel", fin=False) + frame(CONTINUED, b"lo"), b"Hello"),
        (frame(BINARY, binary), binary),
        (frame(BINARY, binary * 256), binary * 256),
    ]
    for stream, payload in cases:
        for step in (1, 2, 3, 1000, 100_000):
            assert fed(FrameReader(True), stream, step) == payload
    reader = FrameReader(True)
    assert reader.read(bytes.fromhex("8985 37fa213d 7f9f4d5158")) == b""
    assert reader.ping == b"Hello"


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("step", [1, 5, 13, 1000, 70_000, 10**7])
def test_payloads_of_every_length(masked: bool, step: int) -> None:
    payloads = [os.urandom(size) for size in SIZES if step > 1 or size < 2000]
    stream = b"".join(frame(BINARY, each, mask=os.urandom(4) if masked else None) for each in payloads)
    reader = FrameReader(masked)
    assert fed(reader, stream, step) == b"".join(payloads)
    assert (reader.tail, reader.left, reader.error) == (b"", 0, "")


@given(st.data())
def test_any_cut_and_any_mask(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=70), max_size=8))
    stream, pings = b"", 0
    for payload in payloads:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        parts = [payload[i:j] for i, j in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for number, part in enumerate(parts):
            opcode = CONTINUED if number else BINARY
            stream += frame(opcode, part, fin=number == len(parts) - 1, mask=data.draw(MASKS))
            if data.draw(
                st.booleans()
            ):  # "Control frames MAY be injected in the middle of a fragmented message"
                pings += 1
                stream += frame(PING, b"ping %d" % pings, mask=data.draw(MASKS)) + frame(PONG, b"?")
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10))), len(stream)]
    reader = FrameReader(True)
    read = b"".join(reader.read(stream[i:j]) for i, j in pairwise(edges))
    assert read == b"".join(payloads)
    assert reader.ping == (b"ping %d" % pings if pings else None)
    assert (reader.error, reader.tail, reader.is_in_message) == ("", b"", False)


MASKS = st.binary(min_size=4, max_size=4)


def test_a_payload_is_given_up_as_it_comes() -> None:
    payload = os.urandom(300_000)
    stream = frame(BINARY, payload, mask=b"\xff\x80\x01\x7f")
    reader = FrameReader(True)
    came = b""
    for at in range(0, len(stream), 777):
        came += reader.read(stream[at : at + 777])
        assert len(came) == max(0, min(at + 777, len(stream)) - 14)
        assert len(reader.tail) < 14
    assert came == payload


@pytest.mark.parametrize(
    ("wrong", "code", "why"),
    [
        (frame(BINARY, b"x", mask=None), 1002, "a frame is not masked"),
        (frame(PING, b"x", mask=None), 1002, "a frame is not masked"),
        (frame(TEXT, b"x"), 1003, "a text frame; MQTT takes binary ones only"),
        (frame(TEXT, b"x", fin=False), 1003, "a text frame"),
        (frame(3, b"x"), 1002, "there is no opcode 3"),
        (frame(11, b"x"), 1002, "there is no opcode 11"),
        (frame(0x42, b"x"), 1002, "reserved bits are set"),  # of compression
        (frame(0x22, b"x"), 1002, "reserved bits are set"),
        (frame(0x19, b"x"), 1002, "reserved bits are set"),
        (frame(PING, b"x" * 126), 1002, "a control frame of more than 125 bytes"),
        (frame(PING, b"x", fin=False), 1002, "a control frame in fragments"),
        (frame(CONTINUED, b"x"), 1002, "a continuation of no message"),
        (frame(BINARY, b"", fin=False) + frame(BINARY, b""), 1002, "before the one under way had ended"),
        (b"\x82\xff" + b"\x80" + b"\0" * 7, 1002, "2 ** 63 bytes or more"),
        (b"\x82\xff" + b"\xff" * 8, 1002, "2 ** 63 bytes or more"),
        (b"\x82\xff" + b"\x7f" + b"\xff" * 7, 1009, "a frame of 9223372036854775807 bytes; at most"),
        (frame(CLOSE, b"\x03"), 1002, "a close frame without a close code"),
        (frame(CLOSE, struct.pack("!H", 999)), 1002, "a close frame without a close code"),
        (frame(CLOSE, struct.pack("!H", 1005)), 1002, "a close frame without a close code"),
        (frame(CLOSE, struct.pack("!H", 1006)), 1002, "a close frame without a close code"),
        (frame(CLOSE, struct.pack("!H", 5000)), 1002, "a close frame without a close code"),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007, "not UTF-8"),
    ],
)
@pytest.mark.parametrize("step", [1, 100])
def test_what_is_wrong_ends_reading(wrong: bytes, code: int, why: str, step: int) -> None:
    reader = FrameReader(True)
    assert fed(reader, frame(BINARY, b"before") + wrong + frame(BINARY, b"behind"), step) == b"before"
    assert reader.error_code == code
    assert why in reader.error
    assert reader.read(frame(BINARY, b"more")) == b""


def test_a_wrong_head_is_refused_before_anything_behind_it_comes() -> None:
    for start in (b"\x82\x01", b"\x81\x80", b"\x89\xfe", b"\x82\xff\x80" + b"\0" * 7):
        reader = FrameReader(True)
        assert reader.read(start) == b""
        assert reader.error_code


def test_a_server_does_not_mask() -> None:
    reader = FrameReader(False)
    assert reader.read(frame(BINARY, b"a", mask=None) + frame(BINARY, b"b")) == b"a"
    assert (reader.error_code, reader.error) == (1002, "a frame is masked")


def test_a_limit_of_frames_is_none_of_messages() -> None:
    reader = FrameReader(True, 10)
    parts = frame(BINARY, b"x" * 10, fin=False) + frame(CONTINUED, b"y" * 10)
    assert reader.read(parts) == b"x" * 10 + b"y" * 10
    assert reader.read(frame(BINARY, b"x" * 11)) == b""
    assert (reader.error_code, reader.error) == (1009, "a frame of 11 bytes; at most 10 are taken")


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        (b"", 1005, ""),
        (struct.pack("!H", 1000), 1000, ""),
        (struct.pack("!H", 4000) + "für".encode(), 4000, "für"),
        (struct.pack("!H", 1001) + b"x" * 123, 1001, "x" * 123),
    ],
)
def test_a_close_frame_ends_reading(said: bytes, code: int, reason: str) -> None:
    for fin in (True, False):  # in the midst of a message, too
        reader = FrameReader(True)
        stream = frame(BINARY, b"a", fin=fin) + frame(CLOSE, said) + frame(BINARY, b"b")
        assert reader.read(stream) == b"a"
        assert (reader.close_code, reader.close_reason, reader.error_code) == (code, reason, 0)
        assert reader.read(frame(BINARY, b"c")) == b""


PIECES = st.one_of(
    st.builds(
        lambda opcode, data, fin, mask: frame(opcode, data, fin=fin, mask=mask),
        st.sampled_from([CONTINUED, BINARY, BINARY, BINARY, PING, PONG, CLOSE, 3, 0x40 | BINARY]),
        st.binary(max_size=140),
        st.booleans() | st.just(True),
        st.none() | MASKS | MASKS | MASKS,
    ),
    st.binary(max_size=20),
)


@given(st.lists(PIECES, max_size=8), st.integers(1, 300))
def test_the_package_reads_the_same(pieces: list[bytes], step: int) -> None:
    """But for text, which is none of MQTT's, and that a payload need not be whole."""
    stream = b"".join(pieces)
    judge = ServerProtocol(state=OPEN, max_size=None)
    judge.receive_data(stream)
    expected, text = b"", False
    for event in judge.events_received():
        assert isinstance(event, Frame)
        text = text or event.opcode is Opcode.TEXT
        if event.opcode in (Opcode.BINARY, Opcode.CONT):
            expected += bytes(event.data)
    reader = FrameReader(True)
    read = fed(reader, stream, step)
    if text:
        return
    assert read.startswith(expected)
    fault = judge.parser_exc
    if fault is None:
        # It waits for the whole of a frame that is already known to be wrong, or too large for us.
        assert reader.error_code == 0 or len(read) == len(expected)
        close = judge.close_rcvd
        if reader.error_code == 0:
            assert reader.close_code == (0 if close is None else close.code)
    elif "incomplete fragmented message" not in str(fault):  # section 5.4 lets a close frame in between
        assert reader.error_code != 0


@given(st.binary(max_size=200), st.integers(1, 200), st.booleans())
def test_no_bytes_break_it(noise: bytes, step: int, masked: bool) -> None:
    reader = FrameReader(masked)
    fed(reader, noise, step)
    assert len(reader.tail) < 14 + 125


def test_heads() -> None:
    for size in SIZES:
        judge = Frame(Opcode.BINARY, bytes(size)).serialize(mask=False)
        assert head(BINARY, size) + bytes(size) == judge
        if size <= frames.SEND_BYTES:
            assert b"".join(binary_frames(bytes(size))) == judge
    assert close_frame(1000) == b"\x88\x02\x03\xe8"
    assert close_frame(1005) == b"\x88\x00"
    long = close_frame(1002, "ü" * 100)
    assert (long[:2], len(long)) == (b"\x88\x7c", 126)
    assert long[4:].decode() == "ü" * 61


def packet(size: int) -> bytes:
    """A PUBLISH of so many bytes, of which the head has two to five."""
    for width in (1, 2, 3, 4):
        rest = size - 1 - width
        if rest < 128**width:
            length = bytes((rest >> 7 * n & 127) | (0x80 if n < width - 1 else 0) for n in range(width))
            return b"\x30" + length + bytes(rest)
    raise AssertionError(size)


@given(st.lists(st.sampled_from([2, 3, 129, 130, 131, 20_000, 65_535, 65_536, 65_537, 70_000]), max_size=12))
def test_no_packet_is_cut_over_two_frames(sizes: list[int]) -> None:
    packets = [packet(size) for size in sizes]
    sent = binary_frames(b"".join(packets)) if packets else []
    stream, parts = b"".join(sent), []
    while stream:
        assert stream[0] == 0x82
        length = stream[1]
        body = 2
        if length == 126:
            length, body = struct.unpack_from("!H", stream, 2)[0], 4
        elif length == 127:
            length, body = struct.unpack_from("!Q", stream, 2)[0], 10
        parts.append(stream[body : body + length])
        stream = stream[body + length :]
    assert b"".join(parts) == b"".join(packets)
    ends = {sum(sizes[: number + 1]) for number in range(len(sizes))}
    at = 0
    for part in parts:
        at += len(part)
        assert at in ends
        assert len(part) <= frames.SEND_BYTES or len(part) in sizes
    for one, other in pairwise(parts):  # no more of them than need be
        assert len(one) + packets_end(other, 0, 1) > frames.SEND_BYTES


def test_a_large_packet_is_not_copied() -> None:
    data = packet(1_000_000)
    sent = binary_frames(data)
    assert len(sent) == 2
    assert sent[1] is data
