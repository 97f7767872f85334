"""What one of many clients in a process takes of its memory, beside another client, where that is installed.

    python -m bench.many_clients [--clients N] [--rounds N]

1000 clients connect to one broker, behind 200 whose memory is that of the first ones: code, caches. Then they
rest, or each has subscribed to a topic of its own. The figure is what the process has of the machine for
itself (``Private_Dirty`` of Linux), in KiB for each of the 1000. Every measurement is a process of its own.
The kernel's buffers of a socket are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import resource
import subprocess
import sys
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path

import curier
from bench.client import broker

BEFORE = 200
DOES = ("rest", "subscribe")


def own_kib() -> int:
    """Memory that this process shares with no other."""
    gc.collect()
    found = re.search(r"Private_Dirty: +(\d+)", Path("/proc/self/smaps_rollup").read_text())
    assert found is not None
    return int(found[1])


async def connect_curier(stack: AsyncExitStack, port: int, does: str, number: int) -> None:
    client = curier.connect(f"mqtt://127.0.0.1:{port}", client_id=f"bench{number}")
    await stack.enter_async_context(client)
    if does == "subscribe":
        await stack.enter_async_context(client.subscribe(f"bench/{number}", qos=1))


async def connect_aiomqtt(stack: AsyncExitStack, port: int, does: str, number: int) -> None:
    import aiomqtt

    client = aiomqtt.Client("127.0.0.1", port, identifier=f"bench{number}")
    await stack.enter_async_context(client)
    if does == "subscribe":
        await client.subscribe(f"bench/{number}", 1)


CLIENTS = {"curier": connect_curier, "aiomqtt": connect_aiomqtt}


async def measure_here(name: str, does: str, port: int, clients: int) -> None:
    """Print KiB for each client."""
    async with AsyncExitStack() as stack:
        for number in range(BEFORE):
            await CLIENTS[name](stack, port, does, number)
        before = own_kib()
        for number in range(clients):
            await CLIENTS[name](stack, port, does, BEFORE + number)
        await asyncio.sleep(1)  # what was only needed to connect is gone
        print((own_kib() - before) / clients, flush=True)
        os._exit(0)  # a goodbye of each would take a while, and is not what is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=1000, help="clients that are measured (1000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the least counts (3)")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if arguments.one:
        name, does, port = arguments.one
        asyncio.run(measure_here(name, does, int(port), arguments.clients))
        return
    form = "compiled" if curier.COMPILED else "interpreted"
    print(f"KiB of memory for each of {arguments.clients} clients; curier's core {form}\n")
    print("| client |" + "".join(f" {does} |" for does in DOES))
    print("|---|" + "---:|" * len(DOES))
    with broker(False) as port:
        for name in CLIENTS:
            if find_spec(name) is None:
                continue
            print(f"| {name} |", end="")
            for does in DOES:
                command = [sys.executable, "-m", "bench.many_clients", "--clients", str(arguments.clients)]
                said = [
                    subprocess.check_output([*command, "--one", name, does, str(port)], text=True)
                    for _ in range(arguments.rounds)
                ]
                print(f" {min(map(float, said)):.1f} |", end="", flush=True)
            print()


if __name__ == "__main__":
    main()
