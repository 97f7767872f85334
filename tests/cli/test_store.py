"""``curier store``: inspect, export, import, backup, on a directory at rest and under a broker that runs."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from curier.cli import main
from curier.errors import StoreError
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
from curier.store.mark import FILE_NAME as MARK_NAME
from curier.store.portable import to_lines
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
    SessionSaved(2, "ben\n", 4, NEVER, 0.0, "č/".encode(), "ben č"),
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
    Retained("č".encode(), 12, 1_700_000_000.25, "ana"),
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
        ["session", "MQTT", "subscriptions", "queued", "inflight", "size", "ends", "mount"],
        ["ana", "5.0", "2", "1", "2", "17", "bytes", "now"],
        ["ben\N{REPLACEMENT CHARACTER}", "3.1.1", "0", "1", "0", "7", "bytes", "never", "č/"],
    ]


def test_inspect_says_nothing_of_mounts_where_there_are_none(tmp_path: Path) -> None:
    write(tmp_path, [SessionSaved(1, "ana", 5, 3600, 0.0)])
    assert "mount" not in run("inspect", tmp_path).stdout


def test_inspect_reads_files_from_before_there_were_mounts(data: Path) -> None:
    with closing(sqlite3.connect(data / FILE_NAME)) as database:
        database.execute("ALTER TABLE sessions DROP COLUMN mount")
        database.execute("ALTER TABLE sessions DROP COLUMN user")
    assert run("inspect", data).stdout.splitlines()[-1].endswith("never")


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
    assert [(one["client_id"], one["mount"], one["user"]) for one in said["sessions"]] == [
        ("ana", "", ""),
        ("ben\n", "č/", "ben č"),
    ]
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
            "no delivery 3 of session 1 above",
        ),
        (HEADER + '{"is": "retained", "topic_base64": "?", "message": 3}\n', "line 2: "),
        (HEADER + "[" * 100_000 + "\n", "line 2: "),
        (HEADER + '{"is": []}\n', 'line 2: "is": expected one of session, subscription'),
        (HEADER + '{"is": "session", "is": "session"}\n', 'line 2: "is" is there twice'),
        (HEADER + SESSION + SESSION.replace('"a"', '"b"'), "line 3: session 1 is there twice"),
        (
            HEADER + SESSION + SESSION.replace('"session": 1', '"session": 2'),
            "line 3: client_id 'a' is there",
        ),
        (HEADER + SESSION.replace('"session": 1', '"session": 0'), 'line 2: "session": 0 is not in 1 to'),
        (HEADER + SESSION.replace('"a"', '""'), 'line 2: "client_id": is empty'),
        (HEADER + SESSION.replace('"a"', '"\\u0000"'), "line 2: U+0000 cannot be sent"),
        (HEADER + SESSION.replace('"a"', '"\\ud800"'), "line 2: a surrogate at character 0 cannot be sent"),
        (HEADER + SESSION.replace(": 5", ": 6"), 'line 2: "version": 6 is not in 3 to 5'),
        (HEADER + SESSION.replace(": 9", ": -1"), 'line 2: "expiry_interval": -1 is not in 0 to 4294967295'),
        (HEADER + SESSION.replace("0.0", "1e400"), 'line 2: "ends_at": inf is no point in time'),
        (HEADER + SESSION.replace("0.0", "NaN"), "line 2: NaN is no JSON"),
        (HEADER + SESSION.replace("0.0", "-1"), 'line 2: "ends_at": -1.0 is no point in time'),
    ],
)
def test_an_import_names_the_line_and_leaves_nothing(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal("import", tmp_path / "new", typed=text)
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    assert said in refusal("import", tmp_path / "new", typed=text)
    assert list((tmp_path / "new").iterdir()) == []
    assert run("import", tmp_path / "new", typed=HEADER + SESSION).exit_code == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == [FILE_NAME]


def without(record: str, **values: object) -> str:
    """One line of ``RECORDS`` with other values."""
    lines = [json.loads(line) for line in to_lines([RECORDS])]
    line = next(line for line in lines if line.get("is") == record)
    return json.dumps({name: value for name, value in {**line, **values}.items() if value is not None})


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("subscription", {"topic_filter": "a#"}, "a wildcard character must occupy an entire level"),
        ("subscription", {"topic_filter": "$share/g"}, "must be followed by '/' and a Topic Filter"),
        ("subscription", {"topic_filter": "\0"}, "U+0000 cannot be sent"),
        ("subscription", {"options": 3}, '"options": 3 are no Subscription Options'),
        ("subscription", {"options": 64}, '"options": 64 is not in 0 to 63'),
        ("subscription", {"identifier": 1 << 28}, '"identifier": 268435456 is not in 0 to 268435455'),
        ("subscription", {}, "subscription 't/#' of 1 is there twice"),
        ("message", {}, "message 10 is there twice"),
        ("message", {"number": 99, "qos": 3}, '"qos": 3 is not in 0 to 2'),
        ("message", {"number": 99, "topic": "a/+"}, "the Topic Name 'a/+' has a wildcard"),
        ("message", {"number": 99, "topic": ""}, "a Topic Name must not be empty"),
        ("message", {"number": 99, "properties": "\x01"}, "Payload Format Indicator"),
        (
            "message",
            {"number": 99, "properties": "\x0b\x01"},
            '"properties": has Properties that have no place',
        ),
        ("message", {"number": 1 << 47}, '"number": 140737488355328 is not in 1 to'),
        ("delivery", {}, "delivery 20 is there twice"),
        ("delivery", {"delivery": 99, "qos": 3}, '"qos": 3 is not in 0 to 2'),
        ("delivery", {"delivery": 99, "message": 98}, "there is no message 98 above"),
        (
            "delivery",
            {"delivery": 99, "identifiers": "\x01\x01"},
            '"identifiers": has Properties that have no',
        ),
        ("delivery", {"delivery": 99, "group": "t/#"}, "expected the Topic Filter of a Shared Subscription"),
        ("sent", {}, "sent 20 is there twice"),
        ("sent", {"packet_id": 0}, '"packet_id": 0 is not in 1 to 65535'),
        ("sent", {"packet_id": 65536}, '"packet_id": 65536 is not in 1 to 65535'),
        ("sent", {"packet_id": 1 << 40}, f'"packet_id": {1 << 40} is not in 1 to 65535'),
        ("sent", {"delivery": 22, "packet_id": 5}, "packet_id 5 of 1 is there twice"),
        (
            "sent",
            {"session": 2, "delivery": 22, "packet_id": 9},
            "there is no delivery 22 of session 2 above",
        ),
        ("received", {}, "received 20 is there twice"),
        ("received", {"delivery": 22, "order": 99}, "delivery 22 was not sent at QoS 2"),
        ("received", {"delivery": 21}, "order 30 is there twice"),
        ("identifier", {}, "identifier 65535 of 2 is there twice"),
        ("identifier", {"packet_id": 65536}, '"packet_id": 65536 is not in 1 to 65535'),
        ("retained", {}, "retained 'č' is there twice"),
        ("retained", {"topic": "other"}, "message 12 has another topic"),
        ("will", {}, "will of session 1 is there twice"),
        ("will", {"session": 2, "delay": -1}, '"delay": -1 is not in 0 to 4294967295'),
        ("will", {"session": 2, "expiry": -2}, '"expiry": -2 is not in -1 to 4294967295'),
    ],
)
def test_an_import_takes_nothing_that_no_broker_writes(
    tmp_path: Path, name: str, values: dict[str, object], said: str
) -> None:
    lines = "".join(f"{line}\n" for line in to_lines([RECORDS]))
    typed = lines + without(name, **values) + "\n"
    assert run("import", tmp_path / "good", typed=lines).exit_code == 0
    heard = refusal("import", tmp_path / "new", typed=typed)
    assert said in heard
    assert heard.startswith(f"standard input, line {len(RECORDS) + 2}: ")
    assert not (tmp_path / "new").exists()


def test_an_import_into_what_is_left_of_another_broker_is_refused(data: Path, tmp_path: Path) -> None:
    lines = run("export", data).stdout_bytes
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / MARK_NAME).touch()
    said = refusal("import", tmp_path / "old", typed=lines)
    assert (
        said == f"{tmp_path / 'old' / MARK_NAME}: is there already; choose another directory, or move it away"
    )


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


# ---- when something is missing, and other accidents ----


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A directory of a broker, whose database is put back to what it was before the last changes."""
    directory = tmp_path / "damaged"

    async def live() -> None:
        async with Broker(["tcp://127.0.0.1:0"], data=directory) as broker:
            broker.publish(Message("t", b"one", retain=True))

    asyncio.run(live())
    shutil.copy(directory / FILE_NAME, tmp_path / "old.db")
    asyncio.run(live())
    shutil.copy(tmp_path / "old.db", directory / FILE_NAME)
    return directory


def test_what_is_missing_is_told(damaged: Path, tmp_path: Path) -> None:
    told = run("inspect", damaged)
    assert told.exit_code == 0
    assert "1 retained messages" in told.stdout
    said = told.stderr.removeprefix("Warning: ").removesuffix("\n")
    assert said.startswith(f"{damaged / FILE_NAME}: it ends at ")
    assert "1 batch of changes that were acknowledged later are missing" in said
    assert json.loads(run("inspect", damaged, "--json").stdout)["missing"] in said
    for command in ("export", "backup"):
        file = tmp_path / command
        assert refusal(command, damaged, file) == f"{said}; --accept-loss takes what is there"
        assert not file.exists()
        assert run(command, damaged, file, "--accept-loss").exit_code == 0
        assert file.exists()


def test_a_database_that_is_gone_is_missing(damaged: Path) -> None:
    (damaged / FILE_NAME).unlink()
    assert "the database is missing, and 2 batches of changes" in refusal("inspect", damaged)


async def test_a_backup_needs_no_mark_and_takes_no_other(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "copy.db"
    for payload in (b"one", b"two"):
        async with Broker(["tcp://127.0.0.1:0"], data=data) as broker:
            broker.publish(Message("t", payload, retain=True))
        if payload == b"one":
            assert run("backup", data, file).exit_code == 0
    for path in data.glob(f"{FILE_NAME}*"):
        path.unlink()
    shutil.copy(file, data / FILE_NAME)
    with pytest.raises(StoreError, match="another database than the broker wrote last"):
        await Broker(["tcp://127.0.0.1:0"], data=data).start()
    (data / MARK_NAME).unlink()
    async with Broker(["tcp://127.0.0.1:0"], data=data) as broker:
        assert len(broker.core.retained) == 1
    (data / MARK_NAME).unlink()  # it is no copy any more
    with pytest.raises(StoreError, match=r"curier\.mark is missing"):
        await Broker(["tcp://127.0.0.1:0"], data=data).start()


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "curier", "store", *map(str, arguments)]


def test_an_import_that_is_killed_leaves_nothing_a_broker_would_take(data: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    lines = run("export", data).stdout_bytes
    with subprocess.Popen(command("import", new), stdin=subprocess.PIPE) as killed:
        assert killed.stdin is not None
        killed.stdin.write(lines + b" " * 5_000_000)
        killed.stdin.flush()
        while not list(new.glob("curier-import*")):
            time.sleep(0.01)
        second = subprocess.run(command("import", new), input=lines, capture_output=True, check=False)
        assert second.returncode == 2
        assert f"in use by process {killed.pid}".encode() in second.stderr
        killed.kill()
    assert not (new / FILE_NAME).exists()
    assert run("import", new, typed=lines).exit_code == 0
    assert [path.name for path in new.iterdir()] == [FILE_NAME]
    assert read(new) == read(data)


def on_a_full_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))  # as much as SQLite's shared memory takes


@pytest.mark.parametrize("what", ["export", "backup", "import"])
def test_a_full_disk_is_told_and_nothing_is_left(data: Path, tmp_path: Path, what: str) -> None:
    write(data, [message(number, b"x" * 5000) for number in range(100, 120)])
    whole = tmp_path / "whole.jsonl"
    assert run("export", data, whole).exit_code == 0
    target = tmp_path / "target"
    arguments = (target, whole) if what == "import" else (data, target)
    result = subprocess.run(
        command(what, *arguments), preexec_fn=on_a_full_disk, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith(f"Error: {target}"), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not target.exists()


def test_standard_output_that_takes_nothing_is_told(data: Path) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(command("export", data), stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.returncode != 0
    assert b"Traceback" not in result.stderr
    assert b"No space left on device" in result.stderr


async def test_all_may_be_used_while_the_broker_runs(tmp_path: Path) -> None:
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
