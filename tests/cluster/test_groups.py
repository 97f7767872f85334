"""Shared Subscriptions whose members are at several nodes, by what happens to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from curier.broker.sharing import BEHIND
from curier.cluster.groups import Groups, pick
from curier.cluster.orders import SESSIONS, Write
from curier.cluster.records import AWAY, HERE, OUT, Frame, Message, SessionRecord, Share
from curier.cluster.writer import partition_of
from tests.cluster.people import Person, wrongs
from tests.cluster.stage import Stage
from tests.cluster.world import THRIFTY

G = b"$share/g/t"
T = partition_of(b"t", 2)  # where its messages stand

Intercept = Callable[[str, Write], str | float | None]


def got(*people: Person) -> Counter[int]:
    return Counter(number for person in people for number, _, _, _ in person.got)


def publish(stage: Stage, person: Person, count: int, qos: int = 1, topic: bytes = b"t") -> set[int]:
    """That many messages, and they are acknowledged."""
    sent = [person.publish(topic, qos) for _ in range(count)]
    if qos:
        stage.until(lambda: all(one.acknowledged for one in sent))
    return {one.number for one in sent}


def is_settled(stage: Stage, person: Person, state: int, group: bytes = G) -> bool:
    """Do all nodes know it so?"""
    nodes = [one.node for one in stage.world.nodes.values() if not one.is_gone]
    return all(node.groups.state(part, group, person.name) == state for node in nodes for part in range(2))


def test_each_message_goes_to_one_member_wherever_they_are(stage: Stage) -> None:
    members = [stage.person(f"m{at}", at, {G: 2}) for at in "abc"]
    sender = stage.person("p", "a")
    sent = publish(stage, sender, 40, 2) | publish(stage, sender, 40)
    stage.until(lambda: got(*members).keys() == sent)
    stage.world.run(3)
    assert got(*members) == dict.fromkeys(sent, 1)
    assert all(len(one.got) >= 10 for one in members)


def test_qos_0_goes_to_one_member(stage: Stage) -> None:
    members = [stage.person(f"m{number}", at, {G: 0}) for number, at in enumerate("abbc")]
    sender = stage.person("p", "a")
    sent = publish(stage, sender, 40, 0)
    stage.until(lambda: got(*members).keys() == sent)
    stage.world.run(3)
    assert got(*members) == dict.fromkeys(sent, 1)
    assert all(one.got for one in members)


def test_two_groups_get_a_message_each_and_so_does_who_shares_nothing(stage: Stage) -> None:
    first = [stage.person("m1", "a", {G: 1}), stage.person("m2", "b", {G: 1})]
    second = [stage.person("n1", "b", {b"$share/h/#": 1}), stage.person("n2", "c", {b"$share/h/#": 1})]
    alone = stage.person("alone", "c", {b"t": 1})
    sent = publish(stage, stage.person("p", "c"), 10)
    stage.until(lambda: all(got(*one).keys() == sent for one in (first, second, [alone])))
    stage.world.run(3)
    for one in (first, second, [alone]):
        assert got(*one) == dict.fromkeys(sent, 1)


def test_a_member_gets_no_retained_messages(stage: Stage) -> None:
    sender = stage.person("p", "a")
    sender.publish(b"t", 1, retain=True)
    stage.until(lambda: not sender.out)
    member = stage.person("m", "b", {G: 1})
    stage.world.run(3)
    assert not member.got


def test_who_is_away_is_passed_over_until_all_are(stage: Stage) -> None:
    here, away = stage.person("here", "a", {G: 1}), stage.person("away", "b", {G: 1})
    away.go()
    stage.until(lambda: is_settled(stage, away, AWAY))
    sender = stage.person("p", "c")
    sent = publish(stage, sender, 10)
    stage.until(lambda: got(here).keys() == sent)
    here.go()
    stage.until(lambda: is_settled(stage, here, AWAY))
    more = publish(stage, sender, 10)
    stage.world.run(3)
    assert got(here, away).keys() == sent
    here.come()
    away.come()
    stage.until(lambda: got(here, away).keys() == sent | more)
    assert got(here, away) == dict.fromkeys(sent | more, 1)


def test_who_is_far_behind_is_passed_over(stage: Stage) -> None:
    slow, other = stage.person("slow", "a", {G: 1}), stage.person("other", "b", {G: 1})
    slow.mute = frozenset(("puback",))
    sender = stage.person("p", "c")
    for _ in range(30):
        publish(stage, sender, 100)
    stage.until(lambda: is_settled(stage, slow, AWAY))
    sent = publish(stage, sender, 100)
    stage.until(lambda: sent <= got(other).keys())
    slow.mute = frozenset()
    slow.drop()
    stage.until(lambda: is_settled(stage, slow, HERE))
    stage.until(lambda: len(got(slow, other)) == 3100)
    assert len(other.got) < 3100 - BEHIND


def test_who_moves_gets_what_was_for_it(stage: Stage) -> None:
    stays, moves = stage.person("stays", "a", {G: 2}), stage.person("moves", "b", {G: 2})
    sender = stage.person("p", "c")
    sent: set[int] = set()
    for to in "cbacb":
        sent |= publish(stage, sender, 3, 2)
        stage.move(moves, to)
        sent |= publish(stage, sender, 3, 2)
    stage.until(lambda: got(stays, moves).keys() == sent)
    stage.world.run(3)
    assert got(stays, moves) == dict.fromkeys(sent, 1)


def test_members_come_and_leave_while_messages_fly(stage: Stage) -> None:
    stays = stage.person("stays", "a", {G: 2})
    sender = stage.person("p", "c")
    others = [stage.person(f"o{at}", at, {b"x": 1}) for at in "abc"]
    sent = []
    for round_ in range(6):
        for one in others:
            sent += [sender.publish(b"t", 2) for _ in range(2)]
            one.subscribe(G, 2) if round_ % 2 == 0 else one.unsubscribe(G)
            stage.world.run(0.015)
        stage.until(lambda: all(G in one.subscribed or not one.leaving for one in others))
    numbers = {one.number for one in sent}
    stage.until(lambda: got(stays, *others).keys() == numbers)
    stage.world.run(3)
    assert got(stays, *others) == dict.fromkeys(numbers, 1)
    assert all(is_settled(stage, one, OUT) for one in others)


def test_what_was_chosen_for_one_that_has_left_goes_to_another(stage: Stage) -> None:
    """UNSUBSCRIBE at one node, and the log does not hear of it for a while."""
    leaves = stage.person("leaves", "a", {G: 2})
    sender = stage.person("p", "b")
    stays = stage.person("stays", "c", {G: 2})
    stage.world.intercept = no_shares("a")
    leaves.unsubscribe(G)
    stage.until(lambda: not leaves.leaving or is_in_record(stage, "leaves", False))
    sent = publish(stage, sender, 12, 2)
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: got(stays).keys() == sent)
    assert not leaves.got
    assert stage.ledger.handed_on()
    stage.until(lambda: is_settled(stage, leaves, OUT))
    assert got(stays) == dict.fromkeys(sent, 1)


def test_a_node_dies_before_it_has_handed_on_what_came_for_one_that_has_left(stage: Stage) -> None:
    leaves, stays = stage.person("leaves", "a", {G: 2}), stage.person("stays", "c", {G: 2})
    stage.world.intercept = no_shares("a")  # nor does anything behind that arrive
    leaves.unsubscribe(G)
    stage.until(lambda: is_in_record(stage, "leaves", False))
    sent = publish(stage, stage.person("p", "b"), 12, 2)
    stage.world.run(3)
    assert not stage.ledger.handed_on()
    leaves.rests = True
    stage.world.kill("a")
    stage.until(lambda: got(stays).keys() == sent)
    stage.world.run(3)
    assert got(stays) == dict.fromkeys(sent, 1)
    assert stage.ledger.handed_on()


def test_what_one_that_ends_has_not_acknowledged_goes_to_another(stage: Stage) -> None:
    brief = stage.person("brief", "a", {G: 1}, lasts=0)
    brief.mute = frozenset(("puback",))
    sender = stage.person("p", "b")
    sent = publish(stage, sender, 30)  # ten are on their way, and twenty wait
    other = stage.person("other", "c", {G: 1})
    stage.until(lambda: len(brief.got) == 10)
    brief.go()
    stage.until(lambda: got(other).keys() == sent)
    stage.until(lambda: is_settled(stage, brief, OUT))
    stage.world.run(3)
    assert got(other) == dict.fromkeys(sent, 1)
    assert stage.record("brief").is_over
    assert not stage.record("brief").intents


def test_of_qos_2_nobody_else_gets_what_was_in_delivery(stage: Stage) -> None:
    """[MQTT-4.8.2-5]"""
    brief = stage.person("brief", "a", {G: 2}, lasts=0)
    brief.mute = frozenset(("pubrec",))
    sent = publish(stage, stage.person("p", "b"), 30, 2)
    other = stage.person("other", "c", {G: 2})
    stage.until(lambda: len(brief.got) == 10)
    brief.go()
    stage.until(lambda: len(other.got) == 20)
    stage.world.run(3)
    assert got(brief, other) == dict.fromkeys(sent, 1)


def test_a_node_dies_with_a_member_that_ends(stage: Stage) -> None:
    """QoS 1 and QoS 2 that were not sent go to another; what was acknowledged, and written down, does not."""
    brief = stage.person("brief", "a", {G: 2}, lasts=0)
    sender = stage.person("p", "b")
    early = publish(stage, sender, 5)
    stage.until(lambda: got(brief).keys() == early)
    stage.world.run(3)
    other = stage.person("other", "c", {G: 2})
    brief.mute = frozenset(("puback", "pubrec"))
    stage.world.intercept = no_shares("c")
    sent = publish(stage, sender, 20) | publish(stage, sender, 20, 2)
    stage.world.intercept = lambda name, write: None
    brief.rests = True
    stage.world.kill("a")
    stage.until(lambda: got(brief, other).keys() == early | sent)
    stage.until(lambda: is_settled(stage, brief, OUT))
    assert not got(other).keys() & early


def test_a_node_dies_with_a_member_that_stays(stage: Stage) -> None:
    """Its heir chooses by place, as it did: QoS 2 once, whoever has it."""
    lasting, other = stage.person("lasting", "a", {G: 2}), stage.person("other", "c", {G: 2})
    sender = stage.person("p", "b")
    sent = publish(stage, sender, 20, 2)
    stage.world.bus.weather.lagging.add("a")
    sent |= publish(stage, sender, 20, 2)  # half of those wait in the log
    lasting.rests = True
    stage.world.kill("a")
    stage.world.bus.weather.lagging.clear()
    stage.where["lasting"] = "b"
    sent |= publish(stage, sender, 20, 2)
    lasting.come()
    stage.until(lambda: got(lasting, other).keys() == sent)
    stage.world.run(3)
    assert got(lasting, other) == dict.fromkeys(sent, 1)


def test_a_node_dies_between_the_end_of_a_member_and_its_word_to_the_group(stage: Stage) -> None:
    """What the log has for it meanwhile is handed on by its heir."""
    brief, other = stage.person("brief", "a", {G: 2}, lasts=0), stage.person("other", "c", {G: 2})
    sender = stage.person("p", "b")
    stage.world.intercept = no_shares("a")
    brief.go()
    stage.until(lambda: not stage.record("brief").state)
    stage.world.kill("a")
    stage.world.intercept = lambda name, write: None
    sent = publish(stage, sender, 20, 2)
    stage.until(lambda: got(other).keys() == sent)
    stage.until(lambda: is_settled(stage, brief, OUT))
    assert got(other) == dict.fromkeys(sent, 1)
    assert stage.ledger.handed_on()


def test_a_node_dies_before_it_has_handed_on_what_its_record_says(stage: Stage) -> None:
    brief, sent = _with_ten_waiting(stage)
    other = stage.person("other", "c", {G: 2})
    stage.world.intercept = loses_handed("a")
    brief.go()
    stage.until(lambda: stage.record("brief").intents)
    stage.world.kill("a")
    stage.until(lambda: len(other.got) == 10)
    stage.world.run(3)
    assert got(brief, other) == dict.fromkeys(sent, 1)


def test_a_node_dies_after_it_has_handed_on_what_its_record_says(stage: Stage) -> None:
    """Its heir finds it in the log, and does not do it again."""
    brief, sent = _with_ten_waiting(stage)
    other = stage.person("other", "c", {G: 2})
    stage.world.intercept = only_first_record("a", "brief")
    brief.go()
    stage.until(lambda: len(other.got) == 10)
    stage.world.kill("a")
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: is_settled(stage, brief, OUT))
    stage.world.run(60)
    assert got(brief, other) == dict.fromkeys(sent, 1)


def _with_ten_waiting(stage: Stage) -> tuple[Person, set[int]]:
    """A member at a that has ten messages of QoS 2 in delivery, and ten that wait."""
    brief = stage.person("brief", "a", {G: 2}, lasts=0)
    brief.mute = frozenset(("pubrec",))
    sent = publish(stage, stage.person("p", "b"), 20, 2)
    stage.until(lambda: len(brief.got) == 10)
    return brief, sent


def test_an_heir_that_has_read_little_of_the_log_does_not_take_a_member_for_none(stage: Stage) -> None:
    stage.world.bus.weather.lagging.add("b")
    brief = stage.person("brief", "a", {G: 1}, lasts=0)
    other = stage.person("other", "a", {G: 1})
    brief.mute = frozenset(("puback",))
    sender = stage.person("p", "a")
    sent = publish(stage, sender, 16)
    stage.until(lambda: got(brief, other).keys() == sent)
    assert brief.got
    stage.where = dict.fromkeys(stage.where, "b")
    brief.rests = True
    stage.world.kill("a")
    stage.world.kill("c")
    stage.until(lambda: stage.record("brief").owner.name == "b")
    stage.world.run(5)
    stage.world.bus.weather.lagging.clear()
    stage.until(lambda: got(other).keys() == sent)
    stage.until(lambda: is_settled(stage, brief, OUT))


def test_one_that_begins_anew_leaves_its_messages_to_others(stage: Stage) -> None:
    """Clean Start at another node [MQTT-3.1.2-4]."""
    anew = stage.person("anew", "a", {G: 1})
    sender = stage.person("p", "b")
    anew.go()
    stage.until(lambda: is_settled(stage, anew, AWAY))
    sent = publish(stage, sender, 10)
    other = stage.person("other", "c", {G: 1})
    anew.is_clean = True
    del anew.filters[G]
    stage.where["anew"] = "b"
    anew.come()
    stage.until(lambda: got(other).keys() == sent)
    stage.until(lambda: is_settled(stage, anew, OUT))
    assert got(other) == dict.fromkeys(sent, 1)
    assert not anew.got
    assert not stage.record("anew").is_brief


def test_one_that_expires_leaves_its_messages_to_others(stage: Stage) -> None:
    short = stage.person("short", "a", {G: 2}, lasts=10)
    short.go()
    stage.until(lambda: is_settled(stage, short, AWAY))
    sent = publish(stage, stage.person("p", "b"), 10, 2)
    other = stage.person("other", "c", {G: 2})
    stage.until(lambda: got(other).keys() == sent)
    stage.until(lambda: is_settled(stage, short, OUT))
    assert got(other) == dict.fromkeys(sent, 1)


def test_a_group_without_members_has_ended(stage: Stage) -> None:
    """What nobody has acknowledged ends with it (4.8.2), and who comes later gets none of it."""
    brief = stage.person("brief", "a", {G: 1}, lasts=0)
    brief.mute = frozenset(("puback",))
    sender = stage.person("p", "b")
    publish(stage, sender, 5)
    stage.until(lambda: len(brief.got) == 5)
    brief.go()
    stage.until(lambda: is_settled(stage, brief, OUT))
    publish(stage, sender, 5)
    later = stage.person("later", "c", {G: 1})
    stage.world.run(5)
    assert not later.got
    stage.people.remove(brief)
    stage.people.remove(later)


def test_what_is_handed_on_is_not_retained_again(stage: Stage) -> None:
    brief = stage.person("brief", "a", {G: 1}, lasts=0)
    brief.mute = frozenset(("puback",))
    sender = stage.person("p", "b")
    first = sender.publish(b"t", 1, retain=True)
    stage.until(lambda: got(brief)[first.number])
    second = sender.publish(b"t", 1, retain=True)
    stage.until(lambda: got(brief)[second.number])
    other = stage.person("other", "c", {G: 1})
    brief.go()
    stage.until(lambda: got(other).keys() == {first.number, second.number})
    new = stage.person("new", "c", {b"t": 1})
    stage.until(lambda: new.got)
    stage.world.run(3)
    assert stage.numbers(new) == [second.number]


def test_members_of_a_node_that_leaves_stay_members(stage: Stage) -> None:
    stays, moves = stage.person("stays", "a", {G: 2}), stage.person("moves", "b", {G: 2})
    brief = stage.person("brief", "b", {G: 2}, lasts=0)
    sender = stage.person("p", "c")
    sent = publish(stage, sender, 10, 2)
    stage.until(lambda: got(stays, moves, brief).keys() == sent)
    stage.world.run(1)
    stage.where |= {"moves": "c", "brief": "c"}
    stage.world.drain("b")
    sent |= publish(stage, sender, 10, 2)
    stage.until(lambda: got(stays, moves, brief).keys() == sent)
    stage.until(lambda: is_settled(stage, moves, HERE) and is_settled(stage, brief, HERE))
    stage.world.run(3)
    assert got(stays, moves, brief) == dict.fromkeys(sent, 1)


def test_a_node_that_joins_from_a_snapshot_chooses_the_same_member() -> None:
    """And so it does for what stood in the log before, as the heir of a member."""
    stage = Stage(thrift=THRIFTY)
    stays, leaves = stage.person("stays", "a", {G: 2}), stage.person("leaves", "b", {G: 2})
    sender = stage.person("p", "b")
    sent = publish(stage, sender, 20, 2)

    def is_cut() -> bool:
        if len(sender.out) < 3:
            sent.add(sender.publish(b"t", 2).number)
        return all(stage.world.bus.streams[one].first > 20 for one in (T,))

    stage.until(is_cut, within=300)
    assert stage.world.nodes["a"].node.groups.state(T, G, "stays") == HERE
    stage.world.kill("c")
    stage.world.start("c")
    stage.until(lambda: stage.world.is_open("c"))
    known, joined = (stage.world.nodes[one].node.groups for one in "ac")
    for sequence in range(stage.world.bus.streams[T].first, 10_000):
        assert known.chosen(T, sequence, 0, message()) == joined.chosen(T, sequence, 0, message())
    stage.world.bus.weather.lagging.add("a")
    sent |= publish(stage, sender, 20, 2)  # what is for "stays" waits in the log
    leaves.unsubscribe(G)
    stage.until(lambda: not leaves.leaving)
    stays.rests = True
    stage.world.kill("a")
    stage.world.bus.weather.lagging.clear()
    stage.where["stays"] = "c"
    stays.come()
    stage.until(lambda: got(stays, leaves).keys() == sent)
    stage.world.run(3)
    assert got(stays, leaves) == dict.fromkeys(sent, 1)
    assert wrongs(stage.ledger, stage.people) == []


def test_the_log_says_nothing_of_a_member_before_its_record_does(stage: Stage) -> None:
    """Or nobody would know whose it is, were its node to die then."""
    joins, sender = stage.person("joins", "a", {b"x": 1}), stage.person("p", "b")
    stage.world.intercept = no_records("a", "joins")
    joins.subscribe(G, 1)
    for _ in range(3):  # each of them has the node look at what it says of that session
        publish(stage, sender, 1, topic=b"x")
        stage.world.run(2)
    assert is_settled(stage, joins, OUT)
    assert G not in joins.subscribed
    stage.world.intercept = lambda name, write: None
    stage.until(lambda: G in joins.subscribed)
    assert is_settled(stage, joins, HERE)


def test_a_node_that_starts_knows_the_members(stage: Stage) -> None:
    members = [stage.person("m1", "a", {G: 2}), stage.person("m2", "b", {G: 2})]
    stage.world.kill("c")
    stage.world.start("c")
    stage.until(lambda: stage.world.is_open("c"))
    sent = publish(stage, stage.person("p", "c"), 10, 2)
    stage.until(lambda: got(*members).keys() == sent)
    assert all(is_settled(stage, one, HERE) for one in members)


# -- what goes wrong on purpose


def no_shares(node: str) -> Intercept:
    """What that node says of groups is lost."""

    def intercept(name: str, write: Write) -> str | None:
        frame = write.value
        return "lose" if name == node and isinstance(frame, Frame) and frame.shares else None

    return intercept


def loses_handed(node: str) -> Intercept:
    """What it hands on is lost."""

    def intercept(name: str, write: Write) -> str | None:
        frame = write.value
        is_handed = isinstance(frame, Frame) and any(one.group for one in frame.messages)
        return "lose" if name == node and is_handed else None

    return intercept


def no_records(node: str, session: str) -> Intercept:
    """What it says of that session is lost."""
    return lambda name, write: (
        "lose" if name == node and (write.stream, write.subject) == (SESSIONS, session) else None
    )


def only_first_record(node: str, session: str) -> Intercept:
    """Of what it says of the session only what comes next arrives."""
    count = [0]

    def intercept(name: str, write: Write) -> str | None:
        if name != node:
            return None
        if write.stream == SESSIONS and write.subject == session:
            count[0] += 1
            return "lose" if count[0] > 1 else None
        return None

    return intercept


def is_in_record(stage: Stage, name: str, is_member: bool) -> bool:
    record: SessionRecord = stage.record(name)
    return (G, is_member) in record.groups


# -- the table


def shares(*named: tuple[str, int]) -> list[Share]:
    return [Share(G, name, state) for name, state in named]


def message(topic: bytes = b"t") -> Message:
    return Message(("n", 1, 1), "", topic, b"", 1)


def test_the_table_knows_who_was_chosen_at_any_place() -> None:
    groups = Groups(1)
    expected: dict[int, str] = {}
    steps = [("a", HERE), ("b", AWAY), ("b", HERE), ("c", HERE), ("a", OUT), ("b", AWAY), ("c", OUT)]
    for sequence in range(1, 60):
        if sequence % 8 == 1 and steps:
            groups.apply(0, sequence, shares(steps.pop(0)))
        chosen = groups.chosen(0, sequence, 0, message())
        expected[sequence] = chosen[0][0] if chosen else ""
    again = Groups(1)
    again.load(0, groups.export(0, 59))
    groups.apply(0, 60, ())
    again.apply(0, 9, shares(("b", AWAY)))  # it knows that already
    for one in (groups, again):
        for sequence, name in expected.items():
            found = [who for who in "abc" if one.is_chosen(who, G, 0, sequence, 0, message())]
            assert found == ([name] if name else [])
        assert not one.is_chosen("b", G, 0, 20, 0, message(b"u"))
    assert set(expected.values()) == {"a", "b", "c"}


def test_the_table_forgets_what_nobody_reads_again() -> None:
    groups = Groups(1)
    groups.apply(0, 1, shares(("a", HERE), ("b", HERE)))
    groups.apply(0, 5, shares(("a", OUT)))
    groups.forget(0, 3)
    ((_, _, members, changes),) = groups.export(0, 5)
    assert members == (("b", HERE),)
    assert changes == ((5, "a", HERE),)
    assert any(groups.is_chosen("a", G, 0, at, 0, message()) for at in (3, 4))
    groups.apply(0, 6, shares(("b", OUT)))
    groups.forget(0, 6)
    assert groups.export(0, 6) == []
    assert not groups


def test_turns_are_even_whatever_the_step_between_two_places() -> None:
    for members in (2, 3, 5, 7):
        names = [str(at) for at in range(members)]
        for step in range(1, 20):
            counts = Counter(pick(names, at * step, 0) for at in range(1000))
            assert max(counts.values()) - min(counts.values()) < 100, (members, step)
