"""What is recorded of any run of the simulation is what crossed its wires, and what its ledger knows."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.testing import Watcher, Wire
from curier.topics.filters import matches
from curier.trace import events as e
from tests.simulation.test_simulation import World

Sent = dict[tuple[str, bool], list[p.Packet]]
"""Packets by the address of their client, and direction."""


class OnWires(Watcher):
    """All that was sent, by whoever let go of it."""

    def __init__(self) -> None:
        self.packets: Sent = defaultdict(list)

    def packet(self, wire: Wire, from_client: bool, packet: p.Packet) -> None:
        self.packets[f"{wire.client.client_id}:{wire.number}", from_client].append(packet)


class TracedWorld(World):
    """The world, looked on at; ``topic`` is what is chosen."""

    topic: str | None = None

    def begun(self) -> None:
        self.on_wires = OnWires()
        self.network.watchers.append(self.on_wires)
        self.trace = self.network.trace(topic=self.topic)

    def teardown(self) -> None:
        if not hasattr(self, "trace"):
            return
        super().teardown()
        events = self.trace.take()
        assert not any(isinstance(event, e.Missed) for event in events)
        self.check_packets(events)
        publications = self.check_publications(events)
        self.check_deliveries(events, publications)

    def check_packets(self, events: list[e.Event]) -> None:
        """The broker has seen what it was sent, as far as that arrived, and sent what the wires have seen, as
        far as they were there.
        """
        recorded: Sent = defaultdict(list)
        for event in events:
            if isinstance(event, e.Packet):
                packet = decode(event.data, 0, len(event.data), event.wire.version)
                recorded[event.wire.client_address, event.to_server].append(packet)
        for key in recorded.keys() | self.on_wires.packets.keys():
            seen, sent = recorded[key], self.on_wires.packets[key]
            if self.topic is not None:
                assert [one for one in seen if not _may_belong(one)] == []
                seen = [one for one in seen if isinstance(one, p.Publish)]
                sent = [one for one in sent if isinstance(one, p.Publish) and self.is_chosen(one)]
            shorter = min(len(seen), len(sent))
            assert seen[:shorter] == sent[:shorter]
            assert len(seen) <= len(sent) if key[1] else len(seen) >= len(sent)

    def is_chosen(self, publish: p.Publish) -> bool:
        """By the topic of its message, since there may be an alias in its place."""
        assert self.topic is not None
        return matches(self.topic.encode(), self.ledger.sent[int(publish.payload)].topic.encode())

    def check_publications(self, events: list[e.Event]) -> dict[int, int]:
        """One number for each message that was taken, on all its ways; returns which message that was."""
        messages: dict[int, int] = {}
        for event in events:
            if isinstance(event, e.Packet) and event.data[0] >> 4 == 3:
                assert event.publication, event
                packet = decode(event.data, 0, len(event.data), event.wire.version)
                assert isinstance(packet, p.Publish)
                message = int(packet.payload)
                assert messages.setdefault(event.publication, message) == message
        taken = [event for event in events if isinstance(event, e.Happening) and event.kind == e.PUBLISHED]
        assert len({event.publication for event in taken}) == len(taken)
        for event in taken:
            sent = self.ledger.sent[messages[event.publication]]
            assert (event.client_id, event.topic) == (sent.publisher.client_id, sent.topic)
        known = {messages[event.publication] for event in taken}
        for sent in self.ledger.sent:
            if sent.is_accepted and (self.topic is None or matches(self.topic.encode(), sent.topic.encode())):
                assert sent.number in known
        return messages

    def check_deliveries(self, events: list[e.Event], messages: dict[int, int]) -> None:
        """What was delivered has arrived; and where everything is at rest, nothing that was sent or queued
        for a session that is still there is without its end.
        """
        open_legs: dict[tuple[str, int], str] = {}
        delivered: set[tuple[str, int]] = set()
        for event in events:
            if isinstance(event, e.Packet):
                if event.data[0] >> 4 == 3 and event.data[0] & 6 and not event.to_server:
                    open_legs[event.wire.client_id, event.publication] = "sent"
            elif isinstance(event, e.Happening):
                leg = (event.client_id, event.publication)
                if event.kind == e.QUEUED:
                    open_legs[leg] = "queued"
                elif event.kind in (e.DELIVERED, e.DROPPED, e.EXPIRED):
                    open_legs.pop(leg, None)
                    if event.kind == e.DELIVERED:
                        delivered.add(leg)
                elif event.kind == e.SESSION_ENDED:
                    for other in [one for one in open_legs if one[0] == event.client_id]:
                        del open_legs[other]
        if self.topic is None:
            assert open_legs == {}
        for client_id, publication in delivered:
            person = self.ledger.persons.get(client_id)
            if person is None or self.ledger.diverged or client_id in self.ledger.robbed:
                continue  # what it got was not its own, or another client by its name did
            sent = self.ledger.sent[messages[publication]]
            if sent.qos and any(receipt.sent is sent and receipt.qos for receipt in person.receipts):
                continue
            assert not sent.qos or self.was_qos_0(events, client_id, publication)

    def was_qos_0(self, events: list[e.Event], client_id: str, publication: int) -> bool:
        """Was it sent to this client at QoS 0, so that it may have been lost on its way?"""
        return any(
            isinstance(event, e.Packet)
            and not event.to_server
            and event.publication == publication
            and event.wire.client_id == client_id
            and event.data[0] >> 4 == 3
            and not event.data[0] & 6
            for event in events
        )


class TopicWorld(TracedWorld):
    """One topic is chosen, and its clients with it when they meet it."""

    topic = "n/0"


class DurableTracedWorld(TracedWorld):
    """With answers that wait for the disk; a crash would take what was recorded with it."""

    durable = True

    def crash(self, **_: object) -> None:
        """None here."""


def _may_belong(packet: p.Packet) -> bool:
    return isinstance(packet, (p.Publish, p.Puback, p.Pubrec, p.Pubrel, p.Pubcomp))


@pytest.mark.parametrize("world", [TracedWorld, TopicWorld, DurableTracedWorld])
def test_a_recording_is_what_happened(world: type[TracedWorld]) -> None:
    run_state_machine_as_test(world, settings=settings(stateful_step_count=25, max_examples=15))
