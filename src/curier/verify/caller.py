"""Gives a peer a network: calls the broker, and calls again when the connection ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from typing import Final

from curier.client.dial import DialSettings, dial
from curier.client.urls import ServerUrl
from curier.errors import ConnectionLost, ProtocolError
from curier.verify.peer import Peer

TICK_SECONDS: Final = 0.02
HANG_UP_EVERY: Final = 500
"""Ticks, on average, after which a client that ``breaks_off`` hangs up by itself."""


class Server:
    """Where a broker is, and how it is called."""

    def __init__(self, url: ServerUrl, dialing: DialSettings | None = None) -> None:
        self.url = url
        self.dialing = dialing or DialSettings()


def say_nothing(peer: Peer) -> None:
    """Listen, and that is all."""


class Line(asyncio.Protocol):
    """One connection of a peer."""

    def __init__(self, peer: Peer, speak: Callable[[Peer], None]) -> None:
        self.peer = peer
        self.speak = speak
        self.transport: asyncio.Transport | None = None
        self.ended = asyncio.Event()
        self.trouble = ""  # what the broker sent that is no MQTT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send CONNECT."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.peer.call()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Answer, and say what there is to say."""
        try:
            self.peer.read(data)
        except ProtocolError as error:
            self.trouble = str(error)
            self.hang_up()
            return
        self.tick()

    def tick(self) -> None:
        """Say what there is to say."""
        if self.peer.is_welcome:
            self.speak(self.peer)
        self.flush()

    def flush(self) -> None:
        """Write what the peer has for the broker."""
        data, self.peer.to_broker = self.peer.to_broker, b""
        if data and self.transport is not None and not self.ended.is_set():
            self.transport.write(data)

    def hang_up(self) -> None:
        """End the connection, without a DISCONNECT."""
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """What belonged to the connection goes with it."""
        if not self.ended.is_set():
            self.ended.set()
            self.peer.hang_up()


class Caller:
    """A peer on the network. It calls, and calls again, until it is told to stop.

    ``speak`` is called whenever the peer may say something. ``once``: it does not call again when its
    connection has ended.
    """

    def __init__(
        self,
        peer: Peer,
        server: Server,
        dice: Random,
        speak: Callable[[Peer], None] = say_nothing,
        once: bool = False,
    ) -> None:
        self.peer = peer
        self.server = server
        self.dice = dice
        self.speak = speak
        self.once = once
        self.breaks_off = False  # it hangs up by itself at times
        self.calls = 0  # connections that it had
        self.line: Line | None = None
        self.trouble = ""  # why there is no connection, or the last one ended, where that is known
        self._is_wanted = asyncio.Event()
        self._is_wanted.set()

    @property
    def is_connected(self) -> bool:
        """Is there a connection just now?"""
        return self.line is not None

    def leave(self) -> None:
        """Hang up, and stay away until ``come_back``."""
        self._is_wanted.clear()
        if self.line is not None:
            self.line.hang_up()

    def come_back(self) -> None:
        """Call again."""
        self._is_wanted.set()

    async def run(self) -> None:
        """Call until this is cancelled. Raises ``ConfigError`` for what can never work."""
        while True:
            await self._is_wanted.wait()
            try:
                _, line = await dial(
                    self.server.url, self.server.dialing, lambda: Line(self.peer, self.speak)
                )
            except ConnectionLost as error:
                self.trouble = str(error)
                await asyncio.sleep(TICK_SECONDS)
                continue
            self.calls += 1
            self.line = line
            try:
                await self._talk(line)
            finally:
                line.hang_up()
                line.connection_lost(None)  # which the transport would say later
                self.line = None
            self.trouble = line.trouble
            if self.once:
                return
            if not line.trouble and not self.peer.refusal:
                continue
            await asyncio.sleep(TICK_SECONDS)  # it would be told the same

    async def _talk(self, line: Line) -> None:
        while not line.ended.is_set() and self._is_wanted.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await line.ended.wait()
            line.tick()
            if self.breaks_off and self.dice.randrange(HANG_UP_EVERY) == 0:
                return
