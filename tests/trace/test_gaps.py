"""What went by faster than it is kept: nothing is claimed of what stood in a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from curier.codec import packets as p
from curier.codec.properties import Properties
from curier.net.tape import SLICE, Tape
from curier.trace import events as e
from curier.trace.fate import fate_words
from curier.trace.flows import DONE, LOST, UNSEEN, Leg
from curier.trace.joining import Joiner
from tests.trace.test_past import Client, World, fate, publish, subscribe


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def joined(world: World, **chosen: object) -> Joiner:
    joiner = Joiner()
    for event in world.past(False, **chosen):
        joiner.feed(event)
    return joiner


def told(world: World, **chosen: object) -> list[str]:
    """What is told of fates, without times."""
    joiner = joined(world, **chosen)
    words = []
    for flow in joiner.publications:
        words += [*fate(flow), *(line.partition(":")[0] for line in joiner.gaps.words(flow))]
    return words


def slices(world: World, number: float) -> None:
    """Let so much time go by."""
    world.forward(number * SLICE * 1.01)


class Book(Client):
    """A client that keeps account of what it was sent, and says what it owes or some of it."""

    def __init__(self, world: Run, name: str, version: int, clean: bool = True) -> None:
        self.book = world
        self.name = name
        self.owed: list[p.Packet] = []
        more: dict[str, object] = {"properties": Properties()} if version == 5 else {}
        if version == 5 and not clean:
            more["properties"].session_expiry_interval = 1000  # type: ignore[attr-defined]
        super().__init__(world, name, version, clean=clean, **more)

    def write(self, data: bytes) -> int:
        at = len(self.got)
        left = super().write(data)
        for packet in self.got[at:]:
            self._note(packet)
        return left

    def _note(self, packet: p.Packet) -> None:
        book, key = self.book, (self.name, getattr(packet, "packet_id", 0))
        if isinstance(packet, p.Publish):
            topic = packet.payload.decode()
            book.got.add((self.name, topic))
            book.ids[key] = topic
            if packet.qos:
                self.owed.append(
                    p.Puback(packet.packet_id) if packet.qos == 1 else p.Pubrec(packet.packet_id)
                )
        elif isinstance(packet, p.Pubrel):
            self.owed.append(p.Pubcomp(packet.packet_id))
        elif isinstance(packet, p.Pubrec):
            self.owed.append(p.Pubrel(packet.packet_id))
            book.taken.add(book.published[key])
        elif isinstance(packet, (p.Puback, p.Pubcomp)):
            book.acknowledged.add(book.published.pop(key))

    def pay(self, some: int) -> None:
        """Answer."""
        answers, self.owed = self.owed[:some], self.owed[some:]
        for answer in answers:
            if isinstance(answer, (p.Puback, p.Pubcomp)):
                self.book.finished.add((self.name, self.book.ids[self.name, answer.packet_id]))
        if answers:
            self.say(*answers)


class Run(World):
    """Whatever happens, with a small budget; topics and payloads of messages are their numbers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        random = self.random = Random(seed)
        burst = random.choice([300, 1000, 3000, 20_000])
        entries = random.choice([20, 100, 10_000])
        super().__init__(loop, Tape(entries, rate=random.choice([1000, 10_000, 40_000]), burst=burst))
        self.core.options.output_soft_limit = 1000
        self.got: set[tuple[str, str]] = set()  # who was sent which message
        self.finished: set[tuple[str, str]] = set()  # and has acknowledged it for good
        self.ids: dict[tuple[str, int], str] = {}  # which message a client was sent with an identifier last
        self.published: dict[tuple[str, int], str] = {}  # likewise, what clients send and is not over
        self.publisher: dict[str, str] = {}
        self.taken: set[str] = set()  # PUBREC has gone
        self.acknowledged: set[str] = set()  # PUBACK or PUBCOMP has gone
        self.number = 0
        self.aliases: dict[str, dict[int, str]] = {}
        self.topics: dict[str, str] = {}
        self.clients = {name: self.connect(name) for name in ("p0", "p1", "r0", "r1", "r2")}
        for name in ("r0", "r1", "r2"):
            self.clients[name].say(subscribe("#", qos=random.choice([0, 1, 2])))
        for _ in range(random.choice([30, 150])):
            self.step()

    def connect(self, name: str) -> Book:
        self.aliases[name] = {}
        return Book(self, name, 5 if name[1] == "1" else 4, clean=name == "r0")

    def step(self) -> None:
        random = self.random
        self.forward(random.choice([0.0, 0.001, 0.02, 0.2]))
        name = random.choice([*self.clients])
        client = self.clients[name]
        if random.random() < 0.05:
            self.turn.lost(client)
            self.turn.finish(self.turn.clock.now())
            self.clients[name] = self.connect(name)
            if name == "r0":
                self.clients[name].say(subscribe("#", qos=random.choice([0, 1, 2])))
        elif name[0] == "p" and random.random() < 0.7:
            client.say(*(self.message(name) for _ in range(random.choice([1, 1, 4]))))
        else:
            client.is_slow = name[0] == "r" and random.random() < 0.05
            client.pay(random.choice([1, 2, 100]))

    def message(self, name: str) -> p.Publish:
        self.number += 1
        qos = self.random.randrange(3)
        number = str(self.number)
        self.publisher[number] = name
        packet_id = 0
        if qos:
            packet_id = next(one for one in range(1, 1000) if (name, one) not in self.published)
            self.published[name, packet_id] = number
        self.topics[number] = f"t/{number}"
        if name != "p1":
            return publish(f"t/{number}", number.encode(), qos, packet_id)
        alias = Properties()
        alias.topic_alias = self.random.randrange(1, 4)
        topic = f"alias/{self.random.randrange(3)}"
        if alias.topic_alias in self.aliases[name] and self.random.random() < 0.6:
            self.topics[number] = self.aliases[name][alias.topic_alias]
            topic = ""
        else:
            self.topics[number] = self.aliases[name][alias.topic_alias] = topic
        return publish(topic, number.encode(), qos, packet_id, properties=alias)


def holds_of_publisher(run: Run, leg: Leg, number: str) -> bool:
    """Is what is said of a message from its publisher so?"""
    if run.publisher[number] != leg.client_id:
        return False
    if leg.state == DONE:
        return not leg.qos or number in run.acknowledged
    return leg.state == UNSEEN or (leg.wait is not None and number not in run.acknowledged)


def holds_of_receiver(run: Run, leg: Leg, number: str) -> bool:
    """Is what is said of a delivery so?"""
    key = (leg.client_id, number)
    if leg.state == LOST:
        return key not in (run.finished if leg.sends else run.got)  # sent, and its session ended
    if leg.state == UNSEEN:
        return key in run.got
    is_over = key in run.finished if leg.qos else key in run.got
    return key in run.got and is_over == (leg.state == DONE)


def few(loop: asyncio.AbstractEventLoop) -> World:
    """A broker that keeps ten small reads and writes in a slice, thirty at once."""
    world = World(loop, Tape(rate=int(10 * 200 / SLICE), burst=30 * 200))
    world.forward(0)
    return world


def packets(world: World) -> list[tuple[str, bytes]]:
    return [(event.wire.client_id, event.data) for event in world.past() if isinstance(event, e.Packet)]


def test_what_is_more_than_the_budget_is_counted_and_marked(loop: asyncio.AbstractEventLoop) -> None:
    world = few(loop)
    sender = Client(world, "sender")
    slices(world, 100)
    for number in range(100):
        sender.say(publish("a", b"%d" % number))
    kept = [entry for entry in world.tape.entries() if entry.data]
    assert 20 < len(kept) < 40
    assert world.tape.unkept == 101 - len(kept)
    slices(world, 1)
    sender.say(publish("a", b"behind"))
    first, *_, packet, last = world.past()
    assert isinstance(first, e.Happening)
    assert isinstance(packet, e.Packet)
    assert isinstance(last, e.Happening)
    assert f"without {world.tape.unkept} reads and writes that were more than is kept" in first.why
    marks = [one.kind for one in world.past() if isinstance(one, e.Happening)]
    assert marks == ["kept", "not kept", "kept again", "kept"]
    assert packet.data.endswith(b"behind")  # it goes on with the next whole packet
    (line,) = joined(world).gaps.told(True)
    assert "more went by than is kept, of everybody" in line


def test_whoever_is_quiet_is_kept_while_another_floods(loop: asyncio.AbstractEventLoop) -> None:
    """The loudest has its gaps first, and hides nothing of what others do."""
    world = World(loop, Tape(rate=200_000, burst=200_000))
    loud = Client(world, "loud")
    readers = [Client(world, f"reader-{number}") for number in range(10)]
    senders = [Client(world, f"sender-{number}") for number in range(10)]
    for number, reader in enumerate(readers):
        reader.say(subscribe(f"to/{number}", qos=1))
    slices(world, 100)
    sent = []
    for number in range(60):
        slices(world, 0.25)
        for _ in range(100):
            loud.say(publish("flood", b"x"))
        at = number % 10
        senders[at].say(publish(f"to/{at}", b"%d" % number, 1, 1))
        readers[at].say(p.Puback(number // 10 + 1))
        sent.append((f"sender-{at}", f"to/{at}"))
    assert world.tape.unkept > 1000
    joiner = joined(world, topic="to/#")
    flows = joiner.publications
    assert [(flow.publisher, flow.topic) for flow in flows] == sent
    assert [leg.state for flow in flows for leg in flow.legs()] == [DONE] * 120
    assert joiner.gaps.clients == ["loud"]
    assert not joiner.gaps.are_of_all


def test_an_identifier_behind_a_gap_is_that_of_another_message(loop: asyncio.AbstractEventLoop) -> None:
    world = few(loop)
    reader, sender = Client(world, "reader"), Client(world, "sender")
    reader.say(subscribe("#", qos=1))
    sender.say(publish("a", b"before", 1, 1))
    for _ in range(50):
        reader.say(p.Pingreq())
    reader.say(p.Puback(1))
    sender.say(publish("a", b"in it", 1, 1))
    slices(world, 50)
    reader.say(p.Puback(2))
    sender.say(publish("a", b"behind", 1, 1))
    acknowledgements = [
        (event.data, event.publication)
        for event in world.past()
        if isinstance(event, e.Packet) and event.to_server and event.data[0] >> 4 == 4
    ]
    assert acknowledgements == [(b"@\x02\x00\x02", 0)]  # nobody saw which message had it
    words = told(world)
    assert words[:2] == ["a", "published by sender #1"]
    assert words[2].startswith("reader QoS 1 #1: what followed was not seen")
    assert words[3:] == [
        *("who else got it is not known", "a", "published by sender #1"),
        "reader QoS 1 #3: waits for PUBACK #3",
    ]


def test_a_topic_alias_may_be_another_behind_a_gap(loop: asyncio.AbstractEventLoop) -> None:
    world = few(loop)
    sender = Client(world, "sender", 5, properties=Properties())
    alias = Properties()
    alias.topic_alias = 1
    sender.say(publish("before", b"1", properties=alias))
    for _ in range(50):
        sender.say(p.Pingreq())
    sender.say(publish("in-it", b"2", properties=alias))
    slices(world, 50)
    sender.say(publish("", b"3", properties=alias))
    assert [flow.topic for flow in joined(world).publications] == ["before", "in-it"]
    for _ in range(50):
        sender.say(p.Pingreq())
    slices(world, 50)
    sender.say(publish("", b"4", properties=alias))
    assert [flow.topic for flow in joined(world).publications] == ["before", "", "in-it"]


def test_an_equal_message_from_before_a_gap_is_not_what_came_behind_it(
    loop: asyncio.AbstractEventLoop,
) -> None:
    world = few(loop)
    reader, sender = Client(world, "reader"), Client(world, "sender")
    sender.say(publish("a", b"same"))
    for _ in range(50):
        sender.say(p.Pingreq())
    reader.say(subscribe("#"))
    slices(world, 50)
    sender.say(publish("a", b"same"))
    assert told(world) == [
        *("a", "published by sender", "no delivery was seen", "who else got it is not known"),
        *("a", "published by sender", "reader QoS 0: got it"),
    ]


def test_where_the_beginning_is_gone_a_gap_may_go_on(loop: asyncio.AbstractEventLoop) -> None:
    world = World(loop, Tape(10, rate=10_000, burst=1000))
    sender = Client(world, "sender")
    for number in range(100):
        world.forward(SLICE / 10)
        sender.say(publish("a", b"%d" % number))
    first, mark, *_ = world.past()
    assert isinstance(mark, e.Happening)
    assert (mark.kind, mark.time, mark.client_id) == ("not kept", first.time, "")


def test_at_an_ordinary_rate_there_is_no_gap(loop: asyncio.AbstractEventLoop) -> None:
    world = World(loop)
    client = Client(world, "me")
    for number in range(3000):
        world.forward(0.001)
        client.say(publish("a", b"%d" % number, 1, 1))
    assert world.tape.unkept == world.tape.lost == 0
    assert len(packets(world)) == 6001


@pytest.mark.parametrize("seed", [*range(20), 173, 1211])
def test_nothing_is_claimed_that_is_not_so(loop: asyncio.AbstractEventLoop, seed: int) -> None:
    run = Run(loop, seed)
    joiner = joined(run)
    for flow in joiner.publications:
        number = flow.payload.decode() or flow.topic.removeprefix("t/")
        if not number.isdigit():
            continue  # dropped, on a topic that many have, and nobody saw the message
        assert flow.topic in ("", run.topics[number])
        words = fate_words(flow, True, gaps=joiner.gaps)
        assert flow.incoming is None or holds_of_publisher(run, flow.incoming, number), words
        for leg in flow.deliveries:
            assert holds_of_receiver(run, leg, number), words
        receivers = {who for who, what in run.got if what == number}
        missing = receivers - {leg.client_id for leg in flow.deliveries}
        if missing and flow.incoming is not None:
            assert "got it is not known" in words[-1], (missing, words)
