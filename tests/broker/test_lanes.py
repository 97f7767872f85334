"""Two lanes, one meaning: the same bytes give the same output and state with the fast lane and without it."""

from __future__ import annotations

from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from curier.broker.core import BrokerCore
from curier.broker.effects import Answer, Authorize, Close, Commit
from curier.broker.model import BrokerConnection, Owner
from curier.broker.options import Options
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.protocol.connection import CLOSED
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.outgoing import MAXIMUM_PACKET_ID, Outgoing
from curier.session.records import Batch
from curier.session.records import encode as encode_records

CLIENTS = 4
TOPICS = (
    "a",
    "a/b",
    "long/enough/for/an/alias",
    "secret/x",
    "nobody/hears",
    "ä/b",
    "$x/b",
    "$SYS/x",
    "/////",
)
FILTERS = ("a", "a/#", "+/b", "long/#", "#", "secret/#", "$share/g/a/#", "$share/g/+", "$share/h/#")

PAYLOADS = (b"x", b"", b"y" * 40, b"z" * 200, b"w" * 17_000)

T = TypeVar("T")
numbers = st.integers(0, 2**32)


class Choices:
    """Many small choices out of one number; Hypothesis draws one for each packet.

    The number is spread first, since Hypothesis likes small ones; 0 stays 0, the simplest choice in all.
    """

    def __init__(self, number: int) -> None:
        self.number = number * 0x9E3779B97F4A7C15 % 2**64

    def below(self, limit: int) -> int:
        self.number, choice = divmod(self.number, limit)
        return choice

    def one(self, *options: T) -> T:
        return options[self.below(len(options))]

    def seldom(self) -> bool:
        return self.below(6) == 5


def broker(options: Options, slow: bool, authorizes: bool, stores: bool = False) -> BrokerCore:
    core = BrokerCore(options, 0.0, asks_authorization=authorizes, journal=Journal() if stores else None)
    core.slow_lane_only = slow
    return core


class Lane:
    """One of the two brokers, with its connections and all they were ever sent."""

    def __init__(self, core: BrokerCore) -> None:
        self.core = core
        self.connections: list[BrokerConnection] = []
        self.output: list[bytes] = []
        self.closed: set[int] = set()
        self.records: list[tuple[str, bytes]] = []  # of the journal
        self.delay = 0  # how many chunks come before a batch is durable
        self.batch = 0  # that is on its way to a slow disk
        self.age = 0  # chunks since then

    def attach(self) -> None:
        self.connections.append(self.core.attach("test", "memory", 0.0))
        self.output.append(b"")

    def receive(self, index: int, chunk: bytes, now: float) -> None:
        self.age += 1
        if self.age > self.delay:
            self.commit(now)
        self.core.receive(self.connections[index], chunk, now)
        self.turn(now)

    def commit(self, now: float) -> None:
        """The disk has what it was given."""
        if self.batch:
            batch = self.batch
            self.batch = 0
            self.core.committed(batch, now)
            self.turn(now)

    def turn(self, now: float) -> None:
        """Write what there is to write, answer what is asked."""
        core = self.core
        while True:
            effects = core.take_effects()
            for effect in effects:
                if isinstance(effect, Authorize):
                    core.resume(effect, Answer(0x87 if self.is_secret(effect.topic) else 0), now)
                elif isinstance(effect, Commit):
                    self.records += as_bytes(effect.batch)
                    self.batch = effect.batch.number
                    self.age = 0
                    if not self.delay:
                        self.commit(now)
                else:
                    assert isinstance(effect, Close)
                    self.closed.add(effect.connection.number)
            dirty = core.take_dirty()
            for connection in dirty:
                assert isinstance(connection, BrokerConnection)
                data = connection.take_output()
                self.wrote(connection, data)
                core.written(connection, len(data), 0, now)
            assert core.take_faults() == []
            if core.has_more_work():
                core.continue_work(now)
            elif not effects and not dirty:
                core.end_turn()
                return

    def is_secret(self, topic: bytes) -> bool:
        return topic.startswith(b"secret")

    def wrote(self, connection: BrokerConnection, data: bytes) -> None:
        self.output[self.connections.index(connection)] += data

    def state(self) -> dict[str, Any]:
        """Everything that must be the same in both lanes, in plain data."""
        core = self.core
        for session in core.sessions.values():
            session.outgoing.settle()
        return {
            "output": self.output,
            "closed": self.closed,
            "records": self.records,
            "traffic": counters(core.traffic),
            "statistics": counters(core.statistics),
            "retained": sorted(kept(message) for message in core.retained.walk(b"#").next(1000)),
            "holdings": {name: counters(tally) for name, tally in core.holdings.retained.items()},
            "aliases": [connection.aliases for connection in self.connections],
            "quotas": [connection.receive_quota for connection in self.connections],
            "sessions": {
                name: (
                    session.connection is not None,
                    sorted(session.subscriptions),
                    [delivery(entry) for entry in session.outgoing.inflight.values()],
                    [delivery(entry) for entry in session.outgoing.releasing.values()],
                    [delivery(entry) for entry in session.outgoing.queue],
                    session.outgoing.queued_bytes,
                    session.outgoing.quota,
                    session.outgoing.sent_bytes,
                    session.outgoing.last_id,
                    session.incoming.identifiers,
                )
                for name, session in core.sessions.items()
            },
        }


def as_bytes(batch: Batch) -> list[tuple[str, bytes]]:
    """The records of a batch, with those at its end that say of deliveries that they are over: many of those
    acknowledged together are over before the first that waited is sent.
    """
    records = [(type(one).__name__, encode_records([one])) for one in batch.records]
    over = [one for one in records if one[0] in ("Delivered", "MessageRemoved")]
    return [one for one in records if one not in over] + sorted(over)


def counters(counted: object) -> dict[str, int]:
    """The attributes of `Traffic` or `Statistics`."""
    return {name: getattr(counted, name) for name in dir(counted) if isinstance(getattr(counted, name), int)}


def delivery(entry: Outgoing) -> tuple[object, ...]:
    message = entry.message
    return (
        entry.packet_id,
        entry.qos,
        entry.retain,
        entry.on_wire,
        entry.delivery,
        message.topic,
        message.payload,
        message.properties,
        message.expires_at,
        entry.identifiers,
        entry.group,
    )


def kept(message: ApplicationMessage) -> tuple[object, ...]:
    """A retained message."""
    owner = message.owner
    assert isinstance(owner, Owner)
    return (
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        message.properties,
        message.expires_at,
        owner.client,
        owner.source,
    )


class Both:
    """Two brokers that get the same, and what their clients know, as far as both agree."""

    topics: tuple[str, ...] = TOPICS  # that clients publish to

    def __init__(self, options: Options, authorizes: bool, stores: bool = False) -> None:
        self.fast = Lane(broker(options, False, authorizes, stores))
        self.slow = Lane(broker(options, True, authorizes, stores))
        self.now = 0.0
        self.versions: list[int] = []
        self.pending: list[bytes] = []  # of each client: the rest of a packet it has begun to send
        self.seen: list[int] = []  # how much of its output is looked at
        self.owed: list[list[p.Packet]] = []  # acknowledgements it has not sent yet
        self.last_id: list[int] = []

    def connect(self, index: int, version: int, lasts: bool, properties: Properties | None) -> None:
        """A new connection of client `index`, in place of its last one."""
        for lane in (self.fast, self.slow):
            lane.attach()
        position = len(self.versions)
        self.versions.append(version)
        self.pending.append(b"")
        self.seen.append(0)
        self.owed.append([])
        self.last_id.append(0)
        self.receive(
            position, encode(p.Connect(version, f"c{index}", not lasts, 0, None, None, None, properties), 5)
        )

    def near_the_last_identifier(self, index: int, before: int) -> None:
        """The next Packet Identifiers of an idle session are the last ones there are, or the first again."""
        for lane in (self.fast, self.slow):
            session = lane.core.sessions.get(f"c{index}")
            if session is not None and not session.outgoing.unfinished():
                session.outgoing.last_id = MAXIMUM_PACKET_ID - before

    def receive(self, position: int, chunk: bytes) -> None:
        for lane in (self.fast, self.slow):
            lane.receive(position, chunk, self.now)
        assert self.fast.output == self.slow.output
        for index in range(len(self.versions)):
            self.look(index)

    def compare(self) -> None:
        for lane in (self.fast, self.slow):
            while lane.batch:
                lane.commit(self.now)
        fast, slow = self.fast.state(), self.slow.state()
        for name in fast:
            assert fast[name] == slow[name], name

    def look(self, position: int) -> None:
        """Note what a client has to acknowledge."""
        data = self.fast.output[position]
        version = self.versions[position]
        while self.seen[position] < len(data):
            end = packet_end(data, self.seen[position])
            packet = decode(data, self.seen[position], end, version)
            self.seen[position] = end
            if isinstance(packet, p.Publish) and packet.qos:
                answer = p.Puback if packet.qos == 1 else p.Pubrec
                self.owed[position].append(answer(packet.packet_id))
            elif isinstance(packet, p.Pubrel):
                self.owed[position].append(p.Pubcomp(packet.packet_id))
            elif isinstance(packet, p.Pubrec) and packet.reason_code < 0x80:
                self.owed[position].append(p.Pubrel(packet.packet_id))

    def next_id(self, position: int) -> int:
        self.last_id[position] = self.last_id[position] % 40 + 1
        return self.last_id[position]


def message_properties(choices: Choices) -> Properties:
    """Properties of a PUBLISH."""
    properties = Properties()
    properties.topic_alias = choices.one(None, None, 1, 2, 9)
    properties.message_expiry_interval = choices.one(None, None, 0, 1, 100)
    properties.content_type = choices.one(None, None, "text")
    properties.user_properties = choices.one([], [], [("a", "b")], [("a", "b"), ("a", "b"), ("c", "d")])
    properties.correlation_data = choices.one(None, None, b"\0")
    properties.response_topic = choices.one(None, None, "back")
    return properties


def packets(choices: Choices, both: Both, position: int) -> list[p.Packet]:
    """What this client may send now: one packet, or several that are alike and go as a burst."""
    first = packet(choices, both, position)
    alike = [first]
    form = choices.below(4)
    if isinstance(first, p.Publish) and form == 3:
        return train(choices, both, position, first)
    if isinstance(first, p.Publish) and form == 2:
        for _ in range(choices.below(4)):
            packet_id = first.packet_id and both.next_id(position)
            again = p.Publish(
                first.topic, first.payload, first.qos, False, first.retain, packet_id, first.properties
            )
            alike.append(again)
    return alike


def train(choices: Choices, both: Both, position: int, first: p.Publish) -> list[p.Packet]:
    """Packets behind `first` with its QoS, of other topics and sizes, most often nothing else."""
    found: list[p.Packet] = [first]
    topics = both.topics if choices.seldom() else both.topics[:2]
    for _ in range(choices.below(8)):
        packet_id = first.qos and both.next_id(position)
        topic = choices.one(*topics)
        found.append(p.Publish(topic, choices.one(*PAYLOADS), first.qos, False, False, packet_id))
    return found


def packet(choices: Choices, both: Both, position: int) -> p.Packet:
    """One packet this client may send now, most often a plain one."""
    version = both.versions[position]
    owed = both.owed[position]
    kind = choices.below(12)
    if kind >= 8 and owed:
        return owed.pop(choices.one(0, 0, -1))
    if kind == 7:
        return subscribe(choices, both, position)
    if kind == 6:
        return p.Unsubscribe(both.next_id(position), [choices.one(*FILTERS)])
    if kind == 5:
        return p.Pingreq()
    if kind == 4 and choices.seldom():
        strange: list[type[p.Puback | p.Pubrec | p.Pubrel | p.Pubcomp]]
        strange = [p.Puback, p.Pubrec, p.Pubrel, p.Pubcomp]
        return choices.one(*strange)(choices.below(5) + 1)
    qos = choices.below(3)
    if choices.below(4):  # a plain one
        return p.Publish(
            choices.one(*both.topics[:2]),
            choices.one(*PAYLOADS),
            qos,
            False,
            False,
            qos and both.next_id(position),
        )
    properties = message_properties(choices) if version == MQTT_50 else None
    has_alias = properties is not None and properties.topic_alias is not None
    return p.Publish(
        "" if has_alias and choices.below(2) else choices.one(*both.topics),
        choices.one(*PAYLOADS),
        qos,
        qos > 0 and choices.seldom(),
        choices.one(False, True),
        qos and both.next_id(position),
        properties,
    )


def subscribe(choices: Choices, both: Both, position: int) -> p.Subscribe:
    is_50 = both.versions[position] == MQTT_50
    topic_filter = choices.one(*(FILTERS if is_50 else FILTERS[:6]))
    options = choices.below(3)
    properties = Properties()
    if is_50:
        options |= choices.one(0, 0, 0x08, 0x20)
        options |= 0 if topic_filter.startswith("$") else choices.one(0, 0, 0x04)
        properties.subscription_identifiers = choices.one([], [], [5])
    return p.Subscribe(both.next_id(position), [(topic_filter, options)], properties)


def connect(choices: Choices, both: Both, index: int) -> None:
    """A new connection of client `index`."""
    version = choices.one(5, 5, 5, 4, 4, 3)
    lasts = choices.one(False, True)
    properties = None
    if version == MQTT_50:
        properties = Properties()
        properties.session_expiry_interval = 1000 if lasts else None
        properties.receive_maximum = choices.one(None, None, 1, 3)
        properties.topic_alias_maximum = choices.one(None, None, None, 2)
        properties.maximum_packet_size = choices.one(None, None, None, 100)
    both.connect(index, version, lasts, properties)
    if choices.below(3) == 2:
        both.near_the_last_identifier(index, choices.below(3))


@given(
    numbers,
    st.lists(numbers, min_size=CLIENTS, max_size=CLIENTS),
    st.lists(st.lists(numbers, min_size=2, max_size=15), min_size=10, max_size=40),
)
def test_both_lanes_do_the_same(settings: int, clients: list[int], steps: list[list[int]]) -> None:
    choices = Choices(settings)
    options = Options()
    options.sys_interval = 0.0
    options.max_inflight = choices.one(1000, 1, 3)
    options.max_inflight_bytes = choices.one(1 << 20, 1 << 20, 100)
    options.receive_maximum = choices.one(1000, 1000, 1000, 2)
    options.max_queued_messages = choices.one(1000, 2)
    options.when_full = choices.one("drop-newest", "drop-newest", "drop-oldest", "refuse")
    options.queue_qos0 = choices.seldom()
    options.route_cache_size = choices.one(0, 1, 500)
    options.max_topic_levels = choices.one(128, 128, 5)
    options.max_retained_messages = choices.one(1000, 1000, 2)
    options.max_retained_bytes = choices.one(1 << 20, 1 << 20, 100)
    options.client_share = choices.one(1, 8)
    options.max_retain_rate = choices.one(0, 0, 1)
    options.retain_available = choices.below(8) < 7
    options.max_user_properties = choices.one(1000, 2)
    options.topic_alias_maximum = choices.one(8, 2, 0)
    both = Both(options, choices.seldom(), choices.seldom())
    both.now = 1.0  # at 0, what expires at once would never
    drive(both, clients, steps)
    both.compare()


def drive(both: Both, clients: list[int], steps: list[list[int]]) -> None:
    """Have clients connect, send and come again."""
    present: list[int] = []  # the position of each client's present connection
    for index, number in enumerate(clients):
        choices = Choices(number)
        connect(choices, both, index)
        present.append(index)
        for _ in range(choices.below(3)):
            both.receive(index, encode(subscribe(choices, both, index), both.versions[index]))
    for first, *rest in steps:
        choices = Choices(first)
        index = choices.below(CLIENTS)
        if choices.below(15) == 14 or both.fast.connections[present[index]].state == CLOSED:
            connect(choices, both, index)
            present[index] = len(both.versions) - 1
            continue
        position = present[index]
        version = both.versions[position]
        parts = [encode(one, version) for number in rest for one in packets(Choices(number), both, position)]
        stream = both.pending[position] + b"".join(parts)
        cut = len(stream) - (choices.below(len(stream) + 1) if choices.below(3) == 2 else 0)
        both.pending[position] = stream[cut:]
        both.now += choices.one(0.0, 0.0, 0.5, 2.0)
        both.receive(position, stream[:cut])
