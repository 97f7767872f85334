"""The subscription tree finds what ``matches`` defines, and keeps nothing it does not need."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from curier.topics.filters import has_wildcard, matches
from curier.topics.tree import SubscriptionTree, _Node
from tests.topics.strategies import topic_filters, topic_names
from tests.topics.test_filters import MATCHES


def prefixes(topic_filter: bytes) -> set[bytes]:
    """The nodes that a filter needs: its leading parts but for ``#``; none if it has no wildcard."""
    levels = topic_filter.split(b"/") if has_wildcard(topic_filter) else []
    if levels and levels[-1] == b"#":
        levels.pop()
    return {b"/".join(levels[: depth + 1]) for depth in range(len(levels))}


def nodes_of(tree: SubscriptionTree[str]) -> set[bytes]:
    """The leading parts of filters that the tree has nodes for."""
    found: set[bytes] = set()
    pending: list[tuple[list[bytes], _Node[str]]] = [([], tree._root)]
    while pending:
        path, node = pending.pop()
        if path:
            found.add(b"/".join(path))
        assert node.children != {}
        children = dict(node.children or {})
        if node.plus is not None:
            children[b"+"] = node.plus
        pending.extend(([*path, level], child) for level, child in children.items())
    return found


class TreeAgainstDefinition(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree: SubscriptionTree[str] = SubscriptionTree()
        self.model: dict[tuple[bytes, int], str] = {}
        self.adds = 0

    @rule(topic_filter=topic_filters, key=st.integers(0, 3))
    def add(self, topic_filter: bytes, key: int) -> None:
        self.adds += 1
        value = f"value {self.adds}"
        assert self.tree.add(topic_filter, key, value) == self.model.get((topic_filter, key))
        self.model[topic_filter, key] = value

    @rule(topic_filter=topic_filters, key=st.integers(0, 3))
    def remove_any(self, topic_filter: bytes, key: int) -> None:
        assert self.tree.remove(topic_filter, key) == self.model.pop((topic_filter, key), None)

    @rule(data=st.data())
    def remove_one_that_is_there(self, data: st.DataObject) -> None:
        if self.model:
            topic_filter, key = data.draw(st.sampled_from(sorted(self.model)))
            assert self.tree.remove(topic_filter, key) == self.model.pop((topic_filter, key))

    @rule(topic_filter=topic_filters, key=st.integers(0, 3))
    def get(self, topic_filter: bytes, key: int) -> None:
        assert self.tree.get(topic_filter, key) == self.model.get((topic_filter, key))

    @rule(topic=topic_names)
    def match(self, topic: bytes) -> None:
        expected = [value for (topic_filter, _), value in self.model.items() if matches(topic_filter, topic)]
        assert Counter(self.tree.match(topic)) == Counter(expected)

    @invariant()
    def counts(self) -> None:
        assert len(self.tree) == len(self.model)

    @invariant()
    def has_no_node_too_many(self) -> None:
        expected: set[bytes] = set()
        for topic_filter, _ in self.model:
            expected |= prefixes(topic_filter)
        assert nodes_of(self.tree) == expected
        assert self.tree.nodes == len(expected)
        assert set(self.tree._exact) == {each for each, _ in self.model if not has_wildcard(each)}

    def teardown(self) -> None:
        for (topic_filter, key), value in self.model.items():
            assert self.tree.get(topic_filter, key) == value
            assert self.tree.remove(topic_filter, key) == value
        assert len(self.tree) == 0
        assert self.tree._root.is_bare()
        assert self.tree._exact == {}


TestTreeAgainstDefinition = TreeAgainstDefinition.TestCase


@pytest.mark.statement("5.0/MQTT-4.7.2-1", "3.1.1/MQTT-4.7.2-1", "5.0/MQTT-4.7.3-4", "3.1.1/MQTT-4.7.3-4")
@pytest.mark.parametrize(("topic_filter", "matching", "others"), MATCHES)
def test_examples_of_matches(topic_filter: bytes, matching: list[bytes], others: list[bytes]) -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add(topic_filter, 1, "found")
    assert [topic for topic in matching + others if tree.match(topic)] == matching


def test_one_key_under_many_filters_is_found_once_for_each() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    for topic_filter in (b"a/b", b"a/+", b"a/#", b"+/b", b"#", b"a/b/#", b"a", b"b/#"):
        assert tree.add(topic_filter, 7, topic_filter.decode()) is None
    assert sorted(tree.match(b"a/b")) == ["#", "+/b", "a/#", "a/+", "a/b", "a/b/#"]


@pytest.mark.parametrize("topic_filter", [b"a/b", b"a/+", b"a/#"])
def test_many_keys_under_one_filter(topic_filter: bytes) -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    for key in range(100):
        assert tree.add(topic_filter, key, key) is None
    assert tree.add(topic_filter, 0, 1000) == 0
    assert tree.add(topic_filter, 99, 1099) == 99
    assert sorted(tree.match(b"a/b")) == [*range(1, 99), 1000, 1099]
    assert tree.remove(topic_filter, 0) == 1000
    assert tree.remove(topic_filter, 0) is None
    assert tree.remove(topic_filter, 50) == 50
    assert tree.get(topic_filter, 50) is None
    assert tree.get(topic_filter, 51) == 51
    assert len(tree) == 98
    assert sorted(tree.match(b"a/b")) == [*range(1, 50), *range(51, 99), 1099]


def test_a_filter_with_one_subscriber_owns_no_dict() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add(b"a", 1, "one")
    tree.add(b"a", 2, "two")
    subscribers = tree._exact[b"a"]
    assert (subscribers.key, subscribers.others) == (1, {2: "two"})
    tree.remove(b"a", 1)
    assert (subscribers.key, subscribers.others) == (2, None)
    assert tree.match(b"a") == ["two"]


def test_every_choice_of_plus_and_literal_is_found_once() -> None:
    tree: SubscriptionTree[int] = SubscriptionTree()
    depth = 10
    for number in range(2**depth):
        levels = [b"+" if number >> level & 1 else b"a" for level in range(depth)]
        tree.add(b"/".join(levels), 1, number)
    assert sorted(tree.match(b"/".join([b"a"] * depth))) == list(range(2**depth))
    assert tree.match(b"/".join([b"b"] * depth)) == [2**depth - 1]


def test_shared_beginnings_do_not_multiply() -> None:
    """A walk over subsets of the levels would need 2 to the power of 200 steps here."""
    tree: SubscriptionTree[int] = SubscriptionTree()
    depth = 200
    for plus in range(depth):
        levels = [b"a"] * depth
        levels[plus] = b"+"
        tree.add(b"/".join(levels), 1, plus)
        tree.add(b"/".join([*levels[: plus + 1], b"#"]), 1, plus)
    assert Counter(tree.match(b"/".join([b"a"] * depth))) == Counter([*range(depth), *range(depth)])


@pytest.mark.parametrize("depth", [128, 30_000])
def test_deep_filters_overflow_no_stack(depth: int) -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    all_plus = b"/".join([b"+"] * depth)
    last_plus = b"a/" * (depth - 1) + b"+"
    for topic_filter, value in ((all_plus, "all"), (last_plus, "last"), (all_plus + b"/#", "hash")):
        tree.add(topic_filter, 1, value)
    assert sorted(tree.match(b"a/" * (depth - 1) + b"b")) == ["all", "hash", "last"]
    assert tree.match(b"a/" * (depth - 1)) != []
    assert tree.match(b"a/" * (depth - 2) + b"a") == []
    assert tree.remove(last_plus, 1) == "last"
    assert tree._root.children is None
    del tree  # and neither does letting go of all the levels at once
