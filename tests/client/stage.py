"""A stage for a client: virtual time, and a server in memory whose part the test plays, packet by packet.

    @virtual
    async def test_it(stage: Stage) -> None:
        async with stage.client() as client: ...

Nothing waits in real time: where nothing is left to do, the loop's clock jumps to the next timer.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Self, TypeVar, cast

from curier.client import connecting
from curier.client.client import Client
from curier.client.dial import DialSettings
from curier.client.life import Life
from curier.client.settings import ClientSettings
from curier.client.urls import ServerUrl
from curier.codec.constants import MQTT_50
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from curier.codec.primitives import packet_end
from curier.codec.properties import Properties

P = TypeVar("P", bound=Packet)
PATIENCE = 100_000.0  # virtual seconds; a test that waits so long waits for what never comes


class VirtualSelector(selectors.DefaultSelector):
    """A selector that never waits: time passes instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            raise AssertionError("nothing is left to happen, and the test still waits")
        if not found and timeout:
            self.loop.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        selector = VirtualSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test with a `Stage` in virtual time; none of its errors may go unnoticed."""

    @functools.wraps(test)
    def run(*args: Any, monkeypatch: Any, **kwargs: Any) -> None:
        noticed: list[dict[str, Any]] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: noticed.append(context))
            stage = Stage()
            monkeypatch.setattr(connecting, "dial", stage.dial)
            await asyncio.wait_for(test(*args, stage=stage, **kwargs), PATIENCE)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, "the client has left a task behind"

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())
        assert noticed == []

    signature = inspect.signature(test)
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
        if parameter.name != "stage"
    ]
    parameters.append(inspect.Parameter("monkeypatch", inspect.Parameter.KEYWORD_ONLY))
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    del run.__wrapped__
    return cast(Callable[..., None], run)


class MemoryTransport(asyncio.Transport):
    """The client's end of a wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire
        self.is_over = False
        self.writes: list[bytes] = []

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.wire.stuck_bytes

    def is_closing(self) -> bool:
        return self.is_over

    def pause_reading(self) -> None:
        assert self.wire.is_read
        self.wire.is_read = False

    def resume_reading(self) -> None:
        assert not self.wire.is_read
        self.wire.is_read = True
        asyncio.get_running_loop().call_soon(self.wire.deliver)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_over
        self.writes.append(bytes(data))
        self.wire.came(bytes(data))

    def close(self) -> None:
        """Behind what is written: that may take for ever."""
        self.is_over = True
        if not self.wire.stuck_bytes:
            self._end(None)

    def abort(self) -> None:
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        self.is_over = True
        if not self.wire.is_closed:
            self.wire.is_closed = True
            self.wire.wake()
            asyncio.get_running_loop().call_soon(self.wire.protocol.connection_lost, error)


class Wire:
    """One Network Connection, from the server's side."""

    def __init__(self, url: ServerUrl, protocol: asyncio.Protocol) -> None:
        self.url = url
        self.protocol = protocol
        self.transport = MemoryTransport(self)
        self.version = MQTT_50
        self.packets: list[Packet] = []  # that came and were not taken by `receive`
        self.log: list[Packet] = []  # that came
        self.is_closed = False  # by the client, or cut
        self.stuck_bytes = 0
        self.is_read = True  # by the client
        self.unread: list[bytes] = []  # chunks
        self._rest = b""
        self._waiting: asyncio.Future[None] | None = None

    @property
    def writes(self) -> int:
        """How often the client has written."""
        return len(self.transport.writes)

    def came(self, data: bytes) -> None:
        self._rest += data
        while self._rest and (end := packet_end(self._rest, 0)) not in (-1,) and end <= len(self._rest):
            packet = decode(self._rest, 0, end, self.version)
            self._rest = self._rest[end:]
            if isinstance(packet, Connect):
                self.version = packet.version
            self.packets.append(packet)
            self.log.append(packet)
        self.wake()

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def receive(self, kind: type[P]) -> P:
        """The next packet, which has to be of this kind."""
        while not self.packets:
            assert not self.is_closed, "the client has closed the connection"
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        packet = self.packets.pop(0)
        assert isinstance(packet, kind), packet
        return packet

    async def find(self, kind: type[P]) -> P:
        """The first packet of this kind, whatever came before it."""
        while True:
            for packet in self.packets:
                if isinstance(packet, kind):
                    self.packets.remove(packet)
                    return packet
            assert not self.is_closed, "the client has closed the connection"
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    async def closed(self) -> None:
        """Wait until the client has closed the connection."""
        while not self.is_closed:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    def send(self, *packets: Packet) -> None:
        """Send, as one chunk."""
        self.send_bytes(b"".join([encode(packet, self.version) for packet in packets]))

    def send_bytes(self, data: bytes) -> None:
        self.unread.append(data)
        self.deliver()

    def deliver(self) -> None:
        while self.unread and self.is_read and not self.is_closed:
            self.protocol.data_received(self.unread.pop(0))

    def cut(self, error: Exception | None = None) -> None:
        """The network ends the connection."""
        self.transport._end(error)

    async def accept(self, session_present: bool = False, **properties: Any) -> Connect:
        """Take CONNECT and accept it."""
        connect = await self.receive(Connect)
        made = make_properties(**properties) if properties and self.version == MQTT_50 else None
        self.send(Connack(session_present, 0, made))
        return connect

    async def subscribed(self, *codes: int) -> Subscribe:
        """Take SUBSCRIBE and grant what is asked, or answer with `codes`."""
        subscribe = await self.receive(Subscribe)
        self.send(Suback(subscribe.packet_id, list(codes) or [o & 3 for _, o in subscribe.subscriptions]))
        return subscribe

    async def unsubscribed(self) -> Unsubscribe:
        """Take UNSUBSCRIBE and answer it."""
        unsubscribe = await self.receive(Unsubscribe)
        codes = [0] * len(unsubscribe.topic_filters) if self.version == MQTT_50 else []
        self.send(Unsuback(unsubscribe.packet_id, codes))
        return unsubscribe

    async def published(self, code: int = 0, why: str | None = None) -> Publish:
        """Take a PUBLISH and see its flow through."""
        publish = await self.receive(Publish)
        properties = make_properties(reason_string=why) if why is not None else None
        if publish.qos == 1:
            self.send(Puback(publish.packet_id, code, properties))
        elif publish.qos == 2:
            self.send(Pubrec(publish.packet_id, code, properties))
            if code < 0x80:
                assert (await self.find(Pubrel)).packet_id == publish.packet_id
                self.send(Pubcomp(publish.packet_id))
        return publish

    async def disconnected(self) -> Disconnect:
        """Take DISCONNECT, behind which the client closes."""
        packet = await self.receive(Disconnect)
        await self.closed()
        return packet


class Stage:
    """Where clients find servers."""

    def __init__(self) -> None:
        self.wires: asyncio.Queue[Wire] = asyncio.Queue()
        self.dialled: list[tuple[float, str]] = []  # when, and to where
        self.down: dict[str, Exception] = {}  # servers that cannot be reached: what dialling raises
        self.settings: list[DialSettings] = []
        self.dialler: Callable[..., Coroutine[Any, Any, Any]] | None = None  # dials instead

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def dial(
        self, url: ServerUrl, settings: DialSettings, make: Callable[[], asyncio.Protocol], on_carrier: object
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        if self.dialler is not None:
            found: tuple[asyncio.Transport, asyncio.Protocol] = await self.dialler(url, settings, make)
            return found
        self.dialled.append((self.now, str(url)))
        self.settings.append(settings)
        await asyncio.sleep(0)
        if url.host in self.down:
            raise self.down[url.host]
        protocol = make()
        wire = Wire(url, protocol)
        protocol.connection_made(wire.transport)
        self.wires.put_nowait(wire)
        return wire.transport, protocol

    def client(self, url: Any = "mqtt://server", **settings: Any) -> Client:
        """A client that is not entered; its random numbers are always the same."""
        client = Client(ClientSettings(url, **settings))
        client.random = Random(7)
        return client

    def connect(self, **settings: Any) -> Connected:
        """A client that is accepted when it is entered."""
        return Connected(self, settings)

    async def wire(self) -> Wire:
        """The next connection a client makes."""
        return await self.wires.get()


class Connected:
    """Enter a client and accept its first connection: `async with stage.connect() as (client, wire)`."""

    def __init__(self, stage: Stage, settings: dict[str, Any]) -> None:
        self.stage = stage
        connack = settings.pop("connack", {})
        self.session_present = settings.pop("session_present", False)
        self.connack = connack
        self.client = stage.client(**settings)

    async def __aenter__(self) -> tuple[Client, Wire]:
        entering = asyncio.ensure_future(self.client.__aenter__())
        wire = await self.stage.wire()
        await wire.accept(self.session_present, **self.connack)
        await entering
        return self.client, wire

    async def __aexit__(self, *exc: Any) -> None:
        await self.client.__aexit__(*exc)


class Watch:
    """Everything that happens to a client, in a list."""

    def __init__(self, client: Client) -> None:
        self.events: list[object] = []
        self._reader = client.events()
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        async for event in self._reader:
            self.events.append(event)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def make_properties(**values: Any) -> Properties:
    """Properties with these values."""
    made = Properties()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def life_of(client: Client) -> Life:
    """What is behind the face of a client that was connected."""
    assert client._life is not None
    return client._life


async def settle() -> None:
    """Let everything happen that needs no time to pass."""
    for _ in range(20):
        await asyncio.sleep(0)
