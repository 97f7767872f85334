"""A broker as a process, for tests that measure it: says its port, serves until standard input ends."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
from ipaddress import ip_network

import curier
from tests.net.harness import options


async def main() -> None:
    settings = json.loads(sys.argv[1])
    if settings["max_files"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (settings["max_files"], settings["max_files"]))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), stopped.set)
    listener = curier.Listener(
        settings["listen"],
        certificate=settings["certificate"] or None,
        key=settings["key"] or None,
        proxy_protocol=tuple(ip_network(network) for network in settings["proxy_protocol"]),
    )
    broker = curier.Broker(
        [listener], options=options(**settings["options"]), use_reactor=settings["use_reactor"]
    )
    async with broker:
        sys.stdout.write(f"{broker.port}\n")
        sys.stdout.flush()
        await stopped.wait()
        loop.remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    asyncio.run(main())
