"""The log passes what every store does, and says the truth about files that a crash or a bad disk left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curier.store.base import Store
from curier.store.log import LogStore
from curier.testing.stores import StoreContract


class TestFsync(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: LogStore(tmp_path / "data")


class TestOs(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: LogStore(tmp_path / "data", "os")
