"""The tree of rules, held to the definition of a match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.permissions.tree import PUBLISH, RECEIVE, SUBSCRIBE, Rule, RuleTree, values_of
from curier.topics.filters import check_topic_filter, matches

LEVEL = st.sampled_from([b"a", b"b", b"", b"$x", b"+", b"{u}"])
FILTER = st.lists(LEVEL, min_size=1, max_size=4).flatmap(
    lambda levels: st.sampled_from([b"/".join(levels), b"/".join([*levels, b"#"]), b"#"])
)
TOPIC = st.lists(st.sampled_from([b"a", b"b", b"", b"$x", b"me"]), min_size=1, max_size=4).map(b"/".join)
RULES = st.lists(
    st.tuples(FILTER, st.integers(0, 2), st.booleans(), st.sampled_from([PUBLISH, RECEIVE, 3])), max_size=12
)


@given(RULES, TOPIC, st.sets(st.integers(0, 2)), st.sampled_from([PUBLISH, RECEIVE]))
def test_the_first_rule_of_the_tree_is_the_first_that_matches(
    rules: list[tuple[bytes, int, bool, int]], topic: bytes, subjects: set[int], action: int
) -> None:
    tree = RuleTree(b"{u}".__eq__)
    expected = None
    for order, (topic_filter, subject, allows, actions) in enumerate(rules):
        if not topic_filter or check_topic_filter(topic_filter, 10):
            continue
        tree.add(topic_filter, subject, Rule(order, allows, actions, order + 1, ""))
        plain = topic_filter.replace(b"{u}", b"me")
        if expected is None and subject in subjects and actions & action and matches(plain, topic):
            expected = order
    found = tree.first(topic, sorted(subjects), action, values_of({b"{u}": b"me"}))
    assert (found.order if found is not None else None) == expected


def test_a_value_is_never_a_wildcard_nor_several_levels() -> None:
    tree = RuleTree(b"{u}".__eq__)
    tree.add(b"home/{u}/#", 0, Rule(0, True, PUBLISH, 1, ""))
    for value in (b"+", b"#", b"a/b"):
        assert tree.first(b"home/a/b", [0], PUBLISH, values_of({b"{u}": value})) is None
    assert tree.first(b"home/a/b", [0], PUBLISH, values_of({b"{u}": b"a"})) is not None


def test_a_placeholder_without_a_value_matches_nothing_not_even_itself() -> None:
    tree = RuleTree(b"{u}".__eq__)
    tree.add(b"home/{u}", 0, Rule(0, True, PUBLISH, 1, ""))
    assert tree.first(b"home/", [0], PUBLISH, values_of({})) is None
    assert tree.first(b"home/{u}", [0], PUBLISH, values_of({})) is None


@given(FILTER, FILTER, TOPIC)
def test_a_filter_that_covers_another_matches_all_that_it_matches(
    rule: bytes, asked: bytes, topic: bytes
) -> None:
    if any(not one or check_topic_filter(one, 10) for one in (rule, asked)):
        return
    tree = RuleTree()
    tree.add(rule, 0, Rule(0, True, SUBSCRIBE, 1, ""))
    covers = tree.first(asked, [0], SUBSCRIBE, values_of({})) is not None
    if covers and matches(asked, topic):
        assert matches(rule, topic)
    if rule == asked:
        assert covers


@pytest.mark.parametrize(
    ("rule", "asked", "expected"),
    [
        (b"a/+", b"a/x", True),
        (b"a/+", b"a/+", True),
        (b"a/+", b"a/#", False),
        (b"a/+", b"a", False),
        (b"a/+", b"+/x", False),
        (b"+/#", b"#", False),
        (b"a/+/#", b"a/b", True),
        (b"a/+/#", b"a/#", False),
        (b"a/#", b"a/+/b/#", True),
        (b"#", b"$SYS/#", False),
        (b"$SYS/#", b"$SYS/#", True),
        (b"{u}", b"+", False),
    ],
)
def test_what_covers_a_filter(rule: bytes, asked: bytes, expected: bool) -> None:
    tree = RuleTree(b"{u}".__eq__)
    tree.add(rule, 0, Rule(0, True, SUBSCRIBE, 1, ""))
    assert (tree.first(asked, [0], SUBSCRIBE, values_of({b"{u}": b"+"})) is not None) is expected
