"""A broker that passes messages on as a test tells it to: not all, not once, not in order, not whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import (
    Connack,
    Connect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
)
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties
from tests.waiting import until

Meddle = Callable[[int, bytes], list[bytes]]
"""The PUBLISH packets that a subscriber gets for the n-th one, counted from 0."""


def honest(number: int, packet: bytes) -> list[bytes]:
    return [packet]


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, broker: Meddler) -> None:
        self.broker = broker
        self.rest = b""
        self.version = 4
        self.out = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.broker.clients.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.broker.clients.remove(self)
        if self in self.broker.subscribers:
            self.broker.subscribers.remove(self)

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        pos = 0
        while pos < len(data):
            stop = packet_end(data, pos)
            if stop < 0 or stop > len(data):
                break
            self.take(data[pos:stop])
            pos = stop
        self.rest = data[pos:]
        for client in (self, *self.broker.subscribers):
            if client.out:
                client.transport.write(client.out)
                client.out = b""

    def take(self, data: bytes) -> None:
        packet = decode(data, 0, len(data), self.version)
        broker = self.broker
        if isinstance(packet, Connect):
            self.version = packet.version
            broker.connects.append(packet)
            properties = broker.properties if self.version == 5 else None
            answer = encode(Connack(False, broker.connack, properties), self.version)
            self.out += broker.answer or answer
        elif isinstance(packet, Subscribe):
            broker.filters.append(packet.subscriptions[0][0])
            granted = packet.subscriptions[0][1] if broker.suback is None else broker.suback
            broker.subscribers.append(self)
            self.out += encode(Suback(packet.packet_id, [granted]), self.version)
        elif isinstance(packet, Publish):
            self.publish(packet, data)
        elif isinstance(packet, Pubrec):
            self.out += encode(Pubrel(packet.packet_id), self.version)
        elif isinstance(packet, Pubrel):
            self.out += encode(Pubcomp(packet.packet_id), self.version)
        elif isinstance(packet, Pingreq) and broker.pongs:
            self.out += encode(Pingresp(), self.version)

    def publish(self, packet: Publish, data: bytes) -> None:
        broker = self.broker
        if packet.qos and broker.acknowledges:
            kind = Puback if packet.qos == 1 else Pubrec
            self.out += encode(kind(packet.packet_id, broker.puback), self.version)
        number, broker.published = broker.published, broker.published + 1
        broker.has_messages.set()
        for piece in broker.meddle(number, data):
            for subscriber in broker.subscribers:
                subscriber.out += piece
        if broker.closes_after == broker.published:
            self.transport.abort()


class Meddler:
    """The broker, in a thread of its own. All its subscribers get everything."""

    def __init__(self, meddle: Meddle = honest) -> None:
        self.meddle = meddle
        self.connack = 0
        self.answer = b""  # to CONNECT, in place of CONNACK
        self.suback: int | None = None
        self.puback = 0
        self.acknowledges = True
        self.pongs = True
        self.closes_after = 0
        self.properties: Properties | None = None
        self.published = 0
        self.has_messages = threading.Event()
        self.connects: list[Connect] = []
        self.filters: list[str] = []
        self.clients: set[Client] = set()  # those with a connection
        self.subscribers: list[Client] = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    def __enter__(self) -> Self:
        self.server = self.loop.run_until_complete(
            self.loop.create_server(lambda: Client(self), "127.0.0.1", 0)
        )
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"tcp://127.0.0.1:{self.port}"
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self._part())
        self.loop.close()

    async def _part(self) -> None:
        """Close what is still open, those connections included that are just being accepted."""

        def all_left() -> bool:
            for client in self.clients:
                client.transport.abort()
            return not self.clients and len(asyncio.all_tasks()) == 1

        await until(all_left, pause=0)
