"""What lies on the bus: frames of the log, leases of nodes, records of sessions. Plain data, never changed.

Times in records are wall clock times in seconds, since another node may have to act on them; a clock that is
off makes a will or the end of a session early or late by as much, and nothing else.
"""

from __future__ import annotations

from typing import Final

from curier.frozen import dataclass

Origin = tuple[str, int, int]
"""Which publication a message is: the publisher's session, the epoch of its owner, and a count in that."""

Place = tuple[int, int]
"""Where a message stands in a partition of the log: the sequence of its frame, and its index in that."""

NEVER: Final = float("inf")
PUBLISH_SENT: Final = "PUBLISH"  # an outgoing message waits for PUBACK or PUBREC
PUBREL_SENT: Final = "PUBREL"  # ... for PUBCOMP


@dataclass(frozen=True, slots=True)
class Boot:
    """One life of a node. ``number`` grows with each life of that name, so two views can be told apart."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Message:
    """An Application Message of QoS 1 or 2 in the log."""

    origin: Origin
    topic: bytes
    payload: bytes
    qos: int
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """Messages that were written at once. ``number`` counts the frames of a writer in a partition from 1."""

    writer: Boot
    number: int
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Seal:
    """Nothing of ``writer`` stands behind this: its writes are conditioned on its last one."""

    writer: Boot


@dataclass(frozen=True, slots=True)
class Lease:
    """A node lives while this changes. ``renewal`` counts; ``is_over`` is written by itself or an heir."""

    boot: Boot
    renewal: int
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Topic Filter, and the place in each partition from which on it counts."""

    topic_filter: bytes
    qos: int
    no_local: bool
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A message that is for a session, with what that session is granted."""

    partition: int
    place: Place
    qos: int
    message: Message
    is_retained: bool = False  # sent because of a SUBSCRIBE


@dataclass(frozen=True, slots=True)
class Out:
    """A message that a client was sent, or will be as soon as this record is stored, under an identifier."""

    packet_id: int
    item: Item
    state: str = PUBLISH_SENT


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
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Will:
    """A Will Message. ``due`` is set when its Network Connection is known to have ended."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    delay: float
    due: float = NEVER


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """All there is to know of a session, in one record, so that one comparison guards all of it.

    ``places`` is where reading goes on in each partition: what stands before was acknowledged, is in ``out``
    or ``waiting``, or was not for it. ``write`` counts the writes of an ``epoch``; both together tell whose a
    record is. ``unsealed`` are former owners that died, and may still have something on its way to the log.
    """

    owner: Boot
    epoch: int
    write: int
    is_released: bool = False
    is_ended: bool = False
    lasts: float = 0.0  # Session Expiry Interval, seconds
    away_since: float | None = None
    subscriptions: tuple[Subscription, ...] = ()
    places: tuple[Place, ...] = ()
    out: tuple[Out, ...] = ()
    waiting: tuple[Item, ...] = ()
    received: tuple[Intent, ...] = ()
    will: Will | None = None
    firing: tuple[Intent, ...] = ()
    unsealed: tuple[Boot, ...] = ()


Value = Frame | Seal | Lease | SessionRecord
