"""What the bus of a cluster costs: three servers of NATS on this machine that write at once, and one node.

``python bench/cluster.py`` (a minute). For frames of 1, 32 and 256 messages of 200 bytes, one after the other
in each of eight partitions: messages a second; how long a frame waits (milliseconds, p50 and p99); the CPU
time of a message in microseconds, of this process (which writes, and reads what comes by) and of the servers.
The same for records of sessions.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from curier.cluster.orders import SESSIONS, STORED, UNKNOWN, Follow, Write
from curier.cluster.records import Boot, Frame, Message, SessionRecord
from curier.jetstream.bus import Bus
from curier.jetstream.line import Access
from curier.jetstream.names import Names
from curier.jetstream.streams import ensure
from tests.jetstream.servers import NatsServers
from tests.waiting import until

PARTITIONS = 8
SECONDS = 6.0
BOOT = Boot("a", 1)


class Load:
    """One write after the other in each line, as nodes write."""

    def __init__(self) -> None:
        self.bus: Any = None
        self.waits: list[float] = []
        self.came = 0
        self.again = 0
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[str, int]]] = {}

    def answer(self, token: int, *answer: Any) -> None:
        self._waiting.pop(token).set_result(answer)

    def feed(self, stream: int, generation: int, number: int, entries: Any) -> None:
        for _, value in entries:
            self.came += len(value.messages) if isinstance(value, Frame) else 1

    def asked(self, *wish: Any) -> None: ...
    def direct(self, messages: Any) -> None: ...
    def broken(self, error: Exception) -> None:
        raise error

    async def line(self, stream: int, subject: str, values: Any, end: float) -> int:
        last = count = 0
        for value in values:
            if time.monotonic() > end:
                break
            began = time.monotonic()
            while True:
                token = next(self._tokens)
                self._waiting[token] = asyncio.get_running_loop().create_future()
                self.bus.obey(Write(token, stream, subject, value, last))
                outcome, sequence = await self._waiting[token]
                if outcome == STORED:
                    break
                self.again += 1
                if outcome != UNKNOWN:  # it was stored; a node would read that now
                    return count
                await asyncio.sleep(0.05)
            self.waits.append(time.monotonic() - began)
            last, count = sequence, count + 1
        return count


def frames(size: int) -> Any:
    number = 0
    while True:
        number += 1
        yield Frame(
            BOOT,
            number,
            tuple(
                [
                    Message(
                        ("a", 1, number * size + one),
                        f"client-{one}",
                        b"room/%d/temperature" % one,
                        b"x" * 200,
                        1,
                    )
                    for one in range(size)
                ]
            ),
        )


def records() -> Any:
    number = 0
    while True:
        number += 1
        yield SessionRecord(BOOT, 1, number, places=(1,) * PARTITIONS, state=b"x" * 400)


def cpu_of(servers: NatsServers) -> float:
    found = [psutil.Process(one.pid).cpu_times() for one in servers.processes if one is not None]
    return sum(one.user + one.system for one in found)


async def measure(
    servers: NatsServers, what: str, lines: list[tuple[int, str, Any]], size: int, follows: bool
) -> None:
    load = Load()
    names = Names(f"bench{abs(hash(what)) % 10**8}", PARTITIONS)
    bus = load.bus = Bus(Access(servers.urls), names, "a", load)
    bus.open()
    await until(lambda: bus.data.is_up and bus.control.is_up)
    await ensure(bus.data, names, 3, 60.0)
    if follows:
        for partition in range(PARTITIONS):
            bus.obey(Follow(partition, 0, 1))
    await asyncio.sleep(1.0)
    own, theirs, began = time.process_time(), cpu_of(servers), time.monotonic()
    counts = await asyncio.gather(*[load.line(*one, began + SECONDS) for one in lines])
    seconds = time.monotonic() - began
    own, theirs = time.process_time() - own, cpu_of(servers) - theirs
    messages = sum(counts) * size
    waits = sorted(load.waits)
    p50, p99 = waits[len(waits) // 2] * 1e3, waits[len(waits) * 99 // 100] * 1e3
    costs = f"{own / messages * 1e6:7.1f} + {theirs / messages * 1e6:7.1f} us"
    again = f"  ({load.again} again)" if load.again else ""
    rate = messages / seconds
    print(f"{what:34} {rate:8.0f}/s  wait {p50:6.1f} {p99:6.1f} ms  cpu {costs}{again}", flush=True)
    await bus.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        servers = NatsServers(Path(folder))
        try:
            for size in (1, 32, 256):
                for follows in (False, True):
                    what = f"frames of {size}{', and read' if follows else ''}"
                    lines = [(one, "a.1", frames(size)) for one in range(PARTITIONS)]
                    await measure(servers, what, lines, size, follows)
            for count in (1, 64):
                lines = [(SESSIONS, f"client {one}", records()) for one in range(count)]
                await measure(servers, f"records of {count} sessions, 400 bytes", lines, 1, False)
        finally:
            servers.close()


if __name__ == "__main__":
    asyncio.run(main())
