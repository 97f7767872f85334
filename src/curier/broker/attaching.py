"""A subscription, put into session, table and group, and taken out of them; those of a session that has ended
by and by.

A session may have 20 000 of them, so at its end it is only taken out of ``sessions_by_number``. Whoever meets
a subscription whose session is not there passes over it, as if it were gone already; nobody but memory knows
the difference.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker import shapes, shares
from curier.broker.deadlines import Deadline
from curier.broker.model import Member, ServerSession, SharedGroup, Subscription
from curier.broker.mounting import group_name
from curier.broker.state import BrokerState
from curier.codec.publish import encode_subscription_identifier
from curier.topics.filters import is_shared, split_shared

AT_ONCE: Final = 256  # subscriptions of a session that has ended
FEW: Final = 8  # of them, that are taken out at once even where there is no time left
BYTES_AT_ONCE: Final = 16 * 1024  # of their Topic Filters
PER_STEP: Final = 8192  # work (``cost_of``) on the others, before others have their turn
STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now


def attach(
    broker: BrokerState, session: ServerSession, topic_filter: bytes, options: int, qos: int, identifier: int
) -> Subscription:
    """Put a subscription into session and table, in place of the one with the same Topic Filter.

    Whoever adds one takes away as much of what sessions that have ended left, so that clients who subscribe
    and go make nothing grow.
    """
    if broker.router.ended:
        detach_some(broker, cost_of(topic_filter))
    no_local = (options & 4) != 0
    as_published = (options & 8) != 0
    encoded = encode_subscription_identifier(identifier) if identifier else b""
    if is_shared(topic_filter):
        group = _group(broker, session, topic_filter)
        member = Member(session, group, qos, as_published, encoded)
        group.put(member)
        subscription: Subscription = member
        if not broker.is_clustered:  # or the cluster chooses (``sharing``)
            broker.router.add(split_shared(topic_filter)[1], group)
    else:
        last = session.last_subscription
        if last is not None and last.is_like(qos, no_local, as_published, encoded):
            subscription = last
        else:
            subscription = Subscription(session.number, qos, no_local, as_published, encoded)
            session.last_subscription = subscription
        broker.router.add(topic_filter, subscription)
    before = len(session.subscriptions)
    session.subscriptions[topic_filter] = subscription
    if len(session.subscriptions) != before:
        session.filter_bytes += len(topic_filter)
        _count(broker, session, subscription, 1)
        shapes.added(session, topic_filter, broker.options.max_wildcard_shapes)
    return subscription


def _count(broker: BrokerState, session: ServerSession, subscription: Subscription, change: int) -> None:
    shares.count_subscriptions(broker, session.source, change)
    if isinstance(subscription, Member):
        broker.statistics.shared_subscriptions += change
    else:
        broker.statistics.subscriptions += change


def _group(broker: BrokerState, session: ServerSession, topic_filter: bytes) -> SharedGroup:
    """The Shared Subscription with this Topic Filter that the session is to be in, made where there is
    none.
    """
    mount = session.mount
    group = broker.groups.get(group_name(mount, topic_filter))
    if group is None:
        broker.last_group -= 1
        group = SharedGroup(broker.last_group, topic_filter, mount)
        broker.groups[group.name] = group
        if mount is not None and not split_shared(topic_filter)[1].startswith(b"$"):
            group.hidden = len(mount.prefix)
    return group


def detach(
    broker: BrokerState, session: ServerSession, topic_filter: bytes, subscription: Subscription
) -> None:
    """Take a subscription that is out of its session out of the table too; a Shared Subscription goes with
    its last member (4.8.2).
    """
    session.filter_bytes -= len(topic_filter)
    _count(broker, session, subscription, -1)
    shapes.removed(session, topic_filter)
    if not isinstance(subscription, Member):
        broker.router.remove(topic_filter, session.number)
        return
    group = subscription.group
    group.remove(session)
    shared = split_shared(topic_filter)[1]
    if not group.members:
        broker.groups.pop(group.name, None)
    if broker.is_clustered:
        return
    if group.members:
        broker.router.changed(shared)
    else:
        broker.router.remove(shared, group.key)


def detach_all(broker: BrokerState, session: ServerSession, now: float) -> None:
    """Take all subscriptions of a session that has ended out of the table: now if they are few and there is
    time, else by and by.
    """
    session.shapes = None
    session.last_subscription = None
    count = len(session.subscriptions)
    has_time = count <= FEW or broker.spent + count <= broker.work_per_turn
    if has_time and count <= AT_ONCE and session.filter_bytes <= BYTES_AT_ONCE:
        broker.spent += count
        for topic_filter, subscription in session.subscriptions.items():
            detach(broker, session, topic_filter, subscription)
        session.subscriptions = {}
        return
    router = broker.router
    router.forget_all()
    router.ended.append(session)
    watch = router.detaching
    if watch is None:
        watch = router.detaching = Detaching(broker)
    if not watch.is_scheduled():
        broker.deadlines.add(watch, now + STEP_PAUSE)


def detach_some(broker: BrokerState, work: int) -> None:
    """Take some subscriptions out of the table whose sessions have ended."""
    ended = broker.router.ended
    while work > 0 and ended:
        session = ended[-1]
        if not session.subscriptions:
            ended.pop()
            continue
        topic_filter, subscription = session.subscriptions.popitem()
        work -= cost_of(topic_filter)
        if isinstance(subscription, Member):
            detach(broker, session, topic_filter, subscription)
        else:
            session.filter_bytes -= len(topic_filter)
            _count(broker, session, subscription, -1)
            broker.router.table.remove(topic_filter, session.number)  # no route leads to it


def cost_of(topic_filter: bytes) -> int:
    """The work, and roughly the memory, that a filter takes: for itself, its levels and its bytes."""
    return 5 + topic_filter.count(b"/") + (len(topic_filter) >> 6)


@final
class Detaching(Deadline):
    """Takes the subscriptions of sessions that have ended out of the table, piece by piece: of all of them
    together one piece in a turn.
    """

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker

    def fire(self, now: float) -> float:
        detach_some(self.broker, PER_STEP)
        return self._next(now)

    def failed(self, error: Exception, now: float) -> float:
        return self._next(now)

    def _next(self, now: float) -> float:
        return now + STEP_PAUSE if self.broker.router.ended else 0.0
