"""What the tape of a broker (``net.tape``) still has, cut into whole Control Packets again.

Of each connection and direction the tape may begin in the middle of a packet. What comes before the first
byte of which it is known that a packet begins with it is passed over, and counted. So it is behind a gap,
where more went by than is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from curier.broker.model import BrokerConnection
from curier.net.tape import CAME, ENDED, EVERYBODY, GAP, SLICE, WENT, Gap, Gone, Tape
from curier.trace.framing import size_of

MOST_UNWRITTEN: Final = 1000  # pieces of one connection


class Owner:
    """Whose connection it is, or was; its Topic Aliases are as they are when this is made."""

    def __init__(self, number: int, of: BrokerConnection | Gone | None) -> None:
        self.number = number
        self.of = of
        self.connection = of if isinstance(of, BrokerConnection) else None
        self.version = of.version if of is not None else 0
        self.mount = of.mount if of is not None else None
        self.has_left = isinstance(of, Gone) and of.has_left
        self._came: dict[int, bytes] = {}
        self._goes: dict[int, bytes] = {}
        if self.connection is not None:
            self._came.update(self.connection.aliases)
            chosen = self.connection.topic_aliases or {}
            self._goes.update((alias, topic) for topic, alias in chosen.items())

    def topic_of(self, alias: int, to_server: bool) -> bytes:
        """What a Topic Alias stands for, whole; b"": unknown."""
        topic = (self._came if to_server else self._goes).get(alias, b"")
        return self.mount.name(topic) if topic and self.mount is not None else topic


class Cut:
    """A Control Packet, of which ``missing`` more bytes are not there; none at all: its connection ended."""

    __slots__ = ("data", "missing", "owner", "time", "to_server")

    def __init__(self, time: float, owner: Owner, to_server: bool, data: bytes, missing: int = 0) -> None:
        self.time = time
        self.owner = owner
        self.to_server = to_server
        self.data = data
        self.missing = missing


class Unkept:
    """Of what ``owner`` sent and was sent, None: of what anybody did, nothing is here from now on ``until``
    then.
    """

    __slots__ = ("owner", "time", "until")

    def __init__(self, time: float, until: float, owner: Owner | None) -> None:
        self.time = time
        self.until = until
        self.owner = owner


class _Stream:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.is_known = False  # is it known where packets begin?
        self.left = 0  # bytes to come of a packet that was given already
        self.waiting = bytearray()


class Rewinding:
    """A tape as it was when this was made; ``connections`` are those that are there, ``unwritten`` those
    whose output was not written yet, as it will be right away.

    ``since`` is when the oldest of it came or went, ``now`` where there is nothing; ``unread`` counts the
    bytes that were passed over, ``unkept`` the reads and writes since then that stood in gaps.
    """

    def __init__(
        self,
        tape: Tape,
        connections: dict[int, BrokerConnection],
        now: float,
        unwritten: Iterable[BrokerConnection] = (),
    ) -> None:
        entries = tape.entries()
        self.since = entries[0].time if entries else now
        self.is_whole = not tape.lost
        self.unread = 0
        self.unkept = 0
        self.owners: dict[int, Owner] = {}
        self._gaps: dict[int, Gap] = {}  # by the place of their entries
        self._rows: list[tuple[float, int, int, int, int, bytes]] = []
        for at, entry in enumerate(entries):  # in one go, and it may be many: an entry is used again
            number, about = entry.number, entry.about
            self._rows.append((entry.time, number, entry.kind, entry.begun, entry.size, entry.data))
            if isinstance(about, Gap):
                self._gaps[at] = about
            if (number not in self.owners or isinstance(about, Gone)) and number != EVERYBODY:
                of = about if isinstance(about, Gone) else connections.get(number)
                self.owners[number] = Owner(number, of)
        if self._gaps:
            self.unkept = tape.unkept - next(iter(self._gaps.values())).unkept
        # a gap that began before may go on where the first entry is
        self._may_be_in_gap = bool(tape.lost and tape.unkept)
        for connection in unwritten:
            if connection.server_session is not None and connection.output:
                data = b"".join(connection.output[:MOST_UNWRITTEN])
                self._rows.append((now, connection.number, WENT, 0, len(data), data))
                self.owners.setdefault(connection.number, Owner(connection.number, connection))
        self._streams: dict[tuple[int, bool], _Stream] = {}

    def cut(self) -> Iterator[Cut | Unkept | None]:
        """The packets and gaps, oldest first; None for each read or write."""
        if self._may_be_in_gap:
            yield Unkept(self.since, self.since + SLICE, None)
        for at, (time, number, kind, begun, size, data) in enumerate(self._rows):
            yield None
            if kind == GAP:
                yield self._gap(time, number, self._gaps[at])
                continue
            owner = self.owners[number]
            if kind == ENDED:
                yield Cut(time, owner, True, b"")
                continue
            to_server = kind == CAME
            stream = self._streams.setdefault((number, to_server), _Stream())
            for packet, missing in self._whole(stream, begun, size, data):
                yield Cut(time, owner, to_server, packet, missing)
        self._rows = []

    def _gap(self, time: float, number: int, gap: Gap) -> Unkept:
        """Nobody knows what the next bytes belong to."""
        if number == EVERYBODY:
            streams = [*self._streams.values()]
            self._streams.clear()
        else:
            both = (self._streams.pop((number, way), None) for way in (True, False))
            streams = [stream for stream in both if stream is not None]
        self.unread += sum(len(stream.waiting) for stream in streams)
        return Unkept(time, gap.until, self.owners[number] if number != EVERYBODY else None)

    def _whole(self, stream: _Stream, begun: int, size: int, data: bytes) -> Iterator[tuple[bytes, int]]:
        """Those that end in the ``size`` bytes that come next, of which ``data`` is here."""
        missing = size - len(data)
        if not stream.is_known:
            if not 0 <= begun < len(data):
                self.unread += size
                return
            self.unread += begun
            data = data[begun:]
            stream.is_known = True
        if stream.left:
            passed = min(stream.left, len(data) + missing)
            stream.left -= passed
            missing -= max(passed - len(data), 0)
            data = data[passed:]
        waiting = stream.waiting
        waiting += data
        at = 0
        while 0 < (length := size_of(waiting, at)) <= len(waiting) - at:
            yield bytes(waiting[at : at + length]), 0
            at += length
        del waiting[:at]
        if missing:
            yield from self._jump(stream, missing)

    def _jump(self, stream: _Stream, missing: int) -> Iterator[tuple[bytes, int]]:
        """So many bytes are not here: the rest of the packet that has begun, and what comes behind it."""
        length = size_of(stream.waiting, 0)
        waiting = bytes(stream.waiting)
        stream.waiting.clear()
        if not length:
            stream.is_known = False
            self.unread += len(waiting) + missing
            return
        rest = length - len(waiting)
        yield waiting, rest
        stream.left = max(rest - missing, 0)
        if missing > rest:
            stream.is_known = False
            self.unread += missing - rest
