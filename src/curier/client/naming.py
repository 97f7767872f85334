"""Which streams a message is for where several match: Subscription Identifiers (5.0 section 3.8.2.1.2).

A server may send a message once for each subscription that matches (3.3.4), and sends retained messages for
one subscription. So streams that overlap each have a Subscription Identifier, and what carries it goes to
them only. A stream that overlaps with none has no identifier, which keeps its messages short.

The identifier follows from the Topic Filters, so that it means the same in the next life of a session.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Sequence
from typing import Final

from curier.client.arguments import OWN
from curier.client.received import Receiver
from curier.topics.tree import Subscriber
from curier.types import Subscription

MOST_KNOWN: Final = 10_000
"""Identifiers that are remembered after their streams; what carries an older one goes by its topic."""


class Place(Subscriber):
    """One Topic Filter of one stream."""

    __slots__ = ("receiver", "shows_retain", "topic_filter")

    def __init__(self, key: int, receiver: Receiver, subscription: Subscription) -> None:
        super().__init__(key)
        self.receiver = receiver
        self.topic_filter = subscription.topic_filter
        self.shows_retain = subscription.retain_as_published


class Names:
    """The identifiers that subscriptions of this client have, or had."""

    def __init__(self) -> None:
        self.known: dict[int, None] = {}  # all that were asked for, the newest last
        self._of_filter: dict[str, set[int]] = {}  # those that a subscription may have at the server
        self._chosen: dict[int, None] = {}

    def choose(self, filters: tuple[str, ...]) -> int:
        """An identifier for a stream with these Topic Filters, unlike that of any other stream."""
        number = crc32("\0".join(filters).encode())
        while (identifier := OWN | number & 0x00FF_FFFF) in self._chosen:
            number += 1
        self._chosen[identifier] = None
        return identifier

    def release(self, identifier: int) -> None:
        """The stream that had it is closed."""
        self._chosen.pop(identifier, None)

    def asked(self, identifier: int, filters: tuple[str, ...]) -> None:
        """A SUBSCRIBE with this identifier is sent."""
        self.known.pop(identifier, None)
        self.known[identifier] = None
        if len(self.known) > MOST_KNOWN:
            del self.known[next(iter(self.known))]
        for topic_filter in filters:
            self._of_filter.setdefault(topic_filter, set()).add(identifier)

    def ended(self, topic_filter: str) -> None:
        """The server has no such subscription any more."""
        self._of_filter.pop(topic_filter, None)

    def receivers(self, places: Sequence[Place], identifiers: Sequence[int], retain: bool) -> list[Receiver]:
        """For whom of ``places``, which all match its topic, a message is.

        Where the identifiers do not tell, for all: those of an earlier life of the session, or none.
        """
        if not identifiers:
            return _of_no_identifier(places, retain)
        if not all(identifier in self.known for identifier in identifiers):
            return [place.receiver for place in places]
        # A filter that several streams have is one subscription, with the identifier it was last given.
        filters = {
            place.topic_filter
            for place in places
            if not self._of_filter.get(place.topic_filter, set()).isdisjoint(identifiers)
        }
        live = _not_surely_retained(places, retain)
        return [
            place.receiver
            for place in places
            if (place.topic_filter in filters or place.receiver.is_nameless())
            and (place.topic_filter in live or place.receiver.identifier in identifiers)
        ]


def _of_no_identifier(places: Sequence[Place], retain: bool) -> list[Receiver]:
    """What carries none: a retained message is for streams that once had none."""
    live = _not_surely_retained(places, retain)
    some = [place.receiver for place in places if place.topic_filter in live or place.receiver.was_nameless]
    return some or [place.receiver for place in places]


def _not_surely_retained(places: Sequence[Place], retain: bool) -> set[str]:
    """Topic Filters for which a message with this RETAIN flag may be a new one.

    Without Retain As Published the flag says that the message was retained, and is sent because somebody has
    just subscribed [MQTT-3.3.1-8] [MQTT-3.3.1-12]: nobody else is to see it again.
    """
    return {place.topic_filter for place in places if not retain or place.shows_retain}
