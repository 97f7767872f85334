"""A broker in this process, for commands that are clients of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from curier.cli import main
from curier.server import Broker

Curier = Callable[..., Result]


class BrokerThread:
    """A broker in an event loop of its own; ``run`` runs something else in there."""

    def __init__(self) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._serve()), daemon=True
        )
        self._thread.start()
        assert self._ready.wait(100), "the broker does not start"

    async def _serve(self) -> None:
        async with Broker(["tcp://127.0.0.1:0"]) as broker:
            self.port = broker.port
            self._ready.set()
            await self._stop.wait()

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(main, self._loop).result(100)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(100)
        self._loop.close()


@pytest.fixture(scope="session")
def broker() -> Iterator[BrokerThread]:
    """One for all tests of this folder, which keep apart by their topics."""
    thread = BrokerThread()
    yield thread
    thread.close()


@pytest.fixture
def curier(
    broker: BrokerThread, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Curier:
    """Runs a command that is a client of the broker, to its end."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "nothing"))
    monkeypatch.delenv("CURIER_PASSWORD", raising=False)

    def run(command: str, *words: object, stdin: bytes = b"") -> Result:
        server = () if {"-h", "-p", "-L", "--profile"}.intersection(words) else ("-p", str(broker.port))
        return CliRunner().invoke(main, [command, *map(str, words), *server], input=stdin)

    return run
