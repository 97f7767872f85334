"""Nodes, a bus between them and people at their doors, in one thread and virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from curier.cluster.node import Node
from curier.cluster.orders import (
    STORED,
    UNKNOWN,
    AnswerRelease,
    AskLast,
    AskOwners,
    AskRelease,
    AskSessions,
    Close,
    Connack,
    Died,
    Fetch,
    Follow,
    Look,
    Order,
    ToClient,
    Write,
)
from curier.cluster.records import Will
from tests.cluster.bus import TIMEOUT, Bus

START: Final = 1_000.0


class Caller(Protocol):
    """Who is at the other end of a connection."""

    name: str

    def told(self, connection: int, order: ToClient) -> None: ...
    def lost(self, connection: int) -> None: ...


@dataclass
class Cursor:
    """How far a stream was fed to a node."""

    generation: int
    at: int
    number: int = 0


@dataclass
class Process:
    """A node that runs, is paused, or was killed."""

    node: Node
    skew: float  # of its clock of the day
    feeds: dict[int, Cursor] = field(default_factory=dict)
    is_paused: bool = False
    is_gone: bool = False
    inbox: list[Callable[[], None]] = field(default_factory=list)
    timer: float | None = None


class World:
    """``seed`` decides everything that is not said."""

    def __init__(self, seed: int, names: str = "abc", partitions: int = 2) -> None:
        self.random = random.Random(seed)
        self.now = START
        self.partitions = partitions
        self.bus = Bus(partitions, self.random)
        self.nodes: dict[str, Process] = {}
        self.people: dict[int, tuple[Caller, str]] = {}  # by connection: who, and at which node
        self.served: dict[str, int] = {}  # by session: the connection that was accepted last
        self.wrongs: list[str] = []
        self.intercept: Callable[[str, Write], str | float | None] = lambda name, write: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        for name in names:
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

    def start(self, name: str, skew: float = 0.0) -> Process:
        process = Process(Node(name, self.partitions, self.random.random), skew)
        self.nodes[name] = process
        self._call(process, process.node.begin)
        return process

    def kill(self, name: str) -> None:
        process = self.nodes[name]
        process.is_gone = True
        self._end_connections(name)

    def pause(self, name: str) -> None:
        self.nodes[name].is_paused = True

    def resume(self, name: str) -> None:
        process = self.nodes[name]
        process.is_paused = False
        inbox, process.inbox = process.inbox, []
        for do in inbox:
            do()
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

    def _call(self, process: Process, do: Callable[[float, float], object]) -> None:
        """Let a node do something, and do what it says; a paused one does it when it wakes."""
        if process.is_gone:
            return
        if process.is_paused:
            process.inbox.append(lambda: self._call(process, do))
            return
        do(self.now, self.now + 1e9 + process.skew)
        for order in process.node.take_orders():
            self._obey(process, order)
        self._timer(process)

    def _timer(self, process: Process) -> None:
        deadline = process.node.deadline
        if deadline is None or (process.timer is not None and process.timer <= deadline):
            return
        process.timer = deadline

        def ring() -> None:
            if process.timer == deadline:
                process.timer = None
            self._call(process, process.node.passed)

        self.at(max(deadline, self.now + 1e-6), ring)

    # -- what nodes ask for

    def _obey(self, process: Process, order: Order) -> None:
        name = process.node.ground.boot.name
        if isinstance(order, Write):
            self._write(process, order)
        elif isinstance(order, ToClient):
            self._tell(process, order)
        elif isinstance(order, Follow):
            process.feeds[order.stream] = Cursor(order.generation, order.after)
            self.later(self._delay(), lambda: self._feed(process, order.stream))
        elif isinstance(order, AskRelease):
            self._ask_release(process, order)
        elif isinstance(order, AnswerRelease):
            asker = self.nodes[order.node]
            if not self._is_cut(name, order.node):
                self._answer(asker, self._delay(), order.token)
        elif isinstance(order, Died):
            process.is_gone = True
            self._end_connections(name)
        else:
            self._read(process, order)

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
            self.later(late, lambda: self._is_late(order))
            return

        def arrived() -> None:
            answer = self._arrives(order)
            if fate == "no answer" or name in weather.cut_in or bus.happens(weather.lost_answer):
                self._answer(process, TIMEOUT, order.token, UNKNOWN, 0)
            else:
                self._answer(process, self._delay(), order.token, *answer)

        self.later(self._delay(), arrived)

    def _is_late(self, order: Write) -> None:
        self._arrives(order)

    def _arrives(self, order: Write) -> tuple[str, int]:
        outcome = self.bus.arrives(order, self.now)
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
        if isinstance(order, Look):
            stream = bus.streams[order.stream]
            answer = stream.last_of(order.subject, bus.seen(order.stream, self.now))
        elif isinstance(order, AskLast):
            answer = (bus.seen(order.partition, self.now),)
        elif isinstance(order, Fetch):
            entries = bus.streams[order.partition].entries
            assert len(entries) >= order.upto
            answer = ([(sequence, value) for sequence, _, value in entries[order.after : order.upto]],)
        elif isinstance(order, AskOwners):
            answer = (bus.owners(self.now),)
        else:
            assert isinstance(order, AskSessions)
            owned = bus.owned(self.now)
            answer = ([subject for subject, record in owned.items() if record.owner == order.owner],)
        self._answer(process, self._delay(), order.token, *answer)

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
        end = self.bus.streams[stream].length(self.now)
        given = [
            (sequence, value) for sequence, _, value in self.bus.streams[stream].entries[cursor.at : end]
        ]
        cursor.at, cursor.number = max(end, cursor.at), cursor.number + 1
        generation, number = cursor.generation, cursor.number
        if given and self.bus.happens(weather.hole):
            return
        self._call(process, lambda n, w: process.node.feed(n, w, stream, generation, number, given))

    def _beat(self) -> None:
        for process in self.nodes.values():
            for stream in process.feeds:
                self._feed(process, stream)
        self.later(1.0, self._beat)

    # -- people

    def connect(
        self, caller: Caller, name: str, is_clean: bool, lasts: float, will: Will | None = None
    ) -> int:
        """Begin a connection to that node; the answer comes as CONNACK, or it is lost."""
        self._count += 1
        connection = self._count
        process = self.nodes[name]
        if process.is_gone:
            self.later(0.01, lambda: caller.lost(connection))
            return connection
        self.people[connection] = (caller, name)
        self.later(
            0.01,
            lambda: self._call(
                process,
                lambda n, w: process.node.connect(n, w, connection, caller.name, is_clean, lasts, will),
            ),
        )
        return connection

    def say(self, connection: int, what: str, *arguments: object) -> None:
        """A packet of a client: the name of the method of ``Session`` that it is."""
        if connection not in self.people:
            return
        process = self.nodes[self.people[connection][1]]

        def arrived(now: float, wall: float) -> None:
            session = process.node.session_of(now, wall, connection)
            if session is not None:
                getattr(session, what)(*arguments)

        self.later(0.01, lambda: self._call(process, arrived))

    def hang_up(self, connection: int, keeps_will: bool) -> None:
        """The connection ends, and the node hears of it."""
        found = self.people.pop(connection, None)
        if found is not None:
            process = self.nodes[found[1]]
            self.later(
                0.01,
                lambda: self._call(process, lambda n, w: process.node.closed(n, w, connection, keeps_will)),
            )

    def _tell(self, process: Process, order: ToClient) -> None:
        found = self.people.get(order.connection)
        if found is None:
            return
        caller, name = found
        if isinstance(order, Connack) and order.reason_code == 0:
            self.served[caller.name] = order.connection
        elif not isinstance(order, Close | Connack) and self.served.get(caller.name) != order.connection:
            self.wrongs.append(f"{caller.name} is served by {name} after another accepted it: {order}")
        if isinstance(order, Close) or (isinstance(order, Connack) and order.reason_code):
            del self.people[order.connection]
            self.later(
                0.01,
                lambda: self._call(process, lambda n, w: process.node.closed(n, w, order.connection, True)),
            )
            self.later(0.01, lambda: caller.lost(order.connection))
        else:
            self.later(0.01, lambda: caller.told(order.connection, order))
