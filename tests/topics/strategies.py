"""Topic Names and Topic Filters for Hypothesis: few different levels, so that they meet often."""

from __future__ import annotations

from hypothesis import strategies as st

LITERALS = [b"", b"a", b"b", b"$", b"$a"]


def _join(levels: list[bytes]) -> bytes:
    return b"/".join(levels)


def _with_hash(levels: list[bytes]) -> bytes:
    return b"/".join([*levels, b"#"])


topic_names = st.lists(st.sampled_from(LITERALS), min_size=1, max_size=5).map(_join).filter(bool)

_levels = st.sampled_from([*LITERALS, b"+", b"+"])
topic_filters = st.one_of(
    st.lists(_levels, min_size=1, max_size=5).map(_join).filter(bool),
    st.lists(_levels, max_size=4).map(_with_hash),
)
