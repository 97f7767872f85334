"""Schedules in which the log is cut in front while people come, go and die."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curier.cluster.floors import needs
from curier.cluster.ground import Ground
from curier.cluster.orders import LEASES, REFUSED, SESSIONS, SNAPSHOTS, Cut, Look, Sweep, Write
from curier.cluster.records import (
    AWAY,
    Boot,
    Frame,
    InLog,
    Intent,
    Lease,
    Message,
    Piece,
    Seal,
    SessionRecord,
    Snapshot,
)
from curier.cluster.snapshots import HEAD, Saving
from curier.cluster.states import WHOLE
from curier.cluster.writer import partition_of
from curier.session.message import ApplicationMessage
from tests.cluster.people import Person, Sent, wrongs
from tests.cluster.stage import Stage
from tests.cluster.world import THRIFTY

G = b"$share/g/f"
F = partition_of(b"f", 2)  # where messages on that topic stand
OTHER = next(topic for topic in (b"g", b"h", b"i", b"j", b"k") if partition_of(topic, 2) == F)


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage(thrift=THRIFTY)
    yield one
    assert wrongs(one.ledger, one.people) == []


def last(stage: Stage) -> int:
    return len(stage.world.bus.streams[F].entries)


def first(stage: Stage) -> int:
    return stage.world.bus.streams[F].first


def cut_up_to(stage: Stage, sequence: int, talker: Person) -> None:
    """Have the log go on until all up to there is gone."""

    stage.until(lambda: first(stage) > sequence or says(stage, talker), within=200)


def behind_a_dead_owner(stage: Stage) -> tuple[Person, Person, Sent, int]:
    """Who reads, was at node a, which is dead, and goes on to b; who talks; what the first is owed, which is
    stored; and where the log ends then.
    """
    reader, talker = stage.person("s", "a", {b"f": 2}), stage.person("w", "c")
    stage.world.run(5)
    stage.world.kill("a")
    stage.where["s"] = "b"
    sent = talker.publish(b"f", 2)
    stage.until(lambda: sent.acknowledged)
    return reader, talker, sent, last(stage)


def says(stage: Stage, talker: Person) -> bool:
    """Something, for the log to go on."""
    if len(talker.out) < 3:
        talker.publish(OTHER, 1)
    return False


def head(stage: Stage) -> Snapshot:
    stream = stage.world.bus.streams[SNAPSHOTS]
    value = stream.last_of(HEAD, len(stream.entries))[1]
    assert isinstance(value, Snapshot)
    return value


def retained(stage: Stage, node: str) -> dict[bytes, bytes]:
    tree = stage.world.nodes[node].core.retained
    found: dict[bytes, bytes] = {}
    for topic_filter in (b"#", b"$x/#"):
        walk = tree.walk(topic_filter)
        while not walk.done:
            found |= {one.topic: one.payload for one in walk.next(100)}
    return found


def test_a_session_without_traffic_holds_nothing(stage: Stage) -> None:
    """Its record is as old as can be. Who has it later misses nothing, and has nothing twice."""
    reader, talker = stage.person("s", "a", {b"f": 2}), stage.person("w", "c")
    one = talker.publish(b"f", 2)
    stage.until(lambda: stage.numbers(reader) == [one.number] and not talker.out)
    stage.world.run(5)
    places = stage.record("s").places
    cut_up_to(stage, places[F] + 20, talker)
    assert stage.record("s").places == places
    stage.world.kill("a")
    other = talker.publish(b"f", 2)
    stage.where["s"] = "b"
    stage.until(lambda: stage.numbers(reader) == [one.number, other.number])
    stage.world.run(10)
    assert stage.numbers(reader) == [one.number, other.number]


@pytest.mark.parametrize("whole", [0, WHOLE])
def test_what_waits_for_a_client_is_there_however_long_the_log_goes_on(whole: int) -> None:
    """In the record, and nothing is held; or in the log, which is not cut before the client has come."""
    stage = Stage(thrift=THRIFTY, whole=whole)
    reader, talker = stage.person("s", "a", {b"f": 2}), stage.person("w", "c")
    reader.go()
    stage.world.run(2)
    sent = [talker.publish(b"f", qos) for qos in (1, 2)]
    stage.until(lambda: all(one.acknowledged for one in sent))
    stage.world.run(3)
    at = last(stage)
    if whole:
        cut_up_to(stage, at, talker)
    else:
        for _ in range(40):
            talker.publish(OTHER, 1)
            stage.world.run(1)
        assert 1 < first(stage) <= at
        holders = {lease.holder for lease, _ in stage.world.nodes["b"].node.leases(stage.world.now)}
        assert holders == {"", "the session 's'"}
    stage.world.kill("a")
    stage.where["s"] = "b"
    reader.come()
    stage.until(lambda: stage.numbers(reader) == [one.number for one in sent])
    cut_up_to(stage, last(stage), talker)
    assert wrongs(stage.ledger, stage.people) == []


def test_a_message_stays_in_the_record_where_its_place_was_given_up() -> None:
    """It was whole there. When more come than a record has in it, it may not be looked for in the log."""
    size = ApplicationMessage(b"f", b"99", 2, False).size()
    stage = Stage(thrift=THRIFTY, whole=size + size // 2)
    reader, talker = stage.person("s", "a", {b"f": 2}), stage.person("w", "c")
    reader.go()
    stage.world.run(2)
    sent = [talker.publish(b"f", 2)]
    stage.until(lambda: sent[0].acknowledged)
    stage.world.run(3)
    assert not stage.record("s").in_log
    cut_up_to(stage, last(stage), talker)
    sent += [talker.publish(b"f", 2) for _ in range(3)]
    stage.until(lambda: all(one.acknowledged for one in sent))
    stage.until(lambda: len(stage.record("s").in_log) == 3)
    stage.world.kill("a")
    stage.where["s"] = "b"
    reader.come()
    stage.until(lambda: stage.numbers(reader) == [one.number for one in sent])
    assert wrongs(stage.ledger, stage.people) == []


def test_a_session_on_its_way_holds_what_it_has_to_be_given(stage: Stage) -> None:
    """Its heir cannot end the writing of the dead node for a minute."""
    reader, talker, sent, at = behind_a_dead_owner(stage)
    stage.world.intercept = lambda name, write: "lose" if isinstance(write.value, Seal) else None
    stage.until(lambda: stage.record("s").owner.name != "a")
    for _ in range(60):
        talker.publish(OTHER, 1)
        stage.world.run(1)
    assert first(stage) <= at
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: stage.numbers(reader) == [sent.number])


def test_a_claim_that_is_stored_holds_though_who_sent_it_does_not_know(stage: Stage) -> None:
    reader, talker, sent, at = behind_a_dead_owner(stage)
    seen: list[str] = []

    def intercept(name: str, write: Write) -> str | None:
        if not isinstance(write.value, SessionRecord) or write.subject != "s" or name == "a":
            return None
        seen.append(name)
        return "lose" if len(seen) > 1 else "no answer"

    stage.world.intercept = intercept
    stage.until(lambda: seen)
    for _ in range(60):
        talker.publish(OTHER, 1)
        stage.world.run(1)
    assert stage.record("s").owner.name == seen[0]
    assert first(stage) <= at
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: stage.numbers(reader) == [sent.number])


def test_a_session_given_up_unseen_is_in_the_renewal_that_follows(stage: Stage) -> None:
    """A node claims it from a dead one and gives it up before it has it, between renewals."""
    reader, talker = stage.person("s", "a", {b"f": 2}), stage.person("w", "c")
    stage.world.run(5)
    stage.world.kill("a")
    reader.go()
    sent = talker.publish(b"f", 2)
    stage.world.intercept = lambda name, write: "lose" if isinstance(write.value, Seal) else None
    stage.until(lambda: stage.record("s").owner.name != "a")
    heir = stage.record("s").owner.name
    for _ in range(20):
        talker.publish(OTHER, 1)
        stage.world.run(0.1)
    stage.where["s"] = "bc"[heir == "b"]
    reader.come()
    stage.world.run(2)
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: stage.numbers(reader) == [sent.number])
    records, leases = stage.world.bus.streams[SESSIONS], stage.world.bus.streams[LEASES]
    released, places = next(
        (when, one.places)
        for (_, name, one), when in zip(records.entries, records.times, strict=True)
        if name == "s" and isinstance(one, SessionRecord) and one.is_released
    )
    stage.until(lambda: leases.times[-1] > released + 20)
    floors = next(
        one.floors
        for (_, name, one), when in zip(leases.entries, leases.times, strict=True)
        if name == heir and isinstance(one, Lease) and when > released
    )
    assert floors[F] <= places[F]


def test_a_node_that_joins_reads_the_snapshot_and_what_came_since(stage: Stage) -> None:
    talker = stage.person("w", "b")
    stage.world.kill("c")
    kept = [(topic, talker.publish(topic, 1, retain=True)) for topic in (b"f", b"r/1", b"r/2", b"$x/y")]
    stage.until(lambda: all(one.acknowledged for _, one in kept))
    stage.world.run(40)  # what is left of the dead node's lease
    cut_up_to(stage, last(stage), talker)
    old = retained(stage, "a")
    assert set(old) == {b"f", b"r/1", b"r/2", b"$x/y"}
    late = talker.publish(b"f", 1, retain=True)
    stage.until(lambda: late.acknowledged)
    assert head(stage).places[F] < last(stage)
    process = stage.world.start("c")
    stage.until(lambda: stage.world.is_open("c"))
    assert retained(stage, "c") == old | {b"f": str(late.number).encode()}
    assert process.node.ground.applied[F] >= head(stage).places[F]


def test_a_node_that_joins_while_the_log_is_cut_in_front_of_it_begins_anew(stage: Stage) -> None:
    """It has read the snapshot before, and nothing of the log yet."""
    talker = stage.person("w", "b")
    kept = talker.publish(b"f", 1, retain=True)
    stage.until(lambda: kept.acknowledged)
    cut_up_to(stage, last(stage), talker)
    stage.world.intercept = lambda name, write: (
        "lose" if name == "d" and isinstance(write.value, Lease) else None
    )
    stage.world.bus.weather.lagging.add("d")
    process = stage.world.start("d")
    stage.until(lambda: process.node.ground.applied[F])
    begun = process.node.ground.applied[F]
    new = talker.publish(b"f", 1, retain=True)
    stage.until(lambda: new.acknowledged)
    cut_up_to(stage, last(stage), talker)
    stage.world.bus.weather.lagging.clear()
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: stage.world.is_open("d"))
    assert begun < first(stage)
    assert retained(stage, "d") == {b"f": str(new.number).encode()}


def test_a_node_has_no_client_before_its_line_in_each_partition_has_begun(stage: Stage) -> None:
    """What has a message in it is conditioned on that, and on no 0, which a cut brings back."""

    def intercept(name: str, write: Write) -> str | None:
        is_first = isinstance(write.value, Frame) and not write.value.number
        return "lose" if name == "d" and is_first and write.stream == F else None

    stage.world.intercept = intercept
    stage.world.start("d")
    stage.world.run(20)
    assert not stage.world.is_open("d")
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: stage.world.is_open("d"))


def test_the_late_frame_of_a_dead_writer_is_refused_though_its_seal_was_cut(stage: Stage) -> None:
    """Its first that has a message. The client has sent that again elsewhere, and it is in the log once."""
    reader, publisher = stage.person("s", "b", {b"f": 2}), stage.person("w", "a")
    talker = stage.person("v", "c")
    late: list[Write] = []

    def intercept(name: str, write: Write) -> str | None:
        if name == "a" and isinstance(write.value, Frame) and write.value.messages:
            if not late:
                late.append(write)
                stage.world.later(0.1, lambda: stage.world.kill("a"))
                stage.where["w"] = "c"
            return "lose"
        return None

    stage.world.intercept = intercept
    sent = publisher.publish(b"f", 2)
    stage.until(lambda: sent.acknowledged and stage.numbers(reader))
    cut_up_to(stage, last(stage), talker)
    assert (F, "a.1") not in stage.world.bus.lasts
    assert stage.world.bus.arrives(late[0], stage.world.now)[0] == REFUSED
    stage.world.run(10)
    assert stage.written(sent.number) == 1


def test_an_idle_writer_holds_nothing_and_can_write(stage: Stage) -> None:
    reader, idler = stage.person("s", "b", {b"f": 2}), stage.person("w", "c")
    talker = stage.person("v", "a")
    one = idler.publish(b"f", 2)
    stage.until(lambda: one.acknowledged)
    cut_up_to(stage, last(stage) + 30, talker)
    other = idler.publish(b"f", 2)
    stage.until(lambda: stage.numbers(reader) == [one.number, other.number])
    assert not stage.world.nodes["c"].node.ground.is_dead


def test_nothing_is_cut_while_a_session_has_an_owner_that_does_not_live(stage: Stage) -> None:
    """It may still write, and what that needs nobody knows. Nobody takes it here."""
    stage.person("s", "b", {b"f": 2})
    talker = stage.person("w", "a")
    stage.world.kill("b")
    stage.until(lambda: any(one.is_over for one, _ in stage.world.nodes["a"].node.leases(0)), within=60)
    stage.world.intercept = lambda name, write: (
        "lose" if isinstance(write.value, SessionRecord) and write.subject == "s" else None
    )
    began = stage.world.now
    stage.world.run(20)
    at = first(stage)
    for _ in range(60):
        talker.publish(OTHER, 1)
        stage.world.run(1)
    assert first(stage) == at
    assert "node b does not live" in stage.world.nodes["a"].node.cutter.why_not
    stage.world.intercept = lambda name, write: None
    assert stage.world.now > began
    cut_up_to(stage, last(stage), talker)


@pytest.mark.parametrize("fate", ["lose", 50.0, 200.0])
def test_an_order_to_cut_may_come_late_or_never(stage: Stage, fate: str | float) -> None:
    orders: list[Cut | Sweep] = []

    def intercept(order: Cut | Sweep) -> str | float | None:
        orders.append(order)
        return fate if len(orders) < 6 else None

    stage.world.intercept_cut = intercept
    reader, talker = stage.person("s", "b", {b"f": 2}), stage.person("w", "a")
    stage.until(lambda: len(orders) > 3 or says(stage, talker), within=200)
    stage.world.kill("a")  # who gave it
    stage.where["w"] = "c"
    sent = talker.publish(b"f", 2)
    stage.until(lambda: stage.numbers(reader) == [sent.number], within=200)
    stage.world.run(250)
    assert first(stage) > 1


def test_who_cuts_may_die_in_each_step(stage: Stage) -> None:
    """Its pieces, its head and its order come to nothing, or come late; another one goes on."""
    talker = stage.person("w", "b")
    kept = talker.publish(b"f", 1, retain=True)
    seen: list[str] = []

    def intercept(name: str, write: Write) -> str | float | None:
        if write.stream == SNAPSHOTS and name == "a" and len(seen) < 3:
            seen.append(write.subject)
            stage.world.later(0.05, lambda: stage.world.kill("a"))
            return 35.0
        return None

    stage.world.intercept = intercept
    stage.until(lambda: kept.acknowledged)
    stage.until(lambda: stage.world.nodes["a"].is_gone or says(stage, talker), within=200)
    assert seen
    cut_up_to(stage, last(stage), talker)
    stage.world.start("a")
    stage.until(lambda: stage.world.is_open("a"))
    assert retained(stage, "a") == {b"f": str(kept.number).encode()}


def test_a_record_needs_what_it_does_not_say() -> None:
    message = Message(("a", 1, 1), "me", b"f", b"", 2)
    plain = SessionRecord(Boot("a", 1), 1, 1, places=(7, 9), state=b"x")
    assert needs(plain, 2) == (7, 9)
    assert needs(plain, 2, with_places=False) == ()
    brief = SessionRecord(Boot("a", 1), 1, 1, is_brief=True, places=(7, 9), state=b"x")
    assert needs(brief, 2) == ()
    left = (InLog(1, 1, 4, 0), InLog(2, 1, 6, 0))
    waiting = SessionRecord(Boot("a", 1), 1, 1, places=(7, 9), state=b"x", in_log=left)
    assert needs(waiting, 2) == (7, 3)
    assert needs(waiting, 2, with_places=False)[1] == 3
    about = SessionRecord(
        Boot("a", 1), 1, 1, places=(7, 9), intents=(Intent(3, message, 0, 2, Boot("a", 1)),)
    )
    assert needs(about, 2)[0] == 2


def test_who_were_members_is_known_as_far_back_as_the_log_goes(stage: Stage) -> None:
    """At every node, and no further."""
    stays, roams, talker = (
        stage.person("m", "a", {G: 2}),
        stage.person("n", "b", {G: 2}),
        stage.person("w", "c"),
    )

    def oldest(name: str) -> int:
        groups = stage.world.nodes[name].node.groups
        changes = [one for _, _, _, changes in groups.export(F, last(stage)) for one in changes]
        return min([sequence for sequence, _, _ in changes], default=last(stage))

    begun = oldest("a")
    assert begun < 20
    for _ in range(3):
        at = last(stage)
        roams.drop()
        cut_up_to(stage, at, talker)
    stage.until(lambda: all(oldest(name) >= first(stage) for name in "abc"), within=20)
    sent = {talker.publish(b"f", 2).number for _ in range(10)}
    stage.until(lambda: {*stage.numbers(stays), *stage.numbers(roams)} == sent)


def test_who_were_members_is_known_where_an_order_to_cut_is_lost(stage: Stage) -> None:
    """The log has it all, and an heir at the node that wanted it cut reads it."""
    away, leaves, talker = (
        stage.person("m", "b", {G: 2}),
        stage.person("n", "c", {G: 2}),
        stage.person("w", "c"),
    )
    away.go()
    stage.until(lambda: stage.world.nodes["a"].node.groups.state(F, G, "m") == AWAY)
    stage.world.run(3)
    places = stage.record("m").places
    sent = [talker.publish(b"f", 2).number for _ in range(10)]
    stage.until(lambda: stage.numbers(leaves) == sent)
    leaves.unsubscribe(G)
    stage.until(lambda: not leaves.leaving)
    at = last(stage)
    stage.world.intercept_cut = lambda order: "lose"
    cutter = stage.world.nodes["a"].node.cutter
    stage.until(lambda: cutter.first[F] > at or says(stage, talker), within=200)
    assert first(stage) <= places[F]
    assert stage.record("m").places == places
    stage.where["m"] = "a"
    stage.world.kill("b")
    away.come()
    more = talker.publish(b"f", 2).number
    stage.until(lambda: more in stage.numbers(away))
    stage.world.run(3)
    assert stage.numbers(away) == [more]


def test_others_have_a_turn_between_two_steps_of_a_snapshot() -> None:
    ground = Ground("n", 1, lambda: 0.5)
    steps: list[float] = []

    class Long:
        kind = "long"

        def take(self) -> Iterator[Piece | None]:
            for _ in range(3):
                steps.append(ground.now)
                yield None

        def load(self, piece: Piece) -> None: ...
        def clear(self) -> None: ...

    Saving(ground, [Long()], "s", lambda snapshot: None).begin()
    (look,) = ground.orders
    assert isinstance(look, Look)
    ground.answer(look.token, 0, None)
    for turn in range(1, 4):
        assert len(steps) == turn
        assert ground.deadline is not None
        ground.set_time(ground.deadline, 0.0)
        ground.run_timers()
    assert isinstance(ground.orders[-1], Write)
