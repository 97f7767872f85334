"""Clients that move from node to node, and the ledger of what they were promised."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from curier.cluster.records import Frame
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.encode import encode
from curier.topics.filters import matches
from tests.cluster.world import World
from tests.codec.cases import properties


@dataclass
class Sent:
    """A message: its number is its payload."""

    number: int
    publisher: str
    topic: bytes
    qos: int
    retain: bool
    begun: float
    expiry: int | None = None  # Message Expiry Interval, seconds
    acknowledged: float | None = None
    is_again: bool = False  # was it sent before?


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
        for number, group in self._logged():
            counts[number] += not group
        return counts

    def handed_on(self) -> list[tuple[int, bytes]]:
        """Those that went to other members of a Shared Subscription, each time with its name."""
        return [(number, group) for number, group in self._logged() if group]

    def _logged(self) -> Iterator[tuple[int, bytes]]:
        for partition in range(self.world.partitions):
            for _, _, value in self.world.bus.streams[partition].entries:
                for message in value.messages if isinstance(value, Frame) else ():
                    yield int(message.payload or b"0"), message.group


class Person:
    """A client with its application. It comes back by itself, to a node it picks, until it ``rests``."""

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        picks: Callable[[], str],
        filters: dict[bytes, int] | None = None,
        lasts: int = 1_000_000,
        will_delay: int | None = None,
        version: int = MQTT_50,
    ) -> None:
        self.ledger, self.world, self.name, self.picks = ledger, ledger.world, name, picks
        self.filters, self.lasts, self.will_delay = filters or {}, lasts, will_delay
        self.version = version
        self.connection: int | None = None
        self.is_connected = False
        self.rests = True
        self.has_session = False
        self.subscribed: dict[bytes, float] = {}  # SUBACK came at
        self.asked: dict[int, bytes] = {}
        self.leaving: dict[int, bytes] = {}  # UNSUBSCRIBE that has no answer
        self.out: dict[int, tuple[Sent, str]] = {}  # by identifier: the message, and what is waited for
        self.inside: set[int] = set()  # QoS 2 identifiers between PUBLISH and PUBREL
        self.got: list[tuple[int, int, bool, float]] = []  # number, QoS, retained, when
        self.once: set[int] = set()  # messages of QoS 2 of its session
        self.heard: set[int] = set()  # ... of QoS 0 of its connection
        self.doubled: list[int] = []  # those that it got again
        self.remaining: dict[int, int] = {}  # seconds until a message expires, where it does
        self.refused: list[p.Packet] = []
        self.denied: list[int] = []  # CONNECT was, with these
        self.will: int | None = None
        self.presents: list[bool] = []
        self.left = False  # a Shared Subscription, once
        self.is_clean = False  # does it begin anew the next time?
        self.sessions = 0  # so many have begun
        self.ever = set(self.filters)
        self.mute = frozenset[str]()  # what it does not answer
        self._id = 1000  # of what is not a message

    # -- coming and going

    def come(self) -> None:
        self.rests = False
        if self.connection is None:
            will = self._new_will() if self.will_delay is not None else None
            is_50 = self.version == MQTT_50
            values = properties(session_expiry_interval=self.lasts) if is_50 else None
            packet = p.Connect(self.version, self.name, self.is_clean, 0, None, None, will, values)
            self.connection = self.world.connect(self, self.picks(), encode(packet, self.version))

    def _new_will(self) -> p.Will:
        topic = "will/" + self.name
        sent = Sent(self.ledger.number(), self.name, topic.encode(), 1, False, self.world.now)
        self.ledger.sent.append(sent)
        self.will = sent.number
        self.ledger.wills[sent.number] = "open"
        values = properties(will_delay_interval=self.will_delay) if self.version == MQTT_50 else None
        return p.Will(topic, str(sent.number).encode(), 1, False, values)

    def go(self) -> None:
        """DISCONNECT."""
        if self.connection is not None:
            self.rests = True
            connection, self.connection, self.is_connected = self.connection, None, False
            if self.will is not None and self.ledger.wills[self.will] == "armed":
                self.ledger.wills[self.will] = "open"  # it may cross what ends the connection
            self.world.send(connection, encode(p.Disconnect(), self.version))
            self.world.hang_up(connection)

    def drop(self) -> None:
        """The network does it."""
        if self.connection is not None:
            connection = self.connection
            self.world.hang_up(connection)
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

    def publish(self, topic: bytes, qos: int, retain: bool = False, expiry: int | None = None) -> Sent:
        if 0 < self.lasts <= 100_000:  # a session may end and another begin without its knowing
            qos = min(qos, 1)
        sent = Sent(self.ledger.number(), self.name, topic, qos, retain, self.world.now, expiry)
        self.ledger.sent.append(sent)
        if not qos:
            if self.is_connected:
                self._say(sent, 0)
            return sent
        packet_id = min(set(range(1, len(self.out) + 2)) - set(self.out))  # used again as soon as it may be
        self.out[packet_id] = (sent, "PUBLISH")
        if self.is_connected:
            self._send(packet_id)
        return sent

    def _send(self, packet_id: int) -> None:
        sent, state = self.out[packet_id]
        if state == "PUBLISH":
            self._say(sent, packet_id)
        else:
            self.say(p.Pubrel(packet_id))

    def _say(self, sent: Sent, packet_id: int) -> None:
        payload, topic = str(sent.number).encode(), sent.topic.decode()
        values = properties(message_expiry_interval=sent.expiry) if sent.expiry is not None else None
        self.say(p.Publish(topic, payload, sent.qos, sent.is_again, sent.retain, packet_id, values))
        sent.is_again = True

    def say(self, packet: p.Packet) -> None:
        """Send a packet."""
        if isinstance(packet, p.Subscribe):
            self.ever |= {topic_filter.encode() for topic_filter, _ in packet.subscriptions}
        assert self.connection is not None
        self.world.send(self.connection, encode(packet, self.version))

    def unsubscribe(self, topic_filter: bytes) -> None:
        """Only while it is connected."""
        del self.filters[topic_filter]
        self.left = True
        self.subscribed.pop(topic_filter, None)
        self._unsubscribe(topic_filter)

    def _unsubscribe(self, topic_filter: bytes) -> None:
        self._id += 1
        self.leaving[self._id] = topic_filter
        self.say(p.Unsubscribe(self._id, [topic_filter.decode()]))

    def subscribe(self, topic_filter: bytes, qos: int) -> None:
        self.filters[topic_filter] = qos
        self.ever.add(topic_filter)
        if self.is_connected:
            self._subscribe(topic_filter)

    def _subscribe(self, topic_filter: bytes) -> None:
        self._id += 1
        self.asked[self._id] = topic_filter
        self.say(p.Subscribe(self._id, [(topic_filter.decode(), self.filters[topic_filter])]))

    # -- what it is told

    def told(self, connection: int, packet: p.Packet) -> None:
        if connection != self.connection:
            return
        is_refused = getattr(packet, "reason_code", 0) >= 0x80
        if is_refused and not isinstance(packet, p.Connack | p.Disconnect | p.Pubcomp):
            self.refused.append(packet)
        elif isinstance(packet, p.Connack):
            if packet.reason_code == 0:
                self._accepted(packet)
            else:
                self.denied.append(packet.reason_code)
        elif isinstance(packet, p.Publish):
            self._deliver(packet)
        elif isinstance(packet, p.Suback):
            topic_filter = self.asked.pop(packet.packet_id, None)
            if topic_filter in self.filters:
                self.subscribed[topic_filter] = self.world.now
        elif isinstance(packet, p.Unsuback):
            self.leaving.pop(packet.packet_id, None)
        elif isinstance(packet, p.Pubrel):
            self.inside.discard(packet.packet_id)
            if "pubcomp" not in self.mute:
                self.say(p.Pubcomp(packet.packet_id))
        elif isinstance(packet, p.Puback | p.Pubrec | p.Pubcomp) and packet.packet_id in self.out:
            self._acknowledged(packet)

    def _accepted(self, packet: p.Connack) -> None:
        self.presents.append(packet.session_present)
        if self.has_session and not packet.session_present and self.lasts > 100_000 and not self.is_clean:
            self.world.wrongs.append(f"{self.name}: its session is lost")
        self.has_session = self.is_connected = True
        self.heard = set()
        if self.will is not None:
            self.ledger.wills[self.will] = "armed"
        self.is_clean = False
        leaving, self.leaving = self.leaving, {}
        for topic_filter in leaving.values():  # it may be there still
            self._unsubscribe(topic_filter)
        if not packet.session_present:
            self.sessions += 1
            self.subscribed, self.inside, self.once = {}, set(), set()
            # What it had sent without answer is given up with its session.
            self.out = {id_: one for id_, one in self.out.items() if not one[0].is_again}
        for packet_id in self.out:
            self._send(packet_id)
        for topic_filter in self.filters:
            if topic_filter not in self.subscribed:
                self._subscribe(topic_filter)

    def _deliver(self, packet: p.Publish) -> None:
        number, qos, packet_id = int(packet.payload or b"0"), packet.qos, packet.packet_id
        if packet.properties is not None and packet.properties.message_expiry_interval is not None:
            self.remaining[number] = packet.properties.message_expiry_interval
        if qos < 2 or packet_id not in self.inside:
            self.got.append((number, qos, packet.retain, self.world.now))
            known = (self.heard, set[int](), self.once)[qos]
            if not packet.retain and number in known:
                self.doubled.append(number)
            known.add(number)
        if qos == 2:
            self.inside.add(packet_id)
        if qos == 1 and "puback" not in self.mute:
            self.say(p.Puback(packet_id))
        elif qos == 2 and "pubrec" not in self.mute:
            self.say(p.Pubrec(packet_id))

    def _acknowledged(self, packet: p.Puback | p.Pubrec | p.Pubcomp) -> None:
        sent, state = self.out[packet.packet_id]
        if isinstance(packet, p.Pubrec):
            self.out[packet.packet_id] = (sent, "PUBREL")
            self.say(p.Pubrel(packet.packet_id))
        elif isinstance(packet, p.Puback) or state == "PUBREL":
            del self.out[packet.packet_id]
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
    found += _of_groups(ledger, people)
    for person in people:
        found += [f"{person.name} was refused: {packet}" for packet in person.refused]
        found += [f"{person.name} got {number}, QoS 0 or 2, again" for number in person.doubled]
        found += _of_one(ledger, person)
    return found


def inner(topic_filter: bytes) -> bytes:
    """What the messages of a Shared Subscription, or of any, match."""
    return topic_filter.split(b"/", 2)[2] if topic_filter.startswith(b"$share/") else topic_filter


def _of_groups(ledger: Ledger, people: list[Person]) -> list[str]:
    """Each has a member that stays; QoS 2 of somebody whose session has ended goes to nobody else."""
    found = []
    groups = {one for person in people for one in person.ever if one.startswith(b"$share/")}
    for group in sorted(groups):
        members = [person for person in people if group in person.ever]
        stays = min(one.subscribed.get(group, math.inf) for one in members if one.sessions == 1)
        has_ended = any(one.sessions > 1 or one.rests or one.left for one in members)
        counts: dict[int, int] = defaultdict(int)
        once: dict[int, int] = defaultdict(int)
        for member in members:
            for number, qos, _, _ in member.got:
                counts[number] += 1
                once[number] += qos != 1
        for one in ledger.sent:
            if not matches(inner(group), one.topic):
                continue
            if once[one.number] > 1:
                found.append(f"{group!r} got {one.number}, QoS {one.qos}, {once[one.number]} times")
            if one.acknowledged is None or one.begun < stays or counts[one.number]:
                continue
            if one.qos == 1 or not has_ended:
                found.append(f"{group!r} never got {one.number}, acknowledged at {one.acknowledged}")
    return found


def _of_one(ledger: Ledger, person: Person) -> list[str]:
    found = []
    counts: dict[int, int] = defaultdict(int)
    firsts: dict[tuple[str, bytes, int], list[int]] = defaultdict(list)
    # Later than others, if at all.
    handed_on = {number for number, _ in ledger.handed_on()}
    if any(one.startswith(b"$share/") for one in person.ever):  # another may have got it the first time
        handed_on |= {number for number, count in ledger.written().items() if count > 1}
    sent_by = {one.number: one for one in ledger.sent}
    for number, _, is_retained, _ in person.got:
        counts[number] += 1
        one = sent_by[number]
        if not any(matches(inner(topic_filter), one.topic) for topic_filter in person.ever):
            found.append(f"{person.name} got {number}, and did not ask for it")
        if counts[number] == 1 and not is_retained and one.qos and number not in handed_on:
            firsts[one.publisher, one.topic, one.qos].append(number)
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
