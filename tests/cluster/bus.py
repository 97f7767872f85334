"""A bus that keeps its promises and not one more, in virtual time.

It keeps: a write is stored once or not, under the condition it names, and a stream has one order. All else
goes wrong: requests and answers are lost or come late, reads are old, feeds have holes, nodes are cut off.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from curier.cluster.floors import needs
from curier.cluster.orders import REFUSED, SESSIONS, SNAPSHOTS, STORED, UNKNOWN, Cut, Need, Sweep, Write
from curier.cluster.records import Boot, Piece, SessionRecord, Value

TIMEOUT: Final = 2.0


class Codec(Protocol):
    """What a version of curier reads and writes."""

    newest: int

    def encode(self, value: Any, name: str = "", format: int = 0) -> bytes: ...
    def decode(self, data: bytes) -> tuple[str, Any]: ...


@dataclass
class Weather:
    """How likely each misfortune is, and who is cut off now."""

    lost_request: float = 0.0
    lost_answer: float = 0.0
    late: float = 0.0  # the asker gives up, and the request arrives after that
    busy: float = 0.0  # "another write is in flight": nothing is stored
    stale: float = 0.0  # a read is from up to three seconds ago
    hole: float = 0.0  # a part of a feed is lost
    slow: float = 0.02  # seconds, at most, that anything takes
    cut_out: set[str] = field(default_factory=set)  # nothing that these say arrives
    cut_in: set[str] = field(default_factory=set)  # nothing is heard by these
    lagging: set[str] = field(default_factory=set)  # nothing of the log comes by at these
    is_down: bool = False  # no quorum


@dataclass
class Stream:
    """Its entries, and when each was stored. Those that were removed stay here, for the ledger: what is left
    begins at ``first``.
    """

    entries: list[tuple[int, str, Value]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    first: int = 1
    swept: int = 0  # pieces of snapshots before that are gone

    def length(self, then: float) -> int:
        """How many there were at that time."""
        return bisect_right(self.times, then)

    def last_of(self, subject: str, within: int) -> tuple[int, Value | None]:
        for at in range(within - 1, self.first - 2, -1):
            sequence, name, value = self.entries[at]
            if name == subject:
                return (0, None) if self._is_swept(sequence, value) else (sequence, value)
        return 0, None

    def _is_swept(self, sequence: int, value: Value) -> bool:
        return sequence < self.swept and isinstance(value, Piece)

    def left(self, after: int, upto: int) -> list[tuple[int, Value]]:
        """What is left of those behind ``after``, up to there."""
        return [(sequence, value) for sequence, _, value in self.entries[max(after, self.first - 1) : upto]]

    def remove(self, upto: int) -> list[str]:
        """... up to there; the subjects that have nothing left."""
        gone = {subject for _, subject, _ in self.entries[self.first - 1 : upto]}
        self.first = max(self.first, upto + 1)
        return [*gone - {subject for _, subject, _ in self.entries[self.first - 1 :]}]

    def sweep(self, before: int) -> list[str]:
        self.swept = max(self.swept, before)
        return [subject for sequence, subject, value in self.entries if self._is_swept(sequence, value)]


class Bus:
    """``Weather`` decides what becomes of requests; this, what they do when they arrive."""

    def __init__(self, partitions: int, random: random.Random) -> None:
        self.weather = Weather()
        self.random = random
        self.streams = {stream: Stream() for stream in (-1, -2, -3, *range(partitions))}
        self.lasts: dict[tuple[int, str], int] = {}
        self.data: dict[tuple[int, int], bytes] = {}  # what was written as bytes, by its place

    def arrives(self, write: Write, now: float, codec: Codec | None = None) -> tuple[str, int]:
        """A write, at the servers; with ``codec``, as the bytes that it makes of it."""
        if self.weather.is_down or self.happens(self.weather.busy):
            return UNKNOWN, 0
        if self.lasts.get((write.stream, write.subject), 0) != write.expected:
            return REFUSED, 0
        stream = self.streams[write.stream]
        sequence = len(stream.entries) + 1
        value = write.value
        if codec is not None:
            data = self.data[write.stream, sequence] = codec.encode(value, write.subject, write.format)
            value = codec.decode(data)[1]
        stream.entries.append((sequence, write.subject, value))
        stream.times.append(now)
        self.lasts[write.stream, write.subject] = sequence
        return STORED, sequence

    def removes(self, order: Cut | Sweep) -> None:
        """An order to do so, at the servers: of what is gone, the last sequence is 0."""
        if self.weather.is_down:
            return
        if isinstance(order, Cut):
            stream, gone = order.partition, self.streams[order.partition].remove(order.upto)
        else:
            stream, gone = SNAPSHOTS, self.streams[SNAPSHOTS].sweep(order.before)
        for subject in gone:
            self.lasts.pop((stream, subject), None)

    def needs(self, since: int, partitions: int, now: float) -> list[Need]:
        """What each session needs, as of then or later."""
        upto = max(since, self.seen(SESSIONS, now))
        found = {name: value for _, name, value in self.streams[SESSIONS].entries[:upto]}
        return [
            Need(name, one.owner, one.is_released, needs(one, partitions))
            for name, one in found.items()
            if isinstance(one, SessionRecord)
        ]

    def seen(self, stream: int, now: float) -> int:
        """How many entries a reader sees, who may be at a replica that is behind."""
        if self.happens(self.weather.stale):
            now -= 3.0 * self.random.random()
        return self.streams[stream].length(now)

    def owned(self, now: float) -> dict[str, SessionRecord]:
        """The last record of each session, as a reader sees it."""
        found: dict[str, SessionRecord] = {}
        for _, subject, value in self.streams[SESSIONS].entries[: self.seen(SESSIONS, now)]:
            if isinstance(value, SessionRecord):
                found[subject] = value
        return found

    def owners(self, now: float) -> list[Boot]:
        return sorted(
            {one.owner for one in self.owned(now).values()}, key=lambda boot: (boot.name, boot.number)
        )

    def happens(self, how_likely: float) -> bool:
        return how_likely > 0 and self.random.random() < how_likely
