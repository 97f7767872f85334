"""A TCP connection to the first address of a host that answers (Happy Eyeballs, RFC 8305).

Our own race, because uvloop's ``create_connection`` has none, and because a cancelled one must leave no
socket open. It uses nothing but ``create_connection``, so any event loop will do.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar, cast

from curier.client.dialing.threads import in_thread

P = TypeVar("P", bound=asyncio.BaseProtocol)

Address = tuple[socket.AddressFamily, str]
"""An address family, and an address of it that needs no look-up."""


async def connect_tcp(
    host: str, port: int, delay: float | None, make: Callable[[], P], local: str | None = None
) -> tuple[asyncio.Transport, P]:
    """Connect; raises ``OSError``, or an ``ExceptionGroup`` of them where not just one address failed.

    ``delay`` is how many seconds an address has before the next is tried beside it; ``None``: they are tried
    one after the other. ``local`` is the address to connect from. Cancelling closes every socket.
    """
    addresses = await look_up(host, port)
    waiting = iter(addresses)
    left = len(addresses)
    running: set[asyncio.Task[tuple[asyncio.Transport, P]]] = set()
    errors: list[BaseException] = []
    try:
        while left or running:
            if left:
                left -= 1
                running.add(asyncio.create_task(_try(next(waiting), port, make, local)))
            done, running = await asyncio.wait(
                running, timeout=delay if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            connected = [task.result() for task in done if task.exception() is None]
            for transport, _ in connected[1:]:
                transport.abort()
            if connected:
                return connected[0]
            errors += [error for task in done if (error := task.exception()) is not None]
    finally:
        await _end(running)
    if len(errors) == 1:
        raise errors[0]
    raise BaseExceptionGroup(f"no address of {host} can be connected to", errors)


async def look_up(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, families alternating (RFC 8305 section 4), none twice."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, host)]
    name = host.encode("ascii")  # of text, even of this, Python makes IDNA, for which it imports a lot
    by_family: dict[socket.AddressFamily, list[Address]] = {}
    for family, _, _, _, found in await in_thread(
        lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    ):
        where: tuple[Any, ...] = cast(Any, found)
        address = str(where[0])
        if family == socket.AF_INET6 and where[3] and "%" not in address:  # an IPv6 zone
            address = f"{address}%{where[3]}"
        known = by_family.setdefault(family, [])
        if (family, address) not in known:
            known.append((family, address))
    return interleaved(list(by_family.values()))


def interleaved(families: Sequence[Sequence[Address]]) -> list[Address]:
    """Return one of each family in turn, as long as there are some."""
    return [address for address in chain.from_iterable(zip_longest(*families)) if address is not None]


async def _try(
    address: Address, port: int, make: Callable[[], P], local: str | None
) -> tuple[asyncio.Transport, P]:
    family, host = address
    source = None if local is None else (local, 0)
    loop = asyncio.get_running_loop()
    return await loop.create_connection(make, host, port, family=family, local_addr=source)


async def _end(tasks: set[asyncio.Task[tuple[asyncio.Transport, P]]]) -> None:
    """Give up the attempts that lost; one that comes through all the same is cut."""
    for task in tasks:
        task.cancel()
        task.add_done_callback(_cut)
    if tasks:
        await asyncio.wait(tasks)


def _cut(task: asyncio.Task[tuple[asyncio.Transport, P]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[0].abort()
