"""A broker's core in memory with virtual time, and the MQTT 5.0 clients of ``tests.broker.client`` around it.

Bytes go into the core at once, what it writes is decoded for the client, and nothing happens by itself: time
moves with ``Net.advance``. The same tests run several ways, which must not differ to a client: with the fast
lane, without it, and with a journal, whose batches hold back answers; those that pin a statement of the
specification also by the turn and the layers of a listener (``tests.net.memory``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curier.broker.core import BrokerCore
from curier.broker.effects import Answer, Authenticate, Authorize, CatchUp, Claim, Close, Commit, Effect
from curier.broker.entrances import Entrance
from curier.broker.faults import Fault
from curier.broker.model import BrokerConnection, LogMessage
from curier.broker.options import Options
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.session.journal import Journal
from curier.session.records import Logged, Record, SessionSaved
from curier.topics.filters import check_topic_name
from tests.broker.client import Client
from tests.codec.cases import properties
from tests.net.memory import Memory

WAYS = ("fast", "slow", "journal")
ALONE = "cluster"  # a cluster of one node: what goes to the log of all comes by there
FOREVER = 0xFFFFFFFF


class Net:
    """A broker's core, its clients and the clock. ``way`` is one of ``WAYS``, or that
    behind a door, as "fast-ws".

    Without ``authenticate`` or ``authorize`` the core asks nobody; where they return None, the question waits
    in ``questions``. Batches of the journal wait in ``batches`` while ``commits`` is False; ``records``
    has those of all batches.
    """

    def __init__(
        self,
        way: str = "fast",
        options: Options | None = None,
        authenticate: Callable[[Authenticate], Answer | None] | None = None,
        authorize: Callable[[Authorize], Answer | None] | None = None,
        **settings: Any,
    ) -> None:
        kind, _, door = way.partition("-")
        self.door = door  # or "", where bytes go straight into the core
        self.now = 1_700_000_000.25
        self.authenticate = authenticate
        self.authorize = authorize
        self.commits = True
        self.claims = True  # or questions of a node of a cluster wait as well
        self.questions: list[Effect] = []
        self.batches: list[Commit] = []
        self.records: list[Record] = []
        self.takes_faults = False  # or they are raised out of the turn
        self.faults: list[Fault] = []
        self.entrance: Entrance | None = None  # by which clients come in
        self.core = BrokerCore(
            options if options is not None else quiet(),
            self.now,
            journal=Journal() if kind in ("journal", ALONE) else None,
            asks_authentication=authenticate is not None,
            asks_authorization=authorize is not None,
            **settings,
        )
        self.core.slow_lane_only = kind == "slow"
        if kind == ALONE:
            self.core.join_cluster()
        self._clients: dict[BrokerConnection, Client] = {}
        self._names: dict[int, str] = {}  # of sessions, by number, for who reads the log
        self.log: Callable[[LogMessage], None] = self.read_log  # where what is for all nodes goes
        self._memory: Memory | None = None
        if door:
            self._memory = Memory(self.core, door, lambda: self.now, self._carry_out)

    def open(self) -> Client:
        """A Network Connection, on which nothing has been said."""
        client = Client(self)
        self._clients[client.connection] = client
        if self._memory is not None:
            self._memory.open(client.connection, client.feed)
        return client

    def receive(self, connection: BrokerConnection, data: bytes) -> None:
        """A client sends, and the broker does what there is to do."""
        if self._memory is not None:
            self._memory.send(connection, data)
        else:
            self.core.receive(connection, data, self.now)
        self.turn()

    def drop(self, connection: BrokerConnection) -> None:
        """The network of a connection fails."""
        if self._memory is not None:
            self._memory.drop(connection)
        self.core.detach(connection, self.now)
        self.turn()

    def send_connect(
        self,
        client_id: str = "c",
        clean: bool = True,
        will: p.Will | None = None,
        keep_alive: int = 0,
        **values: Any,
    ) -> Client:
        """A client that has sent CONNECT, with these Properties."""
        client = self.open()
        made = properties(**values) if values else None
        client.send(p.Connect(MQTT_50, client_id, clean, keep_alive, None, None, will, made))
        return client

    def connect(self, client_id: str = "c", clean: bool = True, expiry: int = 0, **values: Any) -> Client:
        """A client with its CONNACK; what came behind that waits to be taken."""
        if expiry:
            values["session_expiry_interval"] = expiry
        client = self.send_connect(client_id, clean, **values)
        assert client.pop(p.Connack).reason_code == 0
        return client

    def warm(self, topic: str) -> None:
        """Have the route of a topic known, as if messages had passed: the fast lane takes no other."""
        name = topic.encode()
        options = self.core.options
        if not check_topic_name(name, options.max_topic_levels, options.max_topic_length):
            self.core.router.route(name)

    def turn(self) -> None:
        """Do what the driver of a core does when bytes came or time passed, until there is nothing left."""
        core = self.core
        while True:
            if self._memory is not None:
                if self._has_more_turns(self._memory):
                    continue
                return
            effects = core.take_effects()
            closing = [effect.connection for effect in effects if isinstance(effect, Close)]
            for effect in effects:
                self._carry_out(effect)
            dirty = core.take_dirty()
            for connection in dirty:
                assert isinstance(connection, BrokerConnection)
                data = connection.take_output()
                client = self._clients[connection]
                assert not client.closed or not data, "bytes for a closed connection"
                client.feed(data)
                core.written(connection, len(data), 0, self.now)
            for connection in closing:
                self._clients[connection].closed = True
            self._take_faults()
            if core.has_more_work():
                core.continue_work(self.now)
            elif not effects and not dirty:
                core.end_turn()
                return

    def _has_more_turns(self, memory: Memory) -> bool:
        """The same, where it is for the broker's own turn to do; returns whether there is another one."""
        self._take_faults()
        has_more, errors = memory.finish()
        for error in errors:
            self._take_fault(Fault("", error))
        for connection, client in self._clients.items():
            client.closed = memory.is_closed(connection)
        return has_more

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Commit):
            self.batches.append(effect)
            self.records += effect.batch.records
            assert len(self.batches) == 1, "two batches in flight"
            if self.commits:
                self._commit()
        elif isinstance(effect, Authenticate):
            assert self.authenticate is not None
            self._answer(effect, self.authenticate(effect))
        elif isinstance(effect, Authorize):
            assert self.authorize is not None
            self._answer(effect, self.authorize(effect))
        elif isinstance(effect, (Claim, CatchUp)):
            self._answer(effect, Answer(0) if self.claims else None)

    def _take_faults(self) -> None:
        for fault in self.core.take_faults():
            self._take_fault(fault)

    def _take_fault(self, fault: Fault) -> None:
        if not self.takes_faults:
            raise fault.error
        self.faults.append(fault)

    def _answer(self, question: Effect, answer: Answer | None) -> None:
        if answer is None:
            self.questions.append(question)
        else:
            self.core.resume(question, answer, self.now)

    def answer(self, answer: Answer) -> None:
        """Answer the question that has waited longest."""
        self.core.resume(self.questions.pop(0), answer, self.now)
        self.turn()

    def commit(self) -> None:
        """The open batch is durable."""
        self._commit()
        self.turn()

    def _commit(self) -> None:
        batch = self.batches.pop().batch
        self.core.committed(batch.number, self.now)
        for record in batch.records:
            if isinstance(record, SessionSaved):
                self._names[record.session] = record.client_id
            elif isinstance(record, Logged):
                self.log(LogMessage(self._names.get(record.session, ""), record.message))

    def read_log(self, one: LogMessage) -> None:
        """A message comes by in the log."""
        self.core.read_log([one], self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every deadline on the way."""
        until = self.now + seconds
        while (when := self.core.next_deadline()) <= until:
            self.now = max(self.now, when)
            self.core.deadline_reached(self.now)
            self.turn()
        self.now = until


TOO_DEEP = "/".join("x" * 129)  # a Topic Filter of more levels than are taken


def quiet(**settings: Any) -> Options:
    """Options with these settings, without $SYS messages unless asked for."""
    options = Options()
    for name, value in {"sys_interval": 0.0, **settings}.items():
        assert hasattr(options, name), name
        setattr(options, name, value)
    options.check()
    return options
