"""What a database holds, in numbers: for people who ask where the room has gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import apsw

from curier.store.database import Database

TABLES = ("sessions", "subscriptions", "messages", "deliveries", "retained", "wills")

_SESSIONS = """
SELECT client_id, version, expiry, ends_at, CAST({mount} AS TEXT), {user},
    (SELECT count(*) FROM subscriptions WHERE session = sessions.number),
    coalesce(waiting, 0), coalesce(inflight, 0), coalesce(bytes, 0)
FROM sessions LEFT JOIN (
    SELECT session, sum(packet_id = 0) AS waiting, sum(packet_id > 0) AS inflight,
        sum(length(topic) + length(payload) + length(properties)) AS bytes
    FROM deliveries JOIN messages ON messages.number = deliveries.message GROUP BY session
) AS queues ON queues.session = sessions.number
ORDER BY bytes DESC, client_id
"""


_LATER = {"mount": "x''", "user": "''"}


@dataclass(frozen=True)
class SessionSummary:
    """One session. ``ends_at`` is a point in time, 0 where it is connected or does not end by itself.
    ``mount`` is in front of the topics of its listener's clients, "" for none; ``user`` whose it is.
    """

    client_id: str
    version: int
    expiry_interval: int
    ends_at: float
    mount: str
    user: str
    subscriptions: int
    queued: int
    inflight: int
    bytes: int


@dataclass(frozen=True)
class Summary:
    """The whole database. Sizes in bytes; ``file_bytes`` includes what is not yet folded into the file."""

    path: str
    file_bytes: int
    rows: dict[str, int]
    retained_bytes: int
    sessions: list[SessionSummary]


def summarize(database: Database) -> Summary:
    """Look at one moment of the database, which a broker may be using. Raises ``StoreError``."""
    try:
        run = database.connection.execute
        run("BEGIN")
        there = {row[1] for row in run("PRAGMA table_info(sessions)")}
        asked = _SESSIONS.format(
            **{  # files of earlier versions, which are only read, have no such columns
                name: name if name in there else nothing for name, nothing in _LATER.items()
            }
        )
        sessions = [SessionSummary(*row) for row in run(asked)]
        rows = {table: database.count(table) for table in TABLES}
        size = run(
            "SELECT coalesce(sum(length(messages.topic) + length(payload) + length(properties)), 0) "
            "FROM retained JOIN messages ON messages.number = retained.message"
        ).get
        run("ROLLBACK")
    except apsw.Error as error:
        raise database.explain(error) from None
    log = database.path.with_name(database.path.name + "-wal")
    file_bytes = sum(path.stat().st_size for path in (database.path, log) if path.exists())
    return Summary(str(database.path), file_bytes, rows, cast(int, size), sessions)
