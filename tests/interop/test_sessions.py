"""What outlives a connection: sessions, wills; and how a broker finds out that nobody is there."""

import os
import signal

import pytest

from curier import Message, QoS, ReasonCode, Subscription, Will
from tests.interop.conftest import KINDS, Peers, Side
from tests.interop.peer import TIMEOUT, Connect
from tests.standing_still import stand_still


@pytest.mark.parametrize("qos", [QoS(1), QoS(2)])
@pytest.mark.parametrize("leave", ["disconnect", "kill"])
def test_messages_wait_for_who_is_away(side: Side, topic: str, qos: QoS, leave: str) -> None:
    subscription = Subscription(f"{topic}/#", qos)
    messages = [Message(f"{topic}/{n}", f"number {n}".encode(), qos) for n in range(8)]
    client_id = Connect(0, 0).client_id

    subscriber = side.connect(client_id=client_id, clean=False)
    subscriber.subscribe(subscription)
    assert subscriber.session_present in (False, None)
    getattr(subscriber, leave)()
    publisher = side.connect()
    publisher.publish(*messages)

    subscriber = side.connect(client_id=client_id, clean=False)
    if side.subscribes_to_connect:
        subscriber.subscribe(subscription)
    assert subscriber.session_present in (True, None)
    assert [subscriber.next() for _ in messages] == messages
    subscriber.disconnect()

    subscriber = side.connect(client_id=client_id, clean=False)
    if side.subscribes_to_connect:
        subscriber.subscribe(subscription)
    publisher.publish(Message(topic, b"the end", qos))
    assert subscriber.next() == Message(topic, b"the end", qos)  # nothing came twice

    subscriber.disconnect()
    subscriber = side.connect(client_id=client_id, clean=True)
    subscriber.subscribe(subscription)
    assert subscriber.session_present in (False, None)


@pytest.mark.parametrize("qos", QoS)
def test_the_will_of_a_client_that_was_killed(side: Side, topic: str, qos: QoS) -> None:
    will = Message(topic, b"gone", qos, retain=True)
    client = side.connect(will=Will(will))
    witness = side.connect()
    witness.subscribe(Subscription(topic, qos))
    client.kill()
    assert witness.next() == Message(topic, b"gone", qos)
    late = side.connect()
    late.subscribe(Subscription(topic, qos))
    assert late.next() == will
    side.connect().publish(Message(topic, b"", retain=True))


def test_no_will_after_disconnect(side: Side, topic: str) -> None:
    client = side.connect(will=Will(Message(f"{topic}/will", b"gone")))
    witness = side.connect()
    witness.subscribe(Subscription(f"{topic}/#"))
    client.disconnect()
    if side.kind == "mosquitto" and side.version == 5:  # it asks for its will, with Reason Code 0x04
        assert witness.next() == Message(f"{topic}/will", b"gone")
    side.connect().publish(Message(f"{topic}/end", b"the end"))
    assert witness.next() == Message(f"{topic}/end", b"the end")


@pytest.mark.parametrize("kind", KINDS)
def test_keep_alive(peers: Peers, topic: str, kind: str) -> None:
    """A client that has nothing to say for longer than 1.5 times its Keep Alive is still there."""
    seconds, pings = (5, 1) if kind == "mosquitto" else (1, 2)  # mosquitto_sub takes no less than 5
    clients = [peers.connect(kind, version, keep_alive=seconds) for version in KINDS[kind]]
    for client in clients:
        client.subscribe(Subscription(topic))
    for client in clients:
        for _ in range(pings):
            assert client.pings.acquire(timeout=TIMEOUT), "no PINGRESP"
    peers.connect(kind, 4).publish(Message(topic, b"hello"))
    for client in clients:
        assert client.next() == Message(topic, b"hello")


def test_a_client_that_falls_silent(peers: Peers, topic: str) -> None:
    """Its connection is open, but its process stands still: after 1.5 times its Keep Alive it is gone."""
    peers.kind("mqttjs")
    from tests.interop.mqttjs_peer import MqttjsPeer

    witness = peers.connect("paho", 5)
    witness.subscribe(Subscription(topic))
    node = MqttjsPeer()
    try:
        node.connect(Connect(peers.port, 5, keep_alive=1, will=Will(Message(topic, b"silent"))))
        stand_still(node.node.popen.pid)
        assert witness.next() == Message(topic, b"silent")
    finally:
        os.kill(node.node.popen.pid, signal.SIGCONT)
        node.close()


@pytest.mark.parametrize("kind", ["paho", "mqttjs", "aiomqtt", "gmqtt"])
def test_a_second_connection_takes_over(peers: Peers, topic: str, kind: str) -> None:
    """The session goes on with the new connection; the old one is closed."""
    first = peers.connect(kind, 5, client_id=(name := Connect(0, 0).client_id), clean=False)
    first.subscribe(Subscription(topic, QoS(1)))
    second = peers.connect(kind, 5, client_id=name, clean=False)
    assert second.session_present in (True, None)
    peers.connect(kind, 5).publish(Message(topic, b"for the second", QoS(1)))
    assert second.next() == Message(topic, b"for the second", QoS(1))
    assert first.received.empty()
    if kind == "paho":
        assert first.left.get(timeout=TIMEOUT) == ReasonCode.SESSION_TAKEN_OVER
