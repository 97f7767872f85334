"""What a sequence diagram consists of, whatever it is drawn with."""

from __future__ import annotations

from typing import Final, TypeAlias

from curier.frozen import dataclass
from curier.trace.events import Event

SOLID: Final = "solid"
DOTTED: Final = "dotted"  # it waits: nothing has gone by yet
LOST: Final = "lost"  # it did not, and will not, arrive


@dataclass(frozen=True, slots=True)
class Lane:
    """One who takes part: a client, the broker, or a group of clients."""

    name: str
    note: str = ""  # "5.0", "away"
    members: tuple[str, ...] = ()  # of a group, at most ``MOST_NAMED`` of them
    count: int = 1
    is_broker: bool = False
    is_away: bool = False  # nothing went to or from it


@dataclass(frozen=True, slots=True)
class Arrow:
    """Something that went, or did not go, from one lane to another; ``count`` times where it is a group."""

    time: float
    source: int
    target: int
    label: str
    note: str = ""
    style: str = SOLID
    trouble: bool = False
    to_server: bool = False
    count: int = 1
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened at one lane."""

    time: float
    lane: int
    text: str
    trouble: bool = False
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class Fold:
    """So many rows that are not drawn."""

    time: float
    count: int


Row: TypeAlias = Arrow | Note | Fold


@dataclass(frozen=True, slots=True)
class Diagram:
    """Lanes from left to right, rows from the top down. ``below`` are sentences about all of it."""

    title: str
    began: float
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    below: tuple[str, ...] = ()
