"""A message does not go in circles: the trace of where it has been."""

from __future__ import annotations

from curier.bridge.hops import PROPERTY, passed, why_not_on, with_hop
from tests.each import each


@each(
    "seen, source, target, why",
    [
        ([], "", "", ""),
        ([], "a", "b", ""),
        (["a"], "b", "c", ""),
        (["a", "b"], "c", "a", "it has been at a already"),
        (["a", "b"], "a", "", "it has come back to a"),
        (["a", "b", "c"], "d", "e", "it has passed 3 brokers (max_hops)"),
    ],
)
def test_where_a_message_may_go_on(seen: list[str], source: str, target: str, why: str) -> None:
    pairs = [("unit", "C"), *((PROPERTY, one) for one in seen)]
    assert why_not_on(pairs, source, target, 3) == why


def test_each_broker_is_noted_behind_what_the_message_has() -> None:
    pairs = with_hop(with_hop([("unit", "C")], "a"), "b")
    assert pairs[0] == ("unit", "C")
    assert passed(pairs) == ["a", "b"]
