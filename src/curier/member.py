"""A broker as one node of a cluster: what its core asks, and what is to be kept, carried to a ``Node`` and
its bus, which ``member_on_nats`` has.

To the broker it is a ``Store``: batches of the journal are durable when the cluster has them. Needs the extra
``cluster``.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from curier.broker.core import BrokerCore
from curier.broker.effects import Answer, CatchUp, Claim, Packets
from curier.broker.model import BrokerConnection, LogMessage
from curier.broker.retained_set import RetainedSet
from curier.cluster.node import Entry, Node
from curier.cluster.orders import Cut, Died, PutAhead, ToBus
from curier.cluster.records import Boot, Message, Passed
from curier.cluster.snapshots import RetainedPieces
from curier.cluster_view import ClusterView
from curier.errors import ClusterError, OtherVersion, StoreError, TakenForDead
from curier.jetstream.wire import WireError
from curier.loglines import logger
from curier.net.turn import Turn
from curier.session.records import Batch, Record
from curier.store.base import CLOSE_SECONDS, Store

log = logger("curier.cluster")

TELL_SECONDS: Final = 5.0
"""From how long a node waits for something on, and how often, the log says for what."""

CLOCK_IS_OFF: Final = 2.0
"""Seconds from which on the log says so when a node joins."""

BESIDE_MESSAGE: Final = 96 * 1024
"""Bytes of a frame with one message, at most, that are none of the PUBLISH it came in: names and numbers."""


class Bus(Protocol):
    """What carries out the orders of a node. It answers by the methods of its ``Member``, in later turns."""

    @property
    def why(self) -> str:
        """Why nothing can be stored now, in words; "" where nothing keeps it from that."""

    @property
    def most(self) -> int:
        """Bytes of the largest value that can be written now."""

    def obey(self, order: ToBus) -> None: ...
    async def close(self) -> None: ...


class Watching(Protocol):
    """How a node sees its cluster."""

    def begin(self) -> None: ...
    def end(self) -> None: ...
    def view(self, is_over: bool) -> ClusterView: ...


class Member(Store):
    """``enter`` a broker before its first client comes, then ``open``. Where the others have taken this node
    for dead, its broker has to end without a word to anybody, and may begin anew.
    """

    def __init__(self, where: str, name: str, partitions: int) -> None:
        self.where = where
        self.node: Node | None = None
        self._name = name
        self._most = 0  # bytes of a packet that the bus takes
        self._partitions = partitions
        self._died: Callable[[ClusterError], None] = _expected
        self._bus: Bus | None = None
        self._turn: Turn | None = None
        self._asked: list[Claim | CatchUp] = []
        self._is_asking = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = asyncio.Event()
        self._watch: Watching | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._trouble = ""
        self._why_over = ClusterError("this node has left")

    # -- a store

    def enter(self, turn: Turn, died: Callable[[ClusterError], None]) -> None:
        """The broker that is to be a node. ``died`` is told why it has to end."""
        self._turn, self._died = turn, died
        turn.core.join_cluster()
        turn.hold(0.0)
        turn.send = self._send
        turn.share = self._share

    def load(self) -> Iterator[list[Record]]:
        """Nothing: sessions come when their clients do, what is retained by the log."""
        return iter(())

    async def open(self) -> None:
        """Join; returns when clients can be served. Raises ``ClusterError`` where that cannot be."""
        turn = self._need_turn()
        bus = self._bus = await self._connect()
        carried = [RetainedPieces(RetainedSet(turn.core))]
        node = self.node = Node(self._name, self._partitions, random.random, _House(turn), carried=carried)
        node.begin(time.monotonic(), turn.clock.now())
        self._after()
        self._watch = self._watch_over(node)
        await self._opened(node)
        self._most = bus.most - BESIDE_MESSAGE
        turn.core.options.max_packet_size = self.limited(turn.core.options.max_packet_size)
        self._watch.begin()
        log.info("node %s has joined %s", self._name, self.where)

    @abstractmethod
    async def _connect(self) -> Bus:
        """The bus, open. Raises ``ClusterError`` where there is none that keeps its promises."""

    @abstractmethod
    def _watch_over(self, node: Node) -> Watching: ...

    def limited(self, size: int) -> int:
        """How large packets of clients may be, ``size`` at most: all else would be tried for ever."""
        if size > self._most:
            log.info("packets of clients may have %d bytes: the cluster takes no more", self._most)
        return min(size, self._most)

    def why_too_large(self, size: int) -> str:
        """Why a message of the broker's own cannot be published, or ""."""
        return f"it has {size} bytes, and the cluster takes {self._most}" if size > self._most else ""

    async def _opened(self, node: Node) -> None:
        began = told = time.monotonic()
        while not node.is_open:
            if self._is_over.is_set():
                raise self._why_over
            if node.is_name_taken:
                raise ClusterError(
                    f"another process lives that is node {self._name} of {self.where}: give this one a name "
                    "of its own (--node-name), or end that one"
                )
            await asyncio.sleep(0.02)
            now = time.monotonic()
            if now - told >= TELL_SECONDS:
                told = now
                log.info("joining %s since %d s: %s", self.where, now - began, self._waits_for(node))

    def _waits_for(self, node: Node) -> str:
        assert self._bus is not None
        if self._bus.why:
            return self._bus.why
        if not node.is_trusted:
            return f"the last life of node {self._name} did not end in order; its lease runs out first"
        return f"it reads what is retained, {node.read_before_it_opens:.0%} so far"

    def commit(self, batch: Batch) -> None:
        turn, node = self._need_turn(), self.node
        assert node is not None
        node.commit(time.monotonic(), turn.clock.now(), batch)
        self._after()

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Give all sessions up, so that other nodes have them at once, and leave."""
        bus, self._died = self._bus, _expected
        if bus is None:
            return
        try:
            if self.node is not None and not self._is_over.is_set():
                self.node.drain(time.monotonic(), self._need_turn().clock.now())
                self._after()
                async with asyncio.timeout(max(0.1, seconds - 1.0)):
                    await self._is_over.wait()
                log.info("node %s has left %s", self._name, self.where)
        except TimeoutError:
            log.warning(
                "node %s could not give all of its sessions up in %g s: other nodes take them in 30 s",
                self._name,
                seconds,
            )
        finally:
            self._end_timer()
            if self._watch is not None:
                self._watch.end()
            await bus.close()
            self._bus = None

    # -- what people ask

    def view(self) -> ClusterView | None:
        """How things stand; None before it has joined."""
        return self._watch.view(self._is_over.is_set()) if self._watch is not None else None

    def give_up(self, names: Sequence[str] | None) -> int:
        """Give these sessions up, or all, of a node that is to leave; how many are left. With none it is
        over, and its broker has only to stop.
        """
        node, self._died = self.node, _expected
        if node is None or self._is_over.is_set():
            return 0
        node.drain(time.monotonic(), self._need_turn().clock.now(), names)
        self._after()
        return len(node.sessions)

    # -- what the core asks

    def ask(self, question: Claim | CatchUp) -> None:
        """Have it answered, once the batch of this turn was given to ``commit``."""
        self._asked.append(question)
        if not self._is_asking:
            self._is_asking = True
            self._need_turn().loop.call_soon(self._ask)

    def _ask(self) -> None:
        self._is_asking = False
        asked, self._asked = self._asked, []
        node, turn = self.node, self._need_turn()
        for question in asked:
            if node is None:
                continue
            if isinstance(question, Claim):
                node.claim(time.monotonic(), turn.clock.now(), question)
            else:
                node.catch_up(time.monotonic(), turn.clock.now(), question)
        self._after()

    def _send(self, packets: list[Packets]) -> None:
        if self.node is not None:
            self.node.send(time.monotonic(), self._need_turn().clock.now(), packets)
            self._after()

    def _share(self, messages: list[LogMessage]) -> None:
        if self.node is not None:
            self.node.share(time.monotonic(), self._need_turn().clock.now(), messages)
            self._after()

    # -- what the bus says

    def answer(self, token: int, *answer: object) -> None:
        node, turn = self.node, self._need_turn()
        if node is not None:
            node.answer(time.monotonic(), turn.clock.now(), token, *answer)
            self._after()

    def feed(self, stream: int, generation: int, number: int, entries: Sequence[Entry]) -> None:
        node, turn = self.node, self._need_turn()
        if node is not None:
            node.feed(time.monotonic(), turn.clock.now(), stream, generation, number, entries)
            self._after()

    def asked(self, node: Boot, token: int, asker: str, session: str) -> None:
        own, turn = self.node, self._need_turn()
        if own is not None and node == own.ground.boot:
            own.asked(time.monotonic(), turn.clock.now(), token, asker, session)
            self._after()

    def direct(self, passed: Sequence[Passed]) -> None:
        node, turn = self.node, self._need_turn()
        if node is not None and node.is_open:
            node.heard(time.monotonic(), turn.clock.now(), passed)
            self._after()

    def saw(self, format: int) -> None:
        if self.node is not None:
            self.node.saw(format)

    def handed(self, messages: Sequence[Message], members: Sequence[str]) -> None:
        node, turn = self.node, self._need_turn()
        if node is not None and node.is_open:
            node.handed(time.monotonic(), turn.clock.now(), messages, members)
            self._after()

    def broken(self, error: WireError) -> None:
        log.error("%s: %s", self.where, error)
        self._end(OtherVersion(f"what lies on the bus cannot be read: {error}"))

    # -- time

    def _after(self) -> None:
        """Do what the node has said, and see when it wants to be called."""
        node, bus, turn = self.node, self._bus, self._need_turn()
        if node is None or bus is None:
            return
        for partition, first, last in node.holes:
            log.error(
                "entries %d to %d of partition %d of the log were removed by hand, and with them what was "
                "acknowledged",
                first,
                last,
                partition,
            )
        node.holes.clear()
        for order in node.take_orders():
            if isinstance(order, Died):
                dead = TakenForDead("the other nodes have taken this one for dead")
                self._end(OtherVersion(order.why) if order.why else dead)
                return
            if isinstance(order, Cut):
                log.info(
                    "cut off the log, since nobody needs it: partition %d up to entry %d",
                    order.partition,
                    order.upto,
                )
            if isinstance(order, PutAhead):
                self._put_ahead(order.seconds)
            else:
                bus.obey(order)
        turn.hold(node.trusted_until + turn.clock.offset)
        self._tell_trouble(bus.why)
        turn.schedule()
        self._end_timer()
        if node.deadline is not None:
            wait = max(0.0, node.deadline - time.monotonic())
            self._timer = turn.loop.call_later(wait, self._passed)

    def _put_ahead(self, seconds: float) -> None:
        clock, core = self._need_turn().clock, self._need_turn().core
        clock.offset += seconds
        if abs(seconds) >= CLOCK_IS_OFF:
            log.warning(
                "the clock of this machine is %.0f s %s that of the other nodes, which the cluster goes by: "
                "see that all machines are set by NTP",
                abs(seconds),
                "behind" if seconds > 0 else "ahead of",
            )
        if seconds < 0 and core.sys_publisher.is_scheduled():  # it would be silent for as long
            core.deadlines.move(core.sys_publisher, clock.now())

    def _passed(self) -> None:
        self._timer = None
        if self.node is not None:
            self.node.passed(time.monotonic(), self._need_turn().clock.now())
            self._after()

    def _tell_trouble(self, why: str) -> None:
        if why != self._trouble:
            self._trouble = why
            if why:
                log.warning("%s: %s; what has to be acknowledged waits", self.where, why)
            else:
                log.info("%s takes what is to be kept again", self.where)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, why: ClusterError) -> None:
        if not self._is_over.is_set():
            self._why_over = why
            self._is_over.set()
            self._end_timer()
            self._need_turn().hold(0.0)
            if self._died is not _expected:  # or the bus would go on, and renew the lease of this life
                self.node, self._leaving = None, asyncio.ensure_future(self.close())
            self._died(why)

    def _need_turn(self) -> Turn:
        assert self._turn is not None
        return self._turn


def _expected(why: ClusterError) -> None:
    """This node has left by itself."""


class _House:
    """The core, as its node has to do with it."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._core: BrokerCore = turn.core
        self.shared = _SharedHouse(turn)

    def committed(self, batch: int, now: float) -> None:
        self._turn.committed(batch)

    def resume(self, effect: Claim | CatchUp, answer: Answer, now: float) -> None:
        self._turn.resume(effect, answer)

    def why_not_whose(self, connection: BrokerConnection, user: str) -> str:
        return self._core.why_not_whose(connection, user)

    def export(self, client_id: str) -> list[Record] | None:
        return self._core.export(client_id)

    def has_session(self, client_id: str) -> bool:
        return self._core.has_session(client_id)

    def is_settled(self) -> bool:
        return self._core.is_settled()

    def install(self, records: list[Record], freed: list[int], missed: list[LogMessage], now: float) -> None:
        self._core.install(records, freed, missed, now)
        self._turn.schedule()

    def cannot_read(self, client_id: str, error: StoreError) -> None:
        self._core.cannot_read(client_id, error)
        self._turn.schedule()

    def yield_session(self, client_id: str, now: float) -> None:
        self._core.yield_session(client_id, now)
        self._turn.schedule()

    def drop_session(self, client_id: str, now: float) -> None:
        self._core.drop_session(client_id, now)
        self._turn.schedule()

    def read_log(self, messages: list[LogMessage], now: float) -> None:
        self._core.read_log(messages, now)
        self._turn.schedule()

    def read_direct(self, packets: list[Packets], now: float) -> None:
        self._core.read_direct(packets, now)
        self._turn.schedule()


class _SharedHouse:
    """The same, of Shared Subscriptions."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        shared = turn.core.shared
        self.know = shared.know
        self.groups_of = shared.groups_of
        self.is_member = shared.is_member
        self.is_taking = shared.is_taking

    def give(self, messages: list[LogMessage], now: float) -> None:
        self._turn.core.shared.give(messages, now)
        self._turn.schedule()
