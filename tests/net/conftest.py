"""Both wires, epoll set and asyncio transports; for suites that go by all doors, every kind of listener.

What each way of a client costs is much, and most of it finds the same. So a module chooses with ``DOORS``:
"every" goes by all ways; "spread" by plain TCP on both wires, and each test by a few of the others, the next
test by the next of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

import curier
from curier.net import reactor
from tests.net import doors
from tests.net.harness import Peer

Way = tuple[bool, str]
"""Whether on epoll, and by which door."""

WIRES: Final = [True, False] if reactor.IS_AVAILABLE else [False]
PLAIN: Final[list[Way]] = [(on, "tcp") for on in WIRES]
OTHERS: Final[list[Way]] = list(
    dict.fromkeys(
        (reactor.IS_AVAILABLE and number % 2 == 0, ("tls", "ws", "unix", "wss", "proxy")[number % 5])
        for number in range(10)
    )
)
"""All of them, in an order in which neighbours have little in common."""

MOST_OTHERS: Final = 2 if curier.COMPILED else 1
"""By so many of them goes a test of a suite that is spread."""


def name_of(way: Way) -> str:
    on, door = way
    return ("epoll" if on else "asyncio") + ("" if door == "tcp" else f"-{door}")


def ways_of(metafunc: pytest.Metafunc) -> list[Way]:
    """Those that this test goes by."""
    choice = getattr(metafunc.module, "DOORS", "tcp")
    if choice == "tcp":
        return PLAIN
    if choice == "every":
        return PLAIN + OTHERS
    assert choice == "spread"
    number = doors.number_of(metafunc) * MOST_OTHERS
    return PLAIN + [OTHERS[(number + more) % len(OTHERS)] for more in range(MOST_OTHERS)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise ``use_reactor`` with the ways of each test; with the mark ``doors`` it goes by all ways of
    these doors, and by no others.
    """
    if "use_reactor" not in metafunc.fixturenames:
        return
    ways = ways_of(metafunc)
    if only := metafunc.definition.get_closest_marker("doors"):
        ways = [way for way in PLAIN + OTHERS if way[1] in only.args]
    metafunc.parametrize("use_reactor", ways, ids=name_of, indirect=True)


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
