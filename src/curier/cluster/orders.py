"""What a node asks of the bus. Drained with ``Node.take_orders``.

The bus has streams: ``LEASES``, ``SESSIONS``, ``SNAPSHOTS`` and one for each partition of the log (its
number). A stream gives every write a sequence, counted from 1, and knows the last sequence of every subject
(0: none).
All answers come by ``Node.answer``.
"""

from __future__ import annotations

from typing import Final

from curier.cluster.formats import FIRST
from curier.cluster.records import Boot, Message, Passed, Value
from curier.frozen import dataclass

LEASES: Final = -1
SESSIONS: Final = -2
SNAPSHOTS: Final = -3

STORED: Final = "stored"
REFUSED: Final = "refused"  # another write to the subject came before
UNKNOWN: Final = "unknown"  # no answer, or "try again": it may be stored, now or later


@dataclass(frozen=True, slots=True)
class Write:
    """Store, if the last sequence of the subject is ``expected``. The answer: an outcome, and a sequence."""

    token: int
    stream: int
    subject: str
    value: Value
    expected: int
    format: int = FIRST


@dataclass(frozen=True, slots=True)
class Look:
    """The last of a subject: its sequence (0: none) and value. The answer may be old."""

    token: int
    stream: int
    subject: str


@dataclass(frozen=True, slots=True)
class AskLast:
    """The last sequence of a partition. The answer may be old."""

    token: int
    partition: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """All that is left of a partition behind ``after`` up to ``upto``, in order; never a part of it."""

    token: int
    partition: int
    after: int
    upto: int


@dataclass(frozen=True, slots=True)
class AskOwners:
    """The nodes that sessions name as their owners. The answer may be old."""

    token: int


@dataclass(frozen=True, slots=True)
class AskSessions:
    """The names of sessions whose records name this owner. The answer may be old."""

    token: int
    owner: Boot


@dataclass(frozen=True, slots=True)
class Need:
    """What a session's record needs of the log, in each partition: what stands behind there; (): nothing.

    Of those that were not given up only their owners count, so one for each owner will do.
    """

    session: str
    owner: Boot
    is_released: bool
    behind: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AskNeeds:
    """The ``Need`` of each session. The answer is as of the sequence ``since`` of the records or later."""

    token: int
    since: int


@dataclass(frozen=True, slots=True)
class AskSize:
    """Of a partition: the first sequence that is left, the last, and the bytes. The answer may be old."""

    token: int
    partition: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Remove all of a partition up to ``upto``. It may be done later, or never."""

    partition: int
    upto: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Remove pieces of snapshots that stand before that sequence. It may be done later, or never."""

    before: int


@dataclass(frozen=True, slots=True)
class Follow:
    """Feed this stream from behind ``after``, with numbers counted anew from 1 (``Node.feed``)."""

    stream: int
    after: int
    generation: int


@dataclass(frozen=True, slots=True)
class AskRelease:
    """Tell that node to give up a session (``Node.asked``). There may be no answer."""

    token: int
    node: Boot
    session: str
    format: int = FIRST


@dataclass(frozen=True, slots=True)
class AnswerRelease:
    """The answer, to who asked under ``token``."""

    token: int
    node: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Have all other nodes hear of messages of QoS 0 (``Node.heard``), each at most once, in order."""

    writer: Boot
    passed: tuple[Passed, ...]
    format: int = FIRST


@dataclass(frozen=True, slots=True)
class Hand:
    """Have all other nodes hear of messages of QoS 0 that are for one session each, as a member of the Shared
    Subscription that the message names (``Node.handed``).
    """

    writer: Boot
    messages: tuple[Message, ...]
    members: tuple[str, ...]
    format: int = FIRST


@dataclass(frozen=True, slots=True)
class Died:
    """This node is dead to the others. Close all connections without a word, and throw its broker away with
    it; a new life may begin, but where ``why`` says what stands against that.
    """

    why: str = ""


@dataclass(frozen=True, slots=True)
class PutAhead:
    """Put the clock of the day ahead by so many seconds; back, where it is below 0, which is before the first
    client comes.
    """

    seconds: float


ToBus = (
    Write
    | Look
    | AskLast
    | AskSize
    | Fetch
    | AskOwners
    | AskSessions
    | AskNeeds
    | Cut
    | Sweep
    | Follow
    | AskRelease
    | AnswerRelease
    | Tell
    | Hand
)
Order = ToBus | Died | PutAhead
