"""When certificates are asked for: at two thirds of their life, and after failures later and later.

What was tried is on disk before it is tried. So a broker, or a machine, that starts over and over asks no
more often than one that runs.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from curier.acme import files
from curier.acme.certificate import present, renewal_time
from curier.acme.order import MOST_RETRY_SECONDS, Order
from curier.acme.plan import Plan
from curier.acme.words import KNOWN, explain

FIRST_WAIT: Final = 60.0
GROWTH: Final = 5.0
MOST_WAIT: Final = 6 * 3600.0
"""Seconds after one failure, after the next, and at most. Let's Encrypt takes five failures an hour."""

LEAST_BETWEEN: Final = 3600.0
"""Between two certificates, whatever their life."""

MOST_SLEEP: Final = 600.0
"""Then the clock is looked at again, which may have been set, or have slept."""

Tell = Callable[[str, str], None]


class Keeper:
    """Keeps certificates new. ``tell`` has a level and a line for the log."""

    def __init__(
        self,
        plans: Sequence[Plan],
        tell: Tell,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plans: Final = plans
        self._tell: Final = tell
        self._clock: Final = clock
        self._sleep: Final = sleep
        self._not_before: Final[dict[Plan, float]] = {}  # as on disk, where that can be written

    def run(self) -> None:
        """Until the process ends."""
        while True:
            self._sleep(self.step())

    def step(self) -> float:
        """Try what is due. Returns seconds until something may be."""
        for plan in self._plans:
            if self.due(plan) <= self._clock():
                self._try(plan)
        first = min(self.due(plan) for plan in self._plans)
        return min(max(0.0, first - self._clock()), MOST_SLEEP)

    def due(self, plan: Plan) -> float:
        """When the certificate is to be asked for, in seconds since 1970."""
        until = self._not_before.get(plan, 0.0)
        try:
            state = files.read_json(_state(plan))
            kept, came = state.get("not_before"), state.get("came")
            if not isinstance(came, int | float) or came > self._clock():
                came = 0.0
            wanted = renewal_time(present(plan), plan.names, came)
        except OSError as error:
            self._tell("ERROR", f"{plan.names[0]}: {explain(error, plan.directory)}")
            until = self._not_before[plan] = self._clock() + MOST_SLEEP
            return until
        if isinstance(kept, int | float) and kept <= self._clock() + MOST_RETRY_SECONDS * 1.1:
            until = max(until, kept)  # one further away is of a clock that was wrong
        return max(wanted, until)

    def _try(self, plan: Plan) -> None:
        tries = files.read_json(_state(plan)).get("failures")
        tries = tries + 1 if isinstance(tries, int) else 1
        wait = min(FIRST_WAIT * GROWTH ** min(tries - 1, 10), MOST_WAIT) * random.uniform(1.0, 1.2)
        order = None
        try:
            self._keep(plan, tries, wait)
            self._tell("INFO", f"{plan.names[0]}: asking {plan.directory} for a certificate")
            order = Order(plan, self._clock)
            order.obtain()
            self._keep(plan, 0, LEAST_BETWEEN, came=self._clock())
        except Exception as error:
            if not isinstance(error, KNOWN):  # nobody has thought of it: later it may work all the same
                traceback.print_exc()
            if order is not None and order.retry_after > wait:
                wait = order.retry_after
            self._failed(plan, explain(error, plan.directory), tries, wait)
            return
        found = present(plan)
        assert found is not None
        self._tell(
            "INFO",
            f"{plan.names[0]}: a certificate for {', '.join(plan.names)} has come, valid until "
            f"{found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
        )

    def _keep(self, plan: Plan, failures: int, wait: float, why: str = "", came: float | None = None) -> None:
        until = self._not_before[plan] = self._clock() + wait
        if came is None:
            came = files.read_json(_state(plan)).get("came")
        files.write_json(_state(plan), {"failures": failures, "not_before": until, "why": why, "came": came})

    def _failed(self, plan: Plan, why: str, tries: int, wait: float) -> None:
        try:
            self._keep(plan, tries, wait, why)
        except OSError as error:
            why = f"{why}; {error}"
        when = datetime.fromtimestamp(self._clock() + wait, UTC)
        self._tell(
            "ERROR",
            f"{plan.names[0]}: no new certificate: {why}. The present one stays; the next try is at "
            f"{when:%Y-%m-%d %H:%M:%S} UTC (sooner: remove {_state(plan)} and restart)",
        )


def _state(plan: Plan) -> Path:
    return plan.folder / "tried.json"
