"""What the parts of a node stand on: time, timers, questions and their answers."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Final

from curier.cluster.formats import FIRST
from curier.cluster.orders import (
    AskLast,
    AskNeeds,
    AskOwners,
    AskRelease,
    AskSessions,
    AskSize,
    Died,
    Fetch,
    Look,
    Need,
    Order,
    PutAhead,
    Write,
)
from curier.cluster.records import Boot, Origin, Value

STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now

Written = Callable[[str, int], None]
Looked = Callable[[int, Value | None], None]


class Ground:
    """``now`` is monotonic and this node's own; ``wall`` is the time of day, both in seconds."""

    def __init__(self, name: str, partitions: int, random: Callable[[], float]) -> None:
        self.boot = Boot(name, 0)  # ``life`` says which life it is
        self.partitions = partitions
        self.random = random
        self.now = 0.0
        self.wall = 0.0
        self.applied = [0] * partitions  # how far each partition was read
        self.orders: list[Order] = []
        self.messages = 0  # of this node, so far
        self.is_trusted = False  # may it speak for the cluster to its clients?
        self.is_dead = False
        self.format = FIRST  # what is written, since all others read it: see ``formats``
        self.touched: set[str] = set()  # sessions here that may need what they have not said (``floors``)
        self._readers: list[Callable[[], None]] = []
        self._answers: dict[int, Callable[..., None]] = {}
        self._tokens = 0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []

    def next_origin(self) -> Origin:
        """That of one more message."""
        self.messages += 1
        return self.boot.name, self.boot.number, self.messages

    def set_time(self, now: float, wall: float) -> None:
        self.now, self.wall = now, wall

    def put_ahead(self, seconds: float) -> None:
        """The clock of the day, which is behind."""
        self.orders.append(PutAhead(seconds))

    def saw(self, format: int) -> None:
        """That format is written: nothing is written in an older one any more."""
        self.format = max(self.format, format)

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Call that at ``when``, by ``now``."""
        self._tokens += 1
        heapq.heappush(self._timers, (when, self._tokens, do))

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def next_turn(self, do: Callable[[], None]) -> None:
        """Go on with what is long, when others have had their turn."""
        self.later(STEP_PAUSE, do)

    def soon(self, do: Callable[[], None]) -> None:
        """Try again: a moment, not the same for all."""
        self.later(0.05 + 0.1 * self.random(), do)

    def when_read(self, do: Callable[[], None]) -> None:
        """Call that when more of the log has been read."""
        self._readers.append(do)

    def tell_readers(self) -> None:
        """What was read has been given to everybody."""
        readers, self._readers = self._readers, []
        for do in readers:
            do()

    @property
    def deadline(self) -> float | None:
        return self._timers[0][0] if self._timers else None

    def run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now and not self.is_dead:
            heapq.heappop(self._timers)[2]()

    def write(self, stream: int, subject: str, value: Value, expected: int, then: Written) -> None:
        self.orders.append(Write(self._token(then), stream, subject, value, expected, self.format))

    def look(self, stream: int, subject: str, then: Looked) -> None:
        self.orders.append(Look(self._token(then), stream, subject))

    def ask_last(self, partition: int, then: Callable[[int], None]) -> None:
        self.orders.append(AskLast(self._token(then), partition))

    def fetch(
        self, partition: int, after: int, upto: int, then: Callable[[Sequence[tuple[int, Value]]], None]
    ) -> None:
        self.orders.append(Fetch(self._token(then), partition, after, upto))

    def ask_owners(self, then: Callable[[Sequence[Boot]], None]) -> None:
        self.orders.append(AskOwners(self._token(then)))

    def ask_sessions(self, owner: Boot, then: Callable[[Sequence[str]], None]) -> None:
        self.orders.append(AskSessions(self._token(then), owner))

    def ask_needs(self, since: int, then: Callable[[Sequence[Need]], None]) -> None:
        self.orders.append(AskNeeds(self._token(then), since))

    def ask_size(self, partition: int, then: Callable[[int, int, int], None]) -> None:
        self.orders.append(AskSize(self._token(then), partition))

    def ask_release(self, node: Boot, session: str, then: Callable[[], None]) -> None:
        self.orders.append(AskRelease(self._token(then), node, session, self.format))

    def answer(self, token: int, *answer: object) -> None:
        """The answer to a question. Who comes second, or to a node that is dead, is not heard."""
        then = self._answers.pop(token, None)
        if then is not None and not self.is_dead:
            then(*answer)

    def die(self, why: str = "") -> None:
        """Nothing that comes is heard any more. With words it has no second life."""
        if not self.is_dead:
            self.orders.append(Died(why))
        self.is_dead, self.is_trusted = True, False
        self._timers, self._readers = [], []
        self._answers.clear()

    def _token(self, then: Callable[..., None]) -> int:
        self._tokens += 1
        self._answers[self._tokens] = then
        return self._tokens
