"""How far a database has come: one row, written with every batch, that is compared with the mark at each
start; and the clock by which its points in time are meant.

A *life* of the store is from one start of the broker to the next. It has a name, which the database has in
its row: whoever writes says in the name of which life, so a broker whose database another one has begun to
use writes nothing more.
"""

from __future__ import annotations

import secrets
import time
from typing import Final, NamedTuple, cast

import apsw

from curier.store.mark import Mark

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), life TEXT, is_marked INTEGER,
    batches INTEGER, written_at REAL, boot TEXT, uptime REAL);
"""

JUMP_SECONDS: Final = 2.0
"""A clock that differs by less was only adjusted."""


class Progress(NamedTuple):
    """The row. ``is_marked``: there has to be a mark; of a copy, or of what was imported, there is none.

    ``written_at`` is when the last batch was written, by the broker's clock, and ``uptime`` the same by the
    clock of the system's life ``boot``.
    """

    life: str = ""
    is_marked: bool = False
    batches: int = 0
    written_at: float = 0.0
    boot: str = ""
    uptime: float = 0.0


def new_life() -> str:
    """A name that no other life has."""
    return secrets.token_hex(16)


def read_progress(connection: apsw.Connection) -> Progress:
    """The row; zeros where there is none, as in a database of an earlier version. Raises ``apsw.Error``."""
    if not connection.table_exists(None, "progress"):
        return Progress()
    row = connection.execute(
        "SELECT life, is_marked, batches, written_at, boot, uptime FROM progress WHERE one = 1"
    ).fetchone()
    if row is None:
        return Progress()
    life, is_marked, *rest = row
    return Progress(cast(str, life), bool(is_marked), *rest)


def write_progress(connection: apsw.Connection, progress: Progress) -> None:
    """Put the row in place, within the transaction that is open. Raises ``apsw.Error``."""
    connection.execute(SCHEMA)
    connection.execute("INSERT OR REPLACE INTO progress VALUES (1, ?, ?, ?, ?, ?, ?)", progress)


def uptime() -> float:
    """Seconds on a clock that only starts anew with the system, and counts its sleep where that can be."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def what_is_missing(mark: Mark | None, progress: Progress | None, boot: str) -> str:
    """Plain words where the database, None where there is none, has not all that was acknowledged; or "".

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
        return f"the database is missing, and {_batches(mark.batches)} that were acknowledged"
    if progress.life not in (mark.life, mark.previous):
        return "this is another database than the broker wrote last, or an older copy of it"
    if progress.batches < wanted:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(progress.written_at))
        return (
            f"it ends at {when}, and {_batches(wanted - progress.batches)} that were acknowledged later are "
            "missing: it, or its WAL, was damaged, removed or replaced by an older one"
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
