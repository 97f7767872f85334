"""Two brokers with a bridge, killed in turn or together under load: what was acknowledged arrives on the
other side.

By hand, for as long as you like: ``python -m tests.crash.bridge_rounds SEED ROUNDS``.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import curier
from tests.interop.process import BrokerProcess
from tests.ports import free_port
from tests.waiting import until

SECONDS = 60.0
LANES = ("out/1", "out/2", "in/1", "in/2")
"""Topics; the number is the QoS. Those that go out are published here and received there."""

STAYS = {"session_expiry": 3600, "retry_first_connect": True, "reconnect": curier.Reconnect(0.02, 0.2)}


class Side:
    """One broker, which may be killed and started again."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.arguments: tuple[str, ...] = ()
        folder.mkdir()
        if config:
            file = folder / "bridge.toml"
            file.write_text(config)
            self.arguments = ("--config", str(file))
        self.broker = self._start()

    def _start(self) -> BrokerProcess:
        return BrokerProcess(self.folder, *self.arguments, "--no-web", port=self.port)

    def kill(self) -> None:
        self.broker.popen.kill()
        self.broker.popen.wait(100)
        self.broker.close()

    async def start(self) -> None:
        self.broker = await asyncio.to_thread(self._start)


class BridgeRounds:
    """``promised`` are acknowledged to publishers, by topic; ``arrived`` came to subscribers, in order."""

    def __init__(self, seed: int, rounds: int, folder: Path) -> None:
        self.promised: dict[str, list[int]] = {lane: [] for lane in LANES}
        self.arrived: dict[str, list[int]] = {lane: [] for lane in LANES}
        self.kills = 0
        self._dice = Random(seed)
        self._rounds = rounds
        self._there = Side(folder / "there", "")
        topics = '["out/# out 2", "in/# in 2"]'
        self._here = Side(
            folder / "here",
            f'[[bridge]]\nname = "b"\nurl = "mqtt://127.0.0.1:{self._there.port}"\ntopics = {topics}\n'
            'first_wait = "20 ms"\nlongest_wait = "200 ms"\n',
        )
        self._is_over = False
        self._open: set[str] = set()  # lanes by which something has come

    async def play(self) -> None:
        """All of it; raises ``AssertionError`` where a promise is broken."""
        listening = [asyncio.create_task(self._take(lane)) for lane in LANES]
        try:
            await self._subscribed()
            publishing = [asyncio.create_task(self._publish(lane)) for lane in LANES]
            for _ in range(self._rounds):
                await asyncio.sleep(self._dice.uniform(0.2, 1.0))
                await self._strike()
            self._is_over = True
            await asyncio.gather(*publishing)
            try:
                await until(lambda: not any(self.missing().values()), patience=SECONDS)
            except AssertionError:
                raise AssertionError(f"acknowledged, and not arrived: {self.missing()}") from None
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
            for side in (self._here, self._there):
                side.kill()
        for lane in LANES:
            firsts = list(dict.fromkeys(self.arrived[lane]))
            assert firsts == sorted(firsts), f"{lane}: out of order"

    def missing(self) -> dict[str, list[int]]:
        """What was promised and has not come."""
        return {lane: sorted({*self.promised[lane]} - {*self.arrived[lane]}) for lane in LANES}

    def doubles(self, lane: str) -> int:
        """How many came more than once."""
        return sum(count - 1 for count in Counter(self.arrived[lane]).values())

    async def _strike(self) -> None:
        """Kill here, there, or both, and start them again."""
        struck = self._dice.choice([[self._here], [self._there], [self._here, self._there]])
        for side in struck:
            side.kill()
            self.kills += 1
        await asyncio.sleep(self._dice.choice([0.0, 0.3]))
        for side in struck:
            await side.start()

    async def _subscribed(self) -> None:
        """Until a first message of each lane has arrived: then all subscriptions are there."""
        for lane in LANES:
            source = self._here if lane.startswith("out") else self._there
            async with curier.connect(f"mqtt://127.0.0.1:{source.port}") as client:
                while lane not in self._open:
                    await client.publish(lane, b"-1", qos=1)
                    await asyncio.sleep(0.05)

    async def _publish(self, lane: str) -> None:
        side = self._here if lane.startswith("out") else self._there
        url = f"mqtt://127.0.0.1:{side.port}"
        number = 0
        async with curier.connect(url, client_id=f"p-{lane}", **STAYS) as client:  # type: ignore[arg-type]
            while not self._is_over:
                await client.publish(lane, b"%d" % number, qos=int(lane[-1]))
                self.promised[lane].append(number)
                number += 1

    async def _take(self, lane: str) -> None:
        side = self._there if lane.startswith("out") else self._here
        url = f"mqtt://127.0.0.1:{side.port}"
        stays = {**STAYS, "clean_start": False}
        async with curier.connect(url, client_id=f"s-{lane}", **stays) as client:  # type: ignore[arg-type]
            async with client.subscribe(lane, qos=2, keep=True) as stream:
                async for message in stream:
                    self._open.add(lane)
                    if message.payload != b"-1":
                        self.arrived[lane].append(int(message.payload))


async def main() -> None:
    """Rounds until there are enough."""
    seed, rounds = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        play = BridgeRounds(seed, rounds, Path(folder))
        try:
            await play.play()
        finally:
            for lane in LANES:
                told = f"{len(play.promised[lane])} promised, {play.doubles(lane)} doubles"
                sys.stdout.write(f"{lane}: {told}\n")
            sys.stdout.write(f"{play.kills} kills\n")


if __name__ == "__main__":
    asyncio.run(main())
