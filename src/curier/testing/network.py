"""A network in memory with virtual time: one broker, any number of clients, wires that are slow or break.

Everything runs curier's own core, client and broker, and nothing sleeps: ``run(seconds=3600)`` takes as long
as there is to do. All randomness comes from the ``random.Random`` that is passed in, so a run with the same
seed is the same run.

    network = Network(random=Random(7), latency=(0.01, 0.2), splits=True)
    client = SimulatedClient(network, "me")
    client.open()
    network.run(1)
    assert client.is_connected

``curier.testing.Pair`` has simpler ways to do the usual.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from curier.broker.options import Options
from curier.codec.decode import decode
from curier.codec.primitives import packet_end
from curier.testing.broker import Answers, Restore, SimulatedBroker, default_restore
from curier.testing.wire import Watcher, Wire

if TYPE_CHECKING:
    from curier.testing.client import SimulatedClient

BEGINNING = 1_700_000_000.0  # virtual time at first; any would do
Delay = float | tuple[float, float]  # seconds, or the least and the most of them


class Network:
    """Virtual time and all that happens in it.

    ``latency`` is that of a piece of bytes on its way, ``disk_latency`` that of making a batch durable, where
    the broker is ``durable``; ``answer_latency`` that of ``answers``, who authenticate and authorize. With
    ``splits`` bytes arrive in pieces of random sizes.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        random: Random | None = None,
        latency: Delay = 0.0,
        splits: bool = False,
        durable: bool = False,
        disk_latency: Delay = 0.0,
        answers: Answers | None = None,
        answer_latency: Delay = 0.0,
        restore: Restore = default_restore,
    ) -> None:
        self.now = BEGINNING
        self.random = random if random is not None else Random(0)
        self.latency = latency
        self.splits = splits
        self.clients: list[SimulatedClient] = []
        self.watchers: list[Watcher] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        if options is None:
            options = Options()
            options.sys_interval = 0.0  # nobody asked for $SYS
        self.broker = SimulatedBroker(self, options, durable, disk_latency, answers, answer_latency, restore)

    # ---- time ----

    def call_later(self, delay: Delay, call: Callable[[], None]) -> float:
        """Have ``call`` called after ``delay``; when that will be."""
        return self.call_at(self.now + self.draw(delay), call)

    def call_at(self, when: float, call: Callable[[], None]) -> float:
        """Have ``call`` called at ``when``, behind everything that is to happen then already."""
        heapq.heappush(self._events, (max(when, self.now), self.next_number(), call))
        return when

    def next_number(self) -> int:
        """A number that grows with every call."""
        self._serial += 1
        return self._serial

    def draw(self, delay: Delay) -> float:
        """A number of seconds for ``delay``."""
        return self.random.uniform(*delay) if isinstance(delay, tuple) else delay

    def run(self, seconds: float) -> None:
        """Let time pass, and do all that is due in it."""
        until = self.now + seconds
        while self._step(until):
            pass
        self.now = until

    def run_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time pass until ``condition`` holds. Raises ``TimeoutError`` if it does not in ``seconds``."""
        until = self.now + seconds
        while not condition():
            if not self._step(until):
                self.now = until
                raise TimeoutError(f"nothing happens any more, or not within {seconds:g} seconds")

    def settle(self) -> None:
        """Let time pass until no bytes, batches or answers are on their way; deadlines may be left."""
        while self._events:
            self._step(self._events[0][0])

    def _step(self, until: float) -> bool:
        """Do what is due next, if that is before ``until``; False where nothing is."""
        due: Callable[[], None] | None = None
        when = self._events[0][0] if self._events else float("inf")
        actors: list[SimulatedBroker | SimulatedClient] = [self.broker, *self.clients]
        for actor in actors:
            deadline = max(actor.next_deadline(), self.now)
            if deadline < when:
                when = deadline
                due = actor.deadline_reached
        if when > until or when == float("inf"):
            return False
        self.now = max(self.now, when)
        if due is None:
            due = heapq.heappop(self._events)[2]
        due()
        return True

    # ---- looking on ----

    def tell(self, wire: Wire, from_client: bool, data: bytes) -> None:
        """Whole packets leave one side: show them to the watchers."""
        if not self.watchers:
            return
        pos = 0
        while pos < len(data):
            end = packet_end(data, pos)
            packet = decode(data, pos, end, wire.version)
            for watcher in self.watchers:
                watcher.packet(wire, from_client, packet)
            pos = end
