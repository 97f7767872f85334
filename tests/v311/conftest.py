"""Every test of this folder runs three ways, and by doors; see ``harness``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import pytest

from tests.net.memory import ways_of
from tests.v311.harness import WAYS, Network

Make = Callable[..., Network]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make" in metafunc.fixturenames:
        metafunc.parametrize("make", ways_of(metafunc, WAYS), indirect=True)


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a ``Network``; takes its arguments but for ``way``."""
    return partial(Network, cast(str, request.param))


@pytest.fixture
def net(make: Make) -> Network:
    """A broker with default options, but for $SYS messages."""
    return make()
