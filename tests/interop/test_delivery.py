"""Messages on their way: QoS, retained messages, unsubscribing; and everybody to everybody."""

import pytest

from curier import Message, QoS, Subscription
from tests.interop.conftest import KINDS, Peers, Side

PAYLOADS = (b"in plain words", b"", "naïve café ☕".encode(), bytes(range(256)), bytes(100_000))


@pytest.mark.parametrize("qos", QoS)
def test_messages_arrive_as_they_were_sent(side: Side, topic: str, qos: QoS) -> None:
    messages = [Message(f"{topic}/ŝtupo {n}", payload, qos) for n, payload in enumerate(PAYLOADS)]
    subscriber = side.connect()
    assert subscriber.subscribe(Subscription(f"{topic}/+", qos)) == [qos]
    side.connect().publish(*messages)
    assert [subscriber.next() for _ in messages] == messages


@pytest.mark.parametrize(
    ("published", "granted"), [(QoS(2), QoS(1)), (QoS(1), QoS(2)), (QoS(2), QoS(0)), (QoS(0), QoS(2))]
)
def test_the_lower_qos_of_both_counts(side: Side, topic: str, published: QoS, granted: QoS) -> None:
    subscriber = side.connect()
    assert subscriber.subscribe(Subscription(topic, granted)) == [granted]
    side.connect().publish(Message(topic, b"once", published))
    assert subscriber.next() == Message(topic, b"once", min(published, granted))


@pytest.mark.parametrize("qos", QoS)
def test_retained_messages_wait_for_subscribers(side: Side, topic: str, qos: QoS) -> None:
    early = side.connect()
    early.subscribe(Subscription(f"{topic}/#", qos))
    publisher = side.connect()
    publisher.publish(Message(f"{topic}/a", b"old", qos, retain=True))
    publisher.publish(Message(f"{topic}/a", b"new", qos, retain=True))
    assert early.next() == Message(f"{topic}/a", b"old", qos)  # RETAIN is 0 for who was there already
    assert early.next() == Message(f"{topic}/a", b"new", qos)
    late = side.connect()
    late.subscribe(Subscription(f"{topic}/#", qos))
    assert late.next() == Message(f"{topic}/a", b"new", qos, retain=True)

    publisher.publish(Message(f"{topic}/a", b"", qos, retain=True))  # removes it
    assert early.next() == Message(f"{topic}/a", b"", qos)
    too_late = side.connect()
    too_late.subscribe(Subscription(f"{topic}/#", qos))
    publisher.publish(Message(f"{topic}/b", b"the end", qos))
    assert too_late.next() == Message(f"{topic}/b", b"the end", qos)


def test_nothing_comes_after_unsubscribing(side: Side, topic: str) -> None:
    subscriber = side.connect(clean=False)
    filters = [Subscription(f"{topic}/{name}", QoS(1)) for name in ("a", "b")]
    subscriber.subscribe(*filters)
    publisher = side.connect()
    publisher.publish(Message(f"{topic}/a", b"1", QoS(1)))
    assert subscriber.next().payload == b"1"
    subscriber.unsubscribe(f"{topic}/a")
    if side.subscribes_to_connect:  # it has left to do that, and comes back now
        subscriber.subscribe(filters[1])
    publisher.publish(Message(f"{topic}/a", b"2", QoS(1)), Message(f"{topic}/b", b"3", QoS(1)))
    assert subscriber.next() == Message(f"{topic}/b", b"3", QoS(1))


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_everybody_reaches_everybody(peers: Peers, topic: str, kind: str, to: str) -> None:
    """From MQTT 5.0 to 3.1.1, and back with Properties that 3.1.1 does not have."""
    old, new = peers.connect(to, 4), peers.connect(kind, 5)
    old.subscribe(Subscription(f"{topic}/old", QoS(2)))
    new.subscribe(Subscription(f"{topic}/new", QoS(2)))
    new.publish(Message(f"{topic}/old", b"to 3.1.1", QoS(2), content_type="text/plain"))
    assert old.next() == Message(f"{topic}/old", b"to 3.1.1", QoS(2))
    old.publish(Message(f"{topic}/new", b"to 5.0", QoS(2)))
    assert new.next() == Message(f"{topic}/new", b"to 5.0", QoS(2))
