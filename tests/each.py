"""Many small cases in one test: ``each`` is ``pytest.mark.parametrize`` without a test for each case.

To collect, set up and report a test takes milliseconds; five hundred cases of a pure function take less than
one. Nothing is lost: all cases are tried, whatever came of those before; each that fails is named, with its
own traceback; what statements the cases cite, the test cites. A case that skips fails: nobody would see it
among the others. Cases share the fixtures of the test, so those have to be makers, as ``make`` is, or values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

Test = Callable[..., None]

SHOWN: Final = 10  # failures with their tracebacks; the others are named


def each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Call the test with each of the cases, which are what ``pytest.mark.parametrize`` takes."""
    called = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    all_cases = list(cases)
    assert all_cases, "there are no cases"
    taken = [(_values(case, len(called)), _name(case)) for case in all_cases]
    marks = [mark for case in all_cases if _is_param(case) for mark in case.marks]
    cited = {statement for mark in marks for statement in _statements(mark)}

    def of(test: Test) -> Test:
        assert not inspect.iscoroutinefunction(test), "each case has to end before the next begins"

        @wraps(test)
        def tries_each(**fixtures: Any) -> None:
            failed: list[BaseException] = []
            for values, name in taken:
                try:
                    test(**dict(zip(called, values, strict=True)), **fixtures)
                except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
                    error.add_note(f"case: {name}")
                    failed.append(error)
            if failed:
                raise all_of(failed, len(taken))

        parameters = inspect.signature(test).parameters
        assert set(called) <= set(parameters), f"{test.__name__} does not take {called}"
        tries_each.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter for name, parameter in parameters.items() if name not in called]
        )
        marked: Test = pytest.mark.statement(*sorted(cited))(tries_each) if cited else tries_each
        return marked

    return of


def _values(case: ParameterSet | object, count: int) -> tuple[Any, ...]:
    values = case.values if _is_param(case) else case
    if _is_param(case) or count > 1:
        assert isinstance(values, tuple | list)
        assert len(values) == count, values
        return tuple(values)
    return (values,)


def _is_param(case: object) -> TypeGuard[ParameterSet]:
    """Was it made by ``pytest.param``?"""
    return hasattr(case, "marks") and hasattr(case, "id")


def _name(case: ParameterSet | object) -> str:
    return case.id if _is_param(case) and isinstance(case.id, str) else repr(case)


def _statements(mark: pytest.Mark | pytest.MarkDecorator) -> tuple[str, ...]:
    assert mark.name == "statement", f"{mark.name} would count for all cases"
    return mark.args


def all_of(failed: Sequence[BaseException], tried: int) -> BaseExceptionGroup[BaseException]:
    """The error for several, each with a note that names its case."""
    message = f"{len(failed)} of {tried} cases fail"
    others = [error.__notes__[-1] for error in islice(failed, SHOWN, None)]
    return BaseExceptionGroup("; ".join([message, *others]), failed[:SHOWN])
