"""A session may have thousands of subscriptions: its end takes them away in pieces, and nobody can tell."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from curier.broker.attaching import AT_ONCE, BYTES_AT_ONCE, PER_STEP
from curier.broker.effects import Answer
from curier.broker.entrances import Entrance
from curier.broker.options import DROP_NEWEST, REFUSE
from curier.topics.filters import matches
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import Net, quiet

KINDS = {
    "exact": "{}/a/b",
    "wild": "{}/+/b",
    "deep": "{}/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/#",
    "shared": "$share/g/{}/+/b",
}
MANY = 2500
LARGE = "l" * (BYTES_AT_ONCE + 1)  # a filter that makes a session one with much to take away


def fill(net: Net, form: str, count: int = MANY, client_id: str = "c", expiry: int = 0) -> Client:
    """A client that subscribes to as many filters."""
    client = net.connect(client_id, expiry=expiry)
    for begin in range(0, count, 1000):
        names = [(form.format(number), 1) for number in range(begin, min(count, begin + 1000))]
        assert set(client.subscribe(*names)) == {1}
    return client


def in_table(net: Net) -> int:
    return len(net.core.router.table)


def steps(net: Net) -> list[int]:
    """How many subscriptions are in the table at first, and after each deadline until nothing is due."""
    sizes = [in_table(net)]
    while net.core.next_deadline() < net.now + 1:
        net.now = max(net.now, net.core.next_deadline())
        net.core.deadline_reached(net.now)
        sizes.append(in_table(net))
        net.turn()
    return sizes


def nothing_is_left(net: Net) -> bool:
    statistics = net.core.statistics
    return (
        in_table(net) == statistics.subscriptions == statistics.shared_subscriptions == 0
        and not net.core.groups
        and not net.core.router.ended
        and not net.core.router.table._shapes
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["disconnects", "is lost", "is taken over", "expires"])
def test_no_piece_is_large_and_nothing_is_left(make: Make, kind: str, end: str) -> None:
    net = make()
    client = fill(net, KINDS[kind], expiry=10 if end in ("is taken over", "expires") else 0)
    assert in_table(net) == MANY
    if end == "disconnects":
        client.disconnect()
    elif end == "is taken over":
        net.connect("c")
    else:
        client.drop()
        if end == "expires":
            net.now += 10
            net.core.deadline_reached(net.now)
    assert client.connection.server_session not in net.core.sessions.values()
    sizes = steps(net)
    assert sizes[0] == MANY
    assert max(a - b for a, b in pairwise(sizes)) <= PER_STEP // (5 + KINDS[kind].count("/")) + 1
    assert nothing_is_left(net)


def test_long_filters_count_for_more(net: Net) -> None:
    client = net.connect("c")
    client.subscribe(*[f"{number:02}/" + "x" * 60_000 for number in range(60)])
    client.drop()
    sizes = steps(net)
    assert max(a - b for a, b in pairwise(sizes)) <= PER_STEP * 64 // 60_000 + 1
    assert nothing_is_left(net)


def test_those_of_many_sessions_are_taken_away_no_faster(net: Net) -> None:
    clients = [fill(net, f"{number}/{{}}", AT_ONCE + 1, f"c{number}") for number in range(10)]
    for client in clients:
        client.drop()
    sizes = steps(net)
    assert sizes[0] == 10 * (AT_ONCE + 1)
    assert max(a - b for a, b in pairwise(sizes)) <= PER_STEP // 6 + 1
    assert nothing_is_left(net)


def test_few_go_at_once(net: Net) -> None:
    for form in KINDS.values():
        fill(net, form, AT_ONCE).drop()
        assert nothing_is_left(net)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["", "permissions", "mount"])
def test_nothing_is_sent_for_what_is_still_in_the_table(make: Make, kind: str, way: str) -> None:
    """No route leads there, be it remembered, by a connection too that has permissions of its own, or new."""
    net = make(authorize=lambda _: Answer(0)) if way == "permissions" else make()
    if way == "mount":
        net.entrance = Entrance("there", mount=b"site/")
    sender = net.connect("sender")
    client = fill(net, KINDS[kind], expiry=1000)
    assert sender.publish("7/a/b", b"1", 1) == sender.publish("7/a/b", b"2", 1) == 0 or kind == "deep"
    client.drop()
    again = net.connect("c")
    assert in_table(net) == MANY
    for topic in ("7/a/b", "8/a/b"):
        for qos in (1, 2):
            assert sender.publish(topic, b"", qos) == 0x10  # No matching subscribers
    assert not client.connection.output
    assert again.take() == []
    assert in_table(net) == MANY


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_session_has_the_same_filters_meanwhile(make: Make, kind: str) -> None:
    net = make()
    sender = net.connect("sender")
    fill(net, KINDS[kind], expiry=1000).drop()
    again = fill(net, KINDS[kind], MANY - 1000, expiry=1000)
    other = net.connect("other")
    own = [KINDS[kind].format(number) for number in (7, MANY - 1)]
    other.subscribe(*own)
    steps(net)
    topics = [one.replace("$share/g/", "").replace("+", "a").replace("/#", "") for one in own]
    for topic in topics:
        for number in range(4):
            sender.publish(topic, b"%d" % number, 1)
    heard = [[message.topic for message in one.messages()] for one in (again, other)]
    if kind == "shared":
        assert sorted(heard[0] + heard[1]) == sorted(4 * topics)
        assert heard[0] == 2 * topics[:1]
    else:
        assert heard == [4 * topics[:1], 4 * topics[:1] + 4 * topics[1:]]
    assert in_table(net) == MANY - 1000 + (1 if kind == "shared" else 2)
    assert len(net.core.sessions["c"].subscriptions) == MANY - 1000
    statistics = net.core.statistics
    assert statistics.subscriptions + statistics.shared_subscriptions == MANY - 1000 + 2


@pytest.mark.parametrize("when_full", [DROP_NEWEST, REFUSE])
def test_of_a_group_only_those_who_live_are_chosen(make: Make, when_full: str) -> None:
    net = make(quiet(when_full=when_full, max_queued_messages=20))
    sender = net.connect("sender")
    clients = [fill(net, KINDS["shared"], AT_ONCE + 1, f"c{number}", 1000) for number in range(3)]
    for client in clients:
        client.drop()
    payloads = [b"%d" % number for number in range(20)]
    for payload in payloads[:10]:
        assert sender.publish("7/a/b", payload, 1) == 0
    for number in range(2):
        net.connect(f"c{number}")
    for payload in payloads[10:]:
        assert sender.publish("7/a/b", payload, 1) == 0
    waiting = [entry.message.payload for entry in net.core.sessions["c2"].outgoing.queue]
    assert sorted(waiting, key=int) == payloads
    assert sender.publish("7/a/b", b"no room", 1) == 0x97
    net.connect("c2")
    assert len(net.core.groups[b"$share/g/7/+/b"].members) == 3  # who have all ended
    assert sender.publish("7/a/b", b"nobody", 1) == 0x10
    steps(net)
    assert nothing_is_left(net)


def test_who_subscribe_and_go_make_nothing_grow(net: Net) -> None:
    """Even where no deadline is ever looked at."""
    most = 0
    for number in range(10):
        fill(net, f"{number}/{{}}", 2000).drop()
        most = max(most, in_table(net))
    assert most <= 2 * 2000
    steps(net)
    assert nothing_is_left(net)


NAMES = ("a", "b", "c")
FILTERS = ("x/1", "x/2", "x/+", "+/1", "#", "x/1/#", "y/#")
TOPICS = ("x", "x/1", "x/2", "y/1")
names = st.sampled_from(NAMES)
filters = st.sampled_from([*FILTERS, *(f"$share/g/{each}" for each in FILTERS)])


class Meanwhile(RuleBasedStateMachine):
    """Sessions that end by and by, compared with what their clients hold."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net("fast")
        self.sender = self.net.connect("sender")
        self.clients: dict[str, Client] = {}
        self.held: dict[str, set[str]] = {name: set() for name in NAMES}
        self.number = 0
        for name in NAMES:
            self.begin(name)

    def begin(self, name: str) -> None:
        """A new session, whose end will be one with much to take away."""
        self.clients[name] = self.net.connect(name)
        self.clients[name].subscribe(LARGE)
        self.held[name] = {LARGE}

    @rule(name=names)
    def come(self, name: str) -> None:
        if name not in self.clients:
            self.begin(name)

    @rule(name=names)
    def go(self, name: str) -> None:
        if name in self.clients:
            self.clients.pop(name).drop()
            self.held[name] = set()

    @rule(name=names, topic_filter=filters)
    def subscribe(self, name: str, topic_filter: str) -> None:
        if name in self.clients:
            self.clients[name].subscribe((topic_filter, 0))
            self.held[name].add(topic_filter)

    @rule(name=names, topic_filter=filters)
    def unsubscribe(self, name: str, topic_filter: str) -> None:
        if name in self.clients:
            self.clients[name].unsubscribe(topic_filter)
            self.held[name].discard(topic_filter)

    @rule()
    def some_are_taken_away(self) -> None:
        self.net.advance(0.001)

    @rule(topic=st.sampled_from(TOPICS))
    def publish(self, topic: str) -> None:
        self.number += 1
        payload = b"%d" % self.number
        reason_code = self.sender.publish(topic, payload, 1)
        copies = 0
        is_heard = False
        groups: dict[str, int] = {}
        for name in self.clients:
            got = self.clients[name].payloads()
            assert set(got) <= {payload}
            own = [each for each in self.held[name] if matches(each.encode(), topic.encode())]
            shared = [
                each
                for each in self.held[name]
                if each.startswith("$share/") and matches(each[len("$share/g/") :].encode(), topic.encode())
            ]
            assert bool(own) <= len(got) <= bool(own) + len(shared)
            copies += len(got) - bool(own)
            for each in shared:
                groups[each] = groups.get(each, 0) + 1
            is_heard = is_heard or bool(own or shared)
        assert copies == len(groups)
        assert reason_code == (0 if is_heard else 0x10)

    @invariant()
    def counters_are_those_of_the_table(self) -> None:
        statistics = self.net.core.statistics
        left = [session for session in self.net.core.router.ended if session.subscriptions]
        there = [*self.net.core.sessions.values(), *left]
        assert statistics.subscriptions + statistics.shared_subscriptions == sum(
            len(session.subscriptions) for session in there
        )

    def teardown(self) -> None:
        self.net.advance(1)
        held = [each for name in NAMES for each in self.held[name]]
        statistics = self.net.core.statistics
        assert statistics.subscriptions + statistics.shared_subscriptions == len(held)
        assert set(self.net.core.groups) == {each.encode() for each in held if each.startswith("$")}
        for client in self.clients.values():
            client.drop()
        self.net.advance(1)
        assert nothing_is_left(self.net)


def test_nobody_can_tell() -> None:
    run_state_machine_as_test(Meanwhile, settings=settings(max_examples=60, stateful_step_count=40))
