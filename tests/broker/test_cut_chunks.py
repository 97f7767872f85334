"""A packet that the network has cut in two, and much comes with its second part: all is not joined."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.encode import encode
from curier.codec.primitives import LARGE_PIECE
from curier.protocol.arriving import LARGE
from curier.protocol.connection import MUCH, STEPS_AT_ONCE
from tests.broker.conftest import Make
from tests.broker.harness import Net

MANY = [
    p.Publish(f"t/{number % 7}", b"x" * (500 + number), qos, packet_id=number + 1 if qos else 0)
    for number, qos in enumerate([0, 0, 1, 1, 1, 2, 0, 1] * (MUCH // 4000 + 4))
]
ENOUGH = sum(len(encode(one, MQTT_50)) for one in MANY)
assert ENOUGH > MUCH + 2 * len(encode(MANY[-1], MQTT_50))
FIRST = [
    p.Publish("t/0", b"first" * 20),
    p.Publish("t/0", b"first" * 20, 1, packet_id=900),
    p.Publish("t/0", b"first" * 20, 2, packet_id=900),
    p.Publish("t/0", b"x" * LARGE, 1, packet_id=900),
    p.Subscribe(900, [("t/0", 1), ("t/1", 0)]),
    p.Disconnect(0x04),
    p.Publish("wrong/x", b"ends the connection, with the other name"),
]


def outcome(net: Net, first: p.Packet, cut: int, is_last_cut: bool) -> tuple[object, ...]:
    """What comes of these packets, where the first ``cut`` bytes come by themselves, and of the last one only
    a part comes with the others.
    """
    reader = net.connect("r")
    reader.send(p.Subscribe(1, [("t/+", 2)]))
    sender = net.connect("s")
    reader.take()
    data = encode(first, MQTT_50).replace(b"wrong/x", b"wrong/#") + b"".join(
        encode(one, MQTT_50) for one in MANY
    )
    end = len(data) - 9 if is_last_cut else len(data)
    for part in (data[:cut], data[cut:end], data[end:]):
        if part:
            net.receive(sender.connection, part)
    traffic = net.core.traffic
    received = 0 if sender.closed else traffic.bytes_received  # of what comes later nothing is counted
    numbers = (traffic.packets_received, traffic.publish_bytes_received, received)
    waits = (sender.connection.waiting_bytes(), net.core.statistics.input_bytes)
    return reader.take(), sender.take(), sender.closed, numbers, waits


@pytest.mark.parametrize("first", FIRST)
def test_it_is_the_same_wherever_it_was_cut(make: Make, first: p.Packet) -> None:
    whole = outcome(make(), first, 0, False)
    size = len(encode(first, MQTT_50))
    for cut in (1, 2, 3, 7, 12, size - 1, size, size + 1, size + 40):
        assert outcome(make(), first, cut, cut % 2 == 0) == whole


def test_it_is_the_same_where_each_topic_is_asked_about(make: Make) -> None:
    def asking() -> Net:
        return make(authorize=lambda question: Answer(reason_code=0x87 if question.topic == b"t/3" else 0))

    for first in FIRST[:2]:
        whole = outcome(asking(), first, 0, False)
        for cut in (5, 60):
            assert outcome(asking(), first, cut, False) == whole


@pytest.mark.parametrize("way", ["fast", "journal"])
def test_what_follows_is_forwarded_as_it_came(way: str) -> None:
    """And a large block of it is not joined with what is written beside it."""
    net = Net(way)
    reader = net.connect("r")
    reader.send(p.Subscribe(1, [("t/+", 0)]))
    sender = net.connect("s")
    count = 2 * LARGE_PIECE // 500
    assert count < STEPS_AT_ONCE
    packets = [encode(p.Publish(f"t/{number % 7}", b"x" * 500), MQTT_50) for number in range(count)]
    data = b"".join(packets)
    net.core.receive(sender.connection, data[:40], net.now)
    net.core.receive(sender.connection, data[40:], net.now)
    assert reader.connection.take_single() is None
    assert reader.connection.take_pieces() == [packets[0], b"".join(packets[1:])]
    net.core.receive(sender.connection, packets[0], net.now)
    assert reader.connection.take_single() == packets[0]
