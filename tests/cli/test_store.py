"""``curier store``: inspect, export, import, backup, on a directory at rest and under a broker that runs."""

from __future__ import annotations

import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from curier.cli import main
from curier.server import Broker
from curier.session.message import ApplicationMessage
from curier.session.records import (
    IdentifierTaken,
    MessageSaved,
    Queued,
    Received,
    Record,
    Retained,
    Sent,
    SessionSaved,
    Subscribed,
    WillSaved,
)
from curier.store.database import FILE_NAME, Database
from curier.types import Message
from tests.store.history import START, History, restored, state
from tests.waiting import PATIENCE

NEVER = 0xFFFFFFFF


def run(*arguments: str | Path, typed: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["store", *map(str, arguments)], input=typed)


def refusal(*arguments: str | Path, typed: str | bytes = "") -> str:
    """What is said, in one line, when the command fails."""
    result = run(*arguments, typed=typed)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def message(number: int, payload: bytes, topic: bytes = b"t", expires_at: float = 0.0) -> MessageSaved:
    return MessageSaved(number, ApplicationMessage(topic, payload, 2, True, b"\x01\x01", expires_at))


RECORDS: list[Record] = [
    SessionSaved(1, "ana", 5, 3600, 1_700_000_000.5),
    SessionSaved(2, "ben\n", 4, NEVER, 0.0),
    Subscribed(1, b"t/#", 2, 7),
    Subscribed(1, "č".encode(), 1, 0),
    message(10, b"text"),
    message(11, b"\x00\xff", expires_at=1_700_000_100.25),
    message(12, b"", "č".encode()),
    Queued(1, 20, 10, 2, False, b"\x0b\x07", b""),
    Queued(1, 21, 11, 2, True, b"", b"$share/g/t/#"),
    Queued(1, 22, 11, 1, True, b"", b""),
    Queued(2, 23, 10, 1, True, b"", b""),
    Sent(1, 20, 5),
    Sent(1, 21, 6),
    Received(1, 20, 30),
    IdentifierTaken(2, 65535),
    Retained("č".encode(), 12),
    WillSaved(1, ApplicationMessage(b"w", b"gone", 1, False), 30, -1, 0.0),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    write(directory, RECORDS)
    return directory


def write(directory: Path, *batches: list[Record]) -> None:
    database = Database(directory)
    for records in batches:
        database.apply(records)
    database.close()


def read(directory: Path) -> dict[str, object]:
    database = Database(directory)
    kept = state(restored(list(database.records()), START))
    database.close()
    return kept


# ---- inspect ----


def test_inspect_says_what_is_there(data: Path) -> None:
    lines = run("inspect", data).stdout.splitlines()
    assert lines[0].startswith(f"{data / FILE_NAME}: ")
    assert lines[1] == (
        "2 sessions, 2 subscriptions, 4 deliveries of 3 messages, 1 retained messages (4 bytes), 1 wills"
    )
    assert [line.split() for line in lines[3:]] == [
        ["session", "MQTT", "subscriptions", "queued", "inflight", "size", "ends"],
        ["ana", "5.0", "2", "1", "2", "17", "bytes", "now"],
        ["ben\N{REPLACEMENT CHARACTER}", "3.1.1", "0", "1", "0", "7", "bytes", "never"],
    ]


def test_inspect_lists_as_many_sessions_as_asked_for(data: Path) -> None:
    said = run("inspect", data, "--limit", "1").stdout
    assert said.endswith("... and 1 more: --limit 0 shows all\n")
    assert "ben" not in said
    assert "ben" in run("inspect", data, "--limit", "0").stdout


def test_inspect_as_json(data: Path) -> None:
    said = json.loads(run("inspect", data, "--json").stdout)
    assert said["rows"] == {
        "sessions": 2,
        "subscriptions": 2,
        "messages": 3,
        "deliveries": 4,
        "retained": 1,
        "wills": 1,
    }
    assert said["file_bytes"] >= (data / FILE_NAME).stat().st_size
    assert [session["client_id"] for session in said["sessions"]] == ["ana", "ben\n"]
    assert said["sessions"][0]["ends_at"] == 1_700_000_000.5


def test_inspect_changes_nothing(data: Path) -> None:
    before = (data / FILE_NAME).read_bytes()
    run("inspect", data)
    assert (data / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("command", ["inspect", "export", "backup"])
def test_a_directory_without_a_database(tmp_path: Path, command: str) -> None:
    more = [tmp_path / "copy"] if command == "backup" else []
    assert refusal(command, tmp_path, *more) == (
        f"{tmp_path / FILE_NAME}: there is no such file; DIR is what curier broker was given with --data"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["inspect", "export", "backup"])
def test_a_file_that_is_no_database(tmp_path: Path, command: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"x" * 10_000)
    more = [tmp_path / "copy"] if command == "backup" else []
    assert "damaged or no database" in refusal(command, tmp_path, *more)
    assert not (tmp_path / "copy").exists()


# ---- export and import ----


def test_export_and_import_give_the_same_state(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "state.jsonl"
    assert run("export", data, file).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    result = run("import", tmp_path / "new", file)
    assert result.stdout == f"{len(RECORDS)} records are in {tmp_path / 'new' / FILE_NAME}\n"
    assert read(tmp_path / "new") == read(data)


@pytest.mark.parametrize("seed", range(10))
def test_any_state_survives_the_way_over_standard_output(tmp_path: Path, seed: int) -> None:
    from curier.session.records import decode

    history = History(seed)
    history.run(150)
    (tmp_path / "old").mkdir()
    write(tmp_path / "old", *[decode(batch) for batch in history.batches])
    lines = run("export", tmp_path / "old").stdout_bytes
    assert run("import", tmp_path / "new", typed=lines).exit_code == 0
    assert read(tmp_path / "new") == read(tmp_path / "old")
    assert run("export", tmp_path / "new", "-").stdout_bytes == lines


def test_an_export_is_for_people_too(data: Path) -> None:
    lines = [json.loads(line) for line in run("export", data).stdout.splitlines()]
    assert lines[0] == {"curier": "store", "format": 1}
    messages = {line["number"]: line for line in lines if line.get("is") == "message"}
    assert messages[10]["payload"] == "text"
    assert messages[11]["payload_base64"] == "AP8="
    assert messages[12]["topic"] == "č"


def test_an_export_overwrites_nothing(data: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    said = refusal("export", data, tmp_path / "precious")
    assert said == f"{tmp_path / 'precious'}: is there already; choose another name, or move it away"
    assert (tmp_path / "precious").read_text() == "x"


def test_an_import_overwrites_nothing(data: Path) -> None:
    before = read(data)
    said = refusal("import", data, typed='{"curier": "store", "format": 1}\n')
    assert said == f"{data / FILE_NAME}: is there already; choose another directory, or move it away"
    assert read(data) == before


HEADER = '{"curier": "store", "format": 1}\n'
SESSION = (
    '{"is": "session", "session": 1, "client_id": "a", "version": 5, "expiry_interval": 9, "ends_at": 0.0}\n'
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "standard input: is empty; expected what 'curier store export' writes"),
        ("{}\n", "line 1: expected {"),
        ("nonsense\n", "line 1: Expecting value"),
        ('{"curier": "store", "format": 9}\n', "line 1: format 9 is of another version of curier"),
        (HEADER + "[]\n", "line 2: expected a JSON object"),
        (HEADER + '{"is": "Session"}\n', 'line 2: "is": expected one of session, subscription'),
        (HEADER + SESSION.replace('"session": 1, ', ""), 'line 2: "session" is missing'),
        (HEADER + SESSION.replace("5", '"5"'), "line 2: \"version\": expected a whole number, got '5'"),
        (HEADER + SESSION.replace("5", "true"), 'line 2: "version": expected a whole number, got True'),
        (HEADER + SESSION.replace("9", "9" * 30), 'line 2: "expiry_interval": 999'),
        (HEADER + SESSION.replace("}", ', "more": 1}'), "line 2: unknown: more"),
        (HEADER + SESSION + SESSION[:-5] + "\n", "line 3: "),
        (
            HEADER + '{"is": "identifier", "session": 1, "packet_id": 1}\n',
            "line 2: there is no session 1 above",
        ),
        (HEADER + '{"is": "retained", "topic": "a", "message": 3}\n', "line 2: there is no message 3 above"),
        (
            HEADER + SESSION + '{"is": "sent", "session": 1, "delivery": 3, "packet_id": 1}\n',
            "no delivery 3 above",
        ),
        (HEADER + '{"is": "retained", "topic_base64": "?", "message": 3}\n', "line 2: "),
        (HEADER + "[" * 100_000 + "\n", "line 2: "),
    ],
)
def test_an_import_names_the_line_and_leaves_nothing(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal("import", tmp_path / "new", typed=text)
    assert not list((tmp_path / "new").glob(f"{FILE_NAME}*"))
    assert run("import", tmp_path / "new", typed=HEADER + SESSION).exit_code == 0


def test_an_import_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    said = refusal("import", tmp_path / "new", tmp_path / "nothing")
    assert said == f"{tmp_path / 'nothing'}: cannot be read: No such file or directory"


# ---- backup ----


def test_a_backup_can_be_put_in_place(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    result = run("backup", data, file)
    assert result.stdout.startswith(f"{file}: ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (tmp_path / "again").mkdir()
    file.rename(tmp_path / "again" / FILE_NAME)
    assert read(tmp_path / "again") == read(data)


def test_a_backup_overwrites_nothing(data: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    said = refusal("backup", data, tmp_path / "precious")
    assert said == f"{tmp_path / 'precious'}: is there already; choose another name, or move it away"
    assert "cannot be written" in refusal("backup", data, tmp_path / "nowhere" / "copy")


async def test_all_may_be_used_while_the_broker_runs(tmp_path: Path) -> None:
    import asyncio

    data = tmp_path / "data"

    async def told(*arguments: Any) -> Result:
        result = await asyncio.to_thread(run, *arguments)
        assert result.exit_code == 0, result.output
        return result

    async with Broker(["tcp://127.0.0.1:0"], data=data) as broker:
        broker.publish(Message("t", b"one", retain=True))
        async with asyncio.timeout(PATIENCE):
            while "1 retained messages" not in (await told("inspect", data)).stdout:
                pass  # it took its time
        await told("backup", data, tmp_path / "copy.db")
        await told("export", data, tmp_path / "copy.jsonl")
        assert "in use by process" in await asyncio.to_thread(
            refusal, "import", data, tmp_path / "copy.jsonl"
        )
        broker.publish(Message("t2", b"two", retain=True))
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT topic FROM retained").fetchall() == [(b"t",)]
    copy.close()
    retained = read(data)["retained"]
    assert isinstance(retained, dict)
    assert set(retained) == {b"t", b"t2"}
