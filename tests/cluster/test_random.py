"""Random weather, random accidents, and the ledger at the end."""

import random

import pytest

from curier.cluster.cutting import Thrift
from curier.cluster.states import WHOLE
from curier.codec.constants import MQTT_311
from tests.cluster.bus import Weather
from tests.cluster.people import Ledger, Person, wrongs
from tests.cluster.world import THRIFTY, WASTEFUL, World

TOPICS = (b"t/1", b"t/2", b"u/1", b"u/2")


def storm(seed: int, steps: int = 60, thrift: Thrift = WASTEFUL) -> tuple[Ledger, list[Person]]:
    """Three nodes and seven people through ``steps`` of anything, then calm."""
    world = World(
        seed, whole=0 if seed % 2 else WHOLE, thrift=thrift
    )  # messages of sessions by their place in the log, or whole
    chance = random.Random(seed)
    ledger = Ledger(world)
    world.run_until(lambda: all(world.is_open(name) for name in "abc"))

    people = seven(ledger, chance)
    for _ in range(steps):
        happens(world, chance, people)
        world.run(chance.choice((0, 0.02, 0.1, 1.0, 3.0)))
    calm(world, people)
    return ledger, people


def seven(ledger: Ledger, chance: random.Random) -> list[Person]:
    """People of all kinds, who have come."""

    def picks() -> str:
        return chance.choice("abc")

    people = [
        Person(ledger, "p1", picks, version=MQTT_311),
        Person(ledger, "p2", picks, will_delay=0),
        Person(ledger, "s1", picks, {b"#": 2}),
        Person(ledger, "s2", picks, {b"t/+": 1}, version=MQTT_311),
        Person(ledger, "s3", picks, {b"t/1": 2, b"u/#": 2}, will_delay=0),
        Person(ledger, "both", picks, {b"u/+": 2}, will_delay=3),
        Person(ledger, "brief", picks, {b"t/#": 2}, lasts=0, will_delay=0),
    ]
    for person in people:
        person.come()
    ledger.world.run(2)
    return people


def happens(world: World, chance: random.Random, people: list[Person]) -> None:
    """One thing."""
    what = chance.randrange(100)
    name = chance.choice("abc")
    process = world.nodes[name]
    if what < 50:
        for _ in range(chance.choice((1, 1, 2, 5))):
            chance.choice(people).publish(
                chance.choice(TOPICS), chance.choice((0, 1, 2)), chance.random() < 0.2
            )
    elif what < 60:
        chance.choice(people).drop()
    elif what < 66:
        chance.choice(people).go()
    elif what < 74:
        chance.choice(people).come()
    elif what < 78:
        weather(world, chance)
    elif what < 82 and not process.is_gone:
        world.kill(name)
        world.later(chance.choice((1, 40)), lambda: again(world, name))
    elif what < 86 and not process.is_gone and not process.is_paused:
        world.pause(name)
        world.later(chance.choice((5, 20, 60)), lambda: world.resume(name) if process.is_paused else None)
    elif what < 88 and not process.is_gone:
        world.drain(name)
    elif what < 90 and process.is_gone:
        world.start(name)
    elif what < 93:
        world.run(chance.choice((5, 40)))


def again(world: World, name: str) -> None:
    """A process with that name, unless there is one."""
    if world.nodes[name].is_gone:
        world.start(name)


def weather(world: World, chance: random.Random) -> None:
    if chance.random() < 0.3:
        world.bus.weather.__dict__.update(vars(Weather()))
        return
    now = world.bus.weather
    what = chance.choice(
        ("lost_request", "lost_answer", "late", "busy", "stale", "hole", "slow", "cut", "lag", "down")
    )
    if what == "cut":
        (now.cut_in if chance.random() < 0.5 else now.cut_out).add(chance.choice("abc"))
    elif what == "lag":
        now.lagging.add(chance.choice("abc"))
    elif what == "down":
        now.is_down = True
    elif what == "slow":
        now.slow = 1.0
    else:
        setattr(now, what, chance.choice((0.1, 0.4)))


def calm(world: World, people: list[Person]) -> None:
    """All is well again, for long enough."""
    world.bus.weather.__dict__.update(vars(Weather()))
    for name, process in list(world.nodes.items()):
        if process.is_paused:
            world.resume(name)
    world.run(100)
    for name in "abc":
        if not world.is_open(name):
            if not world.nodes[name].is_gone:
                world.kill(name)
            world.start(name)
    for person in people:
        person.come()
    world.run(150)


SEEDS = 60


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_happens_promises_are_kept(seed: int) -> None:
    """``storm`` with a seed is one run, to the last event; thousands of others were tried."""
    ledger, people = storm(seed)
    assert_kept(ledger, people)


@pytest.mark.parametrize("seed", range(SEEDS, 2 * SEEDS))
def test_promises_are_kept_though_the_log_is_cut_all_the_time(seed: int) -> None:
    ledger, people = storm(seed, thrift=THRIFTY)
    assert_kept(ledger, people)
    assert any(ledger.world.bus.streams[one].first > 1 for one in range(ledger.world.partitions))


def assert_kept(ledger: Ledger, people: list[Person]) -> None:
    assert wrongs(ledger, people) == []
    for person in people:
        assert person.is_connected, f"{person.name} is not served"
        assert not person.out, f"{person.name} waits for {person.out}"
        assert set(person.subscribed) == set(person.filters)
