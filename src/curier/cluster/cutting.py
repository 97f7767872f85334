"""The log is cut in front: when, by whom, and how far.

One node does it, the first by name of those that live; were it two, that would do no harm. What it finds out
stays true: nobody needs again what nobody needs. So an order to cut may come late, and from a dead node.

- It marks the records of sessions, and reads all that were there before the mark.
- Each node says in every renewal what those sessions need that it has, that are on their way to it, and that
  have left since the renewal before (``Lease.floors``). So a session that the reading found with an owner is
  in the first renewal which that one made behind the reading, or it has left before, and is in an earlier
  one. For that, two are awaited of each node behind one of the cutter's own that was made after the reading
  and has come by: the second of those was made after the first was stored.
- A session that was given up, and nobody has, needs what its record says.
- Where a session has an owner that does not live, nothing is cut: such a one may still write. Others take it
  before long.

Then the lowest of all these is it; what stands up to there may go once a snapshot of it is on the bus. One
entry stays, so that who asks for what was cut finds what came behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from curier.cluster.floors import lowest
from curier.cluster.ground import Ground
from curier.cluster.life import ALIVE, LASTS, Life
from curier.cluster.orders import SESSIONS, STORED, Cut, Need
from curier.cluster.records import Boot, Lease, Mark, Snapshot, Value
from curier.cluster.snapshots import Carried, Saving
from curier.frozen import dataclass

GIVES_UP: Final = 4 * LASTS  # seconds until what did not come to an end is begun anew


@dataclass(frozen=True, slots=True)
class Thrift:
    """When to cut: each ``every`` seconds it is looked whether ``entries`` of the log, or ``size`` bytes, and
    more than the last snapshot had, may go. A writer that is idle writes something where it is ``stride``
    entries behind.
    """

    every: float = 30.0
    entries: int = 100_000
    size: int = 64 << 20
    stride: int = 1000


THRIFT: Final = Thrift()


class Cutter:
    """``is_open`` tells whether this node may do anything at all; ``forget`` is called at each node, with a
    partition and up to where it is cut: that is gone, where an order to cut it may still be lost.
    """

    def __init__(
        self,
        ground: Ground,
        life: Life,
        carried: Sequence[Carried],
        thrift: Thrift,
        is_open: Callable[[], bool],
        forget: Callable[[int, int], None],
    ) -> None:
        self.first: list[int] = [1] * ground.partitions  # what is left of each partition begins there
        self.cuts = 0
        self.why_not = ""  # it did not come to one, the last time
        self._ground = ground
        self._life = life
        self._carried = carried
        self._thrift = thrift
        self._is_open = is_open
        self._forget = forget
        self._attempt: _Attempt | None = None
        self._saving: Saving | None = None
        self._count = 0

    def begin(self) -> None:
        """Look now and then whether there is something to be cut."""
        self._ground.later(self._thrift.every, self.begin)
        attempt = self._attempt
        if attempt is not None and self._ground.now - attempt.began > GIVES_UP:
            self._end(attempt.why_not())
        if self._attempt is None and self._saving is None and self._is_open():
            self._ask_sizes()

    def heard(self, sequence: int, lease: Lease) -> None:
        """A lease came by, and ``life`` knows it."""
        if self._attempt is not None:
            self._attempt.heard(sequence, lease)

    def _is_first(self) -> bool:
        living = [lease.boot.name for lease, _ in self._life.leases(self._ground.now) if not lease.is_over]
        return bool(living) and living[0] == self._ground.boot.name

    def _ask_sizes(self) -> None:
        found: dict[int, tuple[int, int, int]] = {}

        def told(partition: int, first: int, last: int, size: int) -> None:
            self._forget(partition, min(first - 1, self._ground.applied[partition]))
            found[partition] = (first, last, size)
            if len(found) == self._ground.partitions and self._attempt is None and self._saving is None:
                self._weigh([found[one] for one in range(self._ground.partitions)])

        for partition in range(self._ground.partitions):
            self._ground.ask_size(partition, partial(told, partition))

    def _weigh(self, sizes: Sequence[tuple[int, int, int]]) -> None:
        """What is left? And is it worth it to cut more?"""
        self.first = [max(1, first) for first, _, _ in sizes]
        if not self._is_first():
            return
        leases = [one for one, _ in self._life.leases(self._ground.now) if not one.is_over]
        if not all(one.floors for one in leases):
            return
        floors = lowest([one.floors for one in leases], self._ground.partitions)
        entries = size = 0
        for floor, (first, last, all_bytes) in zip(floors, sizes, strict=True):
            may_go = max(0, floor - max(1, first) + 1)
            entries += may_go
            size += all_bytes * may_go // max(1, last - first + 1)
        if entries >= self._thrift.entries or size >= self._thrift.size:
            self._count += 1
            self._attempt = _Attempt(self._ground, self._life, self._count, self._has_found, self._end)
            self._attempt.begin()

    def _end(self, why: str) -> None:
        if self._attempt is not None:
            self._attempt.is_over = True
        self._attempt, self.why_not = None, why

    def _has_found(self, floors: tuple[int, ...]) -> None:
        self._attempt = None
        if any(floor >= first for floor, first in zip(floors, self.first, strict=True)):
            boot = self._ground.boot
            name = f"{boot.name}.{boot.number}.{self._count}"
            self._saving = Saving(self._ground, self._carried, name, partial(self._saved, floors))
            self._saving.begin()

    def _saved(self, floors: tuple[int, ...], snapshot: Snapshot | None) -> None:
        self._saving = None
        if snapshot is None:
            return
        self.cuts, self.why_not = self.cuts + 1, ""
        for partition, floor in enumerate(floors):
            upto = min(floor, snapshot.places[partition] - 1)
            if upto >= self.first[partition]:
                self._ground.orders.append(Cut(partition, upto))
                self.first[partition] = upto + 1


class _Attempt:
    """To find out how far the log may be cut. ``found`` is called with that, or ``ended`` with why not."""

    def __init__(
        self,
        ground: Ground,
        life: Life,
        number: int,
        found: Callable[[tuple[int, ...]], None],
        ended: Callable[[str], None],
    ) -> None:
        self.began = ground.now
        self.is_over = False
        self._ground = ground
        self._life = life
        self._mark = Mark(ground.boot, number)
        self._subject = f"\0{ground.boot.name}"  # which no Client Identifier can be [MQTT-1.5.4-2]
        self._found = found
        self._ended = ended
        self._low: dict[Boot, list[tuple[int, ...]]] = {}  # what each node has said since it began
        self._needs: Sequence[Need] | None = None
        self._renewal = 0  # the last of this node's own before all were read
        self._since = 0  # sequence of the first that was made then
        self._behind: dict[Boot, int] = {}  # how many came behind that

    def begin(self) -> None:
        self._ground.look(SESSIONS, self._subject, self._looked)

    def _looked(self, sequence: int, value: Value | None) -> None:
        if self.is_over:
            return
        if value == self._mark:
            self._read(sequence)
        else:
            self._ground.write(SESSIONS, self._subject, self._mark, sequence, self._written)

    def _written(self, outcome: str, sequence: int) -> None:
        if outcome == STORED:
            self._read(sequence)
        else:
            self._ground.soon(self.begin)

    def _read(self, sequence: int) -> None:
        self._ground.ask_needs(sequence, self._told)

    def _told(self, needs: Sequence[Need]) -> None:
        if self._needs is None:
            self._needs = needs
            self._renewal = self._life.renewal

    def heard(self, sequence: int, lease: Lease) -> None:
        """A lease came by."""
        if not lease.is_over:
            self._low.setdefault(lease.boot, []).append(lease.floors)
        if self._needs is None:
            return
        if lease.boot == self._ground.boot and lease.renewal > self._renewal and not self._since:
            self._since = sequence
            self._behind[lease.boot] = 2
        elif self._since:
            self._behind[lease.boot] = self._behind.get(lease.boot, 0) + 1
        if self._since and not self._awaited():
            self._decide(self._needs)

    def _awaited(self) -> list[Boot]:
        """Living nodes that have not said enough yet."""
        leases = [one for one, _ in self._life.leases(self._ground.now) if not one.is_over]
        return [one.boot for one in leases if self._behind.get(one.boot, 0) < 2]

    def why_not(self) -> str:
        """What it waits for, in plain words."""
        names = ", ".join(sorted(one.name for one in self._awaited()))
        return f"node {names} does not renew its lease" if names and self._since else "NATS does not answer"

    def _decide(self, needs: Sequence[Need]) -> None:
        orphans = [one for one in needs if not one.is_released and self._life.standing(one.owner) != ALIVE]
        if orphans:
            self._ended(f"node {orphans[0].owner.name} does not live, and nobody has taken its sessions")
            return
        said = [floors for many in self._low.values() for floors in many]
        if not all(said):
            self._ended("a node has just joined")
            return
        released = [one.behind for one in needs if one.is_released]
        self._found(lowest([*said, *released], self._ground.partitions))
