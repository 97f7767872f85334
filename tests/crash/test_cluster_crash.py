"""A few rounds; ``python -m tests.crash --cluster --rounds 100`` plays as many as you like."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from tests.crash.cluster_rounds import ClusterRounds

pytestmark = [pytest.mark.crash, pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(900)]


async def test_a_cluster_keeps_its_promises_whoever_is_killed(tmp_path: Path) -> None:
    play = ClusterRounds(1, 4, tmp_path, kinds=("kill", "end", "nats", "nats stop"))
    play.timed.has_outage(3600.0)  # a busy machine may hold for long what was begun in time

    await play.play()

    assert play.promised > 500
    assert play.delivered > play.promised
