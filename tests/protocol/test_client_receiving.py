"""What a client receives: acknowledgements, by itself and by hand, Topic Aliases; and its journal."""

from __future__ import annotations

from typing import Any

import pytest

from curier.codec.packets import (
    Connack,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from curier.errors import LocalProtocolError
from curier.protocol.connection import CONNECTED
from curier.protocol.events import Connected, Disconnected, Event, MessageReceived
from curier.session.journal import Journal
from curier.session.records import Batch, Delivered, IdentifierFreed, IdentifierTaken, Queued, Sent
from curier.session.session import Session
from tests.protocol.stage import Stage, properties, publishes, refusal

VERSIONS = [3, 4, 5]
EXPIRY = properties(session_expiry_interval=300)


def lasting(version: int = 5, **settings: Any) -> Stage:
    """A connected client whose session outlives its connection."""
    return Stage.connected(version, clean_start=False, asked=EXPIRY if version == 5 else None, **settings)


def payloads(events: list[Event]) -> list[bytes]:
    """The messages received; nothing else has happened."""
    found = []
    for event in events:
        assert isinstance(event, MessageReceived)
        found.append(event.publish.payload)
    return found


# ---- receiving ----


@pytest.mark.statement(
    "5.0/MQTT-3.3.4-1", "3.1.1/MQTT-3.3.4-1", "5.0/MQTT-4.5.0-2", "3.1.1/MQTT-4.5.0-2", "5.0/MQTT-4.3.2-4",
    "5.0/MQTT-4.3.3-8", "5.0/MQTT-4.3.3-11", "5.0/MQTT-4.6.0-2", "5.0/MQTT-4.6.0-3", "3.1.1/MQTT-4.6.0-2",
    "3.1.1/MQTT-4.6.0-3",
)  # fmt: skip
@pytest.mark.parametrize("version", VERSIONS)
def test_messages_are_received_and_acknowledged_in_order(version: int) -> None:
    stage = Stage.connected(version)
    packets = [Publish("a", str(n).encode(), n % 3, False, n == 2, n if n % 3 else 0) for n in range(6)]
    stage.serve(*packets)
    received = stage.events()
    assert [event.publish for event in received if isinstance(event, MessageReceived)] == packets
    assert stage.sent() == [Puback(1), Pubrec(2), Puback(4), Pubrec(5)]
    stage.serve(Pubrel(5), Pubrel(2))
    assert stage.sent() == [Pubcomp(5), Pubcomp(2)]


@pytest.mark.statement("5.0/MQTT-4.3.2-5", "3.1.1/MQTT-4.3.2-2")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dup", [False, True])
def test_after_puback_the_packet_identifier_is_that_of_a_new_message(version: int, dup: bool) -> None:
    stage = Stage.connected(version)
    stage.serve(Publish("a", b"1", 1, False, False, 7), Publish("a", b"2", 1, dup, False, 7))
    assert payloads(stage.events()) == [b"1", b"2"]
    assert stage.sent() == [Puback(7), Puback(7)]


@pytest.mark.statement("5.0/MQTT-4.3.3-10", "5.0/MQTT-4.3.3-12", "3.1.1/MQTT-4.3.3-2", "5.0/MQTT-4.3.3-11")
@pytest.mark.parametrize("version", VERSIONS)
def test_qos_2_comes_once_until_it_is_released(version: int) -> None:
    stage = lasting(version)
    sent = Publish("a", b"1", 2, False, False, 7)
    stage.serve(sent)
    again = stage.again()
    again.event(Connected)
    again.serve(Publish("a", b"1", 2, True, False, 7))
    assert payloads(stage.events()[:1]) == [b"1"]
    assert again.sent() == [Pubrec(7)]
    assert again.events() == []
    again.serve(Pubrel(7), Publish("a", b"2", 2, False, False, 7))
    assert again.sent() == [Pubcomp(7), Pubrec(7)]
    assert payloads(again.events()) == [b"2"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pubrel_for_nothing_is_completed(version: int) -> None:
    stage = Stage.connected(version)
    stage.serve(Pubrel(3))
    assert stage.sent() == [Pubcomp(3, 0x92 if version == 5 else 0)]


@pytest.mark.statement("5.0/MQTT-3.3.4-9")
def test_the_own_receive_maximum_is_enforced() -> None:
    stage = Stage.connected(asked=properties(receive_maximum=2))
    one, two = (Publish("a", b"", 2, False, False, packet_id) for packet_id in (1, 2))
    stage.serve(one, two, Pubrel(1))
    stage.serve(Publish("a", b"", 0), Publish("a", b"", 2, False, False, 3))
    assert stage.client.state == CONNECTED
    stage.events()
    stage.serve(Publish("a", b"", 1, False, False, 4))
    refusal(stage, 0x93, "more than 2 unfinished")


@pytest.mark.parametrize("version", [3, 4])
def test_before_50_there_is_no_receive_maximum(version: int) -> None:
    stage = Stage.connected(version)
    stage.client.receive_quota = 0
    stage.serve(Publish("a", b"", 1, False, False, 4))
    assert stage.client.state == CONNECTED


@pytest.mark.statement("5.0/MQTT-3.3.2-10", "5.0/MQTT-3.3.2-7")
def test_every_alias_allowed_to_the_server_is_understood() -> None:
    asked = properties(topic_alias_maximum=3, session_expiry_interval=300)
    stage = Stage.connected(asked=asked)

    def aliased(topic: str, alias: int) -> Publish:
        return Publish(topic, b"", 0, False, False, 0, properties(topic_alias=alias))

    stage.serve(*(aliased(f"t/{n}", n) for n in (1, 2, 3)), aliased("", 3), aliased("", 1))
    stage.serve(aliased("other", 1), aliased("", 1))
    topics = [event.publish.topic for event in stage.events() if isinstance(event, MessageReceived)]
    assert topics == ["t/1", "t/2", "t/3", "t/3", "t/1", "other", "other"]
    again = Stage(5, stage.session)
    stage.client.detach(stage.now)
    again.connect(False, 0, asked)
    again.serve(Connack(True), aliased("", 1))
    refusal(again, 0x82, "Topic Alias 1 has not been set")


@pytest.mark.statement("5.0/MQTT-3.1.2-26", "5.0/MQTT-3.1.2-27")
@pytest.mark.parametrize("maximum", [None, 0, 3])
def test_an_alias_over_the_maximum_is_refused(maximum: int | None) -> None:
    stage = Stage.connected(asked=properties(topic_alias_maximum=maximum))
    stage.serve(Publish("a", b"", 0, False, False, 0, properties(topic_alias=(maximum or 0) + 1)))
    refusal(stage, 0x94, "MQTT-3.1.2-26")


# ---- acknowledging by hand ----


@pytest.mark.statement("5.0/MQTT-4.6.0-2", "5.0/MQTT-4.6.0-3", "3.1.1/MQTT-4.6.0-2", "3.1.1/MQTT-4.6.0-3")
@pytest.mark.parametrize("version", VERSIONS)
def test_acknowledgements_by_hand_leave_in_the_order_of_receiving(version: int) -> None:
    stage = Stage.connected(version, manual_acks=True)
    stage.serve(*(Publish("a", b"", 1 + n % 2, False, False, n) for n in (1, 2, 3, 4)))
    assert len(stage.events()) == 4
    assert stage.client.acknowledge(3, stage.now)
    assert stage.client.acknowledge(2, stage.now)
    assert stage.sent() == []
    assert not stage.client.acknowledge(3, stage.now)
    assert stage.client.acknowledge(1, stage.now)
    assert stage.sent() == [Pubrec(1), Puback(2), Pubrec(3)]
    assert not stage.client.acknowledge(1, stage.now)
    assert not stage.client.acknowledge(9, stage.now)
    stage.serve(Pubrel(1))
    assert stage.sent() == [Pubcomp(1)]
    assert stage.client.acknowledge(4, stage.now)
    assert stage.sent() == [Puback(4)]


@pytest.mark.parametrize("version", [3, 4])
def test_a_repeated_message_is_told_once_while_its_reader_is_at_it(version: int) -> None:
    stage = Stage.connected(version, manual_acks=True)
    for qos in (1, 2):
        stage.serve(Publish("a", b"", qos, False, False, qos), Publish("a", b"", qos, True, False, qos))
        assert len(stage.events()) == 1
        stage.client.acknowledge(qos, stage.now)
        assert len(stage.sent()) == 1


@pytest.mark.statement("5.0/MQTT-4.3.3-9", "5.0/MQTT-3.4.2-1", "5.0/MQTT-3.5.2-1")
def test_a_reader_may_refuse() -> None:
    stage = Stage.connected(manual_acks=True, asked=properties(receive_maximum=2))
    for _ in range(2):
        stage.serve(Publish("a", b"", 1, False, False, 1), Publish("a", b"", 2, False, False, 2))
        assert len(stage.events()) == 2  # the same Packet Identifiers are those of new messages
        stage.client.acknowledge(1, stage.now, 0x99, "no number")
        stage.client.acknowledge(2, stage.now, 0x80)
        assert stage.sent() == [Puback(1, 0x99, properties(reason_string="no number")), Pubrec(2, 0x80)]
    stage.serve(Publish("a", b"", 1, False, False, 1))
    with pytest.raises(LocalProtocolError, match=r"MQTT-3\.4\.2-1"):
        stage.client.acknowledge(1, stage.now, 0x8E)
    assert stage.client.acknowledge(1, stage.now)


@pytest.mark.parametrize("version", [3, 4])
def test_before_50_nothing_can_be_refused(version: int) -> None:
    stage = Stage.connected(version, manual_acks=True)
    stage.serve(Publish("a", b"", 1, False, False, 1), Publish("a", b"", 2, False, False, 2))
    stage.client.acknowledge(1, stage.now, 0x99, "no number")
    stage.client.acknowledge(2, stage.now, 0x99)
    assert stage.sent() == [Puback(1), Pubrec(2)]
    assert stage.session.incoming.identifiers == {2}


@pytest.mark.statement("5.0/MQTT-3.4.2-2", "5.0/MQTT-3.5.2-2")
def test_a_reason_string_is_left_out_of_an_acknowledgement_that_would_be_too_large() -> None:
    stage = Stage.connected(manual_acks=True, connack=properties(maximum_packet_size=20))
    stage.serve(Publish("a", b"", 1, False, False, 1), Publish("a", b"", 2, False, False, 2))
    stage.client.acknowledge(1, stage.now, 0x99, "x" * 20)
    stage.client.acknowledge(2, stage.now, 0x99, "x" * 20)
    assert stage.sent() == [Puback(1, 0x99), Pubrec(2, 0x99)]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_not_acknowledged_comes_again_on_the_next_connection(qos: int) -> None:
    stage = lasting(manual_acks=True)
    stage.serve(Publish("a", b"", qos, False, False, 1))
    again = stage.again(manual_acks=True)
    assert not stage.client.acknowledge(1, stage.now)
    again.event(Connected)
    again.serve(Publish("a", b"", qos, True, False, 1))
    assert again.event(MessageReceived).publish.dup
    assert again.client.acknowledge(1, again.now)
    assert len(again.sent()) == 1


# ---- a session in a journal ----


def durable(version: int = 5, **settings: Any) -> tuple[Stage, Journal]:
    journal = Journal()
    return lasting(version, session=Session("me", 1, journal), **settings), journal


def taken(journal: Journal) -> Batch:
    batch = journal.take()
    assert batch is not None
    return batch


def test_a_qos_2_publish_waits_until_its_packet_identifier_is_durable() -> None:
    stage, journal = durable(connack=properties(topic_alias_maximum=5))
    stage.publish(1, b"1")
    stage.publish(2, b"2")
    (packet,) = stage.sent()
    assert publishes([packet]) == [(1, b"1", False)]
    batch = taken(journal)
    assert [type(record) for record in batch.records].count(Queued) == 2
    assert [record.packet_id for record in batch.records if isinstance(record, Sent)] == [1, 2]
    stage.client.release(batch.number - 1, stage.now)
    assert stage.sent() == []
    stage.client.release(batch.number, stage.now)
    assert publishes(stage.sent()) == [(2, b"2", False)]
    stage.serve(Pubrec(2))
    assert stage.sent() == []
    stage.client.release(taken(journal).number, stage.now)
    assert stage.sent() == [Pubrel(2)]


@pytest.mark.statement("5.0/MQTT-4.6.0-1", "3.1.1/MQTT-4.6.0-1")
@pytest.mark.parametrize("version", VERSIONS)
def test_no_publish_overtakes_one_that_waits_for_the_disk(version: int) -> None:
    stage, journal = durable(version)
    order = [b"%d" % number for number in range(8)]
    for payload, qos in zip(order, (2, 1, 2, 1, 1, 2, 2, 1), strict=True):
        stage.publish(qos, payload)
    assert stage.sent() == []
    stage.client.release(taken(journal).number, stage.now)
    assert [payload for _, payload, _ in publishes(stage.sent())] == order
    assert [payload for _, payload, _ in publishes(stage.again().sent())] == order
    journal.durable = 0  # as if an earlier connection had left something to the disk
    again = stage.again()
    assert again.sent() == []
    again.client.release(journal.newest(), again.now)
    assert [payload for _, payload, _ in publishes(again.sent())] == order


def test_a_pubrec_waits_until_its_packet_identifier_is_durable() -> None:
    stage, journal = durable()
    stage.serve(Publish("a", b"", 2, False, False, 7), Publish("a", b"", 1, False, False, 8))
    assert stage.sent() == []
    batch = taken(journal)
    assert [record.packet_id for record in batch.records if isinstance(record, IdentifierTaken)] == [7]
    stage.client.release(batch.number, stage.now)
    assert stage.sent() == [Pubrec(7), Puback(8)]


def test_what_waits_for_the_journal_is_not_sent_after_the_end() -> None:
    stage, journal = durable()
    stage.publish(2)
    stage.client.disconnect(stage.now)
    assert [type(packet) for packet in stage.sent()] == [Disconnect]
    stage.client.release(taken(journal).number, stage.now)
    assert stage.sent() == []
    (packet,) = stage.again().sent()
    assert publishes([packet]) == [(1, b"x", True)]


def test_timed_re_sending_waits_for_a_slow_journal() -> None:
    stage, journal = durable(4)
    stage.publish(2)
    stage.wait(50)
    assert stage.sent() == []
    stage.client.release(taken(journal).number, stage.now)
    assert publishes(stage.sent()) == [(1, b"x", False)]
    stage.wait(20)
    assert publishes(stage.sent()) == [(1, b"x", True)]


def test_the_journal_forgets_what_is_lost_with_the_session() -> None:
    stage, journal = durable()
    lost = stage.publish(1, b"1").delivery
    stage.serve(Publish("a", b"", 2, False, False, 7))
    stage.publish(0, b"2")
    stage.client.detach(stage.now)
    waited = stage.publish(0, b"waits").delivery
    taken(journal)
    again = Stage(5, stage.session)
    again.connect(True)
    again.serve(Connack(False))
    records = taken(journal).records
    assert [record.delivery for record in records if isinstance(record, Delivered)] == [lost, waited]
    assert [record.packet_id for record in records if isinstance(record, IdentifierFreed)] == [7]
    assert publishes(again.sent()) == [(0, b"waits", False)]
    gone = stage.events()[-1]
    assert isinstance(gone, Disconnected)
    assert gone.lost == []
