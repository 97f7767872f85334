"""A few rounds of ``python -m tests.crash.bridge_rounds``: either side of a bridge is killed, and nothing is
lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.bridge_rounds import LANES, BridgeRounds

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]


async def test_what_was_acknowledged_arrives_on_the_other_side(tmp_path: Path) -> None:
    play = BridgeRounds(1, 4, tmp_path)
    await play.play()
    assert play.kills >= 4
    for lane in LANES:
        assert len(play.promised[lane]) > 10
