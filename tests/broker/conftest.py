"""Tests of this folder that take ``make`` or ``net`` run three ways; see ``harness``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import pytest

from tests.broker.harness import WAYS, Net

Make = Callable[..., Net]


@pytest.fixture(params=WAYS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a ``Net``; takes its arguments but for ``way``."""
    return partial(Net, cast(str, request.param))


@pytest.fixture
def net(make: Make) -> Net:
    """A broker with default options, but for $SYS messages."""
    return make()
