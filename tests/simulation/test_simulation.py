"""Random clients, wires and crashes around one broker; a ledger checks what MQTT promises at every step."""

from __future__ import annotations

from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from curier.broker.attaching import BYTES_AT_ONCE
from curier.broker.options import Options
from curier.codec.packets import Connect
from curier.protocol.events import MessageReceived
from curier.testing import Network, SimulatedClient
from tests.simulation.ledger import SHARED, Ledger, Person

NAMES = ("ana", "ben", "cleo")
TOPICS = ("n/0", "n/1", "n/0/1", "s/0", "s/1")
LARGE = "l" * (BYTES_AT_ONCE + 1)  # a session that has it is taken out of the table by and by
FILTERS = (
    *("n/0", "n/1", "n/+", "n/#", "n/0/#", "r/+", "$share/g/s/0", "$share/g/s/+", "$share/h/s/#"),
    LARGE,
)
NEVER = 10**9  # a session of 3.1 and 3.1.1 that lasts

names = st.sampled_from(NAMES)
qos = st.sampled_from([0, 1, 2, 2])
small = st.sampled_from([1, 2, 3, 100])
three = st.tuples(*[st.integers(0, 3)] * 3)
moments = st.sampled_from([0.3, 0.7, 1.2, 1.7, 2.2, 3.2, 5.0])  # in latencies: within and beyond a round trip
notices = st.sampled_from([0.0, 0.0, 0.5, 2.0, 20.0, None])


class World(RuleBasedStateMachine):
    """Three persons and a broker without a disk."""

    durable = False

    @initialize(
        seed=st.integers(0, 2**32),
        splits=st.booleans(),
        latency=st.sampled_from([0.01, 0.1, 1.0]),
        maximums=st.tuples(small, small, small, small),
        retry=st.sampled_from([0.0, 3.0]),
        versions=three,
        lasting=three,
        granted=st.tuples(*[st.sampled_from([None, 0, 1, 2, 2, 2])] * 3),
        shares=st.tuples(*[st.booleans()] * 3),
    )
    def begin(
        self,
        seed: int,
        splits: bool,
        latency: float,
        maximums: tuple[int, ...],
        retry: float,
        versions: tuple[int, ...],
        lasting: tuple[int, ...],
        granted: tuple[int | None, ...],
        shares: tuple[bool, ...],
    ) -> None:
        options = Options()
        options.sys_interval = 0.0
        options.packet_timeout = 0.0  # what a cut leaves of a packet is not what this is about
        options.receive_maximum, options.max_inflight = maximums[:2]
        options.retry_interval = retry
        self.latency = latency
        self.network = Network(
            options,
            random=Random(seed),
            latency=(latency / 2, latency),
            splits=splits,
            durable=self.durable,
            disk_latency=(0.0, latency),
        )
        self.ledger = Ledger(self.network)
        for name, number, choice in zip(NAMES, versions, lasting, strict=True):
            version = (5, 5, 4, 3)[number]
            lasts = (0, 10, 1000, 1000)[choice]
            if lasts and version != 5:
                lasts = NEVER
            Person(self.ledger, name, version, lasts, *maximums[2:]).connect(False)
        self.network.run(10)
        for name, most, is_member in zip(NAMES, granted, shares, strict=True):
            if most is not None:
                self.person(name).ask("n/#", most)
            if is_member:
                self.person(name).ask("$share/g/s/+", 2)
        self.network.run(10)
        self.begun()

    def begun(self) -> None:
        """Everybody is there."""

    def person(self, name: str) -> Person:
        return self.ledger.persons[name]

    # ---- what persons do ----

    @rule(name=names, topic=st.sampled_from(TOPICS), qos=qos, count=st.integers(1, 5))
    def publish(self, name: str, topic: str, qos: int, count: int) -> None:
        for _ in range(count):
            self.ledger.publish(self.person(name), topic, qos, False)

    @rule(name=names)
    def publish_retained(self, name: str) -> None:
        self.ledger.publish(self.person(name), f"r/{name}", 1, True)

    @rule(name=names, topic_filter=st.sampled_from(FILTERS), qos=qos)
    def subscribe(self, name: str, topic_filter: str, qos: int) -> None:
        if self.person(name).is_connected:
            is_shared = topic_filter.startswith(SHARED)
            self.person(name).ask(topic_filter, max(qos, 1) if is_shared else qos)

    @rule(name=names, index=st.integers(0, 20), waits=st.booleans())
    def unsubscribe(self, name: str, index: int, waits: bool) -> None:
        person = self.person(name)
        if person.is_connected:
            possible = sorted(person.possible) or ["never/made"]
            person.ask_no_more(possible[index % len(possible)])
            if waits:
                self.network.run(2.5 * self.latency)

    @rule(name=names, clean=st.integers(0, 5), moment=moments)
    def connect(self, name: str, clean: int, moment: float) -> None:
        """Connect, or connect anew: the last connection is closed, or taken over."""
        self.person(name).connect(clean == 5)
        self.network.run(moment * self.latency)

    @rule(name=names)
    def close(self, name: str) -> None:
        self.person(name).close()

    @rule(name=names, publisher=names, qos=qos, moment=moments, loses=st.booleans(), noticed=st.booleans())
    def interrupt(
        self, name: str, publisher: str, qos: int, moment: float, loses: bool, noticed: bool
    ) -> None:
        """A connection breaks while messages are on their way, and the client comes back."""
        for _ in range(3):
            self.ledger.publish(self.person(publisher), "n/0", qos, False)
        self.network.run(moment * self.latency)
        self.person(name).cut(None, 0.0 if noticed else None, loses)
        self.person(name).connect(False)
        self.network.run(2.5 * self.latency)

    # ---- what happens to them ----

    @rule(name=names, client=notices, broker=notices, loses=st.booleans())
    def cut(self, name: str, client: float | None, broker: float | None, loses: bool) -> None:
        self.person(name).cut(client, broker, loses)

    @rule(moment=moments)
    def pass_moment(self, moment: float) -> None:
        self.network.run(moment * self.latency)

    @rule(seconds=st.sampled_from([5.0, 15.0, 60.0, 300.0]))
    def pass_time(self, seconds: float) -> None:
        self.network.run(seconds)

    @rule(name=names, publisher=names, topic=st.sampled_from(["n/0", "s/0"]), qos=qos, moment=moments)
    def steal(self, name: str, publisher: str, topic: str, qos: int, moment: float) -> None:
        """Another client comes by the same Client Identifier, with a session that ends with it."""
        if self.person(name).version == 3:
            return  # it could not be told that its session is gone
        for _ in range(3):
            self.ledger.publish(self.person(publisher), topic, qos, False)
        self.network.run(moment * self.latency)
        stranger = SimulatedClient(self.network, name)
        stranger.open(Connect(5, name))
        self.network.run_until(lambda: stranger.is_connected or stranger.wire is None)
        self.network.run(moment * self.latency)
        stranger.close()
        self.network.clients.remove(stranger)

    @precondition(lambda self: self.durable)
    @rule(publisher=names, qos=qos, moment=moments, keeps_open_batch=st.booleans(), comes_back=st.booleans())
    def crash(
        self, publisher: str, qos: int, moment: float, keeps_open_batch: bool, comes_back: bool
    ) -> None:
        """The broker crashes while messages are on their way."""
        for _ in range(3):
            self.ledger.publish(self.person(publisher), "n/0", qos, False)
        self.network.run(moment * self.latency)
        self.network.broker.crash(keeps_open_batch)
        self.network.run(2 * self.latency)
        self.network.broker.restart()
        self.restarted()
        if comes_back:
            for person in self.ledger.persons.values():
                person.connect(False)
            self.network.run(2.5 * self.latency)

    def restarted(self) -> None:
        """The broker is another one now."""
        self.ledger.restarted()

    # ---- the end ----

    def teardown(self) -> None:
        """Let everything come to rest, twice: as it stands, and with everybody connected."""
        if not hasattr(self, "ledger"):
            return
        persons = list(self.ledger.persons.values())
        self.settle()
        self.ledger.check_arrivals([person for person in persons if person.is_connected])
        for person in persons:
            if not person.is_connected:
                person.connect(False)
        self.settle()
        assert all(person.is_connected for person in persons)
        assert all(self.is_idle(person) for person in persons)
        self.ledger.check_arrivals(persons)
        for person in persons:
            there = self.network.broker.core.sessions[person.client_id]
            assert set(person.held) <= {one.decode() for one in there.subscriptions} <= person.possible
        self.check_retained()

    def settle(self) -> None:
        """Run until nothing more happens: one message after the other, where the limits are so."""
        for _ in range(30):
            self.network.run(100)
            if all(self.is_idle(person) for person in self.ledger.persons.values() if person.is_connected):
                return

    def is_idle(self, person: Person) -> bool:
        """Has this client nothing unfinished, here and there?"""
        there = self.network.broker.core.sessions[person.client_id]
        return not any(
            session.outgoing.unfinished() or session.incoming.identifiers
            for session in (person.session, there)
        )

    def check_retained(self) -> None:
        observer = SimulatedClient(self.network, "observer")
        observer.open()
        self.network.run(5)
        observer.begin_subscribe([("r/+", 0)])
        self.network.run(5)
        found = {
            event.publish.topic: int(event.publish.payload)
            for event in observer.events
            if isinstance(event, MessageReceived)
        }
        for name in NAMES:
            assert found.get(f"r/{name}", -1) in self.ledger.possible_retained(f"r/{name}")


class DurableWorld(World):
    """Three persons and a broker with a disk, which crashes now and then."""

    durable = True


@pytest.mark.statement(
    "5.0/MQTT-2.2.1-3", "5.0/MQTT-2.2.1-4", "3.1.1/MQTT-2.3.1-2", "3.1.1/MQTT-2.3.1-4", "5.0/MQTT-3.1.2-4",
    "5.0/MQTT-3.1.2-5", "3.1.1/MQTT-3.1.2-4", "3.1.1/MQTT-3.1.2-5", "3.1.1/MQTT-3.1.2-6", "5.0/MQTT-3.2.2-3",
    "3.1.1/MQTT-3.2.2-2", "3.1.1/MQTT-3.2.2-3", "5.0/MQTT-3.3.4-7", "5.0/MQTT-3.3.4-9", "5.0/MQTT-4.1.0-2",
    "5.0/MQTT-4.4.0-1", "3.1.1/MQTT-4.4.0-1", "5.0/MQTT-4.5.0-1", "3.1.1/MQTT-4.5.0-1", "5.0/MQTT-4.6.0-5",
    "3.1.1/MQTT-4.6.0-6", "5.0/MQTT-4.8.2-4", "5.0/MQTT-4.8.2-5", "5.0/MQTT-4.3.3-10",
    "3.1.1/MQTT-4.3.3-1", "3.1.1/MQTT-4.3.3-2",
)  # fmt: skip
@pytest.mark.parametrize("world", [World, DurableWorld])
def test_promises_are_kept(world: type[World]) -> None:
    run_state_machine_as_test(world, settings=settings(stateful_step_count=40))
