"""Schedules in which a node dies, is paused or leaves, and others have its sessions and wills."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import pytest

from curier.cluster.life import LASTS
from curier.cluster.node import WAITS
from curier.cluster.orders import SESSIONS, Write
from curier.cluster.records import Frame, Seal, SessionRecord
from tests.cluster.people import Person, wrongs
from tests.cluster.stage import Stage, loses


def test_published_at_another_node_just_behind_the_suback(stage: Stage) -> None:
    """Though that node reads nothing of what others do."""
    publisher = stage.person("w", "c")
    stage.world.bus.weather.cut_in.add("c")
    subscriber = stage.person("s", "b", {b"f": 1})
    sent = publisher.publish(b"f", 1)
    stage.world.run(5)
    stage.world.bus.weather.cut_in.clear()
    stage.until(lambda: sent.acknowledged and stage.numbers(subscriber) == [sent.number])


@pytest.mark.parametrize("what", ["the intent", "the frame"])
@pytest.mark.parametrize("fate", ["lose", "no answer", 4.0, 31.0, 33.0, 35.0, 37.0, 40.0])
def test_the_node_of_a_qos_2_publisher_dies(stage: Stage, what: str, fate: str | float) -> None:
    """Between what it writes, or while that is under way: the message is there once."""
    subscriber = stage.person("s", "b", {b"f": 2})
    publisher = stage.person("w", "a")
    wanted = SessionRecord if what == "the intent" else Frame

    def intercept(name: str, write: Write) -> str | float | None:
        if name == "a" and isinstance(write.value, wanted):
            stage.world.later(0.5, lambda: stage.world.kill("a"))
            stage.where["w"] = "c"
            return fate
        return None

    stage.world.intercept = intercept
    sent = publisher.publish(b"f", 2)
    stage.until(lambda: sent.acknowledged and stage.numbers(subscriber))
    stage.world.run(30)
    assert stage.written(sent.number) == 1
    assert stage.numbers(subscriber) == [sent.number]


def test_a_message_of_qos_2_is_there_once_though_two_owners_die(stage: Stage) -> None:
    """The first before its frame was stored, the second behind that and before PUBREC."""
    reader = stage.person("s", "c", {b"f": 2})
    publisher = stage.person("w", "a")
    owners: list[str] = []

    def intercept(name: str, write: Write) -> str | None:
        if isinstance(write.value, Frame) and len(owners) < 2:
            owners.append(name)
            stage.where["w"] = "bc"[len(owners) - 1]
            stage.world.later(0.2, lambda: stage.world.kill(name))
            return "lose" if len(owners) == 1 else "no answer"
        return None

    stage.world.intercept = intercept
    sent = publisher.publish(b"f", 2)
    stage.until(lambda: sent.acknowledged, within=200)
    stage.until(lambda: stage.numbers(reader))
    stage.world.run(10)
    assert owners == ["a", "b"]
    assert stage.written(sent.number) == 1
    assert stage.numbers(reader) == [sent.number]


def test_sessions_of_the_dead_are_taken_a_few_at_a_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be a hundred thousand. One that its client asks for is not in that line."""
    people = [stage.person(f"s{number}", "a", {b"f": 1}) for number in range(12)]
    publisher = stage.person("w", "c")
    monkeypatch.setattr("curier.cluster.node.ADOPTED_AT_ONCE", 2)
    stage.world.kill("a")  # where all but one of them wait
    stage.where["s0"] = "b"
    sent = publisher.publish(b"f", 1)
    most: list[int] = []

    def all_are_taken() -> bool:
        for name in "bc":
            node = stage.world.nodes[name].node
            most.append(len(node._adopted))
            assert node.claims <= 2 + len(node._wishes)
        return all(stage.record(person.name).owner.name in ("b", "c") for person in people)

    stage.until(lambda: sent.acknowledged)
    stage.until(all_are_taken)
    assert max(most) == 2
    stage.until(lambda: stage.numbers(people[0]) == [sent.number])
    for person in people[1:]:
        stage.move(person, "b")
    stage.until(lambda: all(stage.numbers(person) == [sent.number] for person in people))
    assert not any(stage.world.nodes[name].node._orphans for name in "bc")


@pytest.mark.parametrize("seconds", [5.0, 20.0, 60.0])
def test_a_node_that_was_paused_does_nothing_before_it_knows(stage: Stage, seconds: float) -> None:
    """It wakes with messages in hand. If it was called dead meanwhile, others have its clients."""
    subscriber = stage.person("s", "a", {b"f": 2})
    publisher = stage.person("w", "c")
    stage.world.pause("a")
    sent = [publisher.publish(b"f", 2).number for _ in range(3)]
    stage.where["s"] = "b"
    subscriber.drop()
    stage.world.run(seconds)
    stage.world.resume("a")
    stage.until(lambda: stage.numbers(subscriber) == sent)
    stage.world.run(10)
    assert stage.world.nodes["a"].node.ground.is_dead is (seconds > LASTS)


def test_a_client_whose_session_is_at_a_dead_node_is_told_so_in_time(stage: Stage) -> None:
    client = stage.person("s", "a", {b"f": 1})
    stage.world.kill("a")
    stage.where["s"] = "b"
    began = stage.world.now
    stage.until(lambda: client.denied)
    assert client.denied[0] == 0x88
    assert stage.world.now - began < 10  # which is when a broker closes who has not logged in
    stage.until(lambda: client.is_connected)
    assert client.presents[-1]


def test_a_node_does_not_ask_for_a_session_whose_client_has_gone_back(stage: Stage) -> None:
    person = stage.person("s", "a")
    stage.world.bus.weather.cut_in.add("b")
    stage.move(person, "b")
    stage.world.run(3)
    assert not person.is_connected
    stage.move(person, "a")
    stage.until(lambda: person.is_connected)
    connection = person.connection
    stage.world.bus.weather.cut_in.clear()
    stage.world.run(20)
    assert person.connection == connection
    assert stage.record("s").owner.name == "a"


def test_a_session_that_was_released_and_that_nobody_took_is_taken_back(stage: Stage) -> None:
    """Or nobody would publish its will."""
    watcher = stage.person("v", "c", {b"will/#": 1})
    person = stage.person("s", "a", will_delay=30)

    def intercept(name: str, write: Write) -> str | None:
        if name == "b" and write.subject == "s":
            stage.world.later(0, lambda: stage.world.kill("b"))
            person.rests = True
            return "lose"
        return None

    stage.world.intercept = intercept
    stage.move(person, "b")
    stage.until(lambda: stage.record("s").is_released)
    stage.until(lambda: not stage.record("s").is_released, within=15)
    assert stage.record("s").owner.name == "a"
    stage.until(lambda: stage.numbers(watcher), within=60)


def test_a_node_that_wakes_says_nothing_to_a_client_that_others_have(stage: Stage) -> None:
    """Its first connection still stands there, and the messages of a minute are in hand."""
    first = Person(stage.ledger, "s", lambda: "a", {b"f": 1})
    first.come()
    stage.until(lambda: first.subscribed)
    publisher = stage.person("w", "c")
    stage.world.pause("a")
    first.rests = True
    sent = [publisher.publish(b"f", qos).number for qos in (1, 2, 0)][:2]
    stage.world.run(5)
    second = stage.person("s", "b", {b"f": 1})
    stage.until(lambda: set(stage.numbers(second)) >= set(sent))
    stage.world.run(10)
    stage.world.resume("a")
    stage.world.run(30)
    assert first.connection is None
    assert stage.numbers(first) == []
    assert second.is_connected


@pytest.mark.parametrize("fate", ["no answer", "lose", 5.0])
def test_a_claim_without_answer_is_read_back(stage: Stage, fate: str | float) -> None:
    subscriber = stage.person("s", "a", {b"f": 1})
    tried: list[Write] = []

    def intercept(name: str, write: Write) -> str | float | None:
        if name == "b" and write.subject == "s" and len(tried) < 2:
            tried.append(write)
            return fate
        return None

    stage.world.intercept = intercept
    stage.move(subscriber, "b")
    stage.until(lambda: subscriber.is_connected)
    stage.world.run(10)
    assert subscriber.is_connected
    assert stage.record("s").owner.name == "b"


def test_a_will_is_published_once_though_heirs_die_too(stage: Stage) -> None:
    """The first heir dies with the will on its way into the log, the second finds it there or not."""
    for fate in ("lose", "no answer", 5.0):
        one = Stage(seed=3)
        watcher = one.person("s", "c", {b"will/#": 1})
        person = one.person("w", "a", will_delay=0)
        person.rests = True
        heirs: list[str] = []

        def intercept(
            name: str, write: Write, heirs: list[str] = heirs, one: Stage = one, fate: str | float = fate
        ) -> str | float | None:
            if isinstance(write.value, Frame) and not heirs:
                heirs.append(name)
                if name == "b":
                    one.world.later(0.5, lambda: one.world.kill("b"))
                return fate
            return None

        one.world.intercept = intercept
        one.world.kill("a")
        one.until(lambda: one.numbers(watcher), within=300)  # noqa: B023
        one.world.run(60)
        assert one.numbers(watcher) == [person.will]
        assert wrongs(one.ledger, one.people) == []


def test_the_will_of_a_session_that_has_ended_is_published_by_an_heir(stage: Stage) -> None:
    """There is nothing left of it but that its message is to be in the log."""
    watcher = stage.person("v", "c", {b"will/#": 1})
    person = stage.person("w", "a", lasts=0, will_delay=0)
    stage.world.intercept = lambda name, write: "lose" if name == "a" and write.stream >= 0 else None
    person.rests = True
    person.drop()
    stage.until(lambda: not stage.record("w").state, within=5)
    stage.world.kill("a")
    stage.until(lambda: stage.numbers(watcher) == [person.will])


def test_a_will_is_published_once_though_three_owners_die(stage: Stage) -> None:
    """The first heir's frame is lost, the second heir's is stored; it is the third that has to know."""
    person = stage.person("w", "a", will_delay=0)
    person.rests = True
    heirs: list[str] = []

    def intercept(name: str, write: Write) -> str | None:
        if isinstance(write.value, Frame) and len(heirs) < 2:
            heirs.append(name)
            stage.world.later(0.2, lambda: stage.world.kill(name))
            return "lose" if len(heirs) == 1 else "no answer"
        return None

    stage.world.intercept = intercept
    stage.world.kill("a")
    stage.until(lambda: len(heirs) == 1, within=100)
    stage.until(lambda: len(heirs) == 2, within=100)
    stage.world.start("a")
    stage.world.run(150)
    assert heirs[0] != heirs[1]
    assert stage.record("w").owner.name == "a"
    assert person.will is not None
    assert stage.written(person.will) == 1


def test_wills_that_an_heir_finds_come_in_their_order(stage: Stage) -> None:
    """Of connections of one client, that came and went while one batch was under way."""
    watcher = stage.person("v", "c", {b"will/#": 1})
    person = stage.person("w", "a", will_delay=0)
    other = stage.person("u", "a")
    lost = {b"x", b"will/w"}
    stage.world.intercept = loses("a", lost)
    other.publish(b"x", 1)
    stage.world.run(1)
    wills = []
    for _ in range(6):
        wills.append(person.will)
        person.drop()
        stage.world.run(1.5)
    person.rests = True
    person.drop()
    lost.discard(b"x")
    stage.until(lambda: len(stage.record("w").intents) >= 6, within=20)
    stage.world.kill("a")
    other.rests = True
    stage.until(lambda: len(stage.numbers(watcher)) >= 6, within=100)
    assert stage.numbers(watcher)[:6] == wills


def test_an_heir_does_not_give_what_was_published_before_the_subscribe(stage: Stage) -> None:
    """Though it reads that again, for what waited to be sent."""
    subscriber = stage.person("s", "a", {b"f": 1})
    publisher = stage.person("w", "c")
    subscriber.mute = frozenset({"puback"})
    wanted = []
    for _ in range(15):  # ten are on their way to the client, and five wait in the log
        wanted.append(publisher.publish(b"f", 1).number)
        stage.world.run(0.2)
    before = publisher.publish(b"g", 1)
    stage.until(lambda: before.acknowledged)
    subscriber.subscribe(b"g", 1)
    stage.until(lambda: b"g" in subscriber.subscribed)
    subscriber.mute = frozenset()
    stage.where["s"] = "b"
    stage.world.kill("a")
    stage.until(lambda: set(stage.numbers(subscriber)) >= set(wanted))
    stage.world.run(5)
    assert before.number not in stage.numbers(subscriber)


def test_a_client_that_is_back_within_the_will_delay_has_no_will(stage: Stage) -> None:
    watcher = stage.person("s", "c", {b"will/#": 1})
    person = stage.person("w", "a", will_delay=20)
    stage.move(person, "b")
    stage.until(lambda: person.is_connected)
    stage.world.run(60)
    assert stage.numbers(watcher) == []
    person.rests = True
    person.drop()
    stage.world.run(60)
    assert stage.numbers(watcher) == [person.will]


def test_a_session_of_a_dead_node_ends_when_its_time_is_over(stage: Stage) -> None:
    person = stage.person("s", "a", {b"f": 1}, lasts=10)
    person.rests = True
    stage.world.kill("a")
    stage.until(lambda: stage.record("s").is_over, within=100)
    publisher = stage.person("w", "c")
    stage.until(lambda: publisher.publish(b"f", 1))
    stage.where["s"] = "b"
    person.filters = {}
    person.come()
    stage.until(lambda: person.is_connected)
    stage.world.run(5)
    assert person.presents[-1] is False
    assert stage.numbers(person) == []


@pytest.mark.parametrize("late", [2.5, 40.0, 80.0])
def test_what_a_dead_node_wrote_late_is_not_behind_what_its_heir_wrote(stage: Stage, late: float) -> None:
    """The last value of a topic is the last that was acknowledged, whenever the old one arrives."""
    publisher = stage.person("w", "a")
    held: list[Write] = []

    def intercept(name: str, write: Write) -> float | None:
        if name == "a" and isinstance(write.value, Frame):
            held.append(write)
            return late
        return None

    stage.world.intercept = intercept
    publisher.publish(b"r", 1, retain=True)
    stage.world.run(1)
    stage.world.kill("a")
    stage.where["w"] = "b"
    newer = publisher.publish(b"r", 1, retain=True)
    stage.until(lambda: newer.acknowledged)
    stage.world.run(100)
    assert held
    subscriber = stage.person("s", "c", {b"r": 1})
    stage.until(lambda: stage.numbers(subscriber))
    assert stage.numbers(subscriber) == [newer.number]
    seals = [
        value
        for partition in range(stage.world.partitions)
        for _, _, value in stage.world.bus.streams[partition].entries
        if isinstance(value, Seal)
    ]
    assert seals


def test_a_session_that_cannot_be_read_stays_as_it_is(stage: Stage) -> None:
    """As another version of curier may have written it: its client is refused, and loses nothing."""
    subscriber = stage.person("s", "a", {b"f": 1})
    stage.world.run(3)
    stage.world.kill("a")
    sessions = stage.world.bus.streams[SESSIONS]
    good = stage.record("s")
    at = max(at for at, (_, subject, _) in enumerate(sessions.entries) if subject == "s")
    sequence = sessions.entries[at][0]
    sessions.entries[at] = (sequence, "s", replace(good, state=b"\xff" + good.state))
    stage.where["s"] = "b"
    stage.world.run(60)
    assert stage.world.unreadable
    assert not subscriber.is_connected
    bad = stage.record("s")
    assert bad.state == b"\xff" + good.state
    stage.until(lambda: stage.record("s").is_released, within=5)
    subscriber.go()
    stage.world.run(15)
    last = stage.record("s")
    sessions.entries.append((len(sessions.entries) + 1, "s", replace(last, state=good.state)))
    sessions.times.append(stage.world.now)
    stage.world.bus.lasts[SESSIONS, "s"] = len(sessions.entries)
    subscriber.come()
    stage.until(lambda: subscriber.is_connected)
    assert subscriber.presents[-1]


def test_two_processes_with_one_name(stage: Stage) -> None:
    """The second waits until the first is over."""
    first = stage.world.nodes["a"]
    second = stage.world.start("a")
    stage.world.run(50)
    assert first.node.is_open
    assert not second.node.is_open
    assert second.node.is_name_taken
    assert not first.node.is_name_taken
    first.is_gone = True
    stage.until(lambda: second.node.is_open)
    assert second.node.ground.boot.number == first.node.ground.boot.number + 1


def test_a_name_whose_process_was_killed_is_not_taken(stage: Stage) -> None:
    stage.world.kill("a")
    second = stage.world.start("a")
    stage.until(lambda: second.node.is_open)
    assert not second.node.is_name_taken


def test_a_node_may_leave_before_it_has_come(stage: Stage) -> None:
    """It waits for its last life to end, and is told to stop: nobody knows of it, so it ends at once."""
    stage.world.kill("a")
    second = stage.world.start("a")
    stage.world.run(5)
    assert not second.node.is_trusted
    stage.world.drain("a")
    assert second.node.ground.is_dead
    third = stage.world.start("a")
    stage.until(lambda: third.node.is_open)


def test_who_goes_on_while_its_session_is_read_for_finds_it_read(stage: Stage) -> None:
    """The log behind the session's place takes longer to read than its client waits anywhere."""
    reader = stage.person("s", "a", {b"f": 1})
    publisher = stage.person("w", "b")
    reader.go()
    sent = [publisher.publish(b"other", 1) for _ in range(5)]
    stage.until(lambda: all(one.acknowledged for one in sent))
    stage.world.kill("a")
    stage.world.reads_take = 2 * WAITS
    at = cycle("bc")
    reader.picks = lambda: next(at)
    reader.come()
    stage.until(lambda: reader.is_connected, within=LASTS + 20 * WAITS)
    assert reader.presents[-1]
