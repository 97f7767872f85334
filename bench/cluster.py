"""What a cluster costs: three servers of NATS on this machine that write at once, and nodes.

``python bench/cluster.py`` (three minutes); ``bus``, ``nodes`` or ``joins`` behind it is one part of it.

The bus: frames of 1, 32 and 256 messages of 200 bytes, one after the other in each of eight partitions:
messages a second; how long a frame waits (milliseconds, p50 and p99); the CPU time of a message in
microseconds, of this process (which writes, and reads what comes by) and of the servers. The same for records
of sessions.

The nodes: three, and one broker with a data directory; eight publishers and a subscriber at one broker, at
one node, and at two; CPU of a message by node, node and servers. Then a session that moves from node to node.

The joining: 100 000 sessions with five subscriptions each lie on the bus (``joins``; a number behind it: so
many). Their owner lives (it is this process, and does nothing but renew its lease), and node b starts: until
a new client is served; until one is that has a session among them, which its owner has given up; what a
client waits for an answer meanwhile (PINGREQ). Then the owner has left, and nobody has them: the same of node
a, and until it has all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from curier.cluster.orders import LEASES, SESSIONS, STORED, UNKNOWN, Follow, Write
from curier.cluster.records import Boot, Frame, Lease, Message, SessionRecord
from curier.jetstream.access import Access
from curier.jetstream.bus import Bus
from curier.jetstream.names import Names
from curier.jetstream.streams import ensure
from curier.session.records import Record, SessionSaved, Subscribed
from curier.session.records import encode as encode_records
from tests.jetstream.servers import NatsServers
from tests.ports import free_port
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
    def handed(self, messages: Any, members: Any) -> None: ...
    def saw(self, format: int) -> None:
        pass

    def broken(self, error: Exception) -> None:
        raise error

    async def line(self, stream: int, subject: str, values: Any, end: float, pause: float = 0.0) -> int:
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
            if pause:
                await asyncio.sleep(pause)
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


async def the_bus(servers: NatsServers) -> None:
    for size in (1, 32, 256):
        for follows in (False, True):
            what = f"frames of {size}{', and read' if follows else ''}"
            lines = [(one, "a.1", frames(size)) for one in range(PARTITIONS)]
            await measure(servers, what, lines, size, follows)
    for count in (1, 64):
        lines = [(SESSIONS, f"client {one}", records()) for one in range(count)]
        await measure(servers, f"records of {count} sessions, 400 bytes", lines, 1, False)


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


# -- nodes

WINDOW = 400  # QoS 1: messages of one publisher without PUBACK
PUBLISHERS = 8
SIZE = 200
TOPIC = b"room/%d/t"


class Station(asyncio.Protocol):
    """One end of MQTT 3.1.1, in bytes: what it costs is not what is measured."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.data = bytearray()
        self.take: Any = None
        self.answered = b""  # CONNACK

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.take is not None:
            self.take()
        else:
            self.heard.set()

    async def answer(self, size: int) -> bytes:
        while len(self.data) < size:
            self.heard.clear()
            await self.heard.wait()
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


async def connected(port: int, client_id: bytes, clean: bool = True) -> Station:
    while True:
        _, one = await asyncio.get_running_loop().create_connection(Station, "127.0.0.1", port)
        body = text(b"MQTT") + bytes([4, 2 if clean else 0]) + b"\0\x3c" + text(client_id)
        one.transport.write(bytes([0x10, len(body)]) + body)
        one.answered = await one.answer(4)
        if one.answered[3] == 0:
            return one
        one.transport.close()
        await asyncio.sleep(0.2)


def publish(topic: bytes, qos: int) -> bytes:
    """With Packet Identifier 0, for the moment; all are of one size."""
    body = text(topic) + (b"\0\0" if qos else b"") + b"x" * SIZE
    return bytes([0x30 | qos << 1, 0x80 | len(body) & 0x7F, len(body) >> 7]) + body


class Subscriber:
    """Counts, and acknowledges."""

    def __init__(self, one: Station, qos: int) -> None:
        self.one, self.qos, self.count = one, qos, 0
        self.size = len(publish(TOPIC % 1, qos))
        self.at = self.size - SIZE - 2
        one.take = self.take

    def take(self) -> None:
        data, size, count = self.one.data, self.size, len(self.one.data) // self.size
        if not count:
            return
        whole = data[: count * size]
        del data[: count * size]
        self.count += count
        if self.qos:
            acks = bytearray(b"\x40\x02\0\0" * count)
            acks[2::4], acks[3::4] = whole[self.at :: size], whole[self.at + 1 :: size]
            self.one.transport.write(acks)


class Publisher:
    """As fast as it is acknowledged, or so fast that what is on its way stays little."""

    def __init__(self, one: Station, topic: bytes, qos: int) -> None:
        self.one, self.qos, self.packet = one, qos, publish(topic, qos)
        self.at = len(self.packet) - SIZE - 2
        self.sent = self.acknowledged = self.next_id = 0
        self.is_over = False
        one.take = self.take

    def send(self, count: int) -> None:
        many = bytearray(self.packet * count)
        if self.qos:
            size = len(self.packet)
            ids = [(self.next_id + one) % 65000 + 1 for one in range(count)]
            self.next_id += count
            many[self.at :: size] = bytes([one >> 8 for one in ids])
            many[self.at + 1 :: size] = bytes([one & 0xFF for one in ids])
        self.sent += count
        self.one.transport.write(many)

    def take(self) -> None:
        count = len(self.one.data) // 4
        del self.one.data[: count * 4]
        self.acknowledged += count
        if count and not self.is_over:
            self.send(count)


class Nodes:
    """Brokers in processes of their own."""

    def __init__(
        self, folder: Path, servers: NatsServers | None, names: str, cluster: str = "curier"
    ) -> None:
        self.ports = {name: free_port() for name in names}
        self.popens = {}
        for name, port in self.ports.items():
            command = [sys.executable, "-m", "curier", "broker", "--listen", f"tcp://127.0.0.1:{port}"]
            if servers is not None:
                command += ["--cluster", ",".join(servers.urls), "--node-name", name]
                command += ["--cluster-name", cluster]
                command += ["--cluster-monitors", ",".join(servers.monitor_urls)]
            else:
                command += ["--data", str(folder / "data")]
            environment = {**os.environ, "CURIER_WEB": "off"}
            with (folder / f"{name}.log").open("wb") as log:
                self.popens[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    async def station(self, name: str, client_id: bytes, clean: bool = True) -> Station:
        end = time.monotonic() + 90
        while True:
            try:
                return await connected(self.ports[name], client_id, clean)
            except OSError:
                assert time.monotonic() < end
                await asyncio.sleep(0.1)

    def cpu(self, name: str) -> float:
        one = psutil.Process(self.popens[name].pid)
        times = [one.cpu_times(), *[child.cpu_times() for child in one.children()]]
        return sum(time.user + time.system for time in times)

    def close(self) -> None:
        for popen in self.popens.values():
            popen.terminate()
        for popen in self.popens.values():
            popen.wait()


async def messages(
    what: str, nodes: Nodes, here: str, there: str, qos: int, servers: NatsServers | None
) -> float:
    """Publishers at ``here``, one subscriber at ``there``; the CPU time of a message, all together."""
    subscriber = await nodes.station(there, b"s%d" % qos, clean=not qos)  # QoS 1 is to be kept by both
    subscriber.transport.write(bytes([0x82, 11, 0, 1]) + text(b"room/#") + bytes([qos]))
    await subscriber.answer(5)
    taken = Subscriber(subscriber, qos)
    publishers = [
        Publisher(await nodes.station(here, b"p%d" % one), TOPIC % one, qos) for one in range(PUBLISHERS)
    ]
    await asyncio.sleep(0.5)

    def costs() -> list[float]:
        found = [nodes.cpu(here), nodes.cpu(there) if there != here else 0.0]
        return [*found, cpu_of(servers) if servers is not None else 0.0]

    before, began = costs(), time.monotonic()
    for one in publishers:
        one.send(WINDOW if qos else 1)
    while time.monotonic() - began < SECONDS:
        await asyncio.sleep(0.002)
        for one in publishers if not qos else ():
            if sum(each.sent for each in publishers) - taken.count < 4000:
                one.send(100)
    for one in publishers:
        one.is_over = True
    sent = sum(one.sent for one in publishers)
    with contextlib.suppress(AssertionError):
        await until(lambda: taken.count >= sent, patience=20.0)
    seconds = time.monotonic() - began
    spent = [(after - one) / max(1, taken.count) * 1e6 for one, after in zip(before, costs(), strict=True)]
    lost = f", {sent - taken.count} did not come" if taken.count != sent else ""
    parts = " + ".join(f"{one:.1f}" for one in spent if one)
    print(f"{what:34} {taken.count / seconds:8.0f}/s  cpu {parts} us{lost}", flush=True)
    for station in (subscriber, *[each.one for each in publishers]):
        station.transport.close()
    return sum(spent[:2])


async def takeovers(nodes: Nodes, names: str) -> None:
    """A client with a session, which is connected to one node and comes to another."""
    former, waits = await nodes.station(names[0], b"mover", clean=False), []
    for number in range(1, 201):
        began = time.monotonic()
        now = await nodes.station(names[number % len(names)], b"mover", clean=False)
        waits.append(time.monotonic() - began)
        former.transport.close()
        former = now
    waits.sort()
    p50, p99 = waits[len(waits) // 2] * 1e3, waits[len(waits) * 99 // 100] * 1e3
    print(f"{'a session moves to another node':34} wait {p50:.1f} {p99:.1f} ms", flush=True)


async def nodes_and_one(folder: Path, servers: NatsServers) -> None:
    alone, cluster = Nodes(folder, None, "x"), Nodes(folder, servers, "abc")
    try:
        for qos in (0, 1):
            one = await messages(f"QoS {qos}, one broker", alone, "x", "x", qos, None)
            same = await messages(f"QoS {qos}, at one node", cluster, "a", "a", qos, servers)
            other = await messages(f"QoS {qos}, from node to node", cluster, "a", "b", qos, servers)
            print(f"{'':34} the nodes' CPU: {same / one:.1f} and {other / one:.1f} times that of one broker")
        await takeovers(cluster, "abc")
    finally:
        alone.close()
        cluster.close()


# -- joining

SUBSCRIPTIONS = 5
BESIDE_SECONDS = 45.0  # in which a node looks whose all sessions are, and once more
RENEWED = 5.0


def stored(name: str) -> SessionRecord:
    """A session that its last node has given up when it left."""
    records: list[Record] = [SessionSaved(1, name, 4, 0xFFFFFFFF, 0.0, b"", "")]
    records += [Subscribed(1, b"of/%s/%d/#" % (name.encode(), each), 1, 0) for each in range(SUBSCRIPTIONS)]
    state = encode_records(records)
    return SessionRecord(Boot("gone", 1), 1, 1, is_released=True, places=(0,) * PARTITIONS, state=state)


async def last_of(bus: Bus, names: Names) -> int:
    """The last sequence of all records of sessions."""
    told = asyncio.get_running_loop().create_future()

    def heard(message: Any) -> bool:
        told.set_result(json.loads(message.data)["state"]["last_seq"] if message is not None else 0)
        return True

    bus.data.ask(f"$JS.API.STREAM.INFO.{names.stream(SESSIONS)}", b"", heard, 5.0)
    return int(await told)


async def joins(folder: Path, servers: NatsServers, count: int) -> None:
    load, names = Load(), Names("joining", PARTITIONS)
    bus = load.bus = Bus(Access(servers.urls), names, "z", load)
    bus.open()
    await until(lambda: bus.data.is_up and bus.control.is_up)
    await ensure(bus.data, names, 3, 60.0)
    lives = True

    def leases() -> Iterator[Lease]:
        for number in itertools.count(1):
            yield Lease(Boot("gone", 1), number, is_over=not lives, wall=time.time())
            if not lives:
                return

    owner = asyncio.ensure_future(load.line(LEASES, "gone", leases(), float("inf"), RENEWED))
    left = iter(range(count))

    async def store() -> None:
        for number in left:
            name = f"client {number}"
            await load.line(SESSIONS, name, [stored(name)], float("inf"))

    await asyncio.gather(*[store() for _ in range(256)])
    nodes: list[Nodes] = []
    try:
        end = time.monotonic() + BESIDE_SECONDS

        async def is_over() -> bool:
            return time.monotonic() > end

        await one_joins(folder, servers, nodes, "b", f"client {count - 2}", is_over)
        nodes.pop().close()
        lives = False
        await owner
        before = await last_of(bus, names)

        async def have_all() -> bool:
            return await last_of(bus, names) >= before + count

        await one_joins(folder, servers, nodes, "a", f"client {count - 1}", have_all)
    finally:
        for one in nodes:
            one.close()
        await bus.close()


async def one_joins(
    folder: Path,
    servers: NatsServers,
    nodes: list[Nodes],
    name: str,
    session: str,
    is_over: Callable[[], Awaitable[bool]],
) -> None:
    """Until it serves new clients, and one that has a session; then until ``is_over``, what a client of it
    waits for an answer.
    """
    began = time.monotonic()
    node = Nodes(folder, servers, name, "joining")
    nodes.append(node)
    pinging = await node.station(name, b"new at " + name.encode())
    served = time.monotonic() - began
    one = await node.station(name, session.encode(), clean=False)
    assert one.answered[2] == 1  # it was there
    its_own = time.monotonic() - began
    what = f"node {name} joins"
    print(
        f"{what:34} serves new clients after {served:.1f} s, one of those after {its_own:.1f} s", flush=True
    )
    waits = []
    while not await is_over():
        for _ in range(10):
            asked = time.monotonic()
            pinging.transport.write(b"\xc0\0")
            await pinging.answer(2)
            waits.append(time.monotonic() - asked)
            await asyncio.sleep(0.01)
    seconds = time.monotonic() - began
    waits.sort()
    p50, most = waits[len(waits) // 2] * 1e3, waits[-1] * 1e3
    print(
        f"{what:34} {seconds:.1f} s in all; cpu {node.cpu(name):.1f} s; an answer p50 {p50:.1f}, "
        f"at most {most:.0f} ms",
        flush=True,
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = NatsServers(folder)
        try:
            part = sys.argv[1] if len(sys.argv) > 1 else ""
            if part in ("", "bus"):
                await the_bus(servers)
            if part in ("", "nodes"):
                await nodes_and_one(folder, servers)
            if part in ("", "joins"):
                await joins(folder, servers, int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
        finally:
            servers.close()


if __name__ == "__main__":
    asyncio.run(main())
