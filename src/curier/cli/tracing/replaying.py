"""A recording, played again against a broker: who drives a ``Replayer``, over real connections."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress

from curier.client.dial import DialSettings, dial
from curier.client.urls import ServerUrl
from curier.frozen import dataclass
from curier.trace.replay import END, EXPECT, OPEN, SEND, Replayer, Step


@dataclass(frozen=True, slots=True)
class Pace:
    """How it is played. ``speed``: so many times as fast as it was, 0: as fast as it is answered. ``step`` is
    asked before each packet that is sent. ``patience``: seconds for an answer.
    """

    speed: float = 0.0
    step: Callable[[Step], None] | None = None
    patience: float = 5.0


class _Line(asyncio.Protocol):
    """One connection to the broker."""

    def __init__(self, replayer: Replayer, number: int, came: asyncio.Event) -> None:
        self._replayer = replayer
        self._number = number
        self._came = came

    def data_received(self, data: bytes) -> None:
        self._replayer.feed(self._number, data)
        self._came.set()

    def connection_lost(self, why: Exception | None) -> None:
        self._replayer.closed(self._number)
        self._came.set()


class Playing:
    """Takes the steps of ``replayer`` against the broker at ``url``."""

    def __init__(self, url: ServerUrl, replayer: Replayer, pace: Pace) -> None:
        self._url = url
        self._replayer = replayer
        self._pace = pace
        self._came = asyncio.Event()
        self._lines: dict[int, asyncio.Transport] = {}

    async def run(self) -> None:
        """Play all of it. Raises ``ConnectionLost``, ``ConfigError`` where the broker cannot be reached.

        Cancelling closes all connections.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        steps = self._replayer.plan.steps
        try:
            for step in steps:
                if self._pace.speed:
                    due = begun + (step.time - steps[0].time) / self._pace.speed
                    await asyncio.sleep(max(0.0, due - loop.time()))
                await self._take(step)
            self._replayer.finish()
        finally:
            for line in self._lines.values():
                line.close()

    async def _take(self, step: Step) -> None:
        number = step.wire.number
        if step.kind == OPEN:
            self._replayer.opened(step)
            line, _ = await dial(self._url, DialSettings(), lambda: _Line(self._replayer, number, self._came))
            self._lines[number] = line
        elif step.kind == SEND:
            if self._pace.step is not None:
                await asyncio.to_thread(self._pace.step, step)
            if data := self._replayer.outgoing(step):
                self._lines[number].write(data)
        elif step.kind == END:
            self._lines[number].close()
        else:
            await self._wait(step)

    async def _wait(self, step: Step) -> None:
        """Wait for an answer, or for an end."""
        came = False
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.patience):
                while not (came := self._replayer.take(step)):
                    if step.kind == EXPECT and self._replayer.is_over(step):
                        break
                    self._came.clear()
                    await self._came.wait()
        if not came:
            self._replayer.missed(step, f"nothing in {self._pace.patience:g} seconds")


async def is_here(url: ServerUrl) -> bool:
    """Whether a broker is on this machine, whatever its name. Raises ``OSError`` for a name nobody knows."""
    if url.scheme == "unix":
        return True
    found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)
