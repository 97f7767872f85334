"""The client's own doors: a module that says ``DOORS = True`` goes by TCP, and each test by one of the others
as well, or two where it is compiled; the next test by the next. ``hostile`` and ``doors.here`` serve by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

import curier
from tests.net import doors

OTHERS: Final = ("tls", "ws", "unix", "wss")
MOST_OTHERS: Final = 2 if curier.COMPILED else 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise ``door``; with the mark ``doors`` a test goes by these alone."""
    if not getattr(metafunc.module, "DOORS", False):
        return
    number = doors.number_of(metafunc)
    names = ["tcp", *(OTHERS[(number + more) % len(OTHERS)] for more in range(MOST_OTHERS))]
    if only := metafunc.definition.get_closest_marker("doors"):
        names = list(only.args)
    metafunc.parametrize("door", names, indirect=True)


@pytest.fixture(autouse=True)
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """By which door clients of this test are served; they trust it as they trust any server."""
    name: str = getattr(request, "param", "tcp")
    if name in ("tls", "wss"):
        monkeypatch.setenv("SSL_CERT_FILE", str(doors.authority().file))
    with doors.going_by(name):
        yield
