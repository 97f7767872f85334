"""Messages for more receivers than a turn has time for: in pieces, and nobody sees that but by the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.broker.delivery import GROWTHS
from curier.broker.state import WORK_OF_QOS_1, WORK_PER_TURN
from curier.codec import packets as p
from curier.codec.encode import encode
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties

MANY = WORK_PER_TURN + 50  # receivers: too many for one turn, whatever the QoS
FEW = 30
FIRST_GROWTH = min(GROWTHS)


def given_out(net: Net) -> int:
    """Messages that readers were sent, or that wait for them."""
    waiting = sum([len(session.outgoing.queue) for session in net.core.session_list])
    return net.core.traffic.publishes_sent + waiting


def readers(net: Net, count: int, kind: str) -> list[Client]:
    made = [net.connect(f"r{number}", expiry=100) for number in range(count)]
    for number, reader in enumerate(made):
        name = f"$share/g{number}/t" if kind == "shared" else "t"
        values = {"subscription_identifiers": [7]} if kind == "identified" else {}
        reader.send(p.Subscribe(1, [(name, 2)], properties(**values) if values else None))
        reader.pop(p.Suback)
        if kind == "away":
            reader.drop()
    net.warm("t")
    return made


def pieces(net: Net, client: Client, data: bytes) -> list[int]:
    """What is given out in each turn, until all is."""
    before = given_out(net)
    net.core.receive(client.connection, data, net.now)
    found = [given_out(net) - before]
    while net.core.has_more_work():
        before = given_out(net)
        net.core.end_turn()
        for effect in net.core.take_effects():
            net.core.effects.append(effect)
        net.core.continue_work(net.now)
        found.append(given_out(net) - before)
    net.turn()
    return found


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("kind", ["identified", "shared", "away"])
def test_what_many_messages_are_for_many_receivers_is_bounded(make: Make, kind: str, qos: int) -> None:
    net = make()
    made = readers(net, FEW, kind)
    sender = net.connect("s")
    sent = [b"%04d" % number for number in range(200)]
    data = b"".join(
        [encode(p.Publish("t", text, qos, packet_id=n + 1 if qos else 0), 5) for n, text in enumerate(sent)]
    )
    most = WORK_PER_TURN // (WORK_OF_QOS_1 if qos and kind != "shared" else 1) + FEW
    assert max(pieces(net, sender, data)) <= most
    for number, reader in enumerate(made):
        if kind != "away":
            assert reader.payloads() == sent
        elif qos:
            queue = net.core.sessions[f"r{number}"].outgoing.queue
            assert [entry.message.payload for entry in queue] == sent


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_one_message_for_very_many_is_acknowledged_behind_the_last(make: Make, qos: int) -> None:
    net = make()
    made = readers(net, MANY, "identified")
    sender = net.connect("s")
    other = net.connect("o")
    net.core.receive(
        sender.connection, encode(p.Publish("t", b"1", qos, packet_id=1 if qos else 0), 5), net.now
    )
    assert net.core.has_more_work()
    assert sender.connection.output == []
    assert not sender.connection.held
    net.core.receive(other.connection, encode(p.Publish("t", b"2"), 5), net.now)  # waits
    net.core.receive(other.connection, b"\xc0\x00", net.now)
    if net.core.journal is not None and qos:
        assert net.core.take_effects() == []  # the batch is not taken before all of it is there
    net.turn()
    assert [reader.payloads() for reader in made] == [[b"1", b"2"]] * MANY
    assert sender.take() == ([] if not qos else [p.Puback(1, 0) if qos == 1 else p.Pubrec(1, 0)])
    assert other.take() == [p.Pingresp()]


@pytest.mark.parametrize("qos", [1, 2])
def test_a_publisher_that_goes_meanwhile_has_published(make: Make, qos: int) -> None:
    net = make()
    made = readers(net, MANY, "identified")
    sender = net.connect("s", expiry=100)
    publish = p.Publish("t", b"1", qos, packet_id=1)
    net.core.receive(sender.connection, encode(publish, 5), net.now)
    sender.drop()
    sender = net.connect("s", clean=False, expiry=100)
    sender.send(p.Publish("t", b"1", qos, dup=True, packet_id=1))
    assert sender.take() == [p.Puback(1, 0) if qos == 1 else p.Pubrec(1, 0)]
    assert [reader.payloads() for reader in made] == [
        [b"1"] * (2 if qos == 1 else 1)
    ] * MANY  # [MQTT-4.3.3-10]


def test_who_unsubscribes_or_goes_meanwhile_gets_nothing_more(make: Make) -> None:
    net = make()
    made = readers(net, MANY, "identified")
    sender = net.connect("s")
    net.core.receive(sender.connection, encode(p.Publish("t", b"1", 1, packet_id=1), 5), net.now)
    made[-1].connection.receive(encode(p.Unsubscribe(2, ["t"]), 5), net.now)
    net.core.detach(made[-2].connection, net.now)
    late = net.connect("late")
    late.subscribe("t")
    net.turn()
    assert [reader.payloads() for reader in made[:-2]] == [[b"1"]] * (MANY - 2)
    assert [packet for packet in made[-1].take() if isinstance(packet, p.Publish)] == []
    assert late.take() == []
    assert sender.take() == [p.Puback(1, 0)]


def test_a_receiver_with_thousands_unacknowledged_takes_more_at_times(make: Make) -> None:
    """Its table of them moves to more memory."""
    net = make()
    (reader,) = readers(net, 1, "identified")
    sender = net.connect("s")
    spent: list[int] = []
    for number in range(FIRST_GROWTH + 1):
        net.core.end_turn()
        net.core.receive(sender.connection, encode(p.Publish("t", b"", 1, packet_id=1), 5), net.now)
        spent.append(net.core.spent)
        if number % 100 == 0:
            net.turn()
    net.turn()
    assert len(reader.payloads()) == FIRST_GROWTH + 1
    usual = spent[FIRST_GROWTH - 2]
    assert spent[FIRST_GROWTH - 1] > usual + WORK_OF_QOS_1
    assert spent[FIRST_GROWTH] == usual


class Worlds:
    """The same network with a turn's work of a few messages, and without a bound."""

    def __init__(self, way: str, work: int) -> None:
        self.bounded = Net(way, quiet())
        self.bounded.core.work_per_turn = work
        self.unbounded = Net(way, quiet())
        self.unbounded.core.work_per_turn = 1 << 40
        self.clients: list[tuple[Client, Client]] = []

    def connect(self, name: str, **values: int) -> None:
        both = [net.connect(name, clean=False, **values) for net in (self.bounded, self.unbounded)]
        self.clients.append((both[0], both[1]))

    def send(self, index: int, *sent: p.Packet) -> None:
        data = b"".join([encode(packet, 5) for packet in sent])
        for client in self.clients[index]:
            client.connection.receive(data, client.net.now)

    def turn(self) -> None:
        self.bounded.turn()
        self.unbounded.turn()

    def compare(self) -> None:
        """All clients were sent the same, and in the same order for each publisher, topic and QoS
        [MQTT-4.6.0-6]; so were answers.
        """
        for one, other in self.clients:
            assert in_order(one.take()) == in_order(other.take())


def in_order(packets: list[p.Packet]) -> dict[tuple[object, ...], list[p.Packet]]:
    found: dict[tuple[object, ...], list[p.Packet]] = {}
    for packet in packets:
        key: tuple[object, ...] = ()
        if isinstance(packet, p.Publish):
            key = (packet.topic, packet.qos, packet.payload.split()[0])
            packet.packet_id = 0  # given in the order of all
        found.setdefault(key, []).append(packet)
    return found


step = st.tuples(
    st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 2), st.integers(1, 5), st.booleans()
)


@given(
    st.sampled_from(["fast", "slow", "journal"]),
    st.integers(16, 60),
    st.lists(
        st.tuples(st.sampled_from(["a", "+", "$share/g/a", "b"]), st.integers(0, 2), st.booleans()),
        max_size=8,
    ),
    st.lists(st.lists(step, max_size=6), max_size=4),
)
def test_a_bound_changes_nothing_but_time(
    way: str,
    work: int,
    subscriptions: list[tuple[str, int, bool]],
    rounds: list[list[tuple[int, str, int, int, bool]]],
) -> None:
    worlds = Worlds(way, work)
    for number in range(3):
        worlds.connect(f"p{number}", expiry=100)
    for number, (topic_filter, qos, is_identified) in enumerate(subscriptions):
        worlds.connect(f"r{number}", expiry=100 * (number % 2))
        values = {"subscription_identifiers": [7]} if is_identified else {}
        topic_filter = topic_filter.replace("/g/", f"/g{number}/")  # members take turns in the order of all
        worlds.send(
            3 + number, p.Subscribe(1, [(topic_filter, qos)], properties(**values) if values else None)
        )
        worlds.turn()
    packet_id = 0
    for steps in rounds:
        for sender, topic, qos, count, is_retained in steps:
            sent: list[p.Packet] = []
            for _ in range(count):
                packet_id += 1
                text = b"%d %d" % (sender, packet_id)
                sent.append(
                    p.Publish(topic, text, qos, retain=is_retained, packet_id=packet_id if qos else 0)
                )
            worlds.send(sender, *sent)
        worlds.turn()
        worlds.compare()
