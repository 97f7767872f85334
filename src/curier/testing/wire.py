"""Wires of a simulated network: bytes on their way, in order, slow, in pieces, or lost when a wire is cut."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import groupby

from curier.codec.constants import CONNACK, CONNECT, MQTT_50
from curier.codec.decode import decode
from curier.codec.packets import Packet as ControlPacket
from curier.codec.primitives import packet_end
from curier.faults.line import CUT, SEND, Faults, Line
from curier.faults.rules import FOREVER
from curier.testing.medium import Medium
from curier.trace.events import Closed, Event, Happening, Opened, Packet
from curier.trace.events import Wire as TracedWire

Tell = Callable[[Event], None]
"""Is given what goes by, as it is recorded."""


class Watcher:
    """Sees every Control Packet when its sender lets go of it; add it to ``Network.watchers``."""

    def packet(self, wire: Wire, from_client: bool, packet: ControlPacket) -> None:
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

    def broken(self, wire: Wire, event: Happening | Packet) -> None:
        """A rule has done something to a packet; or the packet that was lost by it, or made."""


class Caller(End):
    """Who opens wires."""

    client_id: str
    version: int


class Wire:
    """A Network Connection between one client and the broker. ``watchers`` see what passes, which goes under
    the rules of ``faults``, if there are any.
    """

    def __init__(
        self,
        medium: Medium,
        client: Caller,
        broker: End,
        watchers: list[Watcher],
        faults: Faults | None = None,
        tells: list[Tell] | None = None,
    ) -> None:
        self.medium = medium
        self.client = client
        self.broker = broker
        self.watchers = watchers
        self.version = client.version
        self.number = medium.next_number()
        self.to_broker = Pipe(medium, partial(broker.arrived, self), partial(broker.lost, self))
        self.to_client = Pipe(medium, partial(client.arrived, self), partial(client.lost, self))
        self.faulty: FaultyWire | None = None
        if faults is not None:
            self.faulty = FaultyWire(self, faults, tells if tells is not None else [])

    def send(self, from_client: bool, data: bytes) -> None:
        """Whole packets leave one end: show them to the watchers, and have them arrive."""
        pos = 0
        while self.watchers and pos < len(data):
            end = packet_end(data, pos)
            packet = decode(data, pos, end, self.version)
            for watcher in self.watchers:
                watcher.packet(self, from_client, packet)
            pos = end
        if self.faulty is not None:
            self.faulty.send(from_client, data)
        else:
            (self.to_broker if from_client else self.to_client).send(data)

    def close(self, from_client: bool) -> None:
        """One end closes: the other sees the end of the stream, behind everything that was sent."""
        if self.faulty is not None:
            self.faulty.close(from_client)
        else:
            (self.to_broker if from_client else self.to_client).close()

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
            if self.faulty is not None:
                self.faulty.line.close()
                self.faulty.over("network", "the connection was cut")
            if loses_what_is_on_its_way:
                pipe.is_whole = False
            if notices is not None:
                self.medium.call_later(notices, pipe.end)


class FaultyWire:
    """A wire whose packets pass under rules, in virtual time."""

    def __init__(self, wire: Wire, faults: Faults, tells: list[Tell]) -> None:
        medium = wire.medium
        self.wire = wire
        self._tells = tells
        self._is_over = False
        faults.clock = lambda: medium.now
        client = wire.client
        self.line = Line(faults, TracedWire(wire.number, client.client_id, client.version), medium.now)
        self.line.on_change = self._obey
        self._alarm = FOREVER
        self._tell(Opened(medium.now, self.line.wire))
        self._obey()

    def send(self, from_client: bool, data: bytes) -> None:
        """Whole packets leave one end, or none."""
        if not data or self._is_clear(data):
            pipe = self.wire.to_broker if from_client else self.wire.to_client
            pipe.send(data)
            return
        pos = 0
        while pos < len(data):
            end = packet_end(data, pos)
            self.line.packet(from_client, data[pos:end], self.wire.medium.now)
            pos = end
        self._obey()

    def close(self, from_client: bool) -> None:
        """One end closes."""
        self.line.end(from_client, self.wire.medium.now)
        self._obey()
        self.over("client" if from_client else "server", "")

    def over(self, by: str, why: str) -> None:
        """The wire has ended, as soon as it has; the first call says by whom."""
        if not self._is_over:
            self._is_over = True
            self._tell(Closed(self.wire.medium.now, self.line.wire, by, why))

    def _tell(self, event: Event) -> None:
        for tell in self._tells:
            tell(event)

    def _is_clear(self, data: bytes) -> bool:
        """Is there no rule, nothing on its way, and nothing to be learned for rules to come?"""
        line = self.line
        if line.faults.kept or self._tells or not line.is_idle:
            return False
        return not (data[0] >> 4 in (CONNECT, CONNACK) or self.wire.version == MQTT_50)

    def _obey(self) -> None:
        """Do what the line orders, and have it called when its time comes."""
        wire, line, medium = self.wire, self.line, self.wire.medium
        events, news = line.take_news()
        for event in events:
            self._tell(event)
        for one in news:
            wire.broker.broken(wire, one)
        for (kind, to_server), orders in groupby(line.take_orders(), lambda one: (one.kind, one.to_server)):
            pipe = wire.to_broker if to_server else wire.to_client
            if kind == CUT:
                wire.cut()
            elif kind == SEND:
                pipe.send(b"".join(order.data for order in orders))  # what goes at once arrives at once
            else:
                pipe.close()
        if not (wire.to_broker.is_open or wire.to_client.is_open):
            line.close()
            return
        when = line.next_deadline()
        if when < self._alarm:
            self._alarm = when
            medium.call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = FOREVER
        self.line.deadline_reached(self.wire.medium.now)
        self._obey()
