"""Every test of this folder runs three ways, and by doors; see ``harness``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import pytest

from tests import by_ways
from tests.net.memory import ways_of
from tests.v311.harness import WAYS, Network

Make = Callable[..., Network]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make" in metafunc.fixturenames:
        by_ways.parametrize(metafunc, ways_of(metafunc, WAYS))


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    return by_ways.try_each(pyfuncitem, lambda way: partial(Network, way))


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a ``Network``; takes its arguments but for ``way``."""
    return partial(Network, cast("tuple[str, ...]", request.param)[0])


@pytest.fixture
def net(make: Make) -> Network:
    """A broker with default options, but for $SYS messages."""
    return make()
