"""Members of Shared Subscriptions for whom much waits when their sessions end: it is worked off in slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from curier.cluster.committing import AT_ONCE
from curier.cluster.ground import Ground
from curier.cluster.keeper import Keeper
from curier.cluster.orders import SESSIONS, STORED, Write
from curier.cluster.records import AWAY, OUT, Frame, Intent, Message, SessionRecord
from tests.cluster.people import Person, wrongs
from tests.cluster.stage import Stage
from tests.cluster.world import Process

G = b"$share/g/t"
COUNT = 3 * AT_ONCE


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    assert wrongs(one.ledger, one.people) == []


def with_much_waiting(stage: Stage, lasts: int = 1_000_000) -> tuple[Person, Person, set[int]]:
    """A member at a that is away, another that has just come to c, and what waits for the first."""
    away, sender = stage.person("away", "a", {G: 2}, lasts), stage.person("p", "b")
    away.go()
    stage.until(lambda: knows(stage, away, AWAY))
    sent = [sender.publish(b"t", 2) for _ in range(COUNT)]
    stage.until(lambda: all(one.acknowledged for one in sent))
    stage.world.run(2)
    return away, stage.person("other", "c", {G: 2}), {one.number for one in sent}


def knows(stage: Stage, person: Person, state: int) -> bool:
    nodes = [one.node for one in stage.world.nodes.values() if not one.is_gone]
    return all(node.groups.state(part, G, person.name) == state for node in nodes for part in range(2))


def begins_anew(stage: Stage, person: Person, at: str = "a") -> None:
    """Clean Start, and nothing is subscribed to."""
    person.is_clean = True
    person.filters.clear()
    stage.where[person.name] = at
    person.come()


def each_turn(stage: Stage, monkeypatch: pytest.MonkeyPatch, of: Callable[[Process], int]) -> list[int]:
    """How much that grows in each turn of a node."""
    found: list[int] = []
    call = stage.world._call

    def counted(process: Process, do: Callable[[float, float], object], source: object = None) -> None:
        before = of(process)
        call(process, do, source)
        found.append(of(process) - before)

    monkeypatch.setattr(stage.world, "_call", counted)
    return found


def is_once(stage: Stage, other: Person, sent: set[int]) -> bool:
    stage.until(lambda: {*stage.numbers(other)} == sent, within=300)
    stage.world.run(3)
    return Counter(stage.numbers(other)) == dict.fromkeys(sent, 1)


@pytest.mark.parametrize("begins", [True, False], ids=["begins-anew", "expires"])
def test_what_waits_is_handed_on_in_slices(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, begins: bool
) -> None:
    away, other, sent = with_much_waiting(stage, 1_000_000 if begins else 30)
    intended = each_turn(stage, monkeypatch, lambda process: process.node.ground.messages)
    written = each_turn(stage, monkeypatch, waits_for_the_log)
    if begins:
        begins_anew(stage, away)
    assert is_once(stage, other, sent)
    assert sum(intended) == COUNT
    assert max(intended) == AT_ONCE
    assert max(written) <= AT_ONCE
    assert knows(stage, away, OUT)
    assert stage.record("away").is_over is not begins


def waits_for_the_log(process: Process) -> int:
    return sum(len(one._pending) for one in process.node._writers)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_node_dies_while_what_waits_is_handed_on(stage: Stage, when: str) -> None:
    """Before its record says all of it, or when some of it is in the log."""
    away, other, sent = with_much_waiting(stage)
    node = stage.world.nodes["a"].node
    messages = node.ground.messages
    stage.world.intercept = loses_records("a") if when == "before" else loses_frames_behind("a", 2)
    begins_anew(stage, away)
    stage.until(lambda: node.ground.messages == messages + COUNT)
    stage.world.run(0.5)
    assert bool(stage.record("away").intents) is (when == "after")
    assert not stage.numbers(other) if when == "before" else 0 < len(stage.numbers(other)) < COUNT
    away.rests = True
    stage.world.kill("a")
    stage.where["away"] = "b"
    if when == "before":
        away.come()
    assert is_once(stage, other, sent)
    stage.until(lambda: knows(stage, away, OUT))


def test_the_first_record_behind_the_end_says_all(stage: Stage) -> None:
    away, other, sent = with_much_waiting(stage)
    said: list[int] = []

    def intercept(name: str, write: Write) -> None:
        if write.subject == "away" and isinstance(write.value, SessionRecord):
            said.append(len(write.value.intents))

    stage.world.intercept = intercept
    begins_anew(stage, away)
    stage.until(lambda: said)
    assert said[0] == COUNT
    assert is_once(stage, other, sent)


def test_a_record_that_is_held_is_not_written_behind_one_that_is_under_way() -> None:
    """Nor where it is held twice and says all but once."""
    ground = Ground("n", 1, lambda: 0.5)
    boot = ground.boot
    keeper = Keeper(ground, "s", SessionRecord(boot, 1, 1), 1, lambda: None)
    answers: list[bool] = []
    keeper.write(answers.append)
    keeper.write(answers.append)
    keeper.hold()
    keeper.hold()
    (first,) = written(ground)
    ground.answer(first.token, STORED, 2)
    assert keeper.is_writing
    intents = [Intent(0, Message(("n", 1, one), "", b"t", b"", 1), 0, 0, boot) for one in range(3)]
    keeper.go_on(intents[:2])
    assert not written(ground)
    keeper.go_on(intents[2:])
    (second,) = written(ground)
    assert isinstance(second.value, SessionRecord)
    assert second.value.intents == tuple(intents)
    ground.answer(second.token, STORED, 3)
    assert answers == [True, True]


def written(ground: Ground) -> list[Write]:
    orders, ground.orders = ground.orders, []
    return [one for one in orders if isinstance(one, Write)]


def loses_records(node: str) -> Callable[[str, Write], str | None]:
    return lambda name, write: "lose" if name == node and write.stream == SESSIONS else None


def loses_frames_behind(node: str, count: int) -> Callable[[str, Write], str | None]:
    """Of what it hands on only so many frames arrive."""
    seen = set[int]()

    def intercept(name: str, write: Write) -> str | None:
        frame = write.value
        if name != node or not isinstance(frame, Frame) or not frame.messages:
            return None
        seen.add(frame.number)
        return "lose" if len(seen) > count else None

    return intercept
