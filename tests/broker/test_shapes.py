"""What strangers subscribe to, however much, bounds what a message costs: how many filters may match it."""

from __future__ import annotations

from itertools import product

import pytest

from curier.broker.model import Member, ServerSession, SharedGroup
from curier.broker.restoring import Restorer
from curier.codec import packets as p
from curier.session.journal import Journal
from curier.session.records import SessionSaved, Subscribed
from tests.broker.conftest import Make
from tests.broker.harness import FOREVER, Net, quiet

TOO_DEEP = 0x8F
TOO_MANY = 0x97


def answer(net: Net, topic_filter: str, version: int = 5) -> p.Suback:
    """What a new client is answered that subscribes so."""
    client = net.open()
    client.version = version
    client.send(p.Connect(version, f"c{topic_filter}", True, 0))
    client.take()
    client.send(p.Subscribe(1, [(topic_filter, 0)]))
    return client.expect(p.Suback)


@pytest.mark.parametrize(
    ("topic_filter", "reason_code"),
    [
        ("+/b/c", 0),
        ("a/b/+", 0),
        ("+/+/#", 0),
        ("+/b/c/d", TOO_DEEP),
        ("a/b/c/+", TOO_DEEP),
        ("a/+/c/#", TOO_DEEP),
        ("a/b/c/d/e", 0),
        ("a/b/c/d/e/#", 0),
        ("$share/g/+/b/c", 0),
        ("$share/g/+/b/c/d", TOO_DEEP),
        ("$share/g/a/b/c/d", 0),
    ],
)
def test_filters_with_plus_have_so_many_levels(make: Make, topic_filter: str, reason_code: int) -> None:
    net = make(options=quiet(max_wildcard_levels=3))
    suback = answer(net, topic_filter)
    assert suback.reason_codes == [reason_code]
    if reason_code:
        assert suback.properties is not None
        assert suback.properties.reason_string == (
            "a Topic Filter with '+' must not have more than 3 levels here, and this has 4"
        )
    assert answer(net, topic_filter, 4).reason_codes == [0x80 if reason_code else 0]


def test_filters_of_one_session_have_so_many_shapes(make: Make) -> None:
    net = make(options=quiet(max_wildcard_shapes=3))
    client = net.connect()
    assert client.subscribe("a/+", "b/+", "+/b", "+/c", "t", "#") == [2] * 6
    assert client.subscribe("+/+", "c/+", "u") == [TOO_MANY, 2, 2]
    client.send(p.Subscribe(9, [("+/+", 0)]))
    suback = client.expect(p.Suback)
    assert suback.properties is not None
    assert suback.properties.reason_string == (
        "a session may have Topic Filters with their wildcards in 3 different places"
    )
    assert client.subscribe(("+/b", 1)) == [1]  # again, with other options
    client.unsubscribe("+/b")
    assert client.subscribe("+/+") == [TOO_MANY]
    client.unsubscribe("+/c", "unknown/+")
    assert client.subscribe("+/+", "x/#") == [2, TOO_MANY]
    assert net.connect("other").subscribe("x/#") == [2]


def test_filters_of_one_session_have_so_many_bytes(make: Make) -> None:
    net = make(options=quiet(max_subscription_bytes=20))
    client = net.connect()
    assert client.subscribe("t" * 10, "u" * 9, "vv", "w") == [2, 2, TOO_MANY, 2]
    assert client.subscribe("t" * 10, "x") == [2, TOO_MANY]  # again: takes nothing more
    client.unsubscribe("u" * 9, "never")
    assert client.subscribe("v" * 9, "x") == [2, TOO_MANY]
    assert net.connect("other").subscribe("x") == [2]


def test_each_share_name_is_a_shape_for_it_brings_a_copy(make: Make) -> None:
    net = make(options=quiet(max_wildcard_shapes=3))
    client = net.connect()
    assert client.subscribe("$share/1/t", "$share/2/t", "$share/2/u", "$share/3/t") == [2] * 4
    assert client.subscribe("$share/4/t", "$share/3/v", "t", "#") == [TOO_MANY, 2, 2, TOO_MANY]
    net.connect("sender").publish("t", b"x")
    assert client.payloads() == [b"x"] * 4


def test_all_that_overlap_are_found(make: Make) -> None:
    net = make()
    client = net.connect()
    filters = ["/".join(levels) for levels in product("a+", repeat=6)]
    for number, topic_filter in enumerate(filters, 1):
        assert client.subscribe((topic_filter, 0), subscription_identifiers=[number]) == [0]
    net.connect("sender").publish("a/a/a/a/a/a", b"x")
    message = client.message()
    assert message.properties is not None
    assert sorted(message.properties.subscription_identifiers) == list(range(1, 65))


def test_a_session_of_the_last_life_is_kept_as_it_is() -> None:
    """Its subscriptions were acknowledged; what comes anew is held to the limits of today."""
    filters = [f"{'x/' * depth}+/#" for depth in range(6)]
    net = Net("journal", quiet(max_wildcard_shapes=3, max_wildcard_levels=4))
    restorer = Restorer(net.core)
    restorer.replay([SessionSaved(1, "c", 5, FOREVER, 0.0)])
    restorer.replay([Subscribed(1, topic_filter.encode(), 0, 0) for topic_filter in filters])
    restorer.finish(net.now)
    client = net.connect("c", clean=False, expiry=FOREVER)
    net.connect("sender").publish("x/x/x/x/x/x/y", b"1")
    assert client.payloads() == [b"1"]
    assert client.subscribe("+/+") == [TOO_MANY]
    client.unsubscribe(*filters[1:])
    assert client.subscribe("+/+", "+") == [2, 2]


def test_a_group_of_any_size_is_changed_in_one_step() -> None:
    group = SharedGroup(-1, b"$share/g/t")
    sessions = [ServerSession(f"c{number}", number, Journal() if number % 2 else None) for number in range(9)]
    for session in sessions:
        group.put(Member(session, group, 0, False, b""))
    again = Member(sessions[3], group, 1, False, b"")
    group.put(again)
    assert [member.key for member in group.members] == list(range(9))
    assert group.members[3] is again
    for number in (0, 8, 4):
        group.remove(sessions[number])
    assert sorted(member.key for member in group.members) == [1, 2, 3, 5, 6, 7]
    assert [group.places[member.key] for member in group.members] == list(range(6))
    assert group.durable == 4
    group.sort()
    assert [member.key for member in group.members] == [1, 2, 3, 5, 6, 7]
    assert [group.places[member.key] for member in group.members] == list(range(6))


def test_of_a_large_group_some_are_asked_for_each_message(make: Make) -> None:
    """A thousand members that are away keep a message from the one behind them, but not the next."""
    net = make()
    sender = net.connect("sender")
    for number in range(1000):
        client = net.connect(f"away{number}", expiry=FOREVER)
        client.subscribe("$share/g/t")
        client.drop()
    here = net.connect("here")
    here.subscribe("$share/g/t")
    for number in range(4):
        sender.publish("t", b"%d" % number, 1)
    assert here.payloads() == [b"1", b"3"]
    assert sum(len(session.outgoing.queue) for session in net.core.sessions.values()) == 2
