"""A system whose clock and boot a test sets, as programs that start find them."""

from __future__ import annotations

import time
from types import ModuleType

import pytest


class System:
    """``ahead`` seconds are on its clock too many; ``name`` is what ``module`` is told of its boot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        self.ahead = 0.0
        self.name = "first"
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.ahead)
        monkeypatch.setattr(module, "boot_id", lambda: self.name)
