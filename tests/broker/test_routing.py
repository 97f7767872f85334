"""Routes are remembered until a subscription changes them, and not a moment longer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.broker.effects import Answer
from curier.broker.model import RECEIVER_BYTES, ROUTE_BYTES, ServerSession, Subscription
from curier.broker.routing import MOST_LOOKS, Router
from curier.topics.filters import matches
from tests.broker.harness import Net, quiet
from tests.topics.strategies import topic_filters, topic_names


def allow(_: object) -> Answer:
    return Answer(0)


def make_router(routes: int) -> Router:
    """With room for so many routes of small topics."""
    return Router(routes * (ROUTE_BYTES + 20), {1: ServerSession("c", 1, None)})


def subscription() -> Subscription:
    return Subscription(1, 0, False, False, b"")


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("publish"), topic_names),
            st.tuples(st.just("add"), topic_filters),
            st.tuples(st.just("remove"), topic_filters),
        )
    )
)
def test_a_remembered_route_is_the_one_that_would_be_made(steps: list[tuple[str, bytes]]) -> None:
    router = make_router(4)
    own = subscription()
    there: set[bytes] = set()
    copies: dict[bytes, object] = {}  # as a connection with permissions keeps them
    generation = router.cache.generation
    for what, topic in steps:
        if what == "add":
            router.add(topic, own)
            there.add(topic)
        elif what == "remove":
            router.remove(topic, 1)
            there.discard(topic)
        else:
            route = router.route(topic)
            if router.cache.generation != generation:
                generation = router.cache.generation
                copies.clear()
            copies[topic] = route
        if router.cache.generation != generation:
            generation = router.cache.generation
            copies.clear()
        for name, route in router.cache.table.items():
            assert route.is_empty is not any(matches(each, name) for each in there)
        assert router.cache.bytes == sum(route.weight for route in router.cache.table.values())
        for name, copy in copies.items():
            assert copy is router.cache.table.get(name) or not copy.is_fast  # type: ignore[attr-defined]


def test_a_wildcard_spares_the_other_topics_in_use() -> None:
    router = make_router(1000)
    routes = [router.route(b"a/%d" % number) for number in range(10)]
    router.add(b"b/+", subscription())
    router.add(b"+/3", subscription())
    assert [router.cache.table.get(route.topic) is route for route in routes] == [True] * 3 + [False] + [
        True
    ] * 6
    assert not routes[3].is_fast
    assert router.route(b"a/3").receivers


def test_subscribing_is_not_slowed_by_topics_that_nobody_uses() -> None:
    """Each wildcard looks at all topics, until that costs as much as to make their routes again."""
    router = make_router(1000)
    for number in range(10):
        router.route(b"a/%d" % number)
    changes = 0
    while router.cache.table:
        router.add(b"b/+", subscription())
        changes += 1
    assert 1 < changes < 1000
    assert router.cache.generation == 1


def test_of_very_many_topics_all_are_forgotten() -> None:
    router = make_router(2 * MOST_LOOKS)
    for number in range(MOST_LOOKS + 1):
        router.route(b"a/%d" % number)
    router.add(b"b/+", subscription())
    assert not router.cache.table


@pytest.mark.parametrize("topic", ["t", "t" * 2000])
@pytest.mark.parametrize("topic_filter", ["same", "#"])
@pytest.mark.parametrize("cache", [1, 1_000_000])
def test_who_has_permissions_learns_of_subscriptions_too(topic: str, topic_filter: str, cache: int) -> None:
    net = Net(options=quiet(route_cache_size=cache), authorize=allow)
    sender, client = net.connect("sender"), net.connect("c")
    sender.publish(topic, b"1")
    sender.publish("other", b"2")
    sender.publish(topic, b"3")
    client.subscribe(topic if topic_filter == "same" else topic_filter)
    sender.publish(topic, b"4")
    assert client.payloads() == [b"4"]
    client.unsubscribe(topic if topic_filter == "same" else topic_filter)
    sender.publish(topic, b"5")
    assert client.payloads() == []


def test_a_subscription_looks_at_long_topics_no_longer_than_at_many_short_ones() -> None:
    router = make_router(10_000)
    for number in range(100):
        router.route(b"a/" * 500 + b"%d" % number)
    assert len(router.cache.table) == 100
    router.add(b"+/b", subscription())
    assert not router.cache.table


def test_receivers_count_as_bytes_of_the_cache() -> None:
    sessions = {number: ServerSession(f"c{number}", number, None) for number in range(10)}
    router = Router(5 * (ROUTE_BYTES + 10 * RECEIVER_BYTES + 1), sessions)
    for number in sessions:
        router.add(b"#", Subscription(number, 0, False, False, b""))
    first = router.route(b"0")
    assert router.route(b"1").receivers[0] is first.receivers[0]  # one for all its topics
    for number in range(2, 9):
        router.route(b"%d" % number)
    assert len(router.cache.table) == 5
    router.remove(b"#", 0)
    assert router.cache.table == {}
    for number in range(9):
        router.route(b"%d" % number)
    assert len(router.cache.table) == 5


def test_topics_with_one_and_the_same_receiver_share_its_list() -> None:
    router = make_router(1000)
    router.add(b"+", subscription())
    assert router.route(b"a").receivers is router.route(b"b").receivers


def test_topics_in_a_row_with_the_same_receivers_share_their_list() -> None:
    net = Net()
    clients = [net.connect(f"c{number}") for number in range(20)]
    route = net.core.router.route
    for count in (2, 20):  # of few subscriptions, and of more
        for client in clients[:count]:
            client.subscribe("a/#")
        first, second = route(b"a/1"), route(b"a/2")
        assert len(first.receivers) == count
        assert first.receivers is second.receivers
        for client in clients[:2]:
            client.subscribe("a/3")
        other = route(b"a/3")
        assert other.receivers is not first.receivers
        assert len(other.receivers) == count
    clients[5].unsubscribe("a/#")
    assert [one.session for one in route(b"a/4").receivers] == [
        one.session for one in route(b"a/1").receivers
    ]
    assert len(route(b"a/4").receivers) == 19


def test_a_route_that_is_larger_than_all_together_may_be_is_remembered_alone() -> None:
    router = Router(1, {1: ServerSession("c", 1, None), 2: ServerSession("d", 2, None)})
    for number in (1, 2):
        router.add(b"#", Subscription(number, 0, False, False, b""))
    first = router.route(b"a")
    assert list(router.cache.table.values()) == [first]
    assert first.is_fast
    for _ in range(100):
        second = router.route(b"b")
        assert second.is_fast is (router.cache.table.get(b"b") is second)
        assert len(router.cache.table) == 1
    assert router.cache.table == {b"b": second}
    assert not first.is_fast


def test_where_there_is_no_room_a_message_finds_its_receivers_all_the_same() -> None:
    net = Net(options=quiet(route_cache_size=1))
    sender, client = net.connect("sender"), net.connect("c")
    client.subscribe("#")
    for number in range(50):
        sender.publish(f"t/{number % 5}", b"%d" % number)
    assert client.payloads() == [b"%d" % number for number in range(50)]
