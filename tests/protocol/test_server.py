"""The server's role on one Network Connection, without a broker behind it (5.0: 3.2, 3.3.4, 4.13)."""

from __future__ import annotations

import pytest

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.protocol.connection import CONNECTED, Traffic
from curier.protocol.server import LONGEST_REASON, ServerConnection
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Burst, Outgoing
from curier.session.records import SessionEnded
from curier.session.session import Session
from tests.codec.cases import properties
from tests.each import each

statement = pytest.mark.statement

NOW = 100.0


def made(version: int | None = None) -> ServerConnection:
    """A new connection; with a version, one that is connected already."""
    connection = ServerConnection(1, 1000, [], Traffic())
    if version is not None:
        connection.version = version
        connection.state = CONNECTED
        connection.session = Session("c")
    return connection


def said(connection: ServerConnection, version: int = 5) -> list[p.Packet]:
    """What it has to say, since the last look."""
    data = b"".join(connection.output)
    connection.output.clear()
    packets, pos = [], 0
    while pos < len(data):
        end = packet_end(data, pos)
        packets.append(decode(data, pos, end, version))
        pos = end
    return packets


def reason_codes(packets: list[p.Packet]) -> list[int]:
    return [packet.reason_code for packet in packets if isinstance(packet, (p.Connack, p.Disconnect))]


# ---- before CONNACK ----


@statement("5.0/MQTT-3.1.0-1", "5.0/MQTT-3.14.0-1", "3.1.1/MQTT-3.1.0-1")
@pytest.mark.parametrize("raw", ["c000", "e000", "3005 0001 74 00 78", "0000", "f000"])
def test_a_stranger_that_does_not_begin_with_connect_is_told_nothing(raw: str) -> None:
    connection = made()
    connection.receive(bytes.fromhex(raw), NOW)
    assert connection.output == []


@pytest.mark.parametrize(
    ("raw", "version", "codes"),
    [
        ("100d 0004 4d515454 05 03 0000 00 0000", 5, [0x81]),  # 5.0 may say why
        ("100c 0004 4d515454 04 03 0000 0000", 4, []),  # 3.1.1 may not
        ("100d 0004 4d515454 09 02 0000 00 0000", 4, [1]),  # every version understands this
        ("100d 0004 4d515454 85 02 0000 00 0000", 4, [1]),
        ("100e 0006 4d5149736470 03 03 0000 0000", 4, []),
        ("1002 0004", 5, []),  # what it was to be nobody knows
    ],
)
def test_a_broken_connect_is_answered_in_the_version_it_claims(
    raw: str, version: int, codes: list[int]
) -> None:
    connection = made()
    connection.receive(bytes.fromhex(raw), NOW)
    assert reason_codes(said(connection, version)) == codes


@statement("5.0/MQTT-3.2.2-8", "3.1.1/MQTT-3.2.2-6")
@each(
    ("reason_code", "told"),
    [(0x84, 1), (0x85, 2), (0x88, 3), (0x89, 3), (0x86, 4), (0x87, 5), (0x8A, 5), (0x97, None), (0x80, None)],
)
def test_older_clients_are_refused_with_a_return_code_of_their_own(
    reason_code: int, told: int | None
) -> None:
    connection = made()
    connection.refuse_connect(reason_code, "no", None, NOW)
    assert reason_codes(said(connection, 4)) == ([told] if told else [])


@statement("5.0/MQTT-3.2.2-8", "5.0/MQTT-3.14.2-1")
@each("reason_code", range(0x80, 0xA3))
def test_only_reason_codes_of_the_packet_are_sent(reason_code: int) -> None:
    connection = made()
    connection.version = 5
    connection.refuse_connect(reason_code, "", None, NOW)
    connection.state = CONNECTED
    connection.send_disconnect(reason_code, "", None)
    refusal, goodbye = reason_codes(said(connection))  # decoding refuses what is not in the tables
    assert refusal >= 0x80
    assert goodbye >= 0x80


def test_reasons_are_cut_where_they_are_long() -> None:
    connection = made(5)
    connection.send_disconnect(0x81, "x" * 100_000, None)
    (goodbye,) = said(connection)
    assert goodbye == p.Disconnect(0x81, properties(reason_string="x" * LONGEST_REASON))


# ---- packets of clients ----


@statement("5.0/MQTT-4.13.1-1")
@pytest.mark.parametrize("raw", ["2003000000", "d000", "9004 0001 00 00", "b004 0001 00 00"])
def test_packets_of_servers_are_protocol_errors(raw: str) -> None:
    connection = made(5)
    connection.receive(bytes.fromhex(raw), NOW)
    assert reason_codes(said(connection)) == [0x82]


@statement("5.0/MQTT-3.4.2-1", "5.0/MQTT-3.5.2-1")
@pytest.mark.parametrize(("qos", "answer"), [(1, p.Puback(7, 0x80)), (2, p.Pubrec(7, 0x80))], ids=["1", "2"])
def test_a_message_nobody_takes_is_refused(qos: int, answer: p.Packet) -> None:
    connection = made(5)
    connection.receive(encode(p.Publish("t", b"x", qos, packet_id=7), 5), NOW)
    assert said(connection) == [answer]
    assert connection.receive_quota == 65535


@statement("5.0/MQTT-3.2.2-15")
@pytest.mark.parametrize("cut", [1, 3, 999])
def test_the_size_of_a_packet_counts_however_it_comes(cut: int) -> None:
    connection = made(5)
    fits = encode(p.Publish("t", bytes(993)), 5)
    assert len(fits) == 1000
    for data, codes in ((fits, []), (encode(p.Publish("t", bytes(994)), 5), [0x95])):
        connection.receive(data[:cut], NOW)
        connection.receive(data[cut:], NOW)
        assert reason_codes(said(connection))[:1] == codes


def test_bytes_wait_while_it_is_paused_and_are_worked_on_in_order() -> None:
    connection = made(5)
    connection.paused = True
    ping, pubrel = encode(p.Pingreq(), 5), encode(p.Pubrel(3), 5)
    for piece in (ping, pubrel[:1], pubrel[1:], ping):
        connection.receive(piece, NOW)
    assert connection.output == []
    assert connection.waiting_bytes() == 8
    connection.paused = False
    connection.proceed(NOW)
    assert said(connection) == [p.Pingresp(), p.Pubcomp(3, 0x92), p.Pingresp()]
    assert connection.waiting_bytes() == 0


def test_the_pieces_of_a_large_packet_wait_for_the_last_one() -> None:
    connection = made(5)
    whole = encode(p.Publish("t", bytes(900), 1, packet_id=1), 5)
    connection.receive(whole[:1], NOW)
    for start in range(1, 800, 100):
        connection.receive(whole[start : start + 100], NOW)
    assert len(connection._tail) > 1
    assert connection.waiting_bytes() == 801
    connection.receive(whole[801:], NOW)
    assert said(connection) == [p.Puback(1, 0x80)]


# ---- answers that wait ----


def test_answers_wait_for_the_records_made_meanwhile_and_for_each_other() -> None:
    connection = made(5)
    journal = connection.journal = Journal()
    connection.receive_quota = connection.receive_quota_maximum = 2
    connection.receive_quota -= 1
    before = connection.journal_length()
    journal.add(SessionEnded(1))
    connection.answer(encode(p.Puback(1), 5), before, 1)
    connection.answer(encode(p.Puback(2), 5), connection.journal_length())  # made no records
    assert connection.output == []
    assert connection.receive_quota == 1
    connection.release(journal.number - 1, NOW)
    assert connection.output == []
    connection.release(journal.number, NOW)
    assert said(connection) == [p.Puback(1), p.Puback(2)]
    assert connection.receive_quota == 2
    connection.answer(encode(p.Puback(3), 5), connection.journal_length())
    assert said(connection) == [p.Puback(3)]


@statement("5.0/MQTT-4.9.0-1")
def test_credit_never_exceeds_the_maximum() -> None:
    connection = made(5)
    connection.receive_quota = connection.receive_quota_maximum = 5
    connection.return_credit(3)
    assert connection.receive_quota == 5


# ---- acknowledgements of the wrong kind ----


@statement(
    "5.0/MQTT-2.2.1-5", "5.0/MQTT-4.3.2-3", "5.0/MQTT-4.3.3-3", "5.0/MQTT-4.13.1-1", "3.1.1/MQTT-4.8.0-1"
)
@each("version", [3, 4, 5])
@each("is_burst", [False, True])
@each(
    ("qos", "answer"),
    [
        (1, p.Pubrec(1)),
        (1, p.Pubrec(1, 0x80)),
        (1, p.Pubcomp(1)),
        (2, p.Puback(1)),
        (2, p.Pubcomp(1)),
        (3, p.Puback(1)),
    ],
)
def test_an_acknowledgement_of_the_wrong_kind_ends_the_connection(
    version: int, is_burst: bool, qos: int, answer: p.Packet
) -> None:
    if version != 5 and answer == p.Pubrec(1, 0x80):
        return  # there is no Reason Code
    connection = made(version)
    assert connection.session is not None
    outgoing = connection.session.outgoing
    outgoing.open(10)
    if is_burst and qos == 1:
        outgoing.add_burst(Burst(b"t", b"\x32\x05\x00\x01t\x00\x01", 7, 7, 1, 1, b"", NOW))
    else:
        outgoing.start(Outgoing(ApplicationMessage(b"t", b"", 2, False), min(qos, 2), False), NOW)
    if qos == 3:  # PUBREC has come already
        outgoing.received(1, NOW)
    connection.receive(encode(answer, version), NOW)
    if version == 5:
        assert reason_codes(said(connection)) == [0x82]
    else:
        assert connection.output == []
    assert len(outgoing.unfinished()) == 1  # it is not taken for an answer


@pytest.mark.parametrize("version", [3, 4, 5])
def test_an_acknowledgement_of_nothing_does_no_harm(version: int) -> None:
    connection = made(version)
    for packet in (p.Puback(7), p.Pubrec(7), p.Pubcomp(7), p.Pubrel(7)):
        connection.receive(encode(packet, version), NOW)
    assert [type(packet) for packet in said(connection, version)] == [p.Pubrel, p.Pubcomp]
    assert connection.state == CONNECTED
