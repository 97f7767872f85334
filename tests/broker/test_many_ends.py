"""Hundreds of connections and sessions that end at once: a part of it in each turn, and nothing is left."""

from __future__ import annotations

from itertools import pairwise

from curier.broker.connecting import WORK_OF_END
from curier.broker.core import DEADLINES_AT_ONCE
from curier.broker.state import WORK_PER_TURN
from tests.broker.harness import Net

ENDS = WORK_PER_TURN // WORK_OF_END


def test_those_that_are_silent_end_a_hundred_in_a_turn(net: Net) -> None:
    for number in range(2 * ENDS):
        net.connect(f"c{number}", keep_alive=10)
    net.now += 15
    left = [2 * ENDS]
    while left[-1]:
        net.core.deadline_reached(net.now)
        left.append(len(net.core.connections))
        net.turn()
    assert max([before - after for before, after in pairwise(left)]) <= ENDS + DEADLINES_AT_ONCE
    assert net.core.sessions == {}


def test_their_subscriptions_go_as_far_as_there_is_time(net: Net) -> None:
    each = 100
    clients = [net.connect(f"c{number}") for number in range(2 * WORK_PER_TURN // each)]
    for number, client in enumerate(clients):
        client.subscribe(*[(f"{number}/{n}", 0) for n in range(each)])
    few = net.connect("few")
    few.subscribe("few")
    size = len(net.core.router.table)
    for client in [*clients, few]:
        net.core.detach(client.connection, net.now)
    assert size - len(net.core.router.table) <= WORK_PER_TURN + 1
    assert net.core.router.route(b"few").is_empty
    assert net.core.router.route(b"1/1").is_empty
    net.turn()
    net.advance(1)
    assert len(net.core.router.table) == 0
