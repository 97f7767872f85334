"""The bus while its servers are killed and stopped: what was said to be stored is, once and in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import tests.jetstream.needs  # noqa: F401, isort: skip

from nats.aio.msg import Msg

from curier.cluster.orders import LEASES, SESSIONS, STORED, UNKNOWN
from curier.cluster.records import Boot, Frame, Lease
from curier.jetstream.bus import Bus
from tests.jetstream.buses import Asker, Feed, frame, on_nats, record
from tests.jetstream.servers import NatsServers
from tests.waiting import until

pytestmark = [pytest.mark.interop, pytest.mark.crash, pytest.mark.timeout(300)]

WRITERS = "abcdef"
PATIENCE = 120.0  # seconds; an election takes some, and a busy machine more


class Ledger:
    """Writers that each write one line, as those of nodes do; sessions and leases beside them."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.stored: dict[int, Frame] = {}
        self.records: dict[str, tuple[int, int]] = {}
        self.feed: Feed = asker.follow(0, 0)
        self.leases: Feed = asker.follow(LEASES, 0)
        self.is_over = False
        self._tasks = [asyncio.create_task(self._write(name)) for name in WRITERS]
        self._tasks += [asyncio.create_task(self._keep(f"client {number}")) for number in range(3)]
        self._tasks += [asyncio.create_task(self._renew())]

    async def _write(self, name: str) -> None:
        last = number = 0
        while not self.is_over:
            number += 1
            value = frame(number, Boot(name, 1))
            last = await self.asker.store(0, f"{name}.1", value, last)
            assert last not in self.stored
            self.stored[last] = value

    async def _keep(self, name: str) -> None:
        last = number = 0
        while not self.is_over:
            number += 1
            last = await self.asker.store(SESSIONS, name, record(Boot("a", 1), number), last)
            self.records[name] = (last, number)

    async def _renew(self) -> None:
        last = number = 0
        while not self.is_over:
            number += 1
            last = await self.asker.store(LEASES, "a", Lease(Boot("a", 1), number), last)
            await asyncio.sleep(0.02)

    async def goes_on(self, frames: int = 60) -> None:
        """Until so many more frames were stored, and came by."""
        for task in self._tasks:
            assert not task.done(), task
        reached = len(self.stored) + frames
        await until(lambda: len(self.stored) >= reached, patience=PATIENCE)
        await until(lambda: len(self.feed.entries) >= reached, patience=PATIENCE)

    async def judge(self) -> None:
        self.is_over = True
        await asyncio.gather(*self._tasks)
        last = await self.asker.last(0)
        everything = await self.asker.fetch(0, 0, last)
        assert dict(everything) == self.stored
        for name in WRITERS:
            numbers = [
                one.number for _, one in everything if isinstance(one, Frame) and one.writer.name == name
            ]
            assert numbers == list(range(1, len(numbers) + 1))
        await until(lambda: len(self.feed.entries) == len(everything), patience=PATIENCE)
        assert self.feed.entries == everything
        assert self.feed.numbers == list(range(1, len(self.feed.numbers) + 1))
        sequences = [sequence for sequence, _ in self.leases.entries]
        assert sequences == sorted(set(sequences))
        for name, (sequence, number) in self.records.items():
            found, value = await self.asker.look(SESSIONS, name)
            while found < sequence:  # an old answer
                found, value = await self.asker.look(SESSIONS, name)
            assert (found, value) == (sequence, record(Boot("a", 1), number))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[NatsServers]:
    running = NatsServers(tmp_path)
    yield running
    running.close()


async def leader_of(asker: Asker, stream: int) -> int:
    """The number of the server that leads a stream; ``NatsServers`` calls them s0, s1 and s2."""
    bus = asker.bus
    assert isinstance(bus, Bus)
    while True:
        answered: asyncio.Future[Msg | None] = asyncio.get_running_loop().create_future()

        def heard(message: Msg | None, answered: asyncio.Future[Msg | None] = answered) -> bool:
            answered.set_result(message)
            return True

        bus.data.ask(f"$JS.API.STREAM.INFO.{bus.names.stream(stream)}", b"", heard, 2.0)
        message = await answered
        if message is not None and message.data:
            leader = json.loads(message.data).get("cluster", {}).get("leader", "")
            if leader:
                return int(leader[1:])
        await asyncio.sleep(0.1)


Misfortune = Callable[[NatsServers, Asker], Awaitable[None]]


async def the_leader_dies(servers: NatsServers, asker: Asker) -> None:
    leader = await leader_of(asker, 0)
    servers.kill(leader)
    await asyncio.sleep(1.0)
    servers.start(leader)


async def all_die(servers: NatsServers, asker: Asker) -> None:
    for at in range(3):
        servers.kill(at)
    await asyncio.sleep(0.5)
    for at in range(3):
        servers.start(at)


async def the_leader_is_stopped(servers: NatsServers, asker: Asker) -> None:
    leader = await leader_of(asker, 0)
    servers.stop(leader)
    await asyncio.sleep(8.0)
    servers.go_on(leader)


async def our_server_is_stopped(servers: NatsServers, asker: Asker) -> None:
    bus = asker.bus
    assert isinstance(bus, Bus)
    at = int(bus.data.server[1:])
    before = len(asker.feeds[0].entries)
    servers.stop(at)
    await until(lambda: bus.data.is_up and bus.data.server != f"s{at}", patience=PATIENCE)
    await until(lambda: len(asker.feeds[0].entries) > before + 60, patience=PATIENCE)
    servers.go_on(at)


async def all_are_stopped(servers: NatsServers, asker: Asker) -> None:
    for at in range(3):
        servers.stop(at)
    await asyncio.sleep(6.0)
    for at in range(3):
        servers.go_on(at)


@pytest.mark.parametrize(
    "misfortune",
    [the_leader_dies, all_die, the_leader_is_stopped, our_server_is_stopped, all_are_stopped],
)
async def test_nothing_that_was_stored_is_lost_or_doubled(
    servers: NatsServers, misfortune: Misfortune
) -> None:
    async with on_nats(servers) as asker:
        ledger = Ledger(asker)
        await ledger.goes_on()
        for _ in range(2):
            await misfortune(servers, asker)
            await ledger.goes_on()
        await ledger.judge()


async def test_a_question_waits_until_there_is_a_server_again(servers: NatsServers) -> None:
    async with on_nats(servers) as asker:
        last = await asker.store(0, "a.1", frame(1), 0)
        for at in range(3):
            servers.kill(at)
        asked = [
            asyncio.create_task(one)
            for one in (asker.last(0), asker.look(0, "a.1"), asker.fetch(0, 0, 1), asker.owners())
        ]
        outcome, _ = await asker.write(0, "a.1", frame(2), last)
        assert outcome == UNKNOWN
        assert not any(task.done() for task in asked)
        for at in range(3):
            servers.start(at)
        assert await asyncio.gather(*asked) == [1, (1, frame(1)), [(1, frame(1))], []]


async def test_where_there_is_no_room_nothing_is_acknowledged_and_the_words_say_why(tmp_path: Path) -> None:
    servers = NatsServers(tmp_path, max_file="2MB")
    try:
        async with on_nats(servers) as asker:
            assert isinstance(asker.bus, Bus)
            last = number = 0
            outcome = STORED
            while outcome == STORED:
                number += 1
                outcome, sequence = await asker.write(0, "a.1", frame(number, size=200_000), last)
                last = sequence or last
            assert outcome == UNKNOWN
            assert "it has no room" in asker.bus.unhappy
            assert await asker.write(0, "a.1", frame(number), last) == (UNKNOWN, 0)
            assert await asker.last(0) == last == number - 1
            assert [sequence for sequence, _ in await asker.fetch(0, 0, last)] == list(range(1, last + 1))
    finally:
        servers.close()
