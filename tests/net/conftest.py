"""Both wires, epoll set and asyncio transports; for suites that go by all doors, every kind of listener."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from curier.net import reactor
from tests.net import doors
from tests.net.harness import Peer

WIRES = [True, False] if reactor.IS_AVAILABLE else [False]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise ``use_reactor``: with every door where the module has ``DOORS = True``."""
    if "use_reactor" not in metafunc.fixturenames:
        return
    names = list(doors.DOORS) if getattr(metafunc.module, "DOORS", False) else ["tcp"]
    ways = [(on, name) for name in names for on in WIRES]
    ids = [("epoll" if on else "asyncio") + ("" if name == "tcp" else f"-{name}") for on, name in ways]
    metafunc.parametrize("use_reactor", ways, ids=ids, indirect=True)


@pytest.fixture
def use_reactor(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Which of the two a broker is to use; a system without epoll has only one."""
    on, door = request.param
    with doors.going_by(door):
        yield on


@pytest.fixture(autouse=True)
async def close_peers() -> AsyncIterator[None]:
    """No connection outlives its test."""
    yield
    await Peer.close_all()
