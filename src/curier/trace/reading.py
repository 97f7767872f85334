"""One reader of a recording while it is made: a bounded ring, which forgets the oldest events, and counts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from curier.codec.constants import PUBLISH
from curier.codec.publish import head_end
from curier.errors import ProtocolError
from curier.trace.choice import MOST_BYTES, MOST_EVENTS
from curier.trace.events import Event, Missed, Packet

MOST_LOOKED_AT: Final = 1000  # events, for a packet that was lost

SIZE_OF_EVENT = 400
"""Bytes that an event has in memory besides the bytes of its packet."""


class Ring:
    """Events that nobody has taken yet, at most ``most_events`` of ``most_bytes``."""

    def __init__(self, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        if most_events < 1 or most_bytes < 1:
            raise ValueError("a reader needs room for an event: most_events and most_bytes are 1 or more")
        self.most_events = most_events
        self.most_bytes = most_bytes
        self.missed = 0  # of those before the first
        self.missed_at = 0.0
        self.on_event: Callable[[], None] | None = None
        self._events: deque[Event] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> None:
        """Put it behind all others, for which the oldest ones may have to go: at last ``event`` itself."""
        self._events.append(event)
        self._bytes += _size(event)
        while len(self._events) > self.most_events or self._bytes > self.most_bytes:
            oldest = self._events.popleft()
            self._bytes -= _size(oldest)
            self.missed += oldest.count if isinstance(oldest, Missed) else 1
            self.missed_at = oldest.time
        if self.on_event is not None:
            self.on_event()

    def lose(self, packet: Packet) -> bool:
        """Of the packets that were sent last, this one never arrived. False: it is not here, or was taken."""
        found = -1
        for back in range(min(len(self._events), MOST_LOOKED_AT)):
            event = self._events[-1 - back]
            if not isinstance(event, Packet) or not _are_same(event, packet):
                continue
            if found >= 0 and event.time != self._events[-1 - found].time:
                break
            if not event.lost:
                found = back  # of equal ones at once the first
        if found < 0:
            return False
        event = self._events[-1 - found]
        assert isinstance(event, Packet)
        self._events[-1 - found] = replace(event, lost=True)
        return True

    def take(self) -> list[Event]:
        """All of them, with a ``Missed`` before them where some are gone."""
        events: list[Event] = [Missed(self.missed_at, self.missed)] if self.missed else []
        events += self._events
        self._events.clear()
        self._bytes = self.missed = 0
        return events


def _are_same(one: Packet, other: Packet) -> bool:
    """Is it the same packet of the same connection, as far as both are known?"""
    if one.wire.number != other.wire.number or one.to_server != other.to_server:
        return False
    known = min(len(one.data), len(other.data))
    sizes = len(one.data) + one.cut, len(other.data) + other.cut
    return sizes[0] == sizes[1] and one.data[:known] == other.data[:known]


def _size(event: Event) -> int:
    return SIZE_OF_EVENT + (len(event.data) if isinstance(event, Packet) else 0)


class Trace:
    """What goes by from now on, until it is closed or nobody has it any more.

        async with broker.trace(client_id="sensor-1") as trace:
            async for event in trace:
                print(event)

    ``take`` gives what is there without waiting. Waiting for the next event can be cancelled, and loses
    nothing. One task at a time may wait.
    """

    def __init__(
        self, ring: Ring, close: Callable[[], None], past: Iterator[list[Event]] | None = None
    ) -> None:
        self._past = past  # comes before what is in the ring, a few milliseconds' worth at a time
        self._ring = ring
        self._close = close
        self._ready: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_open = True
        ring.on_event = None

    def take(self) -> list[Event]:
        """All events that are there, oldest first. Where the past was asked for, it is made now, which takes
        tenths of a second (``take_past`` lets others have their turn).
        """
        events = [*self._ready]
        self._ready.clear()
        for some in self._past or ():
            events += some
        self._past = None
        return events + self._ring.take()

    def ready(self) -> int:
        """How many events could be taken without waiting."""
        return len(self._ready) + len(self._ring)

    def close(self) -> None:
        """See nothing more. What is there can still be taken."""
        if self._is_open:
            self._is_open = False
            self._close()
            self._wake()

    def _wake(self) -> None:
        self._ring.on_event = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._past is not None:
                await self._remember(self._past)
                continue
            self._ready.extend(self._ring.take())
            if self._ready:
                break
            if not self._is_open:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("another task waits for the next event of this trace")
            self._waiter = asyncio.get_running_loop().create_future()
            self._ring.on_event = self._wake
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._ring.on_event = None
        return self._ready.popleft()

    async def take_past(self) -> list[Event]:
        """What was asked for of the past, while others have their turn between."""
        while self._past is not None:
            await self._remember(self._past)
        events = [*self._ready]
        self._ready.clear()
        return events

    async def _remember(self, past: Iterator[list[Event]]) -> None:
        """Have some of the past ready, then let others have their turn."""
        some = next(past, None)
        if some is None:
            self._past = None
        else:
            self._ready.extend(some)
            await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._is_open:
            self._is_open = False
            self._close()


def shortened(packet: Packet, most: int) -> Packet:
    """The packet with ``most`` bytes of its payload, where it has more."""
    data = packet.data
    if data[0] >> 4 != PUBLISH:
        return packet
    try:
        at = head_end(data, 0, len(data), packet.wire.version)
    except ProtocolError:
        at = 2  # nobody knows where its payload begins
    keep = min(len(data), at + most)
    if keep == len(data):
        return packet
    cut = len(data) - keep
    return Packet(
        packet.time, packet.wire, packet.to_server, data[:keep], packet.publication, cut, packet.lost
    )
