"""A session may have a million messages: what is done with all of them is done in pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest

from curier.broker import restoring
from curier.broker.core import BrokerCore
from curier.broker.effects import Commit
from curier.broker.leftovers import GONE
from curier.broker.queueing import LOOKED_THROUGH
from curier.broker.state import WORK_OF_QOS_1, WORK_PER_TURN
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.session.journal import Journal
from curier.session.outgoing import OutgoingFlow
from curier.session.records import Record, SessionEnded, SessionSaved
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties

PUMPED_AT_ONCE = WORK_PER_TURN // WORK_OF_QOS_1
MANY = 2 * WORK_PER_TURN + 10


def filled(make: Make, topic: str = "t", count: int = MANY, **options: int) -> Net:
    """A network where ``count`` messages wait for ``c``, who is away."""
    net = make(quiet(**options))
    client = net.connect("c", expiry=1000)
    client.subscribe(topic)
    client.drop()
    sender = net.connect("sender")
    for number in range(count):
        sender.publish("t", b"%d" % number, 1)
    return net


def steps(net: Net) -> int:
    """How many deadlines it takes until nothing is due any more."""
    count = 0
    while net.core.next_deadline() < net.now + 1:
        net.now = max(net.now, net.core.next_deadline())
        net.core.deadline_reached(net.now)
        net.turn()
        count += 1
    return count


def test_a_queue_is_sent_in_pieces(make: Make) -> None:
    net = filled(make, count=2 * PUMPED_AT_ONCE + 10)
    client = net.open()
    session = net.core.sessions["c"]
    seen: list[int] = []
    client.connection.receive(encode(p.Connect(5, "c", False), 5), net.now)
    for effect in net.core.take_effects():
        assert isinstance(effect, Commit)
        net.core.committed(effect.batch.number, net.now)
    while net.core.has_more_work():
        seen.append(len(session.outgoing.queue))
        net.core.continue_work(net.now)
    assert seen == [PUMPED_AT_ONCE + 10, 10]
    net.turn()
    assert client.pop(p.Connack).session_present
    assert [int(payload) for payload in client.payloads()] == list(range(2 * PUMPED_AT_ONCE + 10))


def test_a_session_with_many_messages_ends_in_pieces(make: Make) -> None:
    net = filled(make)
    net.connect("c", clean=True)
    assert net.core.statistics.queued_bytes == 0
    assert steps(net) == 2
    assert net.core.statistics.stored_payload == 0


def test_what_was_shared_goes_to_others_in_order(make: Make) -> None:
    net = filled(make, "$share/g/t")
    other = net.connect("other", expiry=1000)
    other.subscribe("$share/g/t")
    other.drop()
    net.connect("c", clean=True)
    assert steps(net) > 2 * WORK_OF_QOS_1  # it is more work than to forget them
    waiting = [entry.message.payload for entry in net.core.sessions["other"].outgoing.queue]
    assert waiting == [b"%d" % number for number in range(MANY)]
    assert net.core.statistics.stored_payload == sum(len(payload) for payload in waiting)


def held_by(flow: OutgoingFlow) -> int:
    """How many messages it keeps alive."""
    begun = [*flow.inflight.values(), *flow.releasing.values()]
    bursts = sum([burst.count for burst in flow.bursts])
    return len([entry for entry in begun if entry is not GONE]) + bursts + len(flow.queue)


@pytest.mark.parametrize("kind", ["plain", "identified", "qos 2", "unsent again"])
def test_unacknowledged_messages_of_many_sessions_are_forgotten_in_pieces(make: Make, kind: str) -> None:
    net = make()
    readers = [net.connect(f"r{number}", expiry=9) for number in range(3)]
    # One that is longer than those with which messages wait as bursts.
    values = {"subscription_identifiers": [3_000_000]} if kind == "identified" else {}
    for reader in readers:
        reader.send(p.Subscribe(1, [("t", 2)], properties(**values) if values else None))
    net.warm("t")
    sender = net.connect("sender")
    for _ in range(MANY // 10):
        sender.send(*[p.Publish("t", b"x", 2 if kind == "qos 2" else 1, packet_id=n) for n in range(1, 11)])
        sender.send(*[p.Pubrel(n) for n in range(1, 11)])
    if kind == "unsent again":
        for reader in readers:
            reader.drop()
        readers = [net.connect(f"r{number}", False, 9, receive_maximum=5) for number in range(3)]
    flows = [net.core.sessions[f"r{number}"].outgoing for number in range(3)]
    assert [held_by(flow) for flow in flows] == [MANY // 10 * 10] * 3
    net.core.end_turn()
    held = [sum([held_by(flow) for flow in flows])]
    for reader in readers:
        reader.connection.receive(encode(p.Disconnect(0, properties(session_expiry_interval=0)), 5), net.now)
    assert "r0" not in net.core.sessions
    net.turn()
    held.append(sum([held_by(flow) for flow in flows]))
    while net.core.next_deadline() < net.now + 1:
        net.now = net.core.next_deadline()
        net.core.deadline_reached(net.now)
        net.turn()
        held.append(sum([held_by(flow) for flow in flows]))
        assert [len(flow.resend) <= held_by(flow) for flow in flows] == [True] * 3
    assert held[-1] == 0
    if kind != "plain" or net.core.journal is not None:  # or they are a few pieces of memory
        assert max([before - after for before, after in pairwise(held)]) <= WORK_PER_TURN


def test_expired_messages_are_looked_for_in_pieces(make: Make) -> None:
    count = 2 * LOOKED_THROUGH
    net = make(quiet(max_queued_messages=count))
    client = net.connect("c", expiry=1000)
    client.subscribe("t")
    client.drop()
    sender = net.connect("sender")
    for number in range(count):
        sender.publish("t", b"%d" % number, 1, message_expiry_interval=10 if number % 2 else 100)
    net.advance(20)
    for number in range(LOOKED_THROUGH // 2):
        assert sender.publish("t", b"new %d" % number, 1) == 0
    assert sender.publish("t", b"too much", 1) == 0x97
    net.advance(2)
    assert sender.publish("t", b"later", 1) == 0
    waiting = [entry.message.payload for entry in net.core.sessions["c"].outgoing.queue]
    assert waiting[: LOOKED_THROUGH // 2] == [b"%d" % number for number in range(0, LOOKED_THROUGH, 2)]


def replayed(records: list[Record]) -> BrokerCore:
    core = BrokerCore(quiet(), 1_000_000.0, journal=Journal())
    restorer = restoring.Restorer(core)
    restorer.replay(records)
    restorer.finish(1_000_000.0)
    return core


@pytest.mark.parametrize("are_sent", [False, True])
@pytest.mark.parametrize("steps_done", [0, 1, MANY])
def test_a_crash_in_the_middle_of_an_end_is_made_good(steps_done: int, are_sent: bool) -> None:
    """All records up to then, replayed: nothing of the session is left, and others get what was shared."""
    net = Net("journal", quiet())
    for client_id in ("c", "other"):
        client = net.connect(client_id, expiry=1000)
        client.subscribe("$share/g/t" if client_id == "c" else "nothing")
        if client_id == "other" or not are_sent:
            client.drop()
    sender = net.connect("sender")
    for number in range(MANY):
        sender.publish("t", b"%d" % number, 1)
    other = net.connect("other", clean=False, expiry=1000)
    other.subscribe("$share/g/t")
    other.drop()
    net.connect("c", clean=True, expiry=1000).drop()
    for _ in range(steps_done):
        if net.core.next_deadline() > net.now + 1:
            break
        net.now = net.core.next_deadline()
        net.core.deadline_reached(net.now)
        net.turn()
    unnamed = [record for record in net.records if isinstance(record, SessionSaved) and not record.client_id]
    ended = [record for record in net.records if isinstance(record, SessionEnded)]
    assert (len(unnamed), len(ended)) == (1, 1 if steps_done < MANY else 2)
    core = replayed(net.records)
    while core.next_deadline() < net.now + 1:
        core.deadline_reached(core.next_deadline())
    assert set(core.sessions) == {"c", "other", "sender"} - {"sender"}
    assert core.sessions["c"].outgoing.unfinished() == []
    left = [int(entry.message.payload) for entry in core.sessions["other"].outgoing.queue]
    assert left == list(range(MANY))
    assert core.statistics.queued_bytes == core.sessions["other"].outgoing.queued_bytes
    assert core.statistics.stored_payload == core.sessions["other"].outgoing.queued_payload()
