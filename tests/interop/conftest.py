"""A broker for the whole folder, and its peers: each kind of client in each version that it speaks."""

import contextlib
import uuid
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.conftest import require_peer
from tests.interop.chromium import Chromium
from tests.interop.commands import Commands
from tests.interop.peer import VERSIONS, Connect, Peer, PeerClient
from tests.interop.process import BrokerProcess
from tests.net.doors import server_files


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The one of this process: to start it costs seconds."""
    made = Chromium(tmp_path_factory.mktemp("chromium"), server_files()[0])
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def browser(chromium: Chromium) -> Iterator[Chromium]:
    """One that remembers nothing of what other files of tests have shown to it."""
    with chromium.anew() as browser:
        yield browser


KINDS = {
    "paho": (3, 4, 5),
    "aiomqtt": (3, 4, 5),
    "gmqtt": (4, 5),
    "mosquitto": (3, 4, 5),
    "mqttjs": (3, 4, 5),
}
"""Kinds of clients, and the versions of MQTT that each speaks."""

NEEDS = {
    "paho": ("paho",),
    "aiomqtt": ("aiomqtt",),
    "gmqtt": ("gmqtt",),
    "mosquitto": ("mosquitto_sub", "mosquitto_pub", "stdbuf"),
    "mqttjs": ("mqttjs",),
}


def make_peer(kind: str) -> Peer:
    """A peer of this kind. Its library is imported only where it is sure to be there."""
    for name in NEEDS[kind]:
        require_peer(name)
    module = import_module(f"tests.interop.{kind}_peer")
    peer: Peer = getattr(module, f"{kind.capitalize()}Peer")()
    return peer


class Peers:
    """Connects clients of any kind, and has them leave when the test is over."""

    def __init__(self, port: int, made: dict[str, Peer]) -> None:
        self.port = port
        self.made = made
        self.clients: list[PeerClient] = []

    def kind(self, kind: str) -> Peer:
        if kind not in self.made:
            self.made[kind] = make_peer(kind)
        return self.made[kind]

    def connect(self, kind: str, version: int, **wish: Any) -> Any:
        client = self.kind(kind).connect(Connect(wish.pop("port", self.port), version, **wish))
        self.clients.append(client)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.disconnect()


class Side:
    """One kind of client in one version of MQTT: what most tests are run with."""

    def __init__(self, peers: Peers, kind: str, version: int) -> None:
        self.peers = peers
        self.kind = kind
        self.version = version
        self.subscribes_to_connect = peers.kind(kind).subscribes_to_connect

    def connect(self, **wish: Any) -> PeerClient:
        client: PeerClient = self.peers.connect(self.kind, self.version, **wish)
        return client


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One broker for all tests of this folder; they keep apart by their topics. It stores what it has to."""
    process = BrokerProcess(tmp_path_factory.mktemp("broker"))
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def mosquitto_tools() -> None:
    for name in ("mosquitto_sub", "mosquitto_pub", "mosquitto_rr"):
        require_peer(name)


@pytest.fixture
def commands(broker: BrokerProcess, mosquitto_tools: None) -> Commands:
    """Both families of commands, to the broker."""
    return Commands(broker.port)


@pytest.fixture(scope="session")
def made_peers() -> Iterator[dict[str, Peer]]:
    """The kinds of clients in use, made when they are first needed."""
    made: dict[str, Peer] = {}
    yield made
    for peer in made.values():
        peer.close()


@pytest.fixture
def peers(broker: BrokerProcess, made_peers: dict[str, Peer]) -> Iterator[Peers]:
    """Clients of any kind, for tests that bring different ones together."""
    peers = Peers(broker.port, made_peers)
    yield peers
    peers.close()


@pytest.fixture(
    params=[(kind, version) for kind, versions in KINDS.items() for version in versions],
    ids=lambda param: f"{param[0]}-{VERSIONS[param[1]]}",
)
def side(request: pytest.FixtureRequest, peers: Peers) -> Side:
    """Each kind of client in each version it speaks."""
    return Side(peers, *request.param)


@pytest.fixture(params=KINDS)
def side_5(request: pytest.FixtureRequest, peers: Peers) -> Side:
    """Each kind of client in MQTT 5.0."""
    return Side(peers, request.param, 5)


@pytest.fixture
def topic() -> str:
    """A Topic Name that no other test uses."""
    return f"test/{uuid.uuid4().hex}"


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name, for a socket may be in it."""
    with TemporaryDirectory(prefix="curier-") as name:
        yield Path(name)


@pytest.fixture
def running() -> Iterator[contextlib.ExitStack]:
    """What is to be stopped."""
    with contextlib.ExitStack() as stack:
        yield stack
