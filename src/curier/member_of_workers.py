"""A broker as one of the workers of a machine, all of them in memory."""

from __future__ import annotations

import socket

from curier.cluster.node import Node
from curier.cluster_settings import WorkerSettings
from curier.errors import ClusterError
from curier.local.bus import Bus
from curier.member import Member
from curier.worker_watch import Watch


class WorkerMember(Member):
    """A ``Member`` that ends with the process that joins the workers: all there is lies there."""

    def __init__(self, settings: WorkerSettings) -> None:
        settings.check()
        super().__init__("the workers of this machine", settings.node, 1)
        self.settings = settings

    async def _connect(self) -> Bus:
        try:
            sock = socket.socket(fileno=self.settings.engine)
        except OSError as error:
            raise ClusterError(f"there is nobody who joins the workers: {error.strerror}") from error
        sock.setblocking(False)
        bus = Bus(self.settings.node, self)
        await bus.open(sock)
        return bus

    def _watch_over(self, node: Node) -> Watch:
        assert isinstance(self._bus, Bus)
        return Watch(self.settings, node, self._bus, self._need_turn().core.host.told)

    def ended(self, why: str) -> None:
        """The engine is gone, or will not have this process."""
        self._end(ClusterError(f"what joins the workers is gone: {why}"))
