"""What only MQTT 5.0 has: Properties end to end, request and response, expiry, aliases, options."""

import subprocess
import threading
import time
from itertools import count

import pytest

from curier import Message, QoS, RetainHandling, Subscription, Will
from tests.conftest import require_peer
from tests.interop.conftest import KINDS, Peers, Side
from tests.interop.peer import TIMEOUT, Connect

WITH_OPTIONS = [kind for kind in KINDS if kind != "mosquitto"]  # mosquitto_sub sets no Subscription Options


def full(topic: str, qos: QoS) -> Message:
    """A message with every Property that goes from end to end."""
    return Message(
        topic,
        "ŝafo".encode(),
        qos,
        payload_is_text=True,
        message_expiry=3600,
        content_type="text/plain; charset=utf-8",
        response_topic=f"{topic}/answers",
        correlation_data=b"number 7",
        user_properties=(("unit", "°C"), ("room", "cellar"), ("room", "attic"), ("a", "")),
    )


@pytest.mark.parametrize("qos", QoS)
def test_properties_arrive_as_they_were_sent(side_5: Side, topic: str, qos: QoS) -> None:
    subscriber = side_5.connect()
    subscriber.subscribe(Subscription(topic, qos))
    side_5.connect().publish(full(topic, qos))
    assert subscriber.next() == full(topic, qos)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mqttjs"])  # which sorts them by name
def test_user_properties_keep_their_order(peers: Peers, topic: str, kind: str) -> None:
    pairs = (("b", "1"), ("a", "2"), ("b", "3"), ("a", "2"), ("c", ""))
    subscriber = peers.connect(kind, 5)
    subscriber.subscribe(Subscription(topic))
    peers.connect(kind, 5).publish(Message(topic, user_properties=pairs))
    assert subscriber.next().user_properties == pairs


def test_properties_of_a_will(side_5: Side, topic: str) -> None:
    witness = side_5.connect()
    witness.subscribe(Subscription(topic, QoS(1)))
    client = side_5.connect(will=Will(full(topic, QoS(1))))
    client.kill()
    assert witness.next() == full(topic, QoS(1))


def test_a_will_that_waits(side_5: Side, topic: str) -> None:
    witness = side_5.connect()
    witness.subscribe(Subscription(topic, QoS(1)))
    client = side_5.connect(clean=False, will=Will(Message(topic, b"gone"), delay=1))
    before = time.monotonic()
    client.kill()
    assert witness.next() == Message(topic, b"gone")
    assert time.monotonic() - before >= 0.99


def test_a_will_that_waits_in_vain(peers: Peers, topic: str) -> None:
    """It is never published if the client is back before its delay has passed."""
    for delay in (2, 10, 30):  # until the machine has it back in time
        witness = peers.connect("paho", 5)
        witness.subscribe(Subscription(f"{topic}/{delay}/#", QoS(1)))
        name = Connect(0, 0).client_id
        will = Will(Message(f"{topic}/{delay}/never", b"gone"), delay=delay)
        client = peers.connect("paho", 5, client_id=name, clean=False, will=will)
        killed = time.monotonic()
        client.kill()
        peers.connect("paho", 5, client_id=name, clean=False)
        if time.monotonic() - killed < delay:
            break
    later = Will(Message(f"{topic}/{delay}/later", b"gone"), delay=delay + 1)
    peers.connect("paho", 5, clean=False, will=later).kill()
    assert witness.next() == later.message


def test_request_and_response(side_5: Side, topic: str) -> None:
    asks, answers = side_5.connect(), side_5.connect()
    asks.subscribe(Subscription(f"{topic}/answers", QoS(1)))
    answers.subscribe(Subscription(f"{topic}/questions", QoS(1)))
    question = Message(
        f"{topic}/questions", b"6 * 7", QoS(1), response_topic=f"{topic}/answers", correlation_data=b"q1"
    )
    asks.publish(question)
    heard = answers.next()
    assert heard == question
    assert heard.response_topic is not None
    answers.publish(Message(heard.response_topic, b"42", QoS(1), correlation_data=heard.correlation_data))
    assert asks.next() == Message(f"{topic}/answers", b"42", QoS(1), correlation_data=b"q1")


@pytest.mark.parametrize("version", [4, 5])
def test_mosquitto_rr_is_answered(peers: Peers, topic: str, version: int) -> None:
    program = require_peer("mosquitto_rr")
    server = peers.connect("paho", version)
    server.subscribe(Subscription(f"{topic}/questions", QoS(1)))

    def answer() -> None:
        heard = server.next()
        server.publish(
            Message(f"{topic}/answers", heard.payload.upper(), correlation_data=heard.correlation_data)
        )

    thread = threading.Thread(target=answer)
    thread.start()
    command = [program, "-V", {4: "mqttv311", 5: "mqttv5"}[version], "-p", str(peers.port), "-q", "1"]
    command += ["-t", f"{topic}/questions", "-e", f"{topic}/answers", "-m", "who is there?"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    thread.join(TIMEOUT)
    assert done.stdout == b"WHO IS THERE?\n"


def test_messages_expire(peers: Peers, topic: str) -> None:
    """A message that waits says how long it may still wait, and is gone when its time has passed."""
    publisher = peers.connect("paho", 5)
    began = time.monotonic()
    publisher.publish(Message(f"{topic}/long", b"long", QoS(1), retain=True, message_expiry=1000))
    publisher.publish(Message(f"{topic}/short", b"short", QoS(1), retain=True, message_expiry=1))
    end = Message(f"{topic}/end", b"the end")
    for _ in count():
        subscriber = peers.connect("paho", 5)
        subscriber.subscribe(Subscription(f"{topic}/#"))
        publisher.publish(end)
        found = {}
        while (message := subscriber.next()) != end:
            found[message.payload] = message.message_expiry
        subscriber.disconnect()
        if b"short" not in found:
            break
        assert found[b"short"] in (0, 1)
        assert time.monotonic() - began < TIMEOUT
    waited = time.monotonic() - began
    assert waited >= 0.9
    left = found[b"long"]
    assert left is not None
    assert 1000 - waited - 1 <= left < 1000


@pytest.mark.parametrize("kind", ["paho", "mqttjs"])
def test_the_broker_uses_topic_aliases(peers: Peers, topic: str, kind: str) -> None:
    subscriber = peers.connect(kind, 5, topic_alias_maximum=2)
    subscriber.subscribe(Subscription(f"{topic}/#", QoS(1)))
    messages = [Message(f"{topic}/{name}", name.encode(), QoS(1)) for name in "abcabcabc"]
    peers.connect(kind, 5).publish(*messages)
    assert [subscriber.next() for _ in messages] == messages
    aliased = subscriber.aliased() if kind == "mqttjs" else subscriber.aliased
    assert aliased == 4  # the second and third time of "a" and "b"; there was no alias left for "c"


def test_clients_use_topic_aliases(peers: Peers, topic: str) -> None:
    subscriber = peers.connect("paho", 5)
    subscriber.subscribe(Subscription(f"{topic}/#", QoS(1)))
    publisher = peers.connect("paho", 5)
    publisher.publish_aliased(3, Message(f"{topic}/a", b"1", QoS(1)))
    publisher.publish_aliased(3, Message("", b"2", QoS(1)))
    publisher.publish_aliased(3, Message(f"{topic}/b", b"3", QoS(1)))
    publisher.publish_aliased(3, Message("", b"4", QoS(1)))
    found = [subscriber.next() for _ in range(4)]
    assert [(one.topic[-1], one.payload) for one in found] == [
        ("a", b"1"),
        ("a", b"2"),
        ("b", b"3"),
        ("b", b"4"),
    ]


def test_mqttjs_uses_topic_aliases_by_itself(peers: Peers, topic: str) -> None:
    subscriber = peers.connect("paho", 5)
    subscriber.subscribe(Subscription(f"{topic}/#", QoS(1)))
    messages = [Message(f"{topic}/{n % 40}", str(n).encode(), QoS(1)) for n in range(120)]
    peers.connect("mqttjs", 5, topic_alias_maximum=1).publish(*messages)  # which turns them on
    assert [subscriber.next() for _ in messages] == messages


def test_subscription_identifiers(side_5: Side, topic: str) -> None:
    first = side_5.connect()
    first.subscribe(Subscription(f"{topic}/+", identifier=7))
    if not side_5.subscribes_to_connect:
        first.subscribe(Subscription(f"{topic}/#", identifier=268_435_455))
    side_5.connect().publish(Message(f"{topic}/a"))
    identifiers = {7} if side_5.subscribes_to_connect else {7, 268_435_455}
    assert set(first.next().subscription_identifiers) == identifiers


@pytest.mark.parametrize("kind", WITH_OPTIONS)
def test_no_local(peers: Peers, topic: str, kind: str) -> None:
    client = peers.connect(kind, 5)
    client.subscribe(Subscription(topic, QoS(1), no_local=True))
    client.publish(Message(topic, b"mine", QoS(1)))
    peers.connect(kind, 5).publish(Message(topic, b"another's", QoS(1)))
    assert client.next().payload == b"another's"


@pytest.mark.parametrize("kind", WITH_OPTIONS)
def test_retain_as_published(peers: Peers, topic: str, kind: str) -> None:
    client = peers.connect(kind, 5)
    client.subscribe(Subscription(topic, QoS(1), retain_as_published=True))
    peers.connect(kind, 5).publish(Message(topic, b"kept", QoS(1), retain=True), Message(topic, b"", QoS(1)))
    assert [client.next().retain for _ in range(2)] == [True, False]


@pytest.mark.parametrize("kind", WITH_OPTIONS)
def test_retain_handling(peers: Peers, topic: str, kind: str) -> None:
    publisher = peers.connect(kind, 5)
    publisher.publish(Message(f"{topic}/kept", b"kept", QoS(1), retain=True))
    client = peers.connect(kind, 5)
    found = []
    for handling in (RetainHandling.DO_NOT_SEND, RetainHandling.SEND, RetainHandling.SEND_IF_NEW):
        client.subscribe(Subscription(f"{topic}/#", QoS(1), retain_handling=handling))
        publisher.publish(Message(f"{topic}/end", b"end", QoS(1)))
        found.append([client.next().payload])
        while found[-1][-1] != b"end":
            found[-1].append(client.next().payload)
    assert found == [[b"end"], [b"kept", b"end"], [b"end"]]
