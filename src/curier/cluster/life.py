"""The lease of this node, and the end of those of others.

A node is trusted for three quarters of ``LASTS`` from the moment it *sent* a renewal that was stored. An heir
may call another dead after ``LASTS`` in which it saw no renewal though its own came by in the same feed, so
silence of the bus is nobody's death; and by a write that the renewal it did not see would make fail. Only
spans of each node's own monotonic clock count, whatever clocks of the day say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from curier.cluster.daytime import to_follow, to_join
from curier.cluster.formats import FIRST
from curier.cluster.ground import Ground
from curier.cluster.orders import LEASES, STORED, UNKNOWN
from curier.cluster.records import Boot, Lease, Value

LASTS: Final = 30.0
RENEWED: Final = LASTS / 6
TRUSTED: Final = LASTS * 3 / 4
RENEWALS: Final = 3
"""Of a lease that this node waits for: so many were no late writes, but are of a process that lives."""

ALIVE: Final = "alive"
DEAD: Final = "dead"
NOT_KNOWN: Final = "not known"


class Life:
    """``joined`` is called once this node has a lease, ``ended`` with each life that is seen to be over.
    ``floors`` is asked for those of a ``Lease``, and its holder, whenever one is made.
    """

    def __init__(
        self,
        ground: Ground,
        newest: int,
        joined: Callable[[], None],
        ended: Callable[[Boot], None],
        floors: Callable[[], tuple[tuple[int, ...], str]],
    ) -> None:
        self._ground = ground
        self._floors = floors
        self._newest = newest  # the format that can be read here
        self._writes = FIRST  # what is said of the format that is written
        self._nonce = 0  # of this life
        self._has_agreed = False
        self._last_wall = 0.0  # of the life before
        self._why_not = ""  # why this node may have no part
        self._joined = joined
        self._ended = ended
        self._others: dict[str, tuple[int, Lease]] = {}
        self._seen: dict[str, float] = {}  # when the last renewal of each came by
        self._sequence = 0  # of the lease as this node wrote it last
        self._lease: Lease | None = None
        self._renewing: Lease | None = None
        self._is_leaving = False
        self._sent: dict[int, float] = {}  # renewals on their way to the bus and back
        self._proved = 0.0  # when the last one that came back was sent
        self.trusted_until = 0.0  # by this node's own clock: how long it may speak for its sessions
        self._watched: tuple[int, float] | None = (
            None  # a former life of this name, and since when it is silent
        )
        self._renewals = 0  # of that, while this one waited for its end

    def begin(self) -> None:
        """Take the name: at once if it is free, else when its lease is over."""
        self._ground.look(LEASES, self._ground.boot.name, self._found_former)

    def leave(self) -> None:
        """Say that this life is over, if others may know of it. Its sessions are released already, or heirs
        take them.
        """
        self._is_leaving = True
        if self._lease is None and self._renewing is None:
            self._ground.die(self._why_not)
        self._renew()

    @property
    def is_name_taken(self) -> bool:
        """Does another process live that has the name of this node? It waits for the end of that one."""
        return self._lease is None and self._renewals >= RENEWALS

    def standing(self, boot: Boot) -> str:
        """``ALIVE``, ``DEAD``, or ``NOT_KNOWN`` while the feed has not brought that life yet."""
        if boot == self._ground.boot:
            return ALIVE
        known = self._others.get(boot.name)
        if known is None or known[1].boot.number < boot.number:
            return NOT_KNOWN
        lease = known[1]
        return DEAD if lease.boot.number > boot.number or lease.is_over else ALIVE

    def leases(self, now: float) -> list[tuple[Lease, float]]:
        """The last of each node, and how many seconds ago it came by here."""
        return [(lease, now - self._seen[name]) for name, (_, lease) in sorted(self._others.items())]

    @property
    def renewal(self) -> int:
        """The last one that was made."""
        lease = self._renewing or self._lease
        return lease.renewal if lease is not None else -1

    def came_by(self, sequence: int, lease: Lease) -> None:
        """A lease in the feed."""
        name = lease.boot.name
        known = self._others.get(name)
        if known is not None and known[0] >= sequence:
            return
        self._others[name] = (sequence, lease)
        self._seen[name] = self._ground.now
        if lease.boot == self._ground.boot and lease.nonce == self._nonce:
            self._proved_by(lease)
            self._agree(lease)
        if known is not None and known[1].boot != lease.boot and not known[1].is_over:
            self._ended(known[1].boot)
        if lease.is_over:
            self._ended(lease.boot)

    def check(self) -> None:
        """Is this node still to be trusted? Called before anything else is done."""
        if not self._ground.is_dead:
            self._ground.is_trusted = self._lease is not None and self._ground.now < self.trusted_until

    def _proved_by(self, lease: Lease) -> None:
        sent = self._sent.get(lease.renewal)
        if sent is None:
            return
        if sent - self._proved > LASTS / 2:  # the bus was away: others need time as well to be heard of again
            self._seen = dict.fromkeys(self._seen, self._ground.now)
        self._proved = sent

    def _may_join(self) -> None:
        """With a lease, and all leases known that stood before it."""
        if self._lease is not None and self._has_agreed:
            self._joined()

    def _agree(self, lease: Lease) -> None:
        """Which format may be written here, as of a renewal: all leases that stood before it are known.

        Who writes a newer one has said so in a renewal before, and found nobody in front of that who does not
        read it; whoever comes behind it sees that it stands there, and has no part if it cannot read it.
        """
        others = [one for _, one in self._others.values() if not one.is_over and one.boot != lease.boot]
        if not self._has_agreed:
            newest = max(others, key=lambda one: one.writes, default=lease)
            if newest.writes > self._newest:
                self._refuse(newest)
                return
        can = min([one.reads for one in others] + [self._newest])
        if lease.writes <= can:
            self._ground.saw(lease.writes)
        self._writes = max(self._ground.format, can)
        self._set_clock()
        if not self._has_agreed:
            self._has_agreed = True
            self._may_join()

    def _set_clock(self) -> None:
        ground = self._ground
        others = {name: lease for name, (_, lease) in self._others.items() if name != ground.boot.name}
        if self._has_agreed:
            living = [name for name, lease in others.items() if not lease.is_over and lease.wall]
            walls = [others[name].wall + ground.now - self._seen[name] for name in living]
            seconds = to_follow(ground.wall, walls)
        else:
            seconds = to_join(ground.wall, self._last_wall, others.values())
        if seconds:
            ground.put_ahead(seconds)

    def _refuse(self, other: Lease) -> None:
        self._why_not = (
            f"node {other.boot.name} writes format {other.writes}, and the curier of this node reads format "
            f"{self._newest} at most: run here the version that the other nodes run"
        )
        self.leave()

    def _found_former(self, sequence: int, value: Value | None) -> None:
        lease = value if isinstance(value, Lease) else None
        now = self._ground.now
        if lease is not None and not lease.is_over:
            if self._watched is None or self._watched[0] != sequence:
                self._renewals += self._watched is not None
                self._watched = (sequence, now)
            if now - self._watched[1] < LASTS:
                self._ground.later(RENEWED / 2, self.begin)
                return
        if lease is not None and lease.writes > self._newest:
            self._refuse(lease)
            return
        self._ground.boot = Boot(self._ground.boot.name, lease.boot.number + 1 if lease else 1)
        self._last_wall = lease.wall if lease else 0.0
        self._nonce = 1 + int(self._ground.random() * 2**53)
        self._sequence = sequence
        self._renewing = self._next(0)
        self._sent[0] = now
        self._write_renewal()

    def _write_renewal(self) -> None:
        if self._renewing is not None:
            self._ground.write(
                LEASES, self._ground.boot.name, self._renewing, self._sequence, self._written_renewal
            )

    def _written_renewal(self, outcome: str, sequence: int) -> None:
        if outcome == STORED:
            self._is_stored(sequence)
        elif outcome == UNKNOWN:
            self._ground.soon(self._write_renewal)  # the same again: only one of the two can be stored
        else:
            self._ground.look(LEASES, self._ground.boot.name, self._read_back)

    def _read_back(self, sequence: int, value: Value | None) -> None:
        if self._renewing is not None and self._renewing.is_same_as(value):
            self._is_stored(sequence)
        elif sequence <= self._sequence:  # an old answer
            self._ground.soon(self._write_renewal)
        elif self._lease is None:  # another process took the name
            self._renewing = None
            self._ground.later(RENEWED / 2, self.begin)
        else:
            self._ground.die()

    def _is_stored(self, sequence: int) -> None:
        lease, self._renewing = self._renewing, None
        assert lease is not None
        is_first, self._lease, self._sequence = self._lease is None, lease, sequence
        if lease.is_over:
            self._ground.die(self._why_not)
            return
        self.trusted_until = self._sent[lease.renewal] + TRUSTED
        self._sent = {n: sent for n, sent in self._sent.items() if n > lease.renewal - 5}
        self.check()
        if is_first:
            self._proved = self._sent[lease.renewal]
            self._may_join()
        if self._is_leaving:
            self._renew()
        else:
            self._ground.later(RENEWED, self._renew)
        if is_first:
            self._look_round()

    def _renew(self) -> None:
        if self._lease is not None and self._renewing is None:
            self._renewing = self._next(self._lease.renewal + 1)
            self._sent[self._renewing.renewal] = self._ground.now
            self._write_renewal()

    def _next(self, renewal: int) -> Lease:
        ground, (floors, holder) = self._ground, self._floors()
        formats = self._newest, self._writes
        wall = max(ground.wall, 0.0 if self._has_agreed else self._last_wall)  # before the clock is set
        return Lease(ground.boot, renewal, self._is_leaving, self._nonce, *formats, wall, floors, holder)

    def _look_round(self) -> None:
        """Call those dead that are."""
        for name, (sequence, lease) in self._others.items():
            is_silent = self._proved - self._seen[name] >= LASTS
            if is_silent and not lease.is_over and name != self._ground.boot.name:
                over = Lease(lease.boot, lease.renewal + 1, is_over=True, wall=lease.wall)
                self._ground.write(LEASES, name, over, sequence, _is_seen_in_the_feed)
        self._ground.later(RENEWED, self._look_round)


def _is_seen_in_the_feed(outcome: str, sequence: int) -> None:
    """Whatever became of it: the feed tells."""
