"""A real broker for tests that need one, and a faulty way to it, on a loop of their own in a thread."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from curier.client.loop_thread import LoopThread
from curier.client.sync import connect_sync
from curier.errors import ConfigError, Refused
from curier.faults.line import Faults
from curier.faults.rules import Rule
from curier.proxy.proxy import Proxy, settings_for
from curier.server import Broker
from curier.testing.showing import Recording
from curier.trace.events import Event, Happening
from curier.trace.reading import Ring, Trace

HOST: Final = "127.0.0.1"
READY_SECONDS: Final = 30.0
"""How long the broker may take to answer the first client."""


class ServedBroker:
    """A broker at a free port of this machine, from ``__enter__``, which returns when it has answered a
    client, to ``__exit__``. ``settings`` are those of ``curier.Broker``, but for ``listen``.

    Raises ``ConfigError`` for settings that cannot be, and what ``Broker.start`` raises.
    """

    def __init__(self, settings: dict[str, Any] | None = None, recording: Recording | None = None) -> None:
        self.host = HOST
        self.port = 0
        self.thread: LoopThread
        self._settings = settings or {}
        if "listen" in self._settings:
            raise ConfigError("the broker of the tests listens at a free port of its own: leave out listen")
        self._recording = recording
        self._broker: Broker | None = None
        self._trace: Trace | None = None

    @property
    def url(self) -> str:
        """For ``curier.connect``."""
        return f"mqtt://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self.thread = LoopThread()
        try:
            self.thread.run(self._start())
            try:  # listening is not answering
                with connect_sync(self.url, connect_timeout=READY_SECONDS):
                    pass
            except Refused:
                pass  # an answer, too: it wants a password
            self.thread.run(self._record())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thread.run(self._stop())
        self.thread.stop()

    async def _start(self) -> None:
        self._broker = Broker(f"tcp://{HOST}:0", **self._settings)
        await self._broker.start()
        self.port = self._broker.port

    async def _record(self) -> None:
        if self._recording is not None and self._broker is not None:
            self._trace = self._broker.trace()
            self._recording.sources.append(self._taken)

    async def _stop(self) -> None:
        if self._trace is not None and self._recording is not None:
            self._trace.close()
            self._recording.sources.remove(self._taken)
        if self._broker is not None and self.port:
            await self._broker.stop()

    def _taken(self) -> list[Event]:
        """What went by since the last call."""

        async def take() -> list[Event]:
            return self._trace.take() if self._trace is not None else []

        return self.thread.run(take())


class FaultyBroker:
    """A way to a ``ServedBroker`` that breaks by rules (``curier.testing.Faults``), at a port of its own.

    What is asked of it may be asked in any thread.
    """

    def __init__(self, broker: ServedBroker, recording: Recording | None = None) -> None:
        self.host = HOST
        self.port = 0
        self._broker = broker
        self._faults = Faults()
        self._recording = recording
        self._ring = Ring()
        self._proxy: Proxy | None = None

    @property
    def url(self) -> str:
        """For ``curier.connect``."""
        return f"mqtt://{self.host}:{self.port}"

    @property
    def fired(self) -> list[Happening]:
        """The last thousand faults, oldest first."""

        async def look() -> list[Happening]:
            return list(self._faults.fired)

        return self._broker.thread.run(look())

    def add(self, *rules: str | Rule) -> None:
        """Have these rules, too, from now on, and on connections that are open. Raises ``ConfigError``."""

        async def add() -> None:
            self._faults.add(*rules)

        self._broker.thread.run(add())

    def clear(self) -> None:
        """Have no rules any more."""

        async def clear() -> None:
            self._faults.clear()

        self._broker.thread.run(clear())

    def __enter__(self) -> Self:
        self._broker.thread.run(self._start())
        if self._recording is not None:
            self._recording.instead = self._taken
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recording is not None:
            self._recording.instead = None
        self._broker.thread.run(self._stop())

    async def _start(self) -> None:
        settings = settings_for(f"tcp://{HOST}:0", self._broker.url)
        self._proxy = Proxy(settings, faults=self._faults, tell=self._ring.add)
        await self._proxy.start()
        self.port = self._proxy.port

    async def _stop(self) -> None:
        if self._proxy is not None:
            await self._proxy.close()

    def _taken(self) -> list[Event]:
        async def take() -> list[Event]:
            return self._ring.take()

        return self._broker.thread.run(take())
