"""The outgoing flow: queue, Packet Identifiers, send quota, acknowledgements, and what of it is journaled."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.errors import LocalProtocolError
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.outgoing import MAXIMUM_PACKET_ID, Outgoing, OutgoingFlow
from curier.session.records import (
    Batch,
    Delivered,
    MessageRemoved,
    MessageSaved,
    Queued,
    Received,
    Record,
    Sent,
)

NOW = 1000.0


def entry(qos: int = 1, payload: bytes = b"x", expires_at: float = 0.0) -> Outgoing:
    return Outgoing(ApplicationMessage(b"a/b", payload, qos, False, b"", expires_at), qos, False)


def flow(quota: int = 10, journal: Journal | None = None) -> OutgoingFlow:
    """A flow with a connection."""
    made = OutgoingFlow(7, journal)
    made.open(quota)
    return made


def started(made: OutgoingFlow, qos: int = 1, payload: bytes = b"x") -> Outgoing:
    one = entry(qos, payload)
    made.record(one)
    made.start(one, NOW)
    return one


def records(journal: Journal) -> list[Record]:
    batch = journal.take()
    assert isinstance(batch, Batch)
    return batch.records


# ---- the queue ----


def test_the_queue_keeps_order_and_counts_bytes() -> None:
    made = flow()
    first, second = entry(payload=b"12345"), entry(payload=b"1")
    made.append(first)
    made.append(second)
    assert made.queued_bytes == len(b"a/b12345") + len(b"a/b1")
    assert made.pop() is first
    assert made.queued_bytes == len(b"a/b1")
    assert made.pop() is second
    assert made.queued_bytes == 0


def test_the_queue_knows_when_something_in_it_may_expire() -> None:
    made = flow()
    made.append(entry())
    assert made.first_expiry == 0.0
    for expires_at, first in ((NOW + 5, NOW + 5), (NOW + 9, NOW + 5), (NOW + 2, NOW + 2)):
        made.append(entry(expires_at=expires_at))
        assert made.first_expiry == first


# ---- Packet Identifiers ----


@pytest.mark.statement("5.0/MQTT-2.2.1-3", "5.0/MQTT-2.2.1-4", "3.1.1/MQTT-2.3.1-1", "3.1.1/MQTT-2.3.1-2")
def test_identifiers_are_unused_and_not_zero() -> None:
    made = flow(100)
    first, second = started(made, 1), started(made, 2)
    assert [first.packet_id, second.packet_id] == [1, 2]
    made.received(2, NOW)
    made.reserve(3)
    made.last_id = MAXIMUM_PACKET_ID - 1
    assert made.next_packet_id() == MAXIMUM_PACKET_ID
    assert made.next_packet_id() == 4  # 1 is inflight, 2 is being released, 3 is that of a SUBSCRIBE
    made.acknowledged(1)
    made.last_id = MAXIMUM_PACKET_ID
    assert made.next_packet_id() == 1


def test_all_identifiers_can_be_in_use() -> None:
    made = flow(MAXIMUM_PACKET_ID)
    for _ in range(MAXIMUM_PACKET_ID):
        started(made)
    assert set(made.inflight) == set(range(1, MAXIMUM_PACKET_ID + 1))
    assert made.quota == 0
    with pytest.raises(LocalProtocolError, match="65535 Packet Identifiers are in use") as refused:
        made.next_packet_id()
    assert refused.value.reason_code == 0x97
    made.acknowledged(777)
    assert started(made).packet_id == 777


def test_what_is_being_released_leaves_an_identifier_for_all_there_is_quota_for() -> None:
    made = flow(MAXIMUM_PACKET_ID)
    for _ in range(10):
        made.received(started(made, 2).packet_id, NOW)
    made.open(MAXIMUM_PACKET_ID)
    assert made.quota == MAXIMUM_PACKET_ID - 10
    while made.quota:
        started(made)
    assert len(made.inflight) + len(made.releasing) == MAXIMUM_PACKET_ID


# ---- quota (4.9) ----


@pytest.mark.statement("5.0/MQTT-4.9.0-1", "5.0/MQTT-4.9.0-2")
def test_quota_is_taken_by_a_publish_and_given_back_by_its_end() -> None:
    made = flow(3)
    assert (made.quota, made.quota_maximum) == (3, 3)
    one, two, refused = started(made, 1), started(made, 2), started(made, 2)
    assert made.quota == 0
    made.received(two.packet_id, NOW)
    assert made.quota == 0  # PUBREC alone gives nothing back
    made.acknowledged(one.packet_id)
    assert made.quota == 1
    made.refused(refused.packet_id)
    assert made.quota == 2
    made.completed(two.packet_id)
    assert made.quota == 3


def test_what_an_earlier_connection_sent_gives_no_quota_back() -> None:
    made = flow(5)
    one, two = started(made, 1), started(made, 2)
    made.received(two.packet_id, NOW)
    made.close()
    assert (made.quota, made.quota_maximum) == (0, 0)
    made.open(2)
    made.completed(two.packet_id)
    made.acknowledged(one.packet_id)
    assert made.quota == 2


def test_an_end_while_not_connected_gives_no_quota() -> None:
    made = flow(5)
    one = started(made)
    made.close()
    made.acknowledged(one.packet_id)
    assert made.quota == 0


def test_sending_again_takes_quota_once() -> None:
    made = flow(5)
    one = started(made)
    made.mark_sent(one, NOW + 1)
    assert made.quota == 4
    assert one.sent_at == NOW + 1
    made.open(5)
    assert not one.on_wire
    made.mark_sent(one, NOW + 2)
    assert made.quota == 4


# ---- sending again ----


@pytest.mark.statement("5.0/MQTT-4.6.0-1", "5.0/MQTT-4.6.0-4", "5.0/MQTT-4.3.3-6")
def test_a_new_connection_finds_what_is_to_be_sent_again_in_order() -> None:
    made = flow()
    entries = [started(made, 1 + number % 2) for number in range(6)]
    made.received(entries[3].packet_id, NOW)
    made.received(entries[1].packet_id, NOW)
    made.acknowledged(entries[2].packet_id)
    made.reserve(20)
    made.close()
    assert list(made.resend) == []
    made.open(10)
    assert list(made.resend) == [entries[0], entries[4], entries[5]]
    assert list(made.releasing.values()) == [entries[3], entries[1]]
    assert made.reserved == set()
    assert [one.packet_id for one in entries] == [1, 2, 3, 4, 5, 6]
    waiting = entry()
    made.append(waiting)
    assert made.unfinished() == [entries[0], entries[4], entries[5], entries[3], entries[1], waiting]


# ---- answers ----


def test_a_puback_ends_qos_1_only() -> None:
    made = flow()
    one, two = started(made, 1), started(made, 2)
    assert made.acknowledged(two.packet_id) is None
    assert made.acknowledged(99) is None
    assert made.acknowledged(one.packet_id) is one
    assert made.acknowledged(one.packet_id) is None
    assert made.unfinished() == [two]


def test_a_pubrec_is_for_qos_2_and_may_be_repeated() -> None:
    made = flow()
    one, two = started(made, 1), started(made, 2)
    assert made.received(one.packet_id, NOW) is None
    assert made.received(99, NOW) is None
    assert made.received(two.packet_id, NOW + 1) is two
    assert made.received(two.packet_id, NOW + 2) is two
    assert two.sent_at == NOW + 2
    assert list(made.inflight) == [one.packet_id]
    assert list(made.releasing) == [two.packet_id]
    assert made.refused(two.packet_id) is None  # too late


@pytest.mark.statement("5.0/MQTT-4.4.0-2")
def test_a_refusal_ends_qos_2_only() -> None:
    made = flow()
    one, two = started(made, 1), started(made, 2)
    assert made.refused(one.packet_id) is None
    assert made.refused(99) is None
    assert made.refused(two.packet_id) is two
    assert made.unfinished() == [one]


def test_a_pubcomp_ends_what_is_being_released() -> None:
    made = flow()
    one = started(made, 2)
    assert made.completed(one.packet_id) is None
    made.received(one.packet_id, NOW)
    assert made.completed(one.packet_id) is one
    assert made.unfinished() == []


def test_what_cannot_be_sent_is_abandoned() -> None:
    made = flow(1)
    one = started(made)
    made.abandon(one)
    assert made.unfinished() == []
    assert made.quota == 1


# ---- the journal ----


def test_everything_that_must_survive_is_in_the_journal() -> None:
    journal = Journal()
    made = flow(journal=journal)
    one, two = entry(1), entry(2)
    one.identifiers, one.group = b"\x0b\x05", b"$share/g/a"
    for item in (one, two):
        made.record(item)
        made.start(item, NOW)
    saved, queued, sent, *_ = found = records(journal)
    assert [type(record) for record in found] == [MessageSaved, Queued, Sent] * 2
    assert isinstance(saved, MessageSaved)
    assert isinstance(queued, Queued)
    assert isinstance(sent, Sent)
    assert saved.message is one.message
    assert (queued.session, queued.delivery, queued.message, queued.qos, queued.retain) == (
        7, one.delivery, one.message.number, 1, False
    )  # fmt: skip
    assert (queued.identifiers, queued.group) == (b"\x0b\x05", b"$share/g/a")
    assert (sent.session, sent.delivery, sent.packet_id) == (7, one.delivery, 1)
    made.received(two.packet_id, NOW)
    made.received(two.packet_id, NOW)
    (received,) = records(journal)
    assert isinstance(received, Received)
    assert (received.session, received.delivery) == (7, two.delivery)
    deliveries = [one.delivery, two.delivery]
    made.acknowledged(one.packet_id)
    made.completed(two.packet_id)
    ended = records(journal)
    assert [type(record) for record in ended] == [Delivered, MessageRemoved] * 2
    assert [record.delivery for record in ended if isinstance(record, Delivered)] == deliveries


def test_what_is_not_recorded_leaves_no_trace() -> None:
    journal = Journal()
    made = flow(journal=journal)
    zero = entry(0)
    made.append(zero)
    made.forget(made.pop())
    unrecorded = entry(2)
    made.start(unrecorded, NOW)
    made.received(unrecorded.packet_id, NOW)
    made.completed(unrecorded.packet_id)
    assert journal.take() is None


def test_a_delivery_ends_once() -> None:
    journal = Journal()
    made = flow(journal=journal)
    one = started(made)
    made.abandon(one)
    records(journal)
    made.forget(one)
    assert journal.take() is None


def test_a_message_stays_in_the_journal_as_long_as_anybody_gets_it() -> None:
    journal = Journal()
    first, second = flow(journal=journal), flow(journal=journal)
    message = ApplicationMessage(b"a", b"x", 1, False)
    for made in (first, second):
        one = Outgoing(message, 1, False)
        made.record(one)
        made.start(one, NOW)
    assert [type(record) for record in records(journal)].count(MessageSaved) == 1
    first.acknowledged(1)
    assert [type(record) for record in records(journal)] == [Delivered]
    second.acknowledged(1)
    assert [type(record) for record in records(journal)] == [Delivered, MessageRemoved]


# ---- any order of events ----

steps = st.lists(
    st.tuples(st.sampled_from("publish start puback pubrec refuse pubcomp cut".split()), st.integers(0, 9))
)


@given(steps, st.integers(1, 4))
def test_promises_of_the_flow_hold_whatever_happens(taken: list[tuple[str, int]], quota: int) -> None:
    """Identifiers are unique, quota is what is left of its maximum, and the journal tells the same story."""
    journal = Journal()
    made = OutgoingFlow(1, journal)
    made.open(quota)
    for step, number in taken:
        if step == "publish":
            one = entry(1 + number % 2)
            made.record(one)
            made.append(one)
        elif step == "start" and made.resend and made.quota:
            again = made.resend.popleft()
            if made.inflight.get(again.packet_id) is again:  # not acknowledged meanwhile
                made.mark_sent(again, NOW)
        elif step == "start" and made.queue and made.quota and not made.resend:
            made.start(made.pop(), NOW)
        elif step == "cut":
            made.close()
            made.open(quota)
        else:
            answer(made, step, number)
        on_wire = [one for one in (*made.inflight.values(), *made.releasing.values()) if one.on_wire]
        assert made.quota == made.quota_maximum - len(on_wire) >= 0
        assert all(packet_id == one.packet_id for packet_id, one in made.inflight.items())
        assert not made.inflight.keys() & made.releasing.keys()
        assert made.queued_bytes == sum(one.message.size() for one in made.queue)
    assert told(journal) == (
        [(one.delivery, one.packet_id) for one in made.inflight.values()],
        [(one.delivery, one.packet_id) for one in made.releasing.values()],
        [one.delivery for one in made.queue],
    )


def answer(made: OutgoingFlow, step: str, number: int) -> None:
    """The peer answers something, or nothing that there is."""
    packet_id = [*made.inflight, *made.releasing, 1][number % (len(made.inflight) + len(made.releasing) + 1)]
    if step == "puback":
        made.acknowledged(packet_id)
    elif step == "pubrec":
        made.received(packet_id, NOW)
    elif step == "refuse":
        made.refused(packet_id)
    elif step == "pubcomp":
        made.completed(packet_id)


def told(journal: Journal) -> tuple[list[Any], list[Any], list[Any]]:
    """What a reader of the journal knows: inflight, being released, and waiting."""
    batch = journal.take()
    waiting: dict[int, int] = {}
    releasing: dict[int, int] = {}
    for record in batch.records if batch is not None else []:
        if isinstance(record, Queued):
            waiting[record.delivery] = 0
        elif isinstance(record, Sent):
            waiting[record.delivery] = record.packet_id
        elif isinstance(record, Received):
            releasing[record.delivery] = waiting.pop(record.delivery)
        elif isinstance(record, Delivered):
            waiting.pop(record.delivery, None)
            releasing.pop(record.delivery, None)
    inflight = [(delivery, packet_id) for delivery, packet_id in waiting.items() if packet_id]
    return (
        inflight,
        list(releasing.items()),
        [delivery for delivery, packet_id in waiting.items() if not packet_id],
    )
