"""A broker as one node of a cluster on NATS JetStream."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from typing import Final

from curier.cluster.node import Node
from curier.cluster_settings import ClusterSettings
from curier.cluster_view import StreamView
from curier.errors import ClusterError
from curier.jetstream.access import access_of
from curier.jetstream.bus import Bus
from curier.jetstream.names import Names
from curier.jetstream.proof import WritesLate, monitors_of, prove
from curier.jetstream.streams import ensure
from curier.loglines import logger
from curier.member import BESIDE_MESSAGE, Member
from curier.member_watch import Watch
from curier.store.base import CLOSE_SECONDS

log = logger("curier.cluster")

STREAMS_SECONDS: Final = 60.0
"""How long NATS may take to have the streams, from when a node is started."""

PROVED_AGAIN_SECONDS: Final = 3.0
"""How often servers of NATS that were away are asked how they write."""

BACK_SECONDS: Final = 30.0
"""How long one may be there again without having said it."""


class NatsMember(Member):
    """A ``Member`` whose servers have proved that they write at once, unless ``settings`` do without."""

    def __init__(self, settings: ClusterSettings) -> None:
        settings.check()
        super().__init__(f"the cluster {settings.name}", settings.node, settings.partitions)
        self.settings = settings
        self._doubting: asyncio.Task[None] | None = None

    async def _connect(self) -> Bus:
        settings = self.settings
        names = Names(settings.name, settings.partitions)
        access = access_of(settings.urls, **settings.files)
        bus = Bus(access, names, settings.node, self)
        self._bus = bus
        bus.open()
        try:
            servers = await ensure(bus.control, names, settings.replicas, STREAMS_SECONDS)
            if settings.sync == "always":
                away = await prove(self._monitors, servers, access.tls)
                if away:
                    self._doubting = asyncio.create_task(self._prove_those(away, servers, access.tls))
            else:
                log.warning(
                    "sync is relaxed: where NATS loses power, what was acknowledged lately may be lost, and "
                    "sessions may be older than their clients"
                )
        except BaseException:
            await bus.close()
            raise
        log.info("%s is on %s", self.where, bus.control.server)
        return bus

    def _watch_over(self, node: Node) -> Watch:
        assert isinstance(self._bus, Bus)
        return Watch(self.settings, node, self._bus, self._need_turn().core.host.told)

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        if self._doubting is not None:
            self._doubting.cancel()
        await super().close(seconds)

    def limited(self, size: int) -> int:
        if self._most <= 0:
            most = self._most + BESIDE_MESSAGE
            raise ClusterError(f"NATS takes {most} bytes at once: raise its max_payload, to 8MB at best")
        limit = super().limited(size)
        if limit != size:
            log.info("NATS takes no more at once; its max_payload can be raised")
        return limit

    # -- servers that were away

    @property
    def _monitors(self) -> Sequence[str]:
        return self.settings.monitors or monitors_of(self.settings.urls)

    async def _prove_those(self, away: set[str], servers: set[str], tls: ssl.SSLContext | None) -> None:
        """Ask the servers that were away whether they write at once, as soon as they are back. Where one does
        not, or does not say so, nothing more is acknowledged here.
        """
        log.warning("away, so not yet known to write at once: %s", ", ".join(sorted(away)))
        back: dict[str, float] = {}  # since when
        while away:
            await asyncio.sleep(PROVED_AGAIN_SECONDS)
            try:
                away = await prove(self._monitors, servers, tls)
            except WritesLate as error:
                self._end(error)
                return
            except ClusterError as error:
                log.debug("more servers of NATS are away: %s", error)
            behind = {name for one in self._streams() for name in one.behind}
            for name in away:
                if not self._streams() or name in behind:
                    back.pop(name, None)
                elif time.monotonic() - back.setdefault(name, time.monotonic()) > BACK_SECONDS:
                    why = f"{name} is there, and its monitoring does not tell whether it writes at once"
                    self._end(ClusterError(why))
                    return
        log.info("all servers of %s write at once", self.where)

    def _streams(self) -> Sequence[StreamView]:
        view = self.view()
        return view.streams if view is not None else ()
