"""A test by several ways is tried by all of them, each with fixtures of its own."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests import by_ways


def item(test: Callable[..., None], *ways: str, **fixtures: Callable[..., Any]) -> pytest.Function:
    """As pytest has it when it calls the test: with the fixtures for the first way."""
    found = {
        name: [SimpleNamespace(argname=name, func=func, argnames=names_of(func), params=None)]
        for name, func in {"make": lambda request: None, **fixtures}.items()
    }
    values: dict[str, Any] = {"make": ways[0], "once": "once"}
    for name, func in fixtures.items():
        values[name] = func(*(values[one] for one in names_of(func)))
    return cast(
        "pytest.Function",
        SimpleNamespace(
            callspec=SimpleNamespace(params={"make": ways}),
            funcargs=values,
            obj=test,
            _fixtureinfo=SimpleNamespace(name2fixturedefs=found, argnames=names_of(test)),
        ),
    )


def names_of(func: Callable[..., Any]) -> tuple[str, ...]:
    return func.__code__.co_varnames[: func.__code__.co_argcount]


def test_what_is_made_of_make_is_made_for_each_way() -> None:
    seen: list[tuple[list[str], list[str], str]] = []

    def net(make: str) -> list[str]:
        return [make]

    def sender(net: list[str]) -> list[str]:
        return net

    def test(sender: list[str], net: list[str], once: str) -> None:
        seen.append((sender, net, once))

    assert by_ways.try_each(item(test, "a", "b", "c", net=net, sender=sender), str) is True
    assert seen == [([way], [way], "once") for way in "abc"]
    assert all(sender is net for sender, net, _ in seen)
    assert len({id(net) for _, net, _ in seen}) == 3


def test_one_way_is_left_to_pytest() -> None:
    def test(make: str) -> None:
        raise AssertionError

    assert by_ways.try_each(item(test, "a"), str) is None


def test_each_way_that_fails_is_named() -> None:
    tried: list[str] = []

    def test(make: str) -> None:
        tried.append(make)
        assert make not in failing

    failing = ["b"]
    with pytest.raises(AssertionError) as one:
        by_ways.try_each(item(test, "a", "b", "c"), str)
    assert one.value.__notes__ == ["way: b"]
    failing = ["a", "c"]
    with pytest.raises(BaseExceptionGroup, match="2 of 3") as both:
        by_ways.try_each(item(test, "a", "b", "c"), str)
    assert [error.__notes__ for error in both.value.exceptions] == [["way: a"], ["way: c"]]
    assert tried == [*"abcabc"]
