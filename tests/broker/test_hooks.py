"""Hooks: each event, once, with what it is about; and what hooks may refuse."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec import packets as p
from curier.codec.decode import decode
from tests.broker.conftest import Make
from tests.broker.harness import TOO_DEEP, Net, quiet


class Recorder(Hook):
    """Everything that happens, as tuples; what it refuses is in ``refused``, by topic."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []
        self.refused: dict[bytes, int] = {}

    def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
        self.seen.append(("connect", connection.client_id, session_present))

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        assert why
        self.seen.append(("refuse", connection.client_id, reason_code))

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        assert why
        self.seen.append(("disconnect", connection.client_id, reason_code))

    def on_session_end(self, client_id: str, why: str) -> None:
        self.seen.append(("session end", client_id, why))

    def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
        self.seen.append(("subscribe", connection.client_id, topic_filter, reason_code))

    def on_unsubscribe(self, connection: BrokerConnection, topic_filter: bytes) -> None:
        self.seen.append(("unsubscribe", connection.client_id, topic_filter))

    def on_publish(self, connection: BrokerConnection | None, message: Any) -> int:
        name = None if connection is None else connection.client_id
        self.seen.append(("publish", name, message.topic, message.payload, message.qos, message.retain))
        return self.refused.get(message.topic, 0)

    def on_drop(self, client_id: str, message: Any, why: str) -> None:
        assert why
        self.seen.append(("drop", client_id, message.topic))

    def on_delivered(self, client_id: str, message: Any, reason_code: int) -> None:
        self.seen.append(("delivered", client_id, message.topic, reason_code))

    def take(self) -> list[tuple[object, ...]]:
        seen, self.seen = self.seen, []
        return seen


class Packets(Hook):
    """Every packet of every connection, decoded."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, p.Packet]] = []

    def on_packet(self, connection: BrokerConnection, is_outgoing: bool, data: bytes, now: float) -> None:
        self.seen.append((is_outgoing, decode(data, 0, len(data), 5)))


@pytest.fixture
def hook(net: Net) -> Recorder:
    made = Recorder()
    net.core.add_hook(made)
    return made


def test_connections_and_sessions(net: Net, hook: Recorder) -> None:
    client = net.connect("c", expiry=60)
    client.drop()
    assert hook.take() == [("connect", "c", False), ("disconnect", "c", 0x80)]
    net.connect("c", clean=False, expiry=60)
    client = net.connect("c", clean=True, expiry=60)
    assert hook.take() == [
        ("connect", "c", True),
        ("disconnect", "c", 0x8E),
        ("session end", "c", "Clean Start"),
        ("connect", "c", False),
    ]
    client.disconnect()
    net.advance(60)
    assert hook.take() == [
        ("disconnect", "c", 0),
        ("session end", "c", "its Session Expiry Interval has passed"),
    ]
    net.connect("d").disconnect(0x04)
    assert hook.take()[1:] == [("session end", "d", "its connection ended"), ("disconnect", "d", 4)]


def test_refusals(make: Make) -> None:
    net = make(
        quiet(max_connections=1), authorize=lambda question: Answer(0x87 if question.topic == b"no" else 0)
    )
    hook = Recorder()
    net.core.add_hook(hook)
    client = net.connect("c")
    net.send_connect("d")
    client.publish("no", b"", 1)
    client.send(b"\x00\x00")
    assert hook.take() == [
        ("connect", "c", False),
        ("refuse", "d", 0x89),
        ("refuse", "c", 0x87),
        ("refuse", "c", 0x81),
        ("session end", "c", "its connection ended"),
        ("disconnect", "c", 0x81),
    ]
    silent = net.open()
    net.advance(10)
    assert silent.closed
    assert hook.take() == [("refuse", "", 0x80)]


def test_subscriptions(net: Net, hook: Recorder) -> None:
    client = net.connect("c")
    client.subscribe(("a", 1), TOO_DEEP, "$share/g/c")
    client.unsubscribe("a", "nothing", "$share/g/c")
    assert hook.take()[1:] == [
        ("subscribe", "c", b"a", 1),
        ("subscribe", "c", TOO_DEEP.encode(), 0x8F),
        ("subscribe", "c", b"$share/g/c", 2),
        ("unsubscribe", "c", b"a"),
        ("unsubscribe", "c", b"$share/g/c"),
    ]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages(net: Net, hook: Recorder, qos: int) -> None:
    reader = net.connect("reader")
    reader.subscribe("t")
    client = net.connect("c", will=p.Will("w", b"gone", qos))
    hook.take()
    for _ in range(2):
        client.publish("t", b"x", qos)
    reader.finish(*reader.messages())
    client.publish("u", b"y", qos, True)
    client.drop()
    delivered = [("delivered", "reader", b"t", 0)] * (2 if qos else 0)
    assert hook.take() == [
        *[("publish", "c", b"t", b"x", qos, False)] * 2,
        *delivered,
        ("publish", "c", b"u", b"y", qos, True),
        ("publish", None, b"w", b"gone", qos, False),
        ("session end", "c", "its connection ended"),
        ("disconnect", "c", 0x80),
    ]


def test_a_refusing_reader_is_told_with_its_reason(net: Net, hook: Recorder) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    client.publish("t", b"", 1)
    client.publish("t", b"", 2)
    hook.take()
    reader.send(p.Puback(1, 0x83), p.Pubrec(2, 0x97))
    assert hook.take() == [("delivered", "reader", b"t", 0x83), ("delivered", "reader", b"t", 0x97)]


def test_drops(make: Make) -> None:
    net = make(quiet(max_queued_messages=1))
    hook = Recorder()
    net.core.add_hook(hook)
    reader, client = net.connect("reader", expiry=60, maximum_packet_size=40), net.connect("c")
    reader.subscribe("t", "$share/g/s")
    client.publish("t", bytes(50), 1)
    reader.drop()
    client.publish("t", b"1", 1, message_expiry_interval=5)
    client.publish("t", b"2", 1)
    client.publish("s", b"3", 1)
    net.advance(6)
    net.connect("reader", clean=False)
    drops = [event[1:] for event in hook.take() if event[0] == "drop"]
    assert drops == [("reader", b"t"), ("reader", b"t"), ("$share/g/s", b"s"), ("reader", b"t")]


def test_one_refusal_is_enough_and_the_first_counts(net: Net) -> None:
    first, second = Recorder(), Recorder()
    first.refused = {b"no": 0x99}
    second.refused = {b"no": 0x83, b"nor": 0x83}
    net.core.add_hook(first)
    net.core.add_hook(second)
    client = net.connect("c")
    codes = [client.publish(topic, b"", 1) for topic in ("no", "nor", "yes")]
    assert codes == [0x99, 0x83, 0x10]
    assert [event[2] for event in second.seen if event[0] == "publish"] == [b"nor", b"yes"]


def test_a_hook_that_is_removed_hears_nothing_more(net: Net) -> None:
    one, two = Recorder(), Recorder()
    net.core.add_hook(one)
    net.core.add_hook(two)
    net.core.remove_hook(one)
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    client.publish("t", b"x")
    assert one.seen == []
    assert two.take()
    net.core.remove_hook(two)
    client.publish("t", b"x")
    assert two.seen == []
    assert reader.payloads() == [b"x", b"x"]


def test_hooks_added_later_hear_from_clients_that_were_there(net: Net) -> None:
    reader, client = net.connect("reader"), net.connect("c")
    reader.subscribe("t")
    client.publish("t", b"1", 1)
    hook, packets = Recorder(), Packets()
    net.core.add_hook(hook)
    net.core.add_hook(packets)
    client.publish("t", b"2", 1)
    assert [event[0] for event in hook.take()] == ["publish"]
    assert packets.seen == [
        (False, p.Publish("t", b"2", 1, packet_id=2)),
        (True, p.Publish("t", b"2", 1, packet_id=2)),
        (True, p.Puback(2)),
    ]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_packet_is_seen_once_whole_and_in_order(net: Net, qos: int) -> None:
    packets = Packets()
    net.core.add_hook(packets)
    client = net.connect("c", topic_alias_maximum=5)
    client.subscribe("topic", subscription_identifiers=[3])
    for _ in range(2):
        client.publish("topic", b"x", qos, content_type="text")
        client.finish(*client.messages())
    client.send(p.Pingreq())
    client.disconnect()
    kinds = [(is_outgoing, type(packet).__name__) for is_outgoing, packet in packets.seen]
    flow = {
        0: [(False, "Publish"), (True, "Publish")],
        1: [(False, "Publish"), (True, "Publish"), (True, "Puback"), (False, "Puback")],
        2: [
            *[(False, "Publish"), (True, "Publish"), (True, "Pubrec"), (False, "Pubrel"), (True, "Pubcomp")],
            *[(False, "Pubrec"), (True, "Pubrel"), (False, "Pubcomp")],
        ],
    }[qos]
    assert kinds == [
        *[(False, "Connect"), (True, "Connack"), (False, "Subscribe"), (True, "Suback")],
        *flow * 2,
        *[(False, "Pingreq"), (True, "Pingresp"), (False, "Disconnect")],
    ]


def test_a_packet_that_waited_for_its_permission_is_seen_once(make: Make) -> None:
    net = make(authorize=lambda question: None)
    packets = Packets()
    net.core.add_hook(packets)
    client = net.connect("c")
    client.send(p.Publish("t", b"x", 1, packet_id=1), p.Subscribe(2, [("t", 0), ("u", 0)]))
    while net.questions:
        net.answer(Answer(0))
    kinds = [type(packet).__name__ for _, packet in packets.seen]
    assert kinds == ["Connect", "Connack", "Publish", "Puback", "Subscribe", "Suback"]
    assert net.core.traffic.packets_received == 3
