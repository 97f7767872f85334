"""Getting many connections up, some at a time."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Final

from curier.errors import ConfigError, ConnectionLost
from curier.loadgen.connection import FILES, Connection
from curier.loadgen.loop import Loop
from curier.loadgen.payload import clock
from curier.loadgen.plan import Plan

CONNECT_SECONDS: Final = 10.0
"""Without any progress while connecting, the run is given up."""

PORTS: Final = 20_000
"""Connections from one source address; on a loopback address the next ones come from the next address."""

Target = tuple[int, tuple[object, ...] | str]
"""The family and the address of a socket."""


def resolve(plan: Plan) -> Target:
    """Where the broker is: the first address of the host that accepts a connection, or ``ConnectionLost``."""
    host, port = plan.host, plan.port
    if plan.socket_file is not None:
        if FILES is None:
            raise ConfigError("there are no Unix sockets here")
        return FILES, plan.socket_file
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionLost(f"there is no host {host}: {error.strerror}") from None
    why = ""
    for family, kind, protocol, _, address in infos:
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(CONNECT_SECONDS)
            try:
                sock.connect(address)
            except OSError as error:
                why = error.strerror or str(error)
            else:
                return family, address
    raise ConnectionLost(f"no broker at {host}:{port}: {why}")


def source(target: Target, number: int) -> str | None:
    """The address that connection ``number`` comes from; None: as it comes."""
    if target[0] != socket.AF_INET or number < PORTS:
        return None
    if not ipaddress.ip_address(str(target[1][0])).is_loopback:
        return None
    return f"127.0.0.{1 + number // PORTS}"


class Opener:
    """Gets connections up, ``concurrency`` at a time, and no more than ``rate`` a second, if there is one."""

    def __init__(
        self,
        loop: Loop,
        target: Target,
        connections: Sequence[Connection],
        concurrency: int,
        rate: float | None = None,
    ) -> None:
        self.loop = loop
        self.target = target
        self.connections = connections
        self.concurrency = concurrency
        self.interval = 0 if rate is None else int(1e9 / rate)
        self.done = 0

    def run(
        self,
        is_stopped: Callable[[], bool],
        ready: Callable[[Connection], None],
        progress: Callable[[int], None],
    ) -> None:
        """Returns when all are up, or stopped. Raises ``ConnectionLost`` for the first that fails."""
        opened = 0
        began = last = clock()
        waiting: set[Connection] = set()
        while self.done < len(self.connections) and not is_stopped():
            timeout = 0.1
            while opened < len(self.connections) and len(waiting) < self.concurrency:
                if self.interval and (early := began + opened * self.interval - clock()) > 0:
                    timeout = min(early / 1e9, timeout)
                    break
                connection = self.connections[opened]
                waiting.add(connection)
                connection.open(*self.target, source(self.target, opened))
                opened += 1
            self.loop.turn(timeout)
            news = self.loop.take_reports()
            for served in news:
                if served.error:
                    raise ConnectionLost(served.error)
            for connection in waiting.intersection(news):
                if connection.is_ready:
                    waiting.remove(connection)
                    self.done += 1
                    last = clock()
                    ready(connection)
            progress(self.done)
            if clock() - last > CONNECT_SECONDS * 1e9:
                raise ConnectionLost(
                    f"{self.done} of {len(self.connections)} clients connected, then nothing happened "
                    f"for {CONNECT_SECONDS:g} s"
                )
