"""What all clients hold has a limit, and an unfinished packet has an end."""

from __future__ import annotations

import pytest

from curier.broker.hooks import Hook
from curier.broker.memory import held
from curier.broker.model import BrokerConnection
from curier.broker.state import Host
from curier.codec import packets as p
from curier.codec.constants import QUOTA_EXCEEDED
from curier.codec.encode import encode
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net, quiet

KIB = 1024
MIB = 1024 * KIB


def begin(client: Client, size: int, whole: int = 15 * MIB) -> None:
    """Send the first ``size`` bytes of a PUBLISH, in pieces as the network brings them."""
    packet = encode(p.Publish("t", bytes(whole)), 5)[:size]
    for at in range(0, size, 256 * KIB):
        client.net.core.receive(client.connection, packet[at : min(at + 256 * KIB, size)], client.net.now)
    client.net.turn()


class Refusals(Hook):
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, str]] = []

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self.seen.append((connection.client_id, reason_code, why))


# ---- unfinished packets ----


def test_an_unfinished_packet_has_its_time_however_often_a_byte_comes(make: Make) -> None:
    net = make(options=quiet(packet_timeout=20.0, packet_rate=100))
    client = net.connect("c", keep_alive=1)
    packet = encode(p.Publish("t", bytes(1000)), 5)
    began = net.now
    for at in range(30):
        client.send(packet[at : at + 1])
        net.advance(1.2)
        if client.closed:
            break
    assert 20 <= net.now - began <= 25
    goodbye = client.goodbye()
    assert goodbye.reason_code == QUOTA_EXCEEDED
    assert goodbye.properties is not None
    assert (
        goodbye.properties.reason_string == "20 bytes of a packet came in 21 seconds: fewer than 100 a second"
    )


def test_a_slow_network_has_the_time_that_its_packet_takes(net: Net) -> None:
    client = net.connect("c", keep_alive=60)
    receiver = net.connect("r")
    receiver.subscribe("t")
    packet = encode(p.Publish("t", bytes(2 * MIB)), 5)
    for at in range(0, len(packet), 20 * KIB):  # 20 KiB a second
        client.send(packet[at : at + 20 * KIB])
        net.advance(1.0)
    assert not client.closed
    assert len(receiver.message().payload) == 2 * MIB
    net.advance(50)
    assert not client.closed


def test_each_packet_has_its_own_time(make: Make) -> None:
    net = make(options=quiet(packet_timeout=20.0))
    client = net.connect()
    packet = encode(p.Publish("t", b"x"), 5)
    client.send(packet[:3])
    for _ in range(10):
        net.advance(15)
        client.send(packet[3:] + packet[:3])
    assert not client.closed
    net.advance(25)
    assert client.closed


def test_without_a_timeout_a_packet_may_take_for_ever(make: Make) -> None:
    net = make(options=quiet(packet_timeout=0.0))
    client = net.connect()
    client.send(b"\x30\x7f")
    net.advance(86_400)
    assert not client.closed


def test_nothing_is_left_to_be_looked_at(net: Net) -> None:
    client, other = net.connect("c"), net.connect("d")
    begin(client, 1000)
    begin(other, 1000, 2000)
    other.send(encode(p.Publish("t", bytes(2000)), 5)[1000:])
    client.drop()
    net.advance(15)
    assert len(net.core.deadlines) == 0
    assert held(net.core) == 0


# ---- all together ----


def test_the_largest_and_slowest_go_first(make: Make) -> None:
    net = make(options=quiet(memory_limit=16 * MIB))
    refusals = Refusals()
    net.core.add_hook(refusals)
    small = net.connect("small")
    begin(small, 100 * KIB)
    clients = [net.connect(f"c{number}") for number in range(8)]
    for client in clients[:4]:
        begin(client, 2 * MIB)
    net.advance(5)
    assert not refusals.seen
    for client in clients[4:]:
        begin(client, 2 * MIB)
        net.advance(0.1)
    assert not small.closed
    assert [client.closed for client in clients[4:]] == [False] * 4
    gone = [client for client in clients[:4] if client.closed]
    assert len(gone) == 2
    assert held(net.core) <= 14 * MIB
    goodbye = gone[0].goodbye()
    assert goodbye.reason_code == QUOTA_EXCEEDED
    assert goodbye.properties is not None
    size = 2 * MIB
    assert goodbye.properties.reason_string is not None
    assert goodbye.properties.reason_string.startswith(f"{size} bytes are held for this client, and for all")
    assert [code for _, code, _ in refusals.seen] == [QUOTA_EXCEEDED] * 2
    small.drop()
    for client in clients:
        if not client.closed:
            client.drop()
    assert held(net.core) == 0


def test_output_that_is_not_taken_counts_too(make: Make) -> None:
    net = make(options=quiet(memory_limit=8 * MIB))
    slow, other = net.connect("slow"), net.connect("other")
    net.core.written(slow.connection, 0, 5 * MIB, net.now)
    begin(other, MIB)
    net.advance(2)
    assert held(net.core) == 6 * MIB
    assert [slow.closed, other.closed] == [False, False]
    begin(net.connect("more"), 3 * MIB)
    net.advance(0.1)
    assert [slow.closed, other.closed] == [True, False]
    assert held(net.core) == 4 * MIB


def test_messages_that_are_not_acknowledged_count_where_they_go_with_the_connection(make: Make) -> None:
    """However little there is to count at once: the process says that it has grown."""
    net = make(options=quiet(memory_limit=8 * MIB))
    net.core.run_on(Large(), net.now)
    sender = net.connect("sender")
    clients = [net.connect(f"c{number}") for number in range(3)]
    stays = net.connect("stays", expiry=FOREVER)
    for client in [*clients, stays]:
        client.subscribe("t")
    sender.publish("t", bytes(MIB), 1)
    net.advance(3)
    assert not any(client.closed for client in [*clients, stays])
    for _ in range(2):
        sender.publish("t", bytes(MIB), 1)
    net.advance(3)
    assert [client.closed for client in clients].count(True) == 2
    assert not stays.closed
    assert held(net.core) < 8 * MIB


def test_queues_leave_room_for_connections(make: Make) -> None:
    net = make(options=quiet(memory_limit=4 * MIB))
    away = net.connect("away", expiry=FOREVER)
    away.subscribe("t")
    away.drop()
    sender = net.connect("sender")
    codes = [sender.publish("t", bytes(MIB), 1) for _ in range(4)]
    assert len(net.core.sessions["away"].outgoing.queue) == 2
    assert codes[:2] == [0, 0]
    begin(sender, MIB)
    net.advance(5)
    assert not sender.closed


@pytest.mark.parametrize(
    ("asked", "most", "limit"), [(0, 8 * MIB, 4 * MIB), (MIB, 8 * MIB, MIB), (MIB, 0, MIB)]
)
def test_by_default_it_is_half_of_what_the_process_may_have(asked: int, most: int, limit: int) -> None:
    net = Net(options=quiet(memory_limit=asked))
    net.core.run_on(Large(most), net.now)
    assert net.core.memory_limit == limit


class Large(Host):
    """A process that has much."""

    def __init__(self, most: int = 0) -> None:
        self.most = most

    def memory(self) -> int:
        return 1 << 40

    def most_memory(self) -> int:
        return self.most
