"""Finds for whom a received message is, and owes its acknowledgement until all of them have taken it.

A message goes to every stream whose filter matches its topic, found in a tree of filters and remembered by
topic; where several match, ``naming`` tells for whom of them it is. With QoS 1 and 2 it is acknowledged when
each of them has taken it, in the order of receiving, which the core sees to. What nobody takes is not
acknowledged, and the server stops at Receive Maximum: this is how a slow reader slows it, while PINGRESP and
everybody else's answers still come through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from curier.client.link import Link
from curier.client.naming import Names, Place
from curier.client.received import Delivery, Receiver
from curier.client.session import Session
from curier.codec.packets import Publish
from curier.topics.filters import is_shared, split_shared
from curier.topics.tree import SubscriptionTree

MOST_ROUTES: Final = 10_000
"""Topics whose receivers are remembered; then the memory starts anew."""

LONGEST_ROUTE: Final = 1024
"""Characters; longer topics are looked up each time, rather than let a server fill memory."""

MOST_CHOICES: Final = 100
"""Sets of identifiers that are remembered for each topic."""


class Owed(Delivery):
    """A delivery on its way to all its receivers; ``missing`` have not taken it yet."""

    __slots__ = ("link", "missing", "packet_id", "qos", "router", "topic")

    def __init__(self, router: Router, link: Link, publish: Publish, missing: int) -> None:
        self.reason_code = 0
        self.reason_string = ""
        self.router = router
        self.link: Link | None = link  # None: its connection has ended
        self.packet_id = publish.packet_id
        self.qos = publish.qos
        self.topic = publish.topic
        self.missing = missing

    def taken(self) -> None:
        """One more receiver has taken the message."""
        self.missing -= 1
        if self.missing <= 0:
            if self.link is not None:
                del self.router.deliveries[self.packet_id]
                self.link.acknowledge(self.packet_id, self.reason_code, self.reason_string)
            if self.qos == 2 and self.router.disk is not None:
                self.router.note_taken(self, self.router.disk)


class Route:
    """Where the messages of one topic go."""

    __slots__ = ("chosen", "places", "receivers")

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        self.receivers = _once([place.receiver for place in places])
        self.chosen: dict[tuple[int, ...], tuple[Receiver, ...]] = {}  # by RETAIN and identifiers


class Router:
    """Finds the receivers of each message."""

    def __init__(self, told: Callable[[int], None], disk: Session | None = None) -> None:
        """``disk`` is the session where it outlives the program, until the client is over."""
        self.disk = disk
        self.deliveries: dict[int, Owed] = {}  # by Packet Identifier, on the connection there is
        self.unclaimed: list[tuple[Publish, Owed]] = []  # nobody has subscribed to them yet
        self.holds = False  # do such messages wait?
        self.unclaimed_dropped = 0
        self._told = told
        self._carried: dict[int, Owed] = {}  # of the connections before: the server sends them again
        self.names = Names()
        self._tree: SubscriptionTree[Place] = SubscriptionTree()
        self._places: dict[Receiver, list[Place]] = {}
        self._routes: dict[str, Route] = {}
        self._last = 0  # key of the tree

    def add(self, receiver: Receiver) -> None:
        """``receiver`` takes part from now on, beginning with what waited for it."""
        places = self._places[receiver] = []
        for subscription in receiver.filters:
            self._last += 1
            place = Place(self._last, receiver, subscription)
            self._tree.add(bare_filter(place.topic_filter).encode(), place)
            places.append(place)
        self._routes.clear()
        waiting, self.unclaimed = self.unclaimed, []
        for publish, delivery in waiting:
            if receiver in self._choose(self._find(publish.topic), publish, False):
                delivery.missing = 1
                receiver.put(publish, delivery)
            else:
                self.unclaimed.append((publish, delivery))

    def remove(self, receiver: Receiver, keep: bool) -> None:
        """``receiver`` gets nothing more; what it has not taken waits for another (``keep``), or is gone."""
        for place in self._places.pop(receiver):
            self._tree.remove(bare_filter(place.topic_filter).encode(), place.key)
        self._routes.clear()
        for message in receiver.leave():
            delivery = message._delivery
            if keep and isinstance(delivery, Owed) and delivery.missing == 1:
                self.unclaimed.append((message._packet, delivery))
            else:
                message.ack()

    def asked(self, receiver: Receiver, identifier: int) -> None:
        """A SUBSCRIBE of ``receiver`` is sent, with its identifier or, 0, with none."""
        receiver.is_named = bool(identifier)
        if identifier:
            self.names.asked(identifier, receiver.topic_filters)
        else:
            receiver.was_nameless = True
        self._routes.clear()

    def ended(self, topic_filter: str) -> None:
        """The server has no such subscription any more."""
        self.names.ended(topic_filter)
        self._routes.clear()

    def message_received(self, link: Link, publish: Publish) -> None:
        """A message came: to its receivers, or where messages wait that are nobody's."""
        topic = publish.topic
        route = self._routes.get(topic) or self._find(topic)
        receivers = route.receivers
        if self.names.known:
            receivers = self._choose(route, publish, publish.retain)
        if not publish.qos:
            for receiver in receivers:
                receiver.put(publish, None)
            if not receivers:
                self.unclaimed_dropped += 1
            return
        if self._carried and self._goes_on(link, publish):
            return
        delivery = Owed(self, link, publish, len(receivers))
        self.deliveries[publish.packet_id] = delivery
        for receiver in receivers:
            receiver.put(publish, delivery)
        if not receivers:
            if self.holds:
                self.unclaimed.append((publish, delivery))
            else:
                self.unclaimed_dropped += 1
                delivery.taken()

    def holders(self, packet_id: int) -> list[Receiver]:
        """Who has not taken a message yet; those that it was for, where they have and do not acknowledge."""
        delivery = self.deliveries.get(packet_id)
        if delivery is None or any(waiting is delivery for _, waiting in self.unclaimed):
            return []
        receivers = list(self._find(delivery.topic).receivers)
        return [receiver for receiver in receivers if receiver.holds(delivery)] or receivers

    def _find(self, topic: str) -> Route:
        route = Route(self._tree.match(topic.encode()))
        if len(topic) <= LONGEST_ROUTE:
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[topic] = route
        return route

    def _choose(self, route: Route, publish: Publish, retain: bool) -> tuple[Receiver, ...]:
        """The receivers of a message, by its identifiers."""
        properties = publish.properties
        identifiers = properties.subscription_identifiers if properties is not None else []
        key = (retain, *identifiers)
        receivers = route.chosen.get(key)
        if receivers is None:
            receivers = _once(self.names.receivers(route.places, identifiers, retain))
            if len(route.chosen) >= MOST_CHOICES:
                route.chosen.clear()
            route.chosen[key] = receivers
        return receivers

    def _goes_on(self, link: Link, publish: Publish) -> bool:
        """Is this a message that came on an earlier connection and was not acknowledged there?

        Its receivers have it already, or had it: it is the same delivery, to be acknowledged on this link.
        """
        delivery = self._carried.pop(publish.packet_id, None)
        if delivery is None or not publish.dup or delivery.topic != publish.topic:
            return False
        delivery.link = link
        self.deliveries[publish.packet_id] = delivery
        if delivery.missing <= 0:
            delivery.missing = 1
            delivery.taken()
        return True

    def connected(self, session_present: bool) -> None:
        """A connection begins."""
        if not session_present:
            self._carried.clear()
            self.unclaimed.clear()

    def lost(self) -> None:
        """The connection is over; what is not acknowledged comes again, if the server keeps the session."""
        for packet_id, delivery in self.deliveries.items():
            delivery.link = None
            self._carried[packet_id] = delivery
        self.deliveries = {}

    def note_taken(self, delivery: Owed, disk: Session) -> None:
        """A QoS 2 message is the application's: on the disk, before it gets it.

        Where its connection has ended, the server will send it again, maybe to the next life of the program.
        """
        if delivery.link is not None:
            disk.write()
        elif delivery.reason_code < 0x80 and self._carried.get(delivery.packet_id) is delivery:
            del self._carried[delivery.packet_id]
            disk.took(delivery.packet_id)

    def drop_unclaimed(self) -> None:
        """Nobody has come for what waits."""
        self.holds = False
        waiting, self.unclaimed = self.unclaimed, []
        self.unclaimed_dropped += len(waiting)
        if waiting:
            self._told(len(waiting))
        for _, delivery in waiting:
            delivery.missing = 1
            delivery.taken()


def bare_filter(topic_filter: str) -> str:
    """What a Topic Filter matches, without the ShareName of a Shared Subscription (4.8.2)."""
    encoded = topic_filter.encode()
    return split_shared(encoded)[1].decode() if is_shared(encoded) else topic_filter


def _once(receivers: list[Receiver]) -> tuple[Receiver, ...]:
    """Each receiver once, though several of its filters may match."""
    return tuple(dict.fromkeys(receivers))
