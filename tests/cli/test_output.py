"""Standard output: gathered, written without blocking, and given up when nobody reads."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from curier.cli.output import GATHERED_BYTES, Output
from curier.cli.progress import Progress
from curier.cli.streams import CannotWrite

LARGE = bytes(range(256)) * 2000
"""More than a pipe takes."""


def pipe() -> tuple[int, BinaryIO]:
    reader, writer = os.pipe()
    return reader, os.fdopen(writer, "wb", buffering=0)


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


async def test_it_is_gathered_until_it_is_flushed() -> None:
    stream = io.BytesIO()
    output = Output(stream)
    output.write(b"a")
    output.write(b"b")
    assert stream.getvalue() == b""
    await output.flush()
    await output.flush()
    assert stream.getvalue() == b"ab"
    is_full = [output.is_full]
    output.write(b"x" * GATHERED_BYTES)
    is_full.append(output.is_full)
    await output.flush()
    is_full.append(output.is_full)
    assert is_full == [False, True, False]


async def test_a_file_gets_it_all(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        output = Output(file)
        output.write(LARGE)
        await output.flush()
        assert (tmp_path / "out").read_bytes() == LARGE


async def test_a_pipe_that_is_full_stops_nothing_else() -> None:
    reader, stream = pipe()
    output = Output(stream)
    output.write(LARGE)
    flushing = asyncio.ensure_future(output.flush())
    await asyncio.sleep(0)
    first = os.read(reader, 4096)  # in the same loop, while it waits
    reading = asyncio.ensure_future(asyncio.to_thread(read_all, reader))
    await flushing
    stream.close()
    assert first + await reading == LARGE


async def test_a_flush_that_is_cancelled_loses_and_doubles_nothing() -> None:
    reader, stream = pipe()
    output = Output(stream)
    output.write(LARGE)
    flushing = asyncio.ensure_future(output.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    output.write(b"end")
    reading = asyncio.ensure_future(asyncio.to_thread(read_all, reader))
    await output.flush()
    stream.close()
    assert await reading == LARGE + b"end"


async def test_a_reader_that_has_gone_is_told_of_and_can_be_forgotten() -> None:
    reader, stream = pipe()
    os.close(reader)
    output = Output(stream)
    output.write(b"a")
    with pytest.raises(BrokenPipeError):
        await output.flush()
    output.abandon()
    await output.flush()
    stream.write(b"what Python flushes at its end")
    stream.close()


def test_a_disk_that_is_full_is_told() -> None:
    with Path("/dev/full").open("wb") as file:
        output = Output(file)
        output.write(b"a")
        with pytest.raises(
            CannotWrite, match=r"^standard output cannot be written to: No space left on device$"
        ):
            asyncio.run(output.flush())


# -- progress --


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_is_shown_to_people_and_wiped() -> None:
    stream, clock = Terminal(), Clock()
    with Progress(400, stream=stream, clock=clock) as progress:
        for _ in range(100):
            progress.advance()
        assert stream.getvalue() == ""  # short work says nothing
        clock.now += 2.0
        progress.advance()
        shown = stream.getvalue()
        assert shown == "\r[######                  ] 101 of 400 messages, 50 a second"
        progress.advance()
        assert stream.getvalue() == shown  # not for each of them
    assert stream.getvalue() == shown + "\r" + " " * (len(shown) - 1) + "\r"


def test_progress_of_lines() -> None:
    stream, clock = Terminal(), Clock()
    share = 0.5
    progress = Progress(share=lambda: share, stream=stream, clock=clock)
    clock.now += 1.0
    progress.advance()
    assert stream.getvalue() == "\r[############            ] 1 messages, 1 a second"
    stream, clock = Terminal(), Clock()
    progress = Progress(stream=stream, clock=clock)  # of a pipe nobody knows how much there is
    clock.now += 2.0
    progress.advance()
    assert stream.getvalue() == "\r1 messages, 0 a second"


def test_progress_is_for_terminals_only() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress(2, stream=stream, clock=clock) as progress:
        clock.now += 10.0
        progress.advance()
    assert (stream.getvalue(), progress.is_watched) == ("", False)
