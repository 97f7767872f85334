"""The server's WebSocket layer as asyncio's protocol: a server for tests of what is spoken to one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from curier.listeners import Listener
from curier.net.layer import LayerError
from curier.net.upgrade import site_of
from curier.net.web import WebSocket


class WebServer(asyncio.Protocol, asyncio.Transport):
    """One connection. ``make`` makes its user once it is open, who can ``write`` and ``close``."""

    def __init__(self, make: Callable[[], asyncio.Protocol], **settings: Any) -> None:
        super().__init__()
        self.web = WebSocket(site_of(Listener("ws://127.0.0.1:1", **settings)), "192.0.2.1:1")
        self.make = make
        self.user: asyncio.Protocol | None = None
        self.below: asyncio.Transport | None = None

    @property
    def network(self) -> asyncio.Transport:
        assert self.below is not None
        return self.below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.below = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        error: LayerError | None = None
        try:
            data = self.web.receive(data)
        except LayerError as caught:
            error = caught
        self.network.write(self.web.answers())
        if self.web.is_open and self.user is None:
            self.user = self.make()
            self.user.connection_made(self)
        if error is not None or self.web.is_ended:
            self.network.close()
        if data and error is None and self.user is not None:
            self.user.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.user is not None:
            self.user.connection_lost(exc)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.network.write(b"".join(self.web.send(bytes(data))))

    def close(self) -> None:
        self.network.write(self.web.close(1000))
