"""Payloads as people read and write them, and what is said of those that are something else."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import cbor2
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.errors import ConfigError
from curier.payloads import KINDS, BadPayload, coloured, decoder, encoder, is_structured, json_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.binary(max_size=40), st.sampled_from(KINDS))
def test_a_payload_of_a_stranger_is_shown_or_refused(data: bytes, kind: str) -> None:
    try:
        text = json_of(decoder(kind)(data))
    except BadPayload:
        return
    assert "\x1b" not in text
    json.loads(text.encode())


@given(st.binary(max_size=40))
def test_hex_and_base64_go_both_ways(data: bytes) -> None:
    for kind in ("hex", "base64"):
        assert encoder(kind)(str(decoder(kind)(data))) == data


@pytest.mark.parametrize("kind", ["json", "cbor", "msgpack"])
@given(VALUES.filter(lambda value: "inf" not in repr(value)))
def test_data_goes_both_ways(kind: str, value: object) -> None:
    try:
        text = json_of(value)
    except BadPayload:
        pytest.fail("JSON can say it")
    assert decoder(kind)(encoder(kind)(text)) == json.loads(text)
    assert is_structured(kind)


def test_cbor_that_json_cannot_say_becomes_what_it_can() -> None:
    value = {
        1: b"\xff\xfe",
        (1, 2): [float("nan"), float("-inf"), cbor2.undefined, None],
        "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "tag": cbor2.CBORTag(60_000, [1]),
        "large": 2**70,
    }
    assert json_of(decoder("cbor")(cbor2.dumps(value))) == (
        '{"1":"__4","[1,2]":[null,null,null,null],"time":"2026-01-02T03:04:05+00:00","tag":[1],'
        '"large":1180591620717411303424}'
    )


def test_msgpack_that_json_cannot_say_becomes_what_it_can() -> None:
    data = msgpack.packb({1: b"a", "ext": msgpack.ExtType(5, b"b"), "t": msgpack.Timestamp(0, 0)})
    told = '{"1":"YQ","ext":"Yg","t":"1970-01-01T00:00:00+00:00"}'
    assert json_of(decoder("msgpack")(data)) == told


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("json", b"{", "is not JSON: "),
        ("json", b"NaN", "is not JSON: NaN is not a value of JSON"),
        ("json", b"[1, -1e400]", "is not JSON: the number -1e400 is larger than can be shown"),
        ("json", b"\xff", "is not JSON: "),
        ("json", b"[" * 100_000, "nested too deeply"),
        ("cbor", b"", "is not CBOR: "),
        ("cbor", b"\x01\x02\x03", "is not CBOR: 2 bytes are left over"),
        ("cbor", b"\xd8\x1c\x81\xd8\x1d\x00", "nested too deeply"),  # a list that holds itself
        ("cbor", b"\x81" * 100_000 + b"\x00", "is not CBOR"),
        ("cbor", b"\xbb" + b"\xff" * 8, "is not CBOR: "),
        ("msgpack", b"\x01\x02", "is not MessagePack: "),
        ("msgpack", b"\x91" * 100_000 + b"\x00", "is not MessagePack"),
        ("msgpack", b"\xdd\x7f\xff\xff\xff", "is not MessagePack: "),
    ],
)
def test_what_is_not_of_its_kind_is_told(kind: str, data: bytes, said: str) -> None:
    with pytest.raises(BadPayload) as raised:
        decoder(kind)(data)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("hex", "0", "is not hex: expected pairs of the digits"),
        ("hex", "zz", "is not hex"),
        ("base64", "a", "is not base64: "),
        ("base64", "????", "is not base64: "),
        ("json", "{1}", "is not JSON: "),
        ("cbor", "{1}", "is not JSON: "),
        ("msgpack", "Infinity", "is not JSON: Infinity is not a value of JSON"),
    ],
)
def test_what_cannot_be_written_so_is_told(kind: str, text: str, said: str) -> None:
    with pytest.raises(BadPayload) as raised:
        encoder(kind)(text)
    assert said in str(raised.value)


def test_what_is_written_as_json_is_left_as_it_is() -> None:
    assert encoder("json")('{"a": 1.50}') == b'{"a": 1.50}'
    assert encoder("hex")("00 ff\n") == b"\x00\xff"
    assert encoder("base64")("AP\n8=\n") == b"\x00\xff"


@pytest.mark.parametrize("kind", ["cbor", "msgpack"])
def test_a_package_that_is_missing_is_named_with_the_way_out(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = {"cbor": "cbor2", "msgpack": "msgpack"}[kind]
    monkeypatch.setitem(sys.modules, name, None)
    for make in (decoder, encoder):
        with pytest.raises(ConfigError) as raised:
            make(kind)
        assert str(raised.value) == f"{kind} needs the package {name}: pip install 'curier[{kind}]'"


def test_text_that_is_not_utf_8_is_shown_as_far_as_it_goes() -> None:
    assert decoder("text")(b"a\xff") == "a�"


def test_json_has_nothing_that_a_terminal_takes_for_a_command() -> None:
    text = json_of(decoder("json")('"\\u001b[2J \x9b2J \x7f \\ud800"'.encode()))
    assert text == '"\\u001b[2J \\u009b2J \\u007f \\ud800"'


def test_colours_leave_the_json_as_it_is() -> None:
    text = json_of({"a:": ['b\\": c', -1.5e3, True, None]}, pretty=True)
    painted = coloured(text)
    assert "\x1b[34m" in painted
    for code in ("34", "32", "36", "35", "0"):
        painted = painted.replace(f"\x1b[{code}m", "")
    assert painted == text
    assert coloured('{"k": "v"}') == '{\x1b[34m"k"\x1b[0m: \x1b[32m"v"\x1b[0m}'
