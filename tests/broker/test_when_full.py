"""What becomes of a message whose receivers have no room: ``when_full``."""

from __future__ import annotations

import pytest

from curier.codec import packets as p
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet

POLICIES = pytest.mark.parametrize("when_full", ["drop-newest", "drop-oldest", "refuse"])
QOS = pytest.mark.parametrize("qos", [1, 2])


def away(net: Net, client_id: str, *filters: str) -> None:
    """A client whose session waits for it."""
    client = net.connect(client_id, expiry=1000)
    client.subscribe(*filters)
    client.drop()


def codes(client: Client, count: int, qos: int, topic: str = "t") -> list[int]:
    return [client.publish(topic, b"%d" % number, qos) for number in range(count)]


def waiting(net: Net, client_id: str) -> list[bytes]:
    return [entry.message.payload for entry in net.core.sessions[client_id].outgoing.queue]


@POLICIES
@QOS
def test_a_message_that_nobody_keeps_is_refused(make: Make, when_full: str, qos: int) -> None:
    net = make(quiet(max_queued_messages=3, when_full=when_full))
    away(net, "away", "t")
    sender = net.connect("sender")
    expected = [0] * 5 if when_full == "drop-oldest" else [0, 0, 0, 0x97, 0x97]
    assert codes(sender, 5, qos) == expected
    kept = [b"2", b"3", b"4"] if when_full == "drop-oldest" else [b"0", b"1", b"2"]
    assert waiting(net, "away") == kept
    assert net.core.statistics.dropped == (0 if when_full == "refuse" else 2)
    again = net.connect("away", clean=False)
    assert again.payloads() == kept


@POLICIES
@QOS
@pytest.mark.parametrize("topic_filter", ["t", "$share/group/t"])
def test_what_is_for_who_is_there_alone_is_not_refused(
    make: Make, when_full: str, qos: int, topic_filter: str
) -> None:
    net = make(quiet(when_full=when_full))
    client = net.connect("away", expiry=1000)
    client.subscribe((topic_filter, 0))
    client.drop()
    assert codes(net.connect("sender"), 3, qos) == [0, 0, 0]


@QOS
@pytest.mark.parametrize("when_full", ["drop-newest", "refuse"])
def test_whether_somebody_else_keeps_it_depends_on_the_policy(make: Make, when_full: str, qos: int) -> None:
    net = make(quiet(max_queued_messages=1, when_full=when_full))
    away(net, "away", "t")
    here = net.connect("here")
    here.subscribe("t")
    sender = net.connect("sender")
    assert codes(sender, 3, qos) == ([0, 0x97, 0x97] if when_full == "refuse" else [0, 0, 0])
    assert here.payloads() == ([b"0"] if when_full == "refuse" else [b"0", b"1", b"2"])
    assert waiting(net, "away") == [b"0"]


@QOS
def test_only_sessions_that_outlive_their_connection_refuse(make: Make, qos: int) -> None:
    net = make(quiet(max_queued_messages=1, when_full="refuse"))
    slow = net.connect("slow", receive_maximum=1)
    slow.subscribe("t")
    here = net.connect("here")
    here.subscribe("t")
    assert codes(net.connect("sender"), 4, qos) == [0] * 4
    assert net.core.statistics.dropped == 2
    assert len(here.payloads()) == 4


@QOS
def test_a_retained_message_is_kept_as_such(make: Make, qos: int) -> None:
    net = make(quiet(max_queued_messages=1))
    away(net, "away", "t")
    sender = net.connect("sender")
    assert [sender.publish("t", b"%d" % n, qos, True) for n in range(3)] == [0, 0, 0]
    late = net.connect("late")
    late.subscribe("t")
    assert late.payloads() == [b"2"]


@QOS
def test_a_refused_message_is_not_retained(make: Make, qos: int) -> None:
    net = make(quiet(max_queued_messages=1, when_full="refuse"))
    away(net, "away", "t")
    sender = net.connect("sender")
    assert [sender.publish("t", b"%d" % n, qos, True) for n in range(2)] == [0, 0x97]
    late = net.connect("late")
    late.subscribe("t")
    assert late.payloads() == [b"0"]


@QOS
@pytest.mark.parametrize("count", [1, 7])
def test_of_a_run_exactly_those_are_refused_that_nobody_keeps(make: Make, qos: int, count: int) -> None:
    """A run of like packets in one chunk takes the fast lane."""
    net = make(quiet(max_queued_messages=2))
    slow = net.connect("slow", receive_maximum=2)
    slow.subscribe("t")
    sender = net.connect("sender")
    sender.publish("t", b"w", 0)
    slow.take()
    packets = [p.Publish("t", b"x", qos, False, False, n + 1) for n in range(count)]
    sender.send(*packets)
    answers = [packet for packet in sender.take() if isinstance(packet, p.Puback | p.Pubrec)]
    assert [answer.packet_id for answer in answers] == list(range(1, count + 1))
    assert [answer.reason_code for answer in answers] == [0, 0, 0, 0, 0x97, 0x97, 0x97][:count]
    assert len(slow.payloads()) == min(2, count)


@QOS
@pytest.mark.parametrize("when_full", ["drop-newest", "refuse"])
def test_a_shared_subscription_keeps_what_one_member_has_room_for(
    make: Make, when_full: str, qos: int
) -> None:
    net = make(quiet(max_queued_bytes=2 * len(b"t0"), when_full=when_full))
    for number in range(2):
        away(net, f"m{number}", "$share/g/t")
    assert codes(net.connect("sender"), 6, qos) == [0, 0, 0, 0, 0x97, 0x97]
    assert [waiting(net, "m0"), waiting(net, "m1")] == [[b"0", b"2"], [b"1", b"3"]]
