"""Both wires: epoll set and asyncio transports."""

from __future__ import annotations

import pytest

from curier.net import reactor


@pytest.fixture(
    params=[True, False] if reactor.IS_AVAILABLE else [False], ids=lambda on: "epoll" if on else "asyncio"
)
def use_reactor(request: pytest.FixtureRequest) -> bool:
    """Which of the two a broker is to use; a system without epoll has only one."""
    return bool(request.param)
