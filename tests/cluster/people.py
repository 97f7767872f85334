"""Clients that move from node to node, and the ledger of what they were promised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from curier.cluster.orders import Acknowledge, Connack, Deliver, ToClient
from curier.cluster.records import Frame, Will
from curier.topics.filters import matches
from tests.cluster.world import World


@dataclass
class Sent:
    """A message: its number is its payload."""

    number: int
    publisher: str
    topic: bytes
    qos: int
    retain: bool
    begun: float
    acknowledged: float | None = None


@dataclass
class Ledger:
    """Who was promised what."""

    world: World
    sent: list[Sent] = field(default_factory=list)
    wills: dict[int, str] = field(default_factory=dict)  # by number: "armed", "owed", "cancelled", "open"

    def number(self) -> int:
        return len(self.sent) + 1

    def written(self) -> dict[int, int]:
        """How often each number stands in the log."""
        counts: dict[int, int] = defaultdict(int)
        for partition in range(self.world.partitions):
            for _, _, value in self.world.bus.streams[partition].entries:
                for message in value.messages if isinstance(value, Frame) else ():
                    counts[int(message.payload or b"0")] += 1
        return counts


class Person:
    """A client with its application. It comes back by itself, to a node it picks, until it ``rests``."""

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        picks: Callable[[], str],
        filters: dict[bytes, int] | None = None,
        lasts: float = 1e6,
        will_delay: float | None = None,
    ) -> None:
        self.ledger, self.world, self.name, self.picks = ledger, ledger.world, name, picks
        self.filters, self.lasts, self.will_delay = filters or {}, lasts, will_delay
        self.connection: int | None = None
        self.is_connected = False
        self.rests = True
        self.has_session = False
        self.subscribed: dict[bytes, float] = {}  # SUBACK came at
        self.asked: dict[int, bytes] = {}
        self.out: dict[int, tuple[Sent, str]] = {}  # by identifier: the message, and what is waited for
        self.inside: set[int] = set()  # QoS 2 identifiers between PUBLISH and PUBREL
        self.got: list[tuple[int, int, bool, float]] = []  # number, QoS, retained, when
        self.will: int | None = None
        self.presents: list[bool] = []
        self.refusals = 0
        self.mute = frozenset[str]()  # what it does not answer
        self._id = 1000  # of what is not a message

    # -- coming and going

    def come(self) -> None:
        self.rests = False
        if self.connection is None:
            will = None
            if self.will_delay is not None:
                sent = Sent(
                    self.ledger.number(), self.name, b"will/" + self.name.encode(), 1, False, self.world.now
                )
                self.ledger.sent.append(sent)
                self.will = sent.number
                self.ledger.wills[sent.number] = "open"
                will = Will(sent.topic, str(sent.number).encode(), 1, False, self.will_delay)
            self.connection = self.world.connect(self, self.picks(), False, self.lasts, will)

    def go(self) -> None:
        """DISCONNECT."""
        if self.connection is not None:
            self.rests = True
            connection, self.connection, self.is_connected = self.connection, None, False
            if self.will is not None and self.ledger.wills[self.will] == "armed":
                self.ledger.wills[self.will] = "open"  # it may cross what ends the connection
            self.world.hang_up(connection, keeps_will=False)

    def drop(self) -> None:
        """The network does it."""
        if self.connection is not None:
            connection = self.connection
            self.world.hang_up(connection, keeps_will=True)
            self.lost(connection)

    def lost(self, connection: int) -> None:
        if connection != self.connection:
            return
        if self.is_connected and self.will is not None and self.will_delay == 0:
            self.ledger.wills[self.will] = "owed"
        self.connection, self.is_connected = None, False
        if not self.rests:
            self.world.later(0.1 + self.world.random.random(), lambda: None if self.rests else self.come())

    # -- what it does

    def publish(self, topic: bytes, qos: int, retain: bool = False) -> Sent:
        packet_id = min(set(range(1, len(self.out) + 2)) - set(self.out))  # used again as soon as it may be
        sent = Sent(self.ledger.number(), self.name, topic, qos, retain, self.world.now)
        self.ledger.sent.append(sent)
        self.out[packet_id] = (sent, "PUBLISH")
        if self.is_connected:
            self._send(packet_id)
        return sent

    def _send(self, packet_id: int) -> None:
        assert self.connection is not None
        sent, state = self.out[packet_id]
        if state == "PUBLISH":
            payload = str(sent.number).encode()
            self.world.say(self.connection, "publish", packet_id, sent.qos, sent.topic, payload, sent.retain)
        else:
            self.world.say(self.connection, "pubrel", packet_id)

    def subscribe(self, topic_filter: bytes, qos: int) -> None:
        self.filters[topic_filter] = qos
        if self.is_connected:
            self._subscribe(topic_filter)

    def _subscribe(self, topic_filter: bytes) -> None:
        assert self.connection is not None
        self._id += 1
        self.asked[self._id] = topic_filter
        self.world.say(
            self.connection, "subscribe", self._id, topic_filter, self.filters[topic_filter], False
        )

    # -- what it is told

    def told(self, connection: int, order: ToClient) -> None:
        if connection != self.connection:
            return
        if isinstance(order, Connack):
            self._accepted(order)
        elif isinstance(order, Deliver):
            self._deliver(connection, order)
        elif isinstance(order, Acknowledge):
            self._acknowledged(connection, order)

    def _accepted(self, order: Connack) -> None:
        self.presents.append(order.is_present)
        if self.has_session and not order.is_present and self.lasts > 1e5:
            self.world.wrongs.append(f"{self.name}: its session is lost")
        self.has_session = self.is_connected = True
        if self.will is not None:
            self.ledger.wills[self.will] = "armed"
        if not order.is_present:
            self.subscribed, self.inside = {}, set()
        for packet_id in self.out:
            self._send(packet_id)
        for topic_filter in self.filters:
            if topic_filter not in self.subscribed:
                self._subscribe(topic_filter)

    def _deliver(self, connection: int, order: Deliver) -> None:
        number, qos = int(order.item.message.payload), order.item.qos
        if qos == 1 or order.packet_id not in self.inside:
            self.got.append((number, qos, order.item.is_retained, self.world.now))
        if qos == 2:
            self.inside.add(order.packet_id)
        answer = "puback" if qos == 1 else "pubrec"
        if answer not in self.mute:
            self.world.say(connection, answer, order.packet_id)

    def _acknowledged(self, connection: int, order: Acknowledge) -> None:
        packet_id = order.packet_id
        if order.packet == "SUBACK":
            self.subscribed[self.asked.pop(packet_id)] = self.world.now
        elif order.packet == "PUBREL":
            self.inside.discard(packet_id)
            if "pubcomp" not in self.mute:
                self.world.say(connection, "pubcomp", packet_id)
        elif packet_id in self.out:
            sent, state = self.out[packet_id]
            if order.packet == "PUBREC":
                self.out[packet_id] = (sent, "PUBREL")
                self.world.say(connection, "pubrel", packet_id)
            elif order.packet == "PUBACK" or state == "PUBREL":
                del self.out[packet_id]
            if sent.acknowledged is None:
                sent.acknowledged = self.world.now


def wrongs(ledger: Ledger, people: list[Person]) -> list[str]:
    """Which promises were broken, once all is over."""
    found = [*ledger.world.wrongs]
    written = ledger.written()
    for sent in ledger.sent:
        if sent.acknowledged is not None and not written[sent.number]:
            found.append(f"{sent.number} was acknowledged, and is not in the log")
        if sent.qos == 2 and written[sent.number] > 1:
            found.append(f"{sent.number}, QoS 2, is in the log {written[sent.number]} times")
    for number, state in ledger.wills.items():
        if written[number] > 1 or (state == "owed" and not written[number]):
            found.append(f"will {number}, {state}, was published {written[number]} times")
    for person in people:
        found += _of_one(ledger, person)
    return found


def _of_one(ledger: Ledger, person: Person) -> list[str]:
    found = []
    counts: dict[int, int] = defaultdict(int)
    firsts: dict[tuple[str, bytes, int], list[int]] = defaultdict(list)
    sent_by = {one.number: one for one in ledger.sent}
    for number, qos, is_retained, _ in person.got:
        counts[number] += 1
        one = sent_by[number]
        if counts[number] == 1 and not is_retained:
            firsts[one.publisher, one.topic, one.qos].append(number)
        if counts[number] > 1 and qos == 2:
            found.append(f"{person.name} got {number}, QoS 2, {counts[number]} times")
    for (publisher, topic, qos), numbers in firsts.items():
        if numbers != sorted(numbers):
            found.append(f"{person.name} got {topic!r} of {publisher} at QoS {qos} in the order {numbers}")
    for one in ledger.sent:
        if one.acknowledged is None or counts[one.number]:
            continue
        for topic_filter, since in person.subscribed.items():
            if since < one.begun and matches(topic_filter, one.topic):
                found.append(f"{person.name} never got {one.number}, acknowledged at {one.acknowledged}")
                break
    return found
