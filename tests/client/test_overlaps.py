"""Which Topic Filters overlap, against trying all topics."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from curier.client.overlaps import Overlaps
from curier.topics.tree import Subscriber, SubscriptionTree

LEVELS = ("a", "b", "", "+")
PLAIN = [list(levels) for size in (1, 2, 3) for levels in product(LEVELS, repeat=size)]
FILTERS = ["/".join(levels) for levels in PLAIN] + ["#"] + ["/".join([*levels, "#"]) for levels in PLAIN]
TOPICS = ["/".join(levels) for size in (1, 2, 3, 4) for levels in product(("a", "b", "", "c"), repeat=size)]


def matched(topic_filter: str) -> set[str]:
    tree: SubscriptionTree[Subscriber] = SubscriptionTree()
    tree.add(topic_filter.encode(), Subscriber(1))
    return {topic for topic in TOPICS if topic and tree.match(topic.encode())}


MATCHED = {topic_filter: matched(topic_filter) for topic_filter in FILTERS if topic_filter}
some_filters = st.sampled_from(sorted(MATCHED))


@given(st.lists(some_filters, max_size=30), some_filters, st.data())
def test_finds_whoever_has_a_topic_in_common(added: list[str], asked: str, data: st.DataObject) -> None:
    overlaps: Overlaps[int] = Overlaps()
    for number, topic_filter in enumerate(added):
        overlaps.add(topic_filter, number)
    left = data.draw(st.sets(st.sampled_from(range(len(added))))) if added else set()
    for number in sorted(left):
        overlaps.remove(added[number], number)
    expected = {
        number
        for number, topic_filter in enumerate(added)
        if number not in left and MATCHED[topic_filter] & MATCHED[asked]
    }
    assert set(overlaps.find(asked)) == expected


def test_one_filter_twice_is_there_until_both_are_gone() -> None:
    overlaps: Overlaps[int] = Overlaps()
    overlaps.add("a/+", 1)
    overlaps.add("a/+", 1)
    overlaps.remove("a/+", 1)
    assert list(overlaps.find("a/b")) == [1]
    overlaps.remove("a/+", 1)
    assert list(overlaps.find("#")) == []
    assert overlaps._root.children == {}


def test_many_levels_overflow_nothing() -> None:
    overlaps: Overlaps[int] = Overlaps()
    deep = "/".join(["+"] * 30_000)
    overlaps.add(deep, 1)
    assert list(overlaps.find(deep)) == [1]
    assert list(overlaps.find("#")) == [1]
    overlaps.remove(deep, 1)
