"""Random rules of our own kind and random clients: what is granted, taken and sent is what the rules of that
moment say, read here in the plainest way.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from curier.broker.effects import Answer, Authenticate
from curier.broker.entrances import Entrance
from curier.broker.model import Known
from curier.codec import packets as p
from curier.permissions.reading import read_rules
from curier.topics.filters import matches
from tests.broker.client import Client
from tests.broker.harness import Net
from tests.codec.cases import properties

LEVELS: Final = ("a", "b", "u0", "u1", "c0", "c1", "g")
PLACEHOLDERS: Final = ("{username}", "{client_id}", "{group}", "{claims.site}", "x-{username}")
WORDS: Final = {
    "read": {"subscribe", "receive"},
    "write": {"publish", "retain"},
    "all": {"subscribe", "receive", "publish", "retain"},
    **{word: {word} for word in ("subscribe", "receive", "publish", "retain")},
}
USERS: Final = {"c0": "u0", "c1": "u1", "c2": None, "+": "u0"}  # of each client, to whom its session belongs
MOUNT: Final = "a/"
SHARE: Final = "$share/g/"

Table = dict[str, Any]


class Somebody(NamedTuple):
    client_id: str
    user: str | None
    groups: frozenset[str]
    site: str | None
    listener: str

    @property
    def mount(self) -> str:
        return MOUNT if self.listener == "there" else ""


# ---- the plainest way ----


def may(rules: list[Table], who: Somebody, action: str, topic: str) -> bool:
    for rule in rules:
        doing = set().union(*(WORDS[word] for word in rule.get("allow") or rule["deny"]))
        if action in doing and is_about(rule, who):
            filters = (one for text in rule["topics"] for one in filled(text, who))
            if any(covers(one.split("/"), topic.split("/")) for one in filters):
                return "allow" in rule
    return False


def is_about(rule: Table, who: Somebody) -> bool:
    def fits(key: str, *names: str | None) -> bool:
        patterns = [re.escape(one).replace(r"\*", ".*") for one in rule.get(key, ())]
        found = (re.fullmatch(one, name) for one in patterns for name in names if name)
        return key not in rule or any(found)

    return (
        fits("users", who.user)
        and fits("groups", *groups_of(who))
        and fits("client_ids", who.client_id)
        and fits("listeners", who.listener)
        and rule.get("anonymous") in (None, who.user is None)
    )


def groups_of(who: Somebody) -> frozenset[str]:
    return who.groups | {"u0": {"g"}, "u1": {"h"}}.get(who.user or "", set())


def filled(text: str, who: Somebody) -> Iterator[str]:
    found = re.search(r"\{(.*?)\}", text)
    if found is None:
        yield text
        return
    named = {"username": who.user, "client_id": who.client_id, "claims.site": who.site}
    for value in groups_of(who) if found[1] == "group" else (named[found[1]],):
        if value and not set(value) & set("/+#"):
            yield from filled(text.replace(found[0], value), who)


def covers(rule: list[str], topic: list[str], at: int = 0) -> bool:
    """Whether a filter matches all that another does, or a Topic Name."""
    if at == 0 and topic[0].startswith("$") and rule[0] in ("+", "#"):
        return False
    if at == len(rule) or rule[at] == "#":
        return at < len(rule) or at == len(topic)
    if at == len(topic):
        return rule[at:] == ["#"]
    if topic[at] == "#" or rule[at] not in ("+", topic[at]):
        return False
    return covers(rule, topic, at + 1)


# ---- random ones ----


def some_filter(chance: random.Random, more: tuple[str, ...] = ()) -> str:
    levels = [chance.choice((*LEVELS, "+", "+", "+", *more)) for _ in range(chance.choice((1, 1, 2, 3)))]
    if chance.random() < 0.1:
        levels[0] = "$x"
    return "/".join([*levels, "#"] if chance.random() < 0.35 else levels)


def some_topic(chance: random.Random) -> str:
    levels = [chance.choice((*LEVELS, "x-u0")) for _ in range(chance.choice((1, 1, 2, 3)))]
    if chance.random() < 0.1:
        levels[0] = "$x"
    return "/".join(levels)


def some_rules(chance: random.Random) -> list[Table]:
    rules: list[Table] = []
    for _ in range(chance.randint(1, 7)):
        word = "allow" if chance.random() < 0.65 else "deny"
        rule: Table = {word: chance.sample([*WORDS], chance.randint(1, 2))}
        rule["topics"] = [some_filter(chance, PLACEHOLDERS) for _ in range(chance.randint(1, 2))]
        for key, names in (
            ("users", ("u0", "u1", "u*")),
            ("groups", ("g", "h")),
            ("client_ids", ("c0", "c1", "c*")),
            ("listeners", ("there", "memory")),
        ):
            if chance.random() < 0.2:
                rule[key] = [chance.choice(names)]
        if chance.random() < 0.1:
            rule["anonymous"] = chance.random() < 0.5
        rules.append(rule)
    if chance.random() < 0.7:
        rules.append({"allow": ["all"], "topics": ["#"]})
    return rules


def written(rules: list[Table]) -> str:
    lines = ['[groups]\ng = ["u0"]\nh = ["u1"]']
    for rule in rules:
        lines.append("[[rule]]")
        lines += (f"{key} = {str(value).lower().replace(chr(39), chr(34))}" for key, value in rule.items())
    return "\n".join(lines)


class World:
    """A broker and its clients, each of which is sent nothing but what its rules let it receive."""

    def __init__(self, seed: int, way: str, path: Path) -> None:
        self.chance = random.Random(seed)
        self.net = Net(way, authenticate=self.authenticate)
        self.path = path
        self.there = Entrance("there", mount=MOUNT.encode())
        self.rules: list[Table] = []
        self.people: dict[str, Somebody] = {}
        self.clients: dict[str, Client] = {}
        self.sent: list[tuple[str, bool]] = []  # the topics of all messages, and whether they were allowed
        self.received = 0
        self.reload()

    def authenticate(self, question: Authenticate) -> Answer:
        who = self.people[question.connect.client_id]
        answer = Answer(0, identity=who.user)
        answer.known = Known(who.groups, {"site": who.site} if who.site else {}, 0.0)
        return answer

    def reload(self) -> None:
        self.look()
        self.rules = some_rules(self.chance)
        self.path.write_text(written(self.rules))
        self.net.core.judge_by(read_rules(self.path), self.net.now)
        self.net.turn()
        for client_id, client in self.clients.items():
            session = client.connection.server_session
            for topic_filter in session.subscriptions if session is not None and not client.closed else ():
                full = topic_filter.decode().removeprefix(SHARE)
                assert may(self.rules, self.people[client_id], "subscribe", full), written(self.rules)

    def step(self) -> None:
        chance = self.chance
        client_id = chance.choice([*USERS])
        client, kind = self.clients.get(client_id), chance.random()
        if client is None or client.closed:
            if kind < 0.4:
                self.connect(client_id)
        elif kind < 0.04:
            self.connect(client_id)
        elif kind < 0.3:
            self.subscribe(client, self.people[client_id], some_filter(chance))
        elif kind < 0.75:
            self.publish(client, self.people[client_id], some_topic(chance))
        elif kind < 0.8:
            client.drop()
        elif kind < 0.86:
            self.reload()
        else:
            self.net.advance(chance.choice((0.5, 6)))
        self.look()

    def connect(self, client_id: str) -> None:
        chance = self.chance
        before = self.clients.get(client_id)
        if before is not None and not before.closed:
            before.drop()
        groups = frozenset(chance.choice(("", "g", "h")))
        user, site = USERS[client_id], chance.choice((None, "a", "b", "+"))
        who = Somebody(client_id, user, groups, site, chance.choice(("memory", "memory", "there")))
        self.people[client_id] = who
        self.net.entrance = self.there if who.mount else None
        client = self.clients[client_id] = self.net.open()
        will = None
        if chance.random() < 0.15:
            topic = some_topic(chance)
            payload = b"%d" % len(self.sent)
            self.sent.append((who.mount + topic, True))
            later = properties(will_delay_interval=chance.choice((0, 5)))
            will = p.Will(topic, payload, chance.randint(0, 1), chance.random() < 0.5, later)
        kept = properties(session_expiry_interval=chance.choice((0, 100, 100)))
        client.send(p.Connect(5, client_id, chance.random() < 0.2, 0, user, None, will, kept))

    def subscribe(self, client: Client, who: Somebody, topic_filter: str) -> None:
        if who.mount and topic_filter.startswith("$"):
            return  # which are not there
        share = SHARE if self.chance.random() < 0.3 else ""
        client.send(p.Subscribe(7, [(share + topic_filter, self.chance.choice((0, 1, 1)))]))
        (suback,) = (packet for packet in client.inbox if isinstance(packet, p.Suback))
        expected = may(self.rules, who, "subscribe", who.mount + topic_filter)
        assert (suback.reason_codes[0] < 0x80) == expected, (who, topic_filter, written(self.rules))

    def publish(self, client: Client, who: Somebody, topic: str) -> None:
        if who.mount and topic.startswith("$"):
            return
        full, retain, qos = who.mount + topic, self.chance.random() < 0.4, self.chance.choice((0, 1, 1))
        doing = ("publish", "retain") if retain else ("publish",)
        is_allowed = all(may(self.rules, who, action, full) for action in doing)
        payload = b"%d" % len(self.sent)
        self.sent.append((full, is_allowed))
        client.send(p.Publish(topic, payload, qos, False, retain, 7 if qos else 0))
        if qos and not client.closed:
            (puback,) = (packet for packet in client.inbox if isinstance(packet, p.Puback))
            assert (puback.reason_code < 0x80) == is_allowed, (who, full, retain, written(self.rules))

    def look(self) -> None:
        for client_id, client in self.clients.items():
            who = self.people[client_id]
            for packet in client.take():
                if isinstance(packet, p.Publish):
                    topic, was_allowed = self.sent[int(packet.payload)]
                    assert topic == who.mount + packet.topic
                    assert was_allowed
                    assert may(self.rules, who, "receive", topic), (who, topic, written(self.rules))
                    self.received += 1
                    if packet.qos:
                        client.send(p.Puback(packet.packet_id))


def test_the_plainest_way_to_match() -> None:
    """It would be of no use if it had the same mistakes."""
    chance = random.Random(1)
    for _ in range(2000):
        one, topic = some_filter(chance), some_topic(chance)
        assert covers(one.split("/"), topic.split("/")) == matches(one.encode(), topic.encode())


@pytest.mark.parametrize("way", ["fast", "slow", "journal"])
@pytest.mark.parametrize("seed", [1, 2, 11, 14, 36])
def test_nobody_does_or_gets_what_the_rules_of_the_moment_deny(tmp_path: Path, seed: int, way: str) -> None:
    world = World(seed, way, tmp_path / "acl")
    for _ in range(600):
        world.step()
    assert world.received
