"""A broker in a simulated network: drives a ``BrokerCore``, has a disk that survives crashes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from curier.broker.core import BrokerCore
from curier.broker.effects import Answer, Authenticate, Authorize, Close, Commit
from curier.broker.faults import Fault
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.broker.restoring import Restorer
from curier.session.journal import Journal
from curier.session.records import Batch, decode, encode
from curier.testing.medium import Actor, Delay, Medium
from curier.testing.wire import End, Wire
from curier.trace.events import Happening, Packet
from curier.trace.recorder import Recorder

Answers = Callable[[Authenticate | Authorize], Answer]
"""Who may come in and do what; an ``Answer`` with Reason Code 0 says yes."""

Restore = Callable[[list[Batch], Options, float], BrokerCore]
"""A new core, with a journal, that has the state of these batches; the last argument is the time."""


def default_restore(batches: list[Batch], options: Options, now: float) -> BrokerCore:
    """Replay all that was ever committed."""
    core = BrokerCore(options, now, journal=Journal())
    restorer = Restorer(core)
    for batch in batches:
        restorer.replay(batch.records)
    restorer.finish(now)
    return core


class SimulatedBroker(Actor, End):
    """The broker of a ``Network``. ``core`` is another one after each ``restart``.

    ``disk`` holds what is durable: batches as bytes, so that nothing survives a crash that was not written.
    Errors that the core has caught, such as those of hooks, are raised out of the network's run; set
    ``on_fault`` to be told instead, as a real broker's log is.
    """

    def __init__(
        self,
        medium: Medium,
        options: Options,
        durable: bool,
        disk_latency: Delay,
        answers: Answers | None,
        answer_latency: Delay,
        restore: Restore,
    ) -> None:
        self.medium = medium
        self.options = options
        self.durable = durable
        self.disk_latency = disk_latency
        self.answers = answers
        self.answer_latency = answer_latency
        self.restore = restore
        self.disk: list[tuple[int, bytes]] = []
        self.writing: tuple[int, bytes] | None = None  # the batch that is on its way to the disk
        self.is_running = True
        self.on_fault: Callable[[Fault], None] | None = None
        self.core = self._set_up(
            BrokerCore(
                options,
                medium.now,
                journal=Journal() if durable else None,
                asks_authentication=answers is not None,
                asks_authorization=answers is not None,
            )
        )
        self.recorder = Recorder(self.core, lambda: medium.now, lambda call: call())
        self._wires: dict[BrokerConnection, Wire] = {}
        self._connections: dict[Wire, BrokerConnection] = {}

    def _set_up(self, core: BrokerCore) -> BrokerCore:
        core.asks_authentication = core.asks_authorization = self.answers is not None
        return core

    # ---- wires ----

    def accept(self, wire: Wire) -> None:
        """A client opens a Network Connection."""
        if not self.is_running:
            wire.close(False)
            return
        connection = self.core.attach(f"{wire.client.client_id}:{wire.number}", "memory", self.medium.now)
        self._wires[connection] = wire
        self._connections[wire] = connection

    def arrived(self, wire: Wire, data: bytes) -> None:
        """Bytes came."""
        connection = self._connections.get(wire)
        if connection is not None:
            self.core.receive(connection, data, self.medium.now)
            self.turn()

    def lost(self, wire: Wire) -> None:
        """The network, or the client, has closed a wire."""
        connection = self._connections.pop(wire, None)
        if connection is not None:
            del self._wires[connection]
            wire.close(False)
            self.core.detach(connection, self.medium.now)
            self.turn()

    def broken(self, wire: Wire, event: Happening | Packet) -> None:
        """A rule has done something to a packet; or the packet that was lost by it, or made."""
        connection = self._connections.get(wire)
        if connection is not None:
            self.recorder.broken(connection, event)

    # ---- time ----

    def next_deadline(self) -> float:
        """When ``deadline_reached`` is due; infinity: never."""
        return self.core.next_deadline() if self.is_running else float("inf")

    def deadline_reached(self) -> None:
        """Do what is due."""
        self.core.deadline_reached(self.medium.now)
        self.turn()

    def turn(self) -> None:
        """What the driver of a core does after each thing that happened, until there is nothing to do."""
        core = self.core
        while True:
            closing: list[BrokerConnection] = []
            effects = core.take_effects()
            for effect in effects:
                if isinstance(effect, Close):
                    closing.append(effect.connection)
                elif isinstance(effect, Commit):
                    self.writing = (effect.batch.number, encode(effect.batch.records))
                    self.medium.call_later(self.disk_latency, partial(self._written, core))
                else:
                    assert isinstance(effect, (Authenticate, Authorize))
                    self.medium.call_later(self.answer_latency, partial(self._answer, core, effect))
            dirty = core.take_dirty()
            for connection in dirty:
                self._write(connection)
            for connection in closing:
                wire = self._wires.pop(connection, None)
                if wire is not None:
                    del self._connections[wire]
                    wire.close(False)
            self._tell_faults(core)
            if core.has_more_work():
                core.continue_work(self.medium.now)
            elif not effects and not dirty:
                core.end_turn()
                return

    def _tell_faults(self, core: BrokerCore) -> None:
        for fault in core.take_faults():
            if self.on_fault is None:
                raise fault.error
            self.on_fault(fault)

    def _write(self, connection: BrokerConnection) -> None:
        wire = self._wires[connection]
        data = connection.take_output()
        wire.send(False, data)
        self.core.written(connection, len(data), 0, self.medium.now)

    def _answer(self, core: BrokerCore, effect: Authenticate | Authorize) -> None:
        if core is self.core and self.is_running and self.answers is not None:
            core.resume(effect, self.answers(effect), self.medium.now)
            self.turn()

    # ---- the disk ----

    def _written(self, core: BrokerCore) -> None:
        if core is not self.core or not self.is_running or self.writing is None:
            return  # the broker that wrote it is no more
        self.disk.append(self.writing)
        number = self.writing[0]
        self.writing = None
        core.committed(number, self.medium.now)
        self.turn()

    def crash(self, keeps_open_batch: bool = False) -> None:
        """The broker dies. What it had not made durable is gone, all its connections end.

        ``keeps_open_batch``: the batch on its way to the disk reached it, but the broker never heard of it.
        """
        if keeps_open_batch and self.writing is not None:
            self.disk.append(self.writing)
        self.writing = None
        self.is_running = False
        for wire in list(self._connections):
            wire.to_broker.is_open = False
            wire.close(False)
        self._wires.clear()
        self._connections.clear()

    def restart(self) -> None:
        """A new life from what is on the disk."""
        batches = [Batch(number, decode(data)) for number, data in self.disk]
        if self.durable:
            core = self.restore(batches, self.options, self.medium.now)
        else:
            core = BrokerCore(self.options, self.medium.now)
        self.core = self._set_up(core)
        self.recorder.move_to(self.core)
        self.is_running = True
        self.turn()
