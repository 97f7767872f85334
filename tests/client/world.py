"""Two programs with their sessions on disk, and a broker with its own, of which anything may die at any time.

One program publishes numbered messages, the other takes them. Both drive the core as a client does: what is
published is kept before it is accepted, what is taken is in the journal before the application has it, and it
is written before anything is sent. The ledgers are those of the applications: what was accepted, what was
refused, what was taken, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

from curier.broker.options import Options
from curier.client.session import Session, StoredSession
from curier.codec.constants import MQTT_50
from curier.codec.packets import Connect, Packet, Publish
from curier.codec.properties import Properties
from curier.errors import StoreError
from curier.protocol.client import ClientConnection
from curier.protocol.events import Connected, Event, MessageReceived, Published
from curier.session.message import ApplicationMessage
from curier.testing import Network, SimulatedClient, Watcher
from curier.testing.wire import Wire
from tests.client.disk import Disk, DiskStore

T = TypeVar("T")


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")


class Program(SimulatedClient):
    """One life of a program; ``disk`` is all that the next one knows of it."""

    def __init__(
        self, network: Network, name: str, version: int, disk: Disk, settings: dict[str, int]
    ) -> None:
        self.disk = disk
        self.store = DiskStore(network, disk, 0.3)
        self.keeper: Session = StoredSession(self.store)
        state = finished(self.keeper.open(name))
        super().__init__(network, name, version, state, manual_acks=True, **settings)
        self.keeper.on_committed = self._committed

    def call(self) -> None:
        """Connect, with the session that the disk knows of, if any."""
        properties = None
        if self.version == MQTT_50:
            properties = Properties()
            properties.session_expiry_interval = 0xFFFFFFFF
        # Before 5.0, Clean Session would end the session with this connection; and there is none anyway.
        clean = self.version == MQTT_50 and not self.keeper.server
        self.open(Connect(self.version, self.client_id, clean, 30, None, None, None, properties))

    def die(self, loses_power: bool) -> int:
        """``kill -9``, or a loss of power; how many pieces are left on the disk."""
        self.store.is_dead = True
        self.network.clients.remove(self)
        wire, self.wire = self.wire, None
        if wire is not None:
            if loses_power:
                wire.cut(None, 20.0)
            else:
                wire.to_broker.close()  # by the system; what was sent may arrive
        return self.disk.lose_power(self.network.random) if loses_power else len(self.disk.pieces)

    def _committed(self, number: int) -> None:
        if not self.store.is_dead:
            self.connection.release(number, self.network.now)
            self.flush()

    def flush(self) -> None:
        for event in self.connection.take_events():
            self.happened(event)
        number = self.keeper.write()
        self.connection.release(number, self.network.now)
        super().flush()

    def happened(self, event: Event) -> None:
        if isinstance(event, Connected):
            assert event.session_present or not self.keeper.server
            self.keeper.met("the broker")


class Publisher(Program):
    """Publishes; ``accepted`` maps each message to the pieces that were on the disk then."""

    accepted: dict[int, int]
    refused: set[int]
    completed: set[int]

    def say(self, number: int, qos: int) -> None:
        connection: ClientConnection = self.connection
        message = ApplicationMessage(b"t/%d" % qos, b"%d" % number, qos, False)
        entry, layout = connection.prepare(message, self.network.now)
        try:
            self.keeper.keep(entry)
        except StoreError:
            self.refused.add(number)
            return
        self.accepted[number] = len(self.disk.pieces)
        connection.submit(entry, layout, self.network.now)

    def happened(self, event: Event) -> None:
        super().happened(event)
        if isinstance(event, Published):
            assert event.reason_code == 0, f"0x{event.reason_code:02X} {event.reason_string}"
            self.completed.add(int(event.entry.message.payload))


class Item:
    """A message that waits to be taken; ``wire`` is the one to acknowledge it on."""

    def __init__(self, publish: Publish, wire: Wire | None) -> None:
        self.publish = publish
        self.wire = wire
        self.is_taken = False


class Taker(Program):
    """Takes what comes; ``taken`` has the messages in order, with the pieces on the disk behind each."""

    taken: list[tuple[int, int, int]]  # QoS, number, pieces

    def __init__(
        self, network: Network, name: str, version: int, disk: Disk, settings: dict[str, int]
    ) -> None:
        super().__init__(network, name, version, disk, settings)
        self.buffer: deque[Item] = deque()
        self.unfinished: dict[int, Item] = {}

    def happened(self, event: Event) -> None:
        super().happened(event)
        if isinstance(event, MessageReceived):
            publish = event.publish
            known = self.unfinished.get(publish.packet_id)
            if known is not None and publish.dup and not known.is_taken:
                known.wire = self.wire  # it came before, and still waits
                return
            item = self.unfinished[publish.packet_id] = Item(publish, self.wire)
            self.buffer.append(item)

    def take(self) -> None:
        """The application takes one message."""
        item = self.buffer.popleft()
        item.is_taken = True
        packet_id = item.publish.packet_id
        if item.wire is not None and item.wire is self.wire and self.is_connected:
            assert self.connection.acknowledge(packet_id, self.network.now)
            self.keeper.write()
        elif item.publish.qos == 2:
            self.keeper.took(packet_id)
        self.taken.append((item.publish.qos, int(item.publish.payload), len(self.disk.pieces)))
        self.flush()


class Order(Watcher):
    """Sees to it that what is sent again is so in its first order, and before what is new [MQTT-4.6.0-1].

    A QoS 1 message that its publisher sends again is another one to the broker: it is left out from then on.
    """

    def __init__(self, broker_repeats: bool) -> None:
        self.broker_repeats = broker_repeats  # PUBLISH packets on the same connection, before 5.0
        self.places: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})  # from the broker, from clients
        self.last: dict[tuple[Wire, bool], int] = {}
        self.repeated: set[bytes] = set()

    def packet(self, wire: Wire, from_client: bool, packet: Packet) -> None:
        if not isinstance(packet, Publish):
            return
        places, payload = self.places[from_client], packet.payload
        if from_client and packet.qos == 1 and payload in places:
            self.repeated.add(payload)
        if not from_client and (self.broker_repeats or payload in self.repeated):
            return
        place = places.setdefault(payload, len(places))
        last = self.last.get((wire, from_client), -1)
        assert place > last, f"message {payload!r} was sent again behind one that first came later"
        self.last[wire, from_client] = place


class World:
    """One schedule of accidents; ``run`` it, then ``check`` the ledgers."""

    def __init__(self, seed: int, *, can_lose_power: bool = True) -> None:
        self.dice = dice = Random(seed)
        self.can_lose_power = can_lose_power
        options = Options()
        options.sys_interval = 0.0
        options.max_inflight = dice.choice((1, 3, 100))
        options.retry_interval = dice.choice((0.0, 3.0))
        self.network = Network(
            options,
            random=dice,
            latency=(0.0, dice.choice((0.01, 0.1, 1.0))),
            splits=dice.random() < 0.5,
            durable=True,
            disk_latency=(0.0, 0.3),
        )
        self.network.watchers.append(Order(options.retry_interval > 0))
        self.versions = dice.choices((3, 4, 5, 5), k=2)
        self.settings = {"max_inflight": dice.choice((1, 2, 100))}
        self.accepted: dict[int, int] = {}
        self.lost: set[int] = set()  # with the power, before they were durable
        self.refused: set[int] = set()
        self.completed: set[int] = set()
        self.taken: list[tuple[int, int, int]] = []
        self.doubtful: set[int] = set()  # taken, but the power went before that was durable
        self.numbers = 0
        self.accidents = 0
        self.publisher = self._publisher(Disk())
        self.taker = self._taker(Disk())
        self._begin()

    def _publisher(self, disk: Disk) -> Publisher:
        publisher = Publisher(self.network, "publisher", self.versions[0], disk, self.settings)
        publisher.accepted, publisher.refused = self.accepted, self.refused
        publisher.completed = self.completed
        return publisher

    def _taker(self, disk: Disk) -> Taker:
        taker = Taker(self.network, "taker", self.versions[1], disk, {})
        taker.taken = self.taken
        return taker

    def _begin(self) -> None:
        self.taker.call()
        self.network.run(10)
        self.taker.begin_subscribe([("t/#", 2)])
        self.network.run(10)

    # ---- what happens ----

    def run(self, steps: int) -> None:
        kinds = (self.say, self.take, self.wait, self.call, self.cut, self.kill_publisher, self.kill_taker)
        weights = (6, 5, 6, 4, 1, 1, 1, 1, 0.3)
        for _ in range(steps):
            self.dice.choices((*kinds, self.kill_broker, self.fill_disk), weights)[0]()
        self.settle()

    def say(self) -> None:
        qos = self.dice.choice((1, 2, 2))
        for _ in range(self.dice.randint(1, 4)):
            self.numbers += 1
            self.publisher.say(self.numbers, qos)
        if self.dice.random() < 0.8:
            self.publisher.flush()  # or it dies before that

    def take(self) -> None:
        for _ in range(self.dice.randint(1, 4)):
            if self.taker.buffer:
                self.taker.take()

    def wait(self) -> None:
        self.network.run(self.dice.choice((0.01, 0.1, 0.5, 2.0)))

    def call(self) -> None:
        if self.network.broker.is_running:
            for program in (self.publisher, self.taker):
                if not program.is_connected:
                    program.call()

    def cut(self) -> None:
        self.accidents += 1
        program = self.dice.choice((self.publisher, self.taker))
        program.cut(self.dice.choice((0.0, 1.0)), self.dice.choice((0.0, 1.0)), self.dice.random() < 0.5)

    def kill_publisher(self) -> None:
        self.accidents += 1
        self.publisher.disk.is_full = False
        left = self.publisher.die(self._loses_power())
        self.lost.update(number for number, pieces in self.accepted.items() if pieces > left)
        self.publisher = self._publisher(self.publisher.disk)
        for number, pieces in self.accepted.items():
            self.accepted[number] = min(pieces, left)

    def kill_taker(self) -> None:
        self.accidents += 1
        left = self.taker.die(self._loses_power())
        self.doubtful.update(number for _, number, pieces in self.taken if pieces > left)
        self.taken[:] = [(qos, number, min(pieces, left)) for qos, number, pieces in self.taken]
        self.taker = self._taker(self.taker.disk)

    def _loses_power(self) -> bool:
        return self.can_lose_power and self.dice.random() < 0.4

    def kill_broker(self) -> None:
        self.accidents += 1
        self.network.broker.crash(self.dice.random() < 0.5)
        self.network.run(self.dice.choice((0.0, 1.0)))
        self.network.broker.restart()

    def fill_disk(self) -> None:
        """The publisher's disk is full, or is so no more."""
        self.publisher.disk.is_full = not self.publisher.disk.is_full

    # ---- the end ----

    def settle(self) -> None:
        """No more accidents: everything arrives and is taken."""
        self.publisher.disk.is_full = False
        for _ in range(200):
            self.call()
            self.network.run(30)
            while self.taker.buffer:
                self.taker.take()
            if self._is_idle():
                return
        raise AssertionError("it does not come to rest")

    def _is_idle(self) -> bool:
        here = (self.publisher.session, self.taker.session)
        there = [self.network.broker.core.sessions.get(name) for name in ("publisher", "taker")]
        return all(
            session is not None and not session.outgoing.unfinished() and not session.incoming.identifiers
            for session in (*here, *there)
        )

    def check(self) -> None:
        """Is every promise kept?"""
        taken: dict[int, list[int]] = {1: [], 2: []}
        for qos, number, _ in self.taken:
            taken[qos].append(number)
        everything = {number for _, number, _ in self.taken}
        assert not everything & self.refused, "a message was delivered that was not accepted"
        assert everything >= set(self.accepted) - self.lost, "an accepted message never arrived"
        assert everything >= self.completed, "a completed message never arrived"
        for number in set(taken[2]) - self.doubtful:
            assert taken[2].count(number) == 1, f"QoS 2 message {number} came twice"
        for numbers in taken.values():
            first = list(dict.fromkeys(numbers))
            assert first == sorted(first), f"out of order: {first}"
        for program in (self.publisher, self.taker):  # and nothing is left on the disks
            again = finished(StoredSession(DiskStore(self.network, program.disk, 0.0)).open(""))
            assert not again.outgoing.unfinished()
            assert not again.incoming.identifiers
