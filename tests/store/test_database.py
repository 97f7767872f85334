"""Files that cannot be used, each told with its name and the way out; and a file that is full."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from curier.errors import StoreError
from curier.session.message import ApplicationMessage
from curier.session.records import (
    IdentifierFreed,
    IdentifierTaken,
    MessageSaved,
    Queued,
    Record,
    Retained,
    SessionEnded,
    SessionSaved,
)
from curier.store.database import FILE_NAME, Database
from curier.store.directory import lock, prepare
from tests.store.history import restored

SESSION = SessionSaved(1, "ana", 5, 60, 0.0)


def made(directory: Path, *records: Record) -> Path:
    database = Database(directory)
    database.apply([SESSION, *records])
    database.close()
    return directory / FILE_NAME


def refusal(directory: Path) -> str:
    with pytest.raises(StoreError) as refused:
        list(Database(directory).records())
    said = str(refused.value)
    assert said.startswith(str(directory)), said
    return said


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    assert made(tmp_path).stat().st_mode & 0o777 == 0o600


def test_its_syncs_are_those_of_the_journal_file(tmp_path: Path) -> None:
    """What it has is written over there: on macOS ``fsync`` alone would not do."""
    database = Database(tmp_path)
    asked = {name: database.connection.execute(f"PRAGMA {name}").get for name in ("synchronous", "fullfsync")}
    database.close()
    assert asked == {"synchronous": 2, "fullfsync": 1}


def test_a_new_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"anything but a database " * 1000)
    said = refusal(tmp_path)
    assert "damaged or no database" in said
    assert "restore a backup in its place, or move it away" in said


def test_a_database_of_another_program(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE_NAME)
    other.execute("CREATE TABLE sessions (a)")
    other.close()
    assert "not a database of curier; choose another directory with --data DIR" in refusal(tmp_path)


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    newer = sqlite3.connect(made(tmp_path))
    newer.execute("PRAGMA user_version=7")
    newer.close()
    said = refusal(tmp_path)
    assert "written by another version of curier (format 7, not 1)" in said
    assert "curier store export" in said


@pytest.mark.parametrize("page", [0, 1, 2, 4])
def test_a_damaged_file(tmp_path: Path, page: int) -> None:
    saved: list[Record] = []
    for number in range(2, 400):
        saved.append(MessageSaved(number, ApplicationMessage(b"t", b"x" * 500, 1, False)))
        saved.append(Queued(1, number + 1000, number, 1, False, b"", b""))
    file = made(tmp_path, *saved)
    data = bytearray(file.read_bytes())
    tables = range(page * 4096, (page + 1) * 4096) if page else range(100, 4096)
    for place in tables:
        data[place] = 0xAA
    file.write_bytes(data)
    said = refusal(tmp_path)
    assert "damaged" in said
    assert "restore a backup in its place, or move it away" in said


def test_a_file_cut_off(tmp_path: Path) -> None:
    file = made(
        tmp_path, *(MessageSaved(n, ApplicationMessage(b"t", b"x" * 900, 1, False)) for n in range(2, 99))
    )
    os.truncate(file, file.stat().st_size // 2)
    assert "damaged" in refusal(tmp_path)


def test_text_that_is_none(tmp_path: Path) -> None:
    other = sqlite3.connect(made(tmp_path))
    other.execute("UPDATE sessions SET client_id=CAST(x'ff' AS TEXT)")
    other.commit()
    other.close()
    assert "the file is damaged" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("table", "column"), [("messages", "topic"), ("messages", "payload"), ("deliveries", "message")]
)
def test_a_value_of_another_kind(tmp_path: Path, table: str, column: str) -> None:
    message = ApplicationMessage(b"t", b"x", 1, False)
    other = sqlite3.connect(made(tmp_path, MessageSaved(2, message), Queued(1, 3, 2, 1, False, b"", b"")))
    other.execute(f"UPDATE {table} SET {column}=0.5")
    other.commit()
    other.close()
    with pytest.raises(StoreError, match=r"record (is damaged|names 0\.5, which is not there)"):
        restored(list(Database(tmp_path).records()), 0.0)


def test_a_directory_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    said = refusal(tmp_path)
    assert "cannot be opened" in said
    assert "--data DIR" in said


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match=f"^{re.escape(str(tmp_path))}/data: cannot be made .*--data DIR"):
        prepare(tmp_path / "data")
    with pytest.raises(StoreError, match=r"data: cannot be opened .*--data DIR"):
        lock(tmp_path / "data")


def test_a_full_file_takes_nothing_of_a_batch_and_more_when_there_is_room(tmp_path: Path) -> None:
    made(tmp_path)
    large = MessageSaved(2, ApplicationMessage(b"t", b"x" * 200_000, 1, False))
    database = Database(tmp_path, max_bytes=100_000)
    with pytest.raises(apsw.FullError) as full:
        database.apply([SessionSaved(3, "ben", 5, 60, 0.0), large])
    said = str(database.explain(full.value))
    assert said == f"{tmp_path / FILE_NAME}: the disk is full; make room and service resumes by itself"
    assert database.count("sessions") == 1
    database.apply([SessionSaved(3, "ben", 5, 60, 0.0)])
    database.close()
    database = Database(tmp_path)
    database.apply([large])
    assert (database.count("sessions"), database.count("messages")) == (2, 1)
    database.close()


def test_a_directory_in_use_is_refused_with_the_process_that_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from curier.store.directory import lock; "
        "lock(pathlib.Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StoreError, match=f"in use by process {holder.pid}; stop that broker, or choose"):
            lock(tmp_path)
    os.close(lock(tmp_path))


def test_the_next_broker_waits_for_a_store_that_is_finishing(tmp_path: Path) -> None:
    """The broker was killed, its store still has the lock for a moment."""
    program = (
        "import os, sys, time, pathlib; from curier.store.directory import lock; "
        "lock(pathlib.Path(sys.argv[1])); print(flush=True); "
        "os.fork() and os._exit(0); os.close(1); time.sleep(0.5)"
    )
    dying = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    with dying:
        assert dying.stdout is not None
        dying.stdout.readline()
        dying.wait(100)
        os.close(lock(tmp_path))


def test_a_file_of_before_it_was_known_when_something_was_retained(tmp_path: Path) -> None:
    path = made(tmp_path)
    other = sqlite3.connect(path)
    for column in ("writer", "written_at"):
        other.execute(f"ALTER TABLE retained DROP COLUMN {column}")
    other.execute("INSERT INTO retained VALUES (x'61', 7)")
    other.commit()
    other.close()

    def found(database: Database) -> list[tuple[bytes, int, float, str]]:
        records = [one for piece in database.records() for one in piece]
        return [
            (one.topic, one.message, one.written_at, one.writer)
            for one in records
            if isinstance(one, Retained)
        ]

    reader = Database(tmp_path, read_only=True)
    assert found(reader) == [(b"a", 7, 0.0, "")]
    reader.close()
    database = Database(tmp_path)
    database.apply([Retained(b"b", 8, 5.5, "ana")])
    assert found(database) == [(b"a", 7, 0.0, ""), (b"b", 8, 5.5, "ana")]
    database.close()


@pytest.mark.parametrize("missing", [["user"], ["user", "mount"]])
def test_a_file_of_before_sessions_had_mounts_or_users(tmp_path: Path, missing: list[str]) -> None:
    path = made(tmp_path)
    other = sqlite3.connect(path)
    for column in missing:
        other.execute(f"ALTER TABLE sessions DROP COLUMN {column}")
    other.commit()
    other.close()
    reader = Database(tmp_path, read_only=True)
    sessions = [one for piece in reader.records() for one in piece if isinstance(one, SessionSaved)]
    assert [(one.client_id, one.mount, one.user) for one in sessions] == [("ana", b"", "")]
    reader.close()
    for _ in range(2):
        database = Database(tmp_path)
        database.apply([SessionSaved(2, "ben", 5, 60, 0.0, b"site-a/", "u")])
        pieces = list(database.records())
        found = [(one.mount, one.user) for one in pieces[0] if isinstance(one, SessionSaved)]
        assert found == [(b"", ""), (b"site-a/", "u")]
        database.close()


def test_a_session_that_ends_takes_its_identifiers_along_and_no_others(tmp_path: Path) -> None:
    """However many there are in the batch: those of others are not even looked at."""
    database = Database(tmp_path, "os")
    sessions: list[Record] = [SessionSaved(number, f"c{number}", 5, 60, 0.0) for number in (1, 2, 3)]
    database.apply([*sessions, IdentifierTaken(1, 1), IdentifierTaken(1, 65535), IdentifierTaken(2, 1)])
    database.apply(
        [
            IdentifierTaken(1, 2),
            IdentifierFreed(1, 1),
            IdentifierTaken(2, 65535),
            IdentifierTaken(3, 0x7FFF),
            SessionEnded(1),
            IdentifierFreed(2, 1),
            IdentifierTaken(2, 1),
        ]
    )
    records = [record for piece in database.records() for record in piece]
    kept = {(one.session, one.packet_id) for one in records if isinstance(one, IdentifierTaken)}
    assert kept == {(2, 1), (2, 65535), (3, 0x7FFF)}
    database.close()
