"""A few rounds of ``python -m tests.crash``: real processes, kill -9, and every promise kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.rounds import Rounds

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_promise_is_broken(seed: int, tmp_path: Path) -> None:
    play = Rounds(seed, 6, tmp_path)
    await play.play()
    assert play.promised > 100
    assert len(play.visits) == 6
