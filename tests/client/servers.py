"""Real servers on loopback for the tests of dialing, each a few lines of script, and a run on every loop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import gc
import inspect
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, cast

import psutil
import pytest
import uvloop

from curier.client.dial import DialSettings, dial
from curier.client.urls import parse_server_url
from curier.errors import ConnectionLost
from tests.waiting import LONGER, PATIENCE

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SETTLED_SECONDS = 2.0

NOT_ON_WINDOWS = ("add_reader", "remove_reader", "add_writer", "remove_writer", "add_signal_handler")


class CautiousLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, on which the client may call only what Windows' Proactor loop has as well.

    Others may call everything: the brokers and servers of the tests, and asyncio itself.
    """

    def __getattribute__(self, name: str) -> Any:
        if name in NOT_ON_WINDOWS and sys._getframe(1).f_globals["__name__"].startswith("curier.client"):
            raise NotImplementedError(name)
        return super().__getattribute__(name)


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": CautiousLoop,
    "uvloop": uvloop.new_event_loop,
}


def end_what_others_left() -> None:
    """What earlier tests have left is not to end while this one counts its files. A password file that is
    gone has its threads end, each with two pipes to a process, but not at once.
    """
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "curier-password":
            thread.join(PATIENCE)
            assert not thread.is_alive(), "somebody still holds a password file"


def open_files() -> dict[int, str]:
    """What this process has open, by number: paths, and what sockets and pipes are called."""
    found: dict[int, str] = {}
    if sys.platform != "linux":
        return dict.fromkeys(range(psutil.Process().num_fds()), "?")
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of this look itself
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def expect_no_more_than(before: dict[int, str]) -> None:
    """See that no more is open than was: fewer where something that an earlier test has left ends only now.

    A thread of another test may look into a file just now; what this test has left stays open.
    """
    end = time.monotonic() + SETTLED_SECONDS
    while len(now := open_files()) > len(before) and time.monotonic() < end:
        time.sleep(0.01)
    new = [what for number, what in now.items() if before.get(number) != what]
    assert len(now) <= len(before), f"{len(now)} files and sockets are open, {len(before)} were: {new}"


def on_every_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on asyncio's loop and on uvloop's, and see that it leaves no file or socket open."""

    @functools.wraps(test)
    def run(*args: Any, new_loop: str, **kwargs: Any) -> None:
        LOOPS[new_loop]().close()  # whatever a loop opens once for the process
        end_what_others_left()
        before = open_files()
        with asyncio.Runner(loop_factory=LOOPS[new_loop]) as runner:
            runner.run(test(*args, **kwargs))
        expect_no_more_than(before)

    signature = inspect.signature(test)
    added = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), added]
    )
    del run.__wrapped__
    return cast(Callable[..., None], pytest.mark.parametrize("new_loop", list(LOOPS))(run))


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, tls: ssl.SSLContext | None = None, path: str | None = None
) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1, or on a Unix socket; what a handler raises on a cut is no matter."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    if path is not None:
        server = await asyncio.start_unix_server(handle, path)
    else:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield 0 if path is not None else server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0.01)  # aborted transports close their sockets


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never say anything."""
    while await reader.read(65_536):
        pass


def saying(data: bytes, then: Handler | None = None) -> Handler:
    """A handler that waits for the first bytes, answers ``data``, and closes or goes on with ``then``."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(data)
        await writer.drain()
        if then is not None:
            await then(reader, writer)
        else:
            writer.close()
            await writer.wait_closed()

    return handler


class Proxy:
    """An HTTP or SOCKS 5 proxy. Every name leads to 127.0.0.1; ``asked`` has what it was asked for.

    With ``limit`` it cuts the connection after so many bytes to the client.
    """

    def __init__(self, kind: str, user: str = "", password: str = "", limit: int | None = None) -> None:
        self.kind = kind
        self.user = user
        self.password = password
        self.limit = limit
        self.asked: list[tuple[str, int]] = []
        self.sent = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.kind == "http":
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = head.split(" ")[1]
            if self.user:
                secret = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
                if f"Proxy-Authorization: Basic {secret}\r\n" not in head:
                    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
                    await self.answer(writer, answer)
                    return
            host, _, at = target.rpartition(":")
            await self.connect(reader, writer, host, int(at), b"HTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\n\r\n")
            return
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if self.user:
            if 2 not in methods:
                await self.answer(writer, b"\x05\xff")
                return
            await self.answer(writer, b"\x05\x02")
            user = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = (user.decode(), password.decode()) == (self.user, self.password)
            await self.answer(writer, b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        else:
            await self.answer(writer, b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, await reader.readexactly(size))
        port = int.from_bytes(await reader.readexactly(2))
        await self.connect(reader, writer, host, port, b"\x05\x00\x00\x03\x05proxy\x04\x38")

    async def connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, yes: bytes
    ) -> None:
        self.asked.append((host, port))
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await self.answer(
                writer, b"HTTP/1.1 502 Bad Gateway\r\n\r\n" if self.kind == "http" else b"\x05\x05\x00\x01"
            )
            return
        try:
            await self.answer(writer, yes)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.pipe(reader, up_writer, False))
                group.create_task(self.pipe(up_reader, writer, True))
        except* (OSError, EOFError):
            pass
        finally:
            up_writer.transport.abort()

    async def pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, down: bool) -> None:
        while data := await reader.read(65_536):
            if down:
                await self.answer(writer, data)
            else:
                writer.write(data)
                await writer.drain()
        raise EOFError

    async def answer(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send to the client, up to the limit."""
        if self.limit is not None:
            data = data[: self.limit - self.sent]
        self.sent += len(data)
        writer.write(data)
        await writer.drain()
        if self.sent == self.limit:
            writer.close()
            await writer.wait_closed()
            raise EOFError


class User(asyncio.Protocol):
    """What the MQTT side is to a connection; keeps all it is told."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.data = bytearray()
        self.calls: list[str] = []
        self.is_lost = False
        self.error: Exception | None = None
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self.transport is None
        self.transport = cast(asyncio.Transport, transport)
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        assert not self.is_lost
        self.data += data
        self._changed.set()

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.is_lost
        self.is_lost = True
        self.error = exc
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that it is told makes the condition true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def ask(self, data: bytes) -> bytes:
        """Send, and wait for as many bytes."""
        assert self.transport is not None
        self.data.clear()
        self.transport.write(data)
        await self.until(lambda: len(self.data) >= len(data) or self.is_lost)
        return bytes(self.data)

    async def close(self) -> None:
        assert self.transport is not None
        self.transport.close()
        await self.until(lambda: self.is_lost)


async def call(url: str, **settings: Any) -> User:
    """Dial a URL."""
    transport, user = await dial(parse_server_url(url), DialSettings(**settings), User)
    assert user.transport is transport
    assert user.calls == ["made"]
    return user


async def runs_into_its_limit(where: str, url: str, **settings: Any) -> None:
    """Dialing takes too long at this step, not before."""
    for seconds in LONGER:
        with pytest.raises(ConnectionLost) as caught:
            await call(url, timeout=seconds, **settings)
        if f"within {seconds:g} seconds: {where}" in str(caught.value):
            return
    raise AssertionError(caught.value)


async def cancel_everywhere(url: str, **settings: Any) -> None:
    """Cancel dialing after one turn of the loop, after two, and so on, until it is done before that."""
    for turns in range(1000):
        task = asyncio.ensure_future(dial(parse_server_url(url), DialSettings(**settings), User))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            user = (await task)[1]
            assert await user.ask(b"hello") == b"hello"
            await user.close()
            return
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    raise AssertionError("never done")
