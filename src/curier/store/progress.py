"""How far a store has come, which is compared with the mark at each start; and the clock by which its points
in time are meant. A database has both in one row (``progress_row``), a log in its frames and the mark.

A *life* of a store is from one start of its program to the next. It has a name, which database and log have
in them: whoever writes says in the name of which life, so a broker whose database another one has begun to
use writes nothing more.
"""

from __future__ import annotations

import os
import time
from typing import Final, NamedTuple

from curier.store.mark import Mark

JUMP_SECONDS: Final = 2.0
"""A clock that differs by less was only adjusted."""


class Progress(NamedTuple):
    """``is_marked``: there has to be a mark; of a copy, or of what was imported, there is none.

    ``written_at`` is when the last batch was written, by the clock of its program, and ``uptime`` the same by
    the clock of the system's life ``boot``.
    """

    life: str = ""
    is_marked: bool = False
    batches: int = 0
    written_at: float = 0.0
    boot: str = ""
    uptime: float = 0.0


def new_life() -> str:
    """A name that no other life has."""
    return os.urandom(16).hex()


def uptime() -> float:
    """Seconds on a clock that only starts anew with the system, and counts its sleep where that can be."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Words(NamedTuple):
    """What people call what is kept, who writes it, and what of it may be damaged."""

    what: str
    who: str
    parts: str


def what_is_missing(mark: Mark | None, progress: Progress | None, boot: str, words: Words) -> str:
    """Plain words where what was found, None where nothing was, has not all that was acknowledged; or "".

    With ``durability`` "os" a crash of the system may take the last moments along: then only what was surely
    on the disk is asked for.
    """
    if mark is None:
        if progress is None or not progress.is_marked:
            return ""
        return "curier.mark is missing, so that it cannot be known whether what was acknowledged is there"
    wanted = mark.batches if boot and mark.boot == boot else mark.durable
    if progress is None:
        if not mark.batches:
            return ""
        return f"the {words.what} is missing, and {_batches(mark.batches)} that were acknowledged"
    if progress.life not in (mark.life, mark.previous):
        return f"this is another {words.what} than the {words.who} wrote last, or an older copy of it"
    if progress.batches < wanted:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(progress.written_at))
        end = f"at {when}" if progress.written_at else "too early"  # a log has no times in it
        return (
            f"it ends {end}, and {_batches(wanted - progress.batches)} that were acknowledged later are "
            f"missing: {words.parts} was damaged, removed or replaced by an older one"
        )
    return ""


def _batches(count: int) -> str:
    return f"{count} batches of changes" if count != 1 else "1 batch of changes"


def clock_jump(progress: Progress, now: float, boot: str, uptime: float) -> float:
    """By how many seconds the clock has jumped since the last batch was written; 0.0 where nothing says so.

    Within one life of the system that is known. Over a restart of the system it is only known that time does
    not go back: then no time at all is taken to have passed.
    """
    if not progress.written_at:
        return 0.0
    expected = progress.written_at
    if boot and boot == progress.boot:
        expected += max(0.0, uptime - progress.uptime)
    elif now >= expected:
        return 0.0
    jump = now - expected
    return jump if abs(jump) >= JUMP_SECONDS else 0.0
