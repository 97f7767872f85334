"""Two lanes, one meaning, in a cluster: the same bytes at two nodes give the same output with the fast lane
at both nodes and without it. What one node has for the other, the other has at the end of the turn.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.broker import inbound, outbound
from curier.broker.core import BrokerCore
from curier.broker.effects import Answer, Authorize, CatchUp, Claim, Close, Commit, Packets
from curier.broker.model import BrokerConnection, LogMessage
from curier.broker.options import Options
from curier.codec import packets as p
from curier.codec.constants import MQTT_50, MQTT_311
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.records import Batch, Logged, SessionSaved
from tests.broker.test_lanes import CLIENTS, Both, Choices, counters, drive, numbers

SENT = (
    "packets_sent",
    "publishes_sent",
    "publish_bytes_sent",
    "publishes_received",
    "publish_bytes_received",
)


class Nodes:
    """Two nodes with their clients, and all that those were ever sent."""

    def __init__(self, options: Options, slow: bool, authorizes: bool = False) -> None:
        self.cores = [
            BrokerCore(options, 0.0, journal=Journal(), asks_authorization=authorizes) for _ in range(2)
        ]
        for core in self.cores:
            core.join_cluster()
            core.slow_lane_only = slow
        self.at = 0  # where the next client comes
        self.connections: list[BrokerConnection] = []
        self.homes: list[BrokerCore] = []  # of each of those
        self.output: list[bytes] = []
        self.closed: set[int] = set()
        self.batch = 0
        self.delay = 0.0  # seconds that what one node tells the other is on its way
        self.told: list[Packets] = []
        self._names: list[dict[int, str]] = [{}, {}]

    @property
    def core(self) -> BrokerCore:
        return self.cores[self.at]

    def attach(self) -> None:
        self.connections.append(self.core.attach("test", "memory", 0.0))
        self.homes.append(self.core)
        self.output.append(b"")

    def receive(self, index: int, chunk: bytes, now: float) -> None:
        self.homes[index].receive(self.connections[index], chunk, now)
        self.turn(now)

    def turn(self, now: float) -> None:
        """Until there is nothing left to do at any node."""
        while self._turn(0, now) | self._turn(1, now):
            pass
        for core in self.cores:
            core.end_turn()

    def _turn(self, place: int, now: float) -> bool:
        core = self.cores[place]
        effects = core.take_effects()
        for effect in effects:
            if isinstance(effect, Authorize):
                core.resume(effect, Answer(0x87 if effect.topic.startswith(b"secret") else 0), now)
            elif isinstance(effect, (Claim, CatchUp)):
                core.resume(effect, Answer(0), now)
            elif isinstance(effect, Commit):
                core.committed(effect.batch.number, now)
                self._log(place, effect.batch, now)
            else:
                assert isinstance(effect, Close)
                self.closed.add(self.connections.index(effect.connection))
        dirty = core.take_dirty()
        for connection in dirty:
            data = connection.take_output()
            self.output[self.connections.index(connection)] += data
            core.written(connection, len(data), 0, now)
        told = core.take_sendings()
        for one in told:
            one.sent_at = now - self.delay
            self.told.append(one)
        if told:
            self.cores[1 - place].read_direct(told, now)
        assert core.take_faults() == []
        if core.has_more_work():
            core.continue_work(now)
            return True
        core.take_welcomed()
        return bool(effects or dirty or told)

    def _log(self, place: int, batch: Batch, now: float) -> None:
        """What is in a batch for the log of all nodes comes by at both."""
        names = self._names[place]
        for record in batch.records:
            if isinstance(record, SessionSaved):
                names[record.session] = record.client_id
            elif isinstance(record, Logged):
                for core in self.cores:
                    of = record.message
                    message = ApplicationMessage(
                        of.topic, of.payload, of.qos, of.retain, of.properties, of.expires_at
                    )
                    message.written_at = of.written_at
                    core.read_log([LogMessage(names.get(record.session, ""), message)], now)

    def state(self) -> dict[str, Any]:
        """What must be the same in both lanes."""
        return {
            "output": self.output,
            "closed": self.closed,
            "traffic": [
                {name: count for name, count in counters(core.traffic).items() if name in SENT}
                for core in self.cores
            ],
            "statistics": [counters(core.statistics) for core in self.cores],
            "told": passed_on(self.told),
        }


def passed_on(told: list[Packets]) -> list[tuple[str, p.Packet]]:
    """Each packet of them, with who published it."""
    found: list[tuple[str, p.Packet]] = []
    for one in told:
        data, at, end = one.whole(), 0, 0
        assert len(data) == one.size == sum(one.sizes)
        for publisher, size in zip(one.publishers, one.sizes, strict=True):
            end += size
            while at < end:
                stop = packet_end(data, at)
                packet = decode(data, at, stop, one.version)
                assert isinstance(packet, p.Publish)
                assert (packet.qos, packet.retain, packet.dup) == (0, False, False)
                assert packet.topic
                found.append((publisher, packet))
                at = stop
            assert at == end
    return found


class BothNodes(Both):
    """A cluster with the fast lane, and one without it."""

    def __init__(self, options: Options, authorizes: bool) -> None:
        super().__init__(Options(), False)
        self.fast = Nodes(options, False, authorizes)  # type: ignore[assignment]
        self.slow = Nodes(options, True, authorizes)  # type: ignore[assignment]

    def connect(self, index: int, version: int, lasts: bool, properties: Properties | None) -> None:
        for nodes in (self.fast, self.slow):
            nodes.at = index % 2  # type: ignore[attr-defined]
        super().connect(index, version, lasts, properties)


@given(
    numbers,
    st.lists(numbers, min_size=CLIENTS, max_size=CLIENTS),
    st.lists(st.lists(numbers, min_size=2, max_size=15), min_size=10, max_size=40),
)
def test_both_lanes_do_the_same_at_two_nodes(
    settings: int, clients: list[int], steps: list[list[int]]
) -> None:
    choices = Choices(settings)
    options = Options()
    options.sys_interval = 0.0
    options.max_inflight = choices.one(1000, 1, 3)
    options.max_queued_messages = choices.one(1000, 2)
    options.queue_qos0 = choices.seldom()
    options.route_cache_size = choices.one(0, 1, 500)
    options.max_topic_levels = choices.one(128, 128, 5)
    options.topic_alias_maximum = choices.one(8, 2, 0)
    both = BothNodes(options, authorizes=choices.seldom())
    both.fast.delay = both.slow.delay = choices.one(0, 0, 3)
    both.now = 1.0  # at 0, what expires at once would never
    drive(both, clients, steps)
    both.compare()


class Pair:
    """Two nodes with a publisher at the one and a subscriber at the other, of 5.0."""

    def __init__(self, options: Options | None = None, no_local: bool = False) -> None:
        if options is None:
            options = Options()
        options.sys_interval = 0.0
        self.nodes = Nodes(options, slow=False)
        self.now = 10.0
        self.publisher = self.connect(0, "p")
        self.subscriber = self.connect(1, "s")
        self.subscribe(self.subscriber, "t/#", 4 if no_local else 0)

    def connect(self, node: int, name: str, version: int = MQTT_50) -> int:
        self.nodes.at = node
        self.nodes.attach()
        index = len(self.nodes.connections) - 1
        self.send(index, p.Connect(version, name, True, 0, None, None, None, None))
        return index

    def subscribe(self, index: int, topic_filter: str, options: int = 0) -> None:
        self.send(index, p.Subscribe(1, [(topic_filter, options)], None))
        self.nodes.output[index] = b""

    def send(self, index: int, *sent: p.Packet) -> None:
        self.nodes.receive(index, b"".join([encode(one, MQTT_50) for one in sent]), self.now)

    def payloads(self, index: int) -> list[bytes]:
        """Of the messages that came there, in order."""
        data, at, found = self.nodes.output[index], 0, []
        while at < len(data):
            stop = packet_end(data, at)
            packet = decode(data, at, stop, MQTT_50)
            at = stop
            if isinstance(packet, p.Publish):
                found.append(packet.payload)
        return found


def publish(topic: str, payload: bytes, expiry: int | None = None) -> p.Publish:
    properties = Properties()
    properties.message_expiry_interval = expiry
    return p.Publish(topic, payload, 0, False, False, 0, properties)


def test_much_goes_in_pieces_that_the_bus_takes() -> None:
    pair = Pair()
    sizes = [10, 70_000, 10, 40_000, 40_000, 10, *[5_000] * 30, 200_000, *[100] * 1000]
    sent = [publish(f"t/{place % 3}", b"%d" % place * size) for place, size in enumerate(sizes)]
    for packet in sent:
        packet.payload = packet.payload[: sizes[sent.index(packet)]]
    pair.send(pair.publisher, *sent)
    assert pair.payloads(pair.subscriber) == [packet.payload for packet in sent]
    for told in pair.nodes.told:
        assert told.size <= outbound.MOST_AT_ONCE or len(passed_on([told])) == 1


def test_packets_of_publishers_and_versions_are_told_apart() -> None:
    pair = Pair()
    other, old = pair.connect(0, "q"), pair.connect(0, "old", MQTT_311)
    core = pair.nodes.cores[0]
    for index, version, payload in (
        (pair.publisher, MQTT_50, b"1"),
        (other, MQTT_50, b"2"),
        (pair.publisher, MQTT_50, b"3"),
        (old, MQTT_311, b"4"),
        (other, MQTT_50, b"5"),
    ):
        chunk = encode(p.Publish("t/a", payload, 0, False, False, 0, None), version)
        core.receive(pair.nodes.connections[index], chunk, pair.now)
    pair.nodes.turn(pair.now)
    assert [(one.version, one.publishers) for one in pair.nodes.told] == [
        (MQTT_50, ["p", "q", "p"]),
        (MQTT_311, ["old"]),
        (MQTT_50, ["q"]),
    ]
    assert pair.payloads(pair.subscriber) == [b"1", b"2", b"3", b"4", b"5"]


def test_who_has_come_here_meanwhile_is_not_sent_its_own() -> None:
    pair = Pair(no_local=True)
    other = pair.connect(1, "other")
    pair.subscribe(other, "t/#")
    packets = Packets(MQTT_50, False, pair.now)
    for name, payload in (("x", b"1"), ("s", b"2"), ("x", b"3")):  # [MQTT-3.8.3-3]
        packets.add(name, encode(publish("t/a", payload), MQTT_50))
    pair.nodes.cores[1].read_direct([packets], pair.now)
    pair.nodes.turn(pair.now)
    assert pair.payloads(pair.subscriber) == [b"1", b"3"]
    assert pair.payloads(other) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("delay", [0.0, 2.0, 7.0])
def test_what_was_on_its_way_for_long_may_have_expired(delay: float) -> None:
    pair = Pair()
    pair.nodes.delay = delay
    pair.send(pair.publisher, publish("t/a", b"never"), publish("t/a", b"5", 5), publish("t/a", b"9", 9))
    expected = [b"never", b"9"] if delay == 7.0 else [b"never", b"5", b"9"]
    assert pair.payloads(pair.subscriber) == expected


@pytest.mark.parametrize("topics", [1, 3000])
def test_more_than_one_turn_has_time_for_comes_in_order(topics: int) -> None:
    pair = Pair()
    core = pair.nodes.cores[1]
    core.work_per_turn = 20
    for number in range(30):
        one = pair.connect(1, f"more{number}")
        pair.subscribe(one, "t/#", number % 3)
    sent = [publish(f"t/{place % topics}", b"%d" % place) for place in range(3000)]
    for at in range(0, len(sent), 500):
        pair.send(pair.publisher, *sent[at : at + 500])
    for index in range(1, len(pair.nodes.connections)):
        assert pair.payloads(index) == [packet.payload for packet in sent]
    assert not core.inbound.coming
    assert core.inbound.coming_bytes == 0


def test_where_too_much_waits_it_is_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    core = pair.nodes.cores[1]
    core.work_per_turn = 20
    monkeypatch.setattr(inbound, "MOST_WAITING", 1000)
    packets = Packets(MQTT_50, False, pair.now)
    for number in range(500):
        packets.add("x", encode(publish("t/a", b"%d" % number), MQTT_50))
    again = Packets(MQTT_50, False, pair.now)
    again.add("x", packets.whole())
    core.read_direct([packets, again], pair.now)
    pair.nodes.turn(pair.now)
    assert pair.payloads(pair.subscriber) == [b"%d" % number for number in [*range(500), *range(500)]]


def test_what_cannot_be_read_costs_itself_alone() -> None:
    pair = Pair()
    core = pair.nodes.cores[1]
    broken, whole = Packets(MQTT_50, False, pair.now), Packets(MQTT_50, False, pair.now)
    broken.add("x", b"\x30\x05\0\x09abc")
    whole.add("x", encode(publish("t/a", b"1"), MQTT_50))
    core.read_direct([broken, whole], pair.now)
    (fault,) = core.take_faults()
    assert "messages of another node" in fault.text
    pair.nodes.turn(pair.now)
    assert pair.payloads(pair.subscriber) == [b"1"]
