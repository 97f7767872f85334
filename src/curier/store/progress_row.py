"""The row of a database that says how far it has come, written with every batch."""

from __future__ import annotations

from typing import Final, cast

import apsw

from curier.store.progress import Progress

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), life TEXT, is_marked INTEGER,
    batches INTEGER, written_at REAL, boot TEXT, uptime REAL);
"""


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
