"""Retained messages: the tree finds what ``matches`` defines, and a walk lives through changes."""

from __future__ import annotations

from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from curier.topics.filters import matches
from curier.topics.retained import FEW_CHILDREN, Node, RetainedTree, RetainedWalk
from tests.topics.strategies import topic_filters, topic_names
from tests.topics.test_filters import MATCHES

# Enough siblings that a node keeps a dict of its children, and that it drops it again.
siblings = st.integers(0, 19).map(lambda number: b"a/%d" % number)
names = st.one_of(topic_names, siblings)
filters = st.one_of(topic_filters, st.just(b"a/+"), st.just(b"a/#"), siblings)
Value = tuple[bytes, int]
V = TypeVar("V")


def everything(tree: RetainedTree[V], topic_filter: bytes, limit: int = 3) -> list[V]:
    """The values of all topics that the filter matches, met step by step."""
    found: list[V] = []
    walk = tree.walk(topic_filter)
    while not walk.done:
        found += walk.next(limit)
    return found


class OpenWalk:
    """A walk and what it owes: the topics that were there when it began and have been ever since."""

    def __init__(self, topic_filter: bytes, walk: RetainedWalk[Value], owed: set[bytes]) -> None:
        self.topic_filter = topic_filter
        self.walk = walk
        self.owed = owed
        self.met: set[bytes] = set()


class RetainedAgainstDefinition(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree: RetainedTree[Value] = RetainedTree()
        self.model: dict[bytes, Value] = {}
        self.walks: list[OpenWalk] = []
        self.sets = 0

    @rule(topic=names)
    def set_one(self, topic: bytes) -> None:
        self.sets += 1
        value = (topic, self.sets)
        assert self.tree.set(topic, value) == self.model.get(topic)
        self.model[topic] = value

    def _remove(self, topic: bytes) -> None:
        assert self.tree.remove(topic) == self.model.pop(topic, None)
        for each in self.walks:
            each.owed.discard(topic)

    @rule(topic=names)
    def remove_any(self, topic: bytes) -> None:
        self._remove(topic)

    @rule(data=st.data(), many=st.integers(1, 12))
    def remove_some_that_are_there(self, data: st.DataObject, many: int) -> None:
        for topic in data.draw(st.permutations(sorted(self.model)))[:many]:
            self._remove(topic)

    @rule(first=st.integers(0, 19))
    def set_many_siblings(self, first: int) -> None:
        for number in range(12):
            self.set_one(b"a/%d" % ((first + number) % 20))

    @rule(topic=names)
    def get(self, topic: bytes) -> None:
        assert self.tree.get(topic) == self.model.get(topic)

    def _matching(self, topic_filter: bytes) -> set[bytes]:
        return {topic for topic in self.model if matches(topic_filter, topic)}

    @rule(topic_filter=filters)
    def match(self, topic_filter: bytes) -> None:
        topics = [topic for topic, _ in everything(self.tree, topic_filter)]
        assert len(topics) == len(set(topics))
        assert set(topics) == self._matching(topic_filter)

    @rule(topic_filter=filters)
    def begin_walk(self, topic_filter: bytes) -> None:
        walk = self.tree.walk(topic_filter)
        self.walks.append(OpenWalk(topic_filter, walk, self._matching(topic_filter)))

    def _go_on(self, each: OpenWalk, limit: int) -> None:
        values = each.walk.next(limit)
        assert len(values) <= limit
        for topic, serial in values:
            assert matches(each.topic_filter, topic)
            assert self.model[topic] == (topic, serial)  # it is there, with the value it has now
            assert topic not in each.met
            each.met.add(topic)
        if each.walk.done:
            assert each.owed <= each.met
            assert each.walk.next(limit) == []
            assert each.walk.done

    @rule(data=st.data(), limit=st.integers(1, 6))
    def go_on_with_a_walk(self, data: st.DataObject, limit: int) -> None:
        if self.walks:
            each = data.draw(st.sampled_from(self.walks))
            self._go_on(each, limit)
            if each.walk.done:
                self.walks.remove(each)

    @invariant()
    def counts(self) -> None:
        assert len(self.tree) == len(self.model)

    @invariant()
    def nodes_are_those_of_the_topics(self) -> None:
        expected: set[bytes] = set()
        for topic in self.model:
            levels = topic.split(b"/")
            expected |= {b"/".join(levels[: depth + 1]) for depth in range(len(levels))}
        assert nodes_of(self.tree) == expected
        assert self.tree.nodes == len(expected)

    def teardown(self) -> None:
        for each in self.walks:
            while not each.walk.done:
                self._go_on(each, 3)
        for topic in list(self.model):
            self._remove(topic)
        assert len(self.tree) == 0
        assert self.tree._root.is_bare()


TestRetainedAgainstDefinition = RetainedAgainstDefinition.TestCase


def nodes_of(tree: RetainedTree[Value]) -> set[bytes]:
    """The leading parts of topics that the tree has living nodes for; checks each node on the way."""
    found: set[bytes] = set()
    pending: list[tuple[list[bytes], Node]] = [([], tree._root)]
    while pending:
        path, node = pending.pop()
        if path:
            found.add(b"/".join(path))
            assert not node.is_bare()
        assert node.only is None or node.children is None
        children = node.children or []
        if node.only is not None:
            children = [node.only]
        assert [node.at(position) for position in range(node.count())] == children
        living = [child for child in children if not child.is_dead]
        assert node.children is None or len(node.children) > 1
        assert len(children) - len(living) == node.dead <= len(living)
        assert [child.born for child in children] == sorted({child.born for child in children})
        if node.by_level is not None:
            assert list(node.by_level.values()) == living
        assert (node.by_level is not None) == (len(children) > FEW_CHILDREN)
        pending.extend(([*path, child.level], child) for child in living)
    return found


@pytest.mark.statement("5.0/MQTT-4.7.2-1", "3.1.1/MQTT-4.7.2-1", "5.0/MQTT-4.7.3-4", "3.1.1/MQTT-4.7.3-4")
@pytest.mark.parametrize(("topic_filter", "matching", "others"), MATCHES)
def test_examples_of_matches(topic_filter: bytes, matching: list[bytes], others: list[bytes]) -> None:
    tree: RetainedTree[bytes] = RetainedTree()
    for topic in matching + others:
        assert tree.set(topic, topic) is None
    assert sorted(everything(tree, topic_filter)) == sorted(matching)
    walk = tree.walk(topic_filter)
    values = walk.next(100)
    assert sorted(values) == sorted(matching)
    assert walk.done


def test_values_are_replaced_and_removed() -> None:
    tree: RetainedTree[str] = RetainedTree()
    assert tree.set(b"a/b", "first") is None
    assert tree.set(b"a/b", "second") == "first"
    assert tree.get(b"a/b") == "second"
    assert tree.get(b"a") is None
    assert tree.remove(b"a") is None
    assert tree.remove(b"a/b") == "second"
    assert tree.remove(b"a/b") is None
    assert len(tree) == 0


def walk_to_the_end(walk: RetainedWalk[int], limit: int) -> tuple[list[int], int]:
    """All values, and the number of calls it took."""
    values: list[int] = []
    calls = 0
    while not walk.done:
        values += walk.next(limit)
        calls += 1
    return values, calls


def test_a_walk_over_many_siblings_goes_in_small_steps() -> None:
    tree: RetainedTree[int] = RetainedTree()
    for number in range(10_000):
        tree.set(b"flat/%d" % number, number)
    values, calls = walk_to_the_end(tree.walk(b"flat/+"), 100)
    assert sorted(values) == list(range(10_000))
    assert calls == 101


def test_the_work_of_a_call_is_bounded_where_nothing_matches() -> None:
    tree: RetainedTree[int] = RetainedTree()
    for number in range(10_000):
        tree.set(b"%d/a" % number, number)
    tree.set(b"last/b", -1)
    values, calls = walk_to_the_end(tree.walk(b"+/b"), 10)
    assert values == [-1]
    assert calls > 10_000 // (8 * 10 + 64)


def test_the_work_of_a_call_is_bounded_among_the_dead() -> None:
    tree: RetainedTree[int] = RetainedTree()
    for number in range(10_000):
        tree.set(b"%d" % number, number)
    for number in range(5_000):
        tree.remove(b"%d" % number)
    values, calls = walk_to_the_end(tree.walk(b"#"), 10)
    assert sorted(values) == list(range(5_000, 10_000))
    assert calls > 10_000 // (8 * 10 + 64)


@pytest.mark.parametrize("removed", [range(60), range(0, 100, 2), range(40, 95), range(99), range(1, 100)])
def test_a_walk_finds_its_place_again_when_the_dead_are_swept(removed: range) -> None:
    tree: RetainedTree[Value] = RetainedTree()
    for number in range(100):
        tree.set(b"flat/%d" % number, (b"", number))
    walk = tree.walk(b"flat/+")
    assert [number for _, number in walk.next(50)] == list(range(50))
    for number in removed:
        tree.remove(b"flat/%d" % number)
        nodes_of(tree)
    assert [number for _, number in walk.next(100)] == [
        each for each in range(50, 100) if each not in removed
    ]


def test_a_walk_ends_although_topics_keep_coming() -> None:
    tree: RetainedTree[int] = RetainedTree()
    for number in range(10):
        tree.set(b"%d" % number, number)
    walk = tree.walk(b"#")
    values: list[int] = []
    number = 10
    while not walk.done:
        values += walk.next(1)
        for _ in range(3):  # each a new topic, and the oldest goes
            tree.set(b"%d" % number, number)
            tree.remove(b"%d" % (number - 10))
            number += 1
    assert values == [0, 3, 6, 9]


def test_a_walk_over_a_topic_that_left_and_came_back_does_not_meet_it_again() -> None:
    tree: RetainedTree[str] = RetainedTree()
    tree.set(b"a", "a")
    tree.set(b"b", "b")
    walk = tree.walk(b"+")
    assert walk.next(1) == ["a"]
    tree.remove(b"a")
    tree.set(b"a", "a again")
    assert walk.next(10) == ["b"]
    assert walk.done


def test_a_walk_meets_the_value_of_the_moment() -> None:
    tree: RetainedTree[str] = RetainedTree()
    tree.set(b"a", "old a")
    tree.set(b"b", "old b")
    walk = tree.walk(b"#")
    assert walk.next(1) == ["old a"]
    tree.set(b"a", "new a")
    tree.set(b"b", "new b")
    assert walk.next(10) == ["new b"]


@pytest.mark.parametrize("depth", [128, 30_000])
def test_deep_topics_overflow_no_stack(depth: int) -> None:
    tree: RetainedTree[str] = RetainedTree()
    topic = b"a/" * (depth - 1) + b"z"
    tree.set(topic, "deep")
    tree.set(b"a", "shallow")
    assert tree.get(topic) == "deep"
    limit = depth // 128  # with which one call does not come to the last level
    assert everything(tree, b"+/" * (depth - 1) + b"+", limit) == ["deep"]
    walk = tree.walk(b"#")
    assert walk.next(limit) == ["shallow"]
    assert not walk.done
    tree.remove(topic)
    assert tree._root.only is not None
    assert tree._root.only.count() == 0
    assert walk.next(limit) == []
    tree.set(topic, "deep")
    del tree, walk  # and neither does letting go of all the levels at once
