"""A few rounds; ``python -m tests.crash --workers --rounds 100`` plays as many as you like."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from tests.crash.worker_rounds import WorkerRounds

pytestmark = [
    pytest.mark.crash,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has workers"),
]


async def test_workers_keep_their_promises_whoever_is_killed(tmp_path: Path) -> None:
    play = WorkerRounds(1, 4, tmp_path)
    play.timed.has_outage(3600.0)  # a busy machine may hold for long what was begun in time

    await play.play()

    assert play.promised > 300
    assert play.delivered > play.promised
