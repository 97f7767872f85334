"""What a recording consists of: Control Packets as they went by, and what happened to messages between them.

One alphabet for every way of looking on: a tap in our broker or client, a simulation, a proxy, a capture. A
recording is these events in the order they happened; flows (``flows``) are made of them and of nothing else.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from curier.frozen import dataclass

# What can happen to a message, or to what a client asked for, between two packets (``Happening.kind``)
PUBLISHED: Final = "published"  # the broker took it from its publisher: ``client_id`` is who published
QUEUED: Final = "queued"  # it waits in the session of ``client_id``; ``why`` says for what
STORED: Final = "stored"  # what it, or what came before it, needed is durable: its acknowledgement leaves
DROPPED: Final = "dropped"  # ``client_id`` will not get it; ``why`` says the reason
EXPIRED: Final = "expired"  # its Message Expiry Interval has passed
REFUSED: Final = "refused"  # the broker did not take it from its publisher, which ``client_id`` is
DENIED: Final = "denied"  # rules forbid it; ``why`` names rule, file and line
NOT_FOR: Final = "not for"  # ``client_id`` subscribes to it and does not get it: No Local, Share of another
NOBODY: Final = "nobody"  # no subscription wanted it
DELIVERED: Final = "delivered"  # ``client_id`` has acknowledged it for good (QoS 0: it was written)
RETAINED: Final = "retained"  # it is the retained message of its topic now
SESSION_ENDED: Final = "session ended"
KEPT: Final = "kept"  # what a broker still knew when it was asked begins, or ends, here; ``why`` says which
UNKEPT: Final = "not kept"  # of the past: from here on nothing on ``wire`` is known, or, without one, nothing
KEPT_AGAIN: Final = "kept again"  # and from here on it is
FAULT: Final = "fault"  # something was broken on purpose; ``why`` names the rule
NOTED: Final = "noted"  # of a capture: it begins in the middle, bytes of it are missing; ``why`` says what
NOT_MQTT: Final = "not MQTT"  # what comes on ``wire`` from here on cannot be read; ``why`` says which way


@dataclass(frozen=True, slots=True)
class Wire:
    """One Network Connection, as far as is known when it is named."""

    number: int  # ever-growing in one recording, from 1
    client_id: str  # "" before CONNECT, and where a capture begins behind it
    version: int  # 3, 4 or 5; 0 unknown
    user: str = ""
    client_address: str = ""  # "127.0.0.1:50112", "[::1]:50112", or a path
    server_address: str = ""
    listener: str = ""  # the name of ours that it came in by


@dataclass(frozen=True, slots=True)
class Opened:
    """A Network Connection begins."""

    time: float  # seconds since the epoch
    wire: Wire


@dataclass(frozen=True, slots=True)
class Closed:
    """A Network Connection has ended. ``by`` is "client", "server", "network" or "" where that is unknown."""

    time: float
    wire: Wire
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Packet:
    """One whole Control Packet, with its Fixed Header.

    ``publication`` is the number of the publication that a PUBLISH, or an acknowledgement of it, belongs to;
    0 where only the wire is seen. ``cut`` is how many bytes were left out at the end of ``data`` (privacy, or
    a bound). Passwords are never in ``data``: whoever records puts zeros in their place (``secrets``).
    ``lost``: its sender let go of it, and it never arrived; the ``FAULT`` behind it says why.
    """

    time: float
    wire: Wire
    to_server: bool
    data: bytes
    publication: int = 0
    cut: int = 0
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened inside a broker (or to the line) that no packet says."""

    time: float
    kind: str  # one of the words above
    client_id: str  # whom it concerns; "" where nobody
    why: str  # in words, "" where the kind says all
    publication: int = 0
    topic: str = ""
    wire: Wire | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """``count`` events were not recorded here, since the reader was too slow or memory at its bound."""

    time: float
    count: int


Event: TypeAlias = Opened | Closed | Packet | Happening | Missed
