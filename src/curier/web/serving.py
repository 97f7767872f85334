"""What answers requests at the window: all that is loaded when the first one comes."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from socket import socket

from curier.listeners import Network
from curier.server import Broker
from curier.web import pages
from curier.web.administration import overview_of
from curier.web.app import application
from curier.web.events import OVERVIEW
from curier.web.guard import Guard
from curier.web.history import History
from curier.web.http import HttpServer
from curier.web.identity import Identities
from curier.web.keeper import Keeper
from curier.web.logins import Logins
from curier.web.people import People
from curier.web.routes import routes
from curier.web.scene import Scene
from curier.web.wire import Wire


class Serving:
    """The application, and the server for it. It may be made in any thread, and then lives in the loop's."""

    def __init__(
        self,
        broker: Broker,
        history: History,
        identities: Identities,
        keeper: Keeper | None,
        people: Callable[[], People],
        *,
        hosts: Sequence[str],
        prefix: str,
        proxies: tuple[Network, ...],
        has_open_metrics: bool,
    ) -> None:
        self.scene = Scene(broker, keeper, history)
        self.wire = Wire(self.scene)
        logins = Logins(self.scene, identities, people)
        more = [*routes(self.scene, identities, self.wire, logins.routes()), *pages.routes()]
        app = application(broker, more, None if has_open_metrics else identities)
        self.server = HttpServer(Guard(app, hosts, prefix, proxies))

    async def start(self, sockets: Sequence[socket], context: ssl.SSLContext | None) -> None:
        """Answer who comes to these sockets, which listen already."""
        self.scene.broker.core.add_hook(self.scene.hub)
        self.scene.broker.core.add_hook(self.scene.endings)
        self.scene.history.on_sample = lambda _: self._tell()
        await self.server.start(sockets, context)

    def _tell(self) -> None:
        """A second has passed."""
        hub = self.scene.hub
        if hub.wants(OVERVIEW):
            hub.tell(OVERVIEW, overview_of(self.scene))
        hub.tick()
        self.scene.bin.tick()

    async def stop(self) -> None:
        """End what is being answered."""
        self.scene.hub.close()
        self.wire.close()
        self.scene.past.close()
        await self.server.stop()
