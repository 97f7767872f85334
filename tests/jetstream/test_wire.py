"""The records of a cluster as bytes."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from curier.cluster import records
from curier.cluster.formats import FIRST, NEWEST
from curier.jetstream.wire import CLASSES, Direct, Forms, Handed, Parted, WireError, Wish, decode, encode

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


KINDS: Any = [*CLASSES]


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
        decode(bytes([FIRST, kind]) + body)
    except WireError:
        pass


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"\x01\x01\x90", "format 1 lies on the bus, and this curier knows format 2: an older curier"),
        (b"\x09\x01\x90", "format 9 lies on the bus, and this curier knows format 2: run a newer curier"),
        (b"\x02\x63\x90", "kind 99"),
        (b"\x02\x01\x90", "Frame"),
    ],
)
def test_what_is_not_known_is_refused_in_plain_words(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        decode(data)


def test_a_record_that_is_cut_short_or_has_more_is_refused() -> None:
    whole = encode(records.Seal(records.Boot("a", 7)))
    for length in range(2, len(whole)):
        with pytest.raises(WireError):
            decode(whole[:length])
    with pytest.raises(WireError):
        decode(whole + b"\x00")


def test_the_bytes_of_a_format_stay_as_they_are() -> None:
    """Other versions read them: who changes these has made a format that the others do not know."""
    lease = encode(records.Lease(records.Boot("a", 7), 12, nonce=5, writes=3, wall=1.5))
    assert lease[5:22] == b"\x92\xa1a\x07\x0c\xc2\x05\x02\x03\xcb\x3f\xf8" + bytes(5)
    assert encode(records.Seal(records.Boot("a", 7))) == b"\x02\x02\x92\xa0\x91\x92\xa1a\x07"


# -- two versions

LATER = Forms(newest=FIRST + 1, sinces={(records.SessionRecord, "unsealed"): FIRST + 1})
"""A version whose records of sessions have one field more."""

EARLIER = Forms(newest=FIRST, sinces={(records.SessionRecord, "unsealed"): FIRST + 1})
"""The one before it."""

RECORD = records.SessionRecord(records.Boot("a", 7), 1, 2, user="u", unsealed=(records.Boot("b", 3),))


def test_what_a_later_version_adds_is_left_out_in_the_older_format() -> None:
    data = LATER.encode(RECORD, "me", FIRST)

    assert data == EARLIER.encode(RECORD, "me")
    assert EARLIER.decode(data) == LATER.decode(data) == ("me", dataclasses.replace(RECORD, unsealed=()))


def test_a_later_format_has_it_and_is_refused_by_who_would_lose_it() -> None:
    data = LATER.encode(RECORD, "me", FIRST + 1)

    assert LATER.decode(data) == ("me", RECORD)
    with pytest.raises(WireError, match=r"format 3 lies .* knows format 2: run a newer"):
        EARLIER.decode(data)


def test_leases_are_read_by_all_versions_whatever_later_ones_add() -> None:
    lease = records.Lease(records.Boot("a", 7), 12, nonce=5, reads=9, writes=8)
    data = encode(lease, "", NEWEST)
    assert data[:2] == bytes([FIRST, 3])
    name, fields = msgpack.decode(data[2:])

    def of(*fields: object) -> bytes:
        return data[:2] + msgpack.encode((name, fields))

    assert LATER.encode(lease, "", FIRST + 1) == data
    assert decode(of(*fields, [1, 2], "x"))[1] == lease
    assert decode(of(*fields[:2]))[1] == records.Lease(records.Boot("a", 7), 12)
    for damaged in (data[:-1], of(), of(fields[0]), of(fields[0], "x"), of(["a"], *fields[1:])):
        with pytest.raises(WireError):
            decode(damaged)


def test_what_a_version_adds_comes_last() -> None:
    with pytest.raises(AssertionError, match="comes last"):
        Forms(newest=FIRST, sinces={(records.SessionRecord, "user"): FIRST + 1})


def test_all_kinds_can_be_read_in_all_formats() -> None:
    assert {Direct, Handed, Wish, Parted, *typing.get_args(records.Value)} == set(CLASSES)
    assert FIRST <= NEWEST
