"""What a broker has: sessions, routes, retained messages, deadlines, connections, the journal, counters.

Plain data, which all functions of the broker work on, each on its part. ``core.BrokerCore`` is this with the
face that a driver sees.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from curier.broker.buckets import Buckets
from curier.broker.deadlines import Deadline, Deadlines
from curier.broker.effects import Effect, Packets
from curier.broker.entrances import Entrance
from curier.broker.faults import Faults
from curier.broker.hooks import Hooks, HookTap
from curier.broker.layouts import Layouts
from curier.broker.model import (
    BrokerConnection,
    Leftovers,
    Route,
    ServerSession,
    SharedGroup,
    Spread,
)
from curier.broker.mounting import Mount
from curier.broker.options import Options
from curier.broker.rates import Allowance
from curier.broker.routing import Router
from curier.protocol.connection import Connection, Tap, Traffic
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.topics.retained import RetainedTree, RetainedWalk

NO_LIMIT: Final = 1 << 62  # of bytes

WORK_PER_TURN: Final = 1536
"""What may be done in one turn, of all clients, for receivers that are looked at: a message for one of
them is 1 at QoS 0 and 4 at QoS 1 and 2, which is up to 5 and 23 microseconds, interpreted."""

WORK_OF_QOS_1: Final = 4


@mypyc_attr(allow_interpreted_subclasses=True)
class Host:
    """What a broker cannot know of the process it runs in; whoever drives it may."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        """What else is told below ``$SYS/broker/``: values by name."""

    def memory(self) -> int:
        """Bytes that the process has in memory; 0: not known."""
        return 0

    def most_memory(self) -> int:
        """Bytes of memory that the process may have; 0: not known."""
        return 0


@final
class Statistics:
    """Counters of a broker's life; ``protocol.connection.Traffic`` counts packets and bytes."""

    def __init__(self) -> None:
        self.accepted: int = 0  # Network Connections
        self.connects: int = 0  # CONNECT packets
        self.admitted: int = 0  # clients with a CONNACK, or with one that waits for the disk, now
        self.connected: int = 0  # those that have it
        self.connected_maximum: int = 0
        self.slowed: int = 0  # times that a connection was told of which a rate has slowed
        self.refused: int = 0  # connections, subscriptions and messages refused within the rules
        self.protocol_errors: int = 0
        self.dropped: int = 0  # messages that will not reach a client
        self.dropped_full: int = 0  # those of them for which a queue had no room
        self.expired_messages: int = 0
        self.expired_sessions: int = 0
        self.retained_bytes: int = 0
        self.stored_sessions: int = 0  # those that outlive their connections
        self.subscriptions: int = 0  # of all sessions, but for shared ones
        self.shared_subscriptions: int = 0  # of all sessions
        self.queued_bytes: int = 0  # of messages that wait in the queues of all sessions
        self.stored_payload: int = 0  # bytes of payload of both
        self.input_bytes: int = 0  # of packets that have begun to come, of all clients
        self.output_bytes: int = 0  # that the network has not taken, of all clients
        self.looked_up_bytes: int = 0  # what else they hold, as of the last look (``memory``)
        self.entrances: list[Entrance] = []  # of listeners, each with counters of its own
        self.elsewhere: Entrance = Entrance()  # where nothing is different
        self.longest_turn: float = (
            0.0  # seconds others had to wait, at most, since $SYS told of it; the driver's
        )


@final
class Tally:
    """Retained messages of one client, or of all clients of one source."""

    def __init__(self) -> None:
        self.messages: int = 0
        self.bytes: int = 0


@final
class Holdings:
    """What clients, and the sources they come from, have of what all share (``shares``)."""

    def __init__(self) -> None:
        self.retained: dict[str, Tally] = {}  # by client and by source
        self.sessions: dict[str, int] = {}  # that outlive their connections, by source
        self.connecting: dict[str, int] = {}  # connections without a CONNACK yet, by place
        self.subscriptions: dict[str, int] = {}  # by source
        self.clients: dict[str, int] = {}  # that are connected or have their CONNACK soon, by source
        self.allowances: dict[str, Allowance] = {}  # what may come from all of one source together
        self.new_retained: Buckets = Buckets()  # how many topics got a retained message lately, by source
        self.connects: Buckets = Buckets()  # how many came lately, by place


@final
class Arrival:
    """A client whose CONNACK waits for a batch of the journal."""

    __slots__ = ("batch", "connection", "is_present")

    def __init__(self, batch: int, connection: BrokerConnection, is_present: bool) -> None:
        self.batch = batch
        self.connection = connection
        self.is_present = is_present


@final
class Sweep:
    """How far the search for expired retained messages is (``retaining.RetainedSweep``)."""

    def __init__(self) -> None:
        self.walk: RetainedWalk[ApplicationMessage] | None = None  # the one that is going on
        self.next_expiry: float = 0.0  # the first it has met; 0: none
        self.not_before: float = 0.0  # so that short expiries do not make it sweep all the time
        self.watch: Deadline | None = None


class TurnWork:
    """What is done in one turn, and what is left for the next ones."""

    def __init__(self) -> None:
        self.work_per_turn: i64 = WORK_PER_TURN
        self.spent: i64 = 0  # of that, in this turn
        self.ends: int = 0  # of connections, in this turn
        self.spreads: list[Spread] = []  # messages that are being given to their receivers (``spreading``)
        self.own: deque[Spread] = deque()  # those that no client waits for, in order
        self.own_records: int = 0  # how many of them may have records
        self.has_giant: bool = False  # is one of them in the open batch of the journal?
        self.sendings: list[Packets] = []  # for the other nodes of a cluster
        self.for_groups: list[tuple[bytes, ApplicationMessage]] = []  # ... for members of those, at any node
        self.is_inbound: bool = False  # does what is given now come from another node, which looks to those?
        self.leftovers: deque[Leftovers] = deque()  # of sessions that have ended (``leftovers``)
        self.forgetting: Deadline | None = None  # sees to those
        self.may_split: bool = True  # may another be? Not before that batch had the chance to be taken.
        self.fetch_budget: int = 0  # how much more of retained messages may be sent in this turn


class BrokerState(TurnWork):
    """All state of a broker. ``id_prefix`` begins the Client Identifiers it assigns; make it unguessable."""

    is_clustered: bool = False  # is it one node of a cluster (``roaming``), with a journal?

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
        super().__init__()
        self.options: Options = options
        self.id_prefix: str = id_prefix
        self.journal: Journal | None = journal
        self.asks_authentication: bool = asks_authentication
        self.authentication_methods: frozenset[str] = authentication_methods
        self.asks_authorization: bool = asks_authorization
        self.slow_lane_only: bool = False  # for comparing the lanes
        self.lanes_change: bool = False  # until each client has its own anew (``repacing``), none is fast
        self.output_hard_limit: int = options.output_hard_limit  # or more: see ``memory.bound``
        self.started_at: float = now
        self.hop: tuple[str, str] | None = None  # User Property of CONNACK, for bridges
        self.host: Host = Host()
        self.memory_limit: int = NO_LIMIT  # the same
        self.memory_watch: Deadline | None = None
        self.rejudging: Deadline | None = None  # subscriptions by other rules
        self.packet_watch: Deadline | None = None  # looks at packets that have begun and not ended
        # -- counters, deadlines, errors, hooks --
        self.traffic: Traffic = Traffic()
        self.statistics: Statistics = Statistics()
        self.deadlines: Deadlines = Deadlines()
        self.faults: Faults = Faults()
        self.hooks: Hooks = Hooks(self.faults)
        self.tap: Tap = HookTap(self.hooks)
        # -- sessions, and what is published --
        self.sessions: dict[str, ServerSession] = {}
        self.sessions_by_number: dict[int, ServerSession] = {}
        self.session_list: list[ServerSession] = []  # for a walk in pieces, whatever comes and goes meanwhile
        self.groups: dict[bytes, SharedGroup] = {}
        self.router: Router = Router(options.route_cache_size, self.sessions_by_number)
        self.open_routes: list[dict[bytes, Route]] = [self.router.cache.table] * 6  # where all may publish
        self.layouts: Layouts = Layouts()
        self.retained: RetainedTree[ApplicationMessage] = RetainedTree()
        self.sweep: Sweep = Sweep()
        self.holdings: Holdings = Holdings()
        # -- connections, and what waits --
        self.connections: dict[int, BrokerConnection] = {}
        self.dirty: list[Connection] = []
        self.effects: list[Effect] = []
        self.holding: list[BrokerConnection] = []  # with output that waits for the journal
        self.arrivals: list[Arrival] = []
        self.welcomed: list[BrokerConnection] = []  # were paused, and go on
        self.stalls: Deadline | None = None  # of publishers that wait for room (``stalling.StallWatch``)
        self.continued: list[BrokerConnection] = []  # with retained messages left to send
        self.is_committing: bool = False
        self.store_trouble: str = ""  # why the disk takes nothing at the moment
        # -- numbers --
        self.last_number: int = 0  # of connections, and of sessions where there is no journal
        self.last_client: int = 0
        self.last_group: int = 0  # goes down, so that no group has the number of a session

    def next_number(self) -> int:
        """A fresh number for a connection, or for a session where there is no journal."""
        self.last_number += 1
        return self.last_number

    def mount(self, prefix: bytes) -> Mount | None:
        """The mount with this prefix; None for b""."""
        if not prefix:
            return None
        mount = self.router.mounts.get(prefix)
        if mount is None:
            mount = self.router.mounts[prefix] = Mount(prefix)
        return mount

    def continue_later(self, connection: BrokerConnection) -> None:
        """Let others have their turn before ``connection`` goes on."""
        if not connection.is_continued:
            connection.is_continued = True
            self.continued.append(connection)
