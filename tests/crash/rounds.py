"""A real broker under load, killed with its store, or one without the other, again and again.

The clients are those of ``tests.store.peer`` with real sockets. They call again when the connection ends, at
times they hang up themselves; each keeps its own ledger. Nobody asks the broker what it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil

from curier.verify.ledger import judge_delivery, judge_retained
from curier.verify.peer import Peer
from tests.waiting import comes_to_rest, until

LISTENING = re.compile(r"listening on tcp://127\.0\.0\.1:(\d+)\n")
SECONDS_TO_SETTLE = 40.0


class BrokerProcess:
    """``curier broker`` on a data directory; it comes back on the port it had first."""

    def __init__(self, directory: Path, log: Path) -> None:
        self.directory = directory
        self.log = log
        self.port = 0
        self.popen: subprocess.Popen[str] | None = None

    def start(self, durability: str) -> None:
        command = [sys.executable, "-m", "curier", "broker", "--data", str(self.directory)]
        command += ["--listen", f"tcp://127.0.0.1:{self.port}", "--durability", durability]
        with self.log.open("a") as stderr:
            self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        found = LISTENING.fullmatch(line)
        if found is None:
            self.kill()
            raise AssertionError(f"the broker said {line!r}, and logged:\n{self.log.read_text()[-3000:]}")
        self.port = int(found[1])

    def store(self) -> psutil.Process | None:
        """The process of the store, where there is one now."""
        assert self.popen is not None
        children = psutil.Process(self.popen.pid).children()
        return children[0] if children else None

    def kill_store(self) -> None:
        store = self.store()
        if store is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                store.kill()

    def kill(self) -> None:
        if self.popen is not None:
            self.popen.kill()
            self._end()

    def stop(self) -> None:
        assert self.popen is not None
        self.popen.send_signal(signal.SIGTERM)
        self._end()

    def _end(self) -> None:
        assert self.popen is not None
        self.popen.wait(60)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        self.popen = None


class Caller:
    """A peer on the network: calls, and calls again, until it is told to stop."""

    def __init__(self, peer: Peer, broker: BrokerProcess, dice: Random, window: int) -> None:
        self.peer = peer
        self.broker = broker
        self.dice = dice
        self.window = window  # unfinished messages it may have; 0: it only listens
        self.speaks = False  # when all have subscribed
        self.breaks_off = True
        self.calls = 0

    async def run(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.broker.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            self.calls += 1
            try:
                self.peer.call()
                await self._talk(reader, writer)
            except OSError:
                pass
            finally:
                self.peer.hang_up()
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = self.peer
        while True:
            self._speak()
            data, peer.to_broker = peer.to_broker, b""
            writer.write(data)
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02 if self.speaks and self.window else 0.5):
                    received = await reader.read(1 << 16)
                    if not received:
                        return
                    peer.read(received)
            if self.breaks_off and self.dice.random() < 0.002:
                return

    def _speak(self) -> None:
        peer, dice = self.peer, self.dice
        if not (self.speaks and peer.is_welcome):
            return
        while len(peer.unfinished) < self.window:
            qos = dice.choice((1, 2))
            padding = 100_000 if dice.random() < 0.002 else dice.randrange(300)
            if dice.random() < 0.05:
                peer.publish(f"kept/{peer.name}", 1, True, padding)
            else:
                peer.publish(f"t/{peer.name}/{qos}", qos, False, padding)


class Rounds:
    """The whole play. ``tell`` is called with a line of how it stands, now and then."""

    def __init__(self, seed: int, directory: Path, tell: Callable[[str], None] | None = None) -> None:
        self.dice = Random(seed)  # who is killed, and when
        self.callers_dice = Random(seed)  # apart, for how often they are cast depends on the machine
        self.tell = tell
        self.broker = BrokerProcess(directory / "data", directory / "broker.log")
        self.kills = {"broker": 0, "store": 0, "both": 0, "stop": 0}
        self.round = 0
        self.senders = [
            Peer("durable4", 4, [], True),
            Peer("durable5", 5, [], True),
            Peer("fleeting", 5, [], False),
        ]
        self.receivers = [
            Peer("two", 5, [("t/#", 2)], True),
            Peer("one", 4, [("t/#", 1)], True),
            Peer("shared1", 5, [("$share/g/t/#", 2)], True),
            Peer("shared2", 5, [("$share/g/t/#", 2)], True),
        ]
        for receiver in self.receivers:
            receiver.sources = self.senders
        peers = [*self.senders, *self.receivers]
        self.callers = [
            Caller(peer, self.broker, self.callers_dice, 20 * (not peer.filters)) for peer in peers
        ]

    async def run(self, rounds: int) -> None:
        """Play so many rounds; raises ``AssertionError`` for a promise that was not kept."""
        await asyncio.to_thread(self.broker.start, "fsync")
        tasks = [asyncio.create_task(caller.run()) for caller in self.callers]
        try:
            await self._wait_for(lambda: all(peer.is_subscribed for peer in self.receivers), "subscriptions")
            for caller in self.callers:
                caller.speaks = True
            for self.round in range(1, rounds + 1):
                await asyncio.sleep(self.dice.uniform(0.0, 0.7))
                await self._kill(self.dice.choice(("broker", "broker", "store", "both", "stop")))
                self._check_tasks(tasks)
                self._report()
            await self._settle()
            self._check_tasks(tasks)
            await self._check()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self.broker.kill)

    async def _kill(self, whom: str) -> None:
        self.kills[whom] += 1
        if whom == "store":
            self.broker.kill_store()
            return
        if whom == "both":
            self.broker.kill_store()
        await asyncio.to_thread(self.broker.stop if whom == "stop" else self.broker.kill)
        await asyncio.to_thread(self.broker.start, self.dice.choice(("fsync", "os")))

    def _check_tasks(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            if task.done():
                task.result()

    async def _settle(self) -> None:
        """No more kills, no more messages: everything on its way arrives."""
        for caller in self.callers:
            caller.speaks = caller.breaks_off = False
        await self._wait_for(lambda: not any(peer.unfinished for peer in self.senders), "acknowledgements")
        all_got = comes_to_rest(lambda: sum(len(peer.got) for peer in self.receivers))
        await until(all_got, 1.0, SECONDS_TO_SETTLE)
        await self._wait_for(lambda: not any(peer.identifiers for peer in self.receivers), "PUBREL")

    async def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        try:
            await until(condition, 0.02, SECONDS_TO_SETTLE)
        except AssertionError:
            log = self.broker.log.read_text()[-3000:]
            raise AssertionError(f"no {what} within {SECONDS_TO_SETTLE:g} seconds:\n{log}") from None

    async def _check(self) -> None:
        kept = Peer("late", 5, [("kept/#", 1)], False)
        caller = Caller(kept, self.broker, self.callers_dice, 0)
        caller.breaks_off = False
        task = asyncio.create_task(caller.run())
        await self._wait_for(lambda: kept.is_subscribed, "SUBACK")
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        faults = [fault for caller in self.callers for fault in caller.peer.faults]
        for sender in self.senders:
            for receiver in self.receivers[:2]:
                faults += judge_delivery(sender, receiver.name, receiver.got, receiver.filters[0][1])
            both = [*self.receivers[2].got, *self.receivers[3].got]
            faults += judge_delivery(sender, "the group", both, 2, False)
            faults += judge_retained(sender, dict(kept.got))
            assert {*sender.refused} <= {0x83}
        assert not faults, faults[0].text
        log = self.broker.log.read_text()
        assert "Traceback" not in log, log[log.index("Traceback") :][:3000]

    @property
    def promised(self) -> int:
        return sum(sender.promised for sender in self.senders)

    def _report(self) -> None:
        if self.tell is not None:
            killed = ", ".join(f"{name} {count}" for name, count in self.kills.items())
            got = sum(len(peer.got) for peer in self.receivers)
            self.tell(f"round {self.round}: killed {killed}; {self.promised} acknowledged, {got} delivered")
