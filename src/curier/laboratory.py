"""The laboratory of a broker: rules that break its own connections on purpose. Never on where nobody asked.

    broker = Broker("tcp://127.0.0.1:0")
    broker.lab = Laboratory(Faults("lose 2nd PUBACK to dash-1"))

It lies between MQTT and whatever carries it (``net.layer``), so it is the same on every kind of listener.
What the broker has done is done: a lost PUBACK is an acknowledgement that it gave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from curier.broker.model import BrokerConnection
from curier.faults.line import CUT, END, SEND, Faults, Line
from curier.faults.rules import FOREVER
from curier.loglines import logger, printable
from curier.net.handshakes import Handshakes
from curier.net.layer import Layer, LayerError
from curier.net.passage import receive
from curier.net.turn import Turn
from curier.net.wire import Wire as NetWire
from curier.trace.events import Happening, Packet, Wire
from curier.trace.framing import Framer

log = logger("curier.lab")

MOST_HELD: Final = 64 * 2**20
"""Bytes that rules may hold back of one connection; it ends where it is more."""

Tell = Callable[[BrokerConnection, Happening | Packet], None]

LIMIT_WORDS: Final = 400  # characters of one fault in the log


class Laboratory:
    """``faults`` may be changed while the broker runs, in its loop. One of them is for one broker."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._number = 0

    def layers(self, turn: Turn, handshakes: Handshakes, tell: Tell) -> Callable[[str], Layer]:
        """What makes the layer of each connection; ``tell`` is given what the broker itself cannot see."""
        self.faults.clock = turn.clock.now
        log.warning(
            "LABORATORY: this broker breaks its own connections on purpose, by %d rules: %s. It keeps no "
            "promise to its clients, and is for tests alone",
            len(self.faults.rules),
            "; ".join(map(str, self.faults.rules)) or "none so far",
        )

        def make(address: str) -> Layer:
            self._number += 1
            wire = Wire(self._number, "", 0, "", address)
            return LabLayer(Line(self.faults, wire, turn.clock.now()), turn, handshakes, tell)

        return make


class LabLayer(Layer):
    """The top layer of one connection."""

    def __init__(self, line: Line, turn: Turn, handshakes: Handshakes, tell: Tell) -> None:
        super().__init__()
        self.is_open = True
        self._line = line
        self._turn = turn
        self._handshakes = handshakes
        self._tell = tell
        self._wire: NetWire | None = None
        self._framers = (Framer(False), Framer(True))
        self._given: list[bytes] = []  # for the broker
        self._said: list[bytes] = []  # for the client
        self._broken = ""  # why the connection ends
        self._timer: asyncio.Handle | None = None
        line.on_change = self._wake_soon

    def receive(self, data: bytes) -> bytes:
        now = self._turn.clock.now()
        self._line.deadline_reached(now)
        self._pass(True, data, now)
        given = b"".join(self._given)
        self._given.clear()
        self.has_more = False
        if self._broken:
            if not given:
                raise LayerError(self._broken)
            self.has_more = True
        return given

    def send(self, data: bytes) -> list[bytes]:
        """What goes down now; what a rule holds back goes by ``answers`` when its time has come."""
        before, self._said = self._said, []
        self._pass(False, data, self._turn.clock.now())
        said, self._said = [*before, *self._said], []
        if self._given or self._broken:
            self._wake_soon()
        return said

    def answers(self) -> bytes:
        said = b"".join(self._said)
        self._said.clear()
        return said

    def close(self, code: int) -> bytes:
        """What was held back from the client goes now, in its order: there is no later."""
        if self._timer is not None:
            self._timer.cancel()
        rest = self.answers() + self._line.rest(False)
        self._line.close()
        return rest

    def _pass(self, to_server: bool, data: bytes, now: float) -> None:
        line = self._line
        line.pieces(to_server, self._framers[to_server].feed(data), now)
        for event in line.take_news()[1]:
            if isinstance(event, Happening):
                who = event.client_id or line.wire.client_address
                log.warning("LABORATORY: %s: %s", printable(who), printable(event.why, LIMIT_WORDS))
            if (wire := self._found()) is not None:
                self._tell(wire.connection, event)
        for order in line.take_orders():
            if order.kind == CUT:
                self._broken = "the laboratory has cut the connection"
            elif order.kind == SEND:
                (self._given if order.to_server else self._said).append(order.data)
            elif order.kind == END:
                self._broken = "the laboratory has ended the connection"
        if line.waiting(True) + line.waiting(False) > MOST_HELD:
            self._broken = f"the laboratory holds back more than {MOST_HELD >> 20} MiB of it"
        self._set_timer(now)

    # ---- time ----

    def _set_timer(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self._line.next_deadline()
        if when < FOREVER:
            self._timer = self._turn.loop.call_later(max(when - now, 0.0), self._wake)

    def _wake_soon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._turn.loop.call_soon(self._wake)

    def _wake(self) -> None:
        """Have the connection see what is due, as if bytes had come."""
        self._timer = None
        turn, wire = self._turn, self._found()
        if wire is not None and wire.layers is not None and not wire.connection.is_closed():
            receive(turn, self._handshakes, wire, wire.layers, b"", turn.clock.now())
            turn.schedule()

    def _found(self) -> NetWire | None:
        """The wire that this is a layer of; there is none before it is known to the turn."""
        if self._wire is None:
            for wire in self._turn.wires.values():
                if wire.layers is not None and wire.layers.layers[-1] is self:
                    self._wire = wire
        return self._wire
