"""Whatever clients do and however rules change: nobody is sent what it may not receive when it is sent."""

from __future__ import annotations

import random

import pytest

from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER
from tests.broker.test_judging import Rules, judged

NAMES = ("c0", "c1", "c2", "c3")
TOPICS = ("a", "b", "a/x", "b/x", "a/y")
FILTERS = ("#", "a", "a/#", "+/x", "b", "$share/g/#", "$share/g/a/+")


def some_rules(chance: random.Random) -> Rules:
    allowed: dict[str, tuple[str, ...]] = {}
    for name in NAMES:
        received = [f"receive {topic}" for topic in TOPICS if chance.random() < 0.6]
        others = [f"publish {topic}" for topic in TOPICS if chance.random() < 0.8]
        subscribed = ["subscribe #"] if chance.random() < 0.7 else ["subscribe a/#", "subscribe b"]
        allowed[name] = (*received, *others, *subscribed, "retain a", "retain b/x")
    return Rules(**allowed)


def check(chance: random.Random, rules: Rules, clients: dict[str, Client]) -> int:
    """Look at what has come, and acknowledge some of it, which makes room for more."""
    count = 0
    for name, client in clients.items():
        while messages := [packet for packet in client.inbox if isinstance(packet, p.Publish)]:
            client.inbox = [packet for packet in client.inbox if not isinstance(packet, p.Publish)]
            for message in messages:
                assert f"receive {message.topic}" in rules.rules[name]
            count += len(messages)
            if not client.closed and chance.random() < 0.5:
                client.finish(*messages)
    return count


@pytest.mark.parametrize("seed", range(12))
def test_nobody_is_sent_what_it_may_not_receive(make: Make, seed: int) -> None:
    chance = random.Random(seed)
    net, _, _ = judged(make)
    rules = some_rules(chance)
    net.core.judge_by(rules, net.now)
    clients: dict[str, Client] = {}
    got = 0
    for _ in range(150):
        name = chance.choice(NAMES)
        client = clients.get(name)
        if client is None or client.closed:
            clients[name] = client = net.connect(
                name, clean=chance.random() < 0.2, expiry=FOREVER, receive_maximum=chance.choice((1, 3, 100))
            )
            got += check(chance, rules, clients)
        step = chance.random()
        if step < 0.2:
            client.subscribe((chance.choice(FILTERS), chance.randint(0, 2)))
        elif step < 0.8:
            qos, retain = chance.randint(0, 2), chance.random() < 0.2
            code = client.publish(chance.choice(TOPICS), b"x", qos, retain)
            assert code in (0, 0x10, 0x87, 0x97)  # the last: a group whose members are away
        elif step < 0.9:
            client.drop()
        else:
            rules = some_rules(chance)
            net.core.judge_by(rules, net.now)
            net.turn()
        got += check(chance, rules, clients)
    assert got
