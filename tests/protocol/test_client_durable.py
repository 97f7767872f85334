"""A client with a journal: what waits for the disk, also on the connection after the one it happened on."""

from __future__ import annotations

from curier.codec.packets import Connect
from curier.codec.properties import Properties
from curier.protocol.client import ClientConnection
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.session import Session

NOW = 1_700_000_000.0
ACCEPTED = b"\x20\x03\x01\x00\x00"  # CONNACK, Session Present
PUBREC_1 = b"\x50\x02\x00\x01"
PUBREL_1 = b"\x62\x02\x00\x01"
PUBCOMP_1 = b"\x70\x02\x00\x01"


def connected(session: Session) -> ClientConnection:
    connection = ClientConnection(session, manual_acks=True)
    lasting = Properties()
    lasting.session_expiry_interval = 0xFFFFFFFF
    connection.connect(Connect(5, "me", False, 0, None, None, None, lasting), NOW)
    connection.take_output()
    connection.receive(ACCEPTED, NOW)
    return connection


def durable(connection: ClientConnection) -> bytes:
    """All that is in the journal becomes durable; what leaves then."""
    journal = connection.client_session.journal
    assert journal is not None
    batch = journal.take()
    assert batch is not None
    connection.release(batch.number, NOW)
    return connection.take_output()


def published(qos: int, packet_id: int, dup: bool = False) -> bytes:
    return bytes([0x30 | dup << 3 | qos << 1, 7]) + b"\0\1t\0" + bytes([packet_id]) + b"\0x"


def test_pubrel_waits_for_the_disk_on_the_next_connection_as_well() -> None:
    session = Session("me", 1, Journal())
    first = connected(session)
    first.publish(ApplicationMessage(b"t", b"x", 2, False), NOW)
    assert durable(first) == published(2, 1)
    first.receive(PUBREC_1, NOW)
    assert first.take_output() == b""
    first.detach(NOW)
    second = connected(session)
    assert second.take_output() == b""  # PUBREC could be forgotten still
    assert durable(second) == PUBREL_1
    second.detach(NOW)
    assert connected(session).take_output() == PUBREL_1


def test_a_publish_whose_identifier_is_not_durable_is_not_sent_again_either() -> None:
    session = Session("me", 1, Journal())
    first = connected(session)
    first.publish(ApplicationMessage(b"t", b"x", 2, False), NOW)
    first.detach(NOW)
    second = connected(session)
    assert second.take_output() == b""
    assert durable(second) == published(2, 1, True)


def test_answers_wait_for_what_an_earlier_connection_freed() -> None:
    session = Session("me", 1, Journal())
    first = connected(session)
    first.receive(published(2, 1), NOW)
    first.acknowledge(1, NOW)
    assert durable(first) == PUBREC_1
    first.receive(PUBREL_1, NOW)
    assert first.take_output() == b""
    first.detach(NOW)
    second = connected(session)
    second.receive(PUBREL_1, NOW)
    assert second.take_output() == b""  # else the server could use it for another message, taken for this one
    assert durable(second) == b"\x70\x03\x00\x01\x92"


def test_who_commits_between_connections_says_so_to_the_journal() -> None:
    journal = Journal()
    session = Session("me", 1, journal)
    first = connected(session)
    first.publish(ApplicationMessage(b"t", b"x", 2, False), NOW)
    first.detach(NOW)
    batch = journal.take()
    assert batch is not None
    journal.durable = batch.number
    assert connected(session).take_output() == published(2, 1, True)


def test_a_message_is_taken_when_its_reader_takes_it_whoever_is_before_it() -> None:
    session = Session("me", 1, Journal())
    first = connected(session)
    first.receive(published(1, 7) + published(2, 1), NOW)
    first.acknowledge(1, NOW)
    assert durable(first) == b""  # the QoS 1 message is first, and has no acknowledgement
    first.detach(NOW)
    second = connected(session)
    second.take_events()
    second.receive(published(2, 1, True), NOW)
    assert second.take_output() == PUBREC_1
    assert not second.take_events()


def test_a_pubrec_whose_turn_comes_late_waits_for_the_disk_no_more() -> None:
    session = Session("me", 1, Journal())
    connection = connected(session)
    connection.receive(published(1, 7) + published(2, 1), NOW)
    connection.acknowledge(1, NOW)
    assert durable(connection) == b""
    connection.acknowledge(7, NOW)
    assert connection.take_output() == b"\x40\x02\x00\x07" + PUBREC_1


def test_a_refused_message_is_not_taken() -> None:
    session = Session("me", 1, Journal())
    connection = connected(session)
    connection.receive(published(2, 1), NOW)
    connection.acknowledge(1, NOW, 0x80)
    assert not session.incoming.identifiers
    assert connection.take_output() == b"\x50\x03\x00\x01\x80"


def test_the_halves_of_publish_do_what_the_whole_does() -> None:
    whole, halves = connected(Session("me", 1, Journal())), connected(Session("me", 1, Journal()))
    for qos in (0, 1, 2):
        message = ApplicationMessage(b"t", b"x", qos, False)
        whole.publish(ApplicationMessage(b"t", b"x", qos, False), NOW)
        entry, layout = halves.prepare(message, NOW)
        if qos:
            halves.client_session.outgoing.record(entry)
        halves.submit(entry, layout, NOW)
        assert halves.take_output() == whole.take_output()
    assert durable(halves) == durable(whole) == published(2, 2)
