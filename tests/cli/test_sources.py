"""What is published: a message, lines, lines of JSON; and how fast."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curier.cli.formats import Look, printer
from curier.cli.sources import Pace, Source, check_sources, message_of_json, read_lines
from curier.errors import ConfigError
from curier.types import Message, QoS
from tests.strategies import blobs, four_bytes, texts, topic_names, user_properties

PATTERN = Message("a/b", qos=QoS(1), retain=True)

MESSAGES = st.builds(
    Message,
    topic_names,
    texts.map(str.encode) | blobs,
    st.sampled_from(QoS),
    st.booleans(),
    payload_is_text=st.booleans(),
    message_expiry=st.none() | four_bytes,
    content_type=st.none() | texts,
    response_topic=st.none() | topic_names,
    correlation_data=st.none() | blobs,
    user_properties=user_properties.map(tuple),
)

Feed = Callable[[bytes], None]


@pytest.fixture
def stdin_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Puts a new pipe in the place of standard input; returns the end to write to."""
    with ExitStack() as files:

        def replace() -> int:
            reader, writer = os.pipe()
            file = files.enter_context(os.fdopen(reader, "rb"))
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
            return writer

        yield replace


@pytest.fixture
def stdin(stdin_pipe: Callable[[], int]) -> Feed:
    """Gives bytes to standard input, which then ends."""

    def feed(data: bytes) -> None:
        writer = stdin_pipe()
        os.write(writer, data)
        os.close(writer)

    return feed


async def lines_of(path: Path | None) -> list[bytes]:
    return [line async for lines in read_lines(path, [0.0]) for line in lines]


# -- one message --


async def test_one_message(tmp_path: Path, stdin: Feed) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"\xffa\n")
    assert (await Source("message", PATTERN, "hä").one()).payload == "hä".encode()
    assert (await Source("message", PATTERN, "\udcff").one()).payload == b"\xff"  # as the shell gave it
    assert (await Source("null", PATTERN).one()).payload == b""
    assert (await Source("file", PATTERN, file=file).one()).payload == b"\xffa\n"
    stdin(b"a\nb\n")
    message = await Source("stdin", PATTERN).one()
    assert message == Message("a/b", b"a\nb\n", QoS(1), True)


async def test_a_payload_is_encoded(tmp_path: Path) -> None:
    assert (await Source("message", PATTERN, "00 ff", encode="hex").one()).payload == b"\x00\xff"
    assert (await Source("message", PATTERN, '{"a":1}', encode="cbor").one()).payload == b"\xa1\x61a\x01"
    with pytest.raises(ConfigError, match=r"^-m is not hex: "):
        await Source("message", PATTERN, "0", encode="hex").one()
    file = tmp_path / "payload"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="payload: expected UTF-8 text"):
        await Source("file", PATTERN, file=file, encode="json").one()


# -- lines --


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"\n\nc\r\n", [b"", b"", b"c\r"]),
        (b"x" * 200_000 + b"\ny", [b"x" * 200_000, b"y"]),
    ],
)
async def test_lines_of_a_file(tmp_path: Path, data: bytes, expected: list[bytes]) -> None:
    file = tmp_path / "lines"
    file.write_bytes(data)
    assert await lines_of(file) == expected


async def test_lines_of_standard_input_come_as_they_are_written(stdin_pipe: Callable[[], int]) -> None:
    writer = stdin_pipe()
    lines = read_lines(None, [0.0])
    waiting = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    assert not waiting.done()
    os.write(writer, b"a\nb")
    assert await waiting == [b"a"]
    waiting = asyncio.ensure_future(anext(lines))
    os.write(writer, b"c\n")
    assert await waiting == [b"bc"]
    os.close(writer)
    assert [line async for line in lines] == []


async def test_waiting_for_standard_input_can_be_cancelled(stdin_pipe: Callable[[], int]) -> None:
    writer = stdin_pipe()
    waiting = asyncio.ensure_future(anext(read_lines(None, [0.0])))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    os.close(writer)


async def test_what_stands_in_for_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\nb")))
    assert await lines_of(None) == [b"a", b"b"]


async def test_it_is_known_how_much_of_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"x\n" * 100_000)
    share = [0.0]
    seen = []
    async for _ in read_lines(file, share):
        seen.append(share[0])
    assert (seen[-1], seen == sorted(seen)) == (1.0, True)
    assert 0 < seen[0] < 0.5


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: No such file or directory"):
        await lines_of(tmp_path / "none")


async def test_lines_become_messages(stdin: Feed) -> None:
    stdin(b"a\nb\n")
    found = [one async for batch in Source("lines", PATTERN).many([0.0]) for one in batch]
    assert found == [("a/b", b"a"), ("a/b", b"b")]
    stdin(b"00\nff\n")
    found = [one async for batch in Source("lines", PATTERN, encode="hex").many([0.0]) for one in batch]
    assert found == [Message("a/b", b"\0", QoS(1), True), Message("a/b", b"\xff", QoS(1), True)]
    stdin(b"a\n")
    pattern = Message("a", content_type="text/plain")
    found = [one async for batch in Source("lines", pattern).many([0.0]) for one in batch]
    assert found == [Message("a", b"a", content_type="text/plain")]


async def test_a_line_that_is_wrong_is_named(stdin: Feed) -> None:
    stdin(b"00\n0\n")
    with pytest.raises(ConfigError, match=r"^line 2 is not hex"):
        [one async for batch in Source("lines", PATTERN, encode="hex").many([0.0]) for one in batch]
    stdin(b'{"payload": "a"}\n\n')
    with pytest.raises(ConfigError, match=r"^line 2: "):
        [one async for batch in Source("lines", PATTERN, json_lines=True).many([0.0]) for one in batch]


# -- lines of JSON --


@given(MESSAGES)
def test_what_sub_prints_as_json_can_be_published(message: Message) -> None:
    line = printer(Look(json_lines=True))(message)
    assert message_of_json(line, Message(""), "line 1") == message


def test_what_json_leaves_out_is_as_the_options_say() -> None:
    pattern = Message("a", qos=QoS(2), retain=True, content_type="x")
    assert message_of_json(b"{}", pattern, "") == Message("a", b"", QoS(2), True, content_type="x")
    told = {"topic": "b", "qos": 0, "retain": 0, "payload": {"a": [1, None]}}
    assert message_of_json(json.dumps(told).encode(), pattern, "") == Message(
        "b", b'{"a":[1,null]}', content_type="x"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "Expecting value"),
        ("[]", "expected an object, as curier sub --json writes it"),
        ("{}", "expected a topic: in the object, or with -t"),
        ('{"topic": 1}', "topic: expected text"),
        ('{"topic": "a", "qos": 3}', "qos: expected 0, 1 or 2, got 3"),
        ('{"topic": "a", "qos": true}', "qos: expected a whole number"),
        ('{"topic": "a", "retain": 2}', "retain: expected 0 or 1"),
        ('{"topic": "a", "playload": ""}', "playload: there is no such key; there are: topic, "),
        ('{"topic": "a", "payload-base64": "?"}', "payload-base64: "),
        ('{"topic": "a", "properties": {"colour": 1}}', "colour: there is no such property"),
        ('{"topic": "a", "properties": {"user-properties": [["a", "b"]]}}', "expected an object"),
        ('{"topic": "a", "properties": {"user-properties": {"a": 1}}}', "user-properties: expected texts"),
        ('{"topic": "a", "properties": {"content-type": 1}}', "content-type: expected text"),
    ],
)
def test_json_that_is_no_message_is_told(line: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        message_of_json(line.encode(), Message(""), "line 7")
    assert str(raised.value).startswith("line 7: ")
    assert said in str(raised.value)


# -- time --


async def test_a_pace_is_kept_in_the_mean() -> None:
    now = 100.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(4.0, lambda: now, sleep)
    for _ in range(5):
        await pace.wait()
    assert slept == [0.25] * 4
    now += 0.5  # a delay is made good
    for _ in range(4):
        await pace.wait()
    assert slept == [*[0.25] * 4, 0.25, 0.25]
    now += 1000.0  # but no more of it than a second
    for _ in range(10):
        await pace.wait()
    assert len(slept) == 6 + 10 - 5


@pytest.mark.parametrize(
    ("named", "expected"),
    [(["-m"], "-m"), (["-l"], "-l"), (["-f", "-l"], "-l"), ([], None)],
)
def test_what_to_send_is_said_once(named: list[str], expected: str | None) -> None:
    every = ("-m", "-f", "-l", "-s", "-n")
    assert check_sources({name: name in named for name in every}) == expected
    with pytest.raises(click.UsageError, match="cannot both be"):
        check_sources({name: name in (*named, "-m", "-n") for name in every})
