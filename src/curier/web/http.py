"""HTTP/1.1 in the broker's event loop: uvicorn's protocol on h11, without uvicorn's server.

That would catch signals, which are the broker's, and wake up ten times a second. What strangers could do with
connections alone is bounded here: how many there are, and how long one may take to ask something.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import Sequence
from socket import socket
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from curier.web.problems import problem

MOST_CONNECTIONS: Final = 500
REQUEST_SECONDS: Final = 10.0
"""From the connection, or the end of the last answer, to a whole head of a request."""

MOST_MESSAGE: Final = 1 << 20  # bytes, of a WebSocket
MOST_HEAD: Final = 64 * 1024  # bytes, which topics in a query take three times as many of as they have

LINGER_SECONDS: Final = 2.0
"""How long one that is refused is read from, until it has seen why."""

GOODBYE_SECONDS: Final = 1.0
"""How long answers may take to end when the server stops; then they are cut."""

_silent: Final = logging.Logger("curier.web.http")
_silent.disabled = True  # strangers' bad requests; errors of ours are logged where they are caught


class Protocol(H11Protocol):
    """One connection."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.logger = _silent
        self.access_log = False
        self._late: asyncio.TimerHandle | None = None
        self._is_refused = False  # what else it sends is not looked at

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._late = self.loop.call_later(REQUEST_SECONDS, self._too_late)

    def data_received(self, data: bytes) -> None:
        """A part of a request."""
        if self._is_refused:
            return
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._late is not None:
                self._late.cancel()
                self._late = None
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(REQUEST_SECONDS, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """It is a WebSocket from here, which may be silent."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too large a head, in words like every other refusal.

        The rest of it is read for a while all the same: to close at once could destroy the answer.
        """
        error = sys.exception()
        is_large = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        why = f"the head of a request may have {MOST_HEAD} bytes" if is_large else "this is no HTTP/1.1"
        answer = problem(431 if is_large else 400, why, {"connection": "close"})
        head = h11.Response(status_code=answer.status_code, headers=answer.raw_headers)
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._is_refused = True
        if self._late is not None:
            self._late.cancel()
        if not self.transport.can_write_eof():  # TLS says itself that it ends
            self.transport.close()
            return
        self.transport.write_eof()
        self._late = self.loop.call_later(LINGER_SECONDS, self._too_late)

    def _too_late(self) -> None:
        self._late = None
        self.transport.abort()


class Socket(WebSocketsSansIOProtocol):
    """One WebSocket, which has been asked for by HTTP."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, without a log of its own."""
        self.logger = self.conn.logger = _silent
        super().connection_made(transport)


class HttpServer:
    """Serves ``app`` on sockets that are bound already. A program of its own has nothing else to await."""

    def __init__(self, app: ASGIApp) -> None:
        self._config = uvicorn.Config(
            app,
            log_config=None,
            http=Protocol,
            ws=Socket,
            ws_max_size=MOST_MESSAGE,
            ws_per_message_deflate=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=30,
            h11_max_incomplete_event_size=MOST_HEAD,
        )
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket], context: ssl.SSLContext | None = None) -> None:
        """Listen."""
        self._config.load()
        loop = asyncio.get_running_loop()
        for sock in sockets:
            self._servers.append(await loop.create_server(self._protocol, sock=sock, ssl=context))

    def _protocol(self) -> Protocol:
        return Protocol(self._config, self._state, {})

    async def stop(self) -> None:
        """Listen no more, let answers end for a second, and cut those that do not."""
        for server in self._servers:
            server.close()
        for connection in [*self._state.connections]:
            connection.shutdown()
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                while self._state.connections or self._state.tasks:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # uvicorn tells nobody when they end
        except TimeoutError:
            pass
        finally:
            for task in [*self._state.tasks]:
                task.cancel()
            for connection in [*self._state.connections]:
                connection.transport.abort()
        await asyncio.sleep(0)
