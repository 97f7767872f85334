"""An acknowledgement is a promise: brokers that die at any step of a random life, and what is left."""

from __future__ import annotations

import os

import pytest

from tests.store.world import World

LIVES = int(os.environ.get("CURIER_LIVES", "80"))


@pytest.mark.parametrize("block", range(8))
def test_nothing_promised_is_lost_nothing_is_doubled_and_order_is_kept(block: int) -> None:
    deaths = promised = refused = 0
    for seed in range(block * LIVES, (block + 1) * LIVES):
        world = World(seed)
        world.start()
        world.live(400)
        world.settle()
        try:
            world.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        deaths += world.deaths
        promised += sum(sender.promised for sender in world.senders)
        refused += sum(sender.refused.total() for sender in world.senders)
    assert deaths > LIVES  # or nothing was tried
    assert promised > LIVES
    assert refused
