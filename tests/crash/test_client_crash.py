"""A few rounds in which programs with sessions on disk are killed, and every promise is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.client_rounds import ClientRounds

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


async def test_what_was_accepted_arrives_once_though_programs_are_killed(tmp_path: Path) -> None:
    play = ClientRounds(2, tmp_path)
    await play.run(12)
    assert len(play.accepted) > 500
    assert play.publisher.kills > 2
    assert play.taker.kills > 2
