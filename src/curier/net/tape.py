"""What was read from clients and written to them last, by reference: nobody looks at it until somebody asks.

One entry for each read and each write, however many Control Packets it has, so it costs next to nothing for
each of them; the bytes are there already, and stay for a while. ``curier.trace.past`` makes events of them.
What comes before a client is connected is not kept: its password is in there.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from curier.broker.model import BrokerConnection
from curier.broker.mounting import Mount

# What is kept is memory that is not used again at once, so other memory has to be fetched: more than a small
# part of a processor's cache would cost a flood up to a third of its speed.
MOST_ENTRIES: Final = 1024
MOST_BYTES: Final = 256 * 1024
LARGEST: Final = 16 * 1024  # bytes of one read or write that are kept whole
HEAD_BYTES: Final = 4096  # of what is larger, or is but the middle of a large packet
ENTRY_BYTES: Final = 160  # that an entry has besides its bytes

# What an entry is
CAME: Final = 0
WENT: Final = 1
ENDED: Final = 2

UNKNOWN: Final = -1


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
        self.gone: Gone | None = None  # who it was that has ``ENDED``


@final
class Tape:
    """A ring of entries, which are used again: the oldest go when there are too many, or too many bytes."""

    def __init__(
        self, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES, largest: int = LARGEST
    ) -> None:
        self.bytes: i64 = 0
        self.lost: i64 = 0  # entries that have gone
        self._most_entries: i64 = most_entries
        self._most_bytes: i64 = most_bytes
        self._largest: i64 = largest
        self._newest: Entry = Entry()
        self._oldest: Entry = self._newest
        self._first: Entry = self._newest  # of those that were written in the turn that goes on
        self._unstamped: i64 = 0  # how many these are
        self._made: i64 = 1
        self._used: i64 = 0

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
        if connection.server_session is not None and not connection.is_closed():
            self._keep(connection.number, CAME, data, connection.begun(), now)

    def goes(self, connection: BrokerConnection, data: bytes, begun: i64, now: float) -> None:
        """Bytes are about to be written; ``stamp`` says when they were."""
        if connection.server_session is not None:
            self._keep(connection.number, WENT, data, begun, now)
            if not self._unstamped:
                self._first = self._newest
            self._unstamped += 1

    def ended(self, connection: BrokerConnection, now: float) -> None:
        """Nothing more comes or goes: who it was is known as long as anything of it is here."""
        if connection.server_session is not None:
            gone = Gone(connection)
            self.bytes += gone.size
            self._keep(connection.number, ENDED, b"", 0, now)
            self._newest.gone = gone
            if not self._unstamped:
                self._first = self._newest
            self._unstamped += 1

    def stamp(self, now: float) -> None:
        """All that was written in this turn has been written now."""
        entry = self._first
        while self._unstamped > 0:
            self._unstamped -= 1
            entry.time = now
            entry = entry.next

    def _keep(self, number: int, kind: i64, data: bytes, begun: i64, now: float) -> None:
        size: i64 = len(data)
        if size > HEAD_BYTES and (size > self._largest or begun >= size):
            data = data[:HEAD_BYTES]
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
        if entry.gone is not None:
            self.bytes -= entry.gone.size
            entry.gone = None
