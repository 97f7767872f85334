"""Whatever a program gets from a client it can name, from ``curier``."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

import curier

OTHERS = {"AsyncIterable", "Callable", "Iterable", "None", "Self", "Sequence", "Any"}
OF_THE_HOUSE = {
    *(
        "publish_within",
        "make_link",
        "on_answered",
        "on_connected",
        "on_lost",
        "on_turn",
        "on_room",
        "message_of",
        "publish_within",
        "put",
        "holds",
        "outbox",
        "hand_over",
        "take_back",
        "take",
        "ready",
        "is_durable",
    ),
}
GIVEN = (
    *("Client", "SyncClient", "Stream", "SyncStream", "Service", "SyncService", "Receipt", "SyncReceipt"),
    *("Request", "SyncRequest", "EventReader", "SyncEventReader", "ReceivedMessage"),
)


@pytest.mark.parametrize("name", [*GIVEN, "ClientSettings"])
def test_annotations_have_names_one_can_import(name: str) -> None:
    for method, function in inspect.getmembers(getattr(curier, name)):
        if (method.startswith("_") and method not in ("__next__", "__anext__")) or method in OF_THE_HOUSE:
            continue
        if isinstance(function, property):
            function = function.fget
        if not inspect.isfunction(function) or not function.__module__.startswith("curier.client"):
            continue
        for parameter, annotation in inspect.get_annotations(function).items():
            found = set(re.findall(r"\b[A-Z]\w*", str(annotation)))
            assert found - OTHERS <= set(curier.__all__), f"{name}.{method}: {parameter}"


def test_all_names_are_there() -> None:
    assert [name for name in curier.__all__ if not hasattr(curier, name)] == []
    assert sorted(set(curier.__all__)) == sorted(curier.__all__)


def test_importing_curier_imports_no_client() -> None:
    program = "import sys, curier; assert not {'asyncio', 'ssl', 'curier.client'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
