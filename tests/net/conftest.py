"""Both wires: epoll set and asyncio transports."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from curier.net import reactor
from tests.net.harness import Peer

WIRES = [True, False] if reactor.IS_AVAILABLE else [False]


@pytest.fixture(params=WIRES, ids=lambda on: "epoll" if on else "asyncio")
def use_reactor(request: pytest.FixtureRequest) -> bool:
    """Which of the two a broker is to use; a system without epoll has only one."""
    return bool(request.param)


@pytest.fixture(autouse=True)
async def close_peers() -> AsyncIterator[None]:
    """No connection outlives its test."""
    yield
    await Peer.close_all()
