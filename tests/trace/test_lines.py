"""Events as lines of text: all of them come back as they were, and what is none gets a clear error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.trace.events import QUEUED, Closed, Event, Happening, Missed, Opened, Packet, Wire
from curier.trace.lines import NotALine, from_line, to_line

WIRE = Wire(7, "sensor-1", 5, "ann", "127.0.0.1:50112", "127.0.0.1:1883", "tcp://127.0.0.1:1883")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.floats(0, 2**40)
numbers = st.integers(0, 2**63 - 1)
wires = st.builds(Wire, numbers, texts, st.sampled_from([0, 3, 4, 5]), texts, texts, texts, texts)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Opened, times, wires),
    st.builds(Closed, times, wires, texts, texts),
    st.builds(Packet, times, wires, st.booleans(), st.binary(max_size=40), numbers, numbers, st.booleans()),
    st.builds(Happening, times, texts, texts, texts, numbers, texts, st.none() | wires),
    st.builds(Missed, times, numbers),
)


@given(events)
def test_every_event_comes_back_as_it_was_from_one_line_of_ascii(event: Event) -> None:
    line = to_line(event)
    assert line.isascii()
    assert line.isprintable()
    assert from_line(line) == event
    assert from_line(line.encode()) == event


def test_a_line_can_be_read_by_people_and_leaves_out_what_is_not_said() -> None:
    packet = Packet(1700000000.25, Wire(7, "sensor-1", 5), False, b"\x40\x02\x00\x01")
    assert to_line(packet) == (
        '{"event":"packet","time":1700000000.25,"wire":{"number":7,"client_id":"sensor-1","version":5},'
        '"to_server":false,"data":"40020001"}'
    )
    happening = Happening(1.0, QUEUED, "s", "its client is away", 3, "a/b")
    assert to_line(happening) == (
        '{"event":"happening","time":1.0,"kind":"queued","client_id":"s","why":"its client is away",'
        '"publication":3,"topic":"a/b"}'
    )


def test_fields_that_a_newer_curier_has_are_passed_over() -> None:
    line = json.loads(to_line(Opened(1.0, WIRE)))
    line["weather"] = ["fine"]
    line["wire"]["colour"] = "red"
    assert from_line(json.dumps(line)) == Opened(1.0, WIRE)


def changed(**fields: Any) -> str:
    line = json.loads(to_line(Packet(1.0, WIRE, True, b"\xc0\x00")))
    for name, value in fields.items():
        where, _, field = name.rpartition("__")
        (line[where] if where else line)[field] = value
    return json.dumps(line)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("\x00", "no JSON"),
        (b"\xff\xfe{}", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"event":' * 100_000, "no JSON"),
        ('{"event":"missed","time":NaN,"count":1}', "NaN is no number"),
        ('{"event":"missed","time":1e999,"count":1}', "time is out of range"),
        ('{"event":"missed","time":1,"count":' + "9" * 10_000 + "}", "no JSON"),
        ('{"event":"missed","time":1,"count":' + "9" * 1000 + "}", "count must be a whole number"),
        ('{"event":"missed","time":' + "9" * 1000 + ',"count":1}', "time is out of range"),
        ("[]", "a JSON object"),
        ('"packet"', "a JSON object"),
        ("{}", "event is None"),
        ('{"event":["packet"]}', "there are only opened, closed, packet"),
        ('{"event":"birthday"}', "event is 'birthday'"),
        ('{"event":"missed","time":1}', "missed: count is missing"),
        (changed(time="now"), "packet: time must be a number"),
        (changed(time=True), "packet: time must be a number"),
        (changed(to_server=1), "packet: to_server must be true or false"),
        (changed(data="c"), "packet: data must be hexadecimal"),
        (changed(data="c0 0g"), "packet: data must be hexadecimal"),
        (changed(data=[192, 0]), "packet: data must be text"),
        (changed(cut=-1), "packet: cut must be a whole number"),
        (changed(cut=1.0), "packet: cut must be a whole number"),
        (changed(publication=None), "packet: publication must be a whole number"),
        (changed(wire=None), "packet: wire must be an object"),
        (changed(wire={}), "packet: wire: number is missing"),
        (changed(wire__client_id=5), "packet: wire: client_id must be text"),
        (changed(wire__client_id="\ud800"), "half of a surrogate pair"),
        (changed(wire__version=6), "version must be 3, 4 or 5"),
        (
            '{"event":"happening","time":1,"kind":"x","client_id":"","why":"","wire":7}',
            "wire must be an object",
        ),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_what_is_no_line_is_told_what_is_wrong_with_it(text: str | bytes, why: str) -> None:
    with pytest.raises(NotALine, match=why) as caught:
        from_line(text)
    assert len(str(caught.value)) < 400


@given(st.one_of(st.text(max_size=50), st.binary(max_size=50)))
def test_whatever_it_is_nothing_else_is_raised(text: str | bytes) -> None:
    with pytest.raises(NotALine):
        from_line(text)


def test_what_a_stranger_says_is_shown_without_control_characters() -> None:
    with pytest.raises(NotALine) as caught:
        from_line('{"event":"\\u001b[2J"}')
    assert str(caught.value).isprintable()
