"""Tests of this folder that take ``make`` or ``net`` run three ways, and by doors; see ``harness``.

Where no message passes, the slow lane is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import pytest

from tests import by_ways
from tests.broker.harness import ALONE, WAYS, Net
from tests.net.memory import ways_of

Make = Callable[..., Net]

WITHOUT_MESSAGES = {
    "test_auth",
    "test_client_ids",
    "test_connect",
    "test_keep_alive",
    "test_sessions",
    "test_sys",
}


# A cluster differs where a Reason Code says whether there are receivers, or what is refused is not yet known.
CLUSTERED = {"test_bounds_of_queues", "test_delivery", "test_mounted_sessions", "test_queues", "test_will"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make" in metafunc.fixturenames:
        name = metafunc.module.__name__.rpartition(".")[2]
        cores = ("fast", "journal") if name in WITHOUT_MESSAGES else WAYS
        if name in CLUSTERED:
            cores = (*cores, ALONE)
        by_ways.parametrize(metafunc, ways_of(metafunc, cores))


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    return by_ways.try_each(pyfuncitem, lambda way: partial(Net, way))


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a ``Net``; takes its arguments but for ``way``."""
    return partial(Net, cast("tuple[str, ...]", request.param)[0])


@pytest.fixture
def net(make: Make) -> Net:
    """A broker with default options, but for $SYS messages."""
    return make()
