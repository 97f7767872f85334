"""Rules are asked wherever something is published, subscribed to, or received (``broker/judging.py``)."""

from __future__ import annotations

from typing import Any

import pytest

from curier.broker.effects import Answer, Authorize
from curier.broker.hooks import Hook
from curier.broker.judging import Judge, Rights, Who
from curier.broker.model import BrokerConnection
from curier.codec import packets as p
from curier.codec.constants import MQTT_50
from curier.codec.encode import encode
from curier.session.message import ApplicationMessage
from curier.topics.filters import matches
from tests.broker.client import Client
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net

statement = pytest.mark.statement

EVERYTHING = ("publish #", "retain #", "subscribe #", "receive #")


class Rules(Judge):
    """By Client Identifier, what is allowed: an action and a Topic Filter; all for those it does not name."""

    def __init__(self, **rules: tuple[str, ...]) -> None:
        super().__init__()
        self.rules = rules
        self.asked: list[tuple[str, str, bytes]] = []
        self.errors: list[Exception] = []

    def rights(self, who: Who) -> Rights:
        return Allowed(self, who)

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


class Allowed(Rights):
    def __init__(self, judge: Rules, who: Who) -> None:
        super().__init__(judge, who)
        self.rules = judge

    def allows(self, action: str, topic: bytes) -> bool:
        self.rules.asked.append((self.who.client_id, action, topic))
        for rule in self.rules.rules.get(self.who.client_id, EVERYTHING):
            doing, _, topic_filter = rule.partition(" ")
            if doing == action and matches(topic_filter.encode(), topic):
                self.why = ""
                return True
        self.why = f"no rule lets {self.who.client_id} {action}"
        return False

    def may_publish(self, topic: bytes, qos: int, retain: bool) -> bool:
        return self.allows("retain" if retain else "publish", topic)

    def may_subscribe(self, topic_filter: bytes, qos: int) -> bool:
        return self.allows("subscribe", topic_filter.removeprefix(b"$share/g/"))

    def may_receive(self, topic: bytes) -> bool:
        if topic == b"fails":
            raise RuntimeError("this rule cannot be worked out")
        return self.allows("receive", topic)


class Refusals(Hook):
    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.revoked: list[tuple[str, str, str]] = []
        self.dropped: list[tuple[str, str]] = []

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self.told.append((reason_code, why))

    def on_revoke(self, client_id: str, topic_filter: bytes, why: str) -> None:
        self.revoked.append((client_id, topic_filter.decode(), why))

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        self.dropped.append((client_id, why))


def judged(make: Make, *, authorize: Any = None, **rules: tuple[str, ...]) -> tuple[Net, Rules, Refusals]:
    net = make(authorize=authorize)
    judge = Rules(**rules)
    hook = Refusals()
    net.core.add_hook(hook)
    net.core.judge_by(judge, net.now)
    return net, judge, hook


def watching(net: Net, client_id: str = "watch", topic_filter: str = "#", qos: int = 2) -> Client:
    client = net.connect(client_id)
    client.subscribe((topic_filter, qos))
    return client


# ---- publish ----


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_is_taken_or_refused(make: Make, qos: int) -> None:
    net, _, hook = judged(make, c=("publish a/+",))
    watch = watching(net)
    client = net.connect("c")
    for _ in range(3):
        client.publish("a/b", b"yes", qos)
    assert watch.payloads() == [b"yes"] * 3
    for _ in range(2):
        code = client.publish("b", b"no", qos)
        assert code == (0x87 if qos else 0)
    assert watch.payloads() == []
    assert hook.told == [(0x87, f"may not publish to b with QoS {qos}: no rule lets c publish")] * 2
    assert client.publish("a/b", b"yes", qos) in (0, 0x10)  # and it is still there
    assert watch.payloads() == [b"yes"]


def test_the_right_to_retain_is_another(make: Make) -> None:
    net, _, _ = judged(make, c=("publish a", "retain b"))
    client = net.connect("c")
    assert client.publish("a", b"", 1, retain=True) == 0x87
    assert client.publish("b", b"x", 1, retain=True) in (0, 0x10)
    assert client.publish("b", b"x", 1) == 0x87
    assert watching(net).payloads() == [b"x"]


def test_a_verdict_lives_as_long_as_the_rules(make: Make) -> None:
    net, judge, _ = judged(make, c=("publish a",))
    watch = watching(net)
    client = net.connect("c")
    judge.asked.clear()
    for _ in range(5):
        client.publish("a", b"x", 1)
    assert sorted(judge.asked) == [("c", "publish", b"a"), ("watch", "receive", b"a")]
    net.core.judge_by(Rules(c=()), net.now)
    assert client.publish("a", b"late", 1) == 0x87
    assert watch.payloads() == [b"x"] * 5


def test_rules_and_an_authorizer_must_both_say_yes(make: Make) -> None:
    def authorize(question: Authorize) -> Answer:
        return Answer(0x87 if question.topic == b"a" else 0)

    net, _, _ = judged(make, authorize=authorize, c=("publish a", "publish b"))
    client = net.connect("c")
    assert [client.publish(topic, b"x", 1) for topic in ("a", "b", "c")] == [0x87, 0x10, 0x87]
    net.core.judge_by(Rules(c=("publish a", "publish c")), net.now)
    assert [client.publish(topic, b"x", 1) for topic in ("a", "b", "c")] == [0x87, 0x87, 0x10]


# ---- subscribe ----


def test_a_subscription_is_made_or_refused(make: Make) -> None:
    net, _, _ = judged(make, c=("subscribe a/#", "receive #"))
    client = net.connect("c")
    assert client.subscribe(("a/b", 1), ("b", 1)) == [1, 0x87]
    sender = net.connect("s")
    sender.publish("a/b", b"1")
    sender.publish("b", b"2")
    assert client.payloads() == [b"1"]


# ---- receive ----


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_wildcard_brings_what_may_be_received(make: Make, qos: int) -> None:
    net, judge, _ = judged(make, c=("subscribe #", "receive a/#"))
    client = watching(net, "c")
    other = watching(net, "other")
    sender = net.connect("s")
    for topic in ("a/1", "b", "a", "b"):
        sender.publish(topic, topic.encode(), qos)
    assert client.payloads() == [b"a/1", b"a"]
    assert other.payloads() == [b"a/1", b"b", b"a", b"b"]
    net.core.judge_by(Rules(c=("subscribe #", "receive b")), net.now)
    for topic in ("a/1", "b"):
        sender.publish(topic, topic.encode(), qos)
    assert client.payloads() == [b"b"]
    assert not judge.errors


def test_a_member_that_may_not_receive_is_passed_over(make: Make) -> None:
    net, _, _ = judged(make, one=("subscribe #", "receive a"), two=("subscribe #", "receive b"))
    members = [watching(net, name, "$share/g/#") for name in ("one", "two", "three")]
    sender = net.connect("s")
    for topic in ("a", "b"):
        for _ in range(4):
            sender.publish(topic, topic.encode(), 1)
    one, two, three = [client.payloads() for client in members]
    assert one == [b"a"] * 2
    assert two == [b"b"] * 2
    assert sorted(three) == [b"a"] * 2 + [b"b"] * 2
    net.core.judge_by(Rules(one=(), two=(), three=()), net.now)
    assert sender.publish("a", b"late", 1) == 0x10
    members[1].disconnect()
    assert sender.publish("a", b"late", 1) == 0x10


def test_new_topics_take_turns_too(make: Make) -> None:
    net, _, _ = judged(make, one=("subscribe #",))
    members = [watching(net, name, "$share/g/#") for name in ("one", "two", "three")]
    sender = net.connect("s")
    for number in range(6):
        sender.publish(str(number), b"x")
    counts = [len(client.payloads()) for client in members]
    assert counts[0] == 0
    assert sorted(counts[1:]) == [2, 4]


def test_messages_of_a_member_that_ends_go_to_those_who_may_receive_them(make: Make) -> None:
    net, _, _ = judged(make, poor=("subscribe #", "receive b"))
    first = net.connect("first", receive_maximum=1)
    first.subscribe(("$share/g/#", 1))
    sender = net.connect("s")
    for number in range(3):
        sender.publish("a", str(number).encode(), 1)
    poor = watching(net, "poor", "$share/g/#")
    rich = watching(net, "rich", "$share/g/#")
    first.disconnect()
    assert poor.payloads() == []
    assert rich.payloads() == [b"0", b"1", b"2"]


def test_retained_messages_are_asked_about_one_by_one(make: Make) -> None:
    net, _, _ = judged(make, c=("subscribe #", "receive a/+", "receive c"))
    sender = net.connect("s")
    for topic in ("a/1", "b", "c", "a/2"):
        sender.publish(topic, topic.encode(), 1, retain=True)
    assert sorted(watching(net, "c").payloads()) == [b"a/1", b"a/2", b"c"]


def test_what_waits_is_asked_about_when_it_is_sent(make: Make) -> None:
    net, _, hook = judged(make)
    client = net.connect("c", expiry=FOREVER)
    client.subscribe(("#", 1))
    client.drop()
    sender = net.connect("s")
    for topic in ("a", "b", "a"):
        sender.publish(topic, topic.encode(), 1)
    net.core.judge_by(Rules(c=("subscribe #", "receive b")), net.now)
    again = net.connect("c", clean=False)
    assert again.payloads() == [b"b"]
    assert hook.dropped == [("c", "its client may no longer receive it")] * 2


def test_what_was_sent_is_not_sent_again(make: Make) -> None:
    net, _, hook = judged(make)
    client = net.connect("c", expiry=FOREVER)
    client.subscribe(("#", 2))
    sender = net.connect("s")
    for topic, qos in (("a", 1), ("b", 2), ("a", 2), ("b", 1)):
        sender.publish(topic, topic.encode(), qos)
    assert len(client.messages()) == 4
    client.drop()
    net.core.judge_by(Rules(c=("subscribe #", "receive b")), net.now)
    again = net.connect("c", clean=False)
    assert [(message.topic, message.dup) for message in again.messages()] == [("b", True)] * 2
    assert len(hook.dropped) == 2
    sender.publish("b", b"new", 1)
    assert again.payloads() == [b"new"]


def test_another_client_with_the_same_identifier_has_its_own_rights(make: Make) -> None:
    """A session that is older than the broker is nobody's until its client comes."""
    net, _, _ = judged(make, c=("subscribe #", "receive b"))
    client = net.connect("c", expiry=FOREVER)
    client.subscribe(("#", 1))
    session = net.core.sessions["c"]
    client.drop()
    session.rights = None  # as after a start
    sender = net.connect("s")
    sender.publish("a", b"a", 1)
    sender.publish("b", b"b", 1)
    again = net.connect("c", clean=False)
    assert again.payloads() == [b"b"]
    sender.publish("a", b"a", 1)
    assert again.payloads() == []


def test_rules_that_fail_are_a_no_for_who_they_are_about(make: Make) -> None:
    net, judge, _ = judged(make, c=("subscribe #", "receive #"))
    client = watching(net, "c")
    assert net.connect("s").publish("fails", b"x", 1) == 0x10
    assert client.payloads() == []
    assert [str(error) for error in judge.errors] == ["this rule cannot be worked out"]


# ---- wills ----


def test_a_will_is_asked_about_at_connect_and_when_it_is_due(make: Make) -> None:
    net, _, hook = judged(make, c=("publish a",))
    watch = watching(net)
    refused = net.send_connect("c", will=p.Will("b", b"no", 1, False, None))
    assert refused.expect(p.Connack).reason_code == 0x87
    assert hook.told == [(0x87, "Will Topic: may not publish to b with QoS 1: no rule lets c publish")]
    will = p.Will("a", b"yes", 1, False, None)
    net.connect("c", will=will).drop()
    assert watch.payloads() == [b"yes"]
    client = net.connect("c", will=will)
    net.core.judge_by(Rules(c=()), net.now)
    client.drop()
    assert watch.payloads() == []
    assert hook.dropped == [("c", "the will of a client that may not publish it: no rule lets c publish")]


# ---- other rules, for those that are there ----


def test_subscriptions_that_are_not_allowed_any_more_end(make: Make) -> None:
    net, _, hook = judged(make)
    five = net.connect("five", expiry=FOREVER)
    five.subscribe(("a", 1), ("b", 1), ("$share/g/a", 1))
    away = net.connect("away", expiry=FOREVER)
    away.subscribe(("a", 1))
    away.drop()
    fine = watching(net, "fine", "a")
    net.core.judge_by(Rules(five=("subscribe b", "receive #"), away=()), net.now)
    net.turn()
    assert sorted(hook.revoked) == [
        ("away", "a", "no rule lets away subscribe"),
        ("five", "$share/g/a", "no rule lets five subscribe"),
        ("five", "a", "no rule lets five subscribe"),
    ]
    goodbye = five.goodbye()
    assert goodbye.reason_code == 0x87
    assert goodbye.properties is not None
    assert goodbye.properties.reason_string == (
        "not authorized any more to subscribe to a and 1 others: these subscriptions have ended"
    )
    assert net.core.statistics.subscriptions == 2
    assert net.core.statistics.shared_subscriptions == 0
    assert not net.core.groups
    sender = net.connect("s")
    sender.publish("a", b"a", 1)
    sender.publish("b", b"b", 1)
    assert fine.payloads() == [b"a"]
    assert net.connect("five", clean=False).payloads() == [b"b"]
    assert net.connect("away", clean=False).payloads() == []


def test_many_subscriptions_are_looked_at_in_pieces(make: Make) -> None:
    net, _, hook = judged(make)
    client = net.connect("c", expiry=FOREVER)
    for begin in range(0, 1000, 100):
        client.subscribe(*[(f"t/{number}", 1) for number in range(begin, begin + 100)])
    others = [watching(net, str(number), "t/+") for number in range(300)]
    sender = net.connect("s")
    rules = Rules(c=("subscribe t/1", "receive #"))
    net.core.judge_by(rules, net.now)
    net.turn()
    assert (
        len(net.core.sessions["c"].subscriptions) == 1000
    )  # the old rules, as long as the new are not known
    before = 0
    while net.core.next_deadline() <= net.now + 0.01:
        net.advance(0.001)
        assert len(rules.asked) - before <= 256
        before = len(rules.asked)
    assert len(hook.revoked) == 999
    assert client.goodbye().reason_code == 0x87
    sender.publish("t/1", b"x", 1)
    assert all(other.payloads() == [b"x"] for other in others)


def test_rules_may_change_again_meanwhile(make: Make) -> None:
    net, _, hook = judged(make)
    clients = [watching(net, str(number), "a") for number in range(300)]
    nothing: dict[str, tuple[str, ...]] = {str(number): () for number in range(300)}
    net.core.judge_by(Rules(**nothing), net.now)
    net.core.judge_by(Rules(), net.now)
    net.advance(1)
    assert hook.revoked == []
    net.connect("s").publish("a", b"x", 1)
    assert all(client.payloads() == [b"x"] for client in clients)


def test_a_client_that_comes_with_fewer_rights_loses_subscriptions(make: Make) -> None:
    net, _, hook = judged(make, c=("subscribe b", "receive #"))
    net.core.judge_by(Rules(), net.now)
    client = net.connect("c", expiry=FOREVER)
    client.subscribe(("a", 1), ("b", 1))
    client.drop()
    net.core.sessions["c"].rights = None  # as after a start
    net.core.judge_by(Rules(c=("subscribe b", "receive #")), net.now)
    assert hook.revoked == []
    again = net.connect("c", clean=False)
    net.advance(0.1)
    assert [one[:2] for one in hook.revoked] == [("c", "a")]
    assert again.goodbye().reason_code == 0x87


def test_a_large_subscribe_that_is_being_worked_off_is_asked_about_anew(make: Make) -> None:
    net, _, _ = judged(make)
    client = net.connect("c", expiry=FOREVER)
    filters = [(f"t/{number}", 1) for number in range(3000)]
    client.connection.receive(encode(p.Subscribe(1, filters, None), MQTT_50), net.now)
    for _ in range(4):
        net.core.continue_work(net.now)
    net.core.judge_by(Rules(c=("subscribe t/1", "receive #")), net.now)
    net.turn()
    net.advance(1)
    assert [*net.core.sessions["c"].subscriptions] == [b"t/1"]
