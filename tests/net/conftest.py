"""Both wires, epoll set and asyncio transports; for suites that go by all doors, every kind of listener."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

import pytest

from curier.net import reactor
from tests.net import doors
from tests.net.harness import Peer

WIRES = [True, False] if reactor.IS_AVAILABLE else [False]


Way = tuple[bool, str]
"""Whether on epoll, and by which door."""


def ways(names: Iterable[str] = doors.DOORS) -> list[Way]:
    """Those with these doors."""
    return [(on, name) for name in names for on in WIRES]


def name_of(way: Way) -> str:
    on, door = way
    return ("epoll" if on else "asyncio") + ("" if door == "tcp" else f"-{door}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise ``use_reactor``: with every door where the module has ``DOORS = True``, but for tests that
    are ``doors``'s of some alone.
    """
    if "use_reactor" not in metafunc.fixturenames:
        return
    names = list(doors.DOORS) if getattr(metafunc.module, "DOORS", False) else ["tcp"]
    if only := metafunc.definition.get_closest_marker("doors"):
        names = [name for name in names if name in only.args]
    metafunc.parametrize("use_reactor", ways(names), ids=name_of, indirect=True)


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
