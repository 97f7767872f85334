"""Clients on real sockets, and brokers in this process or one of their own.

A ``Peer`` sends and reads Control Packets and does nothing by itself, so that it can be as slow, silent or
rude as a test needs. An ``Exchange`` is two well-behaved clients that never stop talking meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import psutil

import curier
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.codec.decode import decode
from curier.codec.encode import encode
from curier.codec.packets import (
    Connack,
    Connect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Will,
)
from curier.codec.properties import Properties
from tests.net import doors

ROOT = Path(__file__).parent.parent.parent
ANYWHERE = "tcp://127.0.0.1:0"

P = TypeVar("P", bound=Packet)


class Peer:
    """One connection to a broker. Nothing is read before ``receive`` is called, but for 128 KiB ahead.

    Those that a test leaves open are closed at its end.
    """

    all_open: ClassVar[set[Peer]] = set()

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int) -> None:
        self.reader = reader
        self.writer = writer
        self.version = version
        self.bytes_sent = 0
        self.bytes_received = 0
        self.all_open.add(self)

    @classmethod
    async def open(
        cls, port: int, version: int = 4, *, host: str = "127.0.0.1", receive_buffer: int = 0
    ) -> Self:
        """A connection on which nothing has been said. ``receive_buffer`` bounds what the kernel takes."""
        sock = await cls._socket(port, host, receive_buffer)
        reader, writer = await doors.current().open(sock)
        return cls(reader, writer, version)

    @classmethod
    async def knock(cls, port: int) -> Self:
        """A connection of which the door has heard nothing: no header, no handshake."""
        reader, writer = await asyncio.open_connection(sock=await cls._socket(port, "127.0.0.1"))
        return cls(reader, writer, 4)

    @staticmethod
    async def _socket(port: int, host: str, receive_buffer: int = 0) -> socket.socket:
        """One that is connected."""
        family, where = doors.current().place(host, port)
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, where)
        except OSError:
            sock.close()
            raise
        return sock

    @classmethod
    async def connect(
        cls,
        port: int,
        client_id: str = "",
        version: int = 4,
        *,
        clean: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        username: str | None = None,
        password: bytes | None = None,
        properties: Properties | None = None,
        receive_buffer: int = 0,
        host: str = "127.0.0.1",
    ) -> Self:
        """A client with its CONNACK, which must accept it."""
        peer = await cls.open(port, version, host=host, receive_buffer=receive_buffer)
        await peer.send(Connect(version, client_id, clean, keep_alive, username, password, will, properties))
        connack = await peer.expect(Connack)
        assert connack.reason_code == 0, connack
        return peer

    async def send(self, *packets: Packet | bytes) -> None:
        """Send packets, or bytes as they are, in one piece; returns when the network has taken most of it."""
        data = b"".join(p if isinstance(p, bytes) else encode(p, self.version) for p in packets)
        self.bytes_sent += len(data)
        self.writer.write(data)
        await self.writer.drain()

    def deafen(self) -> None:
        """Read nothing, not even ahead, until ``listen``."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def listen(self) -> None:
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    def send_soon(self, *packets: Packet) -> None:
        """Send packets as the network takes them."""
        self.writer.write(b"".join(encode(packet, self.version) for packet in packets))

    async def receive(self) -> Packet:
        """The next packet. Raises ``IncompleteReadError`` where the connection ends, or has been reset."""
        data = await self.reader.readexactly(2)
        while data[-1] > 127:
            data += await self.reader.readexactly(1)
        length = sum((byte & 127) << 7 * index for index, byte in enumerate(data[1:]))
        data += await self.reader.readexactly(length)
        self.bytes_received += len(data)
        return decode(data, 0, len(data), self.version)

    async def expect(self, kind: type[P]) -> P:
        """The next packet, which is of this kind."""
        packet = await self.receive()
        assert isinstance(packet, kind), packet
        return packet

    async def ended(self) -> None:
        """Wait for the broker to end the connection in good order; nothing more may come before that."""
        assert await self.reader.read(1) == b""

    async def subscribe(self, topic_filter: str, qos: int = 0) -> None:
        await self.send(Subscribe(1, [(topic_filter, qos)]))
        assert (await self.expect(Suback)).reason_codes == [qos]

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publish, and see the QoS flow through to its end, if nothing else comes between."""
        await self.send(Publish(topic, payload, qos, False, retain, 1 if qos else 0))
        if qos == 1:
            await self.expect(Puback)
        elif qos == 2:
            await self.expect(Pubrec)
            await self.send(Pubrel(1))
            await self.expect(Pubcomp)

    async def message(self) -> Publish:
        """The next message, its QoS flow seen through to its end."""
        publish = await self.expect(Publish)
        if publish.qos == 1:
            await self.send(Puback(publish.packet_id))
        elif publish.qos == 2:
            await self.send(Pubrec(publish.packet_id))
            await self.expect(Pubrel)
            await self.send(Pubcomp(publish.packet_id))
        return publish

    def leave(self) -> None:
        """Say that no more comes; by a door that has no halves, go."""
        if self.writer.can_write_eof():
            self.writer.write_eof()
        else:
            self.writer.close()

    async def close(self) -> None:
        """End the connection without DISCONNECT."""
        self.all_open.discard(self)
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Vanish with RST."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    @classmethod
    async def close_all(cls) -> None:
        """Abort the connections that are still open."""
        for peer in list(cls.all_open):
            peer.writer.transport.abort()
            await peer.close()

    @classmethod
    async def close_all_but(cls, exchange: Exchange) -> None:
        """Abort the connections that are still open, but for those of ``exchange``."""
        for peer in cls.all_open - {exchange.receiver, exchange.sender}:
            peer.writer.transport.abort()
            await peer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Exchange:
    """Two clients that exchange numbered messages without a pause: each must arrive, once and in order."""

    def __init__(self, port: int, tries: int = 1) -> None:
        """``tries``: to connect, to a broker with less patience than a busy machine may need."""
        self.port = port
        self.done = 0
        self._tries = tries
        self._progress = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self.receiver = await self._connect("receiver", 4)
        await self.receiver.subscribe("exchange/+", 2)
        self.sender = await self._connect("sender", 5)
        self._task = asyncio.create_task(self._run())
        await self.rounds(1)
        return self

    async def _connect(self, name: str, version: int) -> Peer:
        for _ in range(self._tries - 1):
            with contextlib.suppress(curier.ConnectionLost, OSError, EOFError):
                return await Peer.connect(self.port, name, version)
        return await Peer.connect(self.port, name, version)

    async def _run(self) -> None:
        while True:
            qos = self.done % 3
            payload = b"%d" % self.done
            await self.sender.publish(f"exchange/{qos}", payload, qos)
            publish = await self.receiver.message()
            assert (publish.payload, publish.qos) == (payload, qos)
            async with self._progress:
                self.done += 1
                self._progress.notify_all()

    async def rounds(self, count: int) -> None:
        """Wait for so many more messages to arrive; raises what stopped them."""
        target = self.done + count

        async def wait() -> None:
            async with self._progress:
                await self._progress.wait_for(lambda: self.done >= target)

        waiting = asyncio.create_task(wait())
        await asyncio.wait((waiting, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            waiting.cancel()
            self._task.result()
        await waiting

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.rounds(6)
        finally:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.receiver.close()
            await self.sender.close()


class ChildBroker:
    """A broker in a process of its own, that can be measured, behind the ``current`` door. ``options`` are
    attributes of ``Options``.
    """

    def __init__(self, use_reactor: bool = True, max_files: int = 0, **options: Any) -> None:
        listener = doors.here()
        settings = {
            "use_reactor": use_reactor,
            "max_files": max_files,
            "options": options,
            "listen": listener.url,
            "certificate": str(listener.certificate or ""),
            "key": str(listener.key or ""),
            "proxy_protocol": [str(network) for network in listener.proxy_protocol],
        }
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.net.child", json.dumps(settings)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log()
        self.port = doors.current().port(listener, int(line))
        self._seen = psutil.Process(self._process.pid)

    def log(self) -> str:
        """What it has logged so far: warnings and errors."""
        self._log.seek(0)
        return self._log.read()

    def memory_bytes(self) -> int:
        """Resident memory."""
        return self._seen.memory_info().rss

    def open_files(self) -> int:
        return self._seen.num_fds()

    def cpu_seconds(self) -> float:
        times = self._seen.cpu_times()
        return times.user + times.system

    def stop(self) -> int:
        """Stop it in good order; returns its exit code."""
        _, _ = self._process.communicate()
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = self.stop()
        log = self.log()
        self._log.close()
        assert (code, "Traceback" in log) == (0, False), log


@contextlib.asynccontextmanager
async def running(use_reactor: bool, **settings: Any) -> AsyncIterator[curier.Broker]:
    """A broker in this process, on a free port of loopback; ``settings`` are arguments of ``Broker``."""
    settings.setdefault("listen", [doors.current().listener()])
    async with curier.Broker(use_reactor=use_reactor, **settings) as broker:
        try:
            yield broker
        finally:
            await Peer.close_all()  # or the broker would wait for them


def options(**values: Any) -> Options:
    """Options without $SYS messages and with these attributes."""
    made = Options()
    made.sys_interval = 0.0
    for name, value in values.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


def is_time_to_cut(broker: curier.Broker, at: float = 0.0) -> bool:
    """Say to the epoll set that what it lingers for is due ``at`` that time; what is due is looked at.

    Where it is compiled, it has its own seconds, whatever a test says.
    """
    if (reactor := broker._reactor) is not None:
        for number, (_, *who) in enumerate(reactor.cuts):
            reactor.cuts[number] = (at, who[0], who[1])
        reactor._cut()
    return True


def connection_of(broker: curier.Broker, client_id: str) -> BrokerConnection:
    """The broker's end of a client's connection."""
    connection = broker.core.sessions[client_id].connection
    assert connection is not None
    return connection
