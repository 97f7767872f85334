"""What a restart finds goes on where it was: expiry counts from before, wills are due, flows continue."""

from __future__ import annotations

from curier.broker.effects import Commit
from curier.broker.restoring import SAVED_PER_STEP
from curier.broker.retaining import writer_of
from curier.codec import packets as p
from curier.session.message import ApplicationMessage
from curier.session.records import (
    IdentifierTaken,
    MessageSaved,
    Queued,
    Received,
    Record,
    Retained,
    Sent,
    SessionSaved,
    Subscribed,
    WillSaved,
)
from tests.broker.client import Client
from tests.broker.harness import FOREVER, Net
from tests.store.history import restored

NOW = 1_700_000_000.25


def restart(*records: Record) -> Net:
    """A broker that finds these records at ``NOW``."""
    net = Net("journal")
    net.now = NOW
    net.core = restored([list(records)], NOW)
    net.turn()
    return net


def message(payload: bytes, expires_at: float = 0.0, topic: bytes = b"t") -> ApplicationMessage:
    return ApplicationMessage(topic, payload, 2, False, b"", expires_at)


def queued(number: int, payload: bytes, qos: int = 1, expires_at: float = 0.0) -> list[Record]:
    return [
        MessageSaved(number, message(payload, expires_at)),
        Queued(1, number + 100, number, qos, False, b"", b""),
    ]


def back(net: Net, name: str = "a") -> Client:
    client = net.send_connect(name, False, session_expiry_interval=FOREVER)
    assert client.pop(p.Connack).session_present
    return client


def test_a_session_that_was_away_ends_when_it_would_have() -> None:
    net = restart(SessionSaved(1, "a", 5, 100, NOW + 10), SessionSaved(2, "b", 5, 100, NOW - 1))
    net.advance(9)
    assert list(net.core.sessions) == ["a"]
    net.advance(1)
    assert not net.core.sessions


def test_a_session_that_was_connected_ends_its_expiry_interval_after_the_restart() -> None:
    net = restart(SessionSaved(1, "a", 5, 100, 0.0), SessionSaved(2, "b", 5, FOREVER, 0.0))
    net.advance(99)
    assert "a" in net.core.sessions
    net.advance(1)
    net.advance(1e9)
    assert list(net.core.sessions) == ["b"]


def test_a_second_restart_does_not_begin_the_expiry_interval_anew() -> None:
    net = restart(SessionSaved(1, "a", 5, 100, 0.0))
    journal = net.core.journal
    assert journal is not None
    assert net.core.sessions["a"].ends_at == NOW + 100
    assert journal.number == 2  # and the store has been told so


def test_the_sessions_a_crash_has_left_are_saved_bit_by_bit() -> None:
    many = 2 * SAVED_PER_STEP + 1
    core = restored([[SessionSaved(1 + n, f"s{n}", 5, 100, 0.0) for n in range(many)]], NOW)
    saved: list[str] = []
    steps: list[int] = []
    while core.next_deadline() < NOW + 50:
        steps.append(0)
        for effect in core.take_effects():
            assert isinstance(effect, Commit)
            for record in effect.batch.records:
                assert isinstance(record, SessionSaved)
                assert record.ends_at == NOW + 100
                saved.append(record.client_id)
                steps[-1] += 1
            core.committed(effect.batch.number, NOW)
        core.deadline_reached(core.next_deadline())
    assert steps == [SAVED_PER_STEP, SAVED_PER_STEP]
    (last,) = core.take_effects()
    assert isinstance(last, Commit)
    assert len({*saved, *(r.client_id for r in last.batch.records if isinstance(r, SessionSaved))}) == many


def test_a_session_that_came_back_or_ended_meanwhile_is_not_saved_as_away() -> None:
    many = SAVED_PER_STEP + 2
    net = Net("journal")
    net.commits = False
    net.now = NOW
    net.core = restored([[SessionSaved(1 + n, f"s{n}", 5, 100, 0.0) for n in range(many)]], NOW)
    net.turn()
    net.commit()
    net.send_connect("s0", False, session_expiry_interval=100)
    net.commit()
    net.send_connect("s1", True)
    net.commit()
    last: list[Record] = []
    while net.core.next_deadline() < NOW + 50:
        net.advance(net.core.next_deadline() - net.now)
        while net.batches:
            last += net.batches[0].batch.records
            net.commit()
    assert [(one.client_id, one.ends_at) for one in last if isinstance(one, SessionSaved)] == [("s0", 0.0)]


def test_messages_expire_by_the_clock_not_by_the_life_of_the_broker() -> None:
    net = restart(
        SessionSaved(1, "a", 5, FOREVER, 0.0),
        *queued(10, b"gone", expires_at=NOW - 1),
        *queued(11, b"soon", expires_at=NOW + 5),
        *queued(12, b"later", expires_at=NOW + 60.5),
    )
    net.advance(6)
    (came,) = back(net).messages()
    assert came.payload == b"later"
    assert came.properties is not None
    assert came.properties.message_expiry_interval == 55


def test_retained_messages_expire_too() -> None:
    net = restart(
        MessageSaved(1, message(b"x", NOW + 5)),
        Retained(b"t", 1),
        MessageSaved(2, message(b"y", topic=b"u")),
        Retained(b"u", 2),
    )
    net.advance(100)
    assert net.core.retained.get(b"t") is None
    assert net.core.retained.get(b"u") is not None


def test_who_retained_something_and_when_is_known_after_a_restart() -> None:
    net = Net("journal")
    net.now = NOW
    net.connect("lamp").publish("a", b"x", qos=1, retain=True)
    net = restart(*net.records)
    kept = net.core.retained.get(b"a")
    assert kept is not None
    assert (kept.written_at, writer_of(kept)) == (NOW, "lamp")


def test_a_delayed_will_is_published_when_it_was_due() -> None:
    net = restart(SessionSaved(1, "a", 5, FOREVER, 0.0), WillSaved(1, message(b"gone"), 30, -1, NOW + 20))
    watcher = net.connect("watcher")
    watcher.subscribe("t")
    net.advance(19)
    assert watcher.take() == []
    net.advance(1)
    assert watcher.message().payload == b"gone"


def test_the_will_of_a_client_that_was_connected_waits_its_delay() -> None:
    net = restart(SessionSaved(1, "a", 5, FOREVER, 0.0), WillSaved(1, message(b"gone"), 30, -1, 0.0))
    watcher = net.connect("watcher")
    watcher.subscribe("t")
    back(net)  # in time: it is not published [MQTT-3.1.3-9]
    net.advance(100)
    assert watcher.take() == []


def test_what_was_sent_is_sent_again_with_its_identifier_and_what_was_received_is_released() -> None:
    net = restart(
        SessionSaved(1, "a", 5, FOREVER, 0.0),
        Subscribed(1, b"t", 2, 0),
        *queued(10, b"once", 2),
        *queued(11, b"twice", 2),
        *queued(12, b"thrice", 2),
        *queued(13, b"waits", 2),
        Sent(1, 110, 7),
        Sent(1, 111, 8),
        Sent(1, 112, 9),
        Received(1, 112, 20),
        Received(1, 110, 21),
    )
    client = back(net)
    came = client.take()
    assert came[:2] == [p.Pubrel(9), p.Pubrel(7)]  # in the order of PUBREC [MQTT-4.6.0-4]
    again, new = came[2:]
    assert isinstance(again, p.Publish)
    assert isinstance(new, p.Publish)
    assert (again.payload, again.dup, again.packet_id) == (b"twice", True, 8)
    assert (new.payload, new.dup) == (b"waits", False)
    assert new.packet_id not in (7, 8, 9)


def test_a_message_that_was_received_is_not_delivered_again() -> None:
    net = restart(SessionSaved(1, "a", 5, FOREVER, 0.0), Subscribed(1, b"t", 2, 0), IdentifierTaken(1, 5))
    client = back(net)
    client.send(p.Publish("t", b"again", 2, True, False, 5, None))
    assert client.take() == [p.Pubrec(5)]
    client.send(p.Pubrel(5))
    assert client.take() == [p.Pubcomp(5)]


def test_a_session_without_expiry_does_not_outlive_the_broker() -> None:
    net = restart(SessionSaved(1, "a", 5, 0, 0.0), WillSaved(1, message(b"gone", topic=b"w"), 0, -1, 0.0))
    assert not net.core.sessions
