"""The records of a cluster as bytes."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.cluster import records
from curier.jetstream import wire
from curier.jetstream.wire import Direct, Parted, WireError, Wish, decode, encode

NUMBERS = st.integers(-(2**63), 2**63 - 1)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Of a type as the fields of records have them; ``st.from_type`` takes minutes for those."""
    arguments = typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.tuples(*map(values, hints.values())).map(lambda fields: hint(*fields))  # type: ignore[operator]
    if typing.get_origin(hint) is tuple and arguments[-1] is ...:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if typing.get_origin(hint) is tuple:
        return st.tuples(*map(values, arguments))
    if arguments:
        return st.one_of(*map(values, arguments))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        int: NUMBERS,
        float: st.floats(allow_nan=False),
        str: st.text(max_size=9),
        bytes: st.binary(max_size=9),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return simple[hint]


KINDS: Any = [records.Frame, records.Seal, records.Lease, records.SessionRecord, Direct, Wish, Parted]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_record_comes_back_as_it_was(kind: Any, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    name = data.draw(st.text())

    assert decode(encode(value, name)) == (name, value)


@given(
    kind=st.sampled_from(range(1, len(KINDS) + 1)),
    body=st.binary(max_size=40),
)
def test_other_bytes_are_refused_or_read_and_never_break(kind: int, body: bytes) -> None:
    try:
        decode(bytes([wire.FORMAT, kind]) + body)
    except WireError:
        pass


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"\x02\x01\x90", "format 2 lies on the bus, and this curier knows format 1"),
        (b"\x01\x63\x90", "kind 99"),
        (b"\x01\x01\x90", "Frame"),
    ],
)
def test_what_is_not_known_is_refused_in_plain_words(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        decode(data)


def test_a_record_that_is_cut_short_or_has_more_is_refused() -> None:
    whole = encode(records.Lease(records.Boot("a", 7), 12))
    for length in range(2, len(whole)):
        with pytest.raises(WireError):
            decode(whole[:length])
    with pytest.raises(WireError):
        decode(whole + b"\x00")


def test_the_bytes_of_a_format_stay_as_they_are() -> None:
    """Who changes fields changes ``wire.FORMAT`` too, once a cluster can be run."""
    assert encode(records.Lease(records.Boot("a", 7), 12)) == b"\x01\x03\x92\xa0\x93\x92\xa1a\x07\x0c\xc2"
    assert encode(records.Seal(records.Boot("a", 7))) == b"\x01\x02\x92\xa0\x91\x92\xa1a\x07"
