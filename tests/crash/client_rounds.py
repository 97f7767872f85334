"""Programs with their sessions on disk, and a real broker with its own; killed again and again, each of them.

The ledgers are what the programs themselves have written down (``tests.crash.program``), and that of a third
party that is never killed. What each may show after ``kill -9`` is said in ``check``.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from curier.verify.brokers import OwnBroker
from curier.verify.caller import Caller
from curier.verify.peer import Peer
from tests.waiting import comes_to_rest, until

SECONDS_TO_SETTLE = 90.0


class Program:
    """A program of ``tests.crash.program``, which is started again whenever it was killed."""

    def __init__(self, role: str, broker: OwnBroker, directory: Path) -> None:
        self.role = role
        self.broker = broker
        self.directory = directory
        self.popen: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.crash.program", self.role, str(self.broker.url.port)]
        with (self.directory / f"{self.role}.log").open("ab") as log:
            self.popen = subprocess.Popen([*command, str(self.directory)], stdout=log, stderr=log)

    def kill(self) -> None:
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait(60)
            self.kills += 1

    def check_alive(self) -> None:
        assert self.popen is not None
        if self.popen.poll() is not None:
            raise AssertionError(f"the {self.role} ended by itself:\n{self.said()}")

    def finish(self) -> None:
        """Wait for its end, which is to be one without complaint."""
        assert self.popen is not None
        try:
            code = self.popen.wait(SECONDS_TO_SETTLE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the {self.role} does not come to its end:\n{self.said()}") from None
        assert code == 0, self.said()

    def said(self) -> str:
        return (self.directory / f"{self.role}.log").read_text()[-3000:]

    def lines(self) -> list[str]:
        return (self.directory / f"{self.role}.ledger").read_text().splitlines()


class ClientRounds:
    """The whole play."""

    def __init__(self, seed: int, directory: Path, tell: Callable[[str], None] | None = None) -> None:
        self.dice = Random(seed)  # who is killed, and when
        self.callers_dice = Random(seed)  # apart, for how often they are cast depends on the machine
        self.directory = directory
        self.tell = tell
        self.broker = OwnBroker(directory, "fsync", self.dice)
        self.publisher = Program("publisher", self.broker, directory)
        self.taker = Program("taker", self.broker, directory)
        self.witness = Peer("witness", 5, [("t/#", 2)], True)
        self.round = 0
        self.kills = 0

    async def run(self, rounds: int) -> None:
        """Play so many rounds; raises ``AssertionError`` for a promise that was not kept."""
        await self.broker.start()
        caller = Caller(self.witness, self.broker, self.callers_dice)
        caller.breaks_off = True
        watching = asyncio.create_task(caller.run())
        try:
            self.taker.start()
            await self._until(lambda: self.witness.is_subscribed, "SUBACK")
            await asyncio.sleep(2.0)  # until the taker has subscribed
            self.publisher.start()
            for self.round in range(1, rounds + 1):
                await asyncio.sleep(self.dice.uniform(0.1, 1.2))
                await self._kill()
                if self.tell is not None:
                    self.tell(f"round {self.round}: {len(self.witness.got)} messages witnessed")
            await self._settle(watching)
            self.check()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            for program in (self.publisher, self.taker):
                program.kill()
            await self.broker.close()

    async def _kill(self) -> None:
        self.kills += 1
        whom = self.dice.choice(("publisher", "publisher", "taker", "taker", "broker", "all"))
        for program in (self.publisher, self.taker):
            program.check_alive()
            if whom in (program.role, "all"):
                program.kill()
        if whom in ("broker", "all"):
            await self.broker.kill()
            await self.broker.start()
            await self._until(lambda: self.witness.is_welcome, "CONNACK")
        for program in (self.publisher, self.taker):
            if whom in (program.role, "all"):
                program.start()

    async def _settle(self, watching: asyncio.Task[None]) -> None:
        """No more kills: everything accepted is delivered, and the programs end by themselves."""
        (self.directory / "stop").touch()
        await asyncio.to_thread(self.publisher.finish)
        if watching.done():
            watching.result()
        accepted = set(self.accepted)
        await self._until(lambda: accepted <= {int(payload) for _, payload in self.witness.got}, "rest")
        await until(comes_to_rest(lambda: len(self.taker.lines())), pause=2.0, patience=SECONDS_TO_SETTLE)
        (self.directory / "stop-taking").touch()
        await asyncio.to_thread(self.taker.finish)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            await until(condition, pause=0.02, patience=SECONDS_TO_SETTLE)
        except AssertionError:
            raise AssertionError(f"no {what} within {SECONDS_TO_SETTLE:g} seconds") from None

    @property
    def accepted(self) -> list[int]:
        return [int(line[2:]) for line in self.publisher.lines() if line.startswith("a ")]

    def check(self) -> None:
        """Compare the ledgers."""
        lines = self.publisher.lines()
        accepted = set(self.accepted)
        begun = {int(line[2:]) for line in lines if line.startswith("b ")}
        begun.add(len(begun) + 1)  # the last, which is in no ledger
        seen = [(topic[-1], int(payload)) for topic, payload in self.witness.got]
        self._check("the witness", seen, accepted, begun, set())
        taken: list[tuple[str, int]] = []
        on_the_edge: set[int] = set()  # killed between its line in the ledger and its acknowledgement
        for line in self.taker.lines():
            if line == "life":
                if taken:
                    on_the_edge.add(taken[-1][1])
            else:
                qos, number = line.split()
                taken.append((qos, int(number)))
        self._check("the taker", taken, accepted, begun, on_the_edge)

    def _check(
        self, who: str, got: list[tuple[str, int]], accepted: set[int], begun: set[int], edge: set[int]
    ) -> None:
        numbers = {number for _, number in got}
        lost = accepted - numbers
        assert not lost, f"{who} never got {sorted(lost)[:10]}, which were accepted"
        assert numbers <= begun, f"{who} got {sorted(numbers - begun)[:10]}, which nobody published"
        counts = Counter(number for qos, number in got if qos == "2")
        doubled = {number for number, count in counts.items() if count > 1} - edge
        assert not doubled, f"{who} got {sorted(doubled)[:10]} twice at QoS 2"
        for qos in "12":
            first = list(dict.fromkeys(number for one, number in got if one == qos))
            assert first == sorted(first), f"{who} got QoS {qos} out of order"
