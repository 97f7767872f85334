"""How one of the workers of a machine sees the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Final

from curier.cluster.node import Node
from curier.cluster_settings import WorkerSettings
from curier.cluster_view import ClusterView, NodeLife, StreamView, Wrong
from curier.local.bus import Bus
from curier.node_view import held, nodes_of, silent, state_of, system_values

EACH_SECONDS: Final = 1.0
"""How often the engine is asked what it keeps."""


class Watch:
    """Of the worker ``node`` on ``bus``. ``told`` gets what is said below ``$SYS/broker/``."""

    def __init__(self, settings: WorkerSettings, node: Node, bus: Bus, told: dict[str, str]) -> None:
        self._settings = settings
        self._node = node
        self._bus = bus
        self._told_below = told
        self._timer: asyncio.TimerHandle | None = None
        self._asked_at = time.monotonic()

    def begin(self) -> None:
        """Ask the engine, now and each ``EACH_SECONDS``."""
        self._timer = asyncio.get_running_loop().call_later(EACH_SECONDS, self.begin)
        self._told_below |= system_values(self.view(is_over=False))
        self._asked_at = time.monotonic()
        self._bus.count()

    def end(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()

    def view(self, is_over: bool) -> ClusterView:
        """How things stand."""
        node, now = self._node, time.monotonic()
        trusted_for = 0.0 if is_over else max(0.0, node.trusted_until - now)
        nodes = nodes_of(node, now)
        return ClusterView(
            cluster="workers",
            node=self._settings.node,
            number=node.ground.boot.number,
            state=state_of(node, trusted_for, is_over),
            trusted_for=trusted_for,
            sync="memory",
            server="" if is_over else "this machine",
            version="",
            sessions=len(node.sessions),
            leaving=sum([one.is_leaving for one in node.sessions.values()]),
            claims=node.claims,
            wrong=tuple(self._wrong(nodes)),
            nodes=nodes,
            streams=tuple(self._streams()),
            told_before=now - self._asked_at,
            held=held(self._node, now),
        )

    def _streams(self) -> Iterator[StreamView]:
        counted = self._bus.counted
        for name, last, messages, size in counted.streams if counted is not None else ():
            read = self._node.ground.applied[0] if name.startswith("log") else -1
            yield StreamView(name, read, last, messages, size, "this machine", 1, ())

    def _wrong(self, nodes: Sequence[NodeLife]) -> Iterator[Wrong]:
        if self._bus.why:
            yield Wrong(True, self._bus.why, "what has to be acknowledged waits")
        living = sum([one.standing == "living" for one in nodes])
        if living < self._settings.count:
            yield Wrong(
                False,
                f"{living} of {self._settings.count} workers serve clients",
                "one that has ended is started again within seconds: the log says why it did",
            )
        for one in nodes:
            if one.standing == "silent":
                yield silent(one, "")
