"""Every test of this folder runs three ways; see ``harness``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import pytest

from tests.v311.harness import WAYS, Network

Make = Callable[..., Network]


@pytest.fixture(params=WAYS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a ``Network``; takes its arguments but for ``way``."""
    return partial(Network, cast(str, request.param))


@pytest.fixture
def net(make: Make) -> Network:
    """A broker with default options, but for $SYS messages."""
    return make()
