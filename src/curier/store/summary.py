"""What a database holds, in numbers: for people who ask where the room has gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import apsw

from curier.store.database import Database

TABLES = ("sessions", "subscriptions", "messages", "deliveries", "retained", "wills")

_SESSIONS = """
SELECT client_id, version, expiry, ends_at,
    (SELECT count(*) FROM subscriptions WHERE session = sessions.number),
    coalesce(waiting, 0), coalesce(inflight, 0), coalesce(bytes, 0)
FROM sessions LEFT JOIN (
    SELECT session, sum(packet_id = 0) AS waiting, sum(packet_id > 0) AS inflight,
        sum(length(topic) + length(payload) + length(properties)) AS bytes
    FROM deliveries JOIN messages ON messages.number = deliveries.message GROUP BY session
) AS queues ON queues.session = sessions.number
ORDER BY bytes DESC, client_id
"""


@dataclass(frozen=True)
class SessionSummary:
    """One session. ``ends_at`` is a point in time, 0 where it is connected or does not end by itself."""

    client_id: str
    version: int
    expiry_interval: int
    ends_at: float
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
        sessions = [SessionSummary(*row) for row in run(_SESSIONS)]
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
