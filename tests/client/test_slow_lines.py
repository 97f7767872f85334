"""A slow line is not a dead server: while bytes leave, however slowly, the connection lives."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable

import pytest

import curier
from curier.client.dial import DialSettings, dial
from curier.client.dialing.unsent import unsent_bytes
from curier.client.urls import parse_server_url
from curier.codec.packets import Pingreq, Pingresp, Puback, Publish
from tests.client.hostile import Peer, hostile
from tests.client.servers import on_every_loop, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="the kernel does not tell there"),
]

DOORS = True
MESSAGE = b"x" * 2_000_000
RATE = 800_000  # bytes in a second of the slow line


class Line(asyncio.SelectorEventLoop):
    """Its time is told by the bytes that have come, so many in a second, and hardly by the clock: what a busy
    machine does in between takes no time.
    """

    came = 0

    def time(self) -> float:
        return super().time() / 50 + self.came / RATE

    def is_slow_for(self, peer: Peer) -> None:
        """From now on."""
        original = peer.reader.read

        async def read(n: int = -1) -> bytes:
            chunk = await original(20_000)
            self.came += len(chunk)
            await asyncio.sleep(0)
            return chunk

        peer.reader.read = read  # type: ignore[method-assign]


def server(seen: list[Publish], line: Line) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        ours = peer.writer.get_extra_info("socket")
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # else the whole message is here at once
        await peer.accept()
        line.is_slow_for(peer)
        while True:
            packet = await peer.packet()
            if isinstance(packet, Pingreq):
                peer.send(Pingresp())
            if isinstance(packet, Publish):
                seen.append(packet)
                peer.send(Puback(packet.packet_id))

    return script


@pytest.mark.parametrize("version", [4, 5])
def test_a_large_message_on_a_slow_line(version: int) -> None:
    """It takes longer than Keep Alive, ``ping_timeout`` and ``retry_interval`` together, and comes once."""
    seen: list[Publish] = []

    async def publish() -> None:
        line = asyncio.get_running_loop()
        assert isinstance(line, Line)
        async with (
            hostile(server(seen, line)) as url,
            curier.connect(
                url, version=version, keep_alive=1, ping_timeout=0.5, retry_interval=0.5, reconnect=None
            ) as client,
        ):
            began = line.time()
            await client.publish("a", MESSAGE, qos=1)
            assert line.time() - began > 1 + 0.5 + 0.5
            assert client.statistics.connections == 1

    with asyncio.Runner(loop_factory=Line) as runner:
        runner.run(publish())
    assert [publish.dup for publish in seen] == [False]


@pytest.mark.doors("tcp", "tls", "ws", "wss", "unix")
@on_every_loop
async def test_what_waits_anywhere_counts() -> None:
    """In the kernel, and in each transport that carries another one."""
    most = 8 * len(MESSAGE)

    async def script(peer: Peer) -> None:
        peer.read_no_more()
        await asyncio.sleep(60)

    carriers: list[asyncio.Transport] = []
    async with hostile(script) as url:
        transport, _ = await dial(parse_server_url(url), DialSettings(), asyncio.Protocol, carriers.append)
        transport.write(bytes(most))
        await asyncio.sleep(0.1)
        # The rest is with the server; our kernel has a quarter at most.
        assert most // 2 < unsent_bytes(transport, *carriers) <= most + most // 100
        transport.abort()


@pytest.mark.doors("tcp")
@on_every_loop
async def test_what_the_kernel_has_counts() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    async with serving(deaf) as port:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
        transport.write(MESSAGE * 8)
        await asyncio.sleep(0.1)
        assert unsent_bytes(transport) > transport.get_write_buffer_size()
        transport.abort()
        await asyncio.sleep(0)
        assert unsent_bytes(transport) >= 0
