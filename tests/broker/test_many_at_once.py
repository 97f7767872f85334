"""Thousands of small packets in one chunk: a piece in each turn, in order, and nobody waits for all."""

from __future__ import annotations

import pytest

from curier.broker.effects import Answer, Authorize
from curier.codec import packets as p
from curier.codec.encode import encode
from curier.protocol.connection import STEPS_AT_ONCE
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net
from tests.codec.cases import properties

COUNT = 3 * STEPS_AT_ONCE + 10
PING = b"\xc0\x00"


def begin(net: Net, client: Client, data: bytes) -> int:
    """The core gets bytes and no other turn; how many packets it has answered."""
    net.core.receive(client.connection, data, net.now)
    return len(client.connection.output)


def turns(net: Net) -> int:
    """How many turns it takes to go on to the end."""
    count = 0
    while net.core.has_more_work():
        net.core.continue_work(net.now)
        count += 1
    net.turn()
    return count


KINDS = {
    "pingreq": (PING, p.Pingresp()),
    "subscribe": (encode(p.Subscribe(1, [("t", 0)]), 5), p.Suback(1, [0])),
    "unsubscribe": (encode(p.Unsubscribe(1, ["t"]), 5), p.Unsuback(1, [0x11])),
    "pubrel": (encode(p.Pubrel(3), 5), p.Pubcomp(3, 0x92)),
    "publish": (encode(p.Publish("t", b"", 1, packet_id=1), 5), p.Puback(1, 0x10)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_them_are_answered_and_others_have_their_turns(make: Make, kind: str) -> None:
    net = make()
    packet, answer = KINDS[kind]
    client = net.connect("c", expiry=100)
    other = net.connect("other")
    answered = begin(net, client, packet * COUNT)
    assert answered <= STEPS_AT_ONCE
    assert net.core.has_more_work()
    assert client.connection in net.core.continued
    assert begin(net, other, PING) == 1
    begin(net, client, packet[:1])
    begin(net, client, packet[1:] + PING)
    assert turns(net) == (6 if kind == "unsubscribe" else 3)  # that is as much work as two others
    taken = client.take()
    taken.remove(p.Pingresp())  # which waits for no disk
    assert taken == [answer] * (COUNT + 1)
    assert client.connection.waiting_bytes() == net.core.statistics.input_bytes == 0
    assert not client.connection.paused
    assert client.connection in net.core.take_welcomed()  # who is read from again


@pytest.mark.parametrize("topics", [1, 2])
def test_messages_for_receivers_that_are_looked_at_are_counted(topics: int) -> None:
    """A run on the fast lane, and each of its messages."""
    net = Net("fast")
    reader = net.connect("r")
    reader.send(p.Subscribe(1, [("#", 0)], properties(subscription_identifiers=[7])))
    reader.take()
    sender = net.connect("s")
    sender.send(*[p.Publish(f"t{number}", b"warm") for number in range(topics)])
    reader.take()
    sent = [p.Publish(f"t{number % topics}", b"%04d" % number) for number in range(3 * STEPS_AT_ONCE)]
    begin(net, sender, b"".join(encode(one, 5) for one in sent))
    assert net.core.has_more_work()
    assert turns(net) >= 1
    assert reader.payloads() == [one.payload for one in sent]


def test_many_clients_share_a_turn(net: Net) -> None:
    clients = [net.connect(f"c{number}") for number in range(4)]
    for client in clients:
        begin(net, client, PING * 2 * STEPS_AT_ONCE)
        client.connection.take_output()
    net.core.continue_work(net.now)
    assert sum(len(client.connection.output) for client in clients) == STEPS_AT_ONCE
    turns(net)
    assert [client.connection.waiting_bytes() for client in clients] == [0] * 4


def test_who_leaves_meanwhile_is_gone(net: Net) -> None:
    client = net.connect("c")
    begin(net, client, PING * COUNT)
    net.core.detach(client.connection, net.now)
    turns(net)
    assert net.core.statistics.input_bytes == 0


def test_a_packet_that_is_wrong_ends_it_behind_all_before_it(net: Net) -> None:
    client = net.connect("c")
    begin(net, client, PING * COUNT + b"\xf1\x00" + PING)
    turns(net)
    assert client.goodbye().reason_code == 0x81
    assert client.take() == [p.Pingresp()] * COUNT


def test_a_question_that_is_asked_meanwhile_is_waited_for() -> None:
    questions: list[Authorize] = []

    def ask(question: Authorize) -> Answer | None:
        questions.append(question)
        return None

    net = Net(authorize=ask)
    client = net.connect("c")
    publish = encode(p.Publish("t", b"", 1, packet_id=1), 5)
    begin(net, client, PING * COUNT + publish + PING)
    turns(net)
    assert len(questions) == 1
    assert client.take() == [p.Pingresp()] * COUNT
    begin(net, client, PING)
    turns(net)
    assert client.take() == []
    net.core.resume(questions[0], Answer(0), net.now)
    turns(net)
    assert client.take() == [p.Puback(1, 0x10), p.Pingresp(), p.Pingresp()]
