"""The subscription tree and table find what ``matches`` defines, and keep nothing they do not need."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from curier.topics.filters import has_wildcard, matches
from curier.topics.table import MOST_SHAPES, MOST_STEMS, STEM, SubscriptionTable, kind_of, shape_of
from curier.topics.tree import Several, Subscriber, SubscriptionTree, _Node
from tests.topics.strategies import topic_filters, topic_names
from tests.topics.test_filters import MATCHES

Structure = SubscriptionTree[Subscriber] | SubscriptionTable[Subscriber]


@pytest.fixture(params=["tree", "table", "table of one shape"])
def structure(request: pytest.FixtureRequest) -> Structure:
    if request.param == "tree":
        return SubscriptionTree()
    return SubscriptionTable(1 if request.param == "table of one shape" else MOST_SHAPES)


def keys(found: list[Subscriber]) -> list[int]:
    return sorted(subscriber.key for subscriber in found)


def prefixes(topic_filter: bytes) -> set[bytes]:
    """The nodes that a filter needs: its leading parts but for ``#``."""
    levels = topic_filter.split(b"/")
    if levels[-1] == b"#":
        levels.pop()
    return {b"/".join(levels[: depth + 1]) for depth in range(len(levels))}


def nodes_of(tree: SubscriptionTree[Subscriber]) -> set[bytes]:
    """The leading parts of filters that the tree has nodes for."""
    found: set[bytes] = set()
    pending: list[tuple[list[bytes], _Node]] = [([], tree._root)]
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


class AgainstDefinition(RuleBasedStateMachine):
    """A structure and a dict of all that is in it."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.structure = structure
        self.model: dict[tuple[bytes, int], Subscriber] = {}

    @rule(topic_filter=topic_filters, key=st.integers(0, 3))
    def add(self, topic_filter: bytes, key: int) -> None:
        subscriber = Subscriber(key)
        assert self.structure.add(topic_filter, subscriber) is self.model.get((topic_filter, key))
        self.model[topic_filter, key] = subscriber

    @rule(topic_filter=topic_filters, key=st.integers(0, 3))
    def remove_any(self, topic_filter: bytes, key: int) -> None:
        assert self.structure.remove(topic_filter, key) is self.model.pop((topic_filter, key), None)

    @rule(data=st.data())
    def remove_one_that_is_there(self, data: st.DataObject) -> None:
        if self.model:
            topic_filter, key = data.draw(st.sampled_from(sorted(self.model)))
            assert self.structure.remove(topic_filter, key) is self.model.pop((topic_filter, key))

    @rule(topic_filter=topic_filters, key=st.integers(0, 3))
    def get(self, topic_filter: bytes, key: int) -> None:
        assert self.structure.get(topic_filter, key) is self.model.get((topic_filter, key))

    @rule(topic=topic_names)
    def match(self, topic: bytes) -> None:
        expected = [found for (topic_filter, _), found in self.model.items() if matches(topic_filter, topic)]
        assert Counter(self.structure.match(topic)) == Counter(expected)

    def teardown(self) -> None:
        for (topic_filter, key), subscriber in self.model.items():
            assert self.structure.get(topic_filter, key) is subscriber
            assert self.structure.remove(topic_filter, key) is subscriber
        self.model.clear()
        self.holds_nothing_else()

    def holds_nothing_else(self) -> None:
        raise NotImplementedError


class TreeAgainstDefinition(AgainstDefinition):
    def __init__(self) -> None:
        self.tree: SubscriptionTree[Subscriber] = SubscriptionTree()
        super().__init__(self.tree)

    @invariant()
    def holds_nothing_else(self) -> None:
        expected: set[bytes] = set()
        for topic_filter, _ in self.model:
            expected |= prefixes(topic_filter)
        assert nodes_of(self.tree) == expected
        assert self.tree.nodes == len(expected)
        assert self.tree.is_empty() is (not self.model)


class TableAgainstDefinition(AgainstDefinition):
    most_shapes = MOST_SHAPES

    def __init__(self) -> None:
        self.table: SubscriptionTable[Subscriber] = SubscriptionTable(self.most_shapes)
        super().__init__(self.table)

    @invariant()
    def holds_nothing_else(self) -> None:
        assert len(self.table) == len(self.model)
        flat = {topic_filter for part in self.table._parts for topic_filter in part}
        rest = {topic_filter for topic_filter, _ in self.model} - flat
        assert all(has_wildcard(topic_filter) for topic_filter in rest)
        shapes = Counter(shape_of(each.split(b"/")) for each in flat if has_wildcard(each))
        kinds = self.table._shapes
        assert {name: shape.count for kind in kinds.values() for name, shape in kind.items()} == shapes
        for kind, those in kinds.items():
            assert those
            assert kind == STEM or len(those) <= self.most_shapes
            assert {kind_of(name.split(b"/")) for name in those} == {kind}
        assert nodes_of(self.table._tree) == {node for each in rest for node in prefixes(each)}


class SmallTableAgainstDefinition(TableAgainstDefinition):
    most_shapes = 2


TestTreeAgainstDefinition = TreeAgainstDefinition.TestCase
TestTableAgainstDefinition = TableAgainstDefinition.TestCase
TestSmallTableAgainstDefinition = SmallTableAgainstDefinition.TestCase


@pytest.mark.statement("5.0/MQTT-4.7.2-1", "3.1.1/MQTT-4.7.2-1", "5.0/MQTT-4.7.3-4", "3.1.1/MQTT-4.7.3-4")
@pytest.mark.parametrize(("topic_filter", "matching", "others"), MATCHES)
def test_examples_of_matches(
    structure: Structure, topic_filter: bytes, matching: list[bytes], others: list[bytes]
) -> None:
    structure.add(topic_filter, Subscriber(1))
    assert [topic for topic in matching + others if structure.match(topic)] == matching


def test_one_key_under_many_filters_is_found_once_for_each(structure: Structure) -> None:
    for topic_filter in (b"a/b", b"a/+", b"a/#", b"+/b", b"#", b"a/b/#", b"a", b"b/#"):
        assert structure.add(topic_filter, Subscriber(7)) is None
    assert keys(structure.match(b"a/b")) == [7] * 6


@pytest.mark.parametrize("topic_filter", [b"a/b", b"a/+", b"a/#"])
def test_many_keys_under_one_filter(structure: Structure, topic_filter: bytes) -> None:
    those = [Subscriber(key) for key in range(100)]
    for one in those:
        assert structure.add(topic_filter, one) is None
    other = Subscriber(99)
    assert structure.add(topic_filter, other) is those[99]
    assert set(structure.match(b"a/b")) == {*those[:99], other}
    assert structure.remove(topic_filter, 0) is those[0]
    assert structure.remove(topic_filter, 0) is None
    assert structure.remove(topic_filter, 50) is those[50]
    assert structure.get(topic_filter, 50) is None
    assert structure.get(topic_filter, 51) is those[51]
    assert keys(structure.match(b"a/b")) == [*range(1, 50), *range(51, 100)]


def test_a_filter_with_one_subscriber_owns_nothing_else() -> None:
    table: SubscriptionTable[Subscriber] = SubscriptionTable()
    one, two = Subscriber(1), Subscriber(2)

    def places() -> list[Subscriber]:
        return [place for part in table._parts for place in part.values()]

    table.add(b"a", one)
    assert places() == [one]
    table.add(b"a", two)
    (place,) = places()
    assert isinstance(place, Several)
    assert place.members == {1: one, 2: two}
    table.remove(b"a", 1)
    assert places() == [two]
    assert table.match(b"a") == [two]
    table.remove(b"a", 2)
    assert places() == []


def test_filters_of_rare_shapes_are_where_they_were_put() -> None:
    """A shape that had no room when its first filter came gets room later, and the first filter stays."""
    table: SubscriptionTable[Subscriber] = SubscriptionTable(1)
    table.add(b"a/+", Subscriber(1))
    table.add(b"+/b", Subscriber(2))
    assert nodes_of(table._tree) == {b"+", b"+/b"}
    table.remove(b"a/+", 1)
    table.add(b"+/c", Subscriber(3))
    assert table._shapes.keys() == {2}
    assert list(table._shapes[2]) == [b"+/"]
    table.add(b"+/b", Subscriber(4))
    assert keys(table.match(b"a/b")) == [2, 4]
    assert keys(table.match(b"a/c")) == [3]
    assert len(table) == 3


def test_of_each_kind_so_many_shapes_stay_out_of_the_tree() -> None:
    table: SubscriptionTable[Subscriber] = SubscriptionTable(2)
    for topic_filter in (b"a/+", b"+/a", b"a/b/+", b"a/+/b", b"a/+/#", b"+/#", b"#", b"a/#", b"a/b/#"):
        table.add(topic_filter, Subscriber(1))
    assert table._tree.is_empty()
    table.add(b"+/+", Subscriber(2))  # a third one of two levels
    table.add(b"+/+/+/#", Subscriber(3))  # a third one with '+' and '#'
    assert nodes_of(table._tree) == {b"+", b"+/+", b"+/+/+"}
    assert keys(table.match(b"a/b/c")) == [1, 1, 1, 1, 1, 1, 3]
    for depth in range(3, MOST_STEMS + 1):
        table.add(b"s/" * depth + b"#", Subscriber(depth))
    assert len(nodes_of(table._tree)) == 3 + MOST_STEMS
    assert keys(table.match(b"s/" * MOST_STEMS + b"s")) == sorted([1, 1, 3, *range(3, MOST_STEMS + 1)])


def test_every_choice_of_plus_and_literal_is_found_once(structure: Structure) -> None:
    depth = 10
    for number in range(2**depth):
        levels = [b"+" if number >> level & 1 else b"a" for level in range(depth)]
        structure.add(b"/".join(levels), Subscriber(number))
    assert keys(structure.match(b"/".join([b"a"] * depth))) == list(range(2**depth))
    assert keys(structure.match(b"/".join([b"b"] * depth))) == [2**depth - 1]


def test_shared_beginnings_do_not_multiply(structure: Structure) -> None:
    """A walk over subsets of the levels would need 2 to the power of 200 steps here."""
    depth = 200
    for plus in range(depth):
        levels = [b"a"] * depth
        levels[plus] = b"+"
        structure.add(b"/".join(levels), Subscriber(plus))
        structure.add(b"/".join([*levels[: plus + 1], b"#"]), Subscriber(plus))
    assert keys(structure.match(b"/".join([b"a"] * depth))) == sorted([*range(depth), *range(depth)])


@pytest.mark.parametrize("depth", [128, 30_000])
def test_deep_filters_overflow_no_stack(structure: Structure, depth: int) -> None:
    all_plus = b"/".join([b"+"] * depth)
    last_plus = b"a/" * (depth - 1) + b"+"
    for key, topic_filter in enumerate((all_plus, last_plus, all_plus + b"/#")):
        structure.add(topic_filter, Subscriber(key))
    assert keys(structure.match(b"a/" * (depth - 1) + b"b")) == [0, 1, 2]
    assert structure.match(b"a/" * (depth - 1)) != []
    assert structure.match(b"a/" * (depth - 2) + b"a") == []
    assert structure.remove(last_plus, 1) is not None
    assert keys(structure.match(b"a/" * (depth - 1) + b"b")) == [0, 2]
    del structure  # and neither does letting go of all the levels at once
