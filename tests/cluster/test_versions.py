"""Two versions of curier in one cluster: what a rolling upgrade meets, and who cannot read ends."""

from __future__ import annotations

import random

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from curier.cluster.formats import FIRST
from curier.cluster.orders import LEASES, SESSIONS
from curier.cluster.records import Frame, Lease, Message
from curier.jetstream.wire import Forms
from tests.cluster.bus import Codec
from tests.cluster.people import Ledger, wrongs
from tests.cluster.stage import Stage
from tests.cluster.test_random import calm, happens, seven
from tests.cluster.world import World

NEXT = FIRST + 1
NEWS: dict[tuple[type, str], int] = {(Message, "published_at"): NEXT}  # what the later version adds
OLD = Forms(newest=FIRST, sinces=NEWS)
NEW = Forms(newest=NEXT, sinces=NEWS)


@pytest.fixture
def stage() -> Stage:
    return Stage(codec=OLD)


def roll(stage: Stage, name: str, codec: Codec) -> None:
    """That node leaves, and comes back as another version."""
    stage.world.drain(name)
    stage.until(lambda: stage.world.nodes[name].is_gone)
    stage.world.codecs[name] = codec
    stage.world.start(name)


def is_open(stage: Stage, name: str) -> bool:
    return stage.world.is_open(name)


def formats(world: World) -> set[int]:
    """All in which anything was written."""
    return {data[0] for data in world.bus.data.values()}


def times(world: World) -> list[float]:
    """What the log says of when its messages were published: it is the new version's to say so."""
    entries = [value for one in range(world.partitions) for _, _, value in world.bus.streams[one].entries]
    return [message.published_at for one in entries if isinstance(one, Frame) for message in one.messages]


def in_force(stage: Stage, name: str) -> int:
    return stage.world.nodes[name].node.ground.format


def upgraded(stage: Stage) -> None:
    for name in "abc":
        roll(stage, name, NEW)
        stage.until(lambda name=name: is_open(stage, name))  # type: ignore[misc]
    stage.until(lambda: all(in_force(stage, name) == NEXT for name in "abc"))


def test_a_rolling_upgrade_and_then_what_is_new(stage: Stage) -> None:
    publisher = stage.person("p", "c")
    subscriber = stage.person("s", "a", {b"t": 2})
    numbers = []
    for name, elsewhere in ("ab", "bc", "ca"):
        numbers.append(publisher.publish(b"t", 2, retain=True).number)
        for person in (publisher, subscriber):
            if stage.where[person.name] == name:
                stage.move(person, elsewhere)
        roll(stage, name, NEW)
        if name != "c":
            numbers.append(publisher.publish(b"t", 1).number)
            stage.until(lambda name=name: is_open(stage, name))  # type: ignore[misc]
            stage.world.run(20)
            assert formats(stage.world) == {FIRST}
            assert set(times(stage.world)) == {0.0}
    stage.until(lambda: all(in_force(stage, name) == NEXT for name in "abc"))
    numbers.append(publisher.publish(b"t", 2).number)
    stage.until(lambda: set(stage.numbers(subscriber)) >= set(numbers))

    assert times(stage.world)[-1] > 0
    assert stage.world.bus.data[SESSIONS, len(stage.world.bus.streams[SESSIONS].entries)][0] == NEXT
    assert all(
        data[0] == FIRST for (stream, _), data in stage.world.bus.data.items() if stream == LEASES
    )  # which any version reads
    assert wrongs(stage.ledger, stage.people) == []


def test_who_reads_less_than_is_written_has_no_part_and_says_so(stage: Stage) -> None:
    upgraded(stage)
    roll(stage, "c", OLD)
    stage.until(lambda: stage.world.nodes["c"].is_gone)

    why = "node c writes format 3, and the curier of this node reads format 2 at most: run here the version"
    assert stage.world.nodes["c"].why.startswith(why)
    lease = stage.world.bus.streams[LEASES].last_of("c", len(stage.world.bus.streams[LEASES].entries))[1]
    assert isinstance(lease, Lease)
    assert lease.is_over  # it took nothing: the life before it stands

    stage.world.codecs["d"] = OLD
    stage.world.start("d")
    stage.until(lambda: stage.world.nodes["d"].is_gone)
    assert "format 3" in stage.world.nodes["d"].why  # from a lease or from the log, whichever comes first
    stage.world.codecs["c"] = NEW
    stage.world.start("c")
    stage.until(lambda: is_open(stage, "c"))


@pytest.mark.parametrize("delay", [0.0, 0.1, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0])
def test_an_old_node_that_comes_while_the_others_agree(stage: Stage, delay: float) -> None:
    """It is one of them, and they go on in the old format; or it never had a part."""
    publisher = stage.person("p", "a")
    for name in "ba":
        roll(stage, name, NEW)
        stage.until(lambda name=name: is_open(stage, name))  # type: ignore[misc]
    stage.world.drain("c")
    stage.until(lambda: stage.world.nodes["c"].is_gone)
    stage.until(lambda: publisher.is_connected)
    stage.world.run(delay)
    stage.world.start("c")
    for _ in range(30):
        publisher.publish(b"t", 1)
        stage.world.run(1)

    process = stage.world.nodes["c"]
    if process.is_gone:
        assert "writes format 3" in process.why or "format 3 lies on the bus" in process.why
        assert not process.node.is_open
        assert formats(stage.world) == {FIRST, NEXT}
    else:
        assert is_open(stage, "c")
        assert formats(stage.world) == {FIRST}
        roll(stage, "c", NEW)
        stage.until(lambda: all(in_force(stage, name) == NEXT for name in "abc"))


def test_a_node_that_meets_what_it_cannot_read_ends_and_others_have_its_sessions(stage: Stage) -> None:
    for name in "ab":
        roll(stage, name, NEW)
        stage.until(lambda name=name: is_open(stage, name))  # type: ignore[misc]
    subscriber = stage.person("s", "c", {b"t": 1})
    publisher = stage.person("p", "a")
    stage.world.nodes["a"].node.saw(NEXT)  # as no node of a version that is right ever does
    number = publisher.publish(b"t", 1).number
    stage.until(lambda: stage.world.nodes["c"].is_gone)

    assert (
        "format 3 lies on the bus, and this curier knows format 2: run a newer" in stage.world.nodes["c"].why
    )
    assert in_force(stage, "b") == NEXT  # it writes nothing in less than it was read in
    stage.where["s"] = "b"
    stage.until(lambda: number in stage.numbers(subscriber))


@pytest.mark.parametrize("seed", range(8))
def test_storms_in_which_nodes_are_upgraded_one_by_one(seed: int) -> None:
    world = World(seed, codec=OLD)
    chance = random.Random(seed)
    ledger = Ledger(world)
    world.run_until(lambda: all(world.is_open(name) for name in "abc"))
    people = seven(ledger, chance)
    for name in chance.sample("abc", 3):
        for _ in range(20):
            happens(world, chance, people)
            world.run(chance.choice((0, 0.02, 0.1, 1.0, 3.0)))
        world.codecs[name] = NEW
        if not world.nodes[name].is_gone and chance.random() < 0.7:
            (world.drain if chance.random() < 0.5 else world.kill)(name)
            world.later(20, lambda name=name: back(world, name))  # type: ignore[misc]
    calm(world, people)
    for name in "abc":
        if world.nodes[name].codec is OLD:
            world.kill(name)
            world.start(name)
    for person in people:
        person.come()
    world.run(150)
    people[0].publish(b"t/1", 2)
    world.run(10)

    assert wrongs(ledger, people) == []
    assert all(not person.out and person.is_connected for person in people)
    assert {process.why for process in world.nodes.values()} == {""}
    assert formats(world) == {FIRST, NEXT}


def back(world: World, name: str) -> None:
    if world.nodes[name].is_gone:
        world.start(name)


def test_two_processes_that_take_one_name_at_one_time() -> None:
    """Their leases are the same but for a number that each has chosen: one of them waits."""
    world = World(3, names="ab")
    twin = world.nodes["twin"] = world.nodes["a"]
    world.start("a")
    world.run(60)

    both = (twin, world.nodes["a"])
    assert sorted(process.node.is_open and not process.is_gone for process in both) == [False, True]
