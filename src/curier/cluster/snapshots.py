"""What the log has come to, kept beside it in pieces. Who joins reads those, and then what is left of it.

The pieces are made one after the other while the log goes on, so each is of a place of its own. That does no
harm: what came meanwhile stands in the log as well, and who reads it again comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

from curier.broker.model import LogMessage
from curier.cluster.ground import Ground
from curier.cluster.messages import as_read, as_sent
from curier.cluster.orders import SNAPSHOTS, STORED, UNKNOWN, Sweep
from curier.cluster.records import Message, Piece, Snapshot, Value

HEAD: Final = "head"
PIECE_BYTES: Final = 128 * 1024  # of messages, in one piece; or one message
READ_AT_ONCE: Final = 8


class Carried(Protocol):
    """What a snapshot has of one kind, such as what is retained."""

    @property
    def kind(self) -> str: ...

    def take(self) -> Iterator[Piece | None]:
        """All of it in pieces; None: there is more, but others may have a turn first. What changes between
        two steps may be in it or not.
        """

    def load(self, piece: Piece) -> None:
        """Have that too."""

    def clear(self) -> None:
        """Have nothing of it: another snapshot comes."""


class Kept(Protocol):
    """Retained messages of the broker."""

    def walk(self) -> Iterator[list[LogMessage]]: ...
    def load(self, messages: Sequence[LogMessage]) -> None: ...
    def clear(self) -> None: ...


class RetainedPieces:
    """Retained messages, as a snapshot carries them."""

    kind = "retained"

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def take(self) -> Iterator[Piece | None]:
        messages: list[Message] = []
        size = 0
        for some in self._kept.walk():
            for one in some:
                message = as_sent(("", 0, 0), one.client_id, one.message, one.message.written_at)
                weight = len(message.topic) + len(message.payload) + len(message.properties) + 64
                if messages and size + weight > PIECE_BYTES:
                    yield Piece(self.kind, tuple(messages))
                    messages, size = [], 0
                messages.append(message)
                size += weight
            yield None
        if messages:
            yield Piece(self.kind, tuple(messages))

    def load(self, piece: Piece) -> None:
        self._kept.load(as_read(piece.messages))

    def clear(self) -> None:
        self._kept.clear()


class Loading:
    """``loaded`` is called with the snapshot that is on the bus, None: there is none. It may be an old one,
    which shows where the log begins behind it: then ``begin`` again.
    """

    def __init__(
        self, ground: Ground, carried: Sequence[Carried], loaded: Callable[[Snapshot | None], None]
    ) -> None:
        self._ground = ground
        self._carried = {one.kind: one for one in carried}
        self._loaded = loaded
        self._round = 0
        self._is_covering: Callable[[Snapshot | None], bool] = lambda snapshot: True

    def begin(self, is_covering: Callable[[Snapshot | None], bool] | None = None) -> None:
        """Read the newest; or one of which that is true."""
        if is_covering is not None:
            self._is_covering = is_covering
        self._round += 1
        self._ground.look(SNAPSHOTS, HEAD, self._found)

    def _again(self) -> None:
        self._ground.soon(self.begin)

    def _found(self, sequence: int, value: Value | None) -> None:
        snapshot = value if isinstance(value, Snapshot) else None
        if not self._is_covering(snapshot):  # an old answer
            self._again()
            return
        for one in self._carried.values():
            one.clear()
        if snapshot is None:
            self._loaded(None)
        else:
            self._read(snapshot)

    def _read(self, snapshot: Snapshot) -> None:
        asked, left, following = self._round, snapshot.count, 0

        def ask() -> None:
            nonlocal following
            if following < snapshot.count:
                following += 1
                self._ground.look(SNAPSHOTS, piece_of(snapshot.name, following - 1), found)

        def found(sequence: int, value: Value | None) -> None:
            nonlocal left
            if asked != self._round:
                return
            if not isinstance(value, Piece):  # a newer one has taken its place, or this answer is an old one
                self._round += 1
                self._again()
                return
            self._carried[value.kind].load(value)
            left -= 1
            if left:
                ask()
            else:
                self._loaded(snapshot)

        if not left:
            self._loaded(snapshot)
        for _ in range(min(READ_AT_ONCE, snapshot.count)):
            ask()


class Saving:
    """Writes a snapshot of what this node has read: ``saved`` is called with it once it is the newest that is
    on the bus, or with None where another node has one that is newer.

    Pieces have subjects of their own; the head, which names them, is conditioned on the one that was seen
    before the first piece was written. So where it is stored, no other was between, and the pieces that
    others sweep away, which stand before their own, are not these.
    """

    def __init__(
        self,
        ground: Ground,
        carried: Sequence[Carried],
        name: str,
        saved: Callable[[Snapshot | None], None],
    ) -> None:
        self._ground = ground
        self._carried = carried
        self._saved = saved
        self._snapshot = Snapshot(name, 0, (), ())
        self._pieces: Iterator[Piece | None] = iter(())
        self._expected = 0
        self._first = 0  # sequence of the first piece
        self._writing: tuple[str, Value, int] | None = None

    def begin(self) -> None:
        self._ground.look(SNAPSHOTS, HEAD, self._found)

    def _found(self, sequence: int, value: Value | None) -> None:
        places = tuple(self._ground.applied)
        if isinstance(value, Snapshot) and any(map(int.__gt__, value.places, places)):
            self._saved(None)  # of another that has read more
            return
        self._expected = sequence
        self._snapshot = replace(self._snapshot, places=places)
        self._pieces = (piece for one in self._carried for piece in one.take())
        self._go_on()

    def _go_on(self) -> None:
        try:
            piece = next(self._pieces)
        except StopIteration:
            self._snapshot = replace(self._snapshot, upto=tuple(self._ground.applied))
            self._put(HEAD, self._snapshot, self._expected)
            return
        if piece is None:
            self._ground.next_turn(self._go_on)
            return
        count = self._snapshot.count
        self._snapshot = replace(self._snapshot, count=count + 1)
        self._put(piece_of(self._snapshot.name, count), piece, 0)

    def _put(self, subject: str, value: Value, expected: int) -> None:
        self._writing = (subject, value, expected)
        self._write()

    def _write(self) -> None:
        if self._writing is not None:
            subject, value, expected = self._writing
            self._ground.write(SNAPSHOTS, subject, value, expected, self._written)

    def _written(self, outcome: str, sequence: int) -> None:
        if outcome == STORED:
            self._is_stored(sequence)
        elif outcome == UNKNOWN:
            self._ground.soon(self._write)
        elif self._writing is not None:
            self._ground.look(SNAPSHOTS, self._writing[0], self._read_back)

    def _read_back(self, sequence: int, value: Value | None) -> None:
        assert self._writing is not None
        _, wanted, expected = self._writing
        if _is_same(wanted, value):
            self._is_stored(sequence)
        elif sequence <= expected:  # an old answer
            self._ground.soon(self._write)
        else:
            self._saved(None)

    def _is_stored(self, sequence: int) -> None:
        assert self._writing is not None
        is_head, self._writing = self._writing[0] == HEAD, None
        self._first = self._first or sequence
        if is_head:
            self._ground.orders.append(Sweep(self._first))
            self._saved(self._snapshot)
        else:
            self._go_on()


def _is_same(wanted: Value, found: Value | None) -> bool:
    """Is that the same write, at the same subject?"""
    if isinstance(wanted, Snapshot):
        return isinstance(found, Snapshot) and found.name == wanted.name
    return isinstance(found, Piece)


def piece_of(name: str, at: int) -> str:
    """The subject of a piece of the snapshot of that name."""
    return f"{name}.{at}"
