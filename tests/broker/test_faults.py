"""Errors of the broker itself: in every entry of the core they cost the one client they were met with.

Nothing here is broken in the broker; things that it works with are poisoned instead, so that whatever touches
them raises, in both forms of curier.
"""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import pytest

from curier.broker.deadlines import Deadline
from curier.broker.effects import Answer
from curier.broker.faults import MOST_FAULTS
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec import packets as p
from curier.protocol.connection import Connection, Tap
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Burst, Outgoing
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet

IMPOSSIBLE = 1 << 40  # as a Packet Identifier: no packet can be made with it
NO_ALIAS = cast(int, "poison")  # as a Topic Alias: no packet can be made with it, in either form


class Poison(deque[Any]):
    """A queue that cannot be used."""

    def _fail(self, *arguments: object) -> Any:
        raise ZeroDivisionError("poison")

    append = appendleft = popleft = clear = __getitem__ = _fail


def poison_aliases(client: Client, topic: str) -> None:
    """Have every message on ``topic`` for a client with Topic Aliases fail when it is encoded."""
    aliases = client.connection.topic_aliases
    assert aliases is not None
    aliases[topic.encode()] = NO_ALIAS


@pytest.fixture
def net(make: Make) -> Net:
    made = make()
    made.takes_faults = True
    return made


def told_of_an_error(client: Client) -> bool:
    goodbye = client.goodbye()
    return goodbye.reason_code == 0x83 and client.closed


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("warm", [False, True])
def test_an_error_met_with_one_receiver(net: Net, qos: int, warm: bool) -> None:
    """It costs neither the publisher nor those who come before and behind."""
    readers = [net.connect(f"r{n}", expiry=60, topic_alias_maximum=9) for n in range(7)]
    for reader in readers:
        reader.subscribe("topic")
    writer = net.connect("writer")
    if warm:
        assert writer.publish("topic", b"0", qos) == 0
        for reader in readers:
            reader.finish(*reader.messages())
    poison_aliases(readers[4], "topic")
    if net.core.journal is not None:  # where QoS 2 is held back, and has no aliases
        readers[4].connection.held = Poison()
    assert writer.publish("topic", b"1", qos) == 0
    assert told_of_an_error(readers[4])
    assert [fault.text for fault in net.faults] == [
        "delivering a message to 'r4': 'r4' (test) is disconnected"
    ]
    for reader in readers[:4] + readers[5:]:
        messages = reader.messages()
        assert [message.payload for message in messages] == [b"1"]
        reader.finish(*messages)
    again = net.connect("r4", clean=False, expiry=60)
    assert again.payloads() == ([b"1"] if qos else [])  # its publisher was told that it is taken


@pytest.mark.parametrize("qos", [0, 1])
def test_an_error_met_with_one_receiver_of_messages_in_a_row(net: Net, qos: int) -> None:
    """They come in one piece, and go to each receiver in one."""
    readers = [net.connect(f"r{n}", expiry=60, topic_alias_maximum=9) for n in range(3)]
    for reader in readers:
        reader.subscribe("+")
    writer = net.connect("writer")
    poison_aliases(readers[1], "b")
    writer.send(*[p.Publish(topic, b"1", qos, False, False, qos and writer.packet_id()) for topic in "abc"])
    assert len(writer.take()) == 3 * qos
    assert told_of_an_error(readers[1])
    for reader in readers[::2]:
        assert [message.topic for message in reader.take() if isinstance(message, p.Publish)] == [*"abc"]
    again = net.connect("r1", clean=False, expiry=60)
    assert [message.topic for message in again.messages()] == ([*"abc"] if qos else [])


class FailsOnce(Tap):
    """Fails where the first PUBLISH is about to be sent to a client."""

    def __init__(self, client_id: str) -> None:
        self.client_id: str | None = client_id

    def packet(self, connection: Connection, is_outgoing: bool, data: bytes, now: float) -> None:
        assert isinstance(connection, BrokerConnection)
        if is_outgoing and connection.client_id == self.client_id and data[0] >> 4 == 3:
            self.client_id = None
            raise ZeroDivisionError("once")


class Sees(Hook):
    """Wants packets, so that there is a tap."""

    def on_packet(self, connection: BrokerConnection, is_outgoing: bool, data: bytes, now: float) -> None:
        pass


@pytest.mark.statement("5.0/MQTT-4.6.0-5", "3.1.1/MQTT-4.6.0-6")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_nothing_overtakes_what_could_not_be_sent(net: Net, qos: int) -> None:
    """The connection ends when the publisher's chunk is finished: what comes behind in it waits."""
    readers = [net.connect(f"r{n}", expiry=60) for n in range(2)]
    for reader in readers:
        reader.subscribe("topic")
    net.core.tap = FailsOnce("r0")
    net.core.add_hook(Sees())
    writer = net.connect("writer")
    chunk = [p.Publish("topic", b"%d" % n, qos, False, False, n if qos else 0, None) for n in range(1, 5)]
    writer.send(*chunk)
    assert told_of_an_error(readers[0])
    assert readers[0].payloads() == []
    everything = [b"1", b"2", b"3", b"4"]
    assert net.connect("r0", clean=False, expiry=60).payloads() == (everything if qos else [])
    assert readers[1].payloads() == everything


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_plain_packet_is_sent_to_who_is_ending(net: Net, qos: int) -> None:
    """An error that is met before, with a client whose messages take the fast lane."""
    reader = net.connect("reader", expiry=60)
    reader.subscribe("topic")
    writer = net.connect("writer")

    class Ends(Hook):
        def on_subscribe(self, connection: BrokerConnection, topic_filter: bytes, reason_code: int) -> None:
            net.core.faults.met("here", ZeroDivisionError(), reader.connection)

    net.core.add_hook(Ends())
    last = p.Publish("topic", b"x", qos, False, False, 2 if qos else 0, None)
    writer.send(p.Subscribe(1, [("other", 0)]), last)
    assert told_of_an_error(reader)
    assert reader.payloads() == []
    assert net.connect("reader", clean=False, expiry=60).payloads() == ([b"x"] if qos else [])


def test_an_error_met_with_a_member_of_a_shared_subscription(net: Net) -> None:
    readers = [net.connect(f"r{n}", expiry=60, topic_alias_maximum=9) for n in range(2)]
    for reader in readers:
        reader.subscribe("$share/g/topic")
    poison_aliases(readers[0], "topic")
    writer = net.connect("writer")
    assert [writer.publish("topic", b"%d" % n, 1) for n in range(2)] == [0, 0]
    assert told_of_an_error(readers[0])
    assert readers[1].payloads() == [b"1"]
    assert net.connect("r0", clean=False, expiry=60).payloads() == [b"0"]


def test_a_session_that_cannot_keep_what_it_was_promised_ends(net: Net) -> None:
    ends: list[tuple[str, str]] = []

    class Ends(Hook):
        def on_session_end(self, client_id: str, why: str) -> None:
            ends.append((client_id, why))

    net.core.add_hook(Ends())
    away, other = net.connect("away", expiry=60), net.connect("other", expiry=60)
    for client in (away, other):
        client.subscribe("t")
        client.drop()
    net.core.sessions["away"].outgoing.queue = Poison()
    assert net.connect("writer").publish("t", b"x", 1) == 0
    assert ends == [("away", "it could not keep a message")]
    assert len(net.faults) == 2
    assert net.connect("other", clean=False, expiry=60).payloads() == [b"x"]
    connack = net.send_connect("away", clean=False).pop(p.Connack)
    assert not connack.session_present


def test_an_error_while_what_waited_is_sent(net: Net) -> None:
    """Such as a stored Packet Identifier that cannot be: it costs its own client, and Clean Start helps."""
    client, other = net.connect("c", expiry=60), net.connect("other")
    client.drop()
    session = net.core.sessions["c"]
    entry = Outgoing(ApplicationMessage(b"t", b"", 2, False), 2, False)
    entry.packet_id = IMPOSSIBLE
    session.outgoing.releasing[IMPOSSIBLE] = entry
    for _ in range(2):
        again = net.send_connect("c", clean=False, session_expiry_interval=60)
        assert again.pop(p.Connack).reason_code == 0
        assert told_of_an_error(again)
    session.outgoing.releasing.clear()
    session.outgoing.inflight[IMPOSSIBLE] = entry
    again = net.send_connect("c", clean=False, session_expiry_interval=60)
    assert again.pop(p.Connack).reason_code == 0
    assert told_of_an_error(again)
    assert again.take() == []  # no half of a packet before it
    other.send(p.Pingreq())
    other.expect(p.Pingresp)
    assert net.core.statistics.connected == 1
    net.connect("c", clean=True)


@pytest.mark.parametrize("version", [4, 5])
def test_an_error_on_the_way_to_connack(make: Make, version: int) -> None:
    """Nothing but a CONNACK may come first [MQTT-3.14.0-1]; 3.x has none that says so."""
    net = make(authenticate=lambda question: None)
    net.takes_faults = True
    client = net.open()
    client.version = version
    client.send(p.Connect(version, "c", True, 0))
    client.connection.connect = None  # poison: what it was about is lost
    net.answer(Answer(0))
    assert client.closed
    if version == 5:
        assert client.expect(p.Connack).reason_code == 0x83
    else:
        assert client.take() == []
    assert [fault.text for fault in net.faults] == [
        "going on with the answer to a question: 'c' (test) is disconnected"
    ]
    assert net.core.statistics.connected == 0
    assert net.core.connections == {}


def test_clients_that_come_with_one_batch(make: Make) -> None:
    class Picky(Hook):
        def on_connect(self, connection: BrokerConnection, session_present: bool) -> None:
            if connection.client_id.endswith("3"):
                raise ValueError(connection.client_id)

    net = make()
    net.takes_faults = True
    net.core.add_hook(Picky())
    net.commits = False
    clients = [net.send_connect(f"c{number}", session_expiry_interval=60) for number in range(30)]
    net.commits = True
    while net.batches:
        net.commit()
    for number, client in enumerate(clients):
        assert client.pop(p.Connack).reason_code == 0
        if number % 10 == 3:
            assert told_of_an_error(client)
        else:
            assert client.publish("t", b"", 1) == 0x10
    assert net.core.statistics.connected == 27


def test_an_error_while_answers_are_let_go(make: Make) -> None:
    net = make()
    if net.core.journal is None:
        return
    net.takes_faults = True
    clients = [net.connect(f"c{number}", expiry=60) for number in range(5)]
    clients[0].subscribe("t")
    net.commits = False
    for number, client in enumerate(clients):
        client.send(p.Publish("t", b"%d" % number, 1, packet_id=1))
    assert all(not client.inbox for client in clients[1:])
    clients[2].connection.held = Poison(clients[2].connection.held)
    net.commits = True
    while net.batches:
        net.commit()
    assert told_of_an_error(clients[2])
    assert clients[2].take() == []
    for client in (*clients[1:2], *clients[3:]):
        assert client.expect(p.Puback).reason_code == 0


def test_an_error_while_retained_messages_are_fetched(net: Net) -> None:
    writer = net.connect("writer")
    writer.publish("r/1", b"x", 1, True)
    client, other = net.connect("c"), net.connect("other")
    net.core.sessions["c"].retained_sends = Poison([1])
    client.send(p.Pingreq())
    assert told_of_an_error(client)
    other.subscribe("r/+")
    assert other.payloads() == [b"x"]


def test_an_error_while_a_slow_client_is_sent_more(make: Make) -> None:
    net = make(quiet(output_soft_limit=1000))
    net.takes_faults = True
    client, other = net.connect("c", expiry=60), net.connect("other")
    net.core.written(client.connection, 0, 2000, net.now)
    net.core.sessions["c"].outgoing.resend = Poison([1])
    net.core.written(client.connection, 2000, 0, net.now)
    net.turn()
    assert told_of_an_error(client)
    other.send(p.Pingreq())
    other.expect(p.Pingresp)


def test_an_error_while_a_connection_ends(net: Net) -> None:
    client = net.connect("c", expiry=60, will=p.Will("w", b"x"))
    net.core.sessions["c"].outgoing.resend = Poison()
    client.drop()
    assert [fault.text for fault in net.faults] == ["leaving the session of 'c'"]
    assert net.core.statistics.connected == 0
    assert net.core.connections == {}


class Failing(Deadline):
    """Notes that it is called, and fails."""

    def __init__(self, fired: list[float], again: float = 0.0) -> None:
        super().__init__()
        self.fired = fired
        self.again = again

    def fire(self, now: float) -> float:
        self.fired.append(now)
        raise ZeroDivisionError("on purpose")

    def failed(self, error: Exception, now: float) -> float:
        if self.again < 0:
            raise error
        return now + self.again if self.again else 0.0


def test_a_deadline_that_fails(net: Net) -> None:
    """It does not come back by itself, and the others are kept."""
    once: list[float] = []
    twice: list[float] = []
    badly: list[float] = []
    client = net.connect("c", keep_alive=10)
    net.core.deadlines.add(Failing(once), net.now + 1)
    net.core.deadlines.add(Failing(twice, 30.0), net.now + 1)
    net.core.deadlines.add(Failing(badly, -1.0), net.now + 1)
    net.advance(40)
    assert len(once) == len(badly) == 1
    assert len(twice) == 2
    assert client.goodbye().reason_code == 0x8D
    assert [fault.text for fault in net.faults[:3]] == [
        "a deadline has failed: Failing",
        "a deadline has failed: Failing",
        "a deadline has failed: Failing",
    ]


def test_a_clock_of_a_connection_that_fails(make: Make) -> None:
    net = make(quiet(retry_interval=5.0))
    net.takes_faults = True
    client, other = net.open(), net.connect("other")
    client.version = 4
    client.send(p.Connect(4, "c", True, 0))
    client.expect(p.Connack)
    net.core.sessions["c"].outgoing.bursts = cast(list[Burst], [None])
    net.core.sessions["c"].outgoing.expected = 1
    net.advance(20)
    assert client.closed
    assert not other.closed
    assert sum("RetryWatch" in fault.text for fault in net.faults) == 1


def test_an_end_that_fails_is_not_tried_for_ever(net: Net) -> None:
    client = net.connect("c", expiry=60)
    client.drop()
    net.core.sessions["c"].retained_sends = Poison()
    net.advance(1000)
    assert "c" not in net.core.sessions
    assert len(net.faults) == 1


def test_a_broker_that_stops_tells_everybody(net: Net) -> None:
    class Ends(Hook):
        def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
            raise ValueError(connection.client_id)

    net.core.add_hook(Ends())
    clients = [net.connect(f"c{number}", expiry=60) for number in range(3)]
    net.core.sessions["c1"].outgoing.resend = Poison()
    net.core.shut_down(net.now)
    net.turn()
    assert [client.goodbye().reason_code for client in clients] == [0x8B] * 3
    assert net.core.connections == {}


def test_so_many_errors_are_kept(net: Net) -> None:
    class Drops(Hook):
        def on_drop(self, client_id: str, message: Any, why: str) -> None:
            raise ValueError(client_id)

    net.core.add_hook(Drops())
    for number in range(MOST_FAULTS + 10):
        reader = net.connect(f"c{number}", maximum_packet_size=30)
        reader.subscribe("t")
    assert net.connect("writer").publish("t", bytes(100), 1) == 0
    assert len(net.faults) == MOST_FAULTS
    assert net.core.faults.left_out == 10


def test_a_will_that_cannot_be_published_costs_nothing_else(net: Net) -> None:
    reader = net.connect("reader", expiry=60, topic_alias_maximum=9)
    reader.subscribe("w")
    poison_aliases(reader, "w")
    client = net.connect("c", expiry=60, will=p.Will("w", b"x", 1))
    client.drop()
    assert told_of_an_error(reader)
    assert net.connect("reader", clean=False, expiry=60).payloads() == [b"x"]
    net.advance(100)
    assert net.core.sessions.keys() == {"reader"}


def test_what_the_broker_publishes_itself(net: Net) -> None:
    readers = [net.connect(f"r{n}", topic_alias_maximum=9) for n in range(3)]
    for reader in readers:
        reader.subscribe("topic")
    poison_aliases(readers[0], "topic")
    assert net.core.publish(ApplicationMessage(b"topic", b"x", 1, False), None, net.now) == ""
    net.turn()
    assert told_of_an_error(readers[0])
    assert [reader.payloads() for reader in readers[1:]] == [[b"x"], [b"x"]]


def test_what_is_said_of_the_broker_itself(make: Make) -> None:
    net = make(quiet(sys_interval=10.0))
    net.takes_faults = True
    readers = [net.connect(f"r{n}", topic_alias_maximum=9 * (1 - n)) for n in range(2)]
    for reader in readers:
        reader.subscribe("$SYS/#")
        reader.take()
    aliases = readers[0].connection.topic_aliases
    assert aliases is not None
    aliases.update({f"$SYS/broker/{name}".encode(): NO_ALIAS for name in ("uptime", "messages/sent")})
    net.advance(10.1)
    assert told_of_an_error(readers[0])
    assert "$SYS/broker/uptime" in [message.topic for message in readers[1].messages()]
    net.advance(10)
    assert "$SYS/broker/uptime" in [message.topic for message in readers[1].messages()]


def test_the_driver_has_met_an_error(net: Net) -> None:
    client, other = net.connect("c"), net.connect("other")
    net.core.give_up(client.connection, "writing", OSError("the cable"), net.now)
    net.turn()
    assert told_of_an_error(client)
    assert [fault.text for fault in net.faults] == ["writing: 'c' (test) is disconnected"]
    other.send(p.Pingreq())
    other.expect(p.Pingresp)
