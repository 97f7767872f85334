"""The protocol of a connection that is not yet MQTT's: some bytes asked, some answered, then handed over."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from curier.client.dialing.strangers import who_speaks
from curier.errors import ConnectionLost

LIMIT_BYTES: Final = 65_536
"""What a peer may say before it is asked; past that it is not read from."""


class Talk(asyncio.Protocol):
    """Reads at the caller's pace. Every wait may be cancelled; bytes that came stay."""

    def __init__(self, peer: str) -> None:
        self.peer = peer  # for errors: "the server", "the proxy ..."
        self.is_lost = False
        self.cause: Exception | None = None
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None

    # ---- asyncio's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > LIMIT_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.is_lost = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.cause = exc
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ---- the caller's side ----

    async def read(self, count: int) -> bytes:
        """Read exactly ``count`` bytes; ``ConnectionLost`` if the peer closes before."""
        while len(self._buffer) < count:
            await self._more()
        return self._take(count)

    async def read_until(self, end: bytes, limit: int) -> bytes:
        """Read up to and with ``end``, at most ``limit`` bytes; ``ConnectionLost`` if it does not come."""
        while (place := self._buffer.find(end, 0, limit)) < 0:
            if len(self._buffer) >= limit:
                raise ConnectionLost(f"{self.peer} answered more than {limit} bytes")
            await self._more()
        return self._take(place + len(end))

    async def _more(self) -> None:
        self.check()
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def check(self) -> None:
        """Raise ``ConnectionLost`` if the peer is gone."""
        if self.is_lost:
            raise ConnectionLost(f"{self.peer} closed the connection") from self.cause

    def check_nothing_left(self) -> None:
        """Raise ``ConnectionLost`` if the peer said more than it was asked.

        Before TLS this is more than manners: what came in the clear must not be taken for what is secret.
        """
        if self._buffer:
            who = who_speaks(bytes(self._buffer))
            raise ConnectionLost(f"{self.peer} speaks before it is asked: {who}")

    def hand_over(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Make ``protocol`` the one that ``transport`` serves; what already came goes to it."""
        self.check()
        if transport.is_closing():
            raise ConnectionLost(f"{self.peer} closed the connection")
        transport.set_protocol(protocol)
        early = self._take(len(self._buffer))
        protocol.connection_made(transport)
        if early and not transport.is_closing():
            protocol.data_received(early)
        if len(early) > LIMIT_BYTES and not transport.is_closing():
            transport.resume_reading()
