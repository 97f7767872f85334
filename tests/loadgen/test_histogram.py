"""Percentiles against those of a sorted list."""

from hypothesis import given
from hypothesis import strategies as st

from curier.loadgen.histogram import Histogram

PERCENTS = (50.0, 90.0, 99.0, 99.9, 100.0)


@given(st.lists(st.tuples(st.integers(0, 2**45), st.integers(1, 50)), min_size=1))
def test_percentiles(values: list[tuple[int, int]]) -> None:
    histogram = Histogram()
    for value, count in values:
        histogram.add(value, count)
    ordered = sorted(value for value, count in values for _ in range(count))
    assert histogram.count == len(ordered)
    assert histogram.maximum == ordered[-1]
    assert histogram.mean() == sum(ordered) / len(ordered)
    for percent in PERCENTS:
        rank = max(-(-len(ordered) * percent // 100), 1)
        exact = ordered[int(rank) - 1]
        assert exact <= histogram.percentile(percent) <= exact * (1 + 1 / 128)


@given(st.lists(st.integers(0, 2**40)), st.lists(st.integers(0, 2**40)))
def test_merging_is_counting_together(first: list[int], second: list[int]) -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    for value in first:
        one.add(value)
        both.add(value)
    for value in second:
        other.add(value)
        both.add(value)
    one.merge(other)
    assert vars(one) == vars(both)


def test_of_nothing() -> None:
    assert Histogram().percentile(50) == 0
    assert Histogram().mean() == 0


def test_a_clock_that_goes_back_a_little() -> None:
    histogram = Histogram()
    histogram.add(-5)
    assert histogram.percentile(50) == histogram.maximum == 0
