"""Any run, traced, has flows whose deliveries, drops and re-sends are those that clients and wires know."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from curier.broker.options import Options
from curier.codec.packets import Packet as ControlPacket
from curier.codec.packets import Publish
from curier.testing import Pair
from curier.testing.wire import Watcher
from curier.testing.wire import Wire as SimulatedWire
from curier.trace.events import Event, Packet
from curier.trace.flows import DONE, LOST
from curier.trace.joining import Joiner

MESSAGES = 40


class Book(Watcher):
    """How often the broker has sent each message to each client, by its payload."""

    def __init__(self, pair: Pair) -> None:
        self.sent: Counter[tuple[str, bytes]] = Counter()
        pair.watchers.append(self)

    def packet(self, wire: SimulatedWire, from_client: bool, packet: ControlPacket) -> None:
        if isinstance(packet, Publish) and not from_client:
            self.sent[wire.client.client_id, packet.payload] += 1


class Run:
    """Three publishers and three subscribers on lines that break; in the end all is delivered, or dropped."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        options = Options()
        options.sys_interval = 0.0
        options.max_queued_messages = random.choice([5, 1000])
        pair = Pair(options, random=random, latency=(0.001, 0.05), splits=True, durable=random.random() < 0.5)
        self.book = Book(pair)
        trace = pair.trace()
        self.subscribers = [pair.connect(f"sub-{n}", session_expiry_interval=9999) for n in range(3)]
        for client in self.subscribers:
            client.subscribe("t/#", qos=random.choice([1, 2]))
        publishers = [pair.connect(f"pub-{n}", session_expiry_interval=9999) for n in range(3)]
        everybody = [*self.subscribers, *publishers]
        self.sent = [b"%d" % number for number in range(MESSAGES)]
        for payload in self.sent:
            random.choice(publishers).publish("t/x", payload, qos=random.choice([1, 2]))
            pair.run(random.choice([0, 0, 0.01, 0.5]))
            if random.random() < 0.3:
                random.choice(everybody).cut(loses_what_is_on_its_way=random.random() < 0.7)
            for client in everybody:
                if not client.is_connected and random.random() < 0.3:
                    client.reconnect()
        pair.run(1)
        for client in everybody:
            if not client.is_connected:
                client.reconnect()
        pair.run(120)
        self.events = trace.take()
        self.received = {
            (client.client_id, message.payload) for client in self.subscribers for message in client.messages
        }

    def joined(self, events: list[Event]) -> Joiner:
        joiner = Joiner()
        for event in events:
            joiner.feed(event)
        return joiner


@pytest.mark.parametrize("seed", range(12))
def test_deliveries_drops_and_resends_are_those_of_the_run(seed: int) -> None:
    run = Run(seed)
    flows = run.joined(run.events).publications
    assert sorted(flow.payload for flow in flows) == sorted(run.sent)
    assert all(flow.is_finished for flow in flows)
    for flow in flows:
        for client in run.subscribers:
            key = (client.client_id, flow.payload)
            legs = [leg for leg in flow.deliveries if leg.client_id == client.client_id]
            assert len(legs) == 1 + len(flow.again)  # what was published twice is delivered twice
            assert sum(leg.sends for leg in legs) == run.book.sent[key]
            assert (DONE in {leg.state for leg in legs}) == (key in run.received)
            assert all(leg.state == DONE or (leg.state == LOST and leg.why) for leg in legs)


@pytest.mark.parametrize("seed", range(12))
def test_the_wire_alone_says_the_same_of_what_was_sent(seed: int) -> None:
    run = Run(seed)
    wire = [replace(event, publication=0) for event in run.events if isinstance(event, Packet)]
    flows = run.joined([*wire]).publications
    assert {flow.payload for flow in flows} == {*run.sent}
    sends: Counter[tuple[str, bytes]] = Counter()
    for flow in flows:
        for leg in flow.deliveries:
            sends[leg.client_id, flow.payload] += leg.sends
    assert sends == run.book.sent
