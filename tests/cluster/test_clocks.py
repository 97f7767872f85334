"""Clocks of the day that are set wrong, go wrong or stand still, and what is to be right all the same."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.cluster.people import Ledger, wrongs
from tests.cluster.stage import Stage
from tests.cluster.test_random import calm, happens, seven
from tests.cluster.world import World

HOUR = 3600.0
SKEWS = (-1000 * HOUR, -2 * HOUR, -120.0, 120.0, 2 * HOUR, 1000 * HOUR)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def again(stage: Stage, name: str, skew: float) -> None:
    """That node ends, its clock is set, and it comes back."""
    stage.world.drain(name)
    stage.until(lambda: stage.world.nodes[name].is_gone)
    stage.world.skews[name] = skew
    stage.world.start(name)
    stage.until(lambda: stage.world.is_open(name))


def apart(world: World) -> float:
    """Seconds between the first and the last of the nodes' clocks."""
    walls = [world.wall(process) for process in world.nodes.values() if not process.is_gone]
    return max(walls) - min(walls)


@pytest.mark.parametrize("skew", SKEWS)
def test_a_message_expires_where_it_comes_to_as_where_it_came_from(stage: Stage, skew: float) -> None:
    again(stage, "b", skew)
    publisher = stage.person("p", "a")
    subscriber = stage.person("s", "b", {b"t": 1})
    subscriber.go()
    stage.world.run(1)
    short, long = publisher.publish(b"t", 1, expiry=30).number, publisher.publish(b"t", 1, expiry=90).number
    stage.world.run(60)
    subscriber.come()
    stage.until(lambda: long in stage.numbers(subscriber))
    stage.world.run(5)

    assert short not in stage.numbers(subscriber)
    assert 25 <= subscriber.remaining[long] <= 31


@pytest.mark.parametrize("skew", SKEWS)
def test_a_session_ends_when_it_was_to_wherever_it_is(stage: Stage, skew: float) -> None:
    again(stage, "b", skew)
    early = stage.person("early", "a", lasts=300)
    late = stage.person("late", "a", lasts=300)
    early.go()
    late.go()
    stage.world.run(1)
    stage.world.kill("a")
    stage.world.run(200)
    stage.where |= {"early": "b", "late": "b"}
    early.come()
    stage.until(lambda: early.is_connected)
    stage.world.run(250)
    late.come()
    stage.until(lambda: late.is_connected)

    assert early.presents[-1]
    assert not late.presents[-1]


@pytest.mark.parametrize("skew", SKEWS)
def test_a_will_with_a_delay_comes_when_it_is_due_from_an_heir_too(stage: Stage, skew: float) -> None:
    again(stage, "b", skew)
    stage.world.kill("c")
    subscriber = stage.person("s", "b", {b"will/p": 1})
    client = stage.person("p", "a", will_delay=200)
    will = client.will
    assert will is not None
    client.rests = True
    client.drop()
    stage.world.run(1)
    stage.world.kill("a")
    stage.world.run(190)
    assert stage.numbers(subscriber) == []
    stage.until(lambda: stage.numbers(subscriber), within=30)
    stage.world.run(100)

    assert stage.numbers(subscriber) == [will]


@pytest.mark.parametrize("skew", SKEWS)
def test_a_node_that_joins_has_the_time_of_the_others(stage: Stage, skew: float) -> None:
    before = stage.world.wall(stage.world.nodes["a"])
    again(stage, "b", skew)

    assert apart(stage.world) < 31
    stage.world.run(600)
    assert apart(stage.world) < 0.3
    assert stage.world.wall(stage.world.nodes["a"]) < before + 700  # nobody has followed it


def test_no_time_goes_back_where_all_were_away(stage: Stage) -> None:
    session = stage.person("s", "a", {b"t": 1}, lasts=600)
    before = stage.world.wall(stage.world.nodes["a"])
    for name in "abc":
        stage.world.kill(name)
    stage.world.run(40)
    for name in "abc":
        stage.world.skews[name] = -5 * HOUR
        stage.world.start(name)
    stage.until(lambda: session.is_connected)

    assert session.presents[-1]
    assert before - 31 <= stage.world.wall(stage.world.nodes["a"]) < before + 120


def test_a_node_alone_goes_on_from_its_own_last_lease() -> None:
    world = World(2, names="a")
    world.run_until(lambda: world.is_open("a"))
    before = world.wall(world.nodes["a"])
    world.kill("a")
    world.skews["a"] = -HOUR
    world.start("a")
    world.run_until(lambda: world.is_open("a"))

    assert world.wall(world.nodes["a"]) > before - 6


def test_clocks_that_drift_stay_together_and_never_jump() -> None:
    world = World(5)
    world.run_until(lambda: all(world.is_open(name) for name in "abc"))
    for process, rate in zip(world.nodes.values(), (0.995, 1.0, 1.002), strict=True):
        process.skew += world.clock(process)  # its clock goes on from here at another rate
        process.rate = rate
        process.skew -= world.clock(process)
    walls = []
    for _ in range(720):
        world.run(5)
        walls.append([world.wall(process) for process in world.nodes.values()])

    assert all(max(one) - min(one) < 0.4 for one in walls)
    for one, next_one in pairwise(walls):
        assert all(4.9 < late - early < 5.6 for early, late in zip(one, next_one, strict=True))


@pytest.mark.parametrize("seconds", [5, 15, 60])
def test_a_machine_that_is_paused_with_all_its_clocks(stage: Stage, seconds: int) -> None:
    """It believes that no time has passed; what it stores is refused where others have its sessions."""
    publisher = stage.person("p", "a")
    subscriber = stage.person("s", "b", {b"t": 2})
    stage.world.suspend("b")
    numbers = [publisher.publish(b"t", 2).number]
    stage.world.run(seconds)
    stage.world.resume("b")
    numbers.append(publisher.publish(b"t", 2).number)
    stage.until(lambda: set(numbers) <= set(stage.numbers(subscriber)) or stage.world.nodes["b"].is_gone)
    if stage.world.nodes["b"].is_gone:
        stage.move(subscriber, "c")
    stage.until(lambda: set(numbers) <= set(stage.numbers(subscriber)))
    stage.world.run(300)

    assert stage.world.nodes["b"].is_gone == (seconds == 60)
    assert apart(stage.world) < 0.4
    assert wrongs(stage.ledger, stage.people) == []


@pytest.mark.parametrize("seed", range(12))
def test_storms_with_clocks_that_are_set_and_stand_still(seed: int) -> None:
    """Ahead by less than sessions last: where all nodes are away, who starts first is believed."""
    chance = random.Random(seed)
    world = World(seed)
    ledger = Ledger(world)
    world.run_until(lambda: all(world.is_open(name) for name in "abc"))
    people = seven(ledger, chance)
    for _ in range(60):
        name = chance.choice("abc")
        if chance.random() < 0.2:
            world.skews[name] = chance.choice((-3e6, -HOUR, -60.0, 0.0, 60.0, HOUR, 1e5))
            world.rates[name] = chance.choice((0.999, 1.0, 1.001))
        process = world.nodes[name]
        if chance.random() < 0.05 and not process.is_gone and not process.is_paused:
            world.suspend(name)
            world.later(chance.choice((5, 20, 60)), lambda p=process, n=name: wake(world, p, n))  # type: ignore[misc]
        happens(world, chance, people)
        world.run(chance.choice((0, 0.02, 0.1, 1.0, 3.0)))
    calm(world, people)

    assert wrongs(ledger, people) == []
    assert all(not person.out and person.is_connected for person in people)


def wake(world: World, process: object, name: str) -> None:
    if world.nodes[name] is process and world.nodes[name].is_paused:
        world.resume(name)
