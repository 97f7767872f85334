"""What waits for clients that are away is bounded: for each, for all together, and while the disk lags."""

from __future__ import annotations

import pytest

import curier.session.journal
from curier.broker.hooks import Hook
from curier.codec import packets as p
from curier.session.message import ApplicationMessage
from tests.broker.harness import Net, quiet


class Drops(Hook):
    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, str]] = []

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        self.seen.append((client_id, message.payload, why))


def away(net: Net, *names: str, qos: int = 1) -> None:
    for name in names:
        client = net.connect(name, expiry=1000)
        client.subscribe((name, qos))
        client.disconnect()


def back(net: Net, name: str) -> list[bytes]:
    client = net.send_connect(name, False, session_expiry_interval=1000)
    client.pop(p.Connack)
    messages = client.messages()
    client.finish(*messages)
    return [message.payload for message in messages]


@pytest.mark.parametrize("way", ["fast", "journal"])
def test_all_queues_together_have_a_limit(way: str) -> None:
    net = Net(way, quiet(max_queued_total_bytes=100))
    drops = Drops()
    net.core.add_hook(drops)
    away(net, "a", "b")
    publisher = net.connect("p")
    for number in range(5):
        publisher.publish("a", b"%d" % number + b"x" * 18, 1)  # 20 bytes with its topic
    publisher.publish("b", b"late", 1)
    assert net.core.statistics.queued_bytes == 100
    why = "the queues of all clients together are full"
    assert drops.seen == [("b", b"late", why)]
    assert net.core.statistics.dropped == 1
    assert len(back(net, "a")) == 5
    assert net.core.statistics.queued_bytes == 0
    publisher.publish("b", b"now", 1)
    assert back(net, "b") == [b"now"]


@pytest.mark.parametrize("way", ["fast", "journal"])
def test_the_oldest_of_the_same_client_makes_room(way: str) -> None:
    net = Net(way, quiet(max_queued_total_bytes=60, when_full="drop-oldest"))
    away(net, "a", "b")
    publisher = net.connect("p")
    for payload in (b"1", b"2", b"3", b"4"):
        publisher.publish("a", payload + b"x" * 18, 1)
    publisher.publish("b", b"nothing of its own to drop", 1)
    assert [payload[:1] for payload in back(net, "a")] == [b"2", b"3", b"4"]
    assert back(net, "b") == []


@pytest.mark.parametrize("way", ["fast", "journal"])
def test_room_comes_back_when_sessions_end_and_messages_expire(way: str) -> None:
    net = Net(way, quiet(max_queued_total_bytes=60, max_queued_messages=3))
    away(net, "a", "b")
    publisher = net.connect("p")
    publisher.publish("a", b"x" * 19, 1)
    publisher.publish("b", b"x" * 19, 1, message_expiry_interval=5)
    publisher.publish("b", b"x" * 19, 1)
    assert net.core.statistics.queued_bytes == 60
    net.connect("a", clean=True)
    assert net.core.statistics.queued_bytes == 40
    net.advance(10)
    publisher.publish("b", b"y" * 39, 1)  # fits, since the expired one goes
    assert net.core.statistics.queued_bytes == 60
    net.advance(2000)
    assert net.core.statistics.queued_bytes == 0


def test_qos_0_waits_for_no_disk_that_lags() -> None:
    net = Net("journal", quiet(queue_qos0=True))
    drops = Drops()
    net.core.add_hook(drops)
    away(net, "a")
    publisher = net.connect("p")
    journal = net.core.journal
    assert journal is not None
    net.commits = False
    publisher.publish("kept", b"on its way", 0, retain=True)  # the open batch
    limit = curier.session.journal.MAX_PENDING_BYTES
    for _ in range(2 + limit // 10_000_000):
        publisher.publish("kept", b"x" * 10_000_000, 0, retain=True)
    before = journal.length
    publisher.publish("kept", b"too much", 0, retain=True)
    publisher.publish("a", b"too much", 0)
    assert journal.length == before
    assert drops.seen == [("a", b"too much", "too much waits for the disk")]
    net.commits = True
    net.commit()
    publisher.publish("kept", b"again", 0, retain=True)
    kept = net.core.retained.get(b"kept")
    assert kept is not None
    assert kept.payload == b"again"
