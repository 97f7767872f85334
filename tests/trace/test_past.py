"""What went by before anybody looked on: the tape of a turn, and what is made of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from time import monotonic
from typing import Final

import pytest

from curier.broker.core import BrokerCore
from curier.broker.options import Options
from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.net.clock import Clock
from curier.net.tape import ENTRY_BYTES, Tape
from curier.net.turn import Turn
from curier.net.wire import Wire
from curier.trace import events as e
from curier.trace import past
from curier.trace.choice import choice
from curier.trace.fate import fate_words
from curier.trace.flows import Publication
from curier.trace.joining import Joiner
from curier.trace.mishaps import Mishaps
from curier.trace.past import Past
from curier.trace.reading import Ring, Trace
from curier.trace.rewinding import Rewinding


class Client(Wire):
    """A client, whose bytes are told."""

    def __init__(self, world: World, name: str, version: int = 4, clean: bool = True, **more: object) -> None:
        super().__init__(world.turn.attach(f"127.0.0.1:{len(world.turn.wires)}", "tcp://here:1"))
        self.world = world
        self.version = version
        self.got: list[p.Packet] = []
        self.tail = b""
        self.is_slow = False
        world.turn.add(self)
        self.say(p.Connect(version, name, clean, 0, **more))  # type: ignore[arg-type]

    def say(self, *packets: p.Packet) -> list[p.Packet]:
        """One turn; what this client is sent in it."""
        return self.write_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def write_bytes(self, data: bytes) -> list[p.Packet]:
        """The same, of any bytes."""
        self.got.clear()
        turn = self.world.turn
        now = self.world.time or turn.clock.now()
        turn.receive(self, data, now)
        turn.finish(now)
        return [*self.got]

    def write(self, data: bytes) -> int:
        self.tail += data
        pos = 0
        while pos < len(self.tail) and 0 < (end := packet_end(self.tail, pos)) <= len(self.tail):
            self.got.append(decode(self.tail, pos, end, self.version))
            pos = end
        self.tail = self.tail[pos:]
        return len(data) if self.is_slow else 0

    def set_reading(self, wanted: bool) -> None:
        self.is_reading = wanted

    def close(self) -> None: ...


class World:
    """A broker without a network, which keeps what went by."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tape: Tape | None = None) -> None:
        options = Options()
        options.sys_interval = 0.0
        clock = Clock()
        self.core = BrokerCore(options, clock.now())
        self.turn = Turn(self.core, loop, clock, lambda effect: None)
        self.tape = self.turn.tape = tape or Tape()
        self.mishaps = Mishaps(clock.now)
        self.core.add_hook(self.mishaps)
        self.numbers = iter(range(1, 1_000_000))
        self.time = 0.0  # when turns begin, where that is set

    def forward(self, seconds: float) -> None:
        """From now on turns take no time, and so much has gone by."""
        clock = self.turn.clock
        self.time = (self.time or clock.now()) + seconds
        clock.offset = self.time - monotonic()

    def past(self, unwritten: bool = False, **chosen: object) -> list[e.Event]:
        """What is still known of it."""
        now = self.turn.clock.now()
        waiting = self.turn.waiting() if unwritten else []
        rewinding = Rewinding(self.tape, self.core.connections, now, waiting)
        made = Past(rewinding, self.mishaps.all, lambda: next(self.numbers), now)
        wanted = choice(**chosen)  # type: ignore[arg-type]
        return [event for some in made.events(wanted) for event in some]

    def fates(self, **chosen: object) -> list[str]:
        """The same, as `curier trace fate` says it, without times."""
        joiner = Joiner()
        for event in self.past(False, **chosen):
            joiner.feed(event)
        return [line for flow in joiner.publications for line in fate(flow)]


TIMES: Final = re.compile(r" (at|since) [\d:.]+\d( \(.*\))?|: acknowledged \+.*|: taken$")


def fate(flow: Publication) -> list[str]:
    """Its topic, and what became of it, without times."""
    return [flow.topic, *(TIMES.sub("", line) for line in fate_words(flow, True))]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def world(loop: asyncio.AbstractEventLoop) -> World:
    return World(loop)


def publish(topic: str, payload: bytes, qos: int = 0, packet_id: int = 0, **more: object) -> p.Publish:
    return p.Publish(topic, payload, qos, packet_id=packet_id, **more)  # type: ignore[arg-type]


def subscribe(*filters: str, qos: int = 2) -> p.Subscribe:
    return p.Subscribe(1, [(one, qos) for one in filters])


def test_who_got_a_message_and_who_has_not_acknowledged_it_is_known_afterwards(world: World) -> None:
    one, two = Client(world, "one"), Client(world, "two")
    for client in (one, two):
        client.say(subscribe("a/#"))
    sender = Client(world, "sender")
    sender.say(publish("a/b", b"first", 1, 7), publish("a/c", b"second", 0), publish("x", b"third", 0))
    one.say(p.Puback(1))
    told = world.fates(topic="#")
    assert told == [
        *("a/b", "published by sender #7", "two QoS 1 #1: waits for PUBACK #1", "one QoS 1 #1: got it"),
        *("a/c", "published by sender", "one QoS 0: got it", "two QoS 0: got it"),
        *("x", "published by sender", "no delivery was seen"),
    ]


def test_a_name_is_known_of_who_has_gone(world: World) -> None:
    reader = Client(world, "reader")
    reader.say(subscribe("a"))
    sender = Client(world, "sender")
    sender.say(publish("a", b"1"), p.Disconnect())
    assert not [one for one in world.core.connections.values() if one.client_id == "sender"]
    assert world.fates() == ["a", "published by sender", "reader QoS 0: got it"]
    closed = [event for event in world.past() if isinstance(event, e.Closed)]
    assert [(event.wire.client_id, event.by) for event in closed] == [("sender", "client")]


def test_no_password_is_kept(world: World) -> None:
    client = Client(world, "me", 5, username="u", password=b"one-secret", properties=Properties())
    assert b"one-secret" not in b"".join(entry.data for entry in world.tape.entries())
    again = p.Connect(5, "me", True, 0, username="u", password=b"two-secret", properties=Properties())
    client.say(again)  # which breaks a rule [MQTT-3.1.0-2]
    packets = [event for event in world.past() if isinstance(event, e.Packet)]
    assert [packet.data[0] >> 4 for packet in packets] == [2, 1, 14]
    assert not [packet for packet in packets if b"secret" in packet.data]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    "last",
    [
        "3003 0001 23",  # PUBLISH on "#"
        "3603 0001 61",  # PUBLISH with QoS 3
        "6000 ",  # PUBREL without its flags
        "d000",  # PINGRESP, from a client
        "100c 0004 4d515454 04 02 0000 0000",  # a second CONNECT
        "e000",
    ],
)
def test_what_stood_behind_the_end_of_a_connection_was_not_published(
    world: World, version: int, last: str
) -> None:
    more: dict[str, object] = {"properties": Properties()} if version == 5 else {}
    other, sender = (Client(world, who, version, True, **more) for who in ("other", "sender"))
    before, behind = (encode(publish("a", word, 1, 7), version) for word in (b"before", b"behind"))
    final = bytes.fromhex(last)
    sender.write_bytes(before + final + behind)
    other.write_bytes(behind)
    published = [
        (event.wire.client_id, event.data)
        for event in world.past()
        if isinstance(event, e.Packet) and event.to_server
    ]
    assert published == [("sender", before), ("sender", final), ("other", behind)]
    senders = [line.partition(":")[0] for line in world.fates() if line.startswith("published")]
    assert senders == ["published by sender #7", "published by other #7"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_packets_are_whole_however_their_bytes_came(world: World, size: int) -> None:
    sender = Client(world, "sender")
    sent = [
        encode(publish("a", b"%d" % number, number % 3, number + 1 if number % 3 else 0), 4)
        for number in range(40)
    ]
    data = b"".join(sent)
    for at in range(0, len(data), size):
        sender.write_bytes(data[at : at + size])
    packets = [event for event in world.past() if isinstance(event, e.Packet) and event.to_server]
    assert [packet.data for packet in packets] == sent


@pytest.mark.parametrize(("size", "entries"), [(1, 100), (7, 100), (30, 20)])
def test_where_the_beginning_is_gone_it_goes_on_with_the_next_whole_packet(
    loop: asyncio.AbstractEventLoop, size: int, entries: int
) -> None:
    world = World(loop, Tape(entries))
    sender = Client(world, "sender")
    sent = [encode(publish("a", b"%d" % (number * 10**number)), 4) for number in range(40)]
    data = b"".join(sent)
    for at in range(0, len(data), size):
        sender.write_bytes(data[at : at + size])
    events = world.past()
    packets = [event.data for event in events if isinstance(event, e.Packet) and event.to_server]
    assert packets
    assert packets == sent[-len(packets) :]
    first = events[0]
    assert isinstance(first, e.Happening)
    assert "nothing older is known" in first.why


def test_a_large_payload_is_told_of_by_its_beginning(world: World) -> None:
    reader = Client(world, "reader")
    reader.say(subscribe("a", qos=1))
    sender = Client(world, "sender")
    payload = b"begins so" + bytes(10**6)
    data = encode(publish("a", payload, 1, 3), 4) + encode(publish("a", b"small", 1, 4), 4)
    for at in range(0, len(data), 100_000):
        sender.write_bytes(data[at : at + 100_000])
    reader.say(p.Puback(1))
    packets = [event for event in world.past(topic="a") if isinstance(event, e.Packet) and event.publication]
    sizes = [(len(one.data) + one.cut, one.cut > 0) for one in packets if one.data[0] >> 4 == 3]
    assert sizes == [(len(data) - 12, True), (12, False)] * 2
    assert world.tape.bytes < 100_000
    assert world.fates(topic="a")[:3] == ["a", "published by sender #3", "reader QoS 1 #1: got it"]


def test_bytes_and_entries_are_bounded(loop: asyncio.AbstractEventLoop) -> None:
    tape = Tape(1000, 100_000)
    world = World(loop, tape)
    sender = Client(world, "sender")
    for _ in range(30):
        sender.say(publish("a", bytes(10_000)))
    assert len(tape.entries()) == 9
    assert tape.bytes == sum(len(entry.data) + ENTRY_BYTES for entry in tape.entries()) <= 100_000
    for _ in range(3000):
        sender.say(p.Pingreq())
    assert tape.bytes == sum(len(entry.data) + ENTRY_BYTES for entry in tape.entries()) <= 100_000


def test_what_was_dropped_has_its_publisher_and_its_reason(world: World) -> None:
    slow = Client(world, "slow")
    slow.say(subscribe("a"))
    slow.is_slow = True
    world.core.options.output_soft_limit = 1
    sender = Client(world, "sender")
    for number in range(3):
        sender.say(publish("a", b"%d" % number))
    assert world.fates(topic="a") == [
        *("a", "published by sender", "slow QoS 0: got it"),
        *("a", "published by sender", "slow: did not get it: the client is too slow"),
        *("a", "published by sender", "slow: did not get it: the client is too slow"),
    ]


def test_what_was_refused_says_why(world: World) -> None:
    sender = Client(world, "sender")
    sender.say(publish("a", b"1", 1, 5), publish("$SYS/mine", b"2", 1, 6), publish("$SYS/mine", b"3", 0))
    told = world.fates(client_id="sender")
    assert told[:4] == ["a", "published by sender #5", "no delivery was seen", "$SYS/mine"]
    assert [line.partition(": ")[2] for line in (told[4], told[7])] == [
        "not taken: topics below $SYS belong to the server"
    ] * 2


def test_topic_aliases_are_what_they_were(world: World) -> None:
    sender = Client(world, "sender", 5, properties=Properties())
    alias = Properties()
    alias.topic_alias = 1
    sender.say(publish("a", b"1", properties=alias))
    sender.say(publish("", b"2", properties=alias))
    sender.say(publish("b", b"3", properties=alias))
    sender.say(publish("", b"4", properties=alias))
    topics = [event.topic for event in world.past() if isinstance(event, e.Happening) and event.topic]
    assert topics == ["a", "a", "b", "b"]
    assert [
        event.topic for event in world.past(topic="b") if isinstance(event, e.Happening) and event.topic
    ] == [*("b", "b")]


def test_an_alias_that_was_set_before_is_what_it_is_now(loop: asyncio.AbstractEventLoop) -> None:
    world = World(loop, Tape(8))
    sender = Client(world, "sender", 5, properties=Properties())
    alias = Properties()
    alias.topic_alias = 1
    sender.say(publish("a", b"1", properties=alias))
    for number in range(20):
        sender.say(publish("", b"%d" % number, properties=alias))
    assert len([one for one in world.past(topic="a") if isinstance(one, e.Packet)]) == 8
    sender.say(publish("b", b"1", properties=alias))
    sender.say(publish("", b"5", properties=alias))
    assert len([one for one in world.past(topic="b") if isinstance(one, e.Packet)]) == 2
    assert not [one for one in world.past(topic="a") if isinstance(one, e.Packet)]  # nobody knows any more


def test_a_choice_chooses_and_payloads_can_be_left_out(world: World) -> None:
    reader = Client(world, "reader")
    reader.say(subscribe("#"))
    Client(world, "sender").say(publish("a", b"private"), publish("b", b"private"))
    packets = [event for event in world.past(client_id="reader", payload=0) if isinstance(event, e.Packet)]
    assert {packet.wire.client_id for packet in packets} == {"reader"}
    assert not [packet for packet in packets if b"private" in packet.data]
    assert [packet.cut for packet in packets if packet.data[0] >> 4 == 3] == [7, 7]
    events = [event for event in world.past(topic="b") if isinstance(event, e.Packet)]
    assert [event.to_server for event in events] == [True, False]


def test_equal_messages_are_given_to_each_reader_in_their_order(world: World) -> None:
    early = Client(world, "early")
    early.say(subscribe("a"))
    sender = Client(world, "sender")
    sender.say(publish("a", b"same"), publish("a", b"same"))
    late = Client(world, "late")
    late.say(subscribe("a"))
    sender.say(publish("a", b"same"))
    assert world.fates(topic="a") == [
        *("a", "published by sender", "early QoS 0: got it"),
        *("a", "published by sender", "early QoS 0: got it"),
        *("a", "published by sender", "early QoS 0: got it", "late QoS 0: got it"),
    ]


def test_what_is_not_written_yet_is_told_as_well(world: World) -> None:
    reader = Client(world, "reader")
    reader.say(subscribe("a"))
    sender = Client(world, "sender")
    turn = world.turn
    turn.receive(sender, encode(publish("a", b"1"), 4), turn.clock.now())
    going = [one for one in world.past(True, topic="a") if isinstance(one, e.Packet) and not one.to_server]
    assert len(going) == 1
    assert not [one for one in world.past(topic="a") if isinstance(one, e.Packet) and not one.to_server]


def test_what_is_told_later_of_a_delivery_has_the_number_it_was_given(world: World) -> None:
    reader = Client(world, "reader")
    reader.say(subscribe("a"))
    Client(world, "sender", 5, properties=Properties()).say(publish("a", b"1", 2, 9, properties=Properties()))
    (number,) = {one.publication for one in world.past(topic="a") if isinstance(one, e.Packet)}
    session = reader.connection.session
    assert session is not None
    assert [entry.message.publication for entry in session.outgoing.inflight.values()] == [number]


def test_that_nobody_wants_it_is_known_where_the_acknowledgement_says_so(world: World) -> None:
    sender = Client(world, "sender", 5, properties=Properties())
    sender.say(publish("a", b"1", 1, 1, properties=Properties()))
    assert world.fates() == [
        "a",
        "published by sender #1",
        "nobody got it: no subscription matches its topic",
    ]


async def test_the_past_comes_first_and_others_have_their_turn_between() -> None:
    ring = Ring()
    old = [e.Missed(float(number), 1) for number in range(4)]
    turns = []

    def before() -> Iterator[list[e.Event]]:
        for event in old:
            turns.append("past")
            yield [event] if event.time else []

    trace = Trace(ring, lambda: None, before())
    ring.add(e.Missed(9.0, 1))
    asyncio.get_running_loop().call_soon(turns.append, "other")
    assert [(await anext(trace)).time for _ in range(4)] == [1.0, 2.0, 3.0, 9.0]
    assert turns == ["past", "other", "past", "past", "past"]
    trace.close()
    again = Trace(ring, lambda: None, before())
    assert [one.time for one in await again.take_past()] == [1.0, 2.0, 3.0]
    assert again.take() == []
    again.close()


def test_of_the_smallest_packets_not_all_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "MOST_PACKETS", 1000)
    client = Client(world, "me")
    client.write_bytes(b"\xc0\x00" * 5000)
    client.say(publish("a", b"1"))
    first, *packets, _ = world.past()
    assert isinstance(first, e.Happening)
    assert first.why == "what went by from here on; nothing older is known"
    assert len(packets) == 1000
