"""A new life of a store begins: what a database and a log have in common there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from curier.store.mark import Mark, MarkFile

log = logging.getLogger("curier.store")


class Life(NamedTuple):
    """``clock_offset`` is what the program's clock is ahead of the system's monotonic one, in seconds;
    ``batches`` is how many a database had when it began.
    """

    name: str
    previous: str
    clock_offset: float
    batches: int = 0


def begin_mark(directory: Path, mark: Mark) -> None:
    """The mark of a new life, which names the one before as well, on the disk on return. What comes behind it
    may name either: a crash between them harms nothing. Raises ``OSError``.
    """
    file = MarkFile(directory, mark)
    try:
        file.write(mark)
        file.sync()
    finally:
        file.close()


def tell_jump(jump: float, who: str) -> None:
    """Log that the clock was set by ``jump`` seconds, if it was."""
    if jump:
        way = "forward" if jump > 0 else "back"
        log.warning(
            "the clock was set %s by %.0f seconds while the %s did not run: what expires does so as if it "
            "had not been",
            way,
            abs(jump),
            who,
        )


def tell_crash(where: str, count: int, durability: str) -> None:
    """Log that the system has crashed, and that ``count`` batches are lost, as ``durability`` allows."""
    log.warning(
        "%s: the system crashed, and %d batches that were acknowledged last are lost, as they may be with "
        'durability "%s"',
        where,
        count,
        durability,
    )
