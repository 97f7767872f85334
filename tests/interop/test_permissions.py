"""Mosquitto's files of permissions: random ones, and what their users may do, asked of it and of curier."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from curier.auth import PasswordFile
from curier.broker.effects import Answer, Authenticate
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.permissions.base import Rules
from curier.permissions.dialects import MOSQUITTO_20
from curier.permissions.dynamic_security import DynamicSecurity
from curier.permissions.mosquitto_acl import MosquittoAcl
from curier.testing.seams import credentials
from curier.topics.filters import check_topic_filter
from tests.broker.harness import Net
from tests.conftest import peers_are_required
from tests.interop.mosquitto_process import TIMEOUT, MosquittoProcess

SEEDS: Final = range(8)
USERS: Final = 40  # with lines of their own, so that each file is as good as so many
TOPICS: Final = 40

LEVELS: Final = ("a", "b", "a", "b", "u0", "u1", "u2", "c0", "c1", "x", "y", "")
WILD: Final = (*LEVELS, "+", "+")
PATTERN: Final = (*WILD, "%u", "%c", "%u", "x%c", "%uy", "%u%c")

Who = tuple[str | None, str]  # user and Client Identifier
Answers = tuple[dict[Who, list[bool]], dict[Who, list[bool]], dict[Who, set[int]]]
"""Which topics each may publish to, which filters it may subscribe with, and what it receives."""


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


def some_topics(chance: random.Random, filters: list[str], clients: list[Who]) -> list[str]:
    """Most of them match one of the filters."""
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


def ask_mosquitto(port: int, clients: list[Who], topics: list[str], filters: list[str]) -> Answers:
    peers = {who: Peer(port, who) for who in clients}
    root = Peer(port, ("root", "root"))
    try:
        published: dict[Who, list[bool]] = {}
        for who, peer in peers.items():
            peer.send(*publications(topics))
            published[who] = [_is_taken(peer.receive()) for _ in topics]
        subscribed: dict[Who, list[bool]] = {}
        for who, peer in peers.items():
            peer.send(p.Subscribe(1, [(one, 0) for one in filters]), p.Unsubscribe(2, filters))
            suback, unsuback = peer.receive(), peer.receive()
            assert isinstance(suback, p.Suback)
            assert isinstance(unsuback, p.Unsuback)
            subscribed[who] = [code == 0 for code in suback.reason_codes]
            peer.send(p.Subscribe(3, [("#", 0), ("$x/#", 0)]))
            assert isinstance(peer.receive(), p.Suback)
        root.send(*publications(topics))
        assert all(_is_taken(root.receive()) for _ in topics)
        received: dict[Who, set[int]] = {}
        for who, peer in peers.items():
            peer.send(p.Pingreq())
            received[who] = set()
            while isinstance(packet := peer.receive(), p.Publish):
                received[who].add(int(packet.payload))
        return published, subscribed, received
    finally:
        for peer in (*peers.values(), root):
            peer.close()


def _is_taken(packet: p.Packet) -> bool:
    assert isinstance(packet, p.Puback)
    assert packet.reason_code in (0, 0x10, 0x87)
    return packet.reason_code != 0x87


# ---- curier ----


def ask_curier(rules: Rules, clients: list[Who], topics: list[str], filters: list[str]) -> Answers:
    users = {client_id: user for user, client_id in (*clients, ("root", "root"))}

    def authenticate(question: Authenticate) -> Answer:
        return Answer(0, identity=users[question.connection.client_id])

    net = Net("fast", authenticate=authenticate)
    net.core.judge_by(rules, net.now)
    made = {who: net.connect(who[1]) for who in clients}
    published = {who: [one.publish(topic, b"", 1) != 0x87 for topic in topics] for who, one in made.items()}
    subscribed: dict[Who, list[bool]] = {}
    for who, one in made.items():
        subscribed[who] = [code == 0 for code in one.subscribe(*[(text, 0) for text in filters])]
        one.unsubscribe(*filters)
        one.subscribe(("#", 0), ("$x/#", 0))
    root = net.connect("root")
    for at, topic in enumerate(topics):
        assert root.publish(topic, str(at).encode(), 1) != 0x87
    received = {who: {int(payload) for payload in one.payloads()} for who, one in made.items()}
    return published, subscribed, received


def compare(theirs: Answers, ours: Answers, topics: list[str], filters: list[str]) -> None:
    for who in theirs[0]:
        for at, topic in enumerate(topics):
            assert ours[0][who][at] is theirs[0][who][at], f"{who} publishes {topic}"
            assert (at in ours[2][who]) is (at in theirs[2][who]), f"{who} receives {topic}"
        for at, text in enumerate(filters):
            assert ours[1][who][at] is theirs[1][who][at], f"{who} subscribes {text}"
    both = [answer for answers in theirs[0].values() for answer in answers]
    assert both.count(True) > len(both) // 100 < both.count(False)
    assert any(theirs[2].values())


Start = Callable[..., int]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Start]:
    started: list[MosquittoProcess] = []

    def start(*lines: str) -> int:
        started.append(MosquittoProcess(tmp_path, "user root", *lines))
        return started[-1].port

    yield start
    for process in started:
        process.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_both_mean_the_same_by_an_acl_file(tmp_path: Path, mosquitto: Start, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "acl"
    path.write_text(some_file(chance))
    clients = some_clients()
    lines = path.read_text().splitlines()
    topics = some_topics(chance, [line.split()[-1] for line in lines if line[:2] in ("to", "pa")], clients)
    filters = ["a/#", "$share/g/b", "+/+"]
    theirs = ask_mosquitto(mosquitto(f"acl_file {path}"), clients, topics, filters)
    ours = ask_curier(MosquittoAcl("acl", path.read_bytes(), MOSQUITTO_20), clients, topics, filters)
    compare(theirs, ours, topics, filters)


# ---- dynamic-security.json ----

PLUGIN: Final = Path("/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so")
SALT: Final = b"0123456789ab"
KINDS: Final = ("publishClientSend", "publishClientReceive", "subscribePattern", "subscribeLiteral")


def some_acls(chance: random.Random) -> list[dict[str, Any]]:
    """With no topic twice for one kind, of which 2.0.11 keeps both."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for _ in range(chance.randint(0, 12)):
        kind, topic = chance.choice(KINDS), some_filter(chance, WILD)
        entry = {"acltype": kind, "topic": topic, "allow": chance.random() < 0.7}
        if chance.random() < 0.7:
            entry["priority"] = chance.randint(-2, 2)
        found[kind, topic] = entry
    return [*found.values()]


def some_ranks(chance: random.Random, key: str, names: list[str], most: int) -> list[dict[str, Any]]:
    picked = chance.sample(names, chance.randint(0, most))
    return [
        {key: name, "priority": chance.randint(-1, 2)} if chance.random() < 0.7 else {key: name}
        for name in picked
    ]


def some_roles(chance: random.Random, users: list[str]) -> dict[str, Any]:
    roles = [f"r{number}" for number in range(30)]
    groups = [
        {
            "groupname": f"g{number}",
            "roles": some_ranks(chance, "rolename", roles, 3),
            "clients": some_ranks(chance, "username", users, 15),
        }
        for number in range(6)
    ]
    password = base64.b64encode(hashlib.pbkdf2_hmac("sha512", b"x", SALT, 101, 64)).decode()
    login = {"password": password, "salt": base64.b64encode(SALT).decode(), "iterations": 101}
    everything = [
        {"acltype": kind, "topic": topic, "allow": True} for kind in KINDS for topic in ("#", "$x/#")
    ]
    watch = {"rolename": "watch", "priority": 100}
    return {
        "defaultACLAccess": {
            "publishClientSend": chance.random() < 0.3,
            "publishClientReceive": chance.random() < 0.7,
            "subscribe": chance.random() < 0.3,
            "unsubscribe": True,
        },
        "clients": [
            *(
                {"username": user, "roles": [watch, *some_ranks(chance, "rolename", roles, 4)], **login}
                for user in users
            ),
            {"username": "root", "roles": [{"rolename": "root"}], **login},
        ],
        "groups": groups,
        "roles": [
            *({"rolename": name, "acls": some_acls(chance)} for name in roles),
            {"rolename": "root", "acls": everything},
            {"rolename": "watch", "acls": [one for one in everything if one["acltype"] == KINDS[3]]},
        ],
        **({"anonymousGroup": "g0"} if chance.random() < 0.5 else {}),
    }


def need_plugin() -> None:
    if not PLUGIN.exists():
        (pytest.fail if peers_are_required() else pytest.skip)(f"there is no {PLUGIN} here")


def test_both_let_the_same_clients_in(tmp_path: Path, mosquitto: Start) -> None:
    need_plugin()
    password = base64.b64encode(hashlib.pbkdf2_hmac("sha512", b"x", SALT, 101, 64)).decode()
    login = {"password": password, "salt": base64.b64encode(SALT).decode(), "iterations": 101}
    clients: list[dict[str, Any]] = [
        {"username": "ana", **login},
        {"username": "off", "disabled": True, **login},
        {"username": "on", "disabled": False, **login},
        {"username": "bound", "clientid": "c1", **login},
        {"username": "none"},
        {"username": "half", "password": password},
        {"username": "zero", **login, "iterations": 0},
        {"username": "salt", **login, "salt": "AAAA"},
    ]
    path = tmp_path / "dynamic-security.json"
    path.write_text(json.dumps({"clients": clients, "groups": [], "roles": []}))
    ours = PasswordFile(path)
    lines = ("allow_anonymous false", f"plugin {PLUGIN}", f"plugin_opt_config_file {path}")
    port = mosquitto(*lines)
    asked = [
        (user, word, client_id)
        for user in (*(one["username"] for one in clients), "stranger")
        for word in (b"x", b"y", b"", None)
        for client_id in ("c1", "c2")
    ]
    for user, word, client_id in asked:
        found = asyncio.run(ours.authenticate(credentials(user, word, client_id))).accepted
        assert found == may_connect(port, user, word, client_id), (user, word, client_id)


def may_connect(port: int, user: str, word: bytes | None, client_id: str) -> bool:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.sendall(encode(p.Connect(MQTT_50, client_id, True, 0, user, word, None, None), MQTT_50))
        return connection.recv(4096)[3] == 0


@pytest.mark.parametrize("seed", range(5))
def test_both_mean_the_same_by_roles(tmp_path: Path, mosquitto: Start, seed: int) -> None:
    need_plugin()
    chance = random.Random(seed)
    users = [f"u{number}" for number in range(USERS)]
    table = some_roles(chance, users)
    path = tmp_path / "dynamic-security.json"
    path.write_text(json.dumps(table))
    clients: list[Who] = [*((user, f"c{user}") for user in users), (None, "n")]
    used = [entry["topic"] for role in table["roles"] for entry in role["acls"]]
    topics = some_topics(chance, used, clients)
    filters = [
        *dict.fromkeys([*chance.sample(used, 15), "a/#", "+/#", "+/b", "b/+/#", "$share/g/a", "$share/g/#"])
    ]
    ours = ask_curier(
        DynamicSecurity("ds", path.read_bytes(), MOSQUITTO_20), clients, topics, filters
    )  # which Mosquitto writes anew
    lines = (f"plugin {PLUGIN}", f"plugin_opt_config_file {path}")
    theirs = ask_mosquitto(mosquitto(*lines), clients, topics, filters)
    compare(theirs, ours, topics, filters)
