"""Brokers in one event loop, bridges between them, and clients that look on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import curier
from curier.bridge.engine import Bridge
from curier.bridge.house import Bridges, of_broker
from curier.bridge.settings import BridgeSettings, Peer
from curier.bridge.topics import parse_topic
from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.server import Broker
from curier.session.message import ApplicationMessage
from tests.waiting import until

SECONDS = 60.0
"""How long anything may take on a busy machine; nothing waits for it to pass."""


def peer(broker: Broker, **more: Any) -> Peer:
    """``broker`` as the other side of a bridge."""
    return Peer(urls=(f"mqtt://127.0.0.1:{broker.port}",), **more)


def settings(remote: Peer, *topics: str, name: str = "hall", **more: Any) -> BridgeSettings:
    """A bridge that does not wait long before it tries again."""
    made = {"first_wait": 0.01, "longest_wait": 0.05, **more}
    one = BridgeSettings(name=name, remote=remote, topics=tuple(map(parse_topic, topics)), **made)
    one.check()
    return one


@asynccontextmanager
async def brokers(count: int, directory: Path | None = None, **more: Any) -> AsyncIterator[list[Broker]]:
    """So many, each with its data below ``directory``."""
    async with AsyncExitStack() as stack:
        found = []
        for number in range(count):
            data = directory / f"broker-{number}" if directory is not None else None
            found.append(await stack.enter_async_context(Broker("tcp://127.0.0.1:0", data=data, **more)))
        yield found


@asynccontextmanager
async def bridged(broker: Broker, *wanted: BridgeSettings, waits: bool = True) -> AsyncIterator[Bridges]:
    """The bridges of ``broker``, connected unless nobody ``waits`` for that."""
    house = of_broker(broker, wanted)
    await house.start()
    try:
        if waits:
            for one in house.running.values():
                await ready(one)
        yield house
    finally:
        await house.stop()


@asynccontextmanager
async def client(
    broker: Broker, *filters: str, **more: Any
) -> AsyncIterator[tuple[curier.Client, curier.Stream]]:
    """A client there, with a stream of what comes by ``filters``."""
    async with (
        curier.connect(f"mqtt://127.0.0.1:{broker.port}", **more) as found,
        found.subscribe(*(filters or ("#",)), qos=2) as stream,
    ):
        yield found, stream


async def ready(bridge: Bridge) -> None:
    """Until it carries both ways."""
    await until(lambda: bridge.is_ready)


async def came(stream: curier.Stream, last: bytes) -> list[bytes]:
    """The payloads that come, up to ``last``."""
    found: list[bytes] = []
    while not found or found[-1] != last:
        found.append((await stream.get(timeout=SECONDS)).payload)
    return found


class Seen(Hook):
    """What is published at a broker, from its first moment on."""

    def __init__(self) -> None:
        self.messages: list[ApplicationMessage] = []

    def on_publish(self, connection: BrokerConnection | None, message: ApplicationMessage) -> int:
        self.messages.append(message)
        return 0

    async def up_to(self, last: bytes) -> list[bytes]:
        """The payloads that came, once this one has."""
        await until(lambda: bool(self.messages) and self.messages[-1].payload == last)
        return [one.payload for one in self.messages]
