"""Wires of a simulated network: bytes on their way, in order, slow, in pieces, or lost when a wire is cut."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from curier.codec.packets import Packet

if TYPE_CHECKING:
    from curier.testing.client import SimulatedClient
    from curier.testing.network import Network


class Watcher:
    """Sees every Control Packet when its sender lets go of it; add it to ``Network.watchers``."""

    def packet(self, wire: Wire, from_client: bool, packet: Packet) -> None:
        """``packet`` was sent on ``wire``, by its client or by the broker."""


class Pipe:
    """One direction of a wire: bytes arrive in order, later, in pieces that need not be those sent."""

    def __init__(self, network: Network, deliver: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self.network = network
        self.deliver = deliver
        self.end = end
        self.is_open = True  # takes bytes
        self.is_whole = True  # what is on its way arrives
        self._last = 0.0

    def send(self, data: bytes) -> None:
        """Have ``data`` arrive, unless the pipe is closed or breaks."""
        network = self.network
        while data and self.is_open:
            size = network.random.randint(1, len(data)) if network.splits else len(data)
            self._last = max(self._last, network.now + network.draw(network.latency))
            network.call_at(self._last, partial(self._arrive, data[:size]))
            data = data[size:]

    def close(self) -> None:
        """Have the other end see the end of the stream, behind everything that was sent."""
        if self.is_open:
            self.is_open = False
            when = max(self._last, self.network.now + self.network.draw(self.network.latency))
            self.network.call_at(when, self._ended)

    def _arrive(self, data: bytes) -> None:
        if self.is_whole:
            self.deliver(data)

    def _ended(self) -> None:
        if self.is_whole:
            self.end()


class Wire:
    """A Network Connection between one client and the broker."""

    def __init__(self, network: Network, client: SimulatedClient) -> None:
        self.network = network
        self.client = client
        self.version = client.version
        self.number = network.next_number()
        broker = network.broker
        self.to_broker = Pipe(network, partial(broker.arrived, self), partial(broker.lost, self))
        self.to_client = Pipe(network, partial(client.arrived, self), partial(client.lost, self))

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
                self.network.call_later(notices, pipe.end)
