"""Random weather, random accidents, and the ledger at the end."""

import random

import pytest

from curier.cluster.cutting import Thrift
from curier.cluster.records import HERE, OUT
from curier.cluster.states import WHOLE
from curier.codec.constants import MQTT_311
from tests.cluster.bus import Weather
from tests.cluster.people import Ledger, Person, wrongs
from tests.cluster.world import THRIFTY, WASTEFUL, World

TOPICS = (b"t/1", b"t/2", b"u/1", b"u/2")
G = b"$share/g/#"
H = b"$share/h/t/+"


def storm(
    seed: int, steps: int = 60, thrift: Thrift = WASTEFUL, has_groups: bool = False
) -> tuple[Ledger, list[Person]]:
    """Three nodes and seven people through ``steps`` of anything, then calm; ``has_groups``: six more are
    members of Shared Subscriptions.
    """
    world = World(
        seed, whole=0 if seed % 2 else WHOLE, thrift=thrift
    )  # messages of sessions by their place in the log, or whole
    chance = random.Random(seed)
    ledger = Ledger(world)
    world.run_until(lambda: all(world.is_open(name) for name in "abc"))

    people = seven(ledger, chance, has_groups)
    for _ in range(steps):
        happens(world, chance, people)
        if has_groups and chance.random() < 0.1:
            turns(chance.choice(people[-6:]), chance)
        world.run(chance.choice((0, 0.02, 0.1, 1.0, 3.0)))
    calm(world, people)
    return ledger, people


def seven(ledger: Ledger, chance: random.Random, has_groups: bool = False) -> list[Person]:
    """People of all kinds, who have come; and six members of groups."""

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
    if has_groups:
        people += [
            Person(ledger, "stays", picks, {G: 2}),
            Person(ledger, "clean", picks, {G: 2}),
            Person(ledger, "brief member", picks, {G: 2}, lasts=0),
            Person(ledger, "short", picks, {G: 2}, lasts=15),
            Person(ledger, "stays in h", picks, {H: 1}),
            Person(ledger, "brief in h", picks, {H: 1}, lasts=0, will_delay=0),
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


def turns(person: Person, chance: random.Random) -> None:
    """A member leaves its group, comes to it, or begins anew."""
    if person.name not in ("clean", "brief member", "short", "brief in h"):
        return
    group, qos = (H, 1) if person.name == "brief in h" else (G, 2)
    if chance.random() < 0.4:
        person.is_clean = True
        person.drop()
    elif group in person.filters and person.is_connected:
        person.unsubscribe(group)
    elif group not in person.filters and not person.leaving:
        person.subscribe(group, qos)


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


def unsettled(world: World, people: list[Person]) -> list[str]:
    """Where the log says of members what is not so, and what is left of those that have gone."""
    found: list[str] = []
    for name, process in world.nodes.items():
        for person in people:
            for group in (G, H):
                states = {process.node.groups.state(one, group, person.name) for one in range(2)}
                sessions = [one.core.sessions.get(person.name) for one in world.nodes.values()]
                is_member = any(one is not None and group in one.subscriptions for one in sessions)
                wanted = HERE if is_member else OUT
                if states != {wanted}:
                    found.append(f"{name} has {person.name} as {states} of {group!r}, and not {wanted}")
        for owned in process.node.sessions.values():
            if owned.is_ghost or owned.has_strays:
                found.append(f"{owned.name} haunts {name}")
    return found


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


@pytest.mark.parametrize("seed", range(1000, 1000 + SEEDS))
def test_whatever_happens_groups_get_what_they_are_promised(seed: int) -> None:
    """The same, with members of Shared Subscriptions that come, go and end."""
    ledger, people = storm(seed, thrift=THRIFTY if seed % 2 else WASTEFUL, has_groups=True)
    assert wrongs(ledger, people) == []
    assert unsettled(ledger.world, people) == []
    for person in people:
        assert person.is_connected, f"{person.name} is not served"
        assert not person.out, f"{person.name} waits for {person.out}"
        assert set(person.subscribed) == set(person.filters)
