"""The tables that durable state lies in, and how a batch of records becomes rows.

Rows are named by the journal's ever-growing numbers, so new ones are appended to the end of their table; keys
that begin with a session would cost three to eight times as much. Applying a batch twice is the same as once;
one that is there already must not be applied with the next as one, in which it may be undone (``_Changes``).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

import apsw

from curier.errors import StoreError
from curier.session.message import ApplicationMessage
from curier.session.records import (
    Delivered,
    IdentifierFreed,
    IdentifierTaken,
    MessageRemoved,
    MessageSaved,
    MessagesKept,
    Queued,
    QueuesKept,
    Received,
    Record,
    Retained,
    Sent,
    SessionEnded,
    SessionSaved,
    Subscribed,
    Unsubscribed,
    WillRemoved,
    WillSaved,
    one_by_one,
)
from curier.store.frames import sync_directory
from curier.store.progress import Progress, new_life, uptime
from curier.store.progress_row import read_progress, write_progress

FILE_NAME: Final = "curier.db"
FORMAT: Final = 1
APPLICATION_ID: Final = 0x43555249  # "CURI"
PIECE: Final = 5000  # records loaded at a time
WAY_OUT: Final = "restore a backup in its place, or move it away and begin with nothing (--accept-loss)"

_SCHEMA: Final = """
CREATE TABLE sessions (number INTEGER PRIMARY KEY, client_id TEXT, version INTEGER, expiry INTEGER,
    ends_at REAL, mount BLOB NOT NULL DEFAULT x'', user TEXT NOT NULL DEFAULT '');
CREATE TABLE subscriptions (session INTEGER, filter BLOB, options INTEGER, identifier INTEGER,
    PRIMARY KEY (session, filter)) WITHOUT ROWID;
CREATE TABLE messages (number INTEGER PRIMARY KEY, topic BLOB, payload BLOB, qos INTEGER, retain INTEGER,
    properties BLOB, expires_at REAL);
CREATE TABLE deliveries (number INTEGER PRIMARY KEY, session INTEGER, message INTEGER, qos INTEGER,
    retain INTEGER, identifiers BLOB, share BLOB, packet_id INTEGER, received INTEGER);
CREATE TABLE identifiers (key INTEGER PRIMARY KEY);
CREATE TABLE retained (topic BLOB PRIMARY KEY, message INTEGER, written_at REAL NOT NULL DEFAULT 0,
    writer TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE wills (session INTEGER PRIMARY KEY, topic BLOB, payload BLOB, qos INTEGER, retain INTEGER,
    properties BLOB, delay INTEGER, expiry INTEGER, due_at REAL);
"""

_ADDED: Final = (
    ("sessions", ("mount BLOB NOT NULL DEFAULT x''", "user TEXT NOT NULL DEFAULT ''")),
    ("retained", ("written_at REAL NOT NULL DEFAULT 0", "writer TEXT NOT NULL DEFAULT ''")),
)
"""Columns of tables that there have not always been, in the order in which they came."""

_Value = int | float | bytes | str | None
_Row = tuple[_Value, ...]


class Database:
    """One connection to the database of a data directory. Not for several threads."""

    def __init__(
        self,
        directory: Path,
        durability: str = "fsync",
        *,
        read_only: bool = False,
        max_bytes: int = 0,
        name: str = FILE_NAME,
    ) -> None:
        """``max_bytes`` keeps the file from growing beyond (0: no limit); then it is full, as a disk is."""
        self.path = directory / name
        self.life = ""  # in whose name it is written, "": in nobody's, as in an import
        self.batches = 0
        self._clock_offset = 0.0  # from the system's monotonic clock to the broker's
        self._read_only = read_only
        try:
            if read_only:
                self.connection = _opened_to_read(self.path)
            else:
                self.connection = apsw.Connection(str(self.path))
        except apsw.Error as error:
            raise self.explain(error) from None
        try:
            self.connection.set_busy_timeout(5000)
            self._prepare(durability, read_only)
            if max_bytes:
                page_size = cast(int, self.connection.execute("PRAGMA page_size").get)
                self.connection.execute(f"PRAGMA max_page_count={max(1, max_bytes // page_size)}")
        except apsw.Error as error:
            self.connection.close()
            raise self.explain(error) from None
        except BaseException:
            self.connection.close()
            raise

    def explain(self, error: apsw.Error) -> StoreError:
        """The error in plain words, with the way out."""
        if isinstance(error, apsw.FullError):
            return StoreError(f"{self.path}: the disk is full; make room and service resumes by itself")
        if isinstance(error, apsw.NotADBError | apsw.CorruptError):
            return StoreError(f"{self.path}: the file is damaged or no database ({error}); {WAY_OUT}")
        if self._read_only and isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError):
            return StoreError(
                f"{self.path}: cannot be read ({error}); where its directory cannot be written to, copy that "
                "to a place where it can be, and look there"
            )
        if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError):
            return StoreError(
                f"{self.path}: cannot be opened for writing ({error}); make directory and file writable, "
                "choose another with --data DIR, or keep nothing with --memory"
            )
        if isinstance(error, apsw.IOError):
            return StoreError(
                f"{self.path}: the disk reports an error ({error}); check it, and the system's log"
            )
        return StoreError(f"{self.path}: {error}")

    def _prepare(self, durability: str, read_only: bool) -> None:
        run = self.connection.execute
        if not read_only:
            with contextlib.suppress(OSError):  # of another owner: theirs to decide
                self.path.chmod(0o600)
            run("PRAGMA journal_mode=WAL")
            # In WAL mode FULL syncs at each commit, NORMAL only when the log is folded into the file.
            run(f"PRAGMA synchronous={'FULL' if durability == 'fsync' else 'NORMAL'}")
            run("PRAGMA fullfsync=1")  # macOS: ``fsync`` leaves it in the disk's own memory (``sync_file``)
            run("PRAGMA journal_size_limit=16777216")
            run("PRAGMA wal_autocheckpoint=4000")
        run("PRAGMA cache_size=-65536")
        version = cast(int, run("PRAGMA user_version").get)
        if version == 0 and not read_only and not run("SELECT count(*) FROM sqlite_schema").get:
            with self.connection:
                run(_SCHEMA)
                run(f"PRAGMA application_id={APPLICATION_ID}")
                run(f"PRAGMA user_version={FORMAT}")
            if durability == "fsync":
                sync_directory(self.path.parent)
        elif run("PRAGMA application_id").get != APPLICATION_ID:
            raise StoreError(
                f"{self.path}: not a database of curier; choose another directory with --data DIR"
            )
        elif version != FORMAT:
            raise StoreError(
                f"{self.path}: written by another version of curier (format {version}, not {FORMAT}); "
                "use that version, or its 'curier store export' and this one's import"
            )
        elif not read_only:
            for table, columns in _ADDED:
                there = [row[1] for row in run(f"PRAGMA table_info({table})")]
                for column in columns:  # the file is of an earlier version
                    if column.split()[0] not in there:
                        run(f"ALTER TABLE {table} ADD COLUMN {column}")

    def close(self) -> None:
        self.connection.close()

    def close_untouched(self) -> None:
        """Close without folding the WAL into the file: whatever is wrong stays as it was found."""
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.connection.close()

    # ---- lives ----

    def progress(self) -> Progress:
        """How far it has come. Raises ``StoreError``."""
        try:
            return read_progress(self.connection)
        except apsw.Error as error:
            raise self.explain(error) from None

    def begin_life(self, life: str, boot: str, clock_jump: float) -> None:
        """From now on it is written in the name of ``life``. Points in time move by ``clock_jump`` seconds,
        as the clock by which they are meant did. All of this, and what was there, is on the disk on return,
        at every durability. Raises ``apsw.Error``.
        """
        run = self.connection.execute
        synchronous = cast(int, run("PRAGMA synchronous").get)
        run("PRAGMA synchronous=FULL")
        with self.connection:
            if clock_jump:
                run("UPDATE messages SET expires_at = expires_at + ? WHERE expires_at != 0", (clock_jump,))
                run("UPDATE sessions SET ends_at = ends_at + ? WHERE ends_at != 0", (clock_jump,))
                run("UPDATE wills SET due_at = due_at + ? WHERE due_at != 0", (clock_jump,))
            batches = read_progress(self.connection).batches
            write_progress(self.connection, Progress(life, True, batches, time.time(), boot, uptime()))
        run(f"PRAGMA synchronous={synchronous}")

    def go_on(self, life: str, clock_offset: float) -> None:
        """Write in the name of ``life``, which has begun; the broker's clock is ``clock_offset`` seconds from
        the monotonic one. Raises ``StoreError`` where another life has begun since, or another database lies
        here.
        """
        self.life = life
        self.batches = self.check_life().batches
        self._clock_offset = clock_offset

    def _lost_life(self) -> StoreError:
        return StoreError(
            f"{self.path}: another broker has begun to use it, or another file was put in its place; this "
            "broker acknowledges nothing more: stop it, and see to it that one only uses this database"
        )

    def finish_import(self) -> None:
        """All is in it: it becomes one file, that begins without a mark. Raises ``apsw.Error``."""
        _be_a_copy(self.connection)

    # ---- writing ----

    def with_one_more(self) -> Progress:
        """How far it has come with a batch that is written now."""
        return Progress(self.life, True, self.batches + 1, self.now(), "", uptime())

    def now(self) -> float:
        """The time by the clock of the program that has the life."""
        return time.monotonic() + self._clock_offset

    def apply(self, records: list[Record], come_so_far: Progress | None = None) -> None:
        """Apply one batch, or several with which the database has ``come_so_far``, all or nothing; durable on
        return. Raises ``apsw.Error``, and ``StoreError`` where another life has begun.
        """
        changes = _Changes()
        for record in records:
            changes.add(record)
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, rows in changes.statements():
                connection.executemany(sql, rows)
            if self.life:
                come_so_far = come_so_far or self.with_one_more()
                self._count(connection, come_so_far)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has ended it already
                connection.execute("ROLLBACK")
            raise
        if come_so_far is not None:
            self.batches = come_so_far.batches

    def _count(self, connection: apsw.Connection, come_so_far: Progress) -> None:
        connection.execute(
            "UPDATE progress SET batches = ?, written_at = ?, uptime = ? WHERE life = ?",
            (come_so_far.batches, come_so_far.written_at, come_so_far.uptime, self.life),
        )
        if not connection.changes():
            raise self._lost_life()

    def check_life(self) -> Progress:
        """How far it has come. Raises ``StoreError`` where another life has begun."""
        progress = self.progress()
        if progress.life != self.life:
            raise self._lost_life()
        return progress

    # ---- reading ----

    def records(self) -> Iterator[list[Record]]:
        """Everything kept, as records, in pieces, in an order that can be replayed. Raises ``StoreError``."""
        run = self.connection.execute
        try:
            run("BEGIN")  # one moment, though a broker may go on writing
            yield from self._records()
        except apsw.Error as error:
            raise self.explain(error) from None
        except (TypeError, ValueError) as error:
            raise StoreError(f"{self.path}: the file is damaged ({error}); {WAY_OUT}") from None
        finally:
            if self.connection.in_transaction:
                run("ROLLBACK")

    def copy_to(self, file: Path, *, is_rescue: bool = False) -> None:
        """Copy everything into ``file``, which is empty, as it is at one moment. Raises ``StoreError``.

        ``is_rescue``: it takes the place of this one, and its mark with it.
        """
        try:
            copy = apsw.Connection(str(file))
            try:
                with copy.backup("main", self.connection, "main") as backup:
                    backup.step()
                if is_rescue:
                    copy.execute(_ONE_FILE)
                else:
                    _be_a_copy(copy)
            finally:
                copy.close()
        except apsw.Error as error:
            why = "the disk is full" if isinstance(error, apsw.FullError) else error
            raise StoreError(f"{file}: cannot be written ({why})") from None

    def _records(self) -> Iterator[list[Record]]:
        run = self.connection.execute
        yield [SessionSaved(*row) for row in run("SELECT * FROM sessions ORDER BY number")]
        yield [Subscribed(*row) for row in run("SELECT * FROM subscriptions")]
        # A million rows and more: as they are, for whoever replays them to make of them what it needs.
        rows = run("SELECT * FROM messages ORDER BY number")
        while piece := list(islice(rows, PIECE)):
            yield [MessagesKept(piece)]
        columns = "session, number, message, qos, retain, identifiers, share"
        rows = run(f"SELECT {columns} FROM deliveries WHERE packet_id = 0 ORDER BY number")
        while piece := list(islice(rows, PIECE)):
            yield [QueuesKept(piece)]
        rows = run(f"SELECT {columns} FROM deliveries WHERE packet_id > 0 ORDER BY number")
        yield one_by_one([QueuesKept(list(rows))])  # of these, other records tell more
        rows = run("SELECT session, number, packet_id FROM deliveries WHERE packet_id > 0 ORDER BY number")
        yield [Sent(*row) for row in rows]
        rows = run("SELECT session, number, received FROM deliveries WHERE received > 0 ORDER BY received")
        yield [Received(*row) for row in rows]
        yield [IdentifierTaken(key >> 16, key & 0xFFFF) for (key,) in run("SELECT key FROM identifiers")]
        yield [Retained(*row) for row in run("SELECT * FROM retained")]
        yield [
            WillSaved(
                session,
                ApplicationMessage(topic, payload, qos, retain == 1, properties),
                delay,
                expiry,
                due_at,
            )
            for session, topic, payload, qos, retain, properties, delay, expiry, due_at in run(
                "SELECT * FROM wills"
            )
        ]

    def count(self, table: str) -> int:
        """Rows of one of the tables."""
        return cast(int, self.connection.execute(f"SELECT count(*) FROM {table}").get)


_ONE_FILE: Final = "PRAGMA journal_mode=DELETE"  # without a WAL beside it


def _be_a_copy(connection: apsw.Connection) -> None:
    """It begins without a mark, and no mark of another database fits it. Raises ``apsw.Error``."""
    with connection:
        old = read_progress(connection)
        write_progress(connection, old._replace(life=new_life(), is_marked=False))
    connection.execute(_ONE_FILE)


def _opened_to_read(path: Path) -> apsw.Connection:
    """A connection that only reads; where the directory cannot be written to, for as long as there is no WAL
    to be taken into account. Raises ``apsw.Error``.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.execute("PRAGMA user_version").get  # noqa: B018 - the first statement opens the file
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close()
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        return apsw.Connection(f"file:{quote(str(path.absolute()))}?immutable=1", flags=flags)
    except apsw.Error:
        pass  # whoever asks again is told
    return connection


class _Changes:
    """The rows of one batch. What is made and undone within it never reaches the disk."""

    def __init__(self) -> None:
        self.messages: dict[int, _Row] = {}
        self.deliveries: dict[int, list[_Value]] = {}
        self.sent: dict[int, _Row] = {}
        self.received: list[_Row] = []
        self.delivered: list[_Row] = []
        self.removed: list[_Row] = []
        self.identifiers: dict[int, dict[int, bool]] = {}  # of each session: is it taken?
        self.retained: dict[bytes, Retained] = {}
        self.others: list[tuple[str, _Row]] = []

    def add(self, record: Record) -> None:
        if isinstance(record, MessageSaved):
            message = record.message
            self.messages[record.number] = (
                record.number,
                message.topic,
                message.payload,
                message.qos,
                message.retain,
                message.properties,
                message.expires_at,
            )
        elif isinstance(record, Queued):
            self.deliveries[record.delivery] = [
                record.delivery,
                record.session,
                record.message,
                record.qos,
                record.retain,
                record.identifiers,
                record.group,
                0,
                0,
            ]
        elif isinstance(record, Sent):
            row = self.deliveries.get(record.delivery)
            if row is not None:
                row[7] = record.packet_id
            else:
                self.sent[record.delivery] = (record.packet_id, record.delivery)
        elif isinstance(record, Delivered):
            if self.deliveries.pop(record.delivery, None) is None:
                self.sent.pop(record.delivery, None)
                self.delivered.append((record.delivery,))
        elif isinstance(record, MessageRemoved):
            if self.messages.pop(record.message, None) is None:
                self.removed.append((record.message,))
        elif isinstance(record, Received):
            row = self.deliveries.get(record.delivery)
            if row is not None:
                row[8] = record.order
            else:
                self.received.append((record.order, record.delivery))
        elif isinstance(record, IdentifierTaken):
            self.identifiers.setdefault(record.session, {})[record.packet_id] = True
        elif isinstance(record, IdentifierFreed):
            self.identifiers.setdefault(record.session, {})[record.packet_id] = False
        elif isinstance(record, Retained):
            self.retained[record.topic] = record
        else:
            self._add_session(record)

    def _add_session(self, record: Record) -> None:
        add = self.others.append
        if isinstance(record, SessionSaved):
            add(
                (
                    "INSERT OR REPLACE INTO sessions VALUES (?,?,?,?,?,?,?)",
                    (
                        record.session,
                        record.client_id,
                        record.version,
                        record.expiry_interval,
                        record.ends_at,
                        record.mount,
                        record.user,
                    ),
                )
            )
        elif isinstance(record, SessionEnded):
            session = (record.session,)
            add(("DELETE FROM sessions WHERE number=?", session))
            add(("DELETE FROM subscriptions WHERE session=?", session))
            add(("DELETE FROM wills WHERE session=?", session))
            span = (record.session << 16, (record.session << 16) | 0xFFFF)
            add(("DELETE FROM identifiers WHERE key BETWEEN ? AND ?", span))
            self.identifiers.pop(record.session, None)
        elif isinstance(record, Subscribed):
            row = (record.session, record.topic_filter, record.options, record.identifier)
            add(("INSERT OR REPLACE INTO subscriptions VALUES (?,?,?,?)", row))
        elif isinstance(record, Unsubscribed):
            add(
                (
                    "DELETE FROM subscriptions WHERE session=? AND filter=?",
                    (record.session, record.topic_filter),
                )
            )
        elif isinstance(record, WillSaved):
            will = record.message
            body = (will.topic, will.payload, will.qos, will.retain, will.properties)
            row_of_will = (record.session, *body, record.delay, record.expiry, record.due_at)
            add(("INSERT OR REPLACE INTO wills VALUES (?,?,?,?,?,?,?,?,?)", row_of_will))
        elif isinstance(record, WillRemoved):
            add(("DELETE FROM wills WHERE session=?", (record.session,)))

    def statements(self) -> Iterator[tuple[str, list[_Row]]]:
        """What to execute, in order."""
        # Sessions first: what ends one clears rows that a later one of the batch may make again.
        last = ""
        rows: list[_Row] = []
        for sql, row in self.others:
            if sql != last and rows:
                yield last, rows
                rows = []
            last = sql
            rows.append(row)
        if rows:
            yield last, rows
        if self.messages:
            yield "INSERT OR REPLACE INTO messages VALUES (?,?,?,?,?,?,?)", list(self.messages.values())
        if self.deliveries:
            sql = "INSERT OR REPLACE INTO deliveries VALUES (?,?,?,?,?,?,?,?,?)"
            yield sql, [tuple(row) for row in self.deliveries.values()]
        if self.sent:
            yield "UPDATE deliveries SET packet_id=? WHERE number=?", list(self.sent.values())
        if self.received:
            yield "UPDATE deliveries SET received=? WHERE number=?", self.received
        if self.delivered:
            yield "DELETE FROM deliveries WHERE number=?", self.delivered
        if self.removed:
            yield "DELETE FROM messages WHERE number=?", self.removed
        taken: list[_Row] = []
        freed: list[_Row] = []
        for session, identifiers in self.identifiers.items():
            for packet_id, is_taken in identifiers.items():
                (taken if is_taken else freed).append(((session << 16) | packet_id,))
        if taken:
            yield "INSERT OR REPLACE INTO identifiers VALUES (?)", taken
        if freed:
            yield "DELETE FROM identifiers WHERE key=?", freed
        kept: list[_Row] = [
            (one.topic, one.message, one.written_at, one.writer)
            for one in self.retained.values()
            if one.message
        ]
        gone: list[_Row] = [(one.topic,) for one in self.retained.values() if not one.message]
        if kept:
            yield "INSERT OR REPLACE INTO retained VALUES (?,?,?,?)", kept
        if gone:
            yield "DELETE FROM retained WHERE topic=?", gone
