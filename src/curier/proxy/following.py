"""What goes by at a proxy, as an iterator: the proxy lives as long as somebody iterates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from curier.faults.line import Faults
from curier.proxy.proxy import Proxy, ProxySettings
from curier.trace.events import Event
from curier.trace.reading import Ring, Trace


async def follow_proxy(
    settings: ProxySettings,
    faults: Faults | None = None,
    *,
    on_listen: Callable[[Proxy, Callable[[], None]], None],
) -> AsyncIterator[Event]:
    """Stand between, and give each event; connections do not wait for whoever reads them (``Missed``).

    ``on_listen`` is given the proxy as soon as clients can connect, and what ends the iteration. Raises
    ``ConfigError``, and ``OSError`` for an address that cannot be listened on.
    """
    ring = Ring()
    with Trace(ring, _nothing) as trace:
        async with Proxy(settings, faults=faults, tell=ring.add) as proxy:
            on_listen(proxy, trace.close)
            async for event in trace:
                yield event
        for event in trace.take():  # that the proxy has stopped
            yield event


def _nothing() -> None:
    """The proxy is closed by itself."""
