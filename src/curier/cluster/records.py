"""What lies on the bus: frames of the log, leases of nodes, records of sessions. Plain data, never changed.

Times in records are wall clock times in seconds, since another node may have to act on them; nodes agree on
what time it is (``daytime``).
"""

from __future__ import annotations

from typing import Final

from curier.cluster.formats import FIRST
from curier.frozen import dataclass

Origin = tuple[str, int, int]
"""Which publication a message is: the name and number of the life that took it, and a count in that."""


@dataclass(frozen=True, slots=True)
class Boot:
    """One life of a node. ``number`` grows with each life of that name, so two views can be told apart."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Message:
    """An Application Message in the log: of QoS 1 or 2, or to be retained.

    ``publisher`` is the Client Identifier of who published it, "": a broker. ``properties`` are encoded, and
    ``expires_at`` is 0 where it does not expire. ``group`` is the Shared Subscription that it is handed on
    to: it is for nobody else, and not to be retained again.
    """

    origin: Origin
    publisher: str
    topic: bytes
    payload: bytes
    qos: int
    retain: bool = False
    properties: bytes = b""
    expires_at: float = 0.0
    group: bytes = b""
    published_at: float = 0.0


OUT: Final = 0
AWAY: Final = 1  # its client is, or is far behind
HERE: Final = 2


@dataclass(frozen=True, slots=True)
class Share:
    """How the session ``member`` takes part in the Shared Subscription ``group`` from here on, in this
    partition: ``OUT``, ``AWAY`` or ``HERE``. ``number`` counts those of a writer.
    """

    group: bytes
    member: str
    state: int
    number: int = 0


@dataclass(frozen=True, slots=True)
class Passed:
    """PUBLISH packets of QoS 0 on their way to other nodes, which are not kept: as ``effects.Packets``."""

    version: int
    may_expire: bool
    sent_at: float
    publishers: tuple[str, ...]
    sizes: tuple[int, ...]
    packets: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """Messages that were written at once. ``number`` counts the frames of a writer in a partition from 1.

    What it says of Shared Subscriptions holds for its own messages too.
    """

    writer: Boot
    number: int
    messages: tuple[Message, ...]
    shares: tuple[Share, ...] = ()

    def is_same_as(self, other: Value | None) -> bool:
        """Is that the same write, in the same partition?"""
        return isinstance(other, Frame) and (self.writer, self.number) == (other.writer, other.number)


@dataclass(frozen=True, slots=True)
class Seal:
    """Nothing of ``writer`` stands behind this: its writes are conditioned on its last one."""

    writer: Boot


@dataclass(frozen=True, slots=True)
class Lease:
    """A node lives while this changes. ``renewal`` counts; ``is_over`` is written by itself or an heir.

    ``nonce`` tells two processes apart that took one name at one time; it is 0 in what an heir writes.
    ``reads`` is the newest format that it reads, ``writes`` the one that it writes, or is about to. ``wall``
    is its time of day (``daytime``). New fields come last, and have defaults (``formats``).

    ``floors``: of what stands in each partition up to there, this node needs nothing, nor will an heir of its
    sessions; (): of nothing yet. ``holder`` says in plain words what they wait for, "": for nothing.
    """

    boot: Boot
    renewal: int
    is_over: bool = False
    nonce: int = 0
    reads: int = FIRST
    writes: int = FIRST
    wall: float = 0.0
    floors: tuple[int, ...] = ()
    holder: str = ""

    def is_same_as(self, other: Value | None) -> bool:
        """Is that the same write? What a format leaves out does not count."""
        return isinstance(other, Lease) and (self.boot, self.nonce, self.renewal, self.is_over) == (
            other.boot,
            other.nonce,
            other.renewal,
            other.is_over,
        )


@dataclass(frozen=True, slots=True)
class Intent:
    """A message goes into the log once, whoever writes it.

    Stored before ``writer`` writes it. Whether it did shows in the log between ``after`` and the seal of the
    writer, or its own answer. ``packet_id`` is that of a QoS 2 PUBLISH; 0 for a Will Message.
    """

    packet_id: int
    message: Message
    partition: int
    after: int
    writer: Boot


@dataclass(frozen=True, slots=True)
class InLog:
    """A message that a session's ``state`` calls ``number`` and has not in it: it stands in the log."""

    number: int
    partition: int
    sequence: int  # of its frame
    index: int


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """All there is to know of a session, in one record, so that one comparison guards all of it.

    ``state`` is the session as the broker's core exports it, b"" where there is none any more, as of when the
    log had been read to ``places``: the last sequence of each partition. What stands behind is still to be
    given to it, unless it ``is_brief``: such a session ends with its connection, and misses nothing. ``user``
    is whose it is, "": nobody's: others are refused before its owner is asked for it.

    ``write`` counts the writes of an ``epoch``; both together tell whose a record is. ``unsealed`` are former
    owners that died, and may still have something on its way to the log.

    ``groups`` are all Shared Subscriptions of which the log may call it a member now, and whether it is one.
    What the log has for it there is still to be given to it, or handed on.
    """

    owner: Boot
    epoch: int
    write: int
    is_released: bool = False
    is_brief: bool = False
    user: str = ""
    places: tuple[int, ...] = ()
    state: bytes = b""
    in_log: tuple[InLog, ...] = ()
    intents: tuple[Intent, ...] = ()
    groups: tuple[tuple[bytes, bool], ...] = ()
    unsealed: tuple[Boot, ...] = ()

    def is_same_as(self, other: Value | None) -> bool:
        """Is that the same write, of the same session?"""
        return isinstance(other, SessionRecord) and (self.owner, self.epoch, self.write) == (
            other.owner,
            other.epoch,
            other.write,
        )

    @property
    def is_over(self) -> bool:
        """Is there nothing left to do for it?"""
        return not self.state and not self.intents and not self.groups


@dataclass(frozen=True, slots=True)
class Mark:
    """Stands among the records of sessions: who has read up to it has read all that was there before."""

    boot: Boot
    number: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a snapshot, of what its ``kind`` says: messages, or bytes that only that kind can read."""

    kind: str
    messages: tuple[Message, ...] = ()
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the log has come to, in ``count`` pieces whose subjects begin with ``name``.

    Who has them and then reads the log from behind ``places`` up to ``upto`` or further, has what all have.
    """

    name: str
    count: int
    places: tuple[int, ...]
    upto: tuple[int, ...]


Value = Frame | Seal | Lease | SessionRecord | Mark | Piece | Snapshot
