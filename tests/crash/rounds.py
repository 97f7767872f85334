"""Our own broker under load, killed with its store, or one without the other, or stopped, again and again.

The play is that of ``curier verify``; here more happens to the broker, and more clients take part.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil

from curier.verify.brokers import OwnBroker
from curier.verify.play import Plan, Play

SECONDS_A_ROUND = 0.35
SECONDS_TO_SETTLE = 40.0


class Rounds(Play):
    """The whole play. ``tell`` is called now and then."""

    def __init__(
        self, seed: int, rounds: int, directory: Path, tell: Callable[[Play], None] | None = None
    ) -> None:
        plan = Plan(
            rounds=rounds,
            seconds=rounds * SECONDS_A_ROUND,
            seed=seed,
            rate=0,
            patience=SECONDS_TO_SETTLE,
            prefix="crash",
        )
        self.own = OwnBroker(directory, "fsync", Random(seed))
        super().__init__(self.own, plan, tell)
        self.counts = {"broker": 0, "store": 0, "both": 0, "stop": 0}

    def cast(self, versions: tuple[int, ...]) -> None:
        super().cast(versions)
        filters = [(f"$share/g/{self.plan.prefix}/t/#", 2)]
        group = tuple(self.peer(f"shared{number}", 5, filters, True) for number in (1, 2))
        self.receivers += group
        self.groups.append(group)

    async def disturb(self) -> None:
        whom = self.dice.choice(("broker", "broker", "store", "both", "stop"))
        self.counts[whom] += 1
        if whom in ("store", "both"):
            self.kill_store()
        if whom == "store":
            return
        if whom == "stop":
            await self.own.end(lambda popen: popen.terminate())
        else:
            await self.own.kill_alone()
        self.kills.append(time.time())
        self.own.set_durability(self.dice.choice(("fsync", "os")))
        await self.start()

    def kill_store(self) -> None:
        """Kill the process of the store, where there is one now."""
        assert self.own.popen is not None
        for child in psutil.Process(self.own.popen.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()

    async def play(self) -> None:
        """Play it; raises ``AssertionError`` for a promise that was not kept."""
        await self.run()
        log = self.own.log.read_text()
        assert not self.unjudged, f"{self.unjudged}:\n{log[-3000:]}"
        faults = [*self.faults, *self.will_faults]
        assert not faults, "\n".join(fault.text for fault in faults[:10])
        for sender in self.senders:
            assert {*sender.refused} <= {0x83}
        assert "Traceback" not in log, log[log.index("Traceback") :][:3000]

    def __str__(self) -> str:
        killed = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        return (
            f"round {self.round}: killed {killed}; {self.promised} acknowledged, {self.delivered} delivered"
        )
