"""PUBLISH packets that are larger than what comes at once: gathered while they come, and kept once."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer, Authorize
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.codec.primitives import LARGE_PIECE
from curier.protocol.arriving import LARGE
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties

PAYLOAD = bytes(range(256)) * 1200  # 300 KiB
assert len(PAYLOAD) > max(LARGE, LARGE_PIECE)
PING = b"\xc0\x00"

PUBLISHED = [
    p.Publish("t", PAYLOAD),
    p.Publish("t", PAYLOAD, 1, packet_id=7, retain=True),
    p.Publish("t", PAYLOAD, 2, packet_id=8),
    p.Publish("t", PAYLOAD, 1, packet_id=9, properties=properties(user_properties=[("k", "v" * 300)] * 9)),
    p.Publish("t", PAYLOAD, 1, packet_id=9, properties=properties(message_expiry_interval=70, topic_alias=3)),
    p.Publish("t" * 60_000, PAYLOAD, 1, packet_id=7),
]


def pieces_of(data: bytes, *sizes: int) -> list[bytes]:
    """The data in pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def receive(net: Net, client: Client, pieces: list[bytes]) -> None:
    for piece in pieces:
        net.core.receive(client.connection, piece, net.now)
    net.turn()


def outcome(net: Net, publish: p.Publish, sizes: list[int]) -> tuple[object, ...]:
    """What comes of a PUBLISH that comes in such pieces, with other packets before and behind it."""
    reader = net.connect("r")
    reader.send(p.Subscribe(1, [("#", 2)]))
    sender = net.connect("s")
    later = p.Publish("t", b"later", 1, packet_id=5)
    data = PING + encode(publish, 5) + encode(later, 5) + PING
    reader.take()
    sender.take()
    receive(net, sender, pieces_of(data, *sizes))
    assert sender.connection.waiting_bytes() == 0
    assert net.core.statistics.input_bytes == 0
    traffic = net.core.traffic
    numbers = (traffic.packets_received, traffic.publishes_received, traffic.publish_bytes_received)
    return reader.take(), sender.take(), numbers, net.core.retained.get(publish.topic.encode()) is None


@pytest.mark.parametrize("publish", PUBLISHED)
def test_it_is_the_same_however_it_comes(make: Make, publish: p.Publish) -> None:
    whole = outcome(make(), publish, [])
    for sizes in (
        [1] * 40 + [100_000],
        [3, 1, 60_010, 1, 1, 1, 1],
        [5000, 200_000],
        [2, 70_000, 100_000, 100_000],
        [len(encode(publish, 5)) + 1],
        [len(encode(publish, 5)) + 2],
        [len(encode(publish, 5)) + 3],
    ):
        assert outcome(make(), publish, sizes) == whole


def test_what_has_come_is_counted_and_forgotten_with_its_connection(net: Net) -> None:
    client = net.connect("c")
    receive(net, client, pieces_of(encode(PUBLISHED[0], 5), 100, 250_000)[:2])
    assert client.connection.waiting_bytes() == net.core.statistics.input_bytes == 250_100
    net.core.detach(client.connection, net.now)
    assert client.connection.waiting_bytes() == net.core.statistics.input_bytes == 0


def test_all_readers_are_sent_the_same_payload(net: Net) -> None:
    readers = [net.connect(f"r{number}") for number in range(3)]
    for number, reader in enumerate(readers):
        options = p.Subscribe(1, [("t", number)], properties(subscription_identifiers=[number + 1]))
        reader.send(options)
    sender = net.connect("s")
    for piece in pieces_of(encode(PUBLISHED[2], 5), 100, 100_000):
        net.core.receive(sender.connection, piece, net.now)
    if net.core.journal is not None:
        return  # they wait for it
    payloads = [reader.connection.output[-1] for reader in readers]
    assert payloads[0] == PAYLOAD
    assert payloads[0] is payloads[1] is payloads[2]
    assert [len(reader.connection.take_pieces()) for reader in readers] == [2, 2, 2]


def test_its_own_piece_waits_with_the_rest_of_the_packet() -> None:
    net = Net("journal")
    reader = net.connect("r", expiry=100)
    reader.send(p.Subscribe(1, [("t", 2)]))
    net.commits = False
    sender = net.connect("s")
    reader.take()
    receive(net, sender, pieces_of(encode(PUBLISHED[2], 5), 100, 100_000))
    assert reader.take() == []
    net.commits = True
    while net.batches:
        net.core.committed(net.batches.pop(0).batch.number, net.now)
        net.turn()
    assert reader.payloads() == [PAYLOAD]


def test_a_question_about_it_is_asked_once_and_everything_behind_it_waits() -> None:
    questions: list[Authorize] = []

    def ask(question: Authorize) -> Answer | None:
        questions.append(question)
        return None

    net = Net(authorize=ask)
    sender = net.connect("s")
    data = encode(PUBLISHED[1], 5)
    receive(net, sender, [*pieces_of(data + PING, 10, 290_000)])
    receive(net, sender, [PING[:1]])
    receive(net, sender, [PING[1:]])
    assert len(questions) == 1
    assert sender.take() == []
    assert sender.connection.waiting_bytes() == len(data) + 4
    net.core.resume(questions[0], Answer(0), net.now)
    net.turn()
    assert sender.take() == [p.Puback(7, 0x10), p.Pingresp(), p.Pingresp()]
    assert sender.connection.waiting_bytes() == 0


def test_a_3_1_1_publisher_that_has_to_wait_loses_nothing() -> None:
    net = Net(options=quiet(when_full="refuse", max_queued_messages=1))
    reader = net.connect("r", expiry=100)
    reader.send(p.Subscribe(1, [("t", 1)]))
    net.core.detach(reader.connection, net.now)
    sender = net.open()
    sender.version = 4
    sender.send(p.Connect(4, "s"))
    sender.send(p.Publish("t", b"first", 1, packet_id=1))
    receive(net, sender, pieces_of(encode(p.Publish("t", PAYLOAD, 1, packet_id=2), 4), 100, 290_000))
    sender.take()
    reader = net.connect("r", clean=False, expiry=100)
    net.advance(1.0)
    assert [message.payload for message in reader.take() if isinstance(message, p.Publish)] == [
        b"first",
        PAYLOAD,
    ]
    assert sender.take() == [p.Puback(2)]


def test_a_hook_sees_it_whole(net: Net) -> None:
    seen: list[bytes] = []

    class Watch(Hook):
        def on_packet(self, connection: BrokerConnection, is_outgoing: bool, data: bytes, now: float) -> None:
            seen.append(data)

    client = net.connect("c")
    client.send(p.Subscribe(1, [("t", 0)]))
    data = encode(PUBLISHED[0], 5)
    net.core.receive(client.connection, data[:1000], net.now)
    net.core.add_hook(Watch())
    net.core.receive(client.connection, data[1000:], net.now)
    net.turn()
    assert seen == [data, data]


# ---- what is refused ----


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x36\x80\x80\x40\x00\x01t\x00\x01\x00",
        b"\x30\x80\x80\x40\x00\x01#\x00",
        b"\x32\x80\x80\x40\x00\x01t\x00\x00\x00",
        b"\x30\x80\x80\x40\x00\x01t\x02\x01\x07",
    ],
)
def test_what_is_wrong_with_its_head_is_said(net: Net, wrong: bytes) -> None:
    client = net.connect("c")
    receive(net, client, [wrong, *[bytes(262_144)] * 4])
    assert client.goodbye().reason_code in (0x81, 0x82)
    assert net.core.statistics.input_bytes == 0


@pytest.mark.parametrize("pieces", [1, 2])
def test_its_properties_have_only_so_many_bytes(make: Make, pieces: int) -> None:
    for length, code in ((150_000, None), (200_000, 0x97)):
        net = make(quiet(max_property_length=180_000))
        client = net.connect("c")
        pairs = [("k", "v" * 50_000)] * (length // 50_000)
        data = encode(
            p.Publish("t", b"x" * 100_000, 1, packet_id=1, properties=properties(user_properties=pairs)), 5
        )
        receive(net, client, pieces_of(data, 1000) if pieces == 2 else [data])
        if code is None:
            assert client.take() == [p.Puback(1, 0x10)]
        else:
            assert client.goodbye().reason_code == code


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_packet_that_is_no_publish_has_only_so_many_bytes(make: Make, pieces: int) -> None:
    for count, code in ((4, None), (5, 0x97)):
        net = make(quiet(max_request_size=250_000))
        client = net.connect("c")
        data = encode(p.Subscribe(1, [(f"{number}" + "f" * 60_000, 0) for number in range(count)]), 5)
        receive(net, client, pieces_of(data, 1000) if pieces == 2 else [data])
        while net.core.has_more_work():
            net.core.continue_work(net.now)
        net.turn()
        if code is None:
            assert client.take() == [p.Suback(1, [0] * count)]
        else:
            assert client.goodbye().reason_code == code
