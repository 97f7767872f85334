"""Numbers as ``curier top`` says them."""

from __future__ import annotations

import pytest

from curier.top.wording import bars, count, rate, short, size, span


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1023.9, "1.0 KiB"),
        (1024 * 999.95, "1.0 MiB"),
        (12.34 * 2**20, "12.3 MiB"),
        (500 * 2**20, "500 MiB"),
        (1e12, "931 GiB"),
        (2e15, "1,819 TiB"),
    ],
)
def test_sizes_have_steps_of_1024(number: float, said: str) -> None:
    assert size(number) == said.replace(",", "")


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0/s"), (0.4, "0.4/s"), (9.96, "10/s"), (50_000, "50 000/s")]
)
def test_rates(number: float, said: str) -> None:
    assert rate(number) == said


def test_counts() -> None:
    assert [count(number) for number in (7, 1234, 1e12)] == ["7", "1 234", "1 000 000 000 000"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0.2, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (90_000, "1 d 1 h"),
        (86_400 * 400, "400 d"),
    ],
)
def test_spans_have_two_parts(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_of_a_long_name_both_ends_are_seen() -> None:
    assert short("a" * 30, 30) == "a" * 30
    assert short("building-7/floor-3/room-12/lamp-4", 15) == "buildin…/lamp-4"
    assert len(short("x" * 100, 30)) == 30


def test_columns_are_of_the_largest_and_what_is_not_nothing_is_seen() -> None:
    assert bars([0, 1, 8, 1000], 6) == "   ▁▁█"
    assert bars([0, 0], 3) == "   "
    assert bars([], 2) == "  "
    assert bars([1, 2, 3, 4], 2) == "▆█"
