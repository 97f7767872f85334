"""Clients that watch deadlines in a play: who leaves wills with a delay, and whose messages expire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final, TypeVar

from curier.verify.caller import Caller
from curier.verify.ledger import Fault
from curier.verify.peer import Peer
from tests.crash.deadlines import Brief, Lag, Leaver, ask, held_for, judge_delays, judge_expiry

P = TypeVar("P", bound=Peer)

COMERS: Final = 4
LATER_SECONDS: Final = 12.0  # some are away for longer than their wills wait
RECOVERED_SECONDS: Final = 20.0  # an election, and a node that looks for another server
ENDS: Final = 3  # seconds, of sessions that end before their wills are due


class Timed:
    """``call`` gives a peer a network. Comers come and go as long as the play lasts; a goer comes for one
    round, and never again. Messages go to one receiver that is there, and to one that is away at times.
    """

    def __init__(self, prefix: str, seed: int, call: Callable[[Peer, bool], Caller]) -> None:
        self.dice = Random(seed)
        self.lag = Lag()
        self.outages: list[tuple[float, float]] = []  # times in which nothing could be written somewhere
        self._prefix = prefix
        self._call = call
        self.leavers: list[Leaver] = []
        self.goers: list[Caller] = []
        topics = f"{prefix}/brief"
        self.sender = self._named(Brief("brief", [], self.dice, topics))
        self.receivers = [
            self._named(Brief(name, [(f"{topics}/#", 2)], self.dice)) for name in ("there", "asleep")
        ]
        kept = [(f"{topics}/kept/#", 1)]  # for who comes last of all
        self.looker = self._named(Brief("looker", kept, self.dice, is_durable=False))
        self.callers = [call(peer, False) for peer in (self.sender, *self.receivers)]
        for caller in self.callers:
            caller.breaks_off = True
        self._tasks: list[asyncio.Task[None]] = []

    def _named(self, peer: P) -> P:
        peer.client_id = f"{self._prefix}-{peer.name}"
        return peer

    def _leaver(self, name: str, ends: int, once: bool) -> Caller:
        leaver = self._named(Leaver(name, f"{self._prefix}/will/later", self.dice, ends))
        self.leavers.append(leaver)
        caller = self._call(leaver, once)
        caller.speak = ask
        return caller

    def start(self) -> None:
        """Comers come. ``stop`` ends that."""
        wait = [self._come_and_go(self._leaver(f"comer{number}", 0, False)) for number in range(COMERS)]
        self._tasks = [asyncio.create_task(one) for one in (*wait, self._doze(), self.lag.run())]

    def goer(self) -> Caller:
        """One that is to be run for a round; its session may end before its will is due."""
        ends = self.dice.choice((0, ENDS))
        self.goers.append(self._leaver(f"goer{len(self.goers) + 1}", ends, True))
        return self.goers[-1]

    async def _come_and_go(self, caller: Caller) -> None:
        running = asyncio.create_task(caller.run())
        try:
            while not running.done():
                await asyncio.sleep(self.dice.uniform(0.5, 6.0))
                caller.leave()
                most = self.dice.choice((0.5, 0.5, LATER_SECONDS))
                await asyncio.sleep(self.dice.uniform(0.0, most))
                caller.come_back()
            running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _doze(self) -> None:
        sleeper = self.callers[-1]
        while True:
            sleeper.come_back()
            await asyncio.sleep(self.dice.uniform(0.0, 4.0))
            sleeper.leave()
            await asyncio.sleep(self.dice.uniform(0.0, 6.0))

    async def stop(self) -> None:
        """Comers have left for good. Raises what went wrong."""
        ending, self._tasks = self._tasks[:-1], self._tasks[-1:]  # how far this process is behind stays seen
        for task in ending:
            task.cancel()
        for found in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(found, Exception):
                raise found

    def has_outage(self, seconds: float) -> None:
        """From now on; and until all has recovered."""
        self.outages.append((time.time(), time.time() + seconds + RECOVERED_SECONDS))

    @property
    def most_held(self) -> float:
        """How late a message was at most that had been begun in time, in an outage."""
        late = [0.0]
        for receiver in self.receivers:
            for payload, arrivals in receiver.came.items():
                sent = self.sender.sent[payload]
                ends = sent.acknowledged_at + self.sender.spans[payload]
                if sent.is_acknowledged:
                    late += [
                        one.at - ends
                        for one in arrivals
                        if not one.is_again and held_for(one, ends, self.outages)
                    ]
        return max(late)

    def close(self) -> None:
        """Whatever runs yet, runs no more."""
        for task in self._tasks:
            task.cancel()

    def judge_wills(self, came: Mapping[str, float]) -> Iterator[Fault]:
        """``came``: when each will first came, by topic."""
        for leaver in self.leavers:
            yield from judge_delays(leaver.stays, came)

    def judge_expiry(self, rest_at: float) -> Iterator[Fault]:
        """``rest_at``: when there was nothing more to come."""
        for receiver in self.receivers:
            yield from judge_expiry(self.sender, receiver, self.lag, rest_at, self.outages)
        yield from judge_expiry(
            self.sender, self.looker, self.lag, 0.0, self.outages
        )  # it gets what is retained alone

    def __str__(self) -> str:
        stays = sum(1 for one in self.leavers for stay in one.stays if stay.welcome_at)
        gone = sum(
            1
            for payload, sent in self.sender.sent.items()
            if sent.is_acknowledged and not sent.retain and payload not in self.receivers[-1].came
        )
        return (
            f"{stays} connections with a will that waits, {self.sender.promised} messages that expire, "
            f"{gone} of them before {self.receivers[-1].name!r} could have them, held beyond their time "
            f"for {self.most_held:.1f} s at most, lag {self.lag.most:.2f} s"
        )
