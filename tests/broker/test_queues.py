"""What waits for a client that is away, slow or at its limit: caps, and what is dropped (5.0: 4.1)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.hooks import Hook
from curier.broker.options import Options
from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet

statement = pytest.mark.statement

FULL = "its queue is full"


class Drops(Hook):
    """Who was dropped what, and why."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, str]] = []

    def on_drop(self, client_id: str, message: Any, why: str) -> None:
        self.seen.append((client_id, message.payload, why))


def away(net: Net, client_id: str = "c") -> None:
    client = net.connect(client_id, expiry=1000)
    client.subscribe("t")
    client.drop()


def publish(sender: Client, count: int, qos: int = 1, size: int = 0) -> None:
    for number in range(count):
        assert sender.publish("t", b"%d" % number + bytes(size), qos) in (0, 0x97)  # see test_when_full


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize(("oldest", "kept"), [(False, [b"0", b"1", b"2"]), (True, [b"2", b"3", b"4"])])
def test_a_full_queue_drops_the_newest_or_the_oldest(
    make: Make, oldest: bool, kept: list[bytes], qos: int
) -> None:
    net = make(quiet(max_queued_messages=3, when_full="drop-oldest" if oldest else "drop-newest"))
    drops = Drops()
    net.core.add_hook(drops)
    away(net)
    publish(net.connect("sender"), 5, qos)
    assert [payload for _, payload, _ in drops.seen] == [b"%d" % n for n in range(5) if b"%d" % n not in kept]
    assert all(name == "c" and why.startswith(FULL) for name, _, why in drops.seen)
    assert net.core.statistics.dropped == 2
    assert net.connect("c", clean=False).payloads() == kept


@pytest.mark.parametrize(("oldest", "kept"), [(False, [b"0", b"1"]), (True, [b"3", b"4"])])
def test_a_queue_has_only_so_many_bytes(make: Make, oldest: bool, kept: list[bytes]) -> None:
    net = make(quiet(max_queued_bytes=250, when_full="drop-oldest" if oldest else "drop-newest"))
    away(net)
    publish(net.connect("sender"), 5, 1, 100)
    flow = net.core.sessions["c"].outgoing
    assert flow.queued_bytes == 204
    assert [payload[:1] for payload in net.connect("c", clean=False).payloads()] == kept
    assert flow.queued_bytes == 0


@pytest.mark.parametrize("oldest", [False, True])
def test_what_is_larger_than_a_whole_queue_is_dropped(make: Make, oldest: bool) -> None:
    net = make(quiet(max_queued_bytes=50, when_full="drop-oldest" if oldest else "drop-newest"))
    away(net)
    publish(net.connect("sender"), 2, 1, 100)
    assert net.connect("c", clean=False).take() == []
    assert net.core.sessions["c"].outgoing.unfinished() == []


def test_what_waits_for_no_acknowledgement_goes_when_what_was_before_it_is_dropped(make: Make) -> None:
    net = make(quiet(max_queued_messages=2, when_full="drop-oldest", queue_qos0=True))
    client = net.connect("c", receive_maximum=1)
    client.subscribe(("t", 1))
    sender = net.connect("sender")
    sender.publish("t", b"first", 1)  # unacknowledged to the end
    for payload, qos in ((b"dropped", 1), (b"one", 0), (b"two", 0)):
        sender.publish("t", payload, qos)
    assert client.payloads() == [b"first", b"one", b"two"]
    assert net.core.statistics.dropped == 1


def test_messages_that_wait_for_quota_are_in_the_queue_too(make: Make) -> None:
    net = make(quiet(max_queued_messages=3))
    client = net.connect("c", receive_maximum=2)
    client.subscribe("t")
    publish(net.connect("sender"), 10)
    got = client.messages()
    while messages := client.messages() or (got if len(got) == 2 else []):
        client.finish(*messages)
        got += [message for message in messages if message not in got]
        got += (later := client.messages())
        client.finish(*later)
    assert [message.payload for message in got] == [b"0", b"1", b"2", b"3", b"4"]


def test_the_full_queue_of_one_is_no_matter_to_others(make: Make) -> None:
    net = make(quiet(max_queued_messages=1))
    away(net)
    other = net.connect("other")
    other.subscribe("t")
    publish(net.connect("sender"), 5)
    assert len(other.messages()) == 5


def test_what_was_dropped_from_the_front_never_comes(make: Make) -> None:
    net = make(quiet(max_queued_messages=2, when_full="drop-oldest"))
    client = net.connect("c", expiry=60, receive_maximum=1)
    client.subscribe("t")
    publish(net.connect("sender"), 6)
    client.drop()
    client = net.connect("c", clean=False)
    assert [(m.payload, m.dup) for m in client.messages()] == [(b"0", True), (b"4", False), (b"5", False)]


# ---- QoS 0 ----


@pytest.mark.parametrize(("keep", "got"), [(False, []), (True, [b"0", b"1", b"2"])])
def test_qos_0_waits_only_where_that_is_asked_for(make: Make, keep: bool, got: list[bytes]) -> None:
    net = make(quiet(queue_qos0=keep))
    away(net)
    publish(net.connect("sender"), 3, 0)
    client = net.connect("c", clean=False)
    assert [(message.payload, message.qos) for message in client.messages()] == [
        (payload, 0) for payload in got
    ]


def test_qos_0_messages_that_waited_count_and_expire_like_others(make: Make) -> None:
    net = make(quiet(queue_qos0=True, max_queued_messages=3))
    drops = Drops()
    net.core.add_hook(drops)
    away(net)
    sender = net.connect("sender")
    sender.publish("t", b"short", 0, message_expiry_interval=5)
    sender.publish("t", b"large" + bytes(100), 0)
    publish(sender, 3, 0)
    net.advance(10)
    client = net.connect("c", clean=False, maximum_packet_size=64)
    assert client.payloads() == [b"0"]
    assert [payload[:5] for _, payload, _ in drops.seen] == [b"1", b"2", b"short", b"large"]


# ---- slow clients ----


def slow(net: Net, **values: Any) -> Client:
    """A client whose network has not taken 2000 bytes yet."""
    client = net.connect("c", **values)
    client.subscribe("t")
    net.core.written(client.connection, 0, 2000, net.now)
    return client


@pytest.fixture
def options() -> Options:
    return quiet(output_soft_limit=1000, output_hard_limit=3000, max_packet_size=200)


@pytest.mark.parametrize("expiry", [0, 60])
def test_a_slow_client_is_dropped_qos_0_and_keeps_the_rest(make: Make, options: Options, expiry: int) -> None:
    net = make(options)
    drops = Drops()
    net.core.add_hook(drops)
    client, sender = slow(net, expiry=expiry), net.connect("sender")
    sender.publish("t", b"0", 0)
    sender.publish("t", b"1", 1)
    sender.publish("t", b"2", 2)
    assert client.take() == []
    assert drops.seen == [("c", b"0", "the client is too slow")]
    net.core.written(client.connection, 1000, 1000, net.now)
    net.turn()
    assert client.take() == []
    net.core.written(client.connection, 499, 501, net.now)
    net.turn()
    assert client.take() == []
    net.core.written(client.connection, 1, 500, net.now)
    net.turn()
    assert client.payloads() == [b"1", b"2"]
    sender.publish("t", b"3", 0)
    assert client.payloads() == [b"3"]


def test_a_slow_client_costs_nobody_else(make: Make, options: Options) -> None:
    net = make(options)
    other, sender = net.connect("other"), net.connect("sender")
    other.subscribe("t")
    slow(net)
    publish(sender, 3, 0)
    publish(sender, 3, 1)
    assert len(other.messages()) == 6


def test_a_slow_client_is_still_answered(make: Make, options: Options) -> None:
    net = make(options)
    client = slow(net)
    client.send(p.Pingreq(), p.Publish("u", b"", 1, False, False, 1), p.Subscribe(2, [("v", 0)]))
    assert [type(packet) for packet in client.take()] == [p.Pingresp, p.Puback, p.Suback]


def test_more_output_than_the_soft_limit_makes_a_client_slow(options: Options) -> None:
    net = Net("slow", options)  # the fast lane counts when the turn has ended
    client, sender = net.connect("c"), net.connect("sender")
    client.subscribe("t")
    raw = b"".join(b"\x32\x69\x00\x01t\x00\x01\x00" + bytes([number]) * 99 for number in range(20))
    net.core.receive(sender.connection, raw, net.now)
    size = sum(len(piece) for piece in client.connection.output)
    assert size < 1000 + 200
    net.turn()
    got = client.messages()
    client.finish(*got)
    got += client.messages()
    assert len(got) == 20


def test_a_client_that_reads_slowly_is_alive(make: Make, options: Options) -> None:
    net = make(options)
    client = slow(net, keep_alive=10)
    for _ in range(5):
        net.advance(10)
        net.core.written(client.connection, 10, 1900, net.now)
    assert not client.closed
    net.advance(20)
    assert client.goodbye().reason_code == 0x8D


def test_more_unsent_than_the_hard_limit_ends_the_connection(make: Make, options: Options) -> None:
    net = make(options)
    client = slow(net, expiry=60)
    limit = net.core.output_hard_limit
    net.core.written(client.connection, 0, limit, net.now)
    net.turn()
    assert client.take() == []
    net.core.written(client.connection, 0, limit + 1, net.now)
    net.turn()
    assert client.goodbye().reason_code == 0x97
    assert list(net.core.sessions) == ["c"]
