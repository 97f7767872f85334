"""``curier trace replay``: recordings and captures, against a broker that listens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from curier.cli import main
from curier.testing import Pair
from curier.trace.events import Event, Packet
from curier.trace.recordings import writer
from tests.cli.conftest import BrokerThread
from tests.waiting import in_longer


def run(*words: object, text: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["trace", "replay", *map(str, words)], input=text)


def save(events: list[Event], path: Path) -> Path:
    with path.open("wb") as file:
        made = writer(file, path.name)
        for event in events:
            made.write(event)
    return path


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """A meter and a reader: an exchange of every QoS, and a subscription that ends."""
    pair = Pair()
    seen = pair.record_wires()
    reader, meter = pair.connect("reader"), pair.connect("meter", version=4)
    reader.subscribe("replay/#", qos=2)
    for qos in range(3):
        meter.publish("replay/a", b"%d" % qos, qos=qos)
    meter.publish("replay/b", b"other", qos=2)
    pair.run(1)
    reader.unsubscribe("replay/#")
    meter.disconnect()
    pair.run(1)
    return list(seen)


@pytest.fixture
def url(broker: BrokerThread) -> str:
    return f"mqtt://127.0.0.1:{broker.port}"


@pytest.mark.parametrize(
    ("name", "words"), [("day.curier", []), ("day.pcapng", []), ("day.curier", ["--speed", "100"])]
)
def test_the_same_answers_come_again(
    events: list[Event], url: str, tmp_path: Path, name: str, words: list[str]
) -> None:
    result = run(save(events, tmp_path / name), "--to", url, "--prefix", "again-", *words)
    assert result.output.splitlines()[-1].endswith(" steps, as then")
    assert result.exit_code == 0


def test_standard_input_and_a_chosen_topic(events: list[Event], url: str, tmp_path: Path) -> None:
    whole = run(save(events, tmp_path / "day.curier"), "--to", url).output
    text = (tmp_path / "day.curier").read_bytes()
    result = run("-", "--to", url, "--topic", "replay/b", text=text)
    assert result.exit_code == 0
    assert result.output.endswith(" steps, as then\n")
    left_out = 2 * (1 + 2 + 4)  # replay/a: both ways, by QoS
    assert int(result.output.split()[0]) == int(whole.split()[0]) - left_out


def test_what_is_otherwise_is_told_and_the_exit_code_says_so(
    events: list[Event], url: str, tmp_path: Path
) -> None:
    denied = [
        event
        if not (isinstance(event, Packet) and event.data[0] >> 4 == 9)
        else Packet(event.time, event.wire, False, event.data[:-1] + b"\x87")
        for event in events
    ]
    path = save(denied, tmp_path / "day.curier")
    result = run(path, "--to", url)
    assert result.exit_code == 1
    assert (
        "reader: SUBACK: reason codes 0x87 (Not authorized) then, 0x02 (Granted QoS 2) now" in result.output
    )
    assert result.output.endswith(" steps, 1 difference\n")
    (line,) = run(path, "--to", url, "--json").output.splitlines()
    assert json.loads(line)["client_id"] == "reader"


def test_what_was_there_before_the_recording_is_told_and_is_no_difference(url: str, tmp_path: Path) -> None:
    pair = Pair()
    pair.connect("before").publish("replay/kept", b"x", retain=True)
    pair.run(1)
    seen = pair.record_wires()
    pair.connect("reader").subscribe("replay/kept")
    path = save(list(seen), tmp_path / "day.curier")
    result = in_longer(
        lambda seconds: run(path, "--to", url, "--patience", seconds), lambda result: result.exit_code == 0
    )
    assert result.exit_code == 0
    kept = 'PUBLISH QoS 0 RETAIN replay/kept 1 byte "x" came then, and does not now'
    assert result.output.splitlines() == [
        f"reader: {kept} (from before the recording)",
        "6 steps, as then, 1 from before the recording",
    ]
    result = in_longer(
        lambda seconds: run(path, "--to", url, "--patience", seconds, "--json"),
        lambda result: result.exit_code == 0,
    )
    (line,) = result.output.splitlines()
    assert json.loads(line)["before"] is True


def test_step_by_step(events: list[Event], url: str, tmp_path: Path) -> None:
    path = save(events, tmp_path / "day.curier")
    sent = sum(isinstance(event, Packet) and event.to_server for event in events)
    assert run(path, "--to", url, "--step", text=b"\n" * sent).exit_code == 0
    result = run(path, "--to", url, "--step", text=b"\n")
    assert result.exit_code == 1
    assert "reader: CONNECT 5.0 reader" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--to", "mqtt://192.0.2.1"],
            "is not on this machine: if you mean to play it there, add --anywhere",
        ),
        (["--client", "nobody"], "there is nothing to be played"),
        (["--to", "mqtt://127.0.0.1:1"], "nobody listens there"),
        (["--to", "gopher://x"], "gopher"),
        (["--speed", "0"], "--speed"),
    ],
)
def test_what_cannot_be(events: list[Event], tmp_path: Path, words: list[str], said: str) -> None:
    result = run(save(events, tmp_path / "day.curier"), *words)
    assert result.exit_code != 0
    assert said in " ".join(result.output.split())


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "day.curier"
    assert "No such file" in run(path).output
    path.write_text('{"event":"x"}\n')
    assert "line 1" in run(path).output
    assert "of what?" in run().output
    assert "--step reads standard input" in run("-", "--step").output
