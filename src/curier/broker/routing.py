"""From a Topic Name to its receivers: the subscriptions that match, merged per session (3.3.4).

Overlapping subscriptions of one session give one copy, at the highest QoS of them [MQTT-3.3.4-2], with all
their Subscription Identifiers [MQTT-3.3.4-4].
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from curier.broker.deadlines import Deadline
from curier.broker.judging import Judge
from curier.broker.model import (
    NO_GROUPS,
    NO_RECEIVERS,
    Receiver,
    Route,
    ServerSession,
    SharedGroup,
    Subscription,
    are_same,
)
from curier.broker.mounting import Mount
from curier.broker.witness import Witness
from curier.topics.filters import has_wildcard, matches
from curier.topics.reserved import is_told_by_server
from curier.topics.routes import RouteCache
from curier.topics.table import SubscriptionTable
from curier.topics.tree import Subscriber

LONGEST_CACHED: Final = 1024  # bytes of a Topic Name
MOST_LOOKS: Final = 1024  # at topics in the cache because of one subscription
LOOKS_PER_ROUTE: Final = 128  # that cost less time than to make a route
LOOKS_PER_MATCH: Final = 8  # that cost as much as to match a filter with a topic, and one more for each
LOOKED_AT: Final = 8  # bytes of that topic
FEW: Final = 8  # subscriptions
DOLLAR: Final = 0x24


@final
class Router:
    """The subscription table with its route cache."""

    def __init__(self, cache_size: int, sessions: dict[int, ServerSession]) -> None:
        self.sessions = sessions  # by number; those that have ended are not there, and get nothing
        self.ended: list[ServerSession] = []  # with subscriptions that are still in the table
        self.detaching: Deadline | None = None  # takes them out (``attaching``)
        self.table: SubscriptionTable[Subscriber] = SubscriptionTable()
        self.cache: RouteCache[Route] = RouteCache(cache_size)
        self.judge: Judge | None = None  # of who may receive what; None: everybody may
        self.witness: Witness | None = None  # looks on at all that is published on some topics
        self.mounts: dict[bytes, Mount] = {}  # that sessions may have, by prefix
        self.held: dict[bytes, int] = {}  # Topic Names of messages that are being given out: how many
        self.made: i64 = 0  # receivers of routes that were made, for whoever counts that as work
        self._credit: i64 = 0  # looks at cached topics that are paid for
        self._last: list[Receiver] = NO_RECEIVERS  # of the last route that has several

    def add(self, topic_filter: bytes, subscriber: Subscriber) -> None:
        self.table.add(topic_filter, subscriber)
        self.changed(topic_filter)

    def remove(self, topic_filter: bytes, key: int) -> None:
        self.table.remove(topic_filter, key)
        self.changed(topic_filter)

    def changed(self, topic_filter: bytes) -> None:
        """Somebody's subscription with this filter is another: forget the routes that may have changed.

        With a wildcard it takes a look at every cached topic to say which those are. That is worth it while
        the topics are in use, since each would have to be routed again; so looks are paid for by the routes
        made before, and where nobody publishes, or the topics are many, all are forgotten.
        """
        self._last = NO_RECEIVERS
        if not has_wildcard(topic_filter):
            self.cache.forget(topic_filter)
            return
        table = self.cache.table
        looks: i64 = len(table)
        if not looks:
            return
        if looks > self._credit or looks > MOST_LOOKS:
            self.forget_all()
            return
        literal = topic_filter.split(b"+", 1)[0].split(b"#", 1)[0].removesuffix(b"/")  # '#': the parent too
        likely = [topic for topic in table if topic.startswith(literal)]
        for topic in likely:
            looks += LOOKS_PER_MATCH + len(topic) // LOOKED_AT
        if looks > self._credit:
            self.forget_all()
            return
        self._credit -= looks
        for topic in likely:
            if matches(topic_filter, topic):
                self.cache.forget(topic)

    def forget_all(self) -> None:
        """Any route may have changed."""
        self._credit = 0
        self._last = NO_RECEIVERS
        self.cache.invalidate()

    def route(self, topic: bytes) -> Route:
        """The route of a valid Topic Name, from the cache or made now."""
        route = self.cache.table.get(topic)
        if route is None:
            route = self._make(topic)
            self.made += len(route.receivers)
            is_held = bool(self.held) and topic in self.held
            is_kept = (is_held or _is_cached(topic)) and self.cache.remember(topic, route, is_held)
            if is_kept and self._credit < LOOKS_PER_ROUTE * MOST_LOOKS:
                self._credit += LOOKS_PER_ROUTE
            if is_held or not is_kept or self.is_seen(topic):  # not kept: nobody could tell it of a change
                route.is_fast = False
        else:
            route.is_used = True
        return route

    def is_seen(self, topic: bytes) -> bool:
        """Does somebody look on at all that is published there? Then nothing passes unseen."""
        return self.witness is not None and self.witness.sees_topic(topic)

    def hold(self, route: Route) -> None:
        """What else is published there waits, so it takes the general way, which knows of it. The cache
        knows the topic meanwhile, so that it tells when a subscription has changed.
        """
        topic = route.topic
        self.held[topic] = self.held.get(topic, 0) + 1
        cached = self.cache.table.get(topic)
        if cached is None:
            self.cache.remember(topic, route, True)
            cached = route
        cached.is_fast = False

    def let_go(self, topic: bytes) -> None:
        """One message less is held for there."""
        count = self.held.get(topic, 0)
        if count > 1:
            self.held[topic] = count - 1
            return
        self.held.pop(topic, None)
        route = self.cache.table.get(topic)
        if route is None:
            return
        if _is_cached(topic):
            route.set_fast()
            if self.is_seen(topic):
                route.is_fast = False
        else:
            self.cache.forget(topic)

    def _make_simple(self, topic: bytes, found: list[Subscriber]) -> Route | None:
        """The route of a topic with these subscriptions, as most have it, where each is another session's;
        None: it is not so simple.
        """
        receivers: list[Receiver] = NO_RECEIVERS
        is_durable: bool = False
        for target in found:
            if not isinstance(target, Subscription):
                return None
            alone = target.alone
            if alone is None or self.ended:  # else all sessions that are subscribed are there
                known = self.sessions.get(target.key)
                if known is None:
                    continue
                alone = _alone(known, target)
            receiver = alone[0]
            session = receiver.session
            if self.judge is not None and not self.may_receive(session, topic):
                continue
            if session.journal is not None:
                is_durable = True
            if not receivers:
                receivers = alone
                continue
            for other in receivers:
                if other.session is session:
                    return None
            if len(receivers) == 1:
                receivers = [receivers[0], receiver]
            else:
                receivers.append(receiver)
        return Route(topic, self._shared(receivers), NO_GROUPS, is_durable)

    def _shared(self, receivers: list[Receiver]) -> list[Receiver]:
        """The list of the route before, where it has the same: topics in a row often do, and to see whether
        one list is another takes no look at who is in it.
        """
        if len(receivers) > 1:
            if are_same(receivers, self._last):
                return self._last
            self._last = receivers
        return receivers

    def _make(self, topic: bytes) -> Route:
        found = self.table.match(topic)
        count = len(found)
        if count <= FEW and not self.mounts and (count == 1 or self.judge is None):
            simple = self._make_simple(topic, found)
            if simple is not None:
                return simple
        firsts: dict[int, Subscription] = {}  # of each session, by its number
        others: dict[int, list[Subscription]] = {}  # of the few that have more
        groups: list[SharedGroup] = []
        is_durable = False
        for target in found:
            if self.mounts and not self._is_shown(topic, target):
                continue
            if isinstance(target, SharedGroup):
                group = self.shown_to(target, topic)
                if group is not None and group.has_any(self.sessions):
                    groups.append(group)
                    is_durable = is_durable or group.durable > 0
            elif isinstance(target, Subscription):
                first = firsts.get(target.key)
                if first is None:
                    firsts[target.key] = target
                elif first is target and not target.identifier:
                    pass  # two filters, the same in all that matters
                elif target.key in others:
                    others[target.key].append(target)
                else:
                    others[target.key] = [target]
        receivers: list[Receiver] = []
        merged = 0
        kinds: dict[object, bool] | None = None  # that may receive it, or may not
        if self.judge is not None and self.judge.is_common(topic):
            kinds = {}
        for number, first in firsts.items():
            session = self.sessions.get(number)
            if session is None or not self.may_receive(session, topic, kinds):
                continue
            if number in others:
                receivers.append(_merged(session, [first, *others[number]]))
                merged += 1
            else:
                receivers.append(_alone(session, first)[0])
            is_durable = is_durable or session.journal is not None
        return Route(topic, self._shared(receivers), groups, is_durable, merged)

    def may_receive(
        self, session: ServerSession, topic: bytes, kinds: dict[object, bool] | None = None
    ) -> bool:
        """May its client, by the rules that hold now?"""
        rights = session.rights_by(self.judge)
        if rights is None:
            return True
        if kinds is None:
            return rights.is_shown(topic)
        known = kinds.get(rights.kind)
        if known is None:
            known = kinds[rights.kind] = rights.is_shown(topic)
        return known

    def kept_from(self, topic: bytes, most: int) -> list[ServerSession]:
        """Sessions that subscribe to ``topic`` and may not receive it, of shared subscriptions none."""
        found: list[ServerSession] = []
        if self.judge is None:
            return found
        for target in self.table.match(topic):
            session = self.sessions.get(target.key)
            if session is not None and session not in found and not self.may_receive(session, topic):
                found.append(session)
                if len(found) >= most:
                    break
        return found

    def shown_to(self, group: SharedGroup, topic: bytes) -> SharedGroup | None:
        """The group with those members only that may receive this topic; None: nobody may."""
        if self.judge is None:
            return group
        kinds: dict[object, bool] | None = {} if self.judge.is_common(topic) else None
        members = [member for member in group.members if self.may_receive(member.session, topic, kinds)]
        if len(members) == len(group.members):
            return group
        return group.only(members) if members else None

    def _is_shown(self, topic: bytes, target: Subscriber) -> bool:
        """Is there a name for the topic in the world of this subscriber?"""
        if isinstance(target, SharedGroup):
            mount = target.mount
        else:
            session = self.sessions.get(target.key)
            if session is None:
                return False
            mount = session.mount
        return mount is None or mount.shows(topic)


def _is_cached(topic: bytes) -> bool:
    """Are its routes remembered? Those of the server's own topics are few, and used seldom."""
    if len(topic) > LONGEST_CACHED:
        return False
    return topic[0] != DOLLAR or not is_told_by_server(topic)


def _alone(session: ServerSession, subscription: Subscription) -> list[Receiver]:
    """The receiver of a subscription that no other of its session overlaps: one for all its topics."""
    alone = subscription.alone
    if alone is None:
        receiver = Receiver(session)
        receiver.merge([subscription])
        alone = subscription.alone = [receiver]
    return alone


def _merged(session: ServerSession, subscriptions: list[Subscription]) -> Receiver:
    """The receiver of overlapping subscriptions."""
    receiver = Receiver(session)
    receiver.merge(subscriptions)
    if receiver.has_no_local:
        rest = [subscription for subscription in subscriptions if not subscription.no_local]
        if rest:
            receiver.own = Receiver(session)
            receiver.own.merge(rest)
    return receiver
