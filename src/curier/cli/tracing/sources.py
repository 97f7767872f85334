"""Where the events of ``curier trace`` come from."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, Final

import click

from curier.cli.trace import SUBCOMMANDS
from curier.frozen import dataclass
from curier.trace.choice import Choice
from curier.trace.events import Event
from curier.trace.following import SOCKET, CannotFollow, follow, is_served, without_data
from curier.trace.recordings import NotARecording, read_events

STDIN: Final = "-"
AHEAD: Final = 1000  # events that are read before they are asked for
AT_ONCE: Final = 200  # events before others have their turn


@dataclass(frozen=True, slots=True)
class Source:
    """Events, and what they are called on a screen."""

    name: str
    events: AsyncIterator[Event]
    is_live: bool = False  # they happen now
    file: str = ""  # that is read


def same_file(one: str, other: str) -> bool:
    """Are these names of one file that is there?"""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


class CannotTrace(click.ClickException):
    """There is nothing to be traced: one line for the user, and exit code 2."""

    exit_code = 2


def named(stream: BinaryIO, name: str) -> Iterator[Event]:
    """The events of a recording or a capture. Raises ``CannotTrace``, which says the name."""
    try:
        yield from read_events(stream)
    except NotARecording as error:
        raise CannotTrace(f"{name}: {error}") from None
    except OSError as error:
        raise CannotTrace(f"{name}: {error.strerror or error}") from None


async def from_file(name: str) -> AsyncIterator[Event]:
    """The events of a file, or of standard input where it is "-"."""
    if name == STDIN:
        async for event in _read_aside(lambda: named(_standard_input(), "standard input")):
            yield event
        return
    try:
        stream = open(name, "rb")  # noqa: ASYNC230  # there is nothing else to do
    except OSError as error:
        near = get_close_matches(name, SUBCOMMANDS, 1)
        meant = f"; did you mean `curier trace {near[0]}`?" if near else ""
        raise CannotTrace(f"{name}: {error.strerror}{meant}") from None
    with stream:
        for number, event in enumerate(named(stream, name)):
            yield event
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)


async def _read_aside(read_all: Callable[[], Iterator[Event]]) -> AsyncIterator[Event]:
    """In a thread, since a pipe may give nothing for hours; it is read no faster than it is asked for."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)

    def put(item: Event | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody wants it any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            for event in read_all():
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


def at_the_end(stop: Callable[[], None]) -> None:
    """Have SIGINT and SIGTERM call ``stop``, where they can."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or another thread
            loop.add_signal_handler(number, stop)


async def until_stopped(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """The same, to their end, or to SIGINT or SIGTERM, which are an end like any other."""
    task = asyncio.current_task()
    assert task is not None
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        task.cancel()

    at_the_end(stop)
    try:
        async for event in events:
            yield event
    except asyncio.CancelledError:
        if not is_stopping:
            raise
        task.uncancel()


def _standard_input() -> BinaryIO:
    """By a buffer of its own: Python ends in disorder while a thread waits in that of ``sys.stdin``."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError):  # it is no file
        return sys.stdin.buffer


def source_of(word: str | None, choice: Choice, past: bool = False) -> Source:
    """What a word on the command line means: a file, or a broker by its socket or its data directory.

    Of a broker, only what is chosen is asked for. ``past``: it is to begin with what it still
    knows of what went by before. Raises ``CannotTrace`` where there is none to be found.
    """
    if word == STDIN:
        return Source("standard input", from_file(STDIN))
    path = Path(word) if word is not None else _own_broker()
    if path.is_dir():
        path /= SOCKET
    elif word is not None and not path.is_socket():
        return Source(word, from_file(word), file=word)
    return Source(word or "the broker of this user", from_broker(path, choice, past), is_live=True)


def _own_broker() -> Path:
    """The socket of the broker that this user has started last, with nothing said of where: with its data
    in the usual place, or in memory. Raises ``CannotTrace``.
    """
    from curier.config import default_directory  # which a recording has no use for

    places = [Path(default_directory(), SOCKET)]
    if (memory := without_data()) is not None:
        places.append(memory)
    served = [path for path in places if is_served(path)]
    if served:
        return max(served, key=lambda path: path.stat().st_mtime)
    looked = " and ".join(map(str, places))
    raise CannotTrace(
        f"of what? No broker of this user serves traces at {looked}. Start one (curier broker), or give a "
        "broker's data directory, or a recording"
    )


async def from_broker(path: Path, choice: Choice, past: bool) -> AsyncIterator[Event]:
    """The events of a broker that runs, from now on; ``past``: first what it knows of before."""
    events = follow(
        path,
        client_id=sorted(choice.client_ids),
        user=sorted(choice.users),
        address=[str(one) for one in choice.networks],
        listener=sorted(choice.listeners),
        topic=[one.decode() for one in choice.topics],
        past=past,
    )
    try:
        async for event in events:
            yield event
    except CannotFollow as error:
        raise CannotTrace(str(error)) from None
