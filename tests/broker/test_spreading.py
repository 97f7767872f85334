"""Messages for more receivers than a turn has time for: in pieces, and nobody sees that but by the clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.broker.core import BrokerCore
from curier.broker.delivery import GROWTHS
from curier.broker.effects import Commit
from curier.broker.restoring import Restorer
from curier.broker.spreading import MOST_WAITING
from curier.broker.state import WORK_OF_QOS_1, WORK_PER_TURN
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.records import Record
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet
from tests.codec.cases import properties

MANY = WORK_PER_TURN + 50  # receivers: too many for one turn, whatever the QoS
FEW = 30
LITTLE = 16  # work of a turn that has no time for so few
FIRST_GROWTH = min(GROWTHS)


def given_out(net: Net) -> int:
    """Messages that readers were sent, or that wait for them."""
    waiting = sum([len(session.outgoing.queue) for session in net.core.session_list])
    return net.core.traffic.publishes_sent + waiting


def readers(net: Net, count: int, kind: str) -> list[Client]:
    made = [net.connect(f"r{number}", expiry=100) for number in range(count)]
    for number, reader in enumerate(made):
        name = f"$share/g{number}/t" if kind == "shared" else "t"
        # One that is longer than those that the fast lane forwards.
        values = {"subscription_identifiers": [3_000_000]} if kind == "identified" else {}
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


@pytest.mark.parametrize("qos", [0, 1])
def test_to_find_very_many_receivers_is_work_enough_for_a_turn(net: Net, qos: int) -> None:
    made = [net.connect(f"r{number}") for number in range(FEW)]
    for reader in made:
        reader.send(p.Subscribe(1, [("t", 1)], properties(subscription_identifiers=[7])))
        reader.pop(p.Suback)
    sender = net.connect("s")
    net.core.work_per_turn = LITTLE - 1
    found = pieces(net, sender, encode(p.Publish("t", b"1", qos, packet_id=1 if qos else 0), 5))
    assert found[0] == 0
    assert [reader.payloads() for reader in made] == [[b"1"]] * FEW


def turns(net: Net) -> list[int]:
    """What is given out in each turn, until all is."""
    found: list[int] = []
    while net.core.has_more_work():
        before = given_out(net)
        net.core.end_turn()
        net.core.continue_work(net.now)
        found.append(given_out(net) - before)
    net.turn()
    return found


@pytest.mark.parametrize("qos", [0, 1])
def test_wills_are_given_out_in_pieces_and_in_order(make: Make, qos: int) -> None:
    net = make()
    made = readers(net, FEW, "identified")
    wills = [p.Will("t", b"%d" % n, qos, n == 2) for n in range(3)]
    dying = [net.send_connect(f"d{n}", will=will) for n, will in enumerate(wills)]
    other, late = net.connect("o"), net.connect("late")
    net.core.work_per_turn = LITTLE
    before = given_out(net)
    for client in dying:
        assert client.pop(p.Connack).reason_code == 0
    for client in dying:
        net.core.detach(client.connection, net.now)
    assert "d0" not in net.core.sessions
    assert given_out(net) - before <= LITTLE
    other.connection.receive(encode(p.Publish("t", b"3"), 5), net.now)  # waits
    late.connection.receive(encode(p.Subscribe(1, [("t", 0)]), 5), net.now)
    assert max(turns(net)) <= LITTLE
    assert [reader.payloads() for reader in made] == [[b"0", b"1", b"2", b"3"]] * FEW
    late.pop(p.Suback)
    assert sorted(late.payloads()) == [b"2", b"3"]  # the retained one, and none twice
    assert net.core.router.held == {}


@pytest.mark.parametrize("topic", ["t", "$SYS/broker/t"])
def test_what_the_broker_publishes_is_given_out_in_pieces(make: Make, topic: str) -> None:
    net = make()
    made = [net.connect(f"r{number}") for number in range(FEW)]
    for reader in made:
        reader.subscribe(topic)
    net.core.work_per_turn = LITTLE
    for text in (b"1", b"2"):
        message = ApplicationMessage(topic.encode(), text, 0, True)
        assert net.core.publish(message, None, net.now) == ""
    made[0].connection.receive(encode(p.Unsubscribe(2, [topic]), 5), net.now)
    assert max(turns(net)) <= LITTLE
    assert [reader.payloads() for reader in made[1:]] == [[b"1", b"2"]] * (FEW - 1)
    assert [packet for packet in made[0].take() if isinstance(packet, p.Publish)] == []
    assert net.core.router.held == {}
    assert (topic.encode() in net.core.router.cache.table) == (topic == "t")


def test_very_many_of_them_do_not_pile_up(net: Net) -> None:
    (reader,) = readers(net, 1, "identified")
    net.core.work_per_turn = 1
    for number in range(MOST_WAITING + 100):
        net.core.publish(ApplicationMessage(b"t", b"%d" % number, 1, False), None, net.now)
    net.core.continue_work(net.now)
    assert len(net.core.own) <= MOST_WAITING
    net.core.work_per_turn = WORK_PER_TURN
    net.turn()
    assert reader.payloads() == [b"%d" % number for number in range(MOST_WAITING + 100)]


def test_what_is_given_out_when_the_broker_stops_is_finished(make: Make) -> None:
    net = make()
    readers(net, FEW, "away")
    dying = net.send_connect("d", will=p.Will("t", b"will", 1, False))
    assert dying.pop(p.Connack).reason_code == 0
    net.core.work_per_turn = LITTLE
    net.core.publish(ApplicationMessage(b"t", b"last", 1, False), None, net.now)
    net.core.shut_down(net.now)
    queues = [net.core.sessions[f"r{number}"].outgoing.queue for number in range(FEW)]
    assert {tuple([entry.message.payload for entry in queue]) for queue in queues} == {(b"last", b"will")}


@pytest.mark.parametrize("expiry", [0, 100])
def test_a_crash_loses_no_will(expiry: int) -> None:
    """Of what is durable at any time: either the will is still there, or all receivers have it."""
    count = FEW
    net = Net("journal", quiet())
    readers(net, count, "away")
    dying = net.send_connect("d", will=p.Will("t", b"will", 1, False), session_expiry_interval=100)
    assert dying.pop(p.Connack).reason_code == 0
    net.core.work_per_turn = LITTLE
    farewell = p.Disconnect(4, properties(session_expiry_interval=expiry))
    dying.connection.receive(encode(farewell, 5), net.now)
    found: list[tuple[bool, int]] = []
    while not found or net.core.has_more_work():
        for effect in net.core.take_effects():
            if isinstance(effect, Commit):
                net.records += effect.batch.records
                net.core.committed(effect.batch.number, net.now)
        found.append(after_crash(net.records))
        net.core.end_turn()
        net.core.continue_work(net.now)
    net.turn()
    found.append(after_crash(net.records))
    assert set(found) == {(True, 0), (False, count)}


def after_crash(records: list[Record]) -> tuple[bool, int]:
    """Is there a will, and how many messages wait?"""
    core = BrokerCore(quiet(), 1_700_000_000.0, journal=Journal())
    restorer = Restorer(core)
    restorer.replay(records)
    restorer.finish(1_700_000_000.0)
    wills = [session.will for session in core.sessions.values() if session.will is not None]
    return bool(wills), sum([len(session.outgoing.queue) for session in core.session_list])


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

    def publish(self, topic: str, text: bytes, qos: int, is_retained: bool) -> None:
        """As the broker itself."""
        for net in (self.bounded, self.unbounded):
            message = ApplicationMessage(topic.encode(), text, qos, is_retained)
            assert net.core.publish(message, None, net.now) == ""

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


BROKER = 3  # in place of a publisher

step = st.tuples(
    st.integers(0, BROKER), st.sampled_from("ab"), st.integers(0, 2), st.integers(1, 5), st.booleans()
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
                if sender == BROKER:
                    worlds.publish(topic, text, qos, is_retained)
                    continue
                sent.append(
                    p.Publish(topic, text, qos, retain=is_retained, packet_id=packet_id if qos else 0)
                )
            if sender != BROKER:
                worlds.send(sender, *sent)
        worlds.turn()
        worlds.compare()
