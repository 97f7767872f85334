"""A little load: one very large message, and very many connections."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from curier import Message, QoS, ReasonCode, Subscription
from tests.conftest import require_peer
from tests.interop.conftest import Peers
from tests.interop.peer import TIMEOUT, Connect
from tests.interop.process import BrokerProcess

MIB = 1024 * 1024
LARGE = 64 * MIB
CONNECTIONS = 1000


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker that takes packets as large as MQTT has them."""
    process = BrokerProcess(tmp_path_factory.mktemp("roomy"), "--max-packet-size", "256 MiB", memory=True)
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="module")
def large() -> bytes:
    """64 MiB that do not repeat themselves on any round number."""
    return (bytes(range(251)) * (LARGE // 251 + 1))[:LARGE]


@pytest.mark.parametrize("qos", QoS)
def test_64_mib(peers: Peers, roomy: BrokerProcess, large: bytes, topic: str, qos: QoS) -> None:
    subscriber = peers.connect("paho", 5, port=roomy.port)
    subscriber.subscribe(Subscription(topic, qos))
    publisher = peers.connect("paho", 4, port=roomy.port)
    publisher.publish(Message(topic, large, qos))
    assert subscriber.next() == Message(topic, large, qos)


def test_a_message_larger_than_the_limits_of_output(peers: Peers, roomy: BrokerProcess, topic: str) -> None:
    """The broker has taken it, so it does not hold it against the receiver that it is large."""
    payload = bytes(100 * MIB)
    subscriber = peers.connect("paho", 5, port=roomy.port)
    subscriber.subscribe(Subscription(topic))
    publisher = peers.connect("paho", 4, port=roomy.port)
    publisher.publish(Message(topic, payload))
    assert subscriber.next().payload == payload
    publisher.publish(Message(topic, b"still there"))
    assert subscriber.next().payload == b"still there"


def test_64_mib_from_mosquitto_pub_to_mosquitto_sub(
    roomy: BrokerProcess, large: bytes, topic: str, tmp_path: Path
) -> None:
    """Retained, so that it waits for its subscriber."""
    payload = tmp_path / "payload"
    payload.write_bytes(large)
    address = ["-h", "127.0.0.1", "-p", str(roomy.port), "-t", topic, "-q", "1"]
    command = [require_peer("mosquitto_pub"), *address, "-r", "-f", str(payload)]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    command = [require_peer("mosquitto_sub"), *address, "-C", "1", "-N"]
    done = subprocess.run(command, check=True, timeout=TIMEOUT, stdout=subprocess.PIPE)
    assert done.stdout == large


def test_64_mib_between_two_of_mqttjs(peers: Peers, roomy: BrokerProcess, topic: str) -> None:
    """Made and hashed in node, so that they need not come here."""
    node = peers.kind("mqttjs").node  # type: ignore[attr-defined]
    found = node.call("large", "large", port=roomy.port, size=LARGE, topic=topic)
    assert found == {"size": LARGE, "sha256": hashlib.sha256(b"7" * LARGE).hexdigest()}


def test_too_large_a_packet_is_refused(peers: Peers, topic: str) -> None:
    """The default is 16 MiB; who sends more is told why it is disconnected."""
    publisher = peers.connect("paho", 5)
    publisher.client.publish(topic, bytes(16 * MIB), 1)
    assert publisher.left.get(timeout=TIMEOUT) == ReasonCode.PACKET_TOO_LARGE


def test_a_thousand_rapid_connects(peers: Peers, topic: str) -> None:
    """Twenty at a time; each says hello with QoS 1 and leaves."""
    node = peers.kind("mqttjs").node  # type: ignore[attr-defined]
    witness = peers.connect("paho", 5)
    witness.subscribe(Subscription(topic, QoS(1)))
    done = node.call(topic[-12:], "storm", port=peers.port, count=CONNECTIONS, atOnce=20, topic=topic)
    assert done == CONNECTIONS
    assert sorted(int(witness.next().payload) for _ in range(CONNECTIONS)) == list(range(CONNECTIONS))


def test_a_thousand_connects_one_by_one(peers: Peers) -> None:
    """Paho connects, and leaves when it has its CONNACK."""
    accepted = 0

    def on_connect(client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        nonlocal accepted
        accepted += not reason.is_failure
        client.disconnect()

    client = paho.Client(CallbackAPIVersion.VERSION2, Connect(0, 0).client_id)
    client.on_connect = on_connect
    for _ in range(CONNECTIONS):
        client.connect("127.0.0.1", peers.port)
        while client.loop(TIMEOUT) == paho.MQTT_ERR_SUCCESS:
            pass  # until it has disconnected
    assert accepted == CONNECTIONS
