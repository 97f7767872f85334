"""Where the events of ``curier trace`` come from."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import BinaryIO, Final

import click

from curier.trace.events import Event
from curier.trace.lines import NotALine, from_line

STDIN: Final = "-"
LONGEST_LINE: Final = 64 << 20  # bytes; a stranger's file could be one line without end
AHEAD: Final = 1000  # events that are read before they are asked for
AT_ONCE: Final = 200  # events before others have their turn


class CannotTrace(click.ClickException):
    """There is nothing to be traced: one line for the user, and exit code 2."""

    exit_code = 2


def recording(stream: BinaryIO, name: str) -> Iterator[Event]:
    """The events of a recording. Raises ``CannotTrace`` for what is none, with the number of the line."""
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if not line.strip():
            continue
        if len(line) == LONGEST_LINE:
            raise CannotTrace(f"{name}, line {number}: longer than {LONGEST_LINE >> 20} MiB")
        try:
            yield from_line(line)
        except NotALine as error:
            raise CannotTrace(f"{name}, line {number}: {error}") from None


async def from_file(name: str) -> AsyncIterator[Event]:
    """The events of a file, or of standard input where it is "-"."""
    if name == STDIN:
        async for event in _read_aside(sys.stdin.buffer, "standard input"):
            yield event
        return
    try:
        stream = open(name, "rb")  # noqa: ASYNC230  # there is nothing else to do
    except OSError as error:
        raise CannotTrace(f"{name}: {error.strerror}") from None
    with stream:
        for number, event in enumerate(recording(stream, name)):
            yield event
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)


async def _read_aside(stream: BinaryIO, name: str) -> AsyncIterator[Event]:
    """In a thread, since a pipe may give nothing for hours; it is read no faster than it is asked for."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)

    def put(item: Event | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody wants it any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            for event in recording(stream, name):
                room.acquire()
                put(event)
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=read, daemon=True, name="curier trace").start()
    while (item := await queue.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        room.release()
        yield item
