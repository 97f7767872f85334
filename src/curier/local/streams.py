"""What the engine keeps: streams in memory, with the last of each subject.

A write is stored, under the condition it names, or not; a stream has one order, counted from 1.
"""

from __future__ import annotations

import zlib
from typing import Final

Entry = tuple[int, bytes]
Owner = tuple[str, int]

SHELVES: Final = 1 << 14
PIECE: Final = 4096  # entries


class Latest:
    """A stream of which the last of each subject is enough: leases, and records of sessions."""

    def __init__(self) -> None:
        self.last = 0
        self.size = 0
        self.owned: dict[Owner, set[str]] = {}
        self.given_up: dict[str, tuple[int, ...]] = {}  # what those need of the log
        self._values: dict[str, Entry] = {}  # in the order of their sequences
        self._owners: dict[str, Owner] = {}
        self._gone = [0] * SHELVES  # sequences up to which values of a shelf are not kept

    def __len__(self) -> int:
        return len(self._values)

    def find(self, subject: str) -> tuple[int, bytes | None]:
        """The last of a subject. One that is not kept any more, or never was, has the sequence of the
        last one gone from its shelf: who knows an older one is refused, as it would be if all were kept.
        """
        found = self._values.get(subject)
        return found if found is not None else (self._gone[_shelf(subject)], None)

    def store(
        self,
        subject: str,
        expected: int,
        value: bytes,
        owner: Owner | None = None,
        is_over: bool = False,
        behind: tuple[int, ...] | None = None,
    ) -> int:
        """Its sequence; 0: refused. One that ``is_over`` is stored, and not kept; one with ``behind`` was
        given up by its owner, and needs that.
        """
        if self.find(subject)[0] != expected:
            return 0
        self.last += 1
        former = self._values.pop(subject, None)
        self.size += len(value) - (len(former[1]) if former is not None else 0)
        self._belongs(subject, None if is_over else owner)
        self.given_up.pop(subject, None)
        if behind is not None and not is_over:
            self.given_up[subject] = behind
        if is_over:
            self.size -= len(value)
            self._gone[_shelf(subject)] = self.last
        else:
            self._values[subject] = (self.last, value)
        return self.last

    def needs(self) -> list[tuple[str, Owner, bool, tuple[int, ...]]]:
        """What was given up needs; and who owns anything else."""
        found = [(name, self._owners[name], True, behind) for name, behind in self.given_up.items()]
        having = [owner for owner, names in self.owned.items() if not names <= self.given_up.keys()]
        return [*found, *(("", owner, False, ()) for owner in having)]

    def remove(self, before: int) -> None:
        """Forget what is older."""
        for subject, (sequence, value) in [*self._values.items()]:
            if sequence >= before:
                return
            self.size -= len(value)
            del self._values[subject]

    def behind(self, after: int) -> list[Entry]:
        """The last of each subject that was stored behind ``after``."""
        found: list[Entry] = []
        for entry in reversed(self._values.values()):
            if entry[0] <= after:
                break
            found.append(entry)
        return found[::-1]

    def _belongs(self, subject: str, owner: Owner | None) -> None:
        former = self._owners.pop(subject, None)
        if former is not None:
            names = self.owned[former]
            names.discard(subject)
            if not names:
                del self.owned[former]
        if owner is not None:
            self._owners[subject] = owner
            self.owned.setdefault(owner, set()).add(subject)


class Log:
    """A partition: entries that are read in order, from any place that is left."""

    def __init__(self) -> None:
        self.first = 1  # the sequence of the first that is left
        self.size = 0
        self._values: list[tuple[bytes, int]] = []  # and who wrote it
        self._lasts: dict[str, Entry] = {}

    @property
    def last(self) -> int:
        return self.first + len(self._values) - 1

    def __len__(self) -> int:
        return len(self._values)

    def find(self, subject: str) -> tuple[int, bytes | None]:
        """The last of a writer; (0, None): there is none, or none is left."""
        return self._lasts.get(subject, (0, None))

    def store(self, subject: str, expected: int, value: bytes, writer: int) -> int:
        """Its sequence; 0: refused."""
        if self.find(subject)[0] != expected:
            return 0
        self._values.append((value, writer))
        self.size += len(value)
        sequence = self.last
        self._lasts[subject] = (sequence, value)
        return sequence

    def read(self, after: int, upto: int, most_bytes: int, reader: int = 0, own: int = 0) -> list[Entry]:
        """From behind ``after`` up to ``upto``, as far as ``most_bytes`` and ``PIECE`` go; one at
        least, if there is any. What
        ``reader`` wrote itself behind ``own`` has no bytes.
        """
        found: list[Entry] = []
        first, values, size = self.first, self._values, 0
        start = max(after + 1, first)
        for sequence in range(start, min(upto, self.last, start + PIECE - 1) + 1):
            value, writer = values[sequence - first]
            if writer == reader and sequence > own:
                found.append((sequence, b""))
                continue
            size += len(value)
            if found and size > most_bytes:
                break
            found.append((sequence, value))
        return found

    def cut(self, upto: int) -> None:
        """Forget what nobody needs."""
        count = min(upto, self.last) - self.first + 1
        if count > 0:
            self.size -= sum([len(value) for value, _ in self._values[:count]])
            del self._values[:count]
            self.first += count
            self._lasts = {one: last for one, last in self._lasts.items() if last[0] >= self.first}


def _shelf(subject: str) -> int:
    return zlib.crc32(subject.encode("utf-8", "surrogatepass")) % SHELVES
