"""Shared Subscriptions: each message goes to one member of the group (5.0 section 4.8.2)."""

import pytest

from curier import Message, QoS, Subscription
from tests.interop.conftest import Side
from tests.interop.peer import PeerClient


@pytest.mark.parametrize("qos", QoS)
def test_members_share_the_messages(side: Side, topic: str, qos: QoS) -> None:
    messages = [Message(f"{topic}/{n}", str(n).encode(), qos) for n in range(9)]
    end = Message(topic, b"the end", qos)
    members = [side.connect() for _ in range(3)]
    for member in members:
        member.subscribe(Subscription(f"$share/group/{topic}/#", qos))
    everyone = side.connect()
    everyone.subscribe(Subscription(f"{topic}/#", qos))
    publisher = side.connect()
    publisher.publish(*messages)
    assert [everyone.next() for _ in messages] == messages
    publisher.publish(end, end, end)  # they take turns, so one for each
    shares = [until(end, member) for member in members]
    assert sorted((one for share in shares for one in share), key=lambda one: one.topic) == messages
    assert [len(share) for share in shares] == [3, 3, 3]


def until(end: Message, member: PeerClient) -> list[Message]:
    found: list[Message] = []
    while (message := member.next()) != end:
        found.append(message)
    return found


def test_a_member_that_leaves_gets_nothing_more(side: Side, topic: str) -> None:
    stays, leaves = side.connect(), side.connect()
    for member in (stays, leaves):
        member.subscribe(Subscription(f"$share/group/{topic}", QoS(1)))
    leaves.disconnect()
    messages = [Message(topic, str(n).encode(), QoS(1)) for n in range(4)]
    side.connect().publish(*messages)
    assert [stays.next() for _ in messages] == messages
