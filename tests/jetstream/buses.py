"""Two buses with one face: the one of the simulation in fair weather, and NATS."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from nats.aio.msg import Msg

from curier.cluster.orders import (
    STORED,
    UNKNOWN,
    AskLast,
    AskNeeds,
    AskOwners,
    AskSessions,
    AskSize,
    Cut,
    Fetch,
    Follow,
    Look,
    Need,
    Sweep,
    ToBus,
    Write,
)
from curier.cluster.records import Boot, Frame, Message, Passed, SessionRecord, Value
from curier.jetstream.access import Access
from curier.jetstream.bus import Bus
from curier.jetstream.line import Line
from curier.jetstream.names import Names
from curier.jetstream.streams import ensure
from curier.jetstream.wire import WireError
from tests.cluster import bus as simulated
from tests.jetstream.servers import NatsServers
from tests.waiting import until

PARTITIONS: Final = 2
A: Final = Boot("a", 1)
_clusters = itertools.count(1)


@dataclass
class Feed:
    """What came by in a stream, and how."""

    generation: int
    numbers: list[int] = field(default_factory=list)
    entries: list[tuple[int, Value]] = field(default_factory=list)


class Obeying(Protocol):
    def obey(self, order: ToBus) -> None: ...


class Asker:
    """Hears for a test. Every answer that comes second, or to nobody, is a fault."""

    def __init__(self) -> None:
        self.bus: Obeying | None = None
        self.feeds: dict[int, Feed] = {}
        self.wishes: list[tuple[Boot, int, str, str]] = []
        self.passed: list[Passed] = []
        self.handed_on: list[tuple[Message, str]] = []
        self.errors: list[WireError] = []
        self._tokens = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    def answer(self, token: int, *answer: object) -> None:
        self._waiting.pop(token).set_result(answer[0] if len(answer) == 1 else answer)

    def feed(self, stream: int, generation: int, number: int, entries: Sequence[tuple[int, Value]]) -> None:
        feed = self.feeds[stream]
        assert generation == feed.generation
        feed.numbers.append(number)
        feed.entries += entries

    def asked(self, node: Boot, token: int, asker: str, session: str) -> None:
        self.wishes.append((node, token, asker, session))

    def direct(self, passed: Sequence[Passed]) -> None:
        self.passed += passed

    def saw(self, format: int) -> None:
        pass

    def handed(self, messages: Sequence[Message], members: Sequence[str]) -> None:
        self.handed_on += zip(messages, members, strict=True)

    def broken(self, error: WireError) -> None:
        self.errors.append(error)

    # -- asking

    def begin(self, make: Callable[[int], ToBus]) -> asyncio.Future[Any]:
        token = next(self._tokens)
        self._waiting[token] = asyncio.get_running_loop().create_future()
        assert self.bus is not None
        self.bus.obey(make(token))
        return self._waiting[token]

    async def write(self, stream: int, subject: str, value: Value, expected: int) -> tuple[str, int]:
        outcome: tuple[str, int] = await self.begin(
            lambda token: Write(token, stream, subject, value, expected)
        )
        return outcome

    async def store(self, stream: int, subject: str, value: Value, expected: int) -> int:
        """Until it is known to be stored."""
        while True:
            outcome, sequence = await self.write(stream, subject, value, expected)
            if outcome == STORED:
                return sequence
            found, last = await self.look(stream, subject)
            if last == value:
                return found
            assert outcome == UNKNOWN or found < expected or found == expected, (outcome, found, expected)
            await asyncio.sleep(0.05)

    async def look(self, stream: int, subject: str) -> tuple[int, Value | None]:
        found: tuple[int, Value | None] = await self.begin(lambda token: Look(token, stream, subject))
        return found

    async def last(self, partition: int) -> int:
        return int(await self.begin(lambda token: AskLast(token, partition)))

    async def fetch(self, partition: int, after: int, upto: int) -> list[tuple[int, Value]]:
        return [*await self.begin(lambda token: Fetch(token, partition, after, upto))]

    async def owners(self) -> list[Boot]:
        return [*await self.begin(AskOwners)]

    async def sessions(self, owner: Boot) -> list[str]:
        return sorted(await self.begin(lambda token: AskSessions(token, owner)))

    async def needs(self, since: int) -> list[Need]:
        return [*await self.begin(lambda token: AskNeeds(token, since))]

    async def size(self, partition: int) -> tuple[int, int, int]:
        found: tuple[int, int, int] = await self.begin(lambda token: AskSize(token, partition))
        return found

    async def cut(self, partition: int, upto: int) -> None:
        """Until it is."""
        assert self.bus is not None
        self.bus.obey(Cut(partition, upto))
        while (await self.size(partition))[0] <= upto:  # noqa: ASYNC110  # it has no answer
            await asyncio.sleep(0.02)

    def follow(self, stream: int, after: int) -> Feed:
        former = self.feeds.get(stream)
        feed = self.feeds[stream] = Feed(former.generation + 1 if former else 1)
        assert self.bus is not None
        self.bus.obey(Follow(stream, after, feed.generation))
        return feed


class Simulated:
    """The bus of ``tests/cluster`` in fair weather, at once."""

    def __init__(self, hearer: Asker) -> None:
        self.bus = simulated.Bus(PARTITIONS, random.Random(1))
        self._hearer = hearer
        self._feeds: dict[int, tuple[Follow, int]] = {}
        hearer.bus = self

    def obey(self, order: ToBus) -> None:
        bus, answer = self.bus, self._answer
        if isinstance(order, Write):
            answer(order.token, *bus.arrives(order, 0.0))
            self._give(order.stream)
        elif isinstance(order, Look):
            answer(
                order.token, *bus.streams[order.stream].last_of(order.subject, bus.seen(order.stream, 0.0))
            )
        elif isinstance(order, AskLast):
            answer(order.token, bus.seen(order.partition, 0.0))
        elif isinstance(order, Fetch):
            answer(order.token, bus.streams[order.partition].left(order.after, order.upto))
        elif isinstance(order, AskSize):
            stream = bus.streams[order.partition]
            answer(order.token, stream.first, len(stream.entries), 100 * len(stream.entries))
        elif isinstance(order, AskNeeds):
            answer(order.token, bus.needs(order.since, PARTITIONS, 0.0))
        elif isinstance(order, Cut | Sweep):
            bus.removes(order)
        elif isinstance(order, AskOwners):
            answer(order.token, bus.owners(0.0))
        elif isinstance(order, AskSessions):
            owned = bus.owned(0.0)
            answer(order.token, [name for name, record in owned.items() if record.owner == order.owner])
        elif isinstance(order, Follow):
            self._feeds[order.stream] = (order, 0)
            self._give(order.stream)

    def _answer(self, token: int, *answer: object) -> None:
        asyncio.get_running_loop().call_soon(lambda: self._hearer.answer(token, *answer))

    def _give(self, stream: int) -> None:
        if stream not in self._feeds:
            return
        order, number = self._feeds[stream]
        entries = self.bus.streams[stream]
        new = entries.left(order.after, len(entries.entries))
        if new:
            self._feeds[stream] = (replace(order, after=new[-1][0]), number + 1)
            asyncio.get_running_loop().call_soon(self._hearer.feed, stream, order.generation, number + 1, new)


@asynccontextmanager
async def on_nats(
    servers: NatsServers, cluster: str = "", node: str = "a", replicas: int = 3
) -> AsyncIterator[Asker]:
    """Who asks NATS, in a cluster of its own where none is named."""
    names = Names(cluster or f"test{next(_clusters)}", PARTITIONS)
    asker = Asker()
    bus = Bus(Access(servers.urls), names, node, asker)
    asker.bus = bus
    bus.open()
    try:
        await until(lambda: bus.data.is_up and bus.control.is_up)
        await ensure(bus.data, names, replicas, 40.0)
        yield asker
    finally:
        await bus.close()
    assert not asker.errors


def frame(number: int, writer: Boot = A, size: int = 20) -> Frame:
    return Frame(
        writer, number, (Message((writer.name, writer.number, number), "me", b"a/b", b"x" * size, 1),)
    )


def record(owner: Boot, write: int) -> SessionRecord:
    return SessionRecord(owner, 1, write, places=(1, 1))


async def ask_api(line: Line, what: str, request: dict[str, Any]) -> dict[str, Any]:
    answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def heard(message: Msg | None) -> bool:
        answered.set_result(json.loads(message.data if message else b"{}"))
        return True

    line.ask(f"$JS.API.{what}", json.dumps(request).encode(), heard, 10.0)
    return await answered
