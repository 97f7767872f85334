"""From a Topic Name to its receivers: the subscriptions that match, merged per session (3.3.4).

Overlapping subscriptions of one session give one copy, at the highest QoS of them [MQTT-3.3.4-2], with all
their Subscription Identifiers [MQTT-3.3.4-4].
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from curier.broker.model import Receiver, Route, ServerSession, SharedGroup, Subscription
from curier.topics.filters import has_wildcard, matches
from curier.topics.reserved import is_told_by_server
from curier.topics.routes import RouteCache
from curier.topics.table import SubscriptionTable
from curier.topics.tree import Subscriber

LONGEST_CACHED: Final = 1024  # bytes of a Topic Name: the cache is bounded by their number
MOST_LOOKS: Final = 1024  # at topics in the cache because of one subscription
LOOKS_PER_ROUTE: Final = 128  # that cost less time than to make a route
LOOKS_PER_MATCH: Final = 8  # that cost as much as to match a filter with a topic


@final
class Router:
    """The subscription table with its route cache."""

    def __init__(self, cache_size: int, sessions: dict[int, ServerSession]) -> None:
        self.sessions = sessions  # by number
        self.table: SubscriptionTable[Subscriber] = SubscriptionTable()
        self.cache: RouteCache[Route] = RouteCache(cache_size)
        self._credit: i64 = 0  # looks at cached topics that are paid for

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
        if not has_wildcard(topic_filter):
            self._forget(topic_filter)
            return
        table = self.cache.table
        looks: i64 = len(table)
        if not looks:
            return
        if looks > self._credit or looks > MOST_LOOKS:
            self._credit = 0
            self.cache.invalidate()
            return
        literal = topic_filter.split(b"+", 1)[0].split(b"#", 1)[0].removesuffix(b"/")  # '#': the parent too
        likely = [topic for topic in table if topic.startswith(literal)]
        self._credit -= looks + LOOKS_PER_MATCH * len(likely)
        for topic in likely:
            if matches(topic_filter, topic):
                self._forget(topic)

    def _forget(self, topic: bytes) -> None:
        route = self.cache.forget(topic)
        if route is not None:
            route.is_fast = False  # a connection with permissions of its own may still have it

    def route(self, topic: bytes) -> Route:
        """The route of a valid Topic Name, from the cache or made now."""
        route = self.cache.table.get(topic)
        if route is None:
            route = self._make(topic)
            if len(topic) <= LONGEST_CACHED and not is_told_by_server(topic):  # few of those, and seldom
                for old in self.cache.remember(topic, route):
                    old.is_fast = False
                if self._credit < LOOKS_PER_ROUTE * MOST_LOOKS:
                    self._credit += LOOKS_PER_ROUTE
            else:
                route.is_fast = False  # nobody could tell it that it has changed
        return route

    def _make(self, topic: bytes) -> Route:
        receivers: dict[int, Receiver] = {}
        groups: list[SharedGroup] = []
        restricted: list[Subscription] = []  # those with No Local
        open_ones: list[Subscription] = []
        is_durable = False
        for target in self.table.match(topic):
            if isinstance(target, SharedGroup):
                groups.append(target)
                for member in target.members:
                    is_durable = is_durable or member.session.journal is not None
            elif isinstance(target, Subscription):
                receiver = receivers.get(target.key)
                if receiver is None:
                    session = self.sessions[target.key]
                    receiver = receivers[target.key] = Receiver(session)
                    is_durable = is_durable or session.journal is not None
                receiver.add(target)
                (restricted if target.no_local else open_ones).append(target)
        if restricted:
            for subscription in open_ones:
                receiver = receivers[subscription.key]
                if receiver.has_no_local:
                    if receiver.own is None:
                        receiver.own = Receiver(receiver.session)
                    receiver.own.add(subscription)
        return Route(topic, list(receivers.values()), groups, is_durable)
