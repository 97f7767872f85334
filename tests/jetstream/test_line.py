"""A line to a server that ends it: one that says what NATS says first, and no more."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from typing import Any

import tests.jetstream.needs  # noqa: F401, isort: skip

from curier.jetstream.access import Access
from curier.jetstream.line import Line

INFO = (
    b'INFO {"server_id":"x","version":"2.15.1","proto":1,"host":"127.0.0.1","port":1,'
    b'"max_payload":1048576,"headers":true}\r\n'
)


async def test_a_connection_that_is_reset_while_it_writes_has_ended_without_a_traceback() -> None:
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(str(context)))
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(INFO)
        while data := await reader.read(1000):
            if b"PING" in data and writer is writers[0]:
                writer.write(b"PONG\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    came, went = asyncio.Event(), asyncio.Event()
    line = Line(Access((f"nats://127.0.0.1:{port}",)), "test", came.set, lambda why: went.set())
    line.open()
    await came.wait()

    async def reset(client: Any) -> None:
        made: socket.socket = writers[0].get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client._pending, client._pending_data_size = [b"PUB a 1\r\nx\r\n"], 11
        writers[0].transport.abort()

    line._do(reset)
    await went.wait()
    assert line.why.endswith("the connection has ended")
    await line.close()
    server.close()
    gc.collect()
    assert said == []
