"""The client that keeps the books: what it takes for a promise, and what it does when its session is gone."""

from __future__ import annotations

import pytest

from curier.codec import packets as p
from curier.codec.decode import decode
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from curier.errors import ProtocolError
from curier.verify.ledger import OUT_OF_ORDER, SESSION
from curier.verify.peer import Peer


def peer(is_durable: bool = True, version: int = 5) -> Peer:
    made = Peer("pub", version, [], is_durable, lambda: 7.0)
    connect(made, present=False)
    return made


def connect(peer: Peer, present: bool, properties: Properties | None = None) -> list[p.Packet]:
    peer.hang_up()
    peer.call()
    peer.to_broker = b""
    peer.take(p.Connack(present, 0, properties))
    return said(peer)


def said(peer: Peer) -> list[p.Packet]:
    data, peer.to_broker = peer.to_broker, b""
    found, pos = [], 0
    while pos < len(data):
        end = packet_end(data, pos)
        found.append(decode(data, pos, end, peer.version))
        pos = end
    return found


def test_puback_and_pubrec_promise_and_nothing_else_does() -> None:
    one = peer()
    one.publish("a", 1, False)
    one.publish("a", 2, False)
    assert one.promised == 0
    one.take(p.Puback(1))
    one.take(p.Pubrec(2))
    one.take(p.Pubcomp(2))
    assert one.promised == 2
    assert [sent.acknowledged_at for sent in one.sent.values()] == [7.0, 7.0]
    assert one.unfinished == {}


def test_a_refusal_is_no_promise() -> None:
    one = peer()
    one.publish("a", 1, False)
    one.publish("a", 2, False)
    one.take(p.Puback(1, 0x97))
    one.take(p.Pubrec(2, 0x83))
    assert (one.promised, one.refused, one.unfinished) == (0, {0x97: 1, 0x83: 1}, {})


def test_what_is_unfinished_is_sent_again_in_its_order() -> None:
    one = peer()
    for qos in (2, 1, 2):
        one.publish("a", qos, False)
    one.take(p.Pubrec(1))
    said(one)
    again = connect(one, present=True)
    assert [type(packet) for packet in again] == [p.Pubrel, p.Publish, p.Publish]
    assert [sent.is_repeated for sent in one.sent.values()] == [False, True, True]


def test_a_session_that_is_gone_is_a_fault_and_ends_what_was_unfinished() -> None:
    one = peer()
    one.filters = [("t/#", 2)]
    one.is_subscribed = True
    one.publish("a", 2, False)
    again = connect(one, present=False)
    assert [type(packet) for packet in again] == [p.Subscribe]
    assert [(fault.kind, fault.acknowledged_at) for fault in one.faults] == [(SESSION, 7.0)]
    assert one.unfinished == {}


def test_a_session_that_nobody_promised_may_be_gone() -> None:
    one = peer(is_durable=False)
    connect(one, present=False)
    two = Peer("pub", 5, [], True)
    two.take(p.Connack(False, 0x88))
    connect(two, present=False)
    assert one.faults == two.faults == []
    assert (two.refusal, two.is_welcome) == (0, True)


def test_qos_2_is_written_down_once_for_each_identifier() -> None:
    one = peer()
    message = p.Publish("a", b"x", 2, False, False, 5)
    one.take(message)
    one.take(message)
    assert one.got == [("a", b"x")]
    one.take(p.Pubrel(5))
    one.take(message)  # a new one, if the broker keeps the rules
    assert len(one.got) == 2
    assert [type(packet) for packet in said(one)] == [p.Pubrec, p.Pubrec, p.Pubcomp, p.Pubrec]


def test_what_comes_again_in_another_order_is_a_fault() -> None:
    sender, one = peer(), peer()
    one.sources = [sender]
    for payload in (b"1", b"2"):
        sender.write(payload, "a", 1)
    for connection in ((b"1", b"2"), (b"2", b"1")):
        connect(one, present=True)
        for payload in connection:
            one.take(p.Publish("a", payload, 1, False, False, 1))
    (fault,) = one.faults
    assert (fault.kind, fault.number) == (OUT_OF_ORDER, 1)


def test_it_gives_up_a_filter_when_it_has_subscribed() -> None:
    one = peer()
    one.leaving = ["b"]
    one.take(p.Suback(65535, [0x87]))
    assert (one.is_subscribed, one.refusal, said(one)) == (False, 0x87, [])
    one.take(p.Suback(65535, [1, 1]))
    (packet,) = said(one)
    assert isinstance(packet, p.Unsubscribe)
    one.take(p.Unsuback(packet.packet_id, [0]))
    assert (one.subscribed_at, one.left_at) == (7.0, 7.0)


def test_it_keeps_to_what_the_broker_can_take() -> None:
    limits = Properties()
    limits.receive_maximum, limits.maximum_qos, limits.retain_available = 3, 1, 0
    one = peer()
    connect(one, True, limits)
    assert (one.window, one.most_qos, one.may_retain) == (3, 1, False)


def test_what_is_no_mqtt_raises() -> None:
    with pytest.raises(ProtocolError):
        peer().read(b"\x00\x00")
