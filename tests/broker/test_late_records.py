"""That a message was delivered rides along with the next batch, or comes a moment later by itself."""

from __future__ import annotations

import pytest

from curier.broker.effects import Commit
from curier.broker.late_records import MOST, SECONDS
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.session.records import Delivered, MessageRemoved, MessageSaved, Queued, Record, Sent
from tests.broker.client import Client
from tests.broker.harness import FOREVER, Net


class Served:
    """A broker with a disk, whose driver says what time it is: a publisher, and a receiver that is kept."""

    def __init__(self, qos: int) -> None:
        self.net = Net("journal")
        self.reader = self.net.connect("reader", expiry=FOREVER)
        self.reader.send(p.Subscribe(1, [("t", qos)], None))
        self.reader.pop(p.Suback)
        self.writer = self.net.connect("writer")
        self.publish(1, qos)
        self.qos = qos

    def publish(self, packet_id: int, qos: int = 1) -> p.Publish:
        self.writer.send(p.Publish("t", b"x", qos, False, False, packet_id, None))
        self.writer.take()
        return self.reader.pop(p.Publish)

    def batch(self) -> list[Record] | None:
        """That which the store would be given now, and which is durable then."""
        effects = [one for one in self.net.core.take_effects(self.net.now) if isinstance(one, Commit)]
        for effect in effects:
            self.net.core.committed(effect.batch.number, self.net.now)
        return effects[0].batch.records if effects else None

    def hear(self, client: Client, packet: p.Packet) -> None:
        """Bytes come, without the end of the turn."""
        self.net.core.receive(client.connection, encode(packet, 5), self.net.now)


def kinds(records: list[Record] | None) -> list[type[Record]]:
    assert records is not None
    return [type(record) for record in records]


def test_it_rides_along_with_the_next_message() -> None:
    served = Served(1)
    served.hear(served.reader, p.Puback(1))
    assert served.batch() is None
    assert served.net.core.journal is not None
    assert served.net.core.journal.count() == 2
    served.hear(served.writer, p.Publish("t", b"y", 1, False, False, 2, None))
    expected = [Delivered, MessageRemoved, MessageSaved, Queued, Sent]
    assert kinds(served.batch())[:5] == expected
    assert served.batch() is None


def test_where_nothing_comes_it_is_a_batch_of_its_own() -> None:
    served = Served(1)
    served.hear(served.reader, p.Puback(1))
    assert served.batch() is None
    due = served.net.core.next_deadline()
    assert due == pytest.approx(served.net.now + SECONDS)
    served.net.now = due
    served.net.core.deadline_reached(due)
    assert kinds(served.batch()) == [Delivered, MessageRemoved]
    assert served.batch() is None
    served.net.now += 10
    served.net.core.deadline_reached(served.net.now)
    assert served.batch() is None


def test_many_do_not_wait() -> None:
    served = Served(1)
    journal = served.net.core.journal
    assert journal is not None
    while journal.count() < MOST:
        journal.add_later(Delivered(1, 10_000))
    assert served.batch() is None
    journal.add_later(Delivered(1, 10_000))
    assert len(served.batch() or []) == MOST + 1


def test_what_a_receiver_waits_for_does_not_wait() -> None:
    """PUBREL for its PUBREC; nobody waits for what its PUBCOMP says."""
    served = Served(2)
    served.hear(served.reader, p.Pubrec(1))
    assert served.batch() is not None
    served.hear(served.reader, p.Pubcomp(1))
    assert served.batch() is None


def test_an_answer_that_waits_for_it_does_not_wait_longer() -> None:
    """Whatever it is that made the record: who is held takes the batch along."""
    served = Served(1)
    core = served.net.core
    journal = core.journal
    assert journal is not None
    before = journal.length
    journal.add_later(Delivered(1, 10_000))
    connection = served.writer.connection
    connection.answer(b"\xd0\x00", before)
    assert kinds(served.batch()) == [Delivered]
    assert connection.take_output() == b"\xd0\x00"


def test_a_broker_that_stops_leaves_nothing_for_later() -> None:
    served = Served(1)
    served.hear(served.reader, p.Puback(1))
    assert served.batch() is None
    served.net.core.shut_down(served.net.now)
    assert Delivered in kinds(served.batch())
