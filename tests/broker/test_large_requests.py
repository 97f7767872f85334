"""SUBSCRIBE and UNSUBSCRIBE of thousands of filters: in pieces, answered in order, within limits."""

from __future__ import annotations

from itertools import pairwise

import pytest

from curier.broker import piecemeal
from curier.broker.effects import Answer, Authorize, Commit
from curier.codec import packets as p
from curier.codec.encode import encode
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties

statement = pytest.mark.statement

MANY = [f"fleet/{number}/state" for number in range(3000)]


def receive(net: Net, client: Client, *packets: p.Packet) -> None:
    """The core gets packets, and is not given another turn."""
    net.core.receive(client.connection, b"".join(encode(one, client.version) for one in packets), net.now)


@statement("5.0/MQTT-3.8.4-5", "5.0/MQTT-3.8.4-6", "5.0/MQTT-3.10.4-4")
def test_everybody_else_goes_on_meanwhile_and_answers_stay_in_order(net: Net) -> None:
    client = net.connect("c", expiry=100)
    client.send(p.Subscribe(9, [("news", 1)]))
    assert client.take() == [p.Suback(9, [1])]
    last = [p.Publish("nobody", b"", 1, packet_id=number) for number in (3, 4)]
    receive(net, client, p.Subscribe(1, [(one, 1) for one in MANY]), last[0])
    receive(net, client, p.Unsubscribe(2, MANY[5:]), last[1])
    assert net.core.has_more_work()
    other = net.open()
    receive(net, other, p.Connect(5, "other"), p.Pingreq(), p.Publish("news", b"x", 1, packet_id=1))
    turns = 0
    while net.core.has_more_work() and turns < 2:
        net.core.continue_work(net.now)
        turns += 1
    assert not any(output[:1] == b"\x40" for output in client.connection.output)
    assert other.connection.output[:2][1] == b"\xd0\x00"
    net.turn()
    answers = client.take()
    kinds = [packet for packet in answers if not isinstance(packet, p.Publish)]
    assert kinds == [
        p.Suback(1, [1] * len(MANY)),
        p.Puback(3, 0x10),
        p.Unsuback(2, [0] * (len(MANY) - 5)),
        p.Puback(4, 0x10),
    ]
    assert [packet.payload for packet in answers if isinstance(packet, p.Publish)] == [b"x"]
    assert list(net.core.sessions["c"].subscriptions) == [b"news", *(one.encode() for one in MANY[:5])]
    assert net.core.statistics.subscriptions == 6


def test_no_turn_has_more_than_its_share(net: Net) -> None:
    clients = [net.connect(f"c{number}") for number in range(4)]
    for client in clients:
        receive(net, client, p.Subscribe(1, [(one, 0) for one in MANY]))
    made = [0]
    while net.core.has_more_work():
        net.core.continue_work(net.now)
        made.append(net.core.statistics.subscriptions)
    assert made[-1] == 4 * len(MANY)
    assert max(b - a for a, b in pairwise(made)) <= piecemeal.PER_TURN // 4


@statement("5.0/MQTT-4.13.1-1")
def test_a_fault_at_its_end_undoes_nothing_because_nothing_was_done(net: Net) -> None:
    client = net.connect("c", expiry=100)
    client.send(p.Subscribe(1, [(one, 0) for one in MANY] + [("a#", 0)]), p.Pingreq())
    assert client.goodbye().reason_code == 0x81
    assert not net.core.sessions["c"].subscriptions
    client = net.connect("c", clean=False, expiry=100)
    client.subscribe(*MANY[:3])
    client.send(p.Unsubscribe(1, [*MANY, "a#"]))
    assert client.goodbye().reason_code == 0x81
    assert len(net.core.sessions["c"].subscriptions) == 3


@pytest.mark.parametrize("kind", [p.Subscribe, p.Unsubscribe])
@pytest.mark.parametrize("count", [20, 21, 2000, 3000])
def test_a_packet_has_only_so_many_filters(make: Make, kind: type[p.Packet], count: int) -> None:
    most = 20 if count < 100 else 2000
    net = make(quiet(max_filters_per_packet=most))
    client = net.connect("c")
    names = [f"topic/{number}" for number in range(count)]
    if kind is p.Subscribe:
        client.send(p.Subscribe(1, [(name, 0) for name in names]))
    else:
        client.send(p.Unsubscribe(1, names))
    if count <= most:
        assert not client.closed
    else:
        goodbye = client.goodbye()
        assert goodbye.reason_code == 0x97
        assert f"{most} Topic Filters" in str(goodbye.properties)
    assert client.closed is (count > most)
    assert net.core.statistics.subscriptions == (count if count <= most and kind is p.Subscribe else 0)


def test_its_filters_are_asked_about_in_pieces_and_none_is_granted_before_all(make: Make) -> None:
    asked: list[bytes] = []
    open_at_once = 0

    def authorize(question: Authorize) -> Answer | None:
        asked.append(question.topic)
        return None

    net = make(authorize=authorize)
    client = net.connect("c")
    client.send(p.Subscribe(1, [(one, 0) for one in MANY]), p.Pingreq())
    while net.questions:
        open_at_once = max(open_at_once, len(net.questions))
        assert not net.core.sessions["c"].subscriptions
        net.answer(Answer(0x87 if asked[-len(net.questions)].endswith(b"7/state") else 0))
    assert 1 < open_at_once <= piecemeal.READ_FILTERS
    assert asked == [one.encode() for one in MANY]
    suback, pingresp = client.take()
    assert isinstance(suback, p.Suback)
    assert suback.reason_codes == [0x87 if number % 10 == 7 else 0 for number in range(len(MANY))]
    assert pingresp == p.Pingresp()


def test_its_client_may_leave_or_be_replaced_meanwhile(net: Net) -> None:
    client = net.connect("c", expiry=100)
    receive(net, client, p.Subscribe(1, [(one, 0) for one in MANY]), p.Pingreq())
    net.core.continue_work(net.now)
    net.core.detach(client.connection, net.now)
    net.turn()
    assert not net.core.has_more_work()
    client = net.connect("c", clean=False, expiry=100)
    receive(net, client, p.Subscribe(1, [(one, 0) for one in MANY]))
    newer = net.connect("c", clean=False)
    net.turn()
    assert client.connection.output == []
    assert newer.subscribe("t") == [2]


@statement("5.0/MQTT-3.3.1-9")
def test_it_brings_retained_messages(net: Net) -> None:
    net.connect("sender").publish(MANY[2500], b"kept", 1, True)
    client = net.connect("c")
    client.send(p.Subscribe(1, [(one, 0) for one in MANY], properties(subscription_identifiers=[7])))
    suback, publish = client.take()
    assert isinstance(suback, p.Suback)
    assert isinstance(publish, p.Publish)
    assert (publish.payload, publish.retain) == (b"kept", True)
    assert publish.properties == properties(subscription_identifiers=[7])


def test_its_answer_is_a_promise() -> None:
    net = Net("journal")
    client = net.connect("c", expiry=100)
    net.commits = False
    receive(net, client, p.Subscribe(1, [(one, 1) for one in MANY]), p.Unsubscribe(2, ["nothing"]))
    batches: list[Commit] = []
    while net.core.has_more_work():
        net.core.continue_work(net.now)
        for effect in net.core.take_effects():
            assert isinstance(effect, Commit)
            batches.append(effect)
            assert not client.connection.output
            if net.core.has_more_work():  # all but the last batch are durable before it is done
                net.core.committed(effect.batch.number, net.now)
    assert len(batches) > 3
    net.turn()
    assert client.take() == []
    net.core.committed(batches[-1].batch.number, net.now)
    net.turn()
    assert client.take() == [p.Suback(1, [1] * len(MANY)), p.Unsuback(2, [0x11])]


# ---- what else is counted ----


@pytest.mark.parametrize("count", [10, 11])
@pytest.mark.parametrize("kind", ["publish", "subscribe", "will", "connect", "disconnect"])
def test_a_packet_has_only_so_many_user_properties(make: Make, kind: str, count: int) -> None:
    net = make(quiet(max_user_properties=10))
    many = properties(user_properties=[("k", "v")] * count)
    if kind in ("will", "connect"):
        client = net.open()
        will = p.Will("w", b"", properties=many) if kind == "will" else None
        client.send(p.Connect(5, "c", will=will, properties=None if will else many))
        code = client.expect(p.Connack).reason_code
        assert code == (0 if count == 10 else 0x97)
        return
    client = net.connect("c")
    if kind == "publish":
        client.send(p.Publish("t", b"", 1, packet_id=1, properties=many))
    elif kind == "subscribe":
        client.send(p.Subscribe(1, [("t", 0)], many))
    else:
        client.send(p.Disconnect(0, many))
    if count == 11:
        assert client.goodbye().reason_code == 0x97
    else:
        assert client.closed is (kind == "disconnect")


@pytest.mark.parametrize(("size", "code"), [(900, 0), (1100, 0x95)])
def test_a_stranger_has_only_so_much_room(make: Make, size: int, code: int) -> None:
    net = make(quiet(max_connect_size=1000))
    client = net.open()
    client.send(p.Connect(5, "c", will=p.Will("w", bytes(size))))
    assert client.expect(p.Connack).reason_code == code
    if not code:  # from then on it is no stranger
        client.send(p.Publish("t", bytes(5000), 1, packet_id=1))
        client.expect(p.Puback)


def test_a_stranger_has_64_kib() -> None:
    assert quiet().max_connect_size == 64 * 1024
