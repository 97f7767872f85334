"""Nodes, a bus between them and people at their doors, in one thread and virtual time."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from curier.broker.core import BrokerCore
from curier.broker.effects import CatchUp, Claim, Close, Commit
from curier.broker.model import BrokerConnection
from curier.broker.retained_set import RetainedSet
from curier.cluster.cutting import Thrift
from curier.cluster.formats import NEWEST
from curier.cluster.node import Node
from curier.cluster.orders import (
    STORED,
    UNKNOWN,
    AnswerRelease,
    AskLast,
    AskNeeds,
    AskOwners,
    AskRelease,
    AskSessions,
    AskSize,
    Cut,
    Died,
    Fetch,
    Follow,
    Hand,
    Look,
    Order,
    PutAhead,
    Sweep,
    Tell,
    Write,
)
from curier.cluster.records import Value
from curier.cluster.snapshots import RetainedPieces
from curier.cluster.states import WHOLE
from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.primitives import packet_end
from curier.errors import MqttError, StoreError
from curier.session.journal import Journal
from tests.broker.harness import quiet
from tests.cluster.bus import TIMEOUT, Bus, Codec

START: Final = 1_000.0
WASTEFUL: Final = Thrift()  # which cuts nothing of a log as short as here
THRIFTY: Final = Thrift(every=3.0, entries=1, stride=1)


class Caller(Protocol):
    """Who is at the other end of a connection."""

    name: str
    version: int

    def told(self, connection: int, packet: p.Packet) -> None: ...
    def lost(self, connection: int) -> None: ...


@dataclass
class Cursor:
    """How far a stream was fed to a node."""

    generation: int
    at: int
    number: int = 0


@dataclass
class Process:
    """A node with its broker that runs, is paused, or was killed."""

    node: Node
    core: BrokerCore
    skew: float  # of its clock of the day
    rate: float = 1.0  # of its clocks
    lost: float = 0.0  # seconds that its monotonic clock stood still
    suspended: float | None = None  # since when it does
    codec: Codec | None = None  # of its version, where that matters
    why: str = ""  # it ended, if it said so
    feeds: dict[int, Cursor] = field(default_factory=dict)
    is_paused: bool = False
    is_gone: bool = False
    inbox: dict[object, deque[Callable[[], None]]] = field(default_factory=dict)  # by where it came from
    timer: float | None = None
    connections: dict[int, BrokerConnection] = field(default_factory=dict)
    numbers: dict[BrokerConnection, int] = field(default_factory=dict)
    unread: list[Callable[[float], None]] = field(default_factory=list)  # what clients did meanwhile
    unsent: dict[BrokerConnection, None] = field(default_factory=dict)


class World:
    """``seed`` decides everything that is not said."""

    def __init__(
        self,
        seed: int,
        names: str = "abc",
        partitions: int = 2,
        whole: int = WHOLE,
        codec: Codec | None = None,
        thrift: Thrift = WASTEFUL,
    ) -> None:
        self.random = random.Random(seed)
        self.now = START
        self.partitions = partitions
        self.whole = whole
        self.thrift = thrift
        self.bus = Bus(partitions, self.random)
        self.nodes: dict[str, Process] = {}
        self.people: dict[int, tuple[Caller, str]] = {}  # by connection: who, and at which node
        self.served: dict[str, int] = {}  # by session: the connection that was accepted last
        self.skews: dict[str, float] = {}  # of the clocks of the day, as nodes find them when they start
        self.rates: dict[str, float] = {}  # of all clocks of a node
        self.codecs: dict[str, Codec | None] = {}  # the versions that nodes are started as
        self.wrongs: list[str] = []
        self.unreadable: list[str] = []
        self.reads_take = 0.0  # seconds for what is read of the log for one session, besides the way
        self.intercept: Callable[[str, Write], str | float | None] = lambda name, write: None
        self.intercept_cut: Callable[[Cut | Sweep], str | float | None] = lambda order: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        for name in names:
            self.codecs[name] = codec
            self.start(name)
        self._beat()

    # -- time

    def at(self, when: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, do))

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = end

    def run_until(self, holds: Callable[[], object], within: float = 120.0) -> None:
        end = self.now + within
        while not holds():
            assert self.now < end, f"not within {within} s"
            self.run(0.05)

    # -- nodes

    def start(self, name: str) -> Process:
        skew = self.skews.get(name, 0.0)
        core = BrokerCore(quiet(max_inflight=10), self.now + 1e9 + skew, f"{name}-", Journal())
        core.join_cluster()
        codec = self.codecs.get(name)
        newest = codec.newest if codec is not None else NEWEST
        carried = [RetainedPieces(RetainedSet(core))]
        node = Node(name, self.partitions, self.random.random, core, self.whole, newest, carried, self.thrift)
        process = Process(node, core, skew, self.rates.get(name, 1.0))
        process.codec = codec
        self.nodes[name] = process
        self._call(process, process.node.begin)
        return process

    def kill(self, name: str) -> None:
        process = self.nodes[name]
        process.is_gone = True
        self._end_connections(name)

    def pause(self, name: str) -> None:
        self.nodes[name].is_paused = True

    def suspend(self, name: str) -> None:
        """Pause it, and with it all its clocks, as where a machine is paused from outside."""
        self.pause(name)
        self.nodes[name].suspended = self.now

    def resume(self, name: str) -> None:
        process = self.nodes[name]
        process.is_paused = False
        if process.suspended is not None:
            process.lost += self.now - process.suspended
            process.suspended = None
        inbox, process.inbox = process.inbox, {}
        while inbox:  # what came from one place is in order, and no more than that
            source = self.random.choice([*inbox])
            inbox[source].popleft()()
            if not inbox[source]:
                del inbox[source]
        self._timer(process)

    def drain(self, name: str) -> None:
        process = self.nodes[name]
        self._call(process, process.node.drain)

    def is_open(self, name: str) -> bool:
        process = self.nodes[name]
        return process.node.is_open and not process.node.ground.is_dead and not process.is_gone

    def _end_connections(self, name: str) -> None:
        for connection, (caller, at) in list(self.people.items()):
            if at == name:
                del self.people[connection]
                self.later(0.01, partial(caller.lost, connection))

    def _call(self, process: Process, do: Callable[[float, float], object], source: object = None) -> None:
        """Let a node do something, and do what it says; a paused one does it when it wakes."""
        if process.is_gone:
            return
        if process.is_paused:
            process.inbox.setdefault(source, deque()).append(lambda: self._call(process, do))
            return
        now, wall = self.clock(process), self.wall(process)
        process.node.passed(now, wall)
        do(now, wall)
        self._turns(process, wall)
        self._timer(process)

    def clock(self, process: Process) -> float:
        """Its own monotonic one."""
        return START + (self.now - process.lost - START) * process.rate

    def wall(self, process: Process) -> float:
        """What it takes for the time of day."""
        return self.clock(process) + 1e9 + process.skew

    def _turns(self, process: Process, wall: float) -> None:
        """What the driver of a broker and its node does, until there is nothing left."""
        core, node = process.core, process.node
        while True:
            if node.is_trusted and process.unread:
                process.unread.pop(0)(wall)
            closing = self._effects(process, wall)
            dirty = core.take_dirty()
            process.unsent.update(dict.fromkeys(dirty))
            self._send(process, wall)
            for connection in closing:
                self._close(process, connection)
            for fault in core.take_faults():
                if not isinstance(fault.error, StoreError):
                    raise fault.error
                self.unreadable.append(fault.text)
            for order in node.take_orders():
                self._obey(process, order)
            core.take_welcomed()
            if process.is_gone:
                return
            if core.has_more_work():
                core.continue_work(wall)
            elif not (closing or dirty or core.effects or (node.is_trusted and process.unread)):
                core.end_turn()
                return

    def _effects(self, process: Process, wall: float) -> list[BrokerConnection]:
        """Do what the core asks for; returns the connections to be closed."""
        now, effects = self.clock(process), process.core.take_effects(wall)
        for effect in effects:
            if isinstance(effect, Commit):  # first of all: it is right as of now
                process.node.commit(now, wall, effect.batch)
        for effect in effects:
            if isinstance(effect, Claim):
                process.node.claim(now, wall, effect)
            elif isinstance(effect, CatchUp):
                process.node.catch_up(now, wall, effect)
        sendings = process.core.take_sendings()
        if sendings:
            process.node.send(now, wall, sendings)
        if process.core.for_groups:
            process.node.share(now, wall, process.core.shared.take_sends())
        return [effect.connection for effect in effects if isinstance(effect, Close)]

    def _timer(self, process: Process) -> None:
        deadlines = [] if process.node.deadline is None else [process.node.deadline]
        if process.node.is_trusted and process.core.next_deadline() != float("inf"):
            deadlines.append(process.core.next_deadline() - self.wall(process) + self.clock(process))
        if process.is_gone or not deadlines:
            return
        wait = (min(deadlines) - self.clock(process)) / process.rate
        deadline = self.now + max(wait, 1e-6)
        if process.timer is not None and process.timer <= deadline:
            return
        process.timer = deadline

        def ring() -> None:
            if process.timer == deadline:
                process.timer = None
            self._call(process, self._passed(process))

        self.at(deadline, ring)

    def _passed(self, process: Process) -> Callable[[float, float], None]:
        def passed(now: float, wall: float) -> None:
            if process.node.is_trusted:
                process.core.deadline_reached(wall)

        return passed

    # -- what nodes ask for

    def _obey(self, process: Process, order: Order) -> None:
        name = process.node.ground.boot.name
        if isinstance(order, Write):
            self._write(process, order)
        elif isinstance(order, Follow):
            process.feeds[order.stream] = Cursor(order.generation, order.after)
            self.later(self._delay(), lambda: self._feed(process, order.stream))
        elif isinstance(order, AskRelease):
            self._ask_release(process, order)
        elif isinstance(order, AnswerRelease):
            asker = self.nodes[order.node]
            if not self._is_cut(name, order.node):
                self._answer(asker, self._delay(), order.token)
        elif isinstance(order, Tell | Hand):
            self._spread(process, order)
        elif isinstance(order, Cut | Sweep):
            self._remove(name, order)
        elif isinstance(order, Died):
            self._ends(process, order.why)
        elif isinstance(order, PutAhead):
            assert order.seconds > 0 or not any(one.server_session for one in process.numbers)
            process.skew += order.seconds
        else:
            self._read(process, order)

    def _ends(self, process: Process, why: str) -> None:
        process.is_gone, process.why = True, why
        self._end_connections(process.node.ground.boot.name)

    def _is_read(self, process: Process, stream: int, entries: Sequence[tuple[int, Value | None]]) -> bool:
        """Can a node's version read those? One that cannot ends, with words."""
        if process.codec is not None:
            for sequence, value in entries:
                data = self.bus.data.get((stream, sequence))
                if data is None:
                    continue
                try:
                    assert process.codec.decode(data)[1] == value
                except MqttError as error:
                    self._ends(process, str(error))
                    return False
                process.node.saw(data[0])
        return not process.is_gone

    def _spread(self, process: Process, order: Tell | Hand) -> None:
        """To all other nodes, each of which may miss it."""
        name = process.node.ground.boot.name
        for other in list(self.nodes.values()):
            to = other.node.ground.boot.name
            if (
                to != name
                and not self._is_cut(name, to)
                and not self.bus.happens(self.bus.weather.lost_request)
            ):
                self.later(
                    self.bus.weather.slow,
                    partial(self._call, other, partial(self._hears, other, order)),
                )

    def _hears(self, other: Process, order: Tell | Hand, now: float, wall: float) -> None:
        if isinstance(order, Hand):
            other.node.handed(now, wall, order.messages, order.members)
        else:
            other.node.heard(now, wall, order.passed)

    def _is_cut(self, one: str, other: str) -> bool:
        weather = self.bus.weather
        return bool({one, other} & (weather.cut_in | weather.cut_out))

    def _delay(self) -> float:
        return self.random.random() * self.bus.weather.slow

    def _answer(self, process: Process, delay: float, token: int, *answer: object) -> None:
        self.later(delay, lambda: self._call(process, lambda n, w: process.node.answer(n, w, token, *answer)))

    def _write(self, process: Process, order: Write) -> None:
        """``intercept`` may lose the request or the answer, or say in how many seconds it arrives."""
        bus, weather = self.bus, self.bus.weather
        name = process.node.ground.boot.name
        fate = self.intercept(name, order)
        if fate == "lose" or name in weather.cut_out or bus.happens(weather.lost_request):
            self._answer(process, TIMEOUT, order.token, UNKNOWN, 0)
            return
        if isinstance(fate, float) or bus.happens(weather.late):
            self._answer(process, TIMEOUT, order.token, UNKNOWN, 0)
            late = fate if isinstance(fate, float) else TIMEOUT + 5 * self.random.random()
            self.later(late, lambda: self._is_late(order, process.codec))
            return

        def arrived() -> None:
            answer = self._arrives(order, process.codec)
            if fate == "no answer" or name in weather.cut_in or bus.happens(weather.lost_answer):
                self._answer(process, TIMEOUT, order.token, UNKNOWN, 0)
            else:
                self._answer(process, self._delay(), order.token, *answer)

        self.later(self._delay(), arrived)

    def _remove(self, name: str, order: Cut | Sweep) -> None:
        """It arrives now, late, or never."""
        fate, weather = self.intercept_cut(order), self.bus.weather
        if fate == "lose" or name in weather.cut_out or self.bus.happens(weather.lost_request):
            return
        late = fate if isinstance(fate, float) else 0.0
        if self.bus.happens(weather.late):
            late = TIMEOUT + 60 * self.random.random()
        self.later(self._delay() + late, lambda: self.bus.removes(order))

    def _is_late(self, order: Write, codec: Codec | None) -> None:
        self._arrives(order, codec)

    def _arrives(self, order: Write, codec: Codec | None) -> tuple[str, int]:
        outcome = self.bus.arrives(order, self.now, codec)
        if outcome[0] == STORED:
            for process in list(self.nodes.values()):
                self.later(self._delay(), lambda p=process: self._feed(p, order.stream))  # type: ignore[misc]
        return outcome

    def _read(self, process: Process, order: Order) -> None:
        """A read; one that has no answer is asked again by the client of the bus."""
        bus, weather = self.bus, self.bus.weather
        name = process.node.ground.boot.name
        if weather.is_down or name in weather.cut_in | weather.cut_out or bus.happens(weather.lost_request):
            if not process.is_gone:
                self.later(TIMEOUT, lambda: self._read(process, order))
            return
        answer: Any
        source, read = 0, list[tuple[int, Value | None]]()
        if isinstance(order, Look):
            source = order.stream
            answer = bus.streams[source].last_of(order.subject, bus.seen(source, self.now))
            read = [answer]
        elif isinstance(order, AskLast):
            answer = (bus.seen(order.partition, self.now),)
        elif isinstance(order, Fetch):
            source, entries = order.partition, bus.streams[order.partition].entries
            assert len(entries) >= order.upto
            read = [*bus.streams[order.partition].left(order.after, order.upto)]
            answer = (read,)
        elif isinstance(order, AskSize):
            size = bus.streams[order.partition]
            answer = (size.first, len(size.entries), 100 * (len(size.entries) - size.first + 1))
        elif isinstance(order, AskNeeds):
            answer = (bus.needs(order.since, self.partitions, self.now),)
        elif isinstance(order, AskOwners):
            answer = (bus.owners(self.now),)
        else:
            assert isinstance(order, AskSessions)
            owned = bus.owned(self.now)
            answer = ([subject for subject, record in owned.items() if record.owner == order.owner],)

        def told(now: float, wall: float) -> None:
            if self._is_read(process, source, read):
                process.node.answer(now, wall, order.token, *answer)

        seconds = self.reads_take if isinstance(order, Fetch) else 0.0
        self.later(self._delay() + seconds, lambda: self._call(process, told))

    def _ask_release(self, process: Process, order: AskRelease) -> None:
        asker, target = process.node.ground.boot.name, self.nodes[order.node.name]
        if target.node.ground.boot != order.node or self._is_cut(asker, order.node.name):
            return
        self.later(
            self._delay(),
            lambda: self._call(
                target, lambda n, w: target.node.asked(n, w, order.token, asker, order.session)
            ),
        )

    def _feed(self, process: Process, stream: int) -> None:
        """Give a node what it has not been given of a stream; with nothing, it is a sign of life."""
        cursor, weather = process.feeds.get(stream), self.bus.weather
        name = process.node.ground.boot.name
        if process.is_gone or cursor is None or weather.is_down or name in weather.cut_in:
            return
        if stream >= 0 and name in weather.lagging:
            return
        end = self.bus.streams[stream].length(self.now)
        given = self.bus.streams[stream].left(cursor.at, end)
        cursor.at, cursor.number = max(end, cursor.at), cursor.number + 1
        generation, number = cursor.generation, cursor.number
        if given and self.bus.happens(weather.hole):
            return

        def feed(now: float, wall: float) -> None:
            if self._is_read(process, stream, given):
                process.node.feed(now, wall, stream, generation, number, given)

        self._call(process, feed, stream)

    def _beat(self) -> None:
        for process in self.nodes.values():
            for stream in process.feeds:
                self._feed(process, stream)
        self.later(1.0, self._beat)

    # -- people

    def connect(self, caller: Caller, name: str, data: bytes) -> int:
        """Begin a connection to that node, and send ``data``; the answer comes as CONNACK, or it is lost."""
        self._count += 1
        connection = self._count
        process = self.nodes[name]
        if process.is_gone:
            self.later(0.01, lambda: caller.lost(connection))
            return connection
        self.people[connection] = (caller, name)

        def accepted(now: float, wall: float) -> None:
            served = process.core.attach(caller.name, "memory", wall)
            process.connections[connection] = served
            process.numbers[served] = connection
            process.core.receive(served, data, wall)

        self.later(0.01, lambda: self._call(process, accepted, caller))
        return connection

    def send(self, connection: int, data: bytes) -> None:
        """Bytes of a client."""
        if connection in self.people:
            process = self.nodes[self.people[connection][1]]
            caller, read = self.people[connection][0], self._read_from(process, connection, data)
            self.later(0.01, lambda: self._call(process, read, caller))

    def hang_up(self, connection: int) -> None:
        """The connection ends, and the node hears of it."""
        found = self.people.pop(connection, None)
        if found is not None:
            process = self.nodes[found[1]]
            ended = self._read_from(process, connection, None)
            self.later(0.01, lambda: self._call(process, ended, found[0]))

    def _read_from(
        self, process: Process, connection: int, data: bytes | None
    ) -> Callable[[float, float], None]:
        """Bytes, or the end of a connection; a node that is not trusted reads neither."""

        def read(wall: float) -> None:
            served = process.connections.get(connection)
            if served is not None and data is not None:
                process.core.receive(served, data, wall)
            elif served is not None:
                process.core.detach(served, wall)

        def arrived(now: float, wall: float) -> None:
            served = process.connections.get(connection)
            is_stranger = served is not None and served.server_session is None
            if (process.node.is_trusted and not process.unread) or is_stranger:
                read(wall)
            else:
                process.unread.append(read)

        return arrived

    def _send(self, process: Process, wall: float) -> None:
        """Send what the core has for clients: if it is to be trusted, or to who is none of its clients."""
        for served in list(process.unsent):
            if process.node.is_trusted or served.server_session is None:
                del process.unsent[served]
                data = served.take_output()
                process.core.written(served, len(data), 0, wall)
                self._tell(process, process.numbers[served], data)

    def _close(self, process: Process, served: BrokerConnection) -> None:
        process.unsent.pop(served, None)
        connection = process.numbers.pop(served)
        del process.connections[connection]
        found = self.people.pop(connection, None)
        if found is not None:
            self.later(0.01, lambda: found[0].lost(connection))

    def _tell(self, process: Process, connection: int, data: bytes) -> None:
        found = self.people.get(connection)
        if found is None:
            return
        caller, name = found
        at = 0
        while at < len(data):
            end = packet_end(data, at)
            packet = decode(data, at, end, caller.version)
            at = end
            if isinstance(packet, p.Connack) and packet.reason_code == 0:
                self.served[caller.name] = connection
            elif (
                not isinstance(packet, p.Connack | p.Disconnect)
                and self.served.get(caller.name) != connection
            ):
                self.wrongs.append(f"{caller.name} is served by {name} after another accepted it: {packet}")
            self.later(0.01, partial(caller.told, connection, packet))
