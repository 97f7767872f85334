"""The tutorials and the how-tos do what they say, from their first command to their last."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import curier
from tests.guides import Guide
from tests.test_docs import ROOT

DOCS = ROOT / "docs"
PAGES = [
    DOCS / "first-minute.md",
    DOCS / "qos.md",
    DOCS / "ro" / "qos.md",
    *sorted((DOCS / "tutorials").glob("*.md")),
    *sorted((DOCS / "how-to").glob("*.md")),
]

pytestmark = [pytest.mark.slow, pytest.mark.interop]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a broker for the pages that start none, in a thread."""
    ports: queue.Queue[int] = queue.Queue()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def main() -> None:
        async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
            ports.put(broker.port)
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    yield ports.get(timeout=100)
    loop.call_soon_threadsafe(over.set)
    thread.join(100)
    loop.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page(page: Path, port: int, tmp_path: Path) -> None:
    guide = Guide(tmp_path, port)
    try:
        guide.follow(page.read_text())
        assert not guide.failed, guide.printed
    finally:
        guide.end()
