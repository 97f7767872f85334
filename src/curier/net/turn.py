"""The turn: what happens, in this order, after bytes came in, time passed or an answer arrived.

1. Effects: the journal's batch goes to the store first, so that the disk works while the network is written;
   questions go to whoever answers them.
2. Every dirty connection is written, once, everything it has. In a flood, small writes of messages to clients
   that only acknowledge are postponed for a few turns, so that several make one: on loopback and in most
   networks a write costs far more than its bytes.
3. Connections that ended are closed, behind their last bytes.
4. One timer is set, for the first deadline.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, final

from curier.broker.core import BrokerCore
from curier.broker.effects import Answer, Authenticate, Authorize, Close, Commit, Effect, Packets, Question
from curier.broker.entrances import Entrance
from curier.broker.model import BrokerConnection, LogMessage
from curier.codec.primitives import LARGE_PIECE
from curier.loglines import logger, printable
from curier.net.clock import Clock
from curier.net.tape import UNKNOWN, Tape
from curier.net.wire import TURN_BYTES, Wire

log = logger("curier.net")

NO_DEADLINE: Final = math.inf
NO_PIECES: Final[list[bytes]] = []

POSTPONED_SECONDS: Final = 0.003  # at most, and only while there is more to be read
MOST_OF_FAULT: Final = 500  # characters of what is logged of one, but for its traceback
MOST_WRITES: Final = 256  # in one turn
WRITE_SECONDS: Final = 0.004  # the same, where the system takes long for each; it is asked now and then
WRITES_A_LOOK: Final = 32
POSTPONED_BYTES: Final = 8192  # what is worth a write of its own

EARLY_BYTES: Final = 4096
"""What a client may have sent behind its CONNECT before it is no longer read from; as long as it is, one sees
at once that it has gone, and need not find out who it was."""

EARLY_UNSENT: Final = 64 * 1024
"""What may wait for a client that has not logged in: TLS answers it, whether it reads or not."""

MAX_HELD: Final = 4096
"""Answers that may wait for the disk before their client is no longer read from."""


@final
class Turn:
    """Drives one ``BrokerCore`` in one event loop. ``on_effect`` gets every effect, ``Close`` as news."""

    def __init__(
        self,
        core: BrokerCore,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        on_effect: Callable[[Effect], None],
    ) -> None:
        self.core: BrokerCore = core
        self.loop: asyncio.AbstractEventLoop = loop
        self.clock: Clock = clock
        self.on_effect: Callable[[Effect], None] = on_effect
        self.wires: dict[int, Wire] = {}  # by number of the connection
        self.tape: Tape | None = None  # has what was read and written last, where that is kept
        self.trusted_until: float = math.inf  # as one node of a cluster: by the clock; see ``hold``
        self.send: Callable[[list[Packets]], None] | None = None  # to other nodes, at QoS 0
        self.share: Callable[[list[LogMessage]], None] | None = None  # with members of groups, at QoS 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float = NO_DEADLINE
        self._is_scheduled: bool = False
        self._is_continuing: bool = False
        self._is_stopped: bool = False
        self._is_carrying_out: bool = False  # an effect
        self._postponed: list[BrokerConnection] = []  # dirty, to be written in a later turn
        self._postponed_at: float = 0.0  # when the first of them was
        self._written: int = 0  # bytes, to all sockets in this turn
        self._writes: int = 0
        self._most_writes: int = MOST_WRITES
        self._writing_since: float = 0.0
        self._throttled: set[Wire] = set()  # not read from until a batch is durable
        self._held: list[BrokerConnection] = []  # dirty, to be written when this node is trusted

    def attach(
        self, address: str, listener: str, entrance: Entrance | None = None, place: str = ""
    ) -> BrokerConnection:
        return self.core.attach(address, listener, self.clock.now(), entrance, place)

    def add(self, wire: Wire) -> None:
        self.wires[wire.connection.number] = wire

    def receive(self, wire: Wire, chunk: bytes, now: float) -> None:
        """Bytes came. The caller sees to it that ``finish`` or ``schedule`` follows."""
        connection = wire.connection
        tape = self.tape
        if tape is not None:
            tape.came(connection, chunk, now)
        connection.receive(chunk, now)
        if wire.is_reading and (connection.paused or self._waits_for_disk(connection)):
            self.update_reading(wire)

    def ended(self, wire: Wire) -> bool:
        """The client has ended its direction. True: so it is lost; False: first what it said before is due,
        for which it is not read from meanwhile.
        """
        connection = wire.connection
        if not connection.paused or not connection.waiting_bytes():
            return True
        wire.has_ended = True
        self.update_reading(wire)
        return False

    def lost(self, wire: Wire) -> None:
        """The network has closed the connection."""
        connection = wire.connection
        if self.wires.pop(connection.number, None) is not None:
            self.schedule()
            if wire.layers is not None and not connection.is_closed():
                midst = wire.layers.midst()
                if midst:
                    log.warning(
                        "%s at %s has broken off %s", connection.address, connection.listener_name, midst
                    )
            self.core.detach(connection, self.clock.now())

    def give_up(self, connection: BrokerConnection, where: str, error: Exception) -> None:
        """An error was met with the network of a connection, or with what is asked for it: that one ends, and
        nobody else pays for it [MQTT-4.13.1-1].
        """
        self.core.give_up(connection, where, error, self.clock.now())
        self.schedule()

    def refuse(self, wire: Wire, why: str, now: float, is_visit: bool = False) -> None:
        """The peer broke a rule of what lies below MQTT, or is refused there: the connection ends. A visit is
        nothing to warn of.
        """
        connection = wire.connection
        if connection.is_closed():
            return
        if connection.server_session is None:  # of the others, the log tells as of all that end
            tell = log.info if is_visit else log.warning
            tell("%s at %s: %s", connection.address, connection.listener_name, printable(why, MOST_OF_FAULT))
        self.core.cut(connection, why, now)
        self.schedule()

    def _tell_faults(self) -> None:
        """Log the errors that the core has caught."""
        faults = self.core.faults
        left_out = faults.left_out
        faults.left_out = 0
        for fault in self.core.take_faults():
            log.error("an error: %s", printable(fault.text, MOST_OF_FAULT), exc_info=fault.error)
        if left_out:
            log.error("and %d more errors, of which nothing is known but that they were caught", left_out)

    def schedule(self) -> None:
        """Have ``finish`` called once, when the loop comes round."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self._scheduled)

    def _scheduled(self) -> None:
        self._is_scheduled = False
        self.finish(self.clock.now())

    def finish(self, now: float, is_busy: bool = False) -> None:
        """End the turn that began at ``now``.

        ``is_busy``: there is probably more to be read, and the caller will look before it waits and end
        that turn, too; so writes may be postponed.
        """
        self.write_out(now, is_busy)
        self.core.end_turn()

    def hold(self, trusted_until: float) -> None:
        """Until then this node of a cluster may speak for its sessions. Later nothing of theirs is read or
        written: they may be another's. Who has no session yet may be refused.
        """
        now = self.clock.now()
        was_held = now >= self.trusted_until
        self.trusted_until = trusted_until
        if was_held == (now >= trusted_until):
            return
        held = self._held
        self._held = []
        self.core.dirty[:0] = held
        for wire in [*self.wires.values()]:
            self._try_reading(wire)
        self.schedule()

    def _puts_off(self, connection: BrokerConnection, now: float, is_busy: bool) -> bool:
        """Is what it has to be written later?"""
        if now >= self.trusted_until and self._is_held(connection, now):
            self._held.append(connection)
            return True
        if is_busy and connection.can_wait(POSTPONED_BYTES):
            self._postponed.append(connection)
            return True
        return False

    def _is_held(self, connection: BrokerConnection, now: float) -> bool:
        return now >= self.trusted_until and connection.server_session is not None

    def _may_write(self) -> bool:
        """To one more connection in this turn?"""
        self._writes += 1
        if not self._writes % WRITES_A_LOOK:
            now = self.clock.now()
            if self._writes == WRITES_A_LOOK:
                self._writing_since = now
            elif now - self._writing_since > WRITE_SECONDS:
                self._most_writes = min(self._most_writes, self._writes)
        return self._writes <= self._most_writes

    def write_out(self, now: float, is_busy: bool = False) -> None:
        """Do what there is to do at the end of a turn, which goes on all the same."""
        if self._is_stopped:
            return
        core = self.core
        self._written = 0
        self._writes = 0
        self._most_writes = MOST_WRITES
        if self._postponed:
            core.dirty[:0] = self._postponed
            self._postponed.clear()
            if now - self._postponed_at > POSTPONED_SECONDS:
                is_busy = False
        else:
            self._postponed_at = now
        closing: list[BrokerConnection] | None = None
        while core.effects or core.dirty or core.journal is not None:
            if core.effects or core.journal is not None:
                for effect in core.take_effects(now):
                    self._carry_out(effect)
                    if not isinstance(effect, Close):
                        continue
                    if closing is None:
                        is_busy = False  # last bytes go before the end
                        closing = [effect.connection]
                    else:
                        closing.append(effect.connection)
            if not core.dirty:
                if core.effects:
                    continue  # of an error while these were carried out
                break
            for connection in core.take_dirty():
                if self._puts_off(connection, now, is_busy):
                    continue
                if not self._may_write() and not connection.is_closed():
                    self._postponed.append(connection)
                    continue
                try:
                    self._write(connection, now)
                except Exception as error:
                    core.give_up(connection, "writing", error, now)
        if closing is not None:
            self._close(closing, now)
        if self.send is not None:
            self._send_on()
        if core.faults.noted:
            self._tell_faults()
        if self._writes > self._most_writes:
            self.schedule()
        if not self._is_continuing and core.has_more_work():  # once in a round of the loop
            self._is_continuing = True
            self.loop.call_soon(self._continue)
        self._set_timer()
        ended = self.clock.now()
        tape = self.tape
        if tape is not None:
            tape.stamp(ended)
        if ended - now > core.statistics.longest_turn:
            core.statistics.longest_turn = ended - now

    def _send_on(self) -> None:
        """What was published here with QoS 0, to the other nodes of a cluster."""
        core = self.core
        if core.sendings and self.send is not None:
            self.send(core.take_sendings())
        if core.for_groups and self.share is not None:
            self.share(core.shared.take_sends())

    def _carry_out(self, effect: Effect) -> None:
        self._is_carrying_out = True
        try:
            self.on_effect(effect)
        except Exception as error:
            if isinstance(effect, Commit):  # nothing that depends on it is acknowledged
                self.core.store_failed(f"changes cannot be given to the store: {error}")
                self.core.faults.note("giving changes to the store; they are not acknowledged", error)
            elif isinstance(effect, (Authenticate, Authorize)):
                self.core.give_up(effect.connection, "asking a question", error, self.clock.now())
            else:
                self.core.faults.note("an effect", error)
        finally:
            self._is_carrying_out = False

    def _close(self, closing: list[BrokerConnection], now: float) -> None:
        tape = self.tape
        for connection in closing:
            if tape is not None:
                tape.ended(connection, now)
            wire = self.wires.pop(connection.number, None)
            if wire is None:
                continue
            try:
                wire.close()
            except Exception as error:
                self.core.faults.note("closing a connection", error)

    def waiting(self) -> list[BrokerConnection]:
        """Who has output that was not written yet."""
        waiting: list[BrokerConnection] = [*self._postponed]
        for connection in self.core.dirty:
            if isinstance(connection, BrokerConnection):
                waiting.append(connection)
        return waiting

    def is_postponing(self) -> bool:
        """Is there output that was not written when the turn ended?"""
        return bool(self._postponed)

    def _write(self, connection: BrokerConnection, now: float) -> None:
        data = connection.take_single()
        if data is None:
            self._write_pieces(connection, now)
            return
        wire = self.wires.get(connection.number)
        if wire is None or not data:
            return
        tape = self.tape
        if tape is not None:
            tape.goes(connection, data, 0, now)
        before = connection.written_unsent + len(data)
        if self._written > TURN_BYTES and len(data) > LARGE_PIECE:
            unsent = wire.write_later(data)
        else:
            unsent = wire.write(data)
        self._written += before - unsent
        self.report(wire, before - unsent, unsent, now)

    def _write_pieces(self, connection: BrokerConnection, now: float) -> None:
        """The same, where some of it is large."""
        has_payloads = connection.has_large_output  # or all pieces begin where a packet does
        pieces = connection.take_pieces()
        wire = self.wires.get(connection.number)
        if wire is None:
            return
        tape = self.tape
        if tape is not None:
            for data in pieces:
                tape.goes(connection, data, UNKNOWN if has_payloads and len(data) > LARGE_PIECE else 0, now)
        before = connection.written_unsent
        unsent = 0
        if wire.layers is not None and len(pieces) > 1:
            for data in pieces:
                before += len(data)
            unsent = wire.write_pieces(pieces)
            pieces = NO_PIECES
        for data in pieces:
            before += len(data)
            if self._written > TURN_BYTES and len(data) > LARGE_PIECE:
                unsent = wire.write_later(data)
            else:
                unsent = wire.write(data)
        self._written += before - unsent
        self.report(wire, before - unsent, unsent, now)

    def report(self, wire: Wire, sent: int, unsent: int, now: float) -> None:
        """The network took ``sent`` bytes of a wire; ``unsent`` wait. Reading follows from that."""
        connection = wire.connection
        connection.written_unsent = unsent
        if wire.said and sent > 0:  # handshakes, pongs: what is counted is MQTT
            own = min(wire.said, sent)
            wire.said -= own
            sent -= own
        self.core.written(connection, sent, unsent, now)
        self.update_reading(wire)

    def update_reading(self, wire: Wire) -> None:
        """A client is not read from while it is paused or does not take what it is sent."""
        connection = wire.connection
        wanted = not connection.paused or (
            connection.is_authenticating() and not wire.has_ended and connection.waiting_bytes() < EARLY_BYTES
        )
        if connection.written_unsent > self.core.options.output_soft_limit or (
            connection.written_unsent > EARLY_UNSENT and connection.server_session is None
        ):
            wanted = False
        if wanted and self.trusted_until != math.inf and self._is_held(connection, self.clock.now()):
            wanted = False
        if wanted and connection.held and self._waits_for_disk(connection):
            wanted = False
            self._throttled.add(wire)
        if wanted != wire.is_reading and not connection.is_closed():
            wire.set_reading(wanted)

    def _waits_for_disk(self, connection: BrokerConnection) -> bool:
        """Has this client sent enough for now that the journal could not yet make durable?"""
        journal = self.core.journal
        if journal is None:
            return False
        return connection.held_count > MAX_HELD or (bool(connection.held) and connection.disk_is_behind())

    def committed(self, number: int) -> None:
        """The store has made a batch durable: what waited goes out, who was slowed is read from again."""
        now = self.clock.now()
        self.core.committed(number, now)
        throttled = self._throttled
        self._throttled = set()
        for wire in throttled:
            if wire.connection.number in self.wires:
                self._try_reading(wire)
        for connection in self.core.take_welcomed():
            self.resumed(connection)
        if self._is_carrying_out:  # a store that was done at once
            self.schedule()
        else:
            self.finish(now)

    def resume(self, effect: Question, answer: Answer) -> None:
        """The answer to a question about one connection, which goes on now."""
        self.core.resume(effect, answer, self.clock.now())
        self.resumed(effect.connection)

    def resumed(self, connection: BrokerConnection) -> None:
        """A connection that was paused goes on: it is read from again."""
        wire = self.wires.get(connection.number)
        if wire is not None:
            self._try_reading(wire)
        self.schedule()

    def _try_reading(self, wire: Wire) -> None:
        try:
            self.update_reading(wire)
        except Exception as error:
            self.give_up(wire.connection, "reading", error)

    def _continue(self) -> None:
        self._is_continuing = False
        now = self.clock.now()
        if len(self._postponed) < MOST_WRITES:  # or those are written first
            self.core.continue_work(now)
        for connection in self.core.take_welcomed():
            self.resumed(connection)
        self.finish(now, self.core.has_more_work())

    def _set_timer(self) -> None:
        when = self.core.next_deadline()
        if when == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = when
        if when != NO_DEADLINE:
            self._timer = self.loop.call_later(max(0.0, when - self.clock.now()), self._deadline)

    def _deadline(self) -> None:
        self._timer = None
        self._timer_at = NO_DEADLINE
        now = self.clock.now()
        self.core.deadline_reached(now)
        for connection in self.core.take_welcomed():
            self.resumed(connection)
        self.finish(now)

    def stop(self) -> None:
        """No more turns."""
        self._is_stopped = True
        self._tell_faults()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
