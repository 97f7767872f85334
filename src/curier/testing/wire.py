"""Wires of a simulated network: bytes on their way, in order, slow, in pieces, or lost when a wire is cut."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from curier.codec.decode import decode
from curier.codec.packets import Packet
from curier.codec.primitives import packet_end
from curier.testing.medium import Medium


class Watcher:
    """Sees every Control Packet when its sender lets go of it; add it to ``Network.watchers``."""

    def packet(self, wire: Wire, from_client: bool, packet: Packet) -> None:
        """``packet`` was sent on ``wire``, by its client or by the broker."""


class Pipe:
    """One direction of a wire: bytes arrive in order, later, in pieces that need not be those sent."""

    def __init__(self, medium: Medium, deliver: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self.medium = medium
        self.deliver = deliver
        self.end = end
        self.is_open = True  # takes bytes
        self.is_whole = True  # what is on its way arrives
        self._last = 0.0

    def send(self, data: bytes) -> None:
        """Have ``data`` arrive, unless the pipe is closed or breaks."""
        medium = self.medium
        while data and self.is_open:
            size = medium.random.randint(1, len(data)) if medium.splits else len(data)
            self._last = max(self._last, medium.now + medium.draw(medium.latency))
            medium.call_at(self._last, partial(self._arrive, data[:size]))
            data = data[size:]

    def close(self) -> None:
        """Have the other end see the end of the stream, behind everything that was sent."""
        if self.is_open:
            self.is_open = False
            medium = self.medium
            when = max(self._last, medium.now + medium.draw(medium.latency))
            medium.call_at(when, self._ended)

    def _arrive(self, data: bytes) -> None:
        if self.is_whole:
            self.deliver(data)

    def _ended(self) -> None:
        if self.is_whole:
            self.end()


class End:
    """Who is at one end of wires."""

    def arrived(self, wire: Wire, data: bytes) -> None:
        """Bytes came."""

    def lost(self, wire: Wire) -> None:
        """The network, or the other end, has closed a wire."""


class Caller(End):
    """Who opens wires."""

    client_id: str
    version: int


class Wire:
    """A Network Connection between one client and the broker. ``watchers`` see what passes."""

    def __init__(self, medium: Medium, client: Caller, broker: End, watchers: list[Watcher]) -> None:
        self.medium = medium
        self.client = client
        self.watchers = watchers
        self.version = client.version
        self.number = medium.next_number()
        self.to_broker = Pipe(medium, partial(broker.arrived, self), partial(broker.lost, self))
        self.to_client = Pipe(medium, partial(client.arrived, self), partial(client.lost, self))

    def send(self, from_client: bool, data: bytes) -> None:
        """Whole packets leave one end: show them to the watchers, and have them arrive."""
        pos = 0
        while self.watchers and pos < len(data):
            end = packet_end(data, pos)
            packet = decode(data, pos, end, self.version)
            for watcher in self.watchers:
                watcher.packet(self, from_client, packet)
            pos = end
        (self.to_broker if from_client else self.to_client).send(data)

    def cut(
        self,
        client_notices: float | None = 0.0,
        broker_notices: float | None = 0.0,
        loses_what_is_on_its_way: bool = True,
    ) -> None:
        """The network fails: no more bytes pass. Each side notices after so many seconds, or never (None).

        What is on its way is lost, or still arrives (as far as its end has not noticed by then).
        """
        for pipe, notices in ((self.to_client, client_notices), (self.to_broker, broker_notices)):
            pipe.is_open = False
            if loses_what_is_on_its_way:
                pipe.is_whole = False
            if notices is not None:
                self.medium.call_later(notices, pipe.end)
