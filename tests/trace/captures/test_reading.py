"""Captures read as events: TCP put together as it was, connections that were there before, hostile files."""

from __future__ import annotations

import io
import itertools
import struct
import tracemalloc
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.codec import packets as p
from curier.codec.encode import encode
from curier.codec.properties import Properties
from curier.net.frames import BINARY
from curier.trace.captures.frames import NotACapture, read_frames
from curier.trace.captures.reading import read_capture
from curier.trace.events import NOT_MQTT, NOTED, Closed, Event, Happening, Opened, Packet
from tests.trace.captures.made import (
    ACK,
    CLIENT,
    FIN,
    RST,
    SYN,
    Ends,
    block,
    frame,
    handshake,
    interface,
    ip,
    pcap,
    section,
)

PING = b"\xc0\x00"


def events(raw: bytes) -> list[Event]:
    return list(read_capture(io.BytesIO(raw)))


def packets(found: list[Event], to_server: bool = True) -> list[bytes]:
    return [event.data for event in found if isinstance(event, Packet) and event.to_server == to_server]


def notes(found: list[Event]) -> list[str]:
    return [event.why for event in found if isinstance(event, Happening) and event.kind == NOTED]


def sent(count: int = 12) -> list[bytes]:
    """A CONNECT and some packets, more than a hundred bytes in all."""
    publishes = [
        encode(p.Publish("a/b", b"%d" % number * 9, 1, packet_id=number), 4) for number in range(1, count)
    ]
    return [encode(p.Connect(4, "me", username="ada"), 4), *publishes]


def pieces(data: bytes, random: Random) -> list[tuple[int, bytes]]:
    """The data cut anywhere: offsets and bytes."""
    cuts = sorted({0, len(data), *(random.randrange(len(data)) for _ in range(8))})
    return [(start, data[start:end]) for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("seed", range(20))
def test_segments_come_in_any_order_twice_and_overlapping(seed: int) -> None:
    random = Random(seed)
    expected = sent()
    data = b"".join(expected)
    cut = pieces(data, random)
    again = [(max(0, at - 5), data[max(0, at - 5) : at + len(part)]) for at, part in random.sample(cut, 3)]
    segments = [*cut, *again]
    random.shuffle(segments)
    first = [ip(True, part, at, ack=0) for at, part in segments]
    found = events(pcap([*handshake(), *first]))
    assert packets(found) == expected
    assert notes(found) == []
    (opened,) = [event for event in found if isinstance(event, Opened)]
    assert (opened.wire.client_id, opened.wire.user, opened.wire.version) == ("me", "ada", 4)
    assert opened.wire.client_address == "10.0.0.1:50000"
    assert opened.time == 1.0


def test_a_connect_byte_by_byte() -> None:
    raw = sent(1)[0]
    found = events(pcap([*handshake(), *(ip(True, raw[at : at + 1], at) for at in range(len(raw)))]))
    assert packets(found) == [raw]
    (packet,) = [event for event in found if isinstance(event, Packet)]
    assert packet.time == 3 + len(raw)


def test_of_bytes_that_differ_the_first_are_taken_and_it_is_said() -> None:
    connect, publish = sent(2)
    data = connect + publish
    other = publish.replace(b"1", b"9")
    for both in (
        [ip(True, data), ip(True, other, len(connect))],  # behind
        [ip(True, publish, len(connect)), ip(True, other, len(connect)), ip(True, connect)],  # before a hole
    ):
        found = events(pcap([*handshake(), *both]))
        assert packets(found) == [connect, publish]
        assert notes(found) == ["bytes came again and were others; the first were taken"]


def test_keep_alive_probes_are_no_conflict() -> None:
    raw = sent(1)[0]
    found = events(
        pcap([*handshake(), ip(True, raw), ip(True, b"\0", len(raw) - 1), ip(True, PING, len(raw))])
    )
    assert packets(found) == [raw, PING]
    assert notes(found) == []


def test_missing_bytes_are_said_and_reading_goes_on_at_a_sound_packet() -> None:
    connect, first, second, third = sent(4)
    at = len(connect)
    after = at + len(first) + len(second)
    lost = [
        ip(True, connect),
        ip(True, second[5:] + third[:3], at + len(first) + 5),  # no packet begins here
        ip(True, third[3:], after + 3),
        ip(True, PING + PING, after + len(third)),
        ip(False, b"\x20\x02\x00\x00", ack=after + len(third) + 4),
    ]
    found = events(pcap([*handshake(), *lost]))
    assert packets(found) == [connect, PING, PING]
    assert notes(found) == [f"from the client: {len(first) + 5} bytes missing in the capture"]


def test_a_hole_within_a_packet_whose_length_is_known_cuts_that_packet() -> None:
    connect = sent(1)[0]
    publish = encode(p.Publish("a/b", b"x" * 1000), 4)
    at = len(connect)
    found = events(
        pcap(
            [
                *handshake(),
                ip(True, connect),
                ip(True, publish[:100], at),
                ip(True, publish[800:] + PING, at + 800),
            ]
        )
    )
    (_, cut, ping) = [event for event in found if isinstance(event, Packet)]
    assert (cut.data, cut.cut) == (publish[:100], len(publish) - 100)
    assert (ping.data, ping.cut) == (PING, 0)


def test_frames_that_were_captured_in_part() -> None:
    """As with `tcpdump -s 96`: every packet is there as far as it was captured."""
    connect = encode(p.Connect(4, "c"), 4)
    publish = encode(p.Publish("a/b", b"x" * 500), 4)
    stream = [
        *handshake(),
        ip(True, connect),
        ip(True, publish, len(connect)),
        ip(True, PING, len(connect) + len(publish)),
    ]
    found = events(pcap(stream, most=96))
    (_, cut, ping) = [event for event in found if isinstance(event, Packet)]
    assert (cut.data, cut.cut, ping.data) == (publish[:56], len(publish) - 56, PING)


def test_a_fin_before_the_data_it_follows() -> None:
    raw = sent(1)[0]
    bye = b"\xe0\x00"
    found = events(
        pcap(
            [
                *handshake(),
                ip(True, b"", len(raw) + 2, FIN | ACK),
                ip(True, bye, len(raw)),
                ip(True, raw),
                ip(False, b"", 0, FIN | ACK),
            ]
        )
    )
    assert packets(found) == [raw, bye]
    closed = found[-1]
    assert isinstance(closed, Closed)
    assert (closed.by, closed.why) == ("client", "end (FIN)")


def test_a_reset_and_a_port_that_is_used_again() -> None:
    raw = sent(1)[0]
    found = events(pcap([*handshake(), ip(True, raw), ip(False, b"", 0, RST)]))
    assert isinstance(found[-1], Closed)
    assert (found[-1].by, found[-1].why) == ("server", "reset (RST)")
    later = [ip(True, at=499, flags=SYN), ip(True, raw, 500)]
    found = events(pcap([*handshake(), ip(True, raw), *later]))
    assert [type(event).__name__ for event in found] == ["Opened", "Packet", "Closed", "Opened", "Packet"]
    assert [event.wire.number for event in found if isinstance(event, Opened)] == [1, 2]


def test_a_syn_that_comes_twice_is_one_connection() -> None:
    raw = sent(1)[0]
    found = events(pcap([ip(True, at=-1, flags=SYN), *handshake(), ip(True, raw)]))
    assert [type(event).__name__ for event in found] == ["Opened", "Packet"]


def aliased(alias: int, topic: str = "") -> bytes:
    carried = Properties()
    carried.topic_alias = alias
    return encode(p.Publish(topic, b"x", properties=carried), 5)


def test_a_capture_that_begins_in_the_middle() -> None:
    """Without SYN, without CONNECT: begun at a packet, the version guessed and said to be."""
    rest = [ip(True, b"xyz" * 5, 0), ip(True, aliased(3), 15), ip(False, encode(p.Puback(7), 5), 0)]
    found = events(pcap(rest))
    assert packets(found) == [aliased(3)]
    assert packets(found, False) == [encode(p.Puback(7), 5)]
    assert notes(found) == [
        "the capture begins in the middle of this connection",
        "this is MQTT 5.0, to judge by its packets",
    ]
    assert not any(isinstance(event, Opened) for event in found)
    (first, _) = [event for event in found if isinstance(event, Packet)]
    assert (first.wire.version, first.wire.client_id, first.to_server) == (5, "", True)


def test_a_version_that_nothing_tells_stays_unknown() -> None:
    found = events(pcap([ip(True, PING), ip(True, encode(p.Puback(7), 4), 2)]))
    assert [event.wire.version for event in found if isinstance(event, Packet)] == [0, 0]


@pytest.mark.parametrize(
    ("first", "to_server"),
    [
        (PING, True),
        (b"\xd0\x00", False),
        (b"\x90\x03\x00\x01\x00", False),
        (b"\x82\x06\x00\x01\x00\x01a\x00", True),
    ],
)
def test_which_side_is_the_server_is_told_by_packets_before_ports(first: bytes, to_server: bool) -> None:
    ends = Ends((CLIENT[0], 1883), (CLIENT[0], 50_123))
    found = events(pcap([ip(to_server, first, ends=ends)]))
    (packet,) = [event for event in found if isinstance(event, Packet)]
    assert packet.to_server == to_server
    assert packet.wire.server_address == "10.0.0.1:50123"


def test_what_is_no_mqtt_is_counted() -> None:
    def other(port: int, first: bytes) -> list[bytes]:
        ends = Ends((CLIENT[0], port))
        return [*handshake(ends), ip(True, first, ends=ends)]

    raw = pcap(
        [
            *other(1, b"\x16\x03\x01\x02\x00"),
            *other(2, b"\x16\x03\x01\x02\x00"),
            *other(3, b"SSH-2.0-x\r\n"),
            *other(4, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
            ip(True, b"\x17\x03\x03\x00\x05abcde", ends=Ends((CLIENT[0], 5))),
        ]
    )
    (said,) = notes(events(raw))
    assert "2 connections that are no MQTT (TLS)" in said
    assert "1 connections that are no MQTT (HTTP)" in said
    assert "begins with the byte 0x53" in said
    assert "1 connections that began before the capture" in said


def test_mqtt_that_turns_into_something_else() -> None:
    raw = sent(1)[0]
    found = events(pcap([*handshake(), ip(True, raw), ip(True, b"\x00junk", len(raw))]))
    assert packets(found) == [raw]
    (said,) = [event for event in found if isinstance(event, Happening)]
    assert said.kind == NOT_MQTT
    assert said.why.startswith("from the client: ")


# -- what lies between TCP and MQTT --


def masked(data: bytes, first: int = 0x80 | BINARY) -> bytes:
    mask = b"\x01\x02\x03\x04"
    body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return bytes((first, 0x80 | len(data))) + mask + body


def test_websocket_one_packet_over_five_frames() -> None:
    connect = sent(1)[0]
    publish = encode(p.Publish("a", b"0123456789"), 4)
    head = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    fragments = [
        masked(publish[at : at + 3], 2 if at == 0 else 0x80 if at == 12 else 0) for at in range(0, 15, 3)
    ]
    to_server = head + masked(connect) + b"".join(fragments) + masked(b"", 0x89) + masked(PING)
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    from_server = answer + b"\x82\x04\x20\x02\x00\x00"
    stream = [*handshake()]
    for at in range(0, len(to_server), 7):
        stream.append(ip(True, to_server[at : at + 7], at))
    stream.append(ip(False, from_server))
    found = events(pcap(stream))
    assert packets(found) == [connect, publish, PING]
    assert packets(found, False) == [b"\x20\x02\x00\x00"]


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12),
    ],
)
def test_a_proxy_header_is_passed_over(header: bytes) -> None:
    raw = sent(1)[0]
    data = header + raw
    for size in (len(data), 3):
        parts = [ip(True, data[at : at + size], at) for at in range(0, len(data), size)]
        assert packets(events(pcap([*handshake(), *parts]))) == [raw]


def test_passwords_are_zeros() -> None:
    raw = encode(p.Connect(4, "me", username="ada", password=b"sesame"), 4)
    (seen,) = packets(events(pcap([*handshake(), ip(True, raw)])))
    assert len(seen) == len(raw)
    assert b"sesame" not in seen


# -- files --


ETHERNET = bytes(12) + b"\x08\x00"


@pytest.mark.parametrize(
    ("link", "before"),
    [
        (1, ETHERNET),
        (1, bytes(12) + b"\x81\x00\x00\x05\x08\x00"),
        (1, bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x00"),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
        (0, b"\x02\0\0\0"),
        (228, b""),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_frames_of_many_kinds(link: int, before: bytes, order: str) -> None:
    raw = sent(1)[0]
    stream = [before + packet for packet in [*handshake(), ip(True, raw)]]
    assert packets(events(pcap(stream, link, order))) == [raw]
    parts = [section(order), interface(link, order=order)]
    parts += [frame(packet, order=order) for packet in stream]
    assert packets(events(b"".join(parts))) == [raw]


def test_ipv6_with_extension_headers() -> None:
    ends = Ends((bytes(15) + b"\x01", 5), (bytes(15) + b"\x01", 1883))
    raw = sent(1)[0]
    stream = handshake(ends)
    last = ip(True, raw, ends=ends)
    last = (
        last[:4]
        + (int.from_bytes(last[4:6], "big") + 8).to_bytes(2, "big")
        + b"\x00"
        + last[7:40]
        + b"\x06"
        + bytes(7)
        + last[40:]
    )
    found = events(pcap([*stream, last]))
    assert packets(found) == [raw]
    assert isinstance(found[0], Opened)
    assert found[0].wire.client_address == "[::1]:5"


def test_sections_interfaces_and_clocks_of_pcapng() -> None:
    """Two sections, blocks of unknown kinds, nanoseconds, an offset, old and simple packets."""
    raw = sent(1)[0]
    stream = [*handshake(), ip(True, raw)]
    nano = struct.pack("<HHBxxx", 9, 1, 9) + struct.pack("<HHq", 14, 8, 100) + bytes(4)
    parts = [section(), block(0xBAD, b"1234"), interface(1), interface(101, nano)]
    parts += [frame(packet, 5_500_000_000, number=1) for packet in stream[:2]]
    parts += [section(">"), interface(101, order=">")]
    old = struct.pack(">HHIIII", 0, 0, 0, 106_000_000, len(stream[2]), len(stream[2]))
    parts += [block(2, old + stream[2], ">"), block(3, struct.pack(">I", len(stream[3])) + stream[3], ">")]
    frames = list(read_frames(io.BytesIO(b"".join(parts))))
    assert [one.time for one in frames] == [105.5, 105.5, 106.0, 0.0]
    assert [one.data for one in frames] == stream
    assert packets(events(b"".join(parts))) == [raw]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "neither pcap nor pcapng"),
        (b"PK\x03\x04", "neither pcap nor pcapng"),
        (pcap([])[:20], "ends within its header"),
        (pcap([]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 4), "no frame has over"),
        (section()[:8] + b"\0\0\0\0", "no byte order"),
        (section() + struct.pack("<II", 1, 0xFFFFFFF0), "which cannot be"),
        (section() + struct.pack("<II", 1, 8), "which cannot be"),
        (section() + interface()[:-4] + b"\0\0\0\0", "two different lengths"),
        (section() + frame(b"x"), "there are 0"),
        (section() + interface() + frame(b"x", number=7), "interface 7"),
        (section() + interface(101, struct.pack("<HHBxxx", 9, 1, 0x7F)), "too small"),
        (section() + block(1, b""), "too short"),
        (section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 0xFFFFFF, 0)), "it says"),
    ],
)
def test_files_that_are_none(raw: bytes, words: str) -> None:
    with pytest.raises(NotACapture, match=words):
        events(raw)


def test_a_file_that_is_damaged_later_gives_what_was_before() -> None:
    raw = pcap([*handshake(), ip(True, sent(1)[0])]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 4)
    found = events(raw)
    assert packets(found) == sent(1)
    assert notes(found)[-1].startswith("the capture is damaged: frame 5 ")


def test_a_file_that_is_still_written_ends_before_its_last_frame() -> None:
    raw = pcap([*handshake(), ip(True, sent(1)[0])])
    for cut in range(1, 80):
        events(raw[:-cut])


def test_a_segment_far_ahead_and_a_hole_of_two_gigabytes_keep_no_room() -> None:
    raw = sent(1)[0]
    stream = [
        *handshake(),
        ip(True, raw),
        ip(True, b"x", 2**31 - 200),
        ip(True, b"y", 2**29),
        ip(True, PING, len(raw)),
    ]
    data = pcap(stream)
    tracemalloc.start()
    try:
        found = events(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert packets(found) == [raw, PING]
    assert "segments far outside the window were passed over" in notes(found)


SEGMENTS = st.tuples(
    st.booleans(),
    st.binary(max_size=12),
    st.integers(-5, 60),
    st.sampled_from([ACK, SYN, FIN | ACK, RST, SYN | ACK]),
)


@given(st.lists(SEGMENTS, max_size=20))
def test_any_segments_are_read(segments: list[tuple[bool, bytes, int, int]]) -> None:
    data = b"".join(sent(4))
    stream = [ip(to, part or data[max(0, at) : at + 30], at, flags, at) for to, part, at, flags in segments]
    for event in events(pcap(stream)):
        if isinstance(event, Packet):
            assert event.data


@given(st.binary(max_size=200), st.sampled_from([b"", pcap([]), section(), section() + interface()]))
def test_any_bytes_are_a_capture_or_none(junk: bytes, before: bytes) -> None:
    with suppress(NotACapture):
        events(before + junk)


@given(st.data())
def test_a_capture_with_wrong_bytes_is_read_as_far_as_it_is_one(data: st.DataObject) -> None:
    raw = bytearray(pcap([ETHERNET + packet for packet in [*handshake(), ip(True, b"".join(sent(3)))]], 1))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(NotACapture):
        events(bytes(raw))
