"""Well-formed Topic Names and Topic Filters, and the definition of a match."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.topics.filters import (
    check_topic_filter,
    check_topic_name,
    has_wildcard,
    is_shared,
    matches,
    split_shared,
)
from tests.topics.strategies import topic_filters, topic_names

LEVELS = 128

GOOD_NAMES = [b"a", b"/", b"//", b"/finance", b"sport/", b"$SYS/x", b"Accounts payable", "ț/€".encode()]
GOOD_WILDCARDS = [b"#", b"+", b"sport/#", b"+/tennis/#", b"sport/+/player1", b"/+", b"+/", b"$SYS/#"]


@pytest.mark.parametrize("topic", GOOD_NAMES)
def test_good_names(topic: bytes) -> None:
    assert check_topic_name(topic, LEVELS) == ""


@pytest.mark.statement("5.0/MQTT-4.7.0-1", "5.0/MQTT-3.3.2-2", "3.1.1/MQTT-4.7.1-1", "3.1.1/MQTT-3.3.2-2")
@pytest.mark.parametrize("topic", [b"#", b"+", b"a/#", b"a/+/b", b"a+", b"sport#", b"$SYS/#"])
def test_a_name_has_no_wildcards(topic: bytes) -> None:
    assert "wildcard" in check_topic_name(topic, LEVELS)


@pytest.mark.statement("5.0/MQTT-4.7.3-1", "3.1.1/MQTT-4.7.3-1")
def test_names_and_filters_are_not_empty() -> None:
    assert "at least one character" in check_topic_name(b"", LEVELS)
    assert "at least one character" in check_topic_filter(b"", LEVELS)


@pytest.mark.statement("5.0/MQTT-4.7.3-3", "3.1.1/MQTT-4.7.3-3")
def test_names_and_filters_have_at_most_65535_bytes() -> None:
    longest = b"x" * 65535
    assert check_topic_name(longest, LEVELS) == ""
    assert check_topic_filter(longest, LEVELS) == ""
    assert "65535 bytes" in check_topic_name(longest + b"x", LEVELS)
    assert "65535 bytes" in check_topic_filter(longest + b"x", LEVELS)
    assert check_topic_filter(b"$share/g/" + longest[9:], LEVELS) == ""
    assert "65535 bytes" in check_topic_filter(b"$share/g/" + longest[8:], LEVELS)


def test_levels_are_limited() -> None:
    assert check_topic_name(b"a/b/c", 3) == ""
    assert "3 levels here, and this has 4" in check_topic_name(b"a/b/c/", 3)
    assert check_topic_filter(b"+/b/#", 3) == ""
    assert "3 levels here, and this has 4" in check_topic_filter(b"/+/b/#", 3)
    assert check_topic_filter(b"$share/group/+/b/#", 3) == ""
    assert "3 levels here, and this has 4" in check_topic_filter(b"$share/group//+/b/#", 3)


@pytest.mark.parametrize("topic_filter", GOOD_NAMES + GOOD_WILDCARDS)
def test_good_filters(topic_filter: bytes) -> None:
    assert check_topic_filter(topic_filter, LEVELS) == ""
    assert check_topic_filter(b"$share/group/" + topic_filter, LEVELS) == ""


@pytest.mark.statement("5.0/MQTT-4.7.1-1", "3.1.1/MQTT-4.7.1-2")
@pytest.mark.parametrize(
    ("topic_filter", "reason"),
    [
        (b"sport/tennis#", "entire level"),
        (b"sport/#tennis", "entire level"),
        (b"##", "entire level"),
        (b"sport/tennis/#/ranking", "last character"),
        (b"#/", "last character"),
        (b"#/#", "last character"),
    ],
)
def test_hash_stands_alone_and_last(topic_filter: bytes, reason: str) -> None:
    assert reason in check_topic_filter(topic_filter, LEVELS)
    assert reason in check_topic_filter(b"$share/group/" + topic_filter, LEVELS)


@pytest.mark.statement("5.0/MQTT-4.7.1-2", "3.1.1/MQTT-4.7.1-3")
@pytest.mark.parametrize("topic_filter", [b"sport+", b"+sport", b"++", b"a/b+/c", b"+#", b"a/+b/#"])
def test_plus_fills_its_level(topic_filter: bytes) -> None:
    assert "entire level" in check_topic_filter(topic_filter, LEVELS)


WELL_FORMED = re.compile(r"(([^/+#]*|\+)/)*([^/+#]*|\+|#)")


@given(st.text("a$/+#", min_size=1, max_size=8))
def test_check_of_filters_is_the_grammar(text: str) -> None:
    good = WELL_FORMED.fullmatch(text) is not None
    assert (check_topic_filter(text.encode(), LEVELS) == "") == good
    assert (check_topic_filter(b"$share/s/" + text.encode(), LEVELS) == "") == good


@pytest.mark.statement("5.0/MQTT-4.8.2-1")
def test_a_share_name_has_a_character() -> None:
    assert "at least one character" in check_topic_filter(b"$share//a", LEVELS)
    assert "at least one character" in check_topic_filter(b"$share/", LEVELS)
    assert check_topic_filter(b"$share/s/a", LEVELS) == ""


@pytest.mark.statement("5.0/MQTT-4.8.2-2")
@pytest.mark.parametrize(
    ("topic_filter", "reason"),
    [
        (b"$share/gr+up/a", "must not contain"),
        (b"$share/#/a", "must not contain"),
        (b"$share/+", "must not contain"),
        (b"$share/group", "followed by '/' and a Topic Filter"),
        (b"$share/group/", "followed by '/' and a Topic Filter"),
    ],
)
def test_a_share_name_is_plain_and_a_filter_follows(topic_filter: bytes, reason: str) -> None:
    assert reason in check_topic_filter(topic_filter, LEVELS)


def test_shared_filters_are_taken_apart() -> None:
    assert split_shared(b"$share/consumer1/sport/tennis/+") == (b"consumer1", b"sport/tennis/+")
    assert split_shared(b"$share/consumer1//finance") == (b"consumer1", b"/finance")
    assert split_shared(b"$share/consumer1") == (b"consumer1", b"")
    assert is_shared(b"$share/consumer1/a")
    assert not is_shared(b"$share")
    assert not is_shared(b"$shared/consumer1/a")
    assert not is_shared(b"a/$share/b")


def test_wildcards_are_seen() -> None:
    assert has_wildcard(b"a/+")
    assert has_wildcard(b"#")
    assert not has_wildcard(b"a/b")


# Topic Filter, Topic Names that it matches, Topic Names that it does not match; from section 4.7 of the spec
# and a few more.
MATCHES: list[tuple[bytes, list[bytes], list[bytes]]] = [
    (
        b"sport/tennis/player1/#",
        [b"sport/tennis/player1", b"sport/tennis/player1/ranking", b"sport/tennis/player1/score/wimbledon"],
        [b"sport/tennis", b"sport/tennis/player2", b"sport/tennis/player10"],
    ),
    (b"sport/#", [b"sport", b"sport/", b"sport/tennis"], [b"sports", b"/sport"]),
    (b"#", [b"a", b"/", b"a/b/c", b"/finance"], [b"$SYS", b"$SYS/monitor/Clients", b"$"]),
    (
        b"sport/tennis/+",
        [b"sport/tennis/player1", b"sport/tennis/player2", b"sport/tennis/"],
        [b"sport/tennis/player1/ranking", b"sport/tennis"],
    ),
    (b"sport/+", [b"sport/"], [b"sport"]),
    (b"+", [b"finance"], [b"/finance", b"$SYS"]),
    (b"+/+", [b"/finance", b"/"], [b"finance", b"a/b/c", b"$SYS/x"]),
    (b"/+", [b"/finance", b"/"], [b"finance"]),
    (b"+/tennis/#", [b"sport/tennis", b"/tennis/x"], [b"tennis", b"sport/x/tennis"]),
    (b"+/#", [b"a", b"/", b"a/b/c"], [b"$a", b"$a/b"]),
    (b"+/monitor/Clients", [b"x/monitor/Clients"], [b"$SYS/monitor/Clients"]),
    (b"$SYS/#", [b"$SYS/monitor/Clients", b"$SYS"], [b"SYS/x", b"$SYSTEM/x"]),
    (b"$SYS/monitor/+", [b"$SYS/monitor/Clients", b"$SYS/monitor/$x"], [b"$SYS/monitor"]),
    (b"a/+/c", [b"a/$b/c", b"a//c"], [b"a/c", b"a/b/d"]),
    (b"ACCOUNTS", [b"ACCOUNTS"], [b"Accounts"]),
    (b"finance", [b"finance"], [b"/finance", b"finance/"]),
]


@pytest.mark.parametrize(("topic_filter", "matching", "others"), MATCHES)
def test_examples_of_matches(topic_filter: bytes, matching: list[bytes], others: list[bytes]) -> None:
    assert [topic for topic in matching + others if matches(topic_filter, topic)] == matching


@pytest.mark.statement("5.0/MQTT-4.7.2-1", "3.1.1/MQTT-4.7.2-1")
@pytest.mark.parametrize("topic", [b"$", b"$SYS", b"$SYS/x", b"$SYS/x/y"])
def test_leading_wildcards_do_not_match_dollar_topics(topic: bytes) -> None:
    levels = topic.count(b"/") + 1
    for topic_filter in (b"#", b"+/#", b"/".join([b"+"] * levels)):
        assert not matches(topic_filter, topic)
        assert matches(topic_filter, topic[1:] or b"x")
    assert matches(topic.split(b"/")[0] + b"/#", topic)


@pytest.mark.statement("5.0/MQTT-4.7.3-4", "3.1.1/MQTT-4.7.3-4")
def test_nothing_is_normalized() -> None:
    composed = "\u00e9".encode()
    decomposed = "e\u0301".encode()
    assert not matches(composed, decomposed)
    assert not matches(b"a/" + composed + b"/#", b"a/" + decomposed)
    assert not matches(b"a//b", b"a/b")
    assert not matches(b"a/./b", b"a/b")
    assert not matches("\ufeffa".encode(), b"a")


def as_pattern(topic_filter: bytes) -> re.Pattern[bytes]:
    """The filter as a regular expression, a second definition to hold the first against."""
    pattern = re.escape(topic_filter).replace(rb"\+", rb"[^/]*")
    if pattern.endswith(rb"/\#"):
        pattern = pattern[:-3] + rb"(/.*)?"
    elif pattern == rb"\#":
        pattern = rb".*"
    if topic_filter[:1] in (b"+", b"#"):
        pattern = rb"(?!\$)" + pattern
    return re.compile(pattern, re.DOTALL)


@given(topic_filters, topic_names)
def test_a_filter_matches_as_its_regular_expression(topic_filter: bytes, topic: bytes) -> None:
    assert matches(topic_filter, topic) == (as_pattern(topic_filter).fullmatch(topic) is not None)
