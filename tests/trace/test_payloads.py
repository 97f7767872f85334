"""Payloads as they are looked at: nothing lost, nothing invented, nothing endless."""

from __future__ import annotations

import json
import sys
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.errors import ConfigError
from curier.trace.payloads import KINDS, MOST_BYTES, brief, hex_lines, view

JPEG = b"\xff\xd8\xff\xe0"


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"", "empty", ""),
        (b"hello", "text", "hello"),
        (
            b"\x00",
            "hex",
            "00000000  00                                                .".replace("    .", "    ."),
        ),
        ("ț €".encode(), "text", "ț €"),
        (b'{"a":1}', "json", '{\n  "a": 1\n}'),
        (b"[]", "json", "[]"),
        (b"21.5", "text", "21.5"),
        (b'{"a":NaN}', "text", '{"a":NaN}'),
        (b'{"a":9007199254740993,"a":1.10}', "json", '{\n  "a": 9007199254740993,\n  "a": 1.10\n}'),
        (b'{"a":', "text", '{"a":'),
        (b"\x1b[31mred", "text", "\\x1b[31mred"),
        (cbor2.dumps({"a": [1, 2]}), "cbor", '{\n  "a": [\n    1,\n    2\n  ]\n}'),
    ],
)
def test_a_payload_is_what_it_most_likely_is(data: bytes, kind: str, text: str) -> None:
    seen = view(data)
    assert (seen.kind, seen.shown, seen.size, seen.note) == (kind, len(data), len(data), "")
    if kind == "hex":
        assert seen.text == hex_lines(data)
    else:
        assert seen.text == text


def test_a_bad_byte_at_the_end_makes_it_bytes() -> None:
    seen = view(b"hello\xff")
    assert seen.kind == "hex"
    assert seen.text == "00000000  68 65 6c 6c 6f ff                                 hello."


def test_what_is_not_shown_whole_says_so() -> None:
    image = JPEG + bytes(500_000)
    seen = view(image)
    assert (seen.kind, seen.note) == ("hex", "first 512 of 500004 bytes")
    assert seen.text.count("\n") == 31
    line = b'{"a": "' + b"x" * 5_000_000 + b'"}'
    seen = view(line)
    assert (seen.kind, seen.note) == ("text", f"first {MOST_BYTES} of {len(line)} bytes")
    assert len(seen.text) == MOST_BYTES
    assert view(b'{"a":1}', most=4).kind == "text"


def test_what_a_recording_cut_is_not_taken_for_json_and_counts() -> None:
    seen = view(b'{"a":1}', cut=10)
    assert (seen.kind, seen.note) == ("text", "first 7 of 17 bytes")
    assert view("ab€".encode()[:-1], cut=5).text == "ab"
    assert view("ab€".encode()[:-1]).kind == "hex"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_be_asked_for(kind: str) -> None:
    data = cbor2.dumps([1]) if kind == "cbor" else b"[1]"
    assert view(data, kind).kind == kind
    assert view(b"\xff\x00", kind).kind == "hex"


def test_cbor_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cbor2", None)
    data = cbor2.dumps({"a": b"\xff"})
    assert view(data).kind == "hex"
    with pytest.raises(ConfigError, match=r"curier\[cbor\]"):
        view(data, "cbor")


@pytest.mark.parametrize(
    "data", [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000, b"\x81" * 10_000, b"1" * 5000]
)
def test_deep_nesting_and_long_numbers_are_only_text_or_bytes(data: bytes) -> None:
    assert view(data).kind in ("text", "hex")
    for kind in KINDS:
        view(data, kind)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_json_is_the_same_with_its_indentation(value: Any) -> None:
    data = json.dumps([value]).encode()
    seen = view(data)
    assert seen.kind == "json"
    assert json.loads(seen.text) == [value]


@given(st.binary(), st.integers(0, 3), st.integers(1, 50))
def test_any_bytes_can_be_seen(data: bytes, cut: int, most: int) -> None:
    for kind in ("", *KINDS):
        seen = view(data, kind, most, cut)
        assert 0 <= seen.shown <= min(len(data), most) or seen.kind in ("json", "cbor")
        assert not any(bad in seen.text for bad in "\x1b\x07\x9b\u202e")
    assert "\n" not in brief(data, most, cut)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "empty"),
        (b"x", '1 byte "x"'),
        (b"a\nb", '3 bytes "a\\nb"'),
        (b"x" * 30, '30 bytes "xxxxxxxxxxxx"...'),
        (b"\x00\x01", "2 bytes 00 01"),
        (JPEG + bytes(96), "100 bytes ff d8 ff e0 ..."),
    ],
)
def test_a_payload_within_a_line(data: bytes, line: str) -> None:
    assert brief(data, 12) == line
