"""Every field of every packet: its place, its value, the rule it breaks; of any bytes at all."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.properties import Properties
from curier.errors import ProtocolError
from curier.trace.dissection import Dissection, dissect
from curier.trace.events import Packet, Wire
from curier.trace.fields import Field
from curier.trace.lines import to_line
from curier.trace.recordings import read_events
from curier.trace.rules import section, sentence
from curier.trace.summaries import summary
from tests.codec.cases import BADS, WIRES, Bad, parameters
from tests.codec.cases import Wire as WireCase
from tests.each import each
from tests.strategies import packets

VERSIONS = st.sampled_from([3, 4, 5])


def every(fields: tuple[Field, ...]) -> Iterator[Field]:
    for field in fields:
        yield field
        yield from every(field.children)


def named(found: Dissection, name: str) -> list[Field]:
    return [field for field in every(found.fields) if field.name == name]


def check_tiles(fields: tuple[Field, ...], start: int, end: int) -> None:
    """Fields follow each other without a gap, and so do the children of each; bits fill their byte."""
    at = start
    for field in fields:
        assert (field.start, field.name) == (at, field.name)
        assert field.end >= field.start
        at = field.end
        bits = [child for child in field.children if child.mask]
        if bits:
            assert len(bits) == len(field.children)
            assert sum(child.mask for child in bits) == 0xFF
            assert all((child.start, child.end) == (field.start, field.end) for child in bits)
        elif field.children:
            check_tiles(field.children, field.start, field.end)
    assert at == end


def faults(found: Dissection) -> list[Field]:
    return [field for field in every(found.fields) if field.fault]


def check(raw: bytes, version: int, cut: int = 0) -> Dissection:
    found = dissect(raw, version, cut=cut)
    check_tiles(found.fields, 0, len(raw))
    assert found.size == len(raw) + cut
    assert len(faults(found)) == bool(found.fault and raw)
    for field in every(found.fields):
        assert not field.rule or sentence(field.rule), field
    return found


@given(st.data(), VERSIONS)
def test_the_fields_of_a_sound_packet_tile_it_and_say_what_it_says(data: st.DataObject, version: int) -> None:
    packet = data.draw(packets(version))
    raw = encode(packet, version)
    found = check(raw, version)
    assert (found.name, found.fault, found.version) == (type(packet).__name__.upper(), "", version)
    assert not found.guessed
    said = {field.name: field.raw for field in every(found.fields)}
    for attribute, name in (
        ("packet_id", "Packet Identifier"),
        ("reason_code", "Reason Code" if version == 5 else "Return Code"),
        ("keep_alive", "Keep Alive"),
        ("client_id", "Client Identifier"),
        ("username", "User Name"),
        ("topic", "Topic Name"),
        ("payload", "Payload"),
        ("qos", "QoS"),
        ("dup", "DUP"),
        ("retain", "RETAIN"),
        ("session_present", "Session Present"),
    ):
        if hasattr(packet, attribute) and name in said:
            assert said[name] == getattr(packet, attribute)
    if isinstance(packet, p.Subscribe | p.Unsubscribe):
        filters = (
            packet.topic_filters
            if isinstance(packet, p.Unsubscribe)
            else [f for f, _ in packet.subscriptions]
        )
        assert [field.raw for field in named(found, "Topic Filter")] == filters
    if isinstance(packet, p.Suback):
        name = "Reason Code" if version == 5 else "Return Code"
        assert [field.raw for field in named(found, name)] == packet.reason_codes
    properties: Properties | None = getattr(packet, "properties", None)
    if properties is not None and not isinstance(packet, p.Connect):
        assert [field.raw for field in named(found, "User Property")] == properties.user_properties
        for name in ("Topic Alias", "Correlation Data", "Reason String", "Session Expiry Interval"):
            value = getattr(properties, name.lower().replace(" ", "_"))
            assert [field.raw for field in named(found, name)] == ([] if value is None else [value])


@each(("case", "raw", "version"), parameters(BADS))
def test_a_broken_packet_says_where_and_which_rule(case: Bad, raw: bytes, version: int) -> None:
    found = check(raw, version)
    assert found.fault
    assert found.rule == case.statement
    for field in faults(found):
        assert (field.fault, field.rule) == (found.fault, found.rule)
    assert not case.statement or section(case.statement)


@each(("case", "raw", "version"), parameters(WIRES))
def test_no_sound_packet_is_called_broken(case: WireCase, raw: bytes, version: int) -> None:
    assert not check(raw, version).fault


@given(st.binary(max_size=60), st.sampled_from([0, 3, 4, 5]), st.integers(0, 3), st.booleans())
def test_any_bytes_are_taken_apart(raw: bytes, version: int, cut: int, to_server: bool) -> None:
    found = dissect(raw, version, to_server, cut)
    check_tiles(found.fields, 0, len(raw))
    summary(Packet(0.0, Wire(1, "", version), to_server, raw, cut=cut))


@given(st.data(), VERSIONS)
def test_a_packet_with_a_wrong_byte_is_judged_as_the_codec_judges(data: st.DataObject, version: int) -> None:
    raw = bytearray(encode(data.draw(packets(version)), version))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = check(bytes(raw), version)
    said = ("", "")
    try:
        decode(bytes(raw), 0, len(raw), version)
    except ProtocolError as error:
        said = (error.message, error.statement)
    assert (found.fault, found.rule) == said


@given(st.data(), VERSIONS)
def test_what_the_recording_cut_is_no_fault(data: st.DataObject, version: int) -> None:
    raw = encode(data.draw(packets(version)), version)
    keep = data.draw(st.integers(min(5, len(raw)), len(raw)))
    found = check(raw[:keep], version, cut=len(raw) - keep)
    assert not found.fault


def test_a_cut_payload_says_how_much_is_there_and_is_judged_before_it() -> None:
    raw = encode(p.Publish("a", b"x" * 300), 5)
    found = dissect(raw[:20], 5, True, cut=len(raw) - 20)
    assert named(found, "Payload")[0].value.endswith("first 13 of 300 bytes")
    bad = dissect(b"\x38" + raw[1:20], 5, True, cut=len(raw) - 20)
    assert bad.rule == "MQTT-3.3.1-2"
    wildcard = encode(p.Publish("ab", b"x" * 300), 4).replace(b"ab", b"a#")
    (field,) = faults(dissect(wildcard[:20], 4, cut=len(wildcard) - 20))
    assert (field.name, field.start, field.end) == ("Topic Name", 3, 7)


def test_fields_of_a_publish() -> None:
    carried = Properties()
    carried.topic_alias = 3
    found = dissect(encode(p.Publish("a/b", b"hi", 1, True, False, 7, carried), 5), 5, True)
    assert [(f.name, f.value, f.start, f.end) for f in found.fields] == [
        ("Fixed Header", "PUBLISH", 0, 1),
        ("Remaining Length", "13 bytes", 1, 2),
        ("Topic Name", "a/b", 2, 7),
        ("Packet Identifier", "7", 7, 9),
        ("Properties", "1", 9, 13),
        ("Payload", '2 bytes "hi"', 13, 15),
    ]
    assert [(f.name, f.value, f.mask) for f in found.fields[0].children] == [
        ("Control Packet type", "PUBLISH (3)", 0xF0),
        ("DUP", "1 (sent again)", 8),
        ("QoS", "1 (at least once)", 6),
        ("RETAIN", "0 (no)", 1),
    ]


@pytest.mark.parametrize(
    ("packet", "version", "to_server", "rule"),
    [
        (p.Subscribe(1, [("a", 0)]), 5, False, ""),
        (p.Suback(1, [0]), 4, True, ""),
        (p.Disconnect(), 4, False, ""),
        (p.Connack(False), 5, True, ""),
    ],
)
def test_what_the_other_side_sends_is_a_fault(
    packet: p.Packet, version: int, to_server: bool, rule: str
) -> None:
    raw = encode(packet, version)
    assert dissect(raw, version, to_server).fault
    assert not dissect(raw, version, not to_server).fault
    assert not dissect(raw, version).fault


def test_properties_for_one_direction() -> None:
    carried = Properties()
    carried.subscription_identifiers = [7]
    raw = encode(p.Publish("a", b"", properties=carried), 5)
    assert dissect(raw, 5, True).rule == "MQTT-3.3.4-6"
    assert not dissect(raw, 5, False).fault
    ending = Properties()
    ending.session_expiry_interval = 7
    raw = encode(p.Disconnect(0, ending), 5)
    found = dissect(raw, 5, False)
    assert (found.rule, faults(found)[0].name) == ("MQTT-3.14.2-2", "Session Expiry Interval")
    assert not dissect(raw, 5, True).fault


def test_secrets_are_not_shown() -> None:
    carried = Properties()
    carried.authentication_method = "X"
    carried.authentication_data = b"sesame-data"
    raw = encode(p.Connect(5, "me", username="u", password=b"sesame", properties=carried), 5)
    for shown in (raw, raw + b"sesame", raw[:-3], raw[:4] + b"\x00" + raw[5:]):
        found = dissect(shown, 5, True)
        assert "sesame" not in repr(found)
        assert b"sesame".hex(" ") not in repr(found)
        assert "sesame" not in summary(Packet(0.0, Wire(1, "", 5), True, shown))


def test_text_of_strangers_is_safe_for_a_terminal() -> None:
    found = dissect(encode(p.Publish("a\x1b[2J\u202e\u009b", b"\x1b]0;x\x07"), 5), 5)
    for field in every(found.fields):
        assert not any(bad in field.value for bad in "\x1b\u202e\u009b\x07")
    assert named(found, "Topic Name")[0].raw == "a\x1b[2J\u202e\u009b"


@given(st.data(), VERSIONS)
def test_an_unknown_version_is_guessed_and_said_to_be(data: st.DataObject, version: int) -> None:
    packet = data.draw(packets(version))
    found = dissect(encode(packet, version), 0)
    assert not found.fault
    assert found.guessed == (not isinstance(packet, p.Connect))


def test_ten_thousand_user_properties_and_the_longest_topic_take_linear_time() -> None:
    carried = Properties()
    carried.user_properties = [("k", "v")] * 10_000
    raw = encode(p.Publish("t" * 65535, b"x", properties=carried), 5)
    found = check(raw, 5)
    assert len(named(found, "User Property")) == 10_000
    assert len(summary(Packet(0.0, Wire(1, "", 5), True, raw))) < 300


@pytest.mark.parametrize(
    ("packet", "version", "line"),
    [
        (p.Connect(4, "me", True, 60, "ada"), 4, "CONNECT 3.1.1 me clean keep alive 60 s user ada"),
        (p.Connack(False, 5), 4, "CONNACK 5 (not authorized)"),
        (p.Connack(True, 0), 5, "CONNACK 0x00 (Success) session present"),
        (
            p.Publish("a/b", b"hello", 1, True, True, 7),
            4,
            'PUBLISH QoS 1 id 7 DUP RETAIN a/b 5 bytes "hello"',
        ),
        (p.Publish("a", b"\xff\xd8\xff"), 5, "PUBLISH QoS 0 a 3 bytes ff d8 ff"),
        (p.Puback(7), 5, "PUBACK id 7"),
        (p.Pubrec(7, 0x97), 5, "PUBREC id 7 0x97 (Quota exceeded)"),
        (p.Subscribe(1, [("a/#", 1), ("b", 0)]), 5, "SUBSCRIBE id 1 a/# QoS 1, b QoS 0"),
        (p.Suback(1, [2, 0x87, 0, 1, 0]), 5, "SUBACK id 1 QoS 2, 0x87 (Not authorized), QoS 0 and 2 more"),
        (p.Unsuback(9, []), 4, "UNSUBACK id 9"),
        (p.Pingreq(), 4, "PINGREQ"),
        (p.Disconnect(0x8E), 5, "DISCONNECT 0x8E (Session taken over)"),
        (p.Disconnect(), 5, "DISCONNECT"),
    ],
)
def test_a_packet_in_one_line(packet: p.Packet, version: int, line: str) -> None:
    assert summary(Packet(0.0, Wire(1, "", version), True, encode(packet, version))) == line


def test_a_broken_and_a_cut_packet_in_one_line() -> None:
    wire = Wire(1, "", 4)
    line = summary(Packet(0.0, wire, True, bytes.fromhex("36020000")))
    assert line.startswith("PUBLISH broken: ")
    assert line.endswith("[MQTT-3.3.1-4]")
    raw = encode(p.Publish("a", b"x" * 500), 4)
    assert (
        summary(Packet(0.0, wire, True, raw[:16], cut=len(raw) - 16))
        == 'PUBLISH QoS 0 a 500 bytes "xxxxxxxxxx"...'
    )
    assert summary(Packet(0.0, wire, True, b"")) == "nothing"


NASTY_TOPICS = (
    *(
        "/",
        "//",
        "/a",
        "a/",
        "a//b",
        " a ",
        "..",
        "a%2Fb",
        "$SYS/x",
        "$x",
        "t" * 65535,
        "/" * 1000,
        "a;b:c,d",
    ),
    *("\u202etxt", "שלום/latin", "👨‍👩‍👧‍👦", "⚠️", "e\u0301", "\x1b[2J", "\u009b2J", "\ufffe"),
    *("<img onerror>", "=1-1", "a\nb\tc\rd"),
)
NASTY_PAYLOADS = (
    *(b"", b"\0", b"text\xff", b"x" * 5_000_000, b"9007199254740993", b"NaN", b'{"a":1,"a":2}'),
    *(b"[" * 10_000 + b"]" * 10_000, b"\xff\xd8\xff\xe0" + bytes(100), b"\x1f\x8b\x08\0rest"),
)


@pytest.mark.parametrize("topic", NASTY_TOPICS, ids=range(len(NASTY_TOPICS)))
def test_nasty_topics_are_safe_to_show_and_kept_as_they_are(topic: str) -> None:
    raw = encode(p.Publish(topic, b"x", 1, packet_id=1), 5)
    found = check(raw, 5)
    assert not found.fault
    assert named(found, "Topic Name")[0].raw == topic
    packet = Packet(0.0, Wire(1, topic[:1000], 5), True, raw)
    line = summary(packet)
    assert len(line) < 700
    assert not any(bad in line for bad in "\n\t\r\x1b\u009b\u202e")
    (again,) = read_events(io.BytesIO(to_line(packet).encode() + b"\n"))
    assert again == packet


@pytest.mark.parametrize("payload", NASTY_PAYLOADS, ids=range(len(NASTY_PAYLOADS)))
def test_nasty_payloads_are_shown_and_counted(payload: bytes) -> None:
    raw = encode(p.Publish("a", payload), 4)
    found = check(raw, 4)
    field = named(found, "Payload")[0]
    assert field.end - field.start == len(payload)
    assert len(field.value) < 500
    assert (str(len(payload)) in field.value) == bool(payload)
    assert len(summary(Packet(0.0, Wire(1, "", 4), True, raw))) < 300
