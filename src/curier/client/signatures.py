"""Functions that take what others take: each parameter is described once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def takes(parameters_of: Callable[P, Any]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Say that a function takes what ``parameters_of`` takes, to people, tools and type checkers."""

    def decorate(function: Callable[..., R]) -> Callable[P, R]:
        _say(function, parameters_of)
        return function

    return decorate


def takes_as(
    method: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, P], R]]:
    """The same for a method, whose ``self`` is another."""

    def decorate(function: Callable[..., R]) -> Callable[Concatenate[Any, P], R]:
        _say(function, method)
        return function

    return decorate


def _say(function: Callable[..., Any], other: Callable[..., Any]) -> None:
    returns = inspect.signature(function).return_annotation
    function.__signature__ = inspect.signature(other).replace(  # type: ignore[attr-defined]
        return_annotation=returns
    )
