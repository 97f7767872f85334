"""The broker without a network, a disk or a clock: bytes and time in, output and effects out.

    connection = core.attach(address, listener, now)
    core.receive(connection, chunk, now)              # as often as bytes come
    core.deadline_reached(now)                        # when ``next_deadline()`` has come
    for effect in core.take_effects(): ...            # answered with ``resume`` and ``committed``
    for connection in core.take_dirty(): ...          # write ``connection.take_output()``, tell ``written``
    core.detach(connection, now)                      # when the network has closed it

Nothing here blocks, awaits or reads a clock; ``now`` never goes back. One thread only.
"""

from __future__ import annotations

from typing import Final, cast, final

from curier.broker import connecting
from curier.broker.connection import BrokerConnection, ConnectionWatch, HookTap, RetryWatch
from curier.broker.deadlines import Deadlines
from curier.broker.delivery import Layouts, deliver, deliver_member
from curier.broker.effects import Answer, Authenticate, Authorize, Commit, Effect
from curier.broker.fetching import FETCHED_PER_TURN
from curier.broker.hooks import Hook, Hooks
from curier.broker.options import MIB, Options
from curier.broker.routing import Route, Router
from curier.broker.sessions import ServerSession, SharedGroup
from curier.broker.subscribing import detach
from curier.broker.upkeep import RetainedSweep, SessionWatch, Statistics, SysPublisher
from curier.codec.constants import MQTT_50, QUOTA_EXCEEDED, SERVER_SHUTTING_DOWN
from curier.protocol.connection import AUTHENTICATING, CLOSED, CONNECTED, Connection, Traffic
from curier.session.journal import Journal
from curier.session.message import NEVER, ApplicationMessage
from curier.session.records import Retained, SessionEnded, SessionSaved, WillRemoved, WillSaved
from curier.topics.filters import check_topic_name
from curier.topics.retained import RetainedTree

DEADLINES_PER_TURN: Final = 500
LEVELS_PER_RETAINED: Final = 8  # that retained topics may have on average: each costs memory of its own
CONTINUED_PER_TURN: Final = 100


@final
class Arrival:
    """A client whose CONNACK waits for a batch of the journal."""

    __slots__ = ("batch", "connection", "is_present")

    def __init__(self, batch: int, connection: BrokerConnection, is_present: bool) -> None:
        self.batch = batch
        self.connection = connection
        self.is_present = is_present


@final
class BrokerCore:
    """All state of a broker. ``id_prefix`` begins the Client Identifiers it assigns; make it unguessable."""

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
        self.options: Options = options
        self.id_prefix: str = id_prefix
        self.journal: Journal | None = journal
        self.asks_authentication: bool = asks_authentication
        self.authentication_methods: frozenset[str] = authentication_methods
        self.asks_authorization: bool = asks_authorization
        self.slow_lane_only: bool = False  # for comparing the lanes
        # Whoever was below the soft limit may always be sent one more packet, however large.
        self.output_hard_limit: int = max(
            options.output_hard_limit, options.output_soft_limit + options.max_packet_size + MIB
        )
        self.started_at: float = now
        self.dirty: list[Connection] = []
        self.effects: list[Effect] = []
        self.traffic: Traffic = Traffic()
        self.statistics: Statistics = Statistics()
        self.hooks: Hooks = Hooks()
        self.tap: HookTap = HookTap(self)
        self.sessions_by_number: dict[int, ServerSession] = {}
        self.router: Router = Router(options.route_cache_size, self.sessions_by_number)
        self.open_routes: list[dict[bytes, Route]] = [self.router.cache.table] * 3  # where all may publish
        self.retained: RetainedTree[ApplicationMessage] = RetainedTree()
        self.layouts: Layouts = Layouts()
        self.sessions: dict[str, ServerSession] = {}
        self.session_list: list[ServerSession] = []  # for a walk in pieces, whatever comes and goes meanwhile
        self.groups: dict[bytes, SharedGroup] = {}
        self.connections: dict[int, BrokerConnection] = {}
        self.deadlines: Deadlines = Deadlines()
        self.holding: list[BrokerConnection] = []  # with output that waits for the journal
        self.arrivals: list[Arrival] = []
        self.welcomed: list[BrokerConnection] = []
        self.continued: list[BrokerConnection] = []  # with retained messages left to send
        self.fetch_budget: int = (
            FETCHED_PER_TURN  # how much more of retained messages may be sent in this turn
        )
        self.is_committing: bool = False
        self.store_trouble: str = ""  # why the disk takes nothing at the moment
        self._serial: int = 0
        self._last_client: int = 0
        self._last_group: int = 0  # goes down, so that no group has the number of a session
        self.sweep: RetainedSweep = RetainedSweep(self)
        if options.sys_interval:
            self.deadlines.add(SysPublisher(self), now)

    # ---- the driver's side: bytes ----

    def attach(self, address: str, listener: str, now: float) -> BrokerConnection:
        """A Network Connection was accepted; it has ``connect_timeout`` seconds for its CONNECT."""
        self._serial += 1
        connection = BrokerConnection(self, self._serial, address, listener, now)
        self.connections[connection.number] = connection
        connection.watch = ConnectionWatch(connection)
        self.deadlines.add(connection.watch, now + self.options.connect_timeout)
        self.statistics.accepted += 1
        return connection

    def receive(self, connection: BrokerConnection, chunk: bytes, now: float) -> None:
        """Bytes came, in a chunk of any size."""
        connection.receive(chunk, now)

    def detach(self, connection: BrokerConnection, now: float) -> None:
        """The network has closed a connection; harmless where the core had closed it already."""
        connection.end(0x80, "the client closed the connection without DISCONNECT", now)
        connection.output.clear()

    def take_dirty(self) -> list[BrokerConnection]:
        """Connections with output, each once; the next turn starts with none."""
        self.fetch_budget = FETCHED_PER_TURN
        dirty = cast(list[BrokerConnection], self.dirty.copy())
        self.dirty.clear()
        return dirty

    def written(self, connection: BrokerConnection, sent: int, unsent: int, now: float) -> None:
        """The network has taken ``sent`` bytes; ``unsent`` bytes still wait in the driver."""
        self.traffic.bytes_sent += sent
        connection.unsent = unsent
        if connection.state != CONNECTED:
            return
        if sent:
            # A peer that takes bytes lives, though it is not read from while it takes too few.
            connection.received_at = (
                max(connection.received_at, now) if connection.is_congested else connection.received_at
            )
        if unsent > self.output_hard_limit:
            why = f"{unsent} bytes wait for this client, which does not take them"
            connection.send_disconnect(QUOTA_EXCEEDED, why, None)
            connection.end(QUOTA_EXCEEDED, why, now)
        elif unsent > self.options.output_soft_limit:
            if not connection.is_congested:
                connection.is_congested = True
                connection.set_lanes()
        elif connection.is_congested and unsent <= self.options.output_soft_limit // 2:
            connection.is_congested = False
            connection.set_lanes()
            connection.now = now
            connection.pump(now)

    # ---- the driver's side: time, effects, batches ----

    def next_deadline(self) -> float:
        """When ``deadline_reached`` is to be called next; infinity: never."""
        return self.deadlines.next()

    def deadline_reached(self, now: float) -> None:
        """Do what is due; at most a bounded part of it, so look at ``next_deadline`` again."""
        self.deadlines.run(now, DEADLINES_PER_TURN)

    def has_more_work(self) -> bool:
        """Is there work left that was put off to let others have their turn? Then call ``continue_work``
        soon.
        """
        return bool(self.continued)

    def continue_work(self, now: float) -> None:
        """Go on with what was put off, a bounded part of it."""
        batch = self.continued[:CONTINUED_PER_TURN]
        del self.continued[:CONTINUED_PER_TURN]
        for connection in batch:
            connection.is_continued = False
            connection.now = now
            connection.pump(now)

    def continue_later(self, connection: BrokerConnection) -> None:
        if not connection.is_continued:
            connection.is_continued = True
            self.continued.append(connection)

    def take_effects(self) -> list[Effect]:
        """What the world has to do now, in order; with the next batch of the journal, if none is on its
        way.
        """
        if self.journal is not None and not self.is_committing:
            batch = self.journal.take()
            if batch is not None:
                self.is_committing = True
                self.effects.append(Commit(batch))
        effects = self.effects
        self.effects = []
        return effects

    def committed(self, batch: int, now: float) -> None:
        """Batch ``batch`` is durable: what waited for it may go."""
        self.is_committing = False
        self.store_trouble = ""
        holding = self.holding
        self.holding = []
        for connection in holding:
            connection.is_kept = False
            connection.release(batch, now)
            if connection.held:
                connection.is_kept = True
                self.holding.append(connection)
        arrivals = self.arrivals
        self.arrivals = [arrival for arrival in arrivals if arrival.batch > batch]
        for arrival in arrivals:
            if arrival.batch <= batch and arrival.connection.state != CLOSED:
                arrival.connection.paused = False
                arrival.connection.now = now
                connecting.welcome(self, arrival.connection, arrival.is_present, now)
                arrival.connection.proceed(now)
                self.welcomed.append(arrival.connection)

    def take_welcomed(self) -> list[BrokerConnection]:
        """Connections that were paused for the journal and are no more."""
        welcomed = self.welcomed
        self.welcomed = []
        return welcomed

    def store_failed(self, why: str) -> None:
        """The open batch cannot be made durable now; it is tried again, its answers wait.

        Until ``committed``, new messages that would have to be durable are refused (0x83, QoS 1 and 2); QoS 0
        goes on. ``why`` is for people; "" ends it where no batch is open.
        """
        self.store_trouble = why

    def resume(self, effect: Effect, answer: Answer, now: float) -> None:
        """Answer ``Authenticate`` or ``Authorize``; the connection goes on with the bytes that waited."""
        if isinstance(effect, Authorize):
            connection = effect.connection
            if connection.state == CLOSED:
                return
            connection.remember_verdict(effect, answer.reason_code)
            if connection.paused:
                return
            if connection.state == AUTHENTICATING:  # it was about the will
                connection.now = now
                connecting.admit(self, connection, now)
            connection.proceed(now)
        elif isinstance(effect, Authenticate):
            connection = effect.connection
            if connection.state == CLOSED:
                return
            connection.paused = False
            connection.now = now
            connecting.decided(self, connection, answer, now)
            connection.proceed(now)

    def permissions_changed(self) -> None:
        """Forget every remembered permission; each is asked for again when it is needed."""
        for connection in self.connections.values():
            connection.forget_verdicts()

    def shut_down(self, now: float) -> None:
        """Tell every 5.0 client that the server is shutting down (0x8B) and end all connections."""
        why = "the broker is stopping"
        for connection in list(self.connections.values()):
            connection.now = now
            connection.send_disconnect(SERVER_SHUTTING_DOWN, why, None)
            connection.end(SERVER_SHUTTING_DOWN, why, now)

    def add_hook(self, hook: Hook) -> None:
        """Have ``hook`` told of events from now on."""
        self._set_hooks([*self.hooks.all, hook])

    def remove_hook(self, hook: Hook) -> None:
        self._set_hooks([other for other in self.hooks.all if other is not hook])

    def _set_hooks(self, hooks: list[Hook]) -> None:
        self.hooks.set(hooks)
        for connection in self.connections.values():
            connection.set_lanes()

    # ---- messages from the broker itself ----

    def publish(self, message: ApplicationMessage, sender: ServerSession | None, now: float) -> str:
        """Publish ``message`` as the broker, or as the will of ``sender``; plain words where that cannot
        be.
        """
        why = check_topic_name(message.topic, self.options.max_topic_levels)
        if not why and message.retain:
            why = self.retain(message)
        if why:
            return why
        deliver(self, self.router.route(message.topic), message, sender, now)
        return ""

    def publish_will(self, session: ServerSession, now: float) -> None:
        """Publish the Will Message of ``session`` and forget it [MQTT-3.1.2-8] [MQTT-3.1.2-10]."""
        will = session.will
        session.will = None
        session.will_due_at = 0.0
        if will is None:
            return
        if session.journal is not None:
            session.journal.add(WillRemoved(session.number))
        expires_at = now + session.will_expiry if session.will_expiry >= 0 else NEVER
        message = ApplicationMessage(
            will.topic, will.payload, will.qos, will.retain, will.properties, expires_at
        )
        if self.ask_publish_hooks(None, message) < 0x80:
            self.publish(message, session, now)

    def ask_publish_hooks(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        """The first refusal of ``message`` by a hook, or 0."""
        hooks = self.hooks.publish
        if hooks is not None:
            for hook in hooks:
                reason_code = hook.on_publish(connection, message)
                if reason_code:
                    return reason_code
        return 0

    def retain(self, message: ApplicationMessage) -> str:
        """Make ``message`` the retained message of its topic, or remove that (3.3.1.3); plain words if it
        is full.
        """
        topic = message.topic
        statistics = self.statistics
        if not message.payload:  # [MQTT-3.3.1-6] [MQTT-3.3.1-7]
            removed = self.retained.remove(topic)
            if removed is not None:
                statistics.retained_bytes -= removed.size()
                self._forget_retained(removed)
            return ""
        previous = self.retained.get(topic)
        size = message.size() - (previous.size() if previous is not None else 0)
        most = self.options.max_retained_messages
        if previous is None and len(self.retained) >= most:
            return f"all {most} retained messages are in use"
        if previous is None and self.retained.nodes >= LEVELS_PER_RETAINED * most:
            return f"retained topics have {LEVELS_PER_RETAINED * most} levels in all, and no more are kept"
        if size > 0 and statistics.retained_bytes + size > self.options.max_retained_bytes:
            return f"retained messages fill their {self.options.max_retained_bytes} bytes"
        self.retained.set(topic, message)  # [MQTT-3.3.1-5]
        statistics.retained_bytes += size
        if self.journal is not None and not topic.startswith(b"$"):
            self.journal.add(Retained(topic, self.journal.add_message(message)))
            if previous is not None:
                self.journal.drop_message(previous)
        if message.expires_at != NEVER:
            self.sweep.wake(message.expires_at)
        return ""

    def _forget_retained(self, message: ApplicationMessage) -> None:
        """The journal's part of removing a retained message."""
        if self.journal is not None and message.number:
            self.journal.add(Retained(message.topic, 0))
            self.journal.drop_message(message)

    def expire_retained(self, message: ApplicationMessage) -> None:
        """Remove a retained message whose Message Expiry Interval has passed (3.3.1.3)."""
        self.retained.remove(message.topic)
        self.statistics.retained_bytes -= message.size()
        self.statistics.expired_messages += 1
        self._forget_retained(message)

    # ---- sessions ----

    def new_session(self, client_id: str, is_durable: bool) -> ServerSession:
        journal = self.journal if is_durable else None
        session = ServerSession(client_id, self._next_number(), journal)
        self.add_session(session)
        return session

    def add_session(self, session: ServerSession) -> None:
        self.sessions[session.client_id] = session
        self.sessions_by_number[session.number] = session
        session.place = len(self.session_list)
        self.session_list.append(session)

    def remove_session(self, session: ServerSession) -> None:
        del self.sessions[session.client_id]
        del self.sessions_by_number[session.number]
        last = self.session_list.pop()
        if last is not session:
            last.place = session.place
            self.session_list[last.place] = last

    def save_session(self, session: ServerSession) -> None:
        """Have the journal know the session as it is now."""
        if session.journal is not None:
            session.journal.add(
                SessionSaved(
                    session.number,
                    session.client_id,
                    session.version,
                    session.expiry_interval,
                    session.ends_at,
                )
            )

    def save_will(self, session: ServerSession) -> None:
        """Have the journal know the will of the session as it is now."""
        if session.journal is not None and session.will is not None:
            session.journal.add(
                WillSaved(
                    session.number,
                    session.will,
                    session.will_delay,
                    session.will_expiry,
                    session.will_due_at,
                )
            )

    def _next_number(self) -> int:
        if self.journal is not None:
            return self.journal.next_number()
        self._serial += 1
        return self._serial

    def end_session(self, session: ServerSession, why: str, now: float) -> None:
        """Discard Session State [MQTT-4.1.0-2]: its will is published now, shared messages go to other
        members.
        """
        if self.sessions.get(session.client_id) is not session:
            return
        self.remove_session(session)
        for topic_filter, subscription in session.subscriptions.items():
            detach(self, session, topic_filter, subscription)
        session.subscriptions = {}
        session.last_subscription = None
        session.retained_sends.clear()
        self.publish_will(session, now)
        self._hand_over(session, now)
        if session.journal is not None:
            for entry in session.outgoing.unfinished():
                session.outgoing.forget(entry)
            session.journal.add(SessionEnded(session.number))
        self.statistics.queued_bytes -= session.outgoing.queued_bytes
        session.clear()
        if session.watch is not None:
            self.deadlines.cancel(session.watch)
            session.watch = None
        hooks = self.hooks.session_end
        if hooks is not None:
            for hook in hooks:
                hook.on_session_end(session.client_id, why)

    def _hand_over(self, session: ServerSession, now: float) -> None:
        """Messages of Shared Subscriptions go to other members, but never a QoS 2 one in delivery
        [MQTT-4.8.2-5].
        """
        if not self.groups:
            return
        for entry in session.outgoing.unfinished():
            group = self.groups.get(entry.group)
            if group is None or (entry.qos == 2 and entry.packet_id):
                continue
            if entry.message.is_expired(now):  # [MQTT-3.3.2-5]: to another member it was not sent before
                self.expired(session, entry.message)
                continue
            member = group.choose(entry.message.qos, self.options.max_queued_messages)
            if member is not None:
                deliver_member(self, member, group.topic_filter, entry.message, now)

    def watch(self, session: ServerSession) -> None:
        """See that a session that is away gets its will published and its end in time."""
        when = session.will_due_at if session.will_due_at else session.ends_at
        if session.will_due_at and session.ends_at:
            when = min(session.will_due_at, session.ends_at)
        watch = session.watch
        if when and (watch is None or when < watch.when):
            if watch is not None:
                self.deadlines.move(watch, when)
            else:
                session.watch = SessionWatch(self, session)
                self.deadlines.add(session.watch, when)

    def group(self, topic_filter: bytes) -> SharedGroup:
        """The Shared Subscription with this Topic Filter, made where there is none."""
        group = self.groups.get(topic_filter)
        if group is None:
            self._last_group -= 1
            group = self.groups[topic_filter] = SharedGroup(self._last_group, topic_filter)
        return group

    def forget_group(self, group: SharedGroup) -> None:
        self.groups.pop(group.topic_filter, None)

    def new_client_id(self) -> str:
        """A Client Identifier that no session has [MQTT-3.2.2-16]."""
        while True:
            self._last_client += 1
            client_id = f"{self.id_prefix}{self._last_client}"
            if client_id not in self.sessions:
                return client_id

    # ---- what connections report ----

    def attached(self, connection: BrokerConnection, now: float) -> None:
        """``connection`` has its CONNACK."""
        statistics = self.statistics
        statistics.connected += 1
        statistics.connected_maximum = max(statistics.connected_maximum, statistics.connected)
        watch = connection.watch
        limit = now + connection.keep_alive
        if connection.keep_alive and watch is not None and limit < watch.when:
            self.deadlines.move(watch, limit)
        if self.options.retry_interval and connection.version != MQTT_50:
            self.deadlines.add(RetryWatch(connection), now + self.options.retry_interval)

    def detached(self, connection: BrokerConnection) -> None:
        self.connections.pop(connection.number, None)
        if connection.watch is not None:
            self.deadlines.cancel(connection.watch)
            connection.watch = None

    def await_commit(self, connection: BrokerConnection, is_present: bool) -> None:
        """CONNACK waits for the batch that is being filled."""
        assert self.journal is not None
        self.arrivals.append(Arrival(self.journal.number, connection, is_present))

    def refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """A CONNECT was refused; tell those who want to know."""
        self.statistics.refused += 1
        hooks = self.hooks.refuse
        if hooks is not None:
            for hook in hooks:
                hook.on_refuse(connection, reason_code, why)

    def dropped(self, session: ServerSession, message: ApplicationMessage, why: str) -> None:
        """A message for ``session`` will not arrive; ``why`` says so to hooks and logs."""
        self.statistics.dropped += 1
        self._tell_drop(session.client_id, message, why)

    def expired(self, session: ServerSession, message: ApplicationMessage) -> None:
        self.statistics.expired_messages += 1
        self._tell_drop(session.client_id, message, "its Message Expiry Interval has passed")

    def dropped_shared(self, group: SharedGroup, message: ApplicationMessage) -> None:
        self.statistics.dropped += 1
        self._tell_drop(
            group.topic_filter.decode(), message, "no member of the Shared Subscription can take it"
        )

    def _tell_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        hooks = self.hooks.drop
        if hooks is not None:
            for hook in hooks:
                hook.on_drop(client_id, message, why)
