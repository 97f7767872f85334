"""Two ways back from the same records: all of them one by one, and what a database made of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curier.broker import keeping, retaining
from curier.errors import StoreError
from curier.session.message import ApplicationMessage
from curier.session.records import (
    Delivered,
    MessageSaved,
    Queued,
    Record,
    Retained,
    SessionSaved,
    Subscribed,
    WillRemoved,
    decode,
)
from curier.store.database import Database
from tests.store.history import START, History, restored, state

fewer = settings(max_examples=max(10, settings.default.max_examples // 4) if settings.default else 10)
seeds = st.integers(min_value=0, max_value=2**32)


def split(records: list[Record], dice: Random) -> list[list[Record]]:
    """Anywhere, also within what the core had made one batch of."""
    pieces = []
    while records:
        size = dice.choice((1, 2, 5, 50, 1000))
        pieces.append(records[:size])
        records = records[size:]
    return pieces


def from_database(batches: list[list[Record]], times: int = 1) -> list[list[Record]]:
    with tempfile.TemporaryDirectory() as name:
        database = Database(Path(name), "os")
        for batch in batches:
            for _ in range(times):
                database.apply(batch)
        pieces = list(database.records())
        database.close()
    return pieces


@fewer
@given(seed=seeds, times=st.integers(1, 2))
@example(seed=123930500, times=1)  # a will that is due at the restart has two Subscription Identifiers
def test_a_database_gives_back_what_the_records_say(seed: int, times: int) -> None:
    history = History(seed)
    history.run(150)
    data = b"".join(history.batches)
    now = history.now + 1
    expected = state(restored([decode(data)], now))
    batches = split(decode(data), Random(seed))
    assert state(restored(from_database(batches, times), now)) == expected


@fewer
@given(seed=seeds)
@example(seed=3911828)  # a will for a Shared Subscription is due at the restart
def test_every_batch_may_be_the_last(seed: int) -> None:
    history = History(seed)
    history.run(40)
    with tempfile.TemporaryDirectory() as name:
        database = Database(Path(name), "os")
        for end, batch in enumerate(history.batches, 1):
            database.apply(decode(batch))
            expected = state(restored([decode(one) for one in history.batches[:end]], START + 100))
            assert state(restored(list(database.records()), START + 100)) == expected
        database.close()


@fewer
@given(seed=seeds)
def test_a_restored_broker_is_the_one_that_died(seed: int) -> None:
    """What the living core has of durable sessions is what a restart finds, but for who is connected."""
    history = History(seed)
    history.run(150)
    for connection in list(history.connections.values()):
        history.core.detach(connection, history.now)
    history.turn()
    history.turn()
    living = state(history.core)
    again = state(restored([decode(data) for data in history.batches], history.now))
    assert again["retained"] == living["retained"]
    assert again["groups"] == living["groups"]
    for one in (living, again):
        sessions = one["sessions"]
        assert isinstance(sessions, dict)
        for session in sessions.values():
            del session[
                "last_id"
            ]  # the living one goes on, the restored one begins behind what is unfinished
    assert again["sessions"] == living["sessions"]


@fewer
@given(seed=seeds)
def test_nothing_is_left_behind(seed: int) -> None:
    """When all sessions and retained messages have gone, so have all rows."""
    history = History(seed)
    history.run(100)
    core = restored([decode(data) for data in history.batches], history.now)
    history.core = core
    for session in list(core.sessions.values()):
        keeping.end_session(core, session, "the test ends", history.now)
    for topic in (b"a", b"a/b", b"a/b/c", "č".encode()):
        retaining.retain(core, ApplicationMessage(topic, b"", 0, True), None, history.now)
    history.turn()
    with tempfile.TemporaryDirectory() as name:
        database = Database(Path(name), "os")
        for batch in history.batches:
            database.apply(decode(batch))
        tables = ("sessions", "subscriptions", "messages", "deliveries", "identifiers", "retained", "wills")
        assert {table: database.count(table) for table in tables} == dict.fromkeys(tables, 0)
        database.close()


MESSAGE = ApplicationMessage(b"t", b"x", 1, False)


@pytest.mark.parametrize(
    "records",
    [
        [Queued(1, 2, 3, 1, False, b"", b"")],
        [MessageSaved(3, MESSAGE), Queued(1, 2, 3, 1, False, b"", b"")],
        [SessionSaved(1, "c", 5, 60, 0.0), Delivered(1, 2)],
        [Subscribed(1, b"t", 0, 0)],
        [Retained(b"t", 7)],
        [WillRemoved(1)],
    ],
)
def test_records_that_do_not_fit_are_told(records: list[Record]) -> None:
    with pytest.raises(StoreError, match="which is not there"):
        restored([records], START)
