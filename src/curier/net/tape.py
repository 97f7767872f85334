"""What was read from clients and written to them last, by reference: nobody looks at it until somebody asks.

One entry for each read and each write, however many Control Packets it has, so it costs next to nothing for
each of them; the bytes are there already, and stay for a while. ``curier.trace.past`` makes events of them.
What comes before a client is connected is not kept: its password is in there.

What is kept has a budget of rate: it is memory that is not used again at once, so other memory has to be
fetched; and nobody looks into the last thousand messages of a flood, which are two milliseconds. Time is cut
into slices. In each, everything is kept until the budget is spent; what comes then is not, up to the end of
the slice, and a ``Gap`` says so. So flows within a stretch are whole. While the budget is short each
connection has a share of it, which shrinks until the others are kept: the loudest have their gaps first, and
hide nobody.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from curier.broker.model import BrokerConnection
from curier.broker.mounting import Mount

MOST_ENTRIES: Final = 16 * 1024
MOST_BYTES: Final = 4 << 20
RATE: Final = 2 << 20  # bytes a second, with those that entries have besides: 10 000 small reads and writes
BURST: Final = 2 << 20  # bytes that may come at once
SLICE: Final = 0.1  # seconds
LEAST_SHARE: Final = 2048  # bytes that each connection may have in a slice, as long as there are any
LARGEST: Final = 16 * 1024  # bytes of one read or write that are kept whole
HEAD_BYTES: Final = 4096  # of what is larger, or is but the middle of a large packet
ENTRY_BYTES: Final = 160  # that an entry has besides its bytes

# What an entry is
CAME: Final = 0
WENT: Final = 1
ENDED: Final = 2
GAP: Final = 3

UNKNOWN: Final = -1
EVERYBODY: Final = 0  # no connection has this number

# What a connection has left in a slice, where it is nothing
SPENT: Final = -1  # and nothing has come since
MARKED: Final = -2  # and there is an entry that says so


@final
class Gone:
    """Who had a connection that has ended."""

    def __init__(self, connection: BrokerConnection) -> None:
        self.number: int = connection.number
        self.client_id: str = connection.client_id
        self.version: int = connection.version
        self.identity: str | None = connection.identity
        self.address: str = connection.address
        self.listener: str = connection.listener
        self.listener_name: str = connection.listener_name
        self.mount: Mount | None = connection.mount
        self.has_left: bool = connection.has_left
        self.size: int = len(self.client_id) + len(self.identity or "") + len(self.address) + 300


@final
class Gap:
    """Nothing is kept from here on ``until`` then: of a connection, or of ``EVERYBODY``."""

    def __init__(self, until: float, unkept: i64) -> None:
        self.until: float = until
        self.unkept: int = unkept  # reads and writes that were not kept before, in all


@final
class Entry:
    """What came or went by one connection at once: ``size`` bytes, of which ``data`` are the first.

    The first ``begun`` of them belong to a packet that began before, or it is ``UNKNOWN`` how many.
    """

    def __init__(self) -> None:
        self.next: Entry = self  # in the ring
        self.time: float = 0.0
        self.number: int = 0  # of the connection
        self.kind: i64 = CAME
        self.begun: i64 = 0
        self.size: i64 = 0
        self.data: bytes = b""
        self.about: Gone | Gap | None = None  # who it was that has ``ENDED``, or of a ``GAP``


@final
class Tape:
    """A ring of entries, which are used again: the oldest go when there are too many, or too many bytes.

    ``rate`` is in bytes a second, ``burst`` how many may come at once.
    """

    def __init__(
        self,
        most_entries: int = MOST_ENTRIES,
        most_bytes: int = MOST_BYTES,
        largest: int = LARGEST,
        rate: int = RATE,
        burst: int = BURST,
    ) -> None:
        self.bytes: i64 = 0
        self.lost: i64 = 0  # entries that have gone
        self.unkept: i64 = 0  # reads and writes that were not kept
        self._most_entries: i64 = most_entries
        self._most_bytes: i64 = most_bytes
        self._largest: i64 = largest
        self._newest: Entry = Entry()
        self._oldest: Entry = self._newest
        self._first: Entry = self._newest  # of those that were written in the turn that goes on
        self._unstamped: i64 = 0  # how many these are
        self._made: i64 = 1
        self._used: i64 = 0
        self._rate: float = float(rate)
        self._burst: i64 = burst
        self._left: i64 = burst  # of the budget
        self._share: i64 = burst  # of a connection in a slice
        self._fair: i64 = max(int(rate * SLICE), 1)  # of all of them in a slice
        self._slice_began: float = 0.0
        self._slice_ends: float = 0.0
        self._shut_until: float = 0.0  # the budget is spent
        self._is_marked: bool = False  # there is an entry that says so

    def entries(self) -> list[Entry]:
        """Those that are there, oldest first."""
        found = []
        entry = self._oldest
        for _ in range(self._used):
            found.append(entry)
            entry = entry.next
        return found

    def came(self, connection: BrokerConnection, data: bytes, now: float) -> None:
        """Bytes were read, and are not worked on yet."""
        if connection.server_session is None:
            return
        if now < self._shut_until or (connection.tape_left < 0 and now < connection.tape_until):
            self._pass(connection, now)
        elif not connection.is_closed():
            self._keep(connection, CAME, data, connection.begun(), now)

    def goes(self, connection: BrokerConnection, data: bytes, begun: i64, now: float) -> None:
        """Bytes are about to be written; ``stamp`` says when they were."""
        if connection.server_session is None:
            return
        if now < self._shut_until or (connection.tape_left < 0 and now < connection.tape_until):
            self._pass(connection, now)
            return
        self._keep(connection, WENT, data, begun, now)
        if not self._unstamped:
            self._first = self._newest
        self._unstamped += 1

    def ended(self, connection: BrokerConnection, now: float) -> None:
        """Nothing more comes or goes: who it was is known as long as anything of it is here."""
        if connection.server_session is not None:
            gone = Gone(connection)
            self.bytes += gone.size
            self._keep(connection, ENDED, b"", 0, now)
            self._newest.about = gone
            if not self._unstamped:
                self._first = self._newest
            self._unstamped += 1

    def stamp(self, now: float) -> None:
        """All that was written in this turn has been written now."""
        entry = self._first
        while self._unstamped > 0:
            if entry.kind != GAP:
                self._unstamped -= 1
                entry.time = now
            entry = entry.next

    def _keep(self, connection: BrokerConnection, kind: i64, data: bytes, begun: i64, now: float) -> None:
        size: i64 = len(data)
        if size > HEAD_BYTES and (size > self._largest or begun >= size):
            data = data[:HEAD_BYTES]
        if now >= self._slice_ends:
            self._begin_slice(now)
        if connection.tape_until != self._slice_ends:
            connection.tape_until = self._slice_ends
            connection.tape_left = self._share
        cost: i64 = len(data) + ENTRY_BYTES
        connection.tape_left -= cost
        if connection.tape_left < 0:
            connection.tape_left = SPENT
        self._left -= cost
        if self._left < 0 and self._shut_until != self._slice_ends:
            self._shut()
        self._add(connection.number, kind, data, size, begun, now)

    def _pass(self, connection: BrokerConnection, now: float) -> None:
        """Let go of what comes or goes, and mark where that begins."""
        if now < self._shut_until:
            if not self._is_marked:
                self._is_marked = True
                self._mark(EVERYBODY, self._shut_until, now)
        elif connection.tape_left != MARKED:
            connection.tape_left = MARKED
            self._mark(connection.number, connection.tape_until, now)
        self.unkept += 1

    def _mark(self, number: int, until: float, now: float) -> None:
        self._left -= ENTRY_BYTES
        self._add(number, GAP, b"", 0, 0, now)
        self._newest.about = Gap(until, self.unkept)

    def _begin_slice(self, now: float) -> None:
        """Some of the budget is there again. Where less than half of a burst is, shares get smaller."""
        gained: i64 = int(min(max(now - self._slice_began, 0.0) * self._rate, float(2 * self._burst)))
        self._left = min(self._left + gained, self._burst)
        if self._left < self._burst // 2:
            self._share = max(min(self._share, self._fair) * 3 // 4, LEAST_SHARE)
        elif self._share < self._burst:
            self._share = min(self._share * 5 // 4 + 1, self._burst)
        self._slice_began = now
        self._slice_ends = now + SLICE
        if self._left <= 0:
            self._shut()

    def _shut(self) -> None:
        self._shut_until = self._slice_ends
        self._is_marked = False

    def _add(self, number: int, kind: i64, data: bytes, size: i64, begun: i64, now: float) -> None:
        newest = self._newest
        entry = newest.next
        if self._used == self._made:
            if self._made < self._most_entries:
                entry = Entry()
                entry.next = newest.next
                newest.next = entry
                self._made += 1
            else:
                self._forget()
        if not self._used:
            self._oldest = entry
        entry.time = now
        entry.number = number
        entry.kind = kind
        entry.begun = begun
        entry.size = size
        entry.data = data
        self._newest = entry
        self._used += 1
        self.bytes += len(data) + ENTRY_BYTES
        while self.bytes > self._most_bytes and self._used:
            self._forget()

    def _forget(self) -> None:
        """Let go of the oldest."""
        entry = self._oldest
        self._oldest = entry.next
        self._used -= 1
        self.lost += 1
        self.bytes -= len(entry.data) + ENTRY_BYTES
        entry.data = b""
        about = entry.about
        if about is not None:
            if isinstance(about, Gone):
                self.bytes -= about.size
            entry.about = None
