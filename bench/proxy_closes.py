"""Whether many connections through the proxy leave anything behind: tasks, sockets, memory.

    python -m bench.proxy_closes [--connections N]

They end in five ways in turn: DISCONNECT, a half-close, a reset, by the broker, within a packet. What is open
and what is resident is told after every tenth; at the end, nothing may be open that was not at first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import struct
import sys
from contextlib import suppress

from curier.codec.encode import encode
from curier.codec.packets import Connect, Disconnect
from curier.proxy.proxy import Proxy, settings_for
from curier.trace.events import Closed, Event

CONNECT = encode(Connect(4, "me"), 4)
DISCONNECT = encode(Disconnect(), 4)
AT_ONCE = 20  # connections
SECONDS = 10.0  # in which what has ended is gone
LOOK_SECONDS = 0.05


async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker that knows no better: one in five connections it ends itself."""
    with suppress(OSError):
        while data := await reader.read(65536):
            if data.endswith(b"end"):
                break
    writer.close()


async def one(port: int, number: int) -> None:
    """A connection that ends in the way of its number."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CONNECT)
    way = number % 5
    if way == 0:
        writer.write(DISCONNECT)
    elif way == 1:
        writer.write_eof()
    elif way == 2:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    else:
        writer.write(b"\x32\x08\0\x01a\0\x01end"[: 10 if way == 3 else 7])
        if way == 4:
            writer.write_eof()
    if way in (1, 3):
        with suppress(OSError):
            await reader.read()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def state() -> tuple[int, int, int]:
    """Tasks, open descriptors, resident KiB."""
    with open("/proc/self/statm", "rb") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), resident


async def run(count: int) -> bool:
    """Open and close so many; is everything gone?"""
    closed = 0

    def tell(event: Event) -> None:
        nonlocal closed
        closed += isinstance(event, Closed)

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    target = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Proxy(settings_for("tcp://127.0.0.1:0", target), tell=tell) as proxy:
        before = state()
        print("| closed | tasks | descriptors | resident, KiB |\n|---:|---:|---:|---:|")
        for first in range(0, count, AT_ONCE):
            await asyncio.gather(*(one(proxy.port, first + number) for number in range(AT_ONCE)))
            if first % (count // 10) < AT_ONCE:
                print("| {} | {} | {} | {} |".format(closed, *state()), flush=True)
        for _ in range(int(SECONDS / LOOK_SECONDS)):
            if not proxy.connections and state()[:2] == before[:2]:
                break
            await asyncio.sleep(LOOK_SECONDS)
        print("| {} | {} | {} | {} |".format(closed, *state()))
        is_well = closed == count and not proxy.connections and state()[:2] == before[:2]
    server.close()
    return is_well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, default=10_000, help="in all (10 000)")
    if not asyncio.run(run(parser.parse_args().connections)):
        sys.exit("something is left behind, or some were not told as closed")


if __name__ == "__main__":
    main()
