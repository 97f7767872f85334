"""What a network of ``curier.testing`` puts onto its wires, as the events of a recording."""

from __future__ import annotations

from dataclasses import replace

from curier.codec.encode import encode
from curier.codec.packets import Packet as ControlPacket
from curier.testing.network import Network
from curier.testing.wire import Watcher
from curier.testing.wire import Wire as SimulatedWire
from curier.trace import events
from curier.trace.joining import Joiner


class Seen(Watcher):
    """Everything that is sent in a network from now on, lost or not; connections do not end here."""

    def __init__(self, network: Network) -> None:
        self.events: list[events.Event] = []
        self._network = network
        network.watchers.append(self)

    def packet(self, wire: SimulatedWire, from_client: bool, packet: ControlPacket) -> None:
        self.events.append(
            events.Packet(
                self._network.now,
                events.Wire(wire.number, wire.client.client_id, wire.version),
                from_client,
                encode(packet, wire.version),
            )
        )

    def lose_last(self, why: str) -> None:
        """The packet that was sent last does not arrive (the network is to see to that)."""
        last = self.events[-1]
        assert isinstance(last, events.Packet)
        self.events[-1] = replace(last, lost=True)
        self.happened(events.FAULT, last.wire.client_id, why)

    def happened(self, kind: str, client_id: str, why: str = "", publication: int = 0) -> None:
        """Something that no packet says."""
        self.events.append(events.Happening(self._network.now, kind, client_id, why, publication))

    def joined(self) -> Joiner:
        joiner = Joiner()
        for event in self.events:
            joiner.feed(event)
        return joiner
