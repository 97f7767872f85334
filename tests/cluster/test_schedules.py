"""Schedules in which brokers have lost or doubled what they had acknowledged, or served a client twice."""

from __future__ import annotations

import pytest

from curier.cluster.life import LASTS, TRUSTED
from curier.cluster.orders import SESSIONS, Write
from curier.cluster.records import Frame, Lease
from curier.cluster.states import WHOLE
from curier.codec import packets as p
from curier.session.records import MessageSaved, Queued, SessionSaved
from tests.cluster.people import Person, wrongs
from tests.cluster.stage import Stage, loses


def test_a_client_that_moves_finds_what_was_acknowledged_meanwhile(stage: Stage) -> None:
    subscriber = stage.person("s", "a", {b"f": 1})
    publisher = stage.person("w", "c")
    stage.world.bus.weather.cut_in.add("a")  # its node does not read the log just now
    sent = publisher.publish(b"f", 1)
    stage.until(lambda: sent.acknowledged)
    stage.move(subscriber, "b")
    stage.world.run(1)
    stage.world.bus.weather.cut_in.clear()
    stage.until(lambda: stage.numbers(subscriber) == [sent.number])


def test_a_client_that_moves_to_a_node_that_has_read_less(stage: Stage) -> None:
    """What it has had already comes by there only now."""
    subscriber = stage.person("s", "a", {b"f": 2})
    publisher = stage.person("w", "c")
    stage.world.bus.weather.lagging.add("b")
    first = publisher.publish(b"f", 2)
    stage.until(lambda: stage.numbers(subscriber) == [first.number] and not subscriber.inside)
    stage.move(subscriber, "b")
    second = publisher.publish(b"f", 2)
    stage.world.run(5)
    stage.world.bus.weather.lagging.clear()
    stage.until(lambda: stage.numbers(subscriber) == [first.number, second.number])
    stage.world.run(5)
    assert stage.numbers(subscriber) == [first.number, second.number]


@pytest.mark.parametrize("mute", ["pubrec", "pubcomp"])
def test_qos_2_under_way_is_not_doubled_by_a_takeover(stage: Stage, mute: str) -> None:
    subscriber = stage.person("s", "a", {b"f": 2})
    publisher = stage.person("w", "c")
    subscriber.mute = frozenset({mute})
    sent = publisher.publish(b"f", 2)
    stage.until(lambda: stage.numbers(subscriber) == [sent.number])
    stage.world.run(2)
    subscriber.mute = frozenset()
    stage.move(subscriber, "b")
    stage.until(lambda: subscriber.is_connected)
    stage.world.run(10)
    assert stage.numbers(subscriber) == [sent.number]
    assert not subscriber.inside
    assert not stage.state("s", Queued)


def test_a_retry_after_two_minutes_without_answer_is_not_a_second_message(stage: Stage) -> None:
    subscriber = stage.person("s", "b", {b"f": 2})
    publisher = stage.person("w", "a")
    asked: list[Write] = []

    def intercept(name: str, write: Write) -> str | None:
        if isinstance(write.value, Frame) and not asked:
            asked.append(write)
            stage.world.later(0.1, lambda: setattr(stage.world.bus.weather, "is_down", True))
            return "no answer"
        return None

    stage.world.intercept = intercept
    sent = publisher.publish(b"f", 2)
    stage.world.run(150)
    assert sent.acknowledged is None
    stage.world.bus.weather.is_down = False
    stage.until(lambda: sent.acknowledged and stage.numbers(subscriber) == [sent.number])
    assert stage.written(sent.number) == 1


def test_a_session_is_not_released_before_its_frames_have_an_answer(stage: Stage) -> None:
    """Else the next owner would have to end the writing of a node that lives."""
    subscriber = stage.person("s", "b", {b"f": 2})
    publisher = stage.person("w", "a")
    held: list[Write] = []

    def intercept(name: str, write: Write) -> str | None:
        if isinstance(write.value, Frame) and not held:
            held.append(write)
            return "no answer"
        return None

    stage.world.intercept = intercept
    sent = publisher.publish(b"f", 2)
    stage.until(lambda: held)
    stage.move(publisher, "b")
    stage.until(lambda: sent.acknowledged and stage.numbers(subscriber) == [sent.number])
    stage.world.run(10)
    assert stage.written(sent.number) == 1
    assert stage.world.is_open("a")


def test_a_session_is_not_released_before_what_it_published_is_stored(stage: Stage) -> None:
    """Nor at QoS 1: what the client publishes at the next node would have an older value behind it."""
    publisher, other = stage.person("w", "a"), stage.person("u", "a")
    lost = {b"x", b"r"}
    stage.world.intercept = loses("a", lost)
    other.publish(b"x", 1)
    stage.world.run(1)
    publisher.publish(b"r", 1, retain=True)  # it waits for that, and goes with the end of its connection
    stage.world.run(1)
    stage.move(publisher, "b")
    stage.world.run(1)
    lost.discard(b"x")
    newer = publisher.publish(b"r", 1, retain=True)
    stage.world.run(10)
    lost.clear()
    stage.until(lambda: newer.acknowledged)
    stage.world.run(10)
    subscriber = stage.person("s", "c", {b"r": 1})
    stage.until(lambda: stage.numbers(subscriber))
    assert stage.numbers(subscriber) == [newer.number]


def test_an_intent_stays_while_its_message_is_under_way(stage: Stage) -> None:
    """Also when the record is written again meanwhile, for something else."""
    reader = stage.person("s", "c", {b"f": 2})
    publisher = stage.person("w", "a", {b"g": 1})
    other = stage.person("v", "c")
    other.publish(b"g", 1)
    stage.until(lambda: stage.numbers(publisher))
    stage.world.run(0.3)
    stage.world.intercept = lambda name, write: "lose" if name == "a" and write.stream >= 0 else None
    sent = publisher.publish(b"f", 2)
    stage.until(lambda: stage.record("w").intents)
    written = stage.record("w").write
    stage.until(lambda: stage.record("w").write > written, within=5)
    stage.where["w"] = "c"
    stage.world.kill("a")
    stage.until(lambda: sent.acknowledged and stage.numbers(reader) == [sent.number])


@pytest.mark.parametrize("whole", [0, WHOLE])
def test_what_waits_for_a_client_that_is_away_is_not_all_in_its_record(whole: int) -> None:
    """And its next node finds it, in order, as does the one behind that."""
    stage = Stage(whole=whole)
    subscriber = stage.person("s", "a", {b"f/#": 2})
    publisher = stage.person("w", "c")
    subscriber.mute = frozenset({"puback", "pubrec"})  # ten are with the client, and will be again
    sent = []
    for number in range(60):
        sent.append(publisher.publish(b"f/%d" % (number % 4), 1 + number % 2).number)
        stage.world.run(0.1)
    stage.until(lambda: not publisher.out)
    stage.world.run(3)
    record = stage.record("s")
    assert len(record.in_log) + len(stage.state("s", MessageSaved)) == 60
    assert len(record.in_log) == (0 if whole else 60)
    stage.where["s"] = "b"
    stage.world.kill("a")
    sent += [publisher.publish(b"f/5", 2).number for _ in range(5)]  # while nobody has the session
    stage.until(lambda: stage.record("s").owner.name == "b" and subscriber.is_connected)
    stage.world.run(5)
    assert len(stage.record("s").in_log) == (0 if whole else 65)
    stage.move(subscriber, "c")
    stage.until(lambda: subscriber.is_connected)
    subscriber.mute = frozenset()
    stage.move(subscriber, "b")
    stage.until(lambda: set(stage.numbers(subscriber)) == set(sent))
    stage.world.run(5)
    record = stage.record("s")
    assert not len(stage.world.nodes["b"].node.places)
    assert not record.in_log
    assert not stage.state("s", MessageSaved)
    assert wrongs(stage.ledger, stage.people) == []


def test_an_intent_stays_until_its_identifier_is_gone(stage: Stage) -> None:
    """An heir has found that the message is not in the log, and gives the session on before it wrote so."""
    reader = stage.person("s", "c", {b"f": 2})
    publisher = stage.person("w", "a", {b"g": 1})
    other = stage.person("v", "c")
    stage.world.bus.weather.lagging.add("b")
    other.publish(b"g", 1)
    stage.until(lambda: stage.numbers(publisher))

    def intercept(name: str, write: Write) -> str | None:
        if name == "a" and isinstance(write.value, Frame):
            stage.world.later(0.1, lambda: stage.world.kill("a"))
            return "lose"
        return None

    stage.world.intercept = intercept
    stage.where["w"] = "b"
    sent = publisher.publish(b"f", 2)
    stage.until(lambda: stage.record("w").owner.name == "b", within=100)
    stage.world.run(3)
    assert not publisher.is_connected, "its new node has not read so far"
    stage.move(publisher, "c")
    stage.world.run(3)
    stage.world.bus.weather.lagging.clear()
    stage.until(lambda: sent.acknowledged and stage.numbers(reader) == [sent.number])


def test_a_session_that_ends_with_its_connection_is_not_written_for_messages(stage: Stage) -> None:
    subscriber = stage.person("s", "a", {b"f": 2}, lasts=0)
    publisher = stage.person("w", "c")
    before = stage.record("s")
    for _ in range(5):
        sent = publisher.publish(b"f", 2)
        subscriber.publish(b"g", 2)
        stage.until(lambda: sent.number in stage.numbers(subscriber))  # noqa: B023
    stage.world.run(5)
    assert stage.record("s") == before
    subscriber.go()
    stage.until(lambda: stage.record("s").is_over and stage.record("s").is_released)


def test_a_hole_in_a_feed_is_filled_in_order(stage: Stage) -> None:
    subscriber = stage.person("s", "b", {b"f": 1})
    publisher = stage.person("w", "a")
    stage.world.bus.weather.hole = 0.5
    sent = []
    for _ in range(20):
        sent.append(publisher.publish(b"f", 1).number)
        stage.world.run(0.3)
    stage.world.bus.weather.hole = 0.0
    stage.until(lambda: stage.numbers(subscriber) == sent)


def test_what_a_node_says_while_it_is_not_trusted_is_held(stage: Stage) -> None:
    publisher = stage.person("w", "a")
    stage.world.bus.weather.cut_in.add("a")
    stage.world.run(TRUSTED + 3)
    node = stage.world.nodes["a"].node
    assert not node.is_trusted
    sent = publisher.publish(b"f", 1)
    late = Person(stage.ledger, "late", lambda: "a")
    late.come()
    stage.world.run(0.5)
    late.rests = True
    assert sent.acknowledged is None
    assert not late.is_connected, "a CONNECT is refused, with 0x88"
    stage.where["w"] = "b"
    stage.world.bus.weather.cut_in.clear()
    stage.until(lambda: sent.acknowledged)


def test_messages_for_a_session_that_nobody_owns_are_there_when_somebody_does(stage: Stage) -> None:
    subscriber = stage.person("s", "a", {b"f": 1})
    publisher = stage.person("w", "c")
    subscriber.rests = True
    stage.world.kill("a")
    sent = publisher.publish(b"f", 1)
    stage.until(lambda: sent.acknowledged, within=1.0)
    stage.where["s"] = "b"
    stage.until(lambda: stage.record("s").owner.name != "a")  # an heir has it, without a client
    stage.until(lambda: stage.state("s", SessionSaved)[0].ends_at)
    subscriber.come()
    stage.until(lambda: stage.numbers(subscriber) == [sent.number])
    assert subscriber.presents[-1]


def test_a_claim_from_an_old_read_fails_and_reads_again(stage: Stage) -> None:
    subscriber = stage.person("s", "a", {b"f": 1})
    publisher = stage.person("w", "c")
    stage.world.bus.weather.stale = 0.8
    for to in "bcabcab":
        sent = publisher.publish(b"f", 1)
        stage.move(subscriber, to)
        stage.until(lambda: sent.acknowledged and subscriber.is_connected)  # noqa: B023
    stage.until(lambda: len(set(stage.numbers(subscriber))) == 7)


def test_a_bus_that_is_away_for_longer_than_a_lease_is_nobodys_death(stage: Stage) -> None:
    stage.person("w", "a", will_delay=0)
    stage.world.bus.weather.is_down = True
    stage.world.run(3 * LASTS)
    stage.world.bus.weather.is_down = False
    stage.world.bus.weather.cut_out.add("c")  # it is heard of again later than the others
    stage.world.run(16)
    stage.world.bus.weather.cut_out.clear()
    stage.world.run(60)
    leases = [value for _, _, value in stage.world.bus.streams[-1].entries if isinstance(value, Lease)]
    assert not any(one.is_over for one in leases)
    assert all(stage.world.is_open(name) for name in "abc")
    assert all(count == 0 for count in stage.ledger.written().values()), "no will was published"


def test_without_quorum_nothing_is_acknowledged_and_all_resumes(stage: Stage) -> None:
    subscriber = stage.person("s", "b", {b"f": 1})
    publisher = stage.person("w", "a")
    stage.world.bus.weather.is_down = True
    sent = [publisher.publish(b"f", qos) for qos in (1, 2)]
    stage.world.run(20)
    assert [one.acknowledged for one in sent] == [None, None]
    stage.world.bus.weather.is_down = False
    stage.until(lambda: all(one.acknowledged for one in sent))
    stage.until(lambda: set(stage.numbers(subscriber)) == {1, 2})


def test_a_retained_message_that_was_acknowledged_reaches_who_subscribes_then(stage: Stage) -> None:
    """At a node that has not read it yet, and with the last sequence asked of a server that is behind."""
    publisher = stage.person("w", "a")
    for round_ in range(20):
        topic = b"r/%d" % round_
        values = [publisher.publish(topic, 1, retain=True) for _ in range(3)]
        stage.until(lambda: values[-1].acknowledged)  # noqa: B023
        stage.world.bus.weather.slow = 1.0
        stage.world.bus.weather.stale = 0.5
        subscriber = stage.person(f"s{round_}", "b", {topic: 1})
        stage.world.bus.weather.slow = 0.02
        stage.world.bus.weather.stale = 0.0
        stage.until(lambda: values[-1].number in stage.numbers(subscriber))  # noqa: B023
        assert stage.numbers(subscriber)[-1] == values[-1].number, "none goes backwards"


def test_a_suback_waits_until_its_node_has_read_what_is_retained(stage: Stage) -> None:
    publisher = stage.person("w", "a")
    older = publisher.publish(b"r", 1, retain=True)
    stage.until(lambda: older.acknowledged)
    stage.world.run(1)
    stage.world.bus.weather.lagging.add("b")
    newer = publisher.publish(b"r", 1, retain=True)
    stage.until(lambda: newer.acknowledged)
    subscriber = stage.person("s", "b")
    subscriber.subscribe(b"r", 1)
    stage.world.run(5)
    assert not subscriber.subscribed
    stage.world.bus.weather.lagging.clear()
    stage.until(lambda: subscriber.subscribed)
    stage.world.run(1)
    assert stage.numbers(subscriber) == [newer.number]


def test_who_goes_before_it_has_come_leaves_nothing_behind(stage: Stage) -> None:
    person = Person(stage.ledger, "s", lambda: "a")

    def intercept(name: str, write: Write) -> None:
        if write.subject == "s":
            person.go()

    stage.world.intercept = intercept
    person.come()
    stage.until(lambda: stage.world.bus.streams[SESSIONS].entries, within=5)
    stage.until(lambda: stage.record("s").is_released, within=5)
    stage.world.run(1)
    assert not stage.world.nodes["a"].node.sessions


def test_deleting_a_retained_message_does_not_delete_a_newer_one(stage: Stage) -> None:
    first, second = stage.person("w1", "a"), stage.person("w2", "c")
    stage.until(lambda: first.publish(b"r", 1, retain=True))
    stage.world.run(1)
    first.say(p.Publish("r", b"", 1, False, True, 99))
    stage.world.run(1)
    newer = second.publish(b"r", 1, retain=True)
    stage.until(lambda: newer.acknowledged)
    subscriber = stage.person("s", "b", {b"r": 1})
    stage.until(lambda: stage.numbers(subscriber) == [newer.number])


def test_an_unsubscribe_without_answer_does_not_undo_the_subscribe_behind_it(stage: Stage) -> None:
    subscriber = stage.person("s", "a", {b"f": 1})
    publisher = stage.person("w", "c")
    lost: list[Write] = []

    def intercept(name: str, write: Write) -> float | None:
        if write.subject == "s" and not lost:
            lost.append(write)
            return 6.0  # it arrives when the next ones have
        return None

    stage.world.intercept = intercept
    subscriber.say(p.Unsubscribe(98, ["f"]))
    stage.world.run(0.1)
    del subscriber.subscribed[b"f"]
    subscriber.subscribe(b"f", 1)
    stage.until(lambda: subscriber.subscribed)
    stage.world.run(10)
    sent = publisher.publish(b"f", 1)
    stage.until(lambda: stage.numbers(subscriber) == [sent.number])


def test_a_bus_that_takes_nothing_is_not_answered_for(stage: Stage) -> None:
    """A full log: writes are refused, whatever they are. It resumes when there is room."""
    subscriber = stage.person("s", "b", {b"f": 1})
    publisher = stage.person("w", "a")
    stage.world.intercept = lambda name, write: "lose" if isinstance(write.value, Frame) else None
    sent = publisher.publish(b"f", 1)
    stage.world.run(60)
    assert sent.acknowledged is None
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: sent.acknowledged and stage.numbers(subscriber) == [sent.number])


def test_a_packet_identifier_is_free_when_the_client_hears_so(stage: Stage) -> None:
    """PUBCOMP came, and another message has the identifier, when the node dies."""
    subscriber = stage.person("s", "b", {b"f": 2})
    publisher = stage.person("w", "a")
    first = publisher.publish(b"f", 2)
    stage.until(lambda: not publisher.out)
    stage.world.pause("a")
    second = publisher.publish(b"f", 2)
    stage.world.kill("a")
    stage.where["w"] = "c"
    stage.until(lambda: stage.numbers(subscriber) == [first.number, second.number])


def test_a_node_that_leaves_gives_its_sessions_up_first(stage: Stage) -> None:
    subscriber = stage.person("s", "a", {b"f": 2})
    away = stage.person("t", "a", {b"f": 1})
    away.go()
    publisher = stage.person("w", "c")
    sent = publisher.publish(b"f", 2)
    stage.where["s"] = "b"
    stage.world.drain("a")
    stage.until(lambda: stage.world.nodes["a"].is_gone, within=5)
    stage.until(lambda: subscriber.is_connected, within=5)  # without waiting for a lease to end
    stage.until(lambda: stage.numbers(subscriber) == [sent.number])
    stage.until(lambda: stage.record("t").owner.name != "a", within=10)
    stage.where["t"] = "c"
    away.come()
    stage.until(lambda: stage.numbers(away) == [sent.number])


def test_a_message_of_qos_0_reaches_other_nodes_once(stage: Stage) -> None:
    subscribers = [stage.person(f"s{name}", name, {b"f": 1}) for name in "abc"]
    publisher = stage.person("w", "a")
    sent = [publisher.publish(b"f", 0).number for _ in range(5)]
    stage.world.run(2)
    assert [stage.numbers(one) for one in subscribers] == [sent] * 3


def test_a_message_that_expires_while_its_receiver_moves_is_not_sent(stage: Stage) -> None:
    """Its time runs on whichever node the session is, and on none."""
    subscriber = stage.person("s", "a", {b"f": 1})
    publisher = stage.person("w", "c")
    subscriber.go()
    first, second = publisher.publish(b"f", 1, expiry=30), publisher.publish(b"f", 1, expiry=300)
    stage.until(lambda: second.acknowledged)
    stage.world.kill("a")
    stage.world.run(100)
    stage.where["s"] = "b"
    subscriber.come()
    stage.until(lambda: stage.numbers(subscriber))
    assert stage.numbers(subscriber) == [second.number]
    assert 190 <= subscriber.remaining[second.number] <= 200
    first.acknowledged = None  # nobody was promised more


def test_what_one_publishes_itself_is_not_for_no_local(stage: Stage) -> None:
    both = stage.person("s", "a")
    publisher = stage.person("w", "c")
    both.say(p.Subscribe(7, [("f", 1 | 4)]))
    stage.world.run(1)
    both.publish(b"f", 1)
    stage.move(both, "b")
    stage.until(lambda: both.is_connected and not both.out)
    both.publish(b"f", 1)
    other = publisher.publish(b"f", 1)
    stage.until(lambda: not both.out and stage.numbers(both))
    stage.world.run(5)
    assert stage.numbers(both) == [other.number]
