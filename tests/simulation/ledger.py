"""The ledger of a simulation: what clients did, what crossed the wires, and which promises that breaks.

It knows MQTT from outside only, and every published message by its number, which is its payload. A promise
that is broken at once is raised out of the network's run; what must have come about in the end is asked for
with ``check_arrivals``.

An *epoch* is one session of a client, counted here. A subscription is *held* from its SUBACK to whatever the
client sends about it next, and *possible* from SUBSCRIBE to UNSUBACK.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec import packets as p
from curier.codec.properties import Properties
from curier.protocol.events import (
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    MessageReceived,
    Published,
    SubscribeDone,
    UnsubscribeDone,
)
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.testing import Network, SimulatedClient, Watcher, Wire

SHARED = "$share/"
SLACK = 5.0  # seconds between a decision of the broker and the CONNACK that tells of it


def matches(topic_filter: str, topic: str) -> bool:
    """Does the filter, shared or not, match? No topic here begins with $ (4.7)."""
    if topic_filter.startswith(SHARED):
        topic_filter = topic_filter.split("/", 2)[2]
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for depth, level in enumerate(wanted):
        if level == "#":
            return True
        if depth == len(levels) or level not in ("+", levels[depth]):
            return False
    return len(wanted) == len(levels)


@dataclass(eq=False)
class Subscription:
    """A subscription that is held."""

    person: Person
    epoch: int
    topic_filter: str
    qos: int

    @property
    def is_held(self) -> bool:
        """Still?"""
        return self.person.held.get(self.topic_filter) is self


@dataclass(eq=False)
class Sent:
    """One message, as its publisher knows it."""

    number: int
    publisher: Person
    topic: str
    qos: int
    retain: bool
    begun: float
    ended: float | None = None
    is_doubtful: bool = False  # sent again into a session that knows nothing of it
    is_repeated: bool = False  # sent again, with DUP
    is_refused: bool = False
    reason_code: int | None = None
    # Matching subscriptions of QoS 1 and 2, not shared and shared, held when it was begun and when it ended.
    entitled: list[Subscription] = field(default_factory=list)
    shared: list[Subscription] = field(default_factory=list)
    # By Shared Subscription, every session that may have been its member when the message came.
    members: dict[str, set[tuple[Person, int]]] = field(default_factory=dict)

    def end(self, now: float, reason_code: int) -> None:
        self.ended = now
        self.reason_code = reason_code
        self.entitled = [one for one in self.entitled if one.is_held]
        self.shared = [one for one in self.shared if one.is_held]

    @property
    def is_accepted(self) -> bool:
        """Has the broker said that it takes care of it?"""
        is_answered = self.reason_code is not None and self.reason_code < 0x80
        return self.qos > 0 and is_answered and not self.is_refused


@dataclass(eq=False)
class Receipt:
    """One message that an application got."""

    sent: Sent
    epoch: int
    qos: int
    retain: bool


class Flow:
    """PUBLISH packets that one side of one session sends."""

    def __init__(self) -> None:
        self.unfinished: dict[int, p.Publish] = {}
        self.last: dict[int, tuple[bytes, Wire]] = {}  # what was sent under an identifier, and where
        self.first: set[bytes] = set()  # payloads sent without DUP


class Person(SimulatedClient):
    """A client and its application. ``lasts`` is its Session Expiry Interval in seconds."""

    def __init__(
        self,
        ledger: Ledger,
        client_id: str,
        version: int,
        lasts: int,
        receive_maximum: int,
        max_inflight: int,
    ) -> None:
        # Without aliases, and without limits, messages may take the broker's fast lane.
        self.aliases = 3 if receive_maximum < 100 else 0
        super().__init__(
            ledger.network, client_id, version, max_inflight=max_inflight, topic_aliases=self.aliases
        )
        self.ledger = ledger
        self.lasts = lasts
        self.receive_maximum = receive_maximum
        self.epoch = 0
        self.epoch_asked_at = 0.0  # when the CONNECT was sent that began it
        self.held: dict[str, Subscription] = {}
        self.possible: set[str] = set()
        self.former: dict[str, float] = {}  # when the UNSUBACK came
        self.requests: dict[int, tuple[str, int]] = {}
        self.receipts: list[Receipt] = []
        ledger.persons[client_id] = self

    def connect(self, clean: bool) -> None:
        """Connect, with Clean Start if asked for, or if its session is not to last."""
        clean = clean or not self.lasts
        properties = None
        if self.version == 5:
            properties = Properties()
            properties.session_expiry_interval = self.lasts
            properties.receive_maximum = self.receive_maximum
            properties.topic_alias_maximum = self.aliases
        self.open(p.Connect(self.version, self.client_id, clean, 30, None, None, None, properties))

    def ask(self, topic_filter: str, qos: int) -> None:
        """Subscribe."""
        self.held.pop(topic_filter, None)
        self.former.pop(topic_filter, None)
        self.possible.add(topic_filter)
        self.requests[self.begin_subscribe([(topic_filter, qos)])] = (topic_filter, qos)
        self.ledger.asked(self, topic_filter)

    def ask_no_more(self, topic_filter: str) -> None:
        """Unsubscribe."""
        self.held.pop(topic_filter, None)
        self.requests[self.begin_unsubscribe([topic_filter])] = (topic_filter, 0)

    def _connected(self) -> None:
        wire = self.wire
        assert wire is not None
        if wire in self.ledger.diverged:
            self.connect(True)
        elif self.epoch != self.ledger.answered[wire]:
            self.epoch = self.ledger.answered[wire]
            self.epoch_asked_at = self.ledger.asked_at[wire][0]
            self.held.clear()
            self.possible.clear()
            self.former.clear()

    def _is_settled(self, topic_filter: str) -> bool:
        """Is there no later request about this Topic Filter?"""
        return all(other != topic_filter for other, _ in self.requests.values())

    def happened(self, event: Event) -> None:
        """Note what concerns this client, and tell the ledger of the rest."""
        if isinstance(event, Connected):
            self._connected()
        elif isinstance(event, Published):
            self.ledger.published(event)
        elif isinstance(event, MessageReceived):
            self.ledger.received(self, event.publish)
        elif isinstance(event, SubscribeDone):
            topic_filter, qos = self.requests.pop(event.packet_id)
            assert event.reason_codes == [qos], "another QoS was granted than asked for"
            if self._is_settled(topic_filter):
                self.held[topic_filter] = Subscription(self, self.epoch, topic_filter, qos)
        elif isinstance(event, UnsubscribeDone):
            topic_filter, _ = self.requests.pop(event.packet_id)
            if self._is_settled(topic_filter):
                self.possible.discard(topic_filter)
                self.former[topic_filter] = self.network.now
        elif isinstance(event, Disconnected):
            self.requests.clear()
            self.ledger.check_ending(self.client_id, event.reason_code, event.why)
        elif isinstance(event, ConnectRefused):
            self.requests.clear()
            self.ledger.check_ending(self.client_id, event.reason_code, "refused")


ENDINGS = (0x00, 0x80, 0x8D, 0x8E)  # by itself, by the network, by Keep Alive, by another connection
FAULT = 0x83  # by an error of the broker, which only those may see whom it was met with


class Ledger(Watcher):
    """All there is to know about a simulated network from outside of its broker."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.persons: dict[str, Person] = {}
        self.sent: list[Sent] = []
        self.entries: dict[Outgoing, Sent] = {}
        self.asked_at: dict[Wire, tuple[float, bool]] = {}  # when CONNECT was sent; with Clean Start?
        self.connect_numbers: dict[Wire, int] = {}
        self.answered: dict[Wire, int] = {}  # by CONNACK: for which epoch
        self.diverged: set[Wire] = set()
        self.numbers: dict[str, int] = {}  # by client: that of its session, as the broker has it
        self.epochs: dict[str, int] = {}
        self.lasting: dict[str, int] = {}  # by client: Session Expiry Interval of the session
        self.spoken_at: dict[str, float] = {}  # when the broker sent something: it was connected
        self.ended_at: dict[str, float] = {}  # when the broker noticed that it was so no more
        self.robbed: set[str] = set()  # whose session another client has ended
        self.threatened: dict[str, int] = {}  # or may have ended, or its own Clean Start: by which CONNECT
        self.flows: dict[tuple[str, int, bool], Flow] = {}
        self.on_wire: dict[tuple[Wire, bool], set[int]] = {}
        self.limits: dict[tuple[Wire, bool], int] = {}
        self.hit: set[str] = set()  # clients that an error of the broker was met with
        self.refused: set[int] = set()  # messages that the broker failed at, so that it refused them
        network.watchers.append(self)
        self.watch_broker()

    def watch_broker(self) -> None:
        """The broker is another one now."""
        self.network.broker.core.add_hook(Ending(self))

    def check_ending(self, client_id: str, reason_code: int, why: str) -> None:
        """Nobody pays for another's error."""
        allowed = (*ENDINGS, FAULT) if client_id in self.hit else ENDINGS
        assert reason_code in allowed, f"{client_id}: {why}"

    def restarted(self) -> None:
        """The broker has crashed and lives again.

        What it had sent at QoS 1 it need not remember, nor sessions that end with their connections; it may
        give their numbers to others.
        """
        self.watch_broker()
        for name, lasts in self.lasting.items():
            if not lasts:
                self.numbers.pop(name, None)
        for (_, _, from_client), flow in self.flows.items():
            if not from_client:
                flow.unfinished = {
                    packet_id: publish for packet_id, publish in flow.unfinished.items() if publish.qos == 2
                }

    # ---- what applications do and get ----

    def publish(self, person: Person, topic: str, qos: int, retain: bool) -> None:
        """A person publishes the next message."""
        sent = Sent(len(self.sent), person, topic, qos, retain, self.network.now)
        self.sent.append(sent)
        for other in self.persons.values():
            for one in other.held.values():
                if qos and one.qos and matches(one.topic_filter, topic):
                    (sent.shared if one.topic_filter.startswith(SHARED) else sent.entitled).append(one)
            for topic_filter in other.possible:
                self._may_be_member(sent, other, topic_filter)
        message = ApplicationMessage(topic.encode(), b"%d" % sent.number, qos, retain)
        self.entries[person.connection.publish(message, self.network.now)] = sent
        person.flush()

    def _may_be_member(self, sent: Sent, person: Person, topic_filter: str) -> None:
        if topic_filter.startswith(SHARED) and matches(topic_filter, sent.topic):
            sent.members.setdefault(topic_filter, set()).add((person, person.epoch))

    def asked(self, person: Person, topic_filter: str) -> None:
        """A person subscribes: it may be given whatever is on its way."""
        for sent in self.sent:
            if sent.ended is None:
                self._may_be_member(sent, person, topic_filter)

    def published(self, event: Published) -> None:
        """A message of a person has come to its end."""
        sent = self.entries[event.entry]
        assert sent.reason_code is None, "a message ended twice"
        allowed = (0x00, 0x10, FAULT) if sent.number in self.refused else (0x00, 0x10)
        assert event.reason_code in allowed, f"0x{event.reason_code:02X} {event.reason_string}"
        sent.is_refused = sent.number in self.refused  # which 3.x is not told
        sent.end(self.network.now, event.reason_code)

    def received(self, person: Person, publish: p.Publish) -> None:
        """An application got a message."""
        if person.wire in self.diverged:
            return
        sent = self.sent[int(publish.payload)]
        assert publish.topic == sent.topic
        filters = {one for one in person.possible if matches(one, sent.topic)}
        for one, until in person.former.items():
            if matches(one, sent.topic) and sent.begun <= until:
                filters.add(one)
        assert filters, f"{person.client_id} has no subscription for {sent.topic}"
        assert sent.retain or not publish.retain
        assert publish.qos <= sent.qos
        receipt = Receipt(sent, person.epoch, publish.qos, publish.retain)
        if any(one.startswith(SHARED) for one in filters):
            self._check_shared(receipt)
        elif not publish.retain:
            self._check_receipt(person, receipt)
        person.receipts.append(receipt)

    def _check_shared(self, receipt: Receipt) -> None:
        """At QoS 2, one copy for each Shared Subscription and no more, whatever happens [MQTT-4.8.2-5]."""
        sent = receipt.sent
        if receipt.qos == 2 and not sent.is_doubtful:
            copies = sum(
                other.sent is sent and other.qos == 2
                for person in self.persons.values()
                for other in person.receipts
            )
            assert copies < len(sent.members), "a shared QoS 2 message came twice"

    def _check_receipt(self, person: Person, receipt: Receipt) -> None:
        sent = receipt.sent
        if sent.ended is not None:
            assert sent.ended >= person.epoch_asked_at, "a new session got an old message"
        in_epoch = [one for one in person.receipts if one.epoch == receipt.epoch and not one.retain]
        earlier = [one for one in in_epoch if one.sent is sent]
        if sent.qos == 0:
            assert not earlier, "a QoS 0 message came twice"
        if receipt.qos == 2 and not sent.is_doubtful:
            assert all(one.qos != 2 for one in earlier), "a QoS 2 message came twice"
        if earlier or self._may_be_late(person, receipt):
            return
        for one in in_epoch:  # [MQTT-4.6.0-5]
            if (one.sent.publisher, one.sent.topic, one.sent.qos, one.qos) == (
                sent.publisher,
                sent.topic,
                sent.qos,
                receipt.qos,
            ):
                assert one.sent.number < sent.number, f"{sent.number} came after {one.sent.number}"

    def _may_be_late(self, person: Person, receipt: Receipt) -> bool:
        """Is it what its publisher sent again, and was the first time not for this reader?

        The broker refused it then; or there was no subscription yet; or it went out at QoS 0, and was lost.
        """
        sent = receipt.sent
        if not sent.is_repeated:
            return False
        was_entitled = any(one.person is person and one.epoch == receipt.epoch for one in sent.entitled)
        return sent.number in self.refused or not receipt.qos or not was_entitled

    # ---- what crosses the wires ----

    def packet(self, wire: Wire, from_client: bool, packet: p.Packet) -> None:
        """Check one packet as its sender lets go of it."""
        person = wire.client
        if not isinstance(person, Person):  # a stranger, with Clean Start
            if isinstance(packet, p.Connect):
                self.threatened[person.client_id] = len(self.connect_numbers)
            elif isinstance(packet, p.Connack) and packet.reason_code == 0:
                self.robbed.add(person.client_id)
            return
        if isinstance(packet, p.Connect):
            self.asked_at[wire] = (self.network.now, packet.clean_start)
            self.connect_numbers[wire] = len(self.connect_numbers)
            if packet.clean_start:
                self.threatened[person.client_id] = self.connect_numbers[wire]
            self.limits[wire, False] = _receive_maximum(packet.properties)
        elif isinstance(packet, p.Connack) and packet.reason_code:
            self.check_ending(person.client_id, packet.reason_code, "refused")
            return
        elif isinstance(packet, p.Connack):
            self.limits[wire, True] = _receive_maximum(packet.properties)
            self._check_connack(person, wire, packet)
        if not from_client:
            self.spoken_at[person.client_id] = self.network.now
            self.ended_at.pop(person.client_id, None)
        if wire in self.diverged:
            if from_client and isinstance(packet, p.Publish):
                self.sent[int(packet.payload)].is_doubtful = True
            return
        if isinstance(packet, p.Publish):
            if from_client and packet.dup:
                self.sent[int(packet.payload)].is_repeated = True
            if packet.qos:
                self._check_publish(person, wire, from_client, packet)
        elif isinstance(packet, (p.Subscribe, p.Unsubscribe)):
            assert packet.packet_id not in self._flow(wire, True).unfinished, "identifier in use"
        elif isinstance(packet, (p.Puback, p.Pubcomp)) or (
            isinstance(packet, p.Pubrec) and packet.reason_code >= 0x80
        ):
            self._flow(wire, not from_client).unfinished.pop(packet.packet_id, None)
            self.on_wire.setdefault((wire, not from_client), set()).discard(packet.packet_id)

    def _check_connack(self, person: Person, wire: Wire, connack: p.Connack) -> None:
        """Session Present says what it must: neither lost before its time nor kept beyond it (3.2.2.1.1).

        When the CONNACK that told of a new session was lost, and the next one says that there is a session
        (or nothing, in 3.1), both sides mean different ones, and MQTT cannot tell: the wire has *diverged*.
        Nothing is checked on it, and the client starts clean. Which session is meant is the one thing that
        is looked up in the broker.
        """
        name = person.client_id
        now = self.network.now
        clean = self.asked_at[wire][1]
        may_be_kept = self.lasting.get(name, 0) > 0 and not clean and name not in self.robbed
        # Before 5.0 Clean Session also says that the session ends with its connection.
        self.lasting[name] = 0 if clean and person.version != 5 else person.lasts
        session = self.network.broker.core.sessions.get(name)  # None: DISCONNECT came along with CONNECT
        number = session.number if session is not None else -1
        if number == self.numbers.get(name) and number >= 0:
            assert may_be_kept, "a session that must be over is still there"
            assert connack.session_present or person.version == 3
            if name in self.ended_at and person.version == 5:
                assert now - self.ended_at[name] <= person.lasts + SLACK, "a session outlived its time"
        else:
            # (A durable broker may have begun a session whose CONNACK was overtaken by the next CONNECT, and
            # any broker one whose CONNACK it failed at.)
            assert not connack.session_present or self.network.broker.durable or name in self.hit
            if may_be_kept and name not in self.threatened:
                assert person.version == 5, "a session was lost that never expires"
                assert now - self.spoken_at[name] >= person.lasts, "a session was lost before its time"
            self.numbers[name] = number
            self.epochs[name] = self.epochs.get(name, 0) + 1
            self.robbed.discard(name)
            if self.threatened.get(name, 0) <= self.connect_numbers[wire]:  # or it is by a CONNECT under way
                self.threatened.pop(name, None)
        self.answered[wire] = self.epochs[name]
        is_told = connack.session_present or (person.version == 3 and not clean)
        if is_told and person.epoch not in (0, self.epochs[name]):
            self.diverged.add(wire)

    def _flow(self, wire: Wire, from_client: bool) -> Flow:
        return self.flows.setdefault((wire.client.client_id, self.answered[wire], from_client), Flow())

    def _check_publish(self, person: Person, wire: Wire, from_client: bool, publish: p.Publish) -> None:
        """Packet Identifiers, DUP and Receive Maximum (2.2.1, 3.3.1.1, 4.9)."""
        flow = self._flow(wire, from_client)
        packet_id = publish.packet_id
        if not publish.dup:
            assert packet_id not in flow.unfinished, f"identifier {packet_id} is in use"
            if from_client:
                assert publish.payload not in flow.first, "sent again without DUP"
            flow.first.add(publish.payload)
        else:
            before, where = flow.last.get(packet_id, (b"", None))
            if before == publish.payload:
                assert where is not wire or person.version != 5, "sent again on the same connection"
            else:
                # What a broker begins to send is sent again all the same where a cut keeps it in, as one can
                # of a durable broker, or an error does.
                is_cut = self.network.broker.durable or person.client_id in self.hit
                assert not from_client, "another message under the same identifier"
                assert is_cut, "sent again, and never sent before"
                assert packet_id not in flow.unfinished, "another message under the same identifier"
        flow.unfinished[packet_id] = publish
        flow.last[packet_id] = (publish.payload, wire)
        pending = self.on_wire.setdefault((wire, from_client), set())
        pending.add(packet_id)
        assert len(pending) <= self.limits[wire, from_client], "more than the Receive Maximum"

    # ---- in the end ----

    def check_arrivals(self, settled: list[Person]) -> None:
        """What was accepted for these persons, who are connected and had time enough, has arrived."""
        got = {(person, receipt.sent) for person in self.persons.values() for receipt in person.receipts}
        for sent in self.sent:
            if not sent.is_accepted:
                continue
            for one in sent.entitled:
                if one.person in settled and one.person.epoch == one.epoch:
                    assert (one.person, sent) in got, (
                        f"{one.person.client_id} never got {sent.number} ({one.topic_filter})"
                    )
            for topic_filter in {one.topic_filter for one in sent.shared}:
                members = sent.members[topic_filter]
                if all(person in settled and person.epoch == epoch for person, epoch in members):
                    assert any((person, sent) in got for person, _ in members), (
                        f"nobody in {topic_filter} got {sent.number}"
                    )

    def possible_retained(self, topic: str) -> set[int]:
        """Which messages may be retained on a topic to which one person publishes, all at QoS 1.

        The last that was accepted, or one that came later and has no answer yet. -1 stands for none.
        """
        numbers = {-1}
        for sent in self.sent:
            if sent.topic == topic and sent.retain:
                if sent.is_accepted:
                    numbers = set()
                numbers.add(sent.number)
        return numbers


def _receive_maximum(properties: Properties | None) -> int:
    return (properties.receive_maximum or 65535) if properties is not None else 65535


class Ending(Hook):
    """Notes when the broker has noticed the end of a connection."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        """A client that was connected is so no more."""
        self.ledger.check_ending(connection.client_id, reason_code, why)
        self.ledger.ended_at[connection.client_id] = self.ledger.network.now
