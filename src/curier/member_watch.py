"""How a node sees its cluster: the streams are asked for now and then, and what is wrong is put in words."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from nats.aio.msg import Msg

from curier.cluster.node import Node
from curier.cluster_settings import ClusterSettings
from curier.cluster_view import ClusterView, NodeLife, StreamView, Wrong
from curier.jetstream.bus import Bus
from curier.jetstream.line import without_password
from curier.node_view import held, nodes_of, silent, state_of, system_values

EACH_SECONDS: Final = 5.0
"""How often the streams are asked for."""

ANSWER_SECONDS: Final = 4.0
MUCH_LAG: Final = 10_000


class Watch:
    """Of the node ``node`` on ``bus``. ``told`` gets what is said below ``$SYS/broker/``."""

    def __init__(self, settings: ClusterSettings, node: Node, bus: Bus, told: dict[str, str]) -> None:
        self._settings = settings
        self._node = node
        self._bus = bus
        self._told_below = told
        self._timer: asyncio.TimerHandle | None = None
        self._found: dict[int, dict[str, Any]] = {}
        self._told_at = time.monotonic()

    def begin(self) -> None:
        """Ask for all streams, now and each ``EACH_SECONDS``."""
        self._timer = asyncio.get_running_loop().call_later(EACH_SECONDS, self.begin)
        self._told_below |= system_values(self.view(is_over=False))
        names, line = self._bus.names, self._bus.control
        for stream in names.streams:
            subject = f"$JS.API.STREAM.INFO.{names.stream(stream)}"
            line.ask(subject, b"", partial(self._told, stream), ANSWER_SECONDS)

    def end(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _told(self, stream: int, message: Msg | None) -> bool:
        answer = json.loads(message.data) if message is not None and message.data else None
        if isinstance(answer, dict) and "state" in answer:
            self._found[stream] = answer
            self._told_at = time.monotonic()
        else:
            self._found.pop(stream, None)
        return True

    def view(self, is_over: bool) -> ClusterView:
        """How things stand."""
        node, bus, settings = self._node, self._bus, self._settings
        now = time.monotonic()
        trusted_for = 0.0 if is_over else max(0.0, node.trusted_until - now)
        nodes = nodes_of(node, now)
        streams = tuple([self._stream(stream) for stream in bus.names.streams])
        return ClusterView(
            cluster=settings.name,
            node=settings.node,
            number=node.ground.boot.number,
            state=state_of(node, trusted_for, is_over),
            trusted_for=trusted_for,
            sync=settings.sync,
            server=bus.data.server if bus.data.is_up else "",
            version=bus.data.version,
            sessions=len(node.sessions),
            leaving=sum([one.is_leaving for one in node.sessions.values()]),
            claims=node.claims,
            wrong=tuple(self._wrong(nodes, streams, trusted_for)),
            nodes=nodes,
            streams=streams,
            told_before=now - self._told_at,
            held=held(node, now),
        )

    def _stream(self, stream: int) -> StreamView:
        found = self._found.get(stream, {})
        state, cluster = found.get("state", {}), found.get("cluster", {})
        copies = cluster.get("replicas", [])
        behind = [one["name"] for one in copies if one.get("offline") or not one.get("current")]
        return StreamView(
            stream=self._bus.names.stream(stream),
            read=self._node.ground.applied[stream] if stream >= 0 else -1,
            last=state.get("last_seq", -1),
            messages=state.get("messages", 0),
            size=state.get("bytes", 0),
            leader=cluster.get("leader", ""),
            replicas=found.get("config", {}).get("num_replicas", 0),
            behind=tuple(sorted(behind)),
        )

    # -- what is wrong

    def _wrong(
        self, nodes: Sequence[NodeLife], streams: Sequence[StreamView], trusted_for: float
    ) -> Iterator[Wrong]:
        bus = self._bus
        for line in (bus.data, bus.control):
            if not line.is_up:
                servers = ", ".join(map(without_password, self._settings.urls))
                yield Wrong(
                    True,
                    f"there is no connection to NATS: {line.why}",
                    f"nothing is acknowledged until there is one: see that one of {servers} runs and can be "
                    "reached from here",
                )
                return
        if bus.unhappy:
            yield Wrong(True, bus.unhappy, "what has to be acknowledged waits until NATS stores again")
        if not trusted_for:
            yield Wrong(
                True,
                "this node could not renew its lease in time",
                "it serves again when NATS stores: more than half of its servers have to see each other",
            )
        yield from self._wrong_with(streams)
        for one in nodes:
            if one.standing == "silent":
                yield silent(one, " and reaches NATS")

    def _wrong_with(self, streams: Sequence[StreamView]) -> Iterator[Wrong]:
        known = [one for one in streams if one.last >= 0]
        mute = [one.stream for one in streams if one.last < 0]
        if mute and known:
            yield Wrong(
                True,
                f"NATS does not answer for {_some(mute)}",
                "what belongs there waits: more than half of the servers that keep it have to run",
            )
        behind = sorted({server for one in known for server in one.behind})
        if behind:
            at = [one.stream for one in known if one.behind]
            yield Wrong(
                False,
                f"{', '.join(behind)}: no whole copy of {_some(at)} is there",
                "one more server that fails, and nothing is acknowledged: see that it runs; one just "
                "started again catches up by itself",
            )
        lag = sum(one.lag for one in known)
        if lag > MUCH_LAG:
            yield Wrong(
                False,
                f"{lag} entries of the log are not read here",
                "it has just joined, or one core is too little for what all nodes publish: messages are late",
            )


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more streams"
