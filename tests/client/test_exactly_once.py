"""Exactly once end to end, over cuts, crashes and losses of power on every side; simulated.

``CURIER_SCHEDULES=5000`` has so many schedules played; each is one seed, which the name of a failure has.
A schedule is the same in both forms, and takes three times as long interpreted: there, fewer are played, and
others.
"""

from __future__ import annotations

import os

import pytest

from curier import COMPILED
from tests.client.world import World

SCHEDULES = int(os.environ.get("CURIER_SCHEDULES", "300" if COMPILED else "100"))
FIRST = 0 if COMPILED else 1_000_000
SLICES = 10


@pytest.mark.parametrize("part", range(SLICES))
def test_every_accepted_message_arrives_once(part: int) -> None:
    accepted = accidents = 0
    for seed in range(FIRST + part, FIRST + SCHEDULES, SLICES):
        world = World(seed)
        try:
            world.run(60)
            world.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        accepted += len(world.accepted)
        accidents += world.accidents
    assert accepted > 10 * SCHEDULES / SLICES  # the schedules are not empty
    assert accidents > 3 * SCHEDULES / SLICES
