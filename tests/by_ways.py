"""A test that goes by several ways, as those of ``tests/broker`` and ``tests/v311`` do, is one test.

As with the cases of ``each``: all ways are tried, whatever came of those before; each that fails is named.
What a test takes that is made of ``make``, as ``net`` and what connects to it, is made anew for each way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from tests.each import all_of

Fixtures = Mapping[str, Sequence[pytest.FixtureDef[Any]]]


def parametrize(metafunc: pytest.Metafunc, ways: Sequence[str]) -> None:
    """Give ``make`` all ways at once; or one by one, where a fixture is more than a function of others."""
    made = [one for one in _made_of_make(metafunc._arg2fixturedefs) if not _is_plain(one)]
    if made or inspect.iscoroutinefunction(metafunc.function):
        metafunc.parametrize("make", [(way,) for way in ways], ids=ways, indirect=True)
    else:
        metafunc.parametrize("make", [tuple(ways)], ids=[pytest.HIDDEN_PARAM], indirect=True)


def try_each(item: pytest.Function, make_of: Callable[[str], Any]) -> bool | None:
    """Call the test by each of its ways, if they are several; for ``pytest_pyfunc_call``."""
    found = item.callspec.params.get("make", ()) if hasattr(item, "callspec") else ()
    ways = cast("tuple[str, ...]", found)
    if len(ways) < 2:
        return None
    fixtures = item._fixtureinfo.name2fixturedefs
    made = {one.argname for one in _made_of_make(fixtures)}
    failed: list[BaseException] = []
    for number, way in enumerate(ways):
        values = {name: value for name, value in item.funcargs.items() if not number or name not in made}
        values["make"] = make_of(way)
        try:
            item.obj(**{name: _value(name, values, fixtures) for name in item._fixtureinfo.argnames})
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
            error.add_note(f"way: {way}")
            failed.append(error)
    if failed:
        raise failed[0] if len(failed) == 1 else all_of(failed, len(ways))
    return True


def _value(name: str, values: dict[str, Any], fixtures: Fixtures) -> Any:
    if name not in values:
        fixture = fixtures[name][-1]
        values[name] = fixture.func(**{one: _value(one, values, fixtures) for one in fixture.argnames})
    return values[name]


def _made_of_make(fixtures: Fixtures) -> list[pytest.FixtureDef[Any]]:
    def is_made(name: str) -> bool:
        return name == "make" or (name in fixtures and any(map(is_made, fixtures[name][-1].argnames)))

    return [found[-1] for name, found in fixtures.items() if name != "make" and is_made(name)]


def _is_plain(fixture: pytest.FixtureDef[Any]) -> bool:
    return not (fixture.params or "request" in fixture.argnames or inspect.isgeneratorfunction(fixture.func))
