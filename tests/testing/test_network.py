"""The simulated network: virtual time, wires, cuts, crashes of the broker, the same run for the same seed."""

from __future__ import annotations

from random import Random

import pytest

from curier.broker.core import BrokerCore
from curier.broker.effects import Answer
from curier.broker.options import Options
from curier.codec.packets import Connect, Packet, Pingreq, Publish
from curier.codec.properties import Properties
from curier.protocol.events import Connected, Disconnected, MessageReceived
from curier.session.message import ApplicationMessage
from curier.session.records import Batch
from curier.testing import Network, SimulatedClient, Watcher, Wire
from curier.testing.broker import default_restore


class Log(Watcher):
    """Writes down what is sent."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.lines: list[tuple[float, str, bool, str]] = []
        network.watchers.append(self)

    def packet(self, wire: Wire, from_client: bool, packet: Packet) -> None:
        self.lines.append((self.network.now, wire.client.client_id, from_client, repr(packet)))

    def kinds(self) -> list[str]:
        return [line[3].partition("(")[0] for line in self.lines]


def lasting(client_id: str, version: int = 5) -> Connect:
    """A CONNECT for a session that outlives its connection."""
    properties = Properties()
    properties.session_expiry_interval = 1000
    return Connect(version, client_id, False, 0, None, None, None, properties if version == 5 else None)


def message(payload: bytes, qos: int, topic: bytes = b"a") -> ApplicationMessage:
    return ApplicationMessage(topic, payload, qos, False)


def received(client: SimulatedClient) -> list[bytes]:
    return [event.publish.payload for event in client.events if isinstance(event, MessageReceived)]


def ended(client: SimulatedClient) -> list[str]:
    return [event.why for event in client.events if isinstance(event, Disconnected)]


def story(seed: int) -> list[tuple[float, str, bool, str]]:
    network = Network(
        random=Random(seed), latency=(0.0, 0.3), splits=True, durable=True, disk_latency=(0.0, 0.2)
    )
    log = Log(network)
    clients = [SimulatedClient(network, name) for name in ("ana", "ben")]
    for client in clients:
        client.open(lasting(client.client_id))
    network.run(2)
    clients[0].begin_subscribe([("a/#", 2)])
    network.run(1)
    for number in range(5):
        clients[1].begin_publish(message(b"%d" % number, number % 3, b"a/b"))
        network.run(0.1)
    clients[0].cut(broker_notices=0.5)
    network.run(1)
    clients[0].open(lasting("ana"))
    network.run(3)
    return log.lines


def test_the_same_seed_gives_the_same_run() -> None:
    assert story(1) == story(1)
    assert story(1) != story(2)


def test_latency_and_order_of_calls() -> None:
    network = Network(latency=0.25)
    calls: list[str] = []
    network.call_later(2, lambda: calls.append("late"))
    network.call_later(1, lambda: calls.append("first"))
    network.call_later(1, lambda: calls.append("second"))
    network.call_at(network.now - 5, lambda: calls.append("at once"))
    network.run(1)
    assert calls == ["at once", "first", "second"]
    client = SimulatedClient(network, "me")
    began = network.now
    client.open()
    network.run_until(lambda: client.is_connected)
    assert network.now == began + 0.5
    assert calls == ["at once", "first", "second"]
    network.run(1)
    assert calls[-1] == "late"


def test_waiting_for_what_does_not_come() -> None:
    network = Network()
    began = network.now
    with pytest.raises(TimeoutError):
        network.run_until(lambda: False, seconds=5)
    assert network.now == began + 5


def test_bytes_arrive_in_order_and_in_pieces() -> None:
    network = Network(random=Random(3), latency=(0.0, 1.0), splits=True)
    client = SimulatedClient(network, "me")
    pieces: list[bytes] = []
    wire = Wire(network, client, network.broker, network.watchers)
    wire.to_broker.deliver = pieces.append
    sent = bytes(range(200))
    wire.to_broker.send(sent[:120])
    wire.to_broker.send(sent[120:])
    network.settle()
    assert b"".join(pieces) == sent
    assert len(pieces) > 2


def test_watchers_see_packets_of_both_sides() -> None:
    network = Network(latency=0.1)
    log = Log(network)
    client = SimulatedClient(network, "me")
    client.open(Connect(5, "me", True, 10))
    network.run(15)
    assert log.kinds() == ["Connect", "Connack", "Pingreq", "Pingresp"]
    assert [line[2] for line in log.lines] == [True, False, True, False]
    assert repr(Pingreq()) == log.lines[2][3]


def test_opening_again_closes_the_last_connection() -> None:
    network = Network(latency=0.1)
    client = SimulatedClient(network, "me")
    client.open()
    network.settle()
    client.open()
    assert ended(client) == ["the Network Connection was lost"]
    network.settle()
    assert client.is_connected
    assert len(network.broker.core.connections) == 1


def test_closing() -> None:
    network = Network(latency=0.1)
    client = SimulatedClient(network, "me")
    client.open()
    network.settle()
    client.close()
    client.close()
    network.settle()
    assert ended(client) == ["this client disconnected"]
    assert network.broker.core.sessions == {}
    client.cut()
    network.settle()
    assert len(ended(client)) == 1


def test_a_goodbye_can_be_lost() -> None:
    network = Network(latency=1.0)
    client = SimulatedClient(network, "me")
    client.open()
    network.settle()
    client.close()
    client.cut(broker_notices=None)
    network.settle()
    assert network.broker.core.statistics.connected == 1


@pytest.mark.parametrize("loses", [True, False])
def test_a_cut_loses_what_is_on_its_way_or_not(loses: bool) -> None:
    network = Network(latency=1.0)
    client = SimulatedClient(network, "me")
    client.open()
    network.settle()
    client.begin_subscribe([("a", 0)])
    network.settle()
    client.begin_publish(message(b"x", 0))
    network.run(0.5)
    client.cut(client_notices=5, broker_notices=5, loses_what_is_on_its_way=loses)
    network.settle()
    assert network.broker.core.traffic.publishes_received == (0 if loses else 1)
    assert received(client) == []  # what is sent after the cut goes nowhere
    assert len(ended(client)) == 1
    assert network.broker.core.connections == {}


def test_one_side_notices_and_the_other_does_not() -> None:
    network = Network()
    client = SimulatedClient(network, "me")
    client.open()
    network.settle()
    client.cut(client_notices=1, broker_notices=None)
    network.run(100)
    assert ended(client) == ["the Network Connection was lost"]
    assert network.broker.core.statistics.connected == 1
    client.open()
    network.settle()
    assert client.is_connected
    assert network.broker.core.statistics.connected == 1


@pytest.mark.parametrize("keeps_open_batch", [True, False])
def test_the_broker_crashes_and_keeps_what_is_on_its_disk(keeps_open_batch: bool) -> None:
    network = Network(durable=True, disk_latency=1.0, latency=0.01)
    reader, writer = (SimulatedClient(network, name) for name in ("reader", "writer"))
    for client in (reader, writer):
        client.open(lasting(client.client_id))
    network.run(5)
    reader.begin_subscribe([("a", 2)])
    network.run(5)
    reader.close()
    network.run(5)
    writer.begin_publish(message(b"durable", 1))
    network.run(5)
    writer.begin_publish(message(b"on its way", 1))
    network.run(0.5)
    network.broker.crash(keeps_open_batch)
    network.run(1)
    assert ended(writer) == ["the Network Connection was lost"]
    writer.open(lasting("writer"))
    network.run(1)
    assert len(ended(writer)) == 2  # nobody is there
    network.broker.restart()
    waiting = [entry.message.payload for entry in network.broker.core.sessions["reader"].outgoing.queue]
    assert waiting == ([b"durable", b"on its way"] if keeps_open_batch else [b"durable"])
    writer.open(lasting("writer"))
    reader.open(lasting("reader"))
    network.run(20)
    assert writer.session.outgoing.unfinished() == []
    assert set(received(reader)) == {b"durable", b"on its way"}
    connected = [event for event in writer.events if isinstance(event, Connected)]
    assert [event.session_present for event in connected] == [False, True]


def test_a_broker_without_a_disk_forgets() -> None:
    network = Network()
    client = SimulatedClient(network, "me")
    client.open(lasting("me"))
    network.settle()
    network.broker.crash()
    network.settle()
    network.broker.restart()
    client.open(lasting("me"))
    network.settle()
    last = [event for event in client.events if isinstance(event, Connected)][-1]
    assert not last.session_present


def test_restoring_can_be_replaced() -> None:
    seen: list[int] = []

    def restore(batches: list[Batch], options: Options, now: float) -> BrokerCore:
        seen.extend(batch.number for batch in batches)
        return default_restore(batches, options, now)

    network = Network(durable=True, restore=restore)
    client = SimulatedClient(network, "me")
    client.open(lasting("me"))
    network.settle()
    network.broker.crash()
    network.broker.restart()
    assert seen == [1]
    assert "me" in network.broker.core.sessions


def test_answers_that_come_too_late_are_for_nobody() -> None:
    network = Network(durable=True, answers=lambda question: Answer(0), answer_latency=1.0, disk_latency=1.0)
    client = SimulatedClient(network, "me")
    client.open()
    network.run(0.5)
    network.broker.crash()
    network.run(2)
    network.broker.restart()
    client.open()
    network.run(3)
    assert client.is_connected
    wire = client.wire
    assert wire is not None
    network.broker.lost(wire)
    network.broker.lost(wire)
    network.broker.arrived(wire, b"\xc0\x00")
    client.arrived(Wire(network, client, network.broker, network.watchers), b"\xd0\x00")
    network.run(1)
    assert not client.is_connected


def test_a_client_may_act_on_what_happens() -> None:
    class Echo(SimulatedClient):
        def happened(self, event: object) -> None:
            if isinstance(event, Connected):
                self.begin_subscribe([("question", 1)], identifier=3)
            elif isinstance(event, MessageReceived):
                self.begin_publish(message(event.publish.payload, 1, b"answer"))
                self.begin_unsubscribe(["question"])
                self.acknowledge(event.publish.packet_id)

    network = Network(latency=0.1)
    echo = Echo(network, "echo", manual_acks=True)
    echo.open()
    client = SimulatedClient(network, "me")
    client.open()
    network.settle()
    client.begin_subscribe([("answer", 1)])
    client.begin_publish(message(b"?", 1, b"question"))
    client.begin_publish(message(b"?", 1, b"question"))
    network.settle()
    assert received(client) == [b"?", b"?"]
    assert isinstance(echo.events[2], MessageReceived)
    assert isinstance(echo.events[2].publish, Publish)
    assert network.broker.core.sessions["echo"].subscriptions == {}
