"""``curier trace`` with recordings: lines, flows, drawings, the fate of a message."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import pytest
from click.testing import CliRunner, Result

from curier.cli import main
from curier.cli.tracing.sources import _own_broker
from curier.testing import Pair
from curier.trace.events import DENIED, DROPPED, EXPIRED, Happening, Packet
from curier.trace.lines import from_line, to_line
from tests.trace.seen import Seen
from tests.trace.test_serving import readers, served


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A message to two subscribers, one of whom does not answer."""
    pair = Pair(latency=0.0001)
    gateway, dash = pair.connect("gateway-7"), pair.connect("dash-1", version=4)
    slow = pair.connect("slow", manual_acks=True)
    seen = Seen(pair)
    for client in (dash, slow):
        client.subscribe("site/#", qos=1)
    gateway.publish("site/7/temp", b"21.5", qos=2)
    pair.run(2)
    path = tmp_path_factory.mktemp("trace") / "day.curier"
    path.write_text("".join(f"{to_line(event)}\n" for event in seen.events))
    return path


def run(*words: object, text: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["trace", *map(str, words)], input=text)


def test_a_line_for_each_packet(recording: Path) -> None:
    result = run(recording, "--utc")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[4] == '22:13:20.001  gateway-7            →  PUBLISH q2 #1  site/7/temp  "21.5"'
    assert len(lines) == len(recording.read_text().splitlines())


def test_standard_input_and_json_give_the_events_back(recording: Path) -> None:
    text = recording.read_bytes()
    result = run("-", "--json", text=text)
    assert [from_line(line) for line in result.output.splitlines()] == [*map(from_line, text.splitlines())]


def test_flows_say_what_is_waited_for(recording: Path) -> None:
    output = run(recording, "--flows", "--utc").output
    assert "published by gateway-7 #1 at 22:13:20.001: acknowledged +0.3 ms" in output
    assert "slow QoS 1 #1: waits for PUBACK #1 since 22:13:20.001" in output


def test_flows_as_json(recording: Path) -> None:
    flows = [json.loads(line) for line in run(recording, "--flows", "--json").output.splitlines()]
    (publication,) = (flow for flow in flows if flow["flow"] == "publication")
    assert [(one["client_id"], one["fate"]) for one in publication["deliveries"]] == [
        ("dash-1", "got it"),
        ("slow", "waits"),
    ]


@pytest.mark.parametrize("width", [80, 200])
def test_diagrams_fit(recording: Path, width: int) -> None:
    lines = run(recording, "--diagram", "--ascii", "--width", width).output.splitlines()
    assert any("PUBCOMP #1" in line for line in lines)
    assert max(map(len, lines)) <= width
    assert all(line.isascii() for line in lines)


def test_colour_only_where_it_is_wanted(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run(recording, "--diagram", "--utc").output
    assert "\x1b" not in plain
    coloured = run(recording, "--diagram", "--utc", "--color", "always").output
    assert "\x1b[35m" in coloured
    bare = coloured
    for code in ("\x1b[35m", "\x1b[1;31m", "\x1b[1m", "\x1b[0m"):
        bare = bare.replace(code, "")
    assert bare == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(recording, "--diagram", "--utc").output == plain
    assert "\x1b[35m" in run(recording, "--diagram", "--color", "always").output


def test_the_fate_of_a_message(recording: Path) -> None:
    result = run("fate", recording, "--topic", "site/+/temp", "--utc")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "22:13:20.001  site/7/temp  QoS 2, 4 B",
        "  published by gateway-7 #1 at 22:13:20.001: acknowledged +0.3 ms",
        "  slow QoS 1 #1: waits for PUBACK #1 since 22:13:20.001, 0.2 ms",
        "  dash-1 QoS 1 #1: got it at 22:13:20.001 (+0.2 ms)",
    ]
    for words in (("--client", "gateway-7", "--id", "1"), ("--payload", "1.5")):
        assert run("fate", recording, *words, "--utc").output == result.output


def test_a_message_that_was_not_seen(recording: Path) -> None:
    result = run("fate", recording, "--client", "gateway-8")
    assert result.exit_code == 1
    assert "published have: gateway-7" in result.output
    result = run("fate", recording)
    assert result.exit_code == 2
    assert "--topic" in result.output


@pytest.mark.parametrize(
    ("text", "why"),
    [("{}\n", "line 1: event is"), ('{"event":"missed","time":1,"count":1}\nx\n', "line 2: no JSON")],
)
def test_what_is_no_recording_is_refused_with_the_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "wrong.curier"
    path.write_text(text)
    result = run(path)
    assert result.exit_code == 2
    assert why in result.output


def test_a_file_that_is_not_there() -> None:
    result = run("/no/such/file")
    assert result.exit_code == 2
    assert "/no/such/file: No such file or directory" in result.output


def test_help_names_the_subcommands() -> None:
    output = run("--help").output
    assert "trace [OPTIONS] [SOURCE]" in output
    assert "Who got a message" in output


def test_what_is_chosen_is_shown_and_saved(recording: Path, tmp_path: Path) -> None:
    saved = tmp_path / "dash.curier"
    result = run(recording, "--client", "dash-1", "--topic", "site/#", "--save", saved)
    assert [line.split()[3] for line in result.output.splitlines()] == ["PUBLISH", "PUBACK"]
    assert (
        run(saved, "--utc").output
        == run(recording, "--client", "dash-1", "--topic", "site/#", "--utc").output
    )
    flows = run(recording, "--client", "dash-1", "--flows").output
    assert "published by gateway-7" in flows  # all of a publication that the client has to do with
    assert "slow subscribes" not in flows


def test_where_nothing_fits_it_is_said_what_there_was(recording: Path) -> None:
    output = run(recording, "--client", "dash-1 ").output
    assert "0 of 11 events are of what was chosen" in output
    assert "--client: did you mean 'dash-1'?" in output
    assert run(recording, "--address", "nowhere").exit_code == 2


def test_drawings_in_files(recording: Path, tmp_path: Path) -> None:
    drawing, words = tmp_path / "flow.svg", tmp_path / "flow.mmd"
    result = run(recording, "--packets", "--svg", drawing, "--mermaid", words)
    assert result.exit_code == 0
    assert "PUBCOMP #1" in drawing.read_text()
    assert words.read_text().startswith("sequenceDiagram\n")
    result = run(recording, "--svg", drawing, "--flow", "999")
    assert result.exit_code == 1
    assert "no flow has the number 999" in result.output
    result = run(recording, "--svg", tmp_path / "no" / "where.svg")
    assert "No such file or directory" in result.output


def test_a_capture_is_a_source_as_well(recording: Path, tmp_path: Path) -> None:
    capture = tmp_path / "day.pcapng"
    assert run(recording, "--save", capture).exit_code == 0
    assert "PUBLISH q2 #1  site/7/temp" in run(capture).output
    assert "PUBLISH q2 #1  site/7/temp" in run("-", text=capture.read_bytes()).output


def test_a_capture_may_have_the_port_that_wireshark_looks_at(recording: Path, tmp_path: Path) -> None:
    saved, capture = tmp_path / "there.curier", tmp_path / "day.pcapng"
    events = [from_line(line) for line in recording.read_text().splitlines()]
    moved = [
        replace(one, wire=replace(one.wire, server_address="127.0.0.1:18830"))
        for one in events
        if isinstance(one, Packet)
    ]
    saved.write_text("".join(f"{to_line(event)}\n" for event in moved))
    for words, port in ((["--save-port", 1883], 1883), ([], 18830)):
        assert run(saved, "--save", capture, *words).exit_code == 0
        told = [from_line(line) for line in run(capture, "--json").output.splitlines()]
        assert {one.wire.server_address for one in told if isinstance(one, Packet)} == {f"127.0.0.1:{port}"}
    result = run(recording, "--save", saved, "--save-port", 1883)
    assert result.exit_code == 2
    assert "--save-port is for --save FILE.pcapng" in result.output


AT = "22:13:20.000"
KNOWN = "known is what went by since the broker was started; waiting for what follows"
MISHAPS = [
    Happening(1_700_000_000.0, DROPPED, "away", "its queue is full", 0, "site/7"),
    Happening(1_700_000_000.0, EXPIRED, "away", "", 0, "site/7"),
    Happening(1_700_000_000.0, DROPPED, "away", "its queue is full", 0, "other"),
    Happening(1_700_000_000.0, DENIED, "gateway-7", "rule 3", 0, ""),
]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ["fate", "--topic", "site/#"],
            [
                "22:13:20.000  site/7  payload not seen",
                "who published it was not seen",
                "away: did not get it: its queue is full",
                "22:13:20.000  site/7  payload not seen",
                "who published it was not seen",
                "away: did not get it: expired: its Message Expiry Interval has passed",
                KNOWN,
            ],
        ),
        (
            ["fate", "--client", "gateway-7"],
            [
                f"{AT}  gateway-7            *  denied: rule 3",
                "none of 3 publications is such a message",
                KNOWN,
            ],
        ),
        (["fate", "--client", "away"], ["none of 3 publications is such a message", KNOWN]),
        (
            ["--past", "--topic", "other"],
            [
                "22:13:21.000                       *  kept: what went by since the broker was started",
                f"{AT}  away                 *  dropped: its queue is full  other [3]",
                "22:13:21.000                       *  kept: up to here; what follows happens from now on",
            ],
        ),
        (["--topic", "other"], ["0 of 0 events are of what was chosen"]),
    ],
)
async def test_what_went_wrong_before_one_looked(words: list[str], lines: list[str], tmp_path: Path) -> None:
    pair = Pair()
    async with served(tmp_path / "trace.sock", pair, MISHAPS):
        wanted = asyncio.create_task(asyncio.to_thread(run, *words, tmp_path, "--utc"))
        await readers(pair, 1)
    result = await wanted
    told = (result.stdout + result.stderr).splitlines()
    assert [line.strip() for line in told] == lines


def test_the_command_without_a_name_has_one(recording: Path) -> None:
    assert run("show", recording).output == run(recording).output != ""


def test_a_flow_is_chosen_to_be_drawn(recording: Path) -> None:
    result = run(recording, "--flow", 1)
    assert result.exit_code == 2
    assert "--flow says what --svg or --mermaid draws" in result.output


def test_a_recording_is_not_written_over_while_it_is_read(recording: Path, tmp_path: Path) -> None:
    before = recording.read_bytes()
    link = tmp_path / "link.curier"
    link.symlink_to(recording)
    result = run(recording, "--save", link)
    assert result.exit_code == 2
    assert "is the recording that is read" in result.output
    assert recording.read_bytes() == before


def test_a_pipe_from_which_nothing_more_comes_ends_with_ctrl_c(recording: Path) -> None:
    """As where tcpdump is at its other end."""
    command = [sys.executable, "-m", "curier", "trace", "-"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(recording.read_bytes())
        process.stdin.flush()
        assert b"SUBSCRIBE" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(), process.stderr.read()) == (0, b"")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    result = run(tmp_path / "none.curier")
    assert (result.exit_code, "none.curier: No such file" in result.output) == (2, True)
    with (tmp_path / "out").open("wb") as only_for_writing:
        command = [sys.executable, "-m", "curier", "trace", "-"]
        done = subprocess.run(command, stdin=only_for_writing, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, b"Error: standard input: Bad file descriptor\n")


def test_a_command_that_is_misspelt_is_no_file() -> None:
    assert "fates: No such file or directory; did you mean `curier trace fate`?" in run("fates").output


def test_only_a_broker_that_runs_has_a_past(recording: Path) -> None:
    for words in ([recording], ["--proxy", "tcp://127.0.0.1:0", "tcp://127.0.0.1:1"]):
        result = run("--past", *words)
        assert result.exit_code == 2
        assert "--past is for a broker that runs" in result.output


def test_a_broker_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(tmp_path, "--packets")
    assert result.exit_code == 2
    assert f"{tmp_path}/trace.sock: no broker serves traces there" in result.output
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = run()
    assert result.exit_code == 2
    assert f"No broker of this user serves traces at {tmp_path}/curier/trace.sock." in result.output


def test_without_a_word_it_is_the_broker_that_was_started_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its data in the usual place, or in memory; one that was killed has left its socket."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    usual, memory = tmp_path / "curier" / "trace.sock", tmp_path / "curier-trace.sock"
    usual.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as kept, socket.socket(socket.AF_UNIX) as lost:
        lost.bind(str(memory))  # nobody listens there
        kept.bind(str(usual))
        kept.listen()
        os.utime(usual, (1, 1))
        assert _own_broker() == usual
        lost.listen()
        assert _own_broker() == memory
        os.utime(memory, (0, 0))
        assert _own_broker() == usual


async def test_a_broker_that_runs_is_followed_until_it_stops(tmp_path: Path) -> None:
    pair = Pair(latency=0.0001)
    async with served(tmp_path / "trace.sock", pair):
        wanted = asyncio.create_task(
            asyncio.to_thread(run, tmp_path, "--diagram", "--utc", "--topic", "site/#")
        )
        await readers(pair, 1)
        gateway = pair.connect("gateway-7")
        gateway.publish("site/7/temp", b"21.5", qos=1)
        gateway.publish("other", b"21.5", qos=1)
        pair.run(1)
        await asyncio.sleep(0)
    result = await wanted
    assert result.exit_code == 0
    assert "PUBLISH q1 #1  site/7/temp" in result.output
    assert "nobody gets it: no subscription matches its topic" in result.output
    assert "other" not in result.output


async def test_the_fate_of_what_is_published_while_one_looks_on(tmp_path: Path) -> None:
    pair = Pair(latency=0.0001)
    async with served(tmp_path / "trace.sock", pair):
        wanted = asyncio.create_task(asyncio.to_thread(run, "fate", tmp_path, "--payload", "1.5", "--utc"))
        await readers(pair, 1)
        gateway = pair.connect("gateway-7")
        gateway.publish("site/7/temp", b"21.5", qos=1)
        gateway.publish("site/7/temp", b"22", qos=1)
        pair.run(1)
        await asyncio.sleep(0)
    result = await wanted
    assert result.exit_code == 0
    assert result.output.count("published by gateway-7") == 1
    assert "nobody got it: no subscription matches its topic" in result.output
