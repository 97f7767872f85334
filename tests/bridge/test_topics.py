"""Which topics a bridge carries, what they are called on the other side, and which come back."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from curier.bridge.topics import Map, Topic, may_come_back, overlap, parse_topic
from curier.errors import ConfigError
from curier.topics.filters import matches
from tests.each import each


@each(
    "text, expected",
    [
        ("a/#", Topic("a/#", "out", 1)),
        ("a/# both", Topic("a/#", "both", 1)),
        ("a/# in 2", Topic("a/#", "in", 2)),
        ("# out 0 home/", Topic("#", "out", 0, "home/")),
        ('# out 0 "" site/', Topic("#", "out", 0, "", "site/")),
        ('"" in 1 lamp lights/7', Topic("", "in", 1, "lamp", "lights/7")),
    ],
)
def test_a_line_of_topics(text: str, expected: Topic) -> None:
    assert parse_topic(text) == expected
    assert parse_topic(str(expected)) == expected


@each(
    "text, why",
    [
        ("", "expected PATTERN"),
        ("a out 1 b c d", "expected PATTERN"),
        ("a outwards", "the direction is out, in or both, not 'outwards'"),
        ("a out 3", "the QoS is 0, 1 or 2, not '3'"),
        ('"" out 1 a', "needs both prefixes"),
        ("a out 1 b/+/", "a prefix has no wildcards"),
        ("a/#/b out", "'a/#/b'"),
        ("$share/g/a out", "a bridge is one client"),
    ],
)
def test_a_line_that_cannot_be(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as met:
        parse_topic(text)
    assert why in str(met.value)


@each(
    "to_remote, topic, expected",
    [
        (True, "home/a/b", ("site/a/b", 1)),
        (True, "home/a", ("site/a", 1)),  # [4.7.1.2]: "#" matches its parent
        (True, "a/b", None),
        (True, "home/c", None),
        (True, "home/ab", None),
        (True, "lamp", ("lights/7", 0)),
        (False, "site/a/b", None),
        (False, "lights/7", ("lamp", 0)),
        (False, "site/c", ("home/c", 2)),
    ],
)
def test_the_topic_on_the_other_side(to_remote: bool, topic: str, expected: tuple[str, int] | None) -> None:
    topics = [
        Topic("a/#", "out", 1, "home/", "site/"),
        Topic("c", "in", 2, "home/", "site/"),
        Topic("", "both", 0, "lamp", "lights/7"),
    ]
    assert Map(topics, to_remote).find(topic) == expected


def test_the_first_rule_that_fits_decides() -> None:
    found = Map([Topic("a/+", "out", 0, "", "x/"), Topic("a/#", "out", 2, "", "y/")], True)
    assert found.find("a/b") == ("x/a/b", 0)
    assert found.find("a/b/c") == ("y/a/b/c", 2)
    assert found.sources == {"a/+": 0, "a/#": 2}
    assert (found.highest_qos, Map([], True).highest_qos) == (2, -1)


LEVELS = st.lists(st.sampled_from(["a", "b", "", "+"]), min_size=1, max_size=3)
FILTERS = st.tuples(LEVELS, st.booleans()).map(lambda one: "/".join([*one[0], *(["#"] if one[1] else [])]))
TOPICS = st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=4).map("/".join)
PREFIXES = st.sampled_from(["", "x/", "y", "x/y/", "/"])


@given(FILTERS, PREFIXES, PREFIXES, TOPICS)
def test_what_goes_there_and_back_is_called_the_same(
    pattern: str, local: str, remote: str, topic: str
) -> None:
    one = Topic(pattern, "both", 1, local, remote)
    try:
        one.check()
    except ConfigError:  # such as "y+"
        reject()
    assume(local + topic)  # [MQTT-4.7.3-1]
    there = Map([one], True).find(local + topic)
    if there is not None:
        back = Map([one], False).find(there[0])
        assert back is not None
        assert back[0] == local + topic
        assert matches(one.remote_filter.encode(), there[0].encode())


@given(FILTERS, FILTERS, TOPICS)
def test_filters_that_match_one_topic_overlap(one: str, other: str, topic: str) -> None:
    if topic and matches(one.encode(), topic.encode()) and matches(other.encode(), topic.encode()):
        assert overlap(one, other)
        assert overlap(other, one)


def test_filters_that_do_not_overlap() -> None:
    for one, other in (("a", "b"), ("a/+", "a"), ("a/b/#", "a/c/#"), ("+/x", "a/y")):
        assert not overlap(one, other)
        assert not overlap(other, one)


def test_what_may_come_back() -> None:
    out, into, both = Topic("a/#", "out"), Topic("a/b", "in"), Topic("c", "both")
    assert may_come_back([out, Topic("a/b", "in", 1, "", "x/"), both]) == [(both, both)]
    assert may_come_back([out, into]) == [(out, into)]
