"""Everybody's clients over TLS, over WebSocket, and over both."""

from collections.abc import Iterator
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from curier import Message, QoS, Subscription, Will
from tests.interop.conftest import KINDS, Peers
from tests.interop.peer import VERSIONS, PeerClient, Way
from tests.interop.process import BrokerProcess
from tests.net.doors import authority, server_files
from tests.waiting import wait_until

SPOKEN = {
    "paho": ("mqtts", "ws", "wss"),
    "aiomqtt": ("mqtts", "ws", "wss"),
    "gmqtt": ("mqtts",),
    "mosquitto": ("mqtts",),
    "mqttjs": ("mqtts", "ws", "wss"),
}
"""Kinds of clients, and what each speaks besides plain TCP."""

PAYLOADS = (b"in plain words", b"", "naïve café ☕".encode(), bytes(range(256)), bytes(100_000))
MIB = 1024 * 1024


class Doors:
    """A broker with listeners of each kind, and those that want to see a certificate of a client."""

    def __init__(self, folder: Path) -> None:
        certificate, key = map(str, server_files())
        tls = {"certificate": certificate, "key": key}
        known = {"client_ca": str(authority().file), "identity": "common-name", "allow_anonymous": False}
        self.process = BrokerProcess(
            folder,
            memory=True,
            listeners=(
                {"url": "tcp://127.0.0.1:0"},
                {"url": "tls://127.0.0.1:0", **tls},
                {"url": "ws://127.0.0.1:0/mqtt"},
                {"url": "wss://127.0.0.1:0/mqtt", **tls},
                {"name": "devices", "url": "tls://127.0.0.1:0", **tls, **known},
                {"name": "pages", "url": "wss://127.0.0.1:0/mqtt", **tls, **known},
            ),
        )
        self.ports = dict(zip(("mqtt", "mqtts", "ws", "wss"), self.process.ports, strict=False))
        self.ports_for_known = {"mqtts": self.process.ports[4], "wss": self.process.ports[5]}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    made = Doors(tmp_path_factory.mktemp("doors"))
    try:
        yield made
    finally:
        made.process.stop()


class Caller:
    """One kind of client in one version of MQTT, who comes by one way."""

    def __init__(self, peers: Peers, doors: Doors, kind: str, scheme: str, version: int) -> None:
        self.peers = peers
        self.kind = kind
        self.way = Way(scheme, ca=str(authority().file))
        self.version = version
        self.port = doors.ports[scheme]
        peers.kind(kind)

    def connect(self, will: Will | None = None) -> PeerClient:
        client: PeerClient = self.peers.connect(
            self.kind, self.version, port=self.port, way=self.way, will=will
        )
        return client


@pytest.fixture(
    params=[
        (kind, scheme, version)
        for kind, schemes in SPOKEN.items()
        for scheme in schemes
        for version in KINDS[kind]
    ],
    ids=lambda param: f"{param[0]}-{param[1]}-{VERSIONS[param[2]]}",
)
def caller(request: pytest.FixtureRequest, peers: Peers, doors: Doors) -> Caller:
    return Caller(peers, doors, *request.param)


BY_WAY = [(kind, scheme) for kind, schemes in SPOKEN.items() for scheme in schemes]


def test_messages_arrive_as_they_were_sent(caller: Caller, topic: str) -> None:
    messages = [Message(f"{topic}/ŝtupo {n}", PAYLOADS[n // 3], QoS(n % 3)) for n in range(3 * len(PAYLOADS))]
    subscriber = caller.connect()
    assert subscriber.subscribe(Subscription(f"{topic}/+", QoS(2))) == [2]
    caller.connect().publish(*messages)
    received = [subscriber.next() for _ in messages]
    assert sorted(received, key=lambda one: messages.index(one)) == messages


def test_the_will_of_one_whose_connection_is_cut(caller: Caller, topic: str) -> None:
    will = Message(topic, b"I am gone", QoS(1))
    witness = caller.connect()
    witness.subscribe(Subscription(topic, QoS(1)))
    caller.connect(Will(will)).kill()
    assert witness.next() == will


def test_the_will_of_one_that_says_goodbye(caller: Caller, topic: str) -> None:
    """It is forgotten; but mosquitto_sub ends in 5.0 with "Disconnect with Will Message" (0x04)."""
    will, after = Message(topic, b"I am gone", QoS(1)), Message(topic, b"the end", QoS(1))
    witness = caller.connect()
    witness.subscribe(Subscription(topic, QoS(1)))
    caller.connect(Will(will)).disconnect()
    caller.connect().publish(after)
    if (caller.kind, caller.version) == ("mosquitto", 5):
        assert witness.next() == will
    assert witness.next() == after


@pytest.mark.parametrize(("kind", "scheme"), BY_WAY)
def test_large_messages(peers: Peers, doors: Doors, topic: str, kind: str, scheme: str) -> None:
    """Up to what a packet may have (16 MiB).

    On a WebSocket, paho (and aiomqtt on it) forgets the rest of a frame that the network does not take at
    once: there it only receives them.
    """
    caller = Caller(peers, doors, kind, scheme, 5)
    subscriber = caller.connect()
    subscriber.subscribe(Subscription(topic, QoS(2)))
    is_forgetful = caller.way.is_web and kind in ("paho", "aiomqtt")
    publisher = Caller(peers, doors, kind, "mqtts" if is_forgetful else scheme, 5).connect()
    for size, qos in ((MIB, QoS(0)), (MIB + 1, QoS(2)), (15 * MIB, QoS(1))):
        message = Message(topic, (bytes(range(251)) * (size // 251 + 1))[:size], qos)
        publisher.publish(message)
        assert subscriber.next() == message


@pytest.mark.parametrize(("kind", "scheme"), BY_WAY)
def test_everybody_meets_at_one_broker(
    peers: Peers, doors: Doors, topic: str, kind: str, scheme: str
) -> None:
    """From there to who came by TCP, and back."""
    there = Caller(peers, doors, kind, scheme, 4).connect()
    here = peers.connect("paho", 5, port=doors.ports["mqtt"])
    there.subscribe(Subscription(f"{topic}/there", QoS(2)))
    here.subscribe(Subscription(f"{topic}/here", QoS(2)))
    here.publish(Message(f"{topic}/there", b"hello", QoS(2)))
    assert there.next() == Message(f"{topic}/there", b"hello", QoS(2))
    there.publish(Message(f"{topic}/here", b"hello", QoS(2)))
    assert here.next() == Message(f"{topic}/here", b"hello", QoS(2))


KNOWN = [(kind, scheme) for kind, scheme in BY_WAY if scheme != "ws"]
GIVES_UP = [("paho", "mqtts"), ("mosquitto", "mqtts"), ("mqttjs", "mqtts"), ("mqttjs", "wss")]
"""The others wait on, or try again for ever; and paho leaves a socket of wss open."""


@pytest.mark.parametrize(("kind", "scheme"), KNOWN)
def test_certificates_of_clients(peers: Peers, doors: Doors, topic: str, kind: str, scheme: str) -> None:
    """There nobody else may come in: that it was let in is that its name was found."""
    certificate, key = map(str, authority().issue("d.example", common_name="device-7"))
    way = Way(scheme, str(authority().file), certificate, key)
    client = peers.connect(kind, 5, port=doors.ports_for_known[scheme], way=way)
    client.subscribe(Subscription(topic, QoS(2)))
    other = peers.connect(kind, 4, port=doors.ports_for_known[scheme], way=way)
    other.publish(Message(topic, b"seven", QoS(2)))
    assert client.next() == Message(topic, b"seven", QoS(2))


@pytest.mark.parametrize(("kind", "scheme"), GIVES_UP)
def test_who_shows_no_certificate_is_refused(
    peers: Peers, doors: Doors, topic: str, kind: str, scheme: str
) -> None:
    logged = len(doors.process.log.read_text())
    way = Way(scheme, str(authority().file))
    with pytest.raises((AssertionError, OSError, CalledProcessError)):
        peers.connect(kind, 5, port=doors.ports_for_known[scheme], way=way).publish(
            Message(topic, b"x", QoS(1))
        )
    wait_until(lambda: "certificate" in doors.process.log.read_text()[logged:])
