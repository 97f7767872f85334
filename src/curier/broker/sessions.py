"""The server's Session State (4.1): subscriptions, will, expiry; and Shared Subscriptions (4.8.2)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

from curier.broker.deadlines import Deadline
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.session import Session
from curier.topics.retained import RetainedWalk
from curier.topics.tree import Subscriber

if TYPE_CHECKING:
    from curier.broker.connection import BrokerConnection


class Subscription(Subscriber):
    """How one session subscribes (3.8.3.1), with any number of filters; ``key`` is the session's number.

    It names no filter, so that a session with a thousand subscriptions that are all alike has one of these.
    """

    __slots__ = ("identifier", "no_local", "qos", "retain_as_published")

    def __init__(
        self, key: int, qos: int, no_local: bool, retain_as_published: bool, identifier: bytes
    ) -> None:
        super().__init__(key)
        self.qos = qos  # granted
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifier = identifier  # the encoded property, or b""

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
    """A Shared Subscription: its members take turns.

    Fair by rotation. A member that cannot take a message now (away, slow, its Receive Maximum used up) is
    skipped for one that can; if none can, a member that can at least keep it gets it.
    """

    def __init__(self, number: int, topic_filter: bytes) -> None:
        super().__init__(number)
        self.topic_filter: bytes = topic_filter  # with $share/ShareName/
        self.members: list[Member] = []
        self._turn: int = 0

    def put(self, new: Member) -> None:
        """Add a member, or replace the same session's membership (it counts once, 4.8.2)."""
        for index, member in enumerate(self.members):
            if member.session is new.session:
                self.members[index] = new
                return
        self.members.append(new)

    def remove(self, session: ServerSession) -> None:
        self.members = [member for member in self.members if member.session is not session]

    def choose(self, qos: int, max_queued: int) -> Member | None:
        """The member that gets the next message published at ``qos``; None where nobody can."""
        members = self.members
        count = len(members)
        turn = self._turn
        waiting = -1  # the first that is connected and has no quota left
        away = -1  # the first that is away or slow
        for step in range(count):
            index = turn + step
            if index >= count:
                index %= count
            member = members[index]
            session = member.session
            connection = session.connection
            if connection is not None and not connection.is_congested:
                if not qos or not member.qos or session.outgoing.has_room():
                    self._turn = index + 1 if index + 1 < count else 0
                    return member
                if waiting < 0 and len(session.outgoing.queue) < max_queued:
                    waiting = index
            elif qos and member.qos and away < 0 and len(session.outgoing.queue) < max_queued:
                away = index
        index = waiting if waiting >= 0 else away
        if index < 0:
            return None
        self._turn = index + 1 if index + 1 < count else 0
        return members[index]


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


NO_SENDS: Final[deque[RetainedSend]] = deque()  # of a session that rests; see ``session.outgoing``


@final
class ServerSession(Session):
    """Session State in the server. ``connection`` is the Network Connection it has now, if any."""

    def __init__(self, client_id: str, number: int, journal: Journal | None) -> None:
        super().__init__(client_id, number, journal)
        self.connection: BrokerConnection | None = None
        self.arriving: BrokerConnection | None = None  # its CONNACK waits for the journal
        self.lane: int = 0  # MQTT_311 or MQTT_50: takes plain packets of that version unseen; 0: look first
        self.version: int = 0
        self.subscriptions: dict[bytes, Subscription] = {}  # by Topic Filter, with $share/... where shared
        self.last_subscription: Subscription | None = None  # which the next is mostly like
        self.retained_sends: deque[RetainedSend] = NO_SENDS
        self.expiry_interval: int = 0  # seconds; 0 ends it with the connection (3.1.2.11.2)
        self.ends_at: float = 0.0  # while away: when it ends; 0: not by itself
        self.will: ApplicationMessage | None = None
        self.will_delay: int = 0
        self.will_expiry: int = -1  # Message Expiry Interval of the will, counted from its publication
        self.will_due_at: float = 0.0  # while away: when the will is published; 0: no will waits
        self.watch: Deadline | None = None
        self.place: int = 0  # in the core's list
