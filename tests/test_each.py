"""Many cases in one test: none is left out, and each that fails is named."""

from __future__ import annotations

import inspect

import pytest

from tests.each import each


def test_every_case_is_tried_and_each_that_fails_is_named() -> None:
    tried = []

    @each(("number", "word"), [(1, "a"), pytest.param(2, "b", id="second"), (3, "c"), (4, "d")])
    def small(number: int, word: str) -> None:
        tried.append((number, word))
        assert number not in (2, 3)
        if number == 4:
            pytest.fail("four")

    with pytest.raises(BaseExceptionGroup, match="3 of 4 cases fail") as caught:
        small()
    assert tried == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    notes = [error.__notes__ for error in caught.value.exceptions]
    assert notes == [["case: second"], ["case: (3, 'c')"], ["case: (4, 'd')"]]


def test_of_very_many_that_fail_the_others_are_named() -> None:
    @each("number", range(30))
    def none(number: int) -> None:
        raise ValueError

    with pytest.raises(BaseExceptionGroup, match=r"30 of 30 cases fail.*case: 28; case: 29") as caught:
        none()
    assert len(caught.value.exceptions) == 10


def test_a_case_that_skips_fails() -> None:
    tried = []

    @each("number", [1, 2])
    def skipping(number: int) -> None:
        tried.append(number)
        pytest.skip("not here")

    with pytest.raises(BaseExceptionGroup, match="2 of 2 cases fail"):
        skipping()
    assert tried == [1, 2]


def test_what_is_no_case_stays_a_fixture_and_statements_are_cited() -> None:
    cases = [pytest.param(1, marks=pytest.mark.statement("b", "a")), 2]

    @each(["number"], iter(cases))
    def small(make: object, number: int) -> None:
        assert make == "maker"

    small(make="maker")
    assert list(inspect.signature(small).parameters) == ["make"]
    assert [mark.args for mark in small.pytestmark] == [("a", "b")]  # type: ignore[attr-defined]


def test_cases_that_cannot_be() -> None:
    def small(number: int) -> None: ...

    with pytest.raises(AssertionError, match="no cases"):
        each("number", [])
    with pytest.raises(AssertionError, match="does not take"):
        each("letter", [1])(small)
    with pytest.raises(AssertionError, match="would count for all cases"):
        each("number", [pytest.param(1, marks=pytest.mark.slow)])
