"""Every record as bytes and back; bytes that are none."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.errors import StoreError
from curier.session import records as r
from curier.session.message import ApplicationMessage

numbers = st.integers(1, 2**47)
binaries = st.binary(max_size=50)
shorts = st.integers(1, 65535)
times = st.floats(0, 1e11)
flags = st.booleans()


@st.composite
def messages(draw: st.DrawFn) -> ApplicationMessage:
    return ApplicationMessage(
        draw(binaries), draw(binaries), draw(st.integers(0, 2)), draw(flags), draw(binaries), draw(times)
    )


names = st.text(st.characters(codec="utf-8"), max_size=30)
expiries = st.integers(0, 2**32 - 1)
RECORDS: dict[type[r.Record], st.SearchStrategy[r.Record]] = {
    r.SessionSaved: st.builds(
        r.SessionSaved, numbers, names, st.integers(3, 5), expiries, times, binaries, names
    ),
    r.SessionEnded: st.builds(r.SessionEnded, numbers),
    r.Subscribed: st.builds(r.Subscribed, numbers, binaries, st.integers(0, 63), st.integers(0, 268_435_455)),
    r.Unsubscribed: st.builds(r.Unsubscribed, numbers, binaries),
    r.MessageSaved: st.builds(r.MessageSaved, numbers, messages()),
    r.MessageRemoved: st.builds(r.MessageRemoved, numbers),
    r.Queued: st.builds(r.Queued, numbers, numbers, numbers, st.integers(0, 2), flags, binaries, binaries),
    r.Sent: st.builds(r.Sent, numbers, numbers, shorts),
    r.Received: st.builds(r.Received, numbers, numbers, numbers),
    r.Delivered: st.builds(r.Delivered, numbers, numbers),
    r.IdentifierTaken: st.builds(r.IdentifierTaken, numbers, shorts),
    r.IdentifierFreed: st.builds(r.IdentifierFreed, numbers, shorts),
    r.Retained: st.builds(r.Retained, binaries, numbers, times, names),
    r.WillSaved: st.builds(r.WillSaved, numbers, messages(), expiries, st.integers(-1, 2**32 - 1), times),
    r.WillRemoved: st.builds(r.WillRemoved, numbers),
    r.ServerMet: st.builds(r.ServerMet, numbers, names),
}
records = st.one_of(*RECORDS.values())

FIELDS = {
    r.SessionSaved: ("session", "client_id", "version", "expiry_interval", "ends_at", "mount", "user"),
    r.SessionEnded: ("session",),
    r.Subscribed: ("session", "topic_filter", "options", "identifier"),
    r.Unsubscribed: ("session", "topic_filter"),
    r.MessageSaved: ("number", "message"),
    r.MessageRemoved: ("message",),
    r.Queued: ("session", "delivery", "message", "qos", "retain", "identifiers", "group"),
    r.Sent: ("session", "delivery", "packet_id"),
    r.Received: ("session", "delivery", "order"),
    r.Delivered: ("session", "delivery"),
    r.IdentifierTaken: ("session", "packet_id"),
    r.IdentifierFreed: ("session", "packet_id"),
    r.Retained: ("topic", "message", "written_at", "writer"),
    r.WillSaved: ("session", "message", "delay", "expiry", "due_at"),
    r.WillRemoved: ("session",),
    r.ServerMet: ("session", "server"),
}


def plain(record: r.Record) -> tuple[object, ...]:
    """The record in values that compare."""
    values: list[object] = [type(record)]
    for name in FIELDS[type(record)]:
        value = getattr(record, name)
        if isinstance(value, ApplicationMessage):
            value = (value.topic, value.payload, value.qos, value.retain, value.properties, value.expires_at)
        values.append(value)
    return tuple(values)


def test_every_record_is_tested() -> None:
    without_form = {r.MessagesKept, r.QueuesKept, r.Logged, r.HandedOn}
    assert set(RECORDS) == set(FIELDS) == set(r.Record.__subclasses__()) - without_form


def test_rows_of_a_store_and_what_goes_to_the_log_of_a_cluster_have_no_form_as_bytes() -> None:
    message = ApplicationMessage(b"t", b"x", 1, False)
    for record in (
        r.MessagesKept([]),
        r.QueuesKept([]),
        r.Logged(1, 0, message, False),
        r.HandedOn(1, b"$share/g/a", message),
    ):
        with pytest.raises(TypeError, match="has no form as bytes"):
            r.encode([record])


@given(st.lists(records, max_size=20))
def test_records_come_back(some: list[r.Record]) -> None:
    assert [plain(one) for one in r.decode(r.encode(some))] == [plain(one) for one in some]


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_each_kind_comes_back(kind: type[r.Record]) -> None:
    @given(RECORDS[kind])
    def check(record: r.Record) -> None:
        (again,) = r.decode(r.encode([record]))
        assert plain(again) == plain(record)

    check()


@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_records_that_are_cut_off_are_refused(some: list[r.Record], data: st.DataObject) -> None:
    whole = r.encode(some)
    ends = {len(r.encode(some[:count])) for count in range(len(some) + 1)}
    cut = data.draw(st.integers(0, len(whole) - 1))
    if cut in ends:
        assert len(r.decode(whole[:cut])) < len(some)
    else:
        with pytest.raises(StoreError, match="not a record at byte"):
            r.decode(whole[:cut])


@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_damaged_bytes_are_refused_or_other_records(some: list[r.Record], data: st.DataObject) -> None:
    damaged = bytearray(r.encode(some))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(StoreError):
        r.encode(r.decode(bytes(damaged)))


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_refused_or_records(data: bytes) -> None:
    with suppress(StoreError):
        r.decode(data)
