"""Who the members of Shared Subscriptions are (5.0 section 4.8.2), as of any place in the log.

That a session joins a group or leaves it stands in every partition of the log, so all nodes know the members
as of each message, and who gets it is a function of its place: nobody asks anybody, and an heir chooses as
the dead node did. The broker names the groups; a name ends with the whole Topic Filter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from curier.cluster.ground import Ground
from curier.cluster.records import HERE, OUT, Message, Piece, Share
from curier.topics.filters import matches, split_shared
from curier.topics.table import SubscriptionTable
from curier.topics.tree import Subscriber

GOLDEN: Final = 0x9E3779B9  # of 2 ** 32: its multiples lie evenly, whatever the step between two places is
MOST_TOPICS: Final = 10_000  # whose groups are remembered
START: Final = b"$share/"
PIECE_SIZE: Final = 128 * 1024  # bytes, about

Members = tuple[tuple[str, int], ...]
Changes = tuple[tuple[int, str, int], ...]
Membership = tuple[bytes, int, Members, Changes]
"""A group in one partition: up to which sequence all is in that; its members and what they are; and what has
changed, in the order of the log: the sequence, the member, what it was before.
"""


def filter_of(group: bytes) -> bytes:
    """What the Topic Names of its messages match."""
    return split_shared(group[group.index(START) :])[1]


def pick(ready: Sequence[str], sequence: int, index: int) -> str:
    """Who of them gets the message at that place; "": nobody."""
    if not ready:
        return ""
    return ready[(((sequence + index) * GOLDEN) & 0xFFFFFFFF) * len(ready) >> 32]


def _ready(members: dict[str, int]) -> list[str]:
    """Those who are here; if none is, all: then it waits for who comes back."""
    here = [name for name, state in members.items() if state == HERE]
    return sorted(here or members)


class _Group:
    """One group in one partition."""

    __slots__ = ("_ready", "changes", "known", "members")

    def __init__(self, known: int = 0, members: Members = (), changes: Changes = ()) -> None:
        self.known = known  # all up to there is in it, whether it has come by here or not
        self.members = dict(members)
        self.changes = [*changes]
        self._ready: list[str] | None = None

    @property
    def ready(self) -> list[str]:
        """Who may be chosen now."""
        if self._ready is None:
            self._ready = _ready(self.members)
        return self._ready

    def apply(self, sequence: int, member: str, state: int) -> bool:
        """Is that a change?"""
        before = self.members.get(member, OUT)
        if before == state or sequence <= self.known:
            return False
        self.changes.append((sequence, member, before))
        _set(self.members, member, state)
        self._ready = None
        return True

    def ready_at(self, sequence: int) -> list[str]:
        """As of that sequence; what it says itself counts."""
        if not self.changes or self.changes[-1][0] <= sequence:
            return self.ready
        members = {**self.members}
        for at, member, before in reversed(self.changes):
            if at <= sequence:
                break
            _set(members, member, before)
        return _ready(members)


def _set(members: dict[str, int], member: str, state: int) -> None:
    if state == OUT:
        members.pop(member, None)
    else:
        members[member] = state


class Groups:
    """All of them, as far as each partition was read."""

    def __init__(self, partitions: int) -> None:
        self._partitions: list[dict[bytes, _Group]] = [{} for _ in range(partitions)]
        self._changed: list[set[bytes]] = [set() for _ in range(partitions)]  # those with changes
        self._forgotten = [0] * partitions  # up to there it is not known who the members were
        self._present: dict[bytes, Subscriber] = {}  # those with members
        self._names: dict[int, bytes] = {}
        self._table: SubscriptionTable[Subscriber] = SubscriptionTable()
        self._topics: dict[bytes, list[bytes]] = {}
        self._numbers = 0

    def __len__(self) -> int:
        """How many have members."""
        return len(self._present)

    def apply(self, partition: int, sequence: int, shares: Sequence[Share]) -> list[tuple[bytes, bool]]:
        """These came by. Returns the groups that have members now and had none, with True; and the other way
        round.
        """
        for one in shares:
            group = self._partitions[partition].get(one.group)
            if group is None:
                group = self._partitions[partition][one.group] = _Group()
            if group.apply(sequence, one.member, one.state):
                self._changed[partition].add(one.group)
        return self._look_at({one.group for one in shares})

    def _look_at(self, names: set[bytes]) -> list[tuple[bytes, bool]]:
        changed: list[tuple[bytes, bool]] = []
        for name in sorted(names):
            found = [one[name] for one in self._partitions if name in one]
            is_there = any(one.members or (one.known and one.changes) for one in found)
            if is_there == (name in self._present):
                continue
            if is_there:
                self._numbers += 1
                subscriber = self._present[name] = Subscriber(self._numbers)
                self._names[self._numbers] = name
                self._table.add(filter_of(name), subscriber)
            else:
                number = self._present.pop(name).key
                del self._names[number]
                self._table.remove(filter_of(name), number)
            changed.append((name, is_there))
        if changed:
            self._topics.clear()
        return changed

    def state(self, partition: int, name: bytes, member: str) -> int:
        """What that session is in it, as far as the partition was read."""
        group = self._partitions[partition].get(name)
        return group.members.get(member, OUT) if group is not None else OUT

    def chosen(self, partition: int, sequence: int, index: int, message: Message) -> list[tuple[str, bytes]]:
        """Who gets a message that comes by now, each with its group."""
        found: list[tuple[str, bytes]] = []
        present = self._partitions[partition]
        for name in [message.group] if message.group else self.matching(message.topic):
            group = present.get(name)
            member = pick(group.ready_at(sequence), sequence, index) if group is not None else ""
            if member:
                found.append((member, name))
        return found

    def is_chosen(
        self, member: str, name: bytes, partition: int, sequence: int, index: int, message: Message
    ) -> bool:
        """Was that session the one of the group who is to get the message that stands there? Where that was
        cut while it was read: no, since nobody needed it any more.
        """
        if sequence <= self._forgotten[partition]:
            return False
        if message.group != name and (message.group or not matches(filter_of(name), message.topic)):
            return False
        group = self._partitions[partition].get(name)
        return group is not None and pick(group.ready_at(sequence), sequence, index) == member

    def matching(self, topic: bytes) -> list[bytes]:
        """The groups with members whose messages have such a Topic Name."""
        found = self._topics.get(topic)
        if found is None:
            if len(self._topics) >= MOST_TOPICS:
                self._topics.clear()
            found = sorted([self._names[one.key] for one in self._table.match(topic)])
            self._topics[topic] = found
        return found

    def any_of(self, name: bytes, partition: int, turn: int) -> str:
        """Who gets a message that stands nowhere; "": nobody."""
        group = self._partitions[partition].get(name)
        return pick(group.ready, turn, 0) if group is not None else ""

    # -- when the log is shortened

    def forget(self, partition: int, upto: int) -> list[tuple[bytes, bool]]:
        """Nobody reads that partition up to there again. Returns what ``apply`` does."""
        if upto <= self._forgotten[partition]:
            return []
        self._forgotten[partition] = upto
        present, changed = self._partitions[partition], self._changed[partition]
        done: set[bytes] = set()
        for name in changed:
            group = present[name]
            group.changes = [one for one in group.changes if one[0] > upto]
            if not group.changes:
                done.add(name)
                if not group.members:
                    del present[name]
        changed -= done
        return self._look_at(done)

    def export(self, partition: int, upto: int) -> list[Membership]:
        """All of a partition, which was read up to there, back to where it was forgotten."""
        return [
            (name, upto, tuple(group.members.items()), tuple(group.changes))
            for name, group in sorted(self._partitions[partition].items())
        ]

    def load(self, partition: int, memberships: Sequence[Membership]) -> list[tuple[bytes, bool]]:
        """What ``export`` gave, of groups that are not known yet; returns what ``apply`` does."""
        for name, known, members, changes in memberships:
            self._partitions[partition][name] = _Group(known, members, changes)
            if changes:
                self._changed[partition].add(name)
        return self._look_at({one[0] for one in memberships})

    def clear(self) -> list[tuple[bytes, bool]]:
        """Know nothing of any."""
        for one in self._partitions:
            one.clear()
        for names in self._changed:
            names.clear()
        self._forgotten = [0] * len(self._partitions)
        return self._look_at({*self._present})


class GroupPieces:
    """All of them, as a snapshot of the log carries them. ``know`` is told of those that have members now, or
    none any more.
    """

    kind = "groups"

    def __init__(self, ground: Ground, groups: Groups, know: Callable[[bytes, bool], None]) -> None:
        self._ground = ground
        self._groups = groups
        self._know = know

    def take(self) -> Iterator[Piece | None]:
        for partition in range(self._ground.partitions):
            found: list[object] = []
            size = 0
            for name, upto, members, changes in self._groups.export(
                partition, self._ground.applied[partition]
            ):
                found.append((name.decode(), upto, members, changes))
                size += 40 * (1 + len(members) + len(changes))
                if size > PIECE_SIZE:
                    yield Piece(self.kind, data=json.dumps((partition, found)).encode())
                    found, size = [], 0
            if found:
                yield Piece(self.kind, data=json.dumps((partition, found)).encode())
            yield None

    def load(self, piece: Piece) -> None:
        partition, found = json.loads(piece.data)
        memberships: list[Membership] = [
            (name.encode(), upto, tuple(map(tuple, members)), tuple(map(tuple, changes)))
            for name, upto, members, changes in found
        ]
        for name, is_there in self._groups.load(partition, memberships):
            self._know(name, is_there)

    def clear(self) -> None:
        for name, is_there in self._groups.clear():
            self._know(name, is_there)
