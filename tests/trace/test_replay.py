"""Recordings as files, and played again: the same broker answers the same, another one does not."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.broker.options import Options
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.testing import Network, Pair, replay
from curier.trace.captures.writing import CaptureWriter
from curier.trace.events import Closed, Event, Happening, Missed, Opened, Packet, Wire
from curier.trace.recordings import FORMAT, NotARecording, RecordingWriter, read_events, writer
from curier.trace.replay import Difference
from tests.trace.captures.made import handshake, ip, pcap

WIRE = Wire(1, "me", 5, "ada", "127.0.0.1:50000", "127.0.0.1:1883")
EVENTS: list[Event] = [
    Opened(1.0, WIRE),
    Packet(2.0, WIRE, True, encode(p.Publish("a", b"x"), 5), 7, 3),
    Happening(3.0, "dropped", "other", "queue full", 7, "a"),
    Missed(4.0, 12),
    Closed(5.0, WIRE, "client", ""),
]


def recorded(events: list[Event]) -> bytes:
    file = io.BytesIO()
    made = RecordingWriter(file)
    for event in events:
        made.write(event)
    return file.getvalue()


def read(raw: bytes) -> list[Event]:
    return list(read_events(io.BytesIO(raw)))


def test_a_recording_is_read_as_it_was_written() -> None:
    raw = recorded(EVENTS)
    assert raw.startswith(b'{"recording":1}\n')
    assert read(raw) == EVENTS
    assert read(raw.split(b"\n", 1)[1]) == EVENTS  # the lines of a broker, without a header
    assert read(b"\n\n\n\n\n" + raw.replace(b"\n", b"\r\n\n")) == EVENTS
    assert read(b"") == []


def test_a_capture_is_read_by_the_same_way() -> None:
    connect = encode(p.Connect(4, "me"), 4)
    (_, packet) = read(pcap([*handshake(), ip(True, connect)]))
    assert isinstance(packet, Packet)
    assert packet.data == connect


def test_the_name_of_a_file_says_its_kind() -> None:
    assert isinstance(writer(io.BytesIO(), "a.pcapng"), CaptureWriter)
    assert isinstance(writer(io.BytesIO(), "a.curier"), RecordingWriter)
    assert isinstance(writer(io.BytesIO(), "-"), RecordingWriter)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"PK\x03\x04", "line 1"),
        (b"ab", "line 1"),
        (recorded(EVENTS) + b"{}\n", "line 7"),
        (b"\n" + recorded(EVENTS) + b"{}\n", "line 8"),
        (b"\n\r\n" + recorded(EVENTS) + b"{}\n", "line 9"),
        (b"\n\n\n\n{}\n", "line 5"),
        (recorded(EVENTS)[:-10], "line 6: the recording ends within it"),
        (b'{"recording":%d}\n' % (FORMAT + 1), "reads 1 at most"),
        (b'{"recording":"x"}\n', "reads 1 at most"),
        (b'{"recording":', "header is broken"),
        (pcap([])[:9], "within its header"),
    ],
)
def test_what_is_no_recording_says_where(raw: bytes, words: str) -> None:
    with pytest.raises(NotARecording, match=words):
        read(raw)


@given(st.binary(max_size=80), st.integers(0, 200))
def test_any_bytes_are_a_recording_or_none(junk: bytes, at: int) -> None:
    raw = recorded(EVENTS)
    for one in (junk, raw[:at] + junk + raw[at:], raw[:at] + junk):
        try:
            read(one)
        except NotARecording as error:
            assert "\x1b" not in str(error)  # noqa: PT017  # it may also be none


# -- played again --


def sides(events: Iterable[Event]) -> list[list[bytes]]:
    """What clients sent, and what they were sent."""
    packets = [event for event in events if isinstance(event, Packet)]
    return [[one.data for one in packets if one.to_server == to_server] for to_server in (True, False)]


def conversation(pair: Pair) -> None:
    """What two clients have to say to each other."""
    meter = pair.connect("meter", will=None)
    old = pair.connect("old", version=4, clean_start=False, username="ada", password=b"sesame")
    old.subscribe("a/#", qos=2)
    meter.subscribe("b", qos=1)
    meter.publish("a/kept", b"1", qos=1, retain=True)
    pair.run(1)
    old.disconnect()
    pair.run(1)
    for number in range(3):
        meter.publish("a/b", b"%d" % number, qos=number)
    pair.run(1)
    again = pair.connect("old", version=4, clean_start=False)
    pair.run(1)
    again.subscribe("a/kept", qos=0)
    again.publish("b", b"\xff\x00", qos=2)
    meter.unsubscribe("b")
    pair.run(1)
    meter.disconnect()
    pair.run(1)


@pytest.fixture
def recording() -> list[Event]:
    pair = Pair()
    events = pair.record_wires()
    conversation(pair)
    return list(events)


def words(differences: list[Difference]) -> list[str]:
    return [str(one) for one in differences]


def test_the_same_broker_answers_the_same(recording: list[Event], tmp_path: Path) -> None:
    assert len(recording) > 40
    played = replay(recording)
    assert words(played.differences) == []
    path = tmp_path / "one.curier"
    path.write_bytes(recorded(recording))
    again = Pair()
    seen = again.record_wires()
    assert words(replay(path, again).differences) == []
    assert sides(seen) == sides(recording)


def test_a_recording_of_the_brokers_tap_and_a_capture_can_be_played(
    recording: list[Event], tmp_path: Path
) -> None:
    pair = Pair()
    tap = pair.trace()
    conversation(pair)
    assert words(replay(list(tap.take())).differences) == []
    path = tmp_path / "one.pcapng"
    with path.open("wb") as file:
        made = CaptureWriter(file)
        for event in recording:
            made.write(event)
    assert words(replay(path).differences) == []


def test_packet_identifiers_of_the_broker_may_be_others(recording: list[Event]) -> None:
    """A broker that has given out identifiers already to this session."""
    pair = Pair()
    other = pair.connect("old", version=4, clean_start=False)
    other.subscribe("x", qos=1)
    sender = pair.connect("sender")
    for _ in range(5):
        sender.publish("x", b"", qos=1)
    other.unsubscribe("x")
    other.disconnect()
    pair.run(1)
    found = replay(recording, pair)
    assert words(found.differences) == []
    assert words(found.before) == ["old: CONNACK: session present False then, True now"]


def test_another_broker_is_found_out(recording: list[Event]) -> None:
    options = Options()
    options.maximum_qos = 1
    found = replay(recording, Network(options))
    text = "\n".join(words(found.differences))
    assert "meter: CONNACK: maximum qos absent then, 1 now" in text
    assert "old: SUBACK: reason codes 0x02 (Granted QoS 2) then, 0x01 (Granted QoS 1) now" in text
    assert "meter: the broker has closed the connection" in text
    assert len(found.differences) < len(recording)


def test_what_the_recording_does_not_know_is_a_difference(recording: list[Event]) -> None:
    pair = Pair()
    other = pair.connect("other")

    def publish() -> None:
        other.publish("b", b"live", retain=True)

    pair.call_later(3.5, publish)
    found = replay(recording, pair)
    assert words(found.differences) == ['meter: PUBLISH QoS 0 b 4 bytes "live" came now, and did not then']
    assert not found.before


def test_what_was_retained_before_only_now_is_from_before_the_recording(recording: list[Event]) -> None:
    pair = Pair()
    pair.connect("before").publish("b", b"kept", retain=True)
    pair.run(1)
    found = replay(recording, pair)
    assert not found.differences
    assert words(found.before) == ['meter: PUBLISH QoS 0 RETAIN b 4 bytes "kept" came now, and did not then']


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("payload", [None, 2])
def test_what_was_retained_before_only_then_is_from_before_the_recording(
    qos: int, payload: int | None
) -> None:
    pair = Pair()
    pair.connect("before").publish("a/b", b"kept", qos=2, retain=True)
    pair.run(1)
    tap = pair.trace(payload=payload)
    conversation(pair)
    reader = pair.connect("reader")
    reader.subscribe("a/+", qos=qos)
    pair.run(1)
    events = list(tap.take())
    first = Counter(
        one.wire.client_id for one in events if isinstance(one, Packet) and one.data[0] & 0xF1 == 0x31
    )
    assert first["reader"] == 2
    found = replay(events)
    assert not found.differences
    told = [one for one in words(found.before) if one.startswith("reader")]
    assert [one.split()[1] for one in told] == (["PUBLISH", "PUBREL"] if qos == 2 else ["PUBLISH"])


def test_what_is_published_in_the_recording_is_not_from_before(recording: list[Event]) -> None:
    pair = Pair()
    pair.connect("before").publish("a/kept", b"1", retain=True)
    pair.run(1)
    found = replay(recording, pair)
    assert len(found.differences) >= 1
    assert not found.before


def test_a_session_is_from_before_only_where_its_client_first_comes(recording: list[Event]) -> None:
    pair = Pair()

    def dies() -> None:
        pair.broker.crash()
        pair.broker.restart()

    pair.call_later(2.5, dies)
    found = replay(recording, pair)
    assert "old: CONNACK: session present True then, False now" in words(found.differences)
    assert not found.before


def test_a_message_that_never_comes_is_missed_and_not_acknowledged(recording: list[Event]) -> None:
    silent = [
        event for event in recording if not (isinstance(event, Packet) and event.data.startswith(b"\x34"))
    ]  # nobody publishes at QoS 2
    found = replay([*silent])
    text = "\n".join(words(found.differences))
    assert "meter: PUBREC id 4 came then, and does not now" in text
    assert "came now" not in text


def test_a_recording_that_ends_within_an_exchange() -> None:
    pair = Pair()
    events = pair.record_wires()
    pair.connect("me").publish("a", b"x", qos=2)
    for count in range(1, len(events) + 1):
        assert words(replay(list(events)[:count]).differences) == []


def test_what_cannot_be_played_is_said(recording: list[Event]) -> None:
    first = recording[2:]
    cut = Packet(0.0, Wire(99, "x", 4), True, b"\xc0\x00")
    found = replay([cut, *first])
    assert found.notes[0] == "connections that begin before the recording are not played: 2"


def test_passwords_are_given_anew() -> None:
    wire = Wire(1, "me", 4)
    connect = encode(p.Connect(4, "me", username="ada", password=bytes(6)), 4)
    events: list[Event] = [Packet(0.0, wire, True, connect)]
    assert replay(events).notes == ["me: its password is not in the recording"]
    assert replay(events, password=b"x").notes == []


def test_a_cut_payload_ends_in_spaces_and_is_compared_as_far_as_it_is_known() -> None:
    pair = Pair()
    tap = pair.trace(payload=2)
    reader = pair.connect("reader")
    reader.subscribe("a", qos=1)
    pair.connect("writer").publish("a", b"long payload", qos=1)
    pair.run(1)
    events = list(tap.take())
    assert any(isinstance(event, Packet) and event.cut for event in events)
    found = replay(events)
    assert words(found.differences) == []
    assert found.notes == ["payloads that were cut in the recording end in spaces now: 1"]
