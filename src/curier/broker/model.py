"""What a broker knows of its clients: sessions with subscriptions and wills (4.1), connections, and who
receives what is published on a topic.

Plain data. These things know each other, so they are in one file: a session has a connection, a connection
has a session and the routes it may publish to, a route leads to sessions. What is done with them is in the
files above this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, final

from mypy_extensions import i64

from curier.broker.deadlines import Deadline
from curier.broker.entrances import Entrance
from curier.broker.judging import Judge, Rights
from curier.broker.mounting import Mount, group_name
from curier.broker.rates import Outflow
from curier.codec.decode import LargeRequest
from curier.codec.packets import Connect
from curier.protocol.connection import CLOSED, Connection, Traffic
from curier.protocol.server import ServerConnection
from curier.session.journal import MAX_PENDING_BYTES, Journal
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.session import Session
from curier.topics.reserved import why_not_published
from curier.topics.retained import Node, RetainedWalk
from curier.topics.routes import Remembered
from curier.topics.tree import Subscriber


class Subscription(Subscriber):
    """How one session subscribes (3.8.3.1), with any number of filters; ``key`` is the session's number.

    It names no filter, so that a session with a thousand subscriptions that are all alike has one of these.
    """

    __slots__ = ("alone", "identifier", "no_local", "qos", "retain_as_published")

    def __init__(
        self, key: int, qos: int, no_local: bool, retain_as_published: bool, identifier: bytes
    ) -> None:
        super().__init__(key)
        self.qos = qos  # granted
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifier = identifier  # the encoded property, or b""
        # What the session gets where no other of its subscriptions matches: all receivers of many a route.
        self.alone: list[Receiver] | None = None

    def is_like(self, qos: int, no_local: bool, retain_as_published: bool, identifier: bytes) -> bool:
        """Can one more filter of the session have this one?"""
        return (
            self.qos == qos
            and self.no_local == no_local
            and self.retain_as_published == retain_as_published
            and self.identifier == identifier
        )


@final
class Member(Subscription):
    """How one session takes part in a Shared Subscription."""

    __slots__ = ("group", "session")

    def __init__(
        self,
        session: ServerSession,
        group: SharedGroup,
        qos: int,
        retain_as_published: bool,
        identifier: bytes,
    ) -> None:
        super().__init__(session.number, qos, False, retain_as_published, identifier)
        self.session = session
        self.group = group


@final
class SharedGroup(Subscriber):
    """A Shared Subscription: its members take turns (``delivery.choose``)."""

    def __init__(self, number: int, topic_filter: bytes, mount: Mount | None = None) -> None:
        super().__init__(number)
        self.topic_filter: bytes = topic_filter  # with $share/ShareName/
        self.mount: Mount | None = mount  # of all its members
        self.name: bytes = group_name(mount, topic_filter)
        self.hidden: int = 0  # bytes of each Topic Name that they do not see
        self.members: list[Member] = []
        self.places: dict[int, int] = {}  # of the members in that list, by number of the session
        self.durable: int = 0  # members whose session is in the journal
        self.turn: int = 0  # whose it is next
        self.is_anywhere: bool = False  # it stands for members at all nodes of a cluster, and has none itself

    def put(self, new: Member) -> None:
        """Add a member, or replace the same session's membership (it counts once, 4.8.2)."""
        place = self.places.get(new.key)
        if place is not None:
            self.members[place] = new
            return
        self.places[new.key] = len(self.members)
        self.members.append(new)
        if new.session.journal is not None:
            self.durable += 1

    def has_any(self, sessions: dict[int, ServerSession]) -> bool:
        """Is one of its members in ``sessions``, by number?"""
        if self.is_anywhere:
            return True
        for number in self.places:
            if number in sessions:
                return True
        return False

    def only(self, members: list[Member]) -> SharedGroup:
        """The same with some of its members, for a route: it is not kept up to date."""
        group = SharedGroup(self.key, self.topic_filter, self.mount)
        group.hidden = self.hidden
        for member in members:
            group.put(member)
        self.turn = (self.turn + 1) % len(self.members)  # or each new topic would begin with the same
        group.turn = self.turn % len(members)
        return group

    def sort(self) -> None:
        """Let turns go by the age of the sessions."""
        self.members.sort(key=_number)
        self.places = {member.key: place for place, member in enumerate(self.members)}

    def remove(self, session: ServerSession) -> None:
        """Forget a member; the last one takes its place, so that no other has to move."""
        place = self.places.pop(session.number)
        last = self.members.pop()
        if last.session is not session:
            self.members[place] = last
            self.places[last.key] = place
        if session.journal is not None:
            self.durable -= 1


def _number(member: Member) -> int:
    return member.key


@final
class RetainedSend:
    """Retained messages that are being sent because of a new subscription, piece by piece."""

    __slots__ = ("pending", "subscription", "topic_filter", "walk")

    def __init__(
        self, topic_filter: bytes, walk: RetainedWalk[ApplicationMessage], subscription: Subscription
    ) -> None:
        self.topic_filter = topic_filter
        self.walk = walk
        self.pending: list[ApplicationMessage] = []  # met by the walk, and the output had no room for them
        self.subscription = subscription


@final
class Owner:
    """Whose a retained message is, in words: a client, and the user or address it came from."""

    __slots__ = ("client", "source")

    def __init__(self, client: str, source: str) -> None:
        self.client = client
        self.source = source


NO_SENDS: Final[deque[RetainedSend]] = deque()  # of a session that rests; see ``session.outgoing``


MOST_IDENTIFIERS: Final = 4  # bytes of Subscription Identifiers with which the fast lane forwards: one or two


@final
class Receiver:
    """What one session gets of the messages on one topic."""

    __slots__ = (
        "has_no_local",
        "identifiers",
        "is_in_trains",
        "is_plain",
        "own",
        "qos",
        "retain_as_published",
        "session",
    )

    def __init__(self, session: ServerSession) -> None:
        self.session = session
        self.qos: int = 0
        self.identifiers: bytes = b""
        self.retain_as_published: bool = False
        self.has_no_local: bool = False
        self.own: Receiver | None = None  # what it gets of its own messages, where has_no_local
        self.is_plain: bool = True  # gets the publisher's bytes but for the Packet Identifier
        self.is_in_trains: bool = True  # the same with few identifiers, and whoever publishes

    def merge(self, subscriptions: list[Subscription]) -> None:
        """Be what all these, which match, ask for together."""
        for subscription in subscriptions:
            if subscription.qos > self.qos:
                self.qos = subscription.qos
            if subscription.retain_as_published:
                self.retain_as_published = True
            if subscription.no_local:
                self.has_no_local = True
        self.identifiers = b"".join([subscription.identifier for subscription in subscriptions])
        self.is_plain = not self.identifiers and not self.has_no_local
        self.is_in_trains = len(self.identifiers) <= MOST_IDENTIFIERS


NO_RECEIVERS: Final[list[Receiver]] = []  # of all routes that have none; never filled
NO_GROUPS: Final[list[SharedGroup]] = []


def are_same(receivers: list[Receiver], others: list[Receiver]) -> bool:
    """Do both name the same, in one order?"""
    if receivers is others:
        return True
    if len(receivers) != len(others):
        return False
    at: i64 = 0
    for receiver in receivers:
        if receiver is not others[at]:
            return False
        at += 1
    return True


RETAINED: Final = 3  # routes of what is to be retained, behind those of other messages by QoS
ROUTE_BYTES: Final = 216  # of a route with its place in the cache, but for what follows
RECEIVER_BYTES: Final = 8  # for each, which all routes of a subscription share
MERGED_BYTES: Final = 160  # for one of overlapping subscriptions, which is the route's own


@final
class Route(Remembered):
    """All receivers of one Topic Name; lists are not changed, and may be shared."""

    __slots__ = (
        "groups",
        "is_durable",
        "is_empty",
        "is_plain",
        "receivers",
        "retained",
        "takes_runs",
        "topic",
    )

    def __init__(
        self,
        topic: bytes,
        receivers: list[Receiver],
        groups: list[SharedGroup],
        is_durable: bool,
        merged: int = 0,
    ) -> None:
        count = len(receivers) + len(groups)
        super().__init__(ROUTE_BYTES + len(topic) + RECEIVER_BYTES * count + MERGED_BYTES * merged)
        self.topic = topic
        self.receivers = receivers if receivers else NO_RECEIVERS
        self.groups = groups if groups else NO_GROUPS
        self.is_empty: bool = not receivers and not groups
        self.is_plain: bool = True  # are all receivers?
        for receiver in self.receivers:
            if not receiver.is_plain:
                self.is_plain = False
        # With more than one way to a session, messages go one by one, so that it gets them in one order.
        self.takes_runs: bool = not groups or (not receivers and len(groups) == 1)
        self.is_durable = is_durable  # somebody's session is in the journal
        self.retained: Node | None = None  # where its retained message is, once that was looked for
        self.set_fast()

    def set_fast(self) -> None:
        """May plain packets go to it unseen? Some $ topics are not for clients to publish to, which is found
        out on the general way.
        """
        topic = self.topic
        self.is_fast = topic[0] != 0x24 or not why_not_published(topic)

    def has(self, session: ServerSession) -> bool:
        """Does ``session`` receive what is published here?"""
        for receiver in self.receivers:
            if receiver.session is session:
                return True
        for group in self.groups:
            if session.number in group.places:
                return True
        return False


@final
class ServerSession(Session):
    """Session State in the server. ``connection`` is the Network Connection it has now, if any."""

    def __init__(self, client_id: str, number: int, journal: Journal | None) -> None:
        super().__init__(client_id, number, journal)
        self.mount: Mount | None = None  # of the listener its client comes in by
        self.connection: BrokerConnection | None = None
        self.arriving: BrokerConnection | None = None  # its CONNACK waits for the journal
        self.rights: Rights | None = None  # None: all, or its client has not come since the start
        self.lane: i64 = 0  # MQTT_311 or MQTT_50: takes plain packets of that version unseen; 0: look first
        # The same of those in trains, where it may have Topic Aliases and a journal, which makes ``lane`` 0.
        self.in_trains: i64 = 0
        self.largest: i64 = 0  # bytes of a packet that it takes so
        self.version: int = 0
        self.subscriptions: dict[bytes, Subscription] = {}  # by Topic Filter, with $share/... where shared
        self.filter_bytes: int = 0  # of these Topic Filters
        self.last_subscription: Subscription | None = None  # which the next is mostly like
        self.shapes: dict[bytes, int] | None = None  # of its filters; None: there are few (``shapes``)
        self.retained_sends: deque[RetainedSend] = NO_SENDS
        self.user: str = ""  # whose it is, where there are users; "": nobody's (``client_ids``)
        self.source: str = ""  # the user or address its client came from last; "": not since the start
        self.is_stored: bool = False  # does it count as one that outlives its connections?
        self.owner: Owner | None = None  # of what it retains
        self.expiry_interval: int = 0  # seconds; 0 ends it with the connection (3.1.2.11.2)
        self.ends_at: float = 0.0  # while away: when it ends; 0: not by itself
        self.will: ApplicationMessage | None = None
        self.will_delay: int = 0
        self.will_expiry: int = -1  # Message Expiry Interval of the will, counted from its publication
        self.will_due_at: float = 0.0  # while away: when the will is published; 0: no will waits
        self.watch: Deadline | None = None
        self.place: int = 0  # in the broker's list
        self.dropped_full: int = 0  # messages for which its queue had no room, since the broker was started

    def rights_by(self, judge: Judge | None) -> Rights | None:
        """What its client may, by the rules that hold now; None: nobody decides that, or nobody knows who it
        is.
        """
        rights = self.rights
        if rights is None or judge is None or rights.judge is judge:
            return rights
        if rights.next is not None and rights.next.judge is judge:
            rights = self.rights = rights.next
        else:
            rights = self.rights = judge.rights(rights.who)
        if self.connection is not None:
            self.connection.verdicts.clear()  # its routes are forgotten with all others
        return rights


@final
class Leftovers:
    """The messages of a session that has ended, as far as they are not forgotten yet (``leftovers``)."""

    __slots__ = ("incoming", "inflight", "is_known", "outgoing", "releasing", "session", "shared")

    def __init__(self, session: ServerSession, is_known: bool) -> None:
        self.session = session
        self.outgoing = session.outgoing
        self.incoming = session.incoming
        self.is_known = is_known  # to the journal, as a session without a Client Identifier
        self.inflight: Iterator[Outgoing] = iter(session.outgoing.inflight.values())
        self.shared: list[Outgoing] = []  # those of a burst, the last first
        self.releasing: Iterator[Outgoing] = iter(session.outgoing.releasing.values())


@final
class Stalled:
    """PUBLISH packets of one connection that are put off until ``session`` has room for ``size`` bytes
    (``stalling``).
    """

    __slots__ = ("bytes", "packets", "session", "size")

    def __init__(self, session: ServerSession | None, size: int) -> None:
        self.session = session
        self.size = size
        self.packets: deque[bytes] = deque()
        self.bytes: int = 0


ANOTHER: Final = "another node"
"""Owner of a message with QoS 0 that came from there, where groups were looked to."""

NO_SHARES: Final[list[tuple[str, bytes]]] = []


@final
class LogMessage:
    """A message of the log that all nodes of a cluster share.

    ``client_id`` is its publisher's, for No Local; "": it has none. ``shares`` are the sessions here that it
    is for as members of Shared Subscriptions, by Client Identifier and name of the group; ``is_for_group``:
    it is for nobody else.
    """

    __slots__ = ("client_id", "is_for_group", "message", "shares")

    def __init__(self, client_id: str, message: ApplicationMessage) -> None:
        self.client_id = client_id
        self.message = message
        self.shares: list[tuple[str, bytes]] = NO_SHARES
        self.is_for_group: bool = False


@final
class Work:
    """A large SUBSCRIBE or UNSUBSCRIBE that is worked off over many turns (``piecemeal``)."""

    def __init__(self, request: LargeRequest, identifier: int) -> None:
        self.request = request
        self.identifier = identifier  # Subscription Identifier, or 0
        self.is_read: bool = False  # to its end
        self.verdicts: list[int] = []  # permissions, by filter, as far as they are known
        self.at: int = 0  # the filter to work on next
        self.codes: list[int] = []  # Reason Codes of those before it
        self.why: str = ""  # Reason String
        self.batch: int = 0  # of the journal, that its answer waits for


@final
class Spread:
    """A message, or a run of them of equal size, that is given to its receivers over many turns
    (``spreading``).
    """

    def __init__(
        self,
        route: Route,
        sender: ServerSession | None,
        connection: BrokerConnection | None,
        qos: int,
        receivers: list[Receiver],
    ) -> None:
        self.route = route
        self.seen: Route = route  # of the topic, when it was gone on with last
        self.sender = sender
        self.connection = connection  # which is paused meanwhile, or has ended; None: it is nobody's
        self.qos = qos
        self.receivers: list[Receiver | None] = list(receivers)  # None: it is none any more
        self.message: ApplicationMessage | None = None  # the one that is being given
        self.index: int = 0  # which of the run that is
        self.at: int = 0  # the receiver that is next, or behind them all the Shared Subscription
        self.is_kept: bool = False  # has somebody taken it?
        self.lost: set[int] | None = None  # indexes of those that nobody had room for
        self.is_done: bool = False
        self.has_records: bool = False  # may it have any, as one of the broker's own?
        self.takes_id: int = 0  # Packet Identifier of a QoS 2 message, which is taken at the end
        # -- of a run --
        self.count: int = 1
        self.block: bytes = b""  # the packets
        self.size: int = 0  # of each; 0: it is no run
        self.payload_at: int = 0
        self.id_at: int = 0
        self.skips: list[int] | None = None  # how many of the run each receiver has got already
        self.most_done: int = 0  # how many of the run some other receiver has got


@final
class Known:
    """What is known of a client besides its name, by whoever said that it is this client; never changed."""

    __slots__ = ("claims", "expires_at", "groups", "why_no_more")

    def __init__(
        self, groups: frozenset[str], claims: dict[str, str], expires_at: float, why_no_more: object = None
    ) -> None:
        self.groups = groups
        self.claims = claims
        self.expires_at = expires_at  # when it has to have authenticated again; 0: never
        self.why_no_more = why_no_more  # the driver's: it is asked when somebody might be known no more


NOTHING_KNOWN: Final = Known(frozenset(), {}, 0.0)
NO_ROUTES: Final[list[dict[bytes, Route]]] = []  # before it is known which; never filled
NOTHING: Final[dict[bytes, Route]] = {}  # of a kind that its client has not published; never filled


class BrokerConnection(ServerConnection):
    """What is known of one client's Network Connection. ``address`` and ``listener``, the URL it came in by,
    are for people, hooks and authentication.

    ``connection.ServedConnection`` adds what its packets do; every connection of a broker is one of those.
    """

    is_behind: bool = False  # does more output wait than the soft limit allows?
    outflow: Outflow | None = None  # how much it may be sent; None: as much as it takes
    tape_left: i64 = 0  # bytes of it that may still be kept (``net.tape``)
    tape_until: float = 0.0  # and until when
    has_claim: bool = False  # is this node of a cluster that of its session?
    has_caught_up: bool = False  # with the log of the cluster, for a SUBSCRIBE

    def __init__(
        self,
        number: int,
        max_packet_size: int,
        dirty: list[Connection],
        traffic: Traffic,
        address: str,
        listener: str,
        entrance: Entrance,
        now: float,
    ) -> None:
        super().__init__(number, max_packet_size, dirty, traffic)
        self.address: str = address
        self.listener: str = listener
        self.entrance: Entrance = entrance
        self.mount: Mount | None = None
        self.local_peer: tuple[int, int, int] | None = None  # user, group, process behind a Unix socket
        self.certificate_name: str | None = None  # of a client's certificate that was verified
        self.place: str = ""  # where it counts as one without a CONNACK; "": nowhere (``shares``)
        self.attached_at: float = now
        self.received_at = now
        self.watch: Deadline | None = None
        # -- who it is --
        self.server_session: ServerSession | None = None
        self.identity: str | None = None
        self.known: Known = NOTHING_KNOWN
        self.identity_watch: Deadline | None = None
        self.connect: Connect | None = None  # while it waits for its CONNACK or re-authentication
        self.assigned_client_id: bool = False
        self.authentication_data: bytes | None = None  # to go with CONNACK
        self.authentication_state: object = None
        self.keep_alive: float = 0.0  # seconds without a packet after which it is closed on; 0: never
        self.has_left: bool = False  # with DISCONNECT
        self.discard_will: bool = False
        self.is_ending: bool = False  # as soon as what is going on is finished (``faults``)
        self.ending_code: int = 0  # a Reason Code: that with which it ends, or has ended
        self.ending_why: str = ""
        # -- what it may do --
        self.has_permissions: bool = False  # of its own?
        # Routes it may publish to, by QoS, then with RETAIN: shared by all where nobody decides permissions.
        self.routes: list[dict[bytes, Route]] = NO_ROUTES
        self.generation: int = 0  # of the route cache that these routes are from
        self.verdicts: dict[bytes, int] = {}
        self.questions: int = 0  # Authorize effects that are not answered
        self.stalled: Stalled | None = None  # what it publishes waits for room
        self.work: Work | None = None  # what it is paused for
        self.spread: Spread | None = None  # what it has published and is paused for
        # -- how it is sent to --
        self.is_fast: bool = False  # may its packets take the fast lane?
        self.is_congested: bool = False  # it is sent nothing for now: ``is_behind``, ``outflow``, or it ends
        self.unsent: int = 0  # bytes of output not yet taken by the network, those of this turn included
        self.written_unsent: int = 0  # those the network had not taken when it was written last
        self.counted_unsent: int = 0  # those that count as memory it holds
        self.unsent_since: float = 0.0  # when the first of them was not taken at once
        self.is_unfinished: bool = False  # is it on the list of those whose packets have begun?
        self.is_owed: bool = True  # an answer? If not, all that has come lately were acknowledgements.
        self.is_continued: bool = False  # is it on the broker's list of those that have more to be sent?
        self.is_kept: bool = False  # is it on the broker's list of those with held output?
        self.topic_aliases: dict[bytes, int] | None = None  # chosen for this client; None: it takes none
        self.outgoing_alias_maximum: int = 0

    @property
    def listener_name(self) -> str:
        """What people call the listener: the name it was given, or its URL."""
        return self.entrance.name or self.listener

    def is_closed(self) -> bool:
        """Is the core done with this connection?"""
        return self.state == CLOSED

    def disk_is_behind(self) -> bool:
        """Does so much wait for the disk that a QoS 0 message is better not retained (3.3.1.3: it MAY be)?"""
        return self.journal is not None and self.journal.pending_bytes > MAX_PENDING_BYTES

    def can_wait(self, size: int) -> bool:
        """Is the output nothing but messages, fewer than ``size`` bytes of them, for a client that could take
        as many again before it acknowledges any?
        """
        session = self.server_session
        if self.is_owed or session is None or session.retained_sends:
            return False
        outgoing = session.outgoing
        if 2 * outgoing.quota < outgoing.quota_maximum:
            return False
        for piece in self.output:
            size -= len(piece)
        return size > 0

    def take_output(self) -> bytes:
        """Everything to be written now, as one piece; the connection is clean afterwards."""
        return b""

    def take_pieces(self) -> list[bytes]:
        """The same, with each large piece by itself."""
        return []

    def take_single(self) -> bytes | None:
        """The same where it is one piece; None where ``take_pieces`` gives more."""
        return None
