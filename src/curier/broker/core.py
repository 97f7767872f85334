"""The broker without a network, a disk or a clock: bytes and time in, output and effects out.

    connection = core.attach(address, listener, now, entrance)
    core.receive(connection, chunk, now)              # as often as bytes come
    core.deadline_reached(now)                        # when ``next_deadline()`` has come
    for effect in core.take_effects(): ...            # answered with ``resume`` and ``committed``
    for connection in core.take_dirty(): ...          # write ``connection.take_output()``, tell ``written``
    core.detach(connection, now)                      # when the network has closed it

Nothing here blocks, awaits or reads a clock; ``now`` never goes back. One thread only. An error of
ours or of a hook is not raised: it costs the client it was met with, and ``take_faults`` tells of it.
"""

from __future__ import annotations

from typing import Final, cast, final

from curier.broker import (
    client_ids,
    connecting,
    keeping,
    memory,
    output,
    permissions,
    piecemeal,
    publishing,
    rejudging,
    roaming,
    shares,
    sharing,
    spreading,
    telling,
    watches,
)
from curier.broker.answers import answer_run
from curier.broker.connection import ServedConnection
from curier.broker.deadlines import Deadline
from curier.broker.effects import Answer, Authenticate, Authorize, CatchUp, Claim, Commit, Effect, Packets
from curier.broker.entrances import PER_CONNECTION, Entrance
from curier.broker.faults import Fault, name_of
from curier.broker.fetching import FETCHED_PER_TURN
from curier.broker.hooks import MOST_NESTED, Hook
from curier.broker.inbound import Inbound
from curier.broker.judging import Judge
from curier.broker.lanes import DECIDE_LANES, set_lanes
from curier.broker.late_records import LateRecords
from curier.broker.model import BrokerConnection, LogMessage, ServerSession, Spread
from curier.broker.options import Options
from curier.broker.pacing import RATES
from curier.broker.repacing import Repacing
from curier.broker.state import BrokerState, Host
from curier.broker.sys_topics import SysPublisher
from curier.broker.witness import Witness
from curier.codec.constants import PROTOCOL_ERROR, SERVER_SHUTTING_DOWN
from curier.errors import StoreError
from curier.places import place_of
from curier.protocol.connection import CLOSED, CONNECTED, STEPS_AT_ONCE
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.records import Record

DEADLINES_PER_TURN: Final = 500
DEADLINES_AT_ONCE: Final = 50  # of these, before it is asked how much they were to do
CONTINUED_PER_TURN: Final = 100

DECIDE_TOPICS: Final = frozenset(("max_topic_levels", "max_topic_length"))
"""The settings that say which topics there may be."""


@final
class BrokerCore(BrokerState):
    """A broker, as whoever drives it sees it. ``id_prefix`` begins the Client Identifiers it assigns; make it
    unguessable.
    """

    def __init__(
        self,
        options: Options,
        now: float,
        id_prefix: str = "auto-",
        journal: Journal | None = None,
        asks_authentication: bool = False,
        authentication_methods: frozenset[str] = frozenset(),
        asks_authorization: bool = False,
    ) -> None:
        super().__init__(
            options,
            now,
            id_prefix,
            journal,
            asks_authentication,
            authentication_methods,
            asks_authorization,
        )
        self.fetch_budget = FETCHED_PER_TURN
        memory.bound(self)
        self.repacing = Repacing(self)
        self.sys_publisher = SysPublisher(self)
        self.late_records = LateRecords(journal)
        self.inbound = Inbound(self, now)  # from other nodes
        self.shared = sharing.SharedHouse(self)
        if options.sys_interval:
            self.deadlines.add(self.sys_publisher, now)

    def run_on(self, host: Host, now: float) -> None:
        """Know the process that the broker runs in."""
        self.host = host
        memory.bound(self)
        if host.memory():
            memory.look_always(self, now)

    def change_options(self, options: Options, now: float) -> frozenset[str]:
        """Go by ``options``, which have been checked, from now on. Returns the names of those that are not
        changed: what was made with them stays.
        """
        stuck: set[str] = set()
        changed: set[str] = set()
        for name in dir(options):
            value = getattr(options, name)
            if name.startswith("_") or callable(value) or value == getattr(self.options, name):
                continue
            if name == "route_cache_size":
                stuck.add(name)
                continue
            setattr(self.options, name, value)
            changed.add(name)
        memory.bound(self)
        if "sys_interval" in changed:
            if self.sys_publisher.is_scheduled():
                self.deadlines.cancel(self.sys_publisher)
            if self.options.sys_interval:
                self.deadlines.add(self.sys_publisher, now)
            else:
                self.sys_publisher.silence(now)
        if not changed.isdisjoint(DECIDE_LANES):
            self.repacing.begin_lanes()
        if not changed.isdisjoint(DECIDE_TOPICS):
            self.router.forget_all()  # there may be routes of topics that are not allowed any more
        if not changed.isdisjoint(RATES):
            self.repacing.begin(now)
        return frozenset(stuck)

    # ---- bytes ----

    def why_crowded(self, entrance: Entrance, now: float, place: str = "", coming: int = 0) -> str:
        """Plain words where there are so many Network Connections, in all or from ``place``, or so many come
        from there, that the next is closed without an answer; or "", and then it counts. ``coming`` are on
        their way to be attached.
        """
        most = PER_CONNECTION * self.options.max_connections
        if len(self.connections) + coming > most or entrance.is_crowded(coming):
            return "there are twice as many connections as may log in (max_connections)"
        return (
            shares.why_not_connecting(self, place, entrance)
            or shares.why_too_fast(self, place, now)
            or entrance.why_too_fast(now)
        )

    def attach(
        self, address: str, listener: str, now: float, entrance: Entrance | None = None, place: str = ""
    ) -> BrokerConnection:
        """A Network Connection was accepted at the URL ``listener``; it has ``connect_timeout`` seconds for
        its CONNECT. Without an ``entrance`` nothing is different about it. ``place`` is where it counts until
        then (``places``); "": nowhere.
        """
        if entrance is None:
            entrance = self.statistics.elsewhere
        connection = ServedConnection(self, address, listener, entrance, now)
        self.connections[connection.number] = connection
        entrance.accepted += 1
        entrance.attached += 1
        shares.connecting_at(self, connection, place)
        watches.await_connect(self, connection, now)
        self.statistics.accepted += 1
        if self.hooks.witness is not None:
            telling.opened(self, connection)
        return connection

    def moved(self, connection: BrokerConnection, address: str, now: float) -> str:
        """A proxy has told for whom it connects. Plain words where that one may not have one more connection;
        or "".
        """
        connection.address = address
        connection.local_peer = None  # that is the proxy
        place = place_of(address)
        if connection.state in (CONNECTED, CLOSED) or place == connection.place:
            return ""
        why = shares.why_not_connecting(self, place, connection.entrance)
        why = why or shares.why_too_fast(self, place, now)
        if not why:
            shares.connecting_at(self, connection, place)
        return why

    def receive(self, connection: BrokerConnection, chunk: bytes, now: float) -> None:
        """Bytes came, in a chunk of any size."""
        connection.receive(chunk, now)

    def detach(self, connection: BrokerConnection, now: float) -> None:
        """The network has closed a connection; harmless where the core had closed it already."""
        try:
            connection.end(0x80, telling.WITHOUT_DISCONNECT, now)
        except Exception as error:
            self.faults.note(f"ending the connection of {name_of(connection)}", error)
        connection.output.clear()
        self._settle(now)

    def cut(self, connection: BrokerConnection, why: str, now: float) -> None:
        """The peer broke a rule below MQTT, or is refused there: nothing more can be told to it in MQTT."""
        try:
            connection.end(PROTOCOL_ERROR, why, now)
        except Exception as error:
            self.faults.note(f"ending the connection of {name_of(connection)}", error)
        self._settle(now)

    def expel(
        self,
        connection: BrokerConnection,
        reason_code: int,
        reason: str,
        why: str,
        now: float,
        server_reference: str | None = None,
    ) -> None:
        """Disconnect a client with this Reason Code, Reason String and Server Reference; ``why`` is for hooks
        and the log.
        """
        try:
            watches.expel(self, connection, reason_code, reason, why, now, server_reference)
        except Exception as error:
            self.faults.note(f"ending the connection of {name_of(connection)}", error)
        self._settle(now)

    def forget(self, session: ServerSession, reason_code: int, why: str, now: float) -> None:
        """End a session, whatever its Session Expiry Interval is; its client is disconnected first."""
        connection = session.connection if session.connection is not None else session.arriving
        if connection is not None:
            self.expel(connection, reason_code, why, why, now)
        try:
            keeping.end_session(self, session, why, now)
        except Exception as error:
            self.faults.note(f"ending the session of {session.client_id!r}", error)
        self._settle(now)

    def give_up(self, connection: BrokerConnection, where: str, error: Exception, now: float) -> None:
        """The driver has met an error with a connection, which ends (0x83). ``where`` is for people."""
        self.faults.met(where, error, connection)
        self._settle(now)

    def take_dirty(self) -> list[BrokerConnection]:
        """Connections with output, each once; the next turn starts with none."""
        self.fetch_budget = FETCHED_PER_TURN
        dirty = cast(list[BrokerConnection], self.dirty.copy())
        self.dirty.clear()
        return dirty

    def written(self, connection: BrokerConnection, sent: int, unsent: int, now: float) -> None:
        """The network has taken ``sent`` bytes; ``unsent`` bytes still wait in the driver."""
        try:
            output.written(self, connection, sent, unsent, now)
        except Exception as error:
            self.faults.met("sending on what waited", error, connection)
        self._settle(now)

    # ---- time, and work put off ----

    def next_deadline(self) -> float:
        """When ``deadline_reached`` is to be called next; infinity: never."""
        return self.deadlines.next()

    def deadline_reached(self, now: float) -> None:
        """Do what is due; at most a bounded part of it, so look at ``next_deadline`` again."""
        self.spent = 0
        for _ in range(DEADLINES_PER_TURN // DEADLINES_AT_ONCE):
            self.deadlines.run(now, DEADLINES_AT_ONCE)
            if self.spent >= self.work_per_turn:
                break
        if self.deadlines.failures:
            failures = self.deadlines.failures
            self.deadlines.failures = []
            for deadline, error in failures:
                self._failed(deadline, error, now)
        self._settle(now)

    def _failed(self, deadline: Deadline, error: Exception, now: float) -> None:
        self.faults.note(f"a deadline has failed: {type(deadline).__name__}", error)
        try:
            again = deadline.failed(error, now)
            if again > now:
                self.deadlines.add(deadline, again)
        except Exception as another:
            self.faults.note("and what was to become of it has failed, too", another)

    def has_more_work(self) -> bool:
        """Is there work left that was put off to let others have their turn? Then call ``continue_work``
        soon.
        """
        return bool(self.continued) or bool(self.spreads) or bool(self.own)

    def continue_work(self, now: float) -> None:
        """Go on with what was put off, a bounded part of it."""
        self.spent = 0
        self._spread_on(now)
        batch = self.continued[:CONTINUED_PER_TURN]
        del self.continued[:CONTINUED_PER_TURN]
        budget = piecemeal.PER_TURN
        steps = 0
        for connection in batch:
            connection.is_continued = False
            connection.now = now
            try:
                if connection.is_resting and steps < STEPS_AT_ONCE and self.spent < self.work_per_turn:
                    connection.paused = False
                    connection.proceed(now)
                    steps += connection.steps
                    if not connection.paused:
                        self.welcomed.append(connection)
                        connection.pump(now)
                elif connection.is_resting:
                    self.continue_later(connection)
                elif connection.work is None:
                    connection.pump(now)
                elif budget > 0:
                    budget -= piecemeal.go_on(self, connection, budget, now)
                else:
                    self.continue_later(connection)
            except Exception as error:
                self.faults.met("going on with what was put off", error, connection)
        self._settle(now)

    def _spread_on(self, now: float) -> None:
        """Give messages to more of their receivers, as long as there is time."""
        for spread in spreading.continue_all(self, now):
            self._given(spread, now)

    def _given(self, spread: Spread, now: float) -> None:
        """All receivers have a message, whose publisher goes on."""
        connection = spread.connection
        if connection is None or connection.spread is not spread or connection.state == CLOSED:
            return
        connection.now = now
        try:
            if spread.size:
                connection.spread = None
                answer_run(connection, spread)
            connection.paused = False
            connection.proceed(now)
            if not connection.paused:
                self.welcomed.append(connection)
                connection.pump(now)
        except Exception as error:
            self.faults.met("going on behind a message", error, connection)

    def end_turn(self) -> None:
        """What comes next is the work of another turn."""
        self.spent = 0
        self.ends = 0

    # ---- effects, and their answers ----

    def take_effects(self, now: float = 0.0) -> list[Effect]:
        """What the world has to do now, in order; with the next batch of the journal, if none is on its
        way. With ``now``, one that nobody waits for may come a moment later.
        """
        may_take = not self.has_giant and not self.own_records
        if may_take and now:
            may_take = not self.late_records.may_wait(self, now)
        if self.journal is not None and not self.is_committing and may_take:
            batch = self.journal.take()
            if batch is not None:
                self.is_committing = True
                self.effects.append(Commit(batch))
        if not self.own_records:
            self.may_split = True
        effects = self.effects
        self.effects = []
        return effects

    def resume(self, effect: Effect, answer: Answer, now: float) -> None:
        """Answer a question; the connection goes on with the bytes that waited."""
        if not isinstance(effect, (Authenticate, Authorize, Claim, CatchUp)):
            return
        try:
            connecting.go_on(self, effect, answer, now)
        except Exception as error:
            self.faults.met("going on with the answer to a question", error, effect.connection)
        self._settle(now)

    def committed(self, batch: int, now: float) -> None:
        """Batch ``batch`` is durable: what waited for it may go."""
        self.is_committing = False
        self.store_trouble = ""
        holding = self.holding
        self.holding = []
        for connection in holding:
            try:
                output.release(self, connection, batch, now)
            except Exception as error:
                self.faults.met("sending what waited for the disk", error, connection)
        arrivals = self.arrivals
        self.arrivals = [arrival for arrival in arrivals if arrival.batch > batch]
        for arrival in arrivals:
            if arrival.batch <= batch and arrival.connection.state != CLOSED:
                try:
                    connecting.let_in(self, arrival, now)
                except Exception as error:
                    self.faults.met("letting a client in", error, arrival.connection)
        self._settle(now)

    # ---- as one node of a cluster ----

    def join_cluster(self) -> None:
        """Be one node of a cluster, before the first client comes; there is a journal.

        From now on sessions are claimed (``Claim``), and messages of QoS 1 and 2 and retained ones written to
        the log that all nodes share (``records.Logged``) and given to receivers when they come by there.
        """
        assert self.journal is not None
        self.is_clustered = True

    def install(self, records: list[Record], freed: list[int], missed: list[LogMessage], now: float) -> None:
        """Have a session here as another node has it by ``export``, with what the log has had for it since;
        ``freed`` are Packet Identifiers of QoS 2 messages that have not come into the log. Its client is
        away, and comes by ``resume``, if it does. A will that is due is published, a session whose time is
        over ends.

        Their numbers are then those of this core's journal.

        Raises ``StoreError`` for records that do not make a session; nothing has happened then.
        """
        roaming.install(self, records, freed, missed, now)
        self._settle(now)

    def cannot_read(self, client_id: str, error: StoreError) -> None:
        """A session that was to be installed makes none, and stays where it is."""
        self.faults.note(f"reading the session of {client_id!r}, which another node has written", error)

    def export(self, client_id: str) -> list[Record] | None:
        """All of a session as it is now, as records; None: it is not here. Right as of what was read of the
        log, whenever a batch of the journal is taken.
        """
        session = self.sessions.get(client_id)
        return None if session is None else roaming.exported(session)

    def read_log(self, messages: list[LogMessage], now: float) -> None:
        """These came by in the log, in this order."""
        for one in messages:
            try:
                roaming.read_log(self, one, now)
            except Exception as error:
                self.faults.note("giving a message of the log to its receivers", error)
        self._settle(now)

    def read_direct(self, packets: list[Packets], now: float) -> None:
        """These came from other nodes, with QoS 0."""
        for one in packets:
            self.inbound.take(one, now)
        self._settle(now)

    def take_sendings(self) -> list[Packets]:
        """Packets with QoS 0 for the other nodes, since the last time."""
        sendings = self.sendings
        self.sendings = []
        return sendings

    def why_not_whose(self, connection: BrokerConnection, user: str) -> str:
        """Plain words where a session that belongs to ``user`` is not for who has come by ``connection``."""
        return client_ids.why_not_whose(self, connection, user)[1]

    def yield_session(self, client_id: str, now: float) -> None:
        """Another node wants this session: its connection ends (0x8E), and with a batch it is dropped."""
        session = self.sessions.get(client_id)
        try:
            if session is not None:
                roaming.yield_session(self, session, now)
        except Exception as error:
            self.faults.note(f"yielding the session of {client_id!r}", error)
        self._settle(now)

    def drop_session(self, client_id: str, now: float) -> None:
        """A session goes on elsewhere; here nothing of it is left, and nothing of it is written."""
        session = self.sessions.get(client_id)
        try:
            if session is not None:
                roaming.drop(self, session, now)
        except Exception as error:
            self.faults.note(f"dropping the session of {client_id!r}", error)
        self._settle(now)

    def has_session(self, client_id: str) -> bool:
        """Is there a session of this client here?"""
        return client_id in self.sessions

    def is_settled(self) -> bool:
        """Is all that happened in batches that were taken, no message half given? So is ``export`` then."""
        assert self.journal is not None
        return not (self.journal.count() or self.has_giant or self.spreads or self.own)

    def take_welcomed(self) -> list[BrokerConnection]:
        """Connections that were paused for the journal, for room or for work of theirs, and may go on."""
        welcomed = self.welcomed
        self.welcomed = []
        return welcomed

    def store_failed(self, why: str) -> None:
        """The open batch cannot be made durable now; it is tried again, its answers wait.

        Until ``committed``, new messages that would have to be durable are refused (0x83, QoS 1 and 2); QoS 0
        goes on. ``why`` is for people; "" ends it where no batch is open.
        """
        self.store_trouble = why

    # ---- from whoever runs the broker ----

    def publish(self, message: ApplicationMessage, sender: ServerSession | None, now: float) -> str:
        """Publish ``message`` as the broker, or for ``sender``; plain words where that cannot be.

        A hook may publish, too, there and then. So may a hook that is called because of that; and then no
        further, or a hook on dropped messages that publishes one which is dropped would go on for ever.
        """
        if self.hooks.depth > MOST_NESTED:
            return f"{self.hooks.depth} hooks wait for each other: the last may not publish"
        why = publishing.publish(self, message, sender, now)
        self._settle(now)
        return why

    def permissions_changed(self) -> None:
        """Forget every remembered permission; each is asked for again when it is needed."""
        for connection in self.connections.values():
            try:
                permissions.forget(self, connection)
            except Exception as error:
                self.faults.met("forgetting permissions", error, connection)

    def judge_by(self, judge: Judge, now: float) -> None:
        """Have ``judge`` decide: before the first client comes, or in place of another one. With many clients
        it takes some turns until it does, and some more until their subscriptions fit.
        """
        rejudging.judge_by(self, judge, now)
        self._settle(now)

    def add_hook(self, hook: Hook) -> None:
        """Have ``hook`` told of events from now on. Raises ``TypeError`` for what cannot be a hook."""
        self._set_hooks([*self.hooks.all, hook])

    def remove_hook(self, hook: Hook) -> None:
        """Tell ``hook`` nothing more."""
        self._set_hooks([other for other in self.hooks.all if other is not hook])

    def shows_to(self, witness: Witness | None, has_topics: bool) -> None:
        """Have ``witness`` look on from now on, or nobody; ``has_topics``: also at some topics, other ones
        than before. Where it is to see connections that are there already, ``look_again`` at them.
        """
        router = self.router
        if has_topics or router.witness is not None:
            router.forget_all()
        router.witness = witness if has_topics else None
        self.hooks.witness = witness

    def look_again(self, connection: BrokerConnection) -> None:
        """Ask anew whether who looks on sees it."""
        if connection.state == CONNECTED:
            set_lanes(self, connection)
        elif connection.state != CLOSED:
            connection.tap = self.tap if self.hooks.packet is not None or self.hooks.witness else None

    def _set_hooks(self, hooks: list[Hook]) -> None:
        self.hooks.set(hooks)
        self.repacing.begin_lanes()

    def shut_down(self, now: float) -> None:
        """Tell every 5.0 client that the server is shutting down (0x8B) and end all connections."""
        why = "the broker is stopping"
        self.late_records.most = 0
        self._give_out(now)
        for connection in list(self.connections.values()):
            connection.now = now
            try:
                connection.send_disconnect(SERVER_SHUTTING_DOWN, why, None)
                connection.end(SERVER_SHUTTING_DOWN, why, now)
            except Exception as error:
                self.faults.met("stopping", error, connection)
        self._settle(now)
        self._give_out(now)  # wills

    def _give_out(self, now: float) -> None:
        """Give messages to all of their receivers, as there will be no further turn."""
        while self.spreads or self.own:
            self.spent = 0
            self._spread_on(now)

    # ---- errors ----

    def take_faults(self) -> list[Fault]:
        """Errors that were caught since the last time, to be logged; each has cost what its text says."""
        return self.faults.take()

    def _settle(self, now: float) -> None:
        if self.faults.is_due:
            keeping.settle(self, now)
