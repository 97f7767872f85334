"""Session State, the incoming flow, the journal's batches, and the Application Message."""

from __future__ import annotations

import pytest

from curier.session.incoming import IncomingFlow
from curier.session.journal import Journal
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.records import (
    Batch,
    IdentifierFreed,
    IdentifierTaken,
    MessageRemoved,
    MessageSaved,
    SessionEnded,
)
from curier.session.session import Session


def taken(journal: Journal) -> Batch:
    batch = journal.take()
    assert batch is not None
    return batch


# ---- QoS 2 in ----


@pytest.mark.statement("5.0/MQTT-4.3.3-10", "5.0/MQTT-4.3.3-12", "3.1.1/MQTT-4.3.3-2")
def test_an_identifier_is_a_duplicate_until_it_is_released() -> None:
    flow = IncomingFlow()
    assert not flow.is_duplicate(5)
    flow.take(5)
    assert flow.is_duplicate(5)
    assert not flow.is_duplicate(6)
    assert flow.release(5)
    assert not flow.is_duplicate(5)
    assert not flow.release(5)


def test_identifiers_are_journaled_as_they_come_and_go() -> None:
    journal = Journal()
    flow = IncomingFlow(7, journal)
    flow.take(5)
    flow.take(6)
    assert flow.release(5)
    assert not flow.release(5)
    records = taken(journal).records
    assert [type(record) for record in records] == [IdentifierTaken, IdentifierTaken, IdentifierFreed]
    assert [
        (record.session, record.packet_id)
        for record in records
        if isinstance(record, (IdentifierTaken, IdentifierFreed))
    ] == [(7, 5), (7, 6), (7, 5)]


# ---- the session ----


def test_a_session_is_cleared() -> None:
    journal = Journal()
    session = Session("me", 7, journal)
    session.outgoing.open(5)
    session.outgoing.start(Outgoing(ApplicationMessage(b"a", b"", 1, False), 1, False), 0.0)
    session.incoming.take(3)
    session.clear()
    assert session.client_id == "me"
    assert session.outgoing.unfinished() == []
    assert session.incoming.identifiers == set()
    for flow in (session.outgoing, session.incoming):
        assert flow.session_number == 7
        assert flow.journal is journal


# ---- the journal ----


def test_records_come_in_batches_in_order() -> None:
    journal = Journal()
    assert journal.take() is None
    assert (journal.number, journal.length) == (1, 0)
    first, second, third = SessionEnded(1), SessionEnded(2), SessionEnded(3)
    journal.add(first)
    journal.add(second)
    batch = taken(journal)
    assert (batch.number, batch.records) == (1, [first, second])
    assert journal.take() is None
    journal.add(third)
    assert (journal.number, journal.length) == (2, 3)
    assert (taken(journal).number, journal.number) == (2, 3)
    assert batch.records == [first, second]


def test_numbers_grow_and_go_on_after_an_earlier_life() -> None:
    journal = Journal()
    assert [journal.next_number(), journal.next_number()] == [1, 2]
    journal.continue_after(40)
    assert journal.next_number() == 41
    journal.continue_after(7)
    assert journal.next_number() == 42


def test_a_message_is_saved_once_and_removed_with_its_last_mention() -> None:
    journal = Journal()
    message = ApplicationMessage(b"a/b", b"12345", 1, False, b"\x01\x01")
    number = journal.add_message(message)
    assert number == message.number == 1
    assert journal.pending_bytes == len(b"a/b12345") + 2
    assert journal.add_message(message) == number
    assert journal.length == 1
    journal.drop_message(message)
    assert journal.length == 1
    journal.drop_message(message)
    saved, removed = taken(journal).records
    assert isinstance(saved, MessageSaved)
    assert isinstance(removed, MessageRemoved)
    assert saved.message is message
    assert (saved.number, removed.message) == (1, 1)
    assert journal.pending_bytes == 0
    assert journal.add_message(message) == 2  # when it is needed again, it is another one


def test_a_message_that_was_never_saved_is_not_removed() -> None:
    journal = Journal()
    message = ApplicationMessage(b"a", b"", 1, False)
    message.references = 1
    journal.drop_message(message)
    assert journal.take() is None


# ---- the message ----


def test_the_size_of_a_message() -> None:
    assert ApplicationMessage(b"a/b", b"12345", 0, False, b"\x01\x01").size() == 10


@pytest.mark.statement("5.0/MQTT-3.3.2-6")
@pytest.mark.parametrize(
    ("waited", "left"),
    [(0.0, 10), (0.2, 10), (1.0, 9), (8.5, 2), (9.9, 1), (9.9995, 0), (10.0, 0), (11.0, 0)],
)
def test_what_is_left_of_the_message_expiry_interval(waited: float, left: int) -> None:
    began = 1_700_000_000.3
    message = ApplicationMessage(b"a", b"", 0, False, b"", began + 10)
    assert message.remaining_expiry(began + waited) == left
    assert message.is_expired(began + waited) == (waited >= 10)


def test_a_message_without_an_interval_never_expires() -> None:
    message = ApplicationMessage(b"a", b"", 0, False)
    assert message.expires_at == NEVER
    assert not message.is_expired(1e12)
