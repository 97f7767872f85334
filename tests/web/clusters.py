"""A broker that is said to be one node of a cluster, without any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from curier.cluster_view import ClusterView, NodeLife, StreamView, Wrong
from curier.server import Broker

NODES = (
    NodeLife("a", 3, "living", 1.5),
    NodeLife("b", 1, "silent", 14.0),
    NodeLife("c", 7, "over", 400.0),
    NodeLife("d", 2, "living", 0.5),
    NodeLife("e", 1, "died", 700.0),
)
STREAMS = (
    StreamView("CURIER_SESSIONS", -1, 70, 12, 4096, "s1", 3, ()),
    StreamView("CURIER_LOG_0", 120, 125, 125, 9000, "s2", 3, ("s3",)),
    StreamView("CURIER_LOG_1", 8, -1, 0, 0, "", 0, ()),
)
SILENT = Wrong(False, "node b has not renewed its lease for 14 s", "see whether it runs")
NO_NATS = Wrong(True, "there is no connection to NATS: refused", "see that it runs")
VIEW = ClusterView(
    cluster="home",
    node="a",
    number=3,
    state="open",
    trusted_for=20.5,
    sync="always",
    server="s1",
    version="2.15.1",
    sessions=12,
    leaving=1,
    claims=2,
    wrong=(SILENT,),
    nodes=NODES,
    streams=STREAMS,
    told_before=2.0,
)


class Said:
    """What is said of the cluster of every broker; ``given_up`` are the sessions it was to give up."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.view: ClusterView | None = VIEW
        self.given_up: list[Sequence[str] | None] = []
        patch.setattr(Broker, "cluster_view", property(lambda broker: self.view))
        patch.setattr(Broker, "give_up_sessions", lambda broker, names: self._give_up(names))

    def says(self, **what: Any) -> None:
        assert self.view is not None
        self.view = self.view._replace(**what)

    def _give_up(self, names: Sequence[str] | None) -> int:
        self.given_up.append(names)
        return 0 if names is None else 1
