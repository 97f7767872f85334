"""What schedules are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.people import wrongs
from tests.cluster.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    one = Stage()
    yield one
    assert wrongs(one.ledger, one.people) == []
