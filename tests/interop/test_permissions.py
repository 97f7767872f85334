"""Mosquitto's acl_file, asked of Mosquitto and of curier: random files, and all that their users may do."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from curier.broker.effects import Answer, Authenticate
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.permissions.mosquitto_acl import MOSQUITTO_20, MosquittoAcl
from curier.topics.filters import check_topic_filter
from tests.broker.harness import Net
from tests.interop.mosquitto_process import TIMEOUT, MosquittoProcess

pytestmark = pytest.mark.interop

SEEDS: Final = range(12)
USERS: Final = 40  # with lines of their own, so that each file is as good as so many
TOPICS: Final = 40

LEVELS: Final = ("a", "b", "a", "b", "u0", "u1", "u2", "c0", "c1", "x", "y", "")
WILD: Final = (*LEVELS, "+", "+")
PATTERN: Final = (*WILD, "%u", "%c", "%u", "x%c", "%uy", "%u%c")

Who = tuple[str | None, str]  # user and Client Identifier
Answers = tuple[dict[Who, list[bool]], dict[Who, set[int]]]  # what each may publish, and what it receives


def some_filter(chance: random.Random, levels: tuple[str, ...]) -> str:
    while True:
        found = [chance.choice(levels) for _ in range(chance.randint(1, 3))]
        if chance.random() < 0.3:
            found.append("#")
        if chance.random() < 0.15:
            found.insert(0, "$x")
        text = "/".join(found)
        if text.strip() and not check_topic_filter(text.encode(), 10):
            return text


def some_lines(chance: random.Random, word: str, levels: tuple[str, ...], most: int) -> Iterator[str]:
    for _ in range(chance.randint(0, most)):
        access = chance.choice(("read ", "write ", "readwrite ", "deny ", ""))
        yield f"{word} {access}{some_filter(chance, levels)}"


def some_file(chance: random.Random) -> str:
    lines = [*some_lines(chance, "topic", WILD, 4)]
    for user in range(USERS):
        lines.append(f"user u{user}")
        lines += some_lines(chance, "topic", WILD, 8)
        if chance.random() < 0.2:
            lines += some_lines(chance, "pattern", PATTERN, 1)
    lines += ["user root", "topic #", "topic $x/#"]
    return "\n".join(lines) + "\n"


def some_clients() -> list[Who]:
    odd = ["a/b", "+", "c#", "u0", "b/a/x", "x"]
    named = [(f"u{user}", odd[user] if user < len(odd) else f"c{user}") for user in range(USERS)]
    nameless = [(None, "n0"), (None, "n/1"), (None, "n+")]
    return [*named, *nameless, ("stranger", "c99"), ("a/b", "c98"), ("+", "c97")]


def some_topics(chance: random.Random, lines: list[str], clients: list[Who]) -> list[str]:
    """Most of them match a filter of the file."""
    filters = [line.split()[-1] for line in lines if line.startswith(("topic ", "pattern "))]
    found: dict[str, None] = {}
    while len(found) < TOPICS:
        user, client_id = chance.choice(clients)
        text = chance.choice(filters).replace("%u", user or "").replace("%c", client_id)
        text = "/".join(chance.choice(LEVELS) if level in ("+", "#") else level for level in text.split("/"))
        if chance.random() < 0.2:
            text += chance.choice(("x", "/a", "/"))
        if text and "+" not in text and "#" not in text:
            found[text] = None
    return [*found]


def publications(topics: list[str]) -> list[p.Packet]:
    return [p.Publish(topic, str(at).encode(), 1, False, False, at + 1) for at, topic in enumerate(topics)]


# ---- Mosquitto ----


class Peer:
    """A client on a blocking socket."""

    def __init__(self, port: int, who: Who) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.reader = self.socket.makefile("rb")
        user, client_id = who
        self.send(p.Connect(MQTT_50, client_id, True, 0, user, b"x" if user else None, None, None))
        connack = self.receive()
        assert isinstance(connack, p.Connack)
        assert connack.reason_code == 0

    def send(self, *packets: p.Packet) -> None:
        self.socket.sendall(b"".join(encode(packet, MQTT_50) for packet in packets))

    def receive(self) -> p.Packet:
        data = self.reader.read(2)
        while data[-1] > 127:
            data += self.reader.read(1)
        length = sum((byte & 127) << 7 * index for index, byte in enumerate(data[1:]))
        data += self.reader.read(length)
        return decode(data, 0, len(data), MQTT_50)

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


def ask_mosquitto(port: int, clients: list[Who], topics: list[str]) -> Answers:
    peers = {who: Peer(port, who) for who in clients}
    root = Peer(port, ("root", "root"))
    try:
        published: dict[Who, list[bool]] = {}
        for who, peer in peers.items():
            peer.send(*publications(topics))
            published[who] = [_is_taken(peer.receive()) for _ in topics]
        for peer in peers.values():
            peer.send(p.Subscribe(1, [("#", 0), ("$x/#", 0)]))
            suback = peer.receive()
            assert isinstance(suback, p.Suback)
            assert suback.reason_codes == [0, 0]
        root.send(*publications(topics))
        assert all(_is_taken(root.receive()) for _ in topics)
        received: dict[Who, set[int]] = {}
        for who, peer in peers.items():
            peer.send(p.Pingreq())
            received[who] = set()
            while isinstance(packet := peer.receive(), p.Publish):
                received[who].add(int(packet.payload))
        return published, received
    finally:
        for peer in (*peers.values(), root):
            peer.close()


def _is_taken(packet: p.Packet) -> bool:
    assert isinstance(packet, p.Puback)
    assert packet.reason_code in (0, 0x10, 0x87)
    return packet.reason_code != 0x87


# ---- curier ----


def ask_curier(acl: MosquittoAcl, clients: list[Who], topics: list[str]) -> Answers:
    users = {client_id: user for user, client_id in (*clients, ("root", "root"))}

    def authenticate(question: Authenticate) -> Answer:
        return Answer(0, identity=users[question.connection.client_id])

    net = Net("fast", authenticate=authenticate)
    net.core.judge_by(acl, net.now)
    made = {who: net.connect(who[1]) for who in clients}
    published = {who: [one.publish(topic, b"", 1) != 0x87 for topic in topics] for who, one in made.items()}
    for one in made.values():
        assert one.subscribe(("#", 0), ("$x/#", 0)) == [0, 0]
    root = net.connect("root")
    for at, topic in enumerate(topics):
        assert root.publish(topic, str(at).encode(), 1) != 0x87
    return published, {who: {int(payload) for payload in one.payloads()} for who, one in made.items()}


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[[Path], int]]:
    started: list[MosquittoProcess] = []

    def start(acl: Path) -> int:
        lines = (f"acl_file {acl}", "user root")
        started.append(MosquittoProcess(tmp_path, *lines))
        return started[-1].port

    yield start
    for process in started:
        process.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_both_let_clients_do_the_same(tmp_path: Path, mosquitto: Callable[[Path], int], seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "acl"
    path.write_text(some_file(chance))
    clients = some_clients()
    topics = some_topics(chance, path.read_text().splitlines(), clients)
    theirs = ask_mosquitto(mosquitto(path), clients, topics)
    ours = ask_curier(MosquittoAcl("acl", path.read_bytes(), MOSQUITTO_20), clients, topics)
    for who in clients:
        for at, topic in enumerate(topics):
            assert ours[0][who][at] is theirs[0][who][at], f"{who} publishes {topic}"
            assert (at in ours[1][who]) is (at in theirs[1][who]), f"{who} receives {topic}"
    both = [answer for who in clients for answer in theirs[0][who]]
    assert both.count(True) > len(both) // 50 < both.count(False)
    assert any(theirs[1].values())
