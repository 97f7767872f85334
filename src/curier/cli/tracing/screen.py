"""``curier trace`` on a terminal: reads a source, and draws what has changed, ten times a second at most."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

from curier.cli.tracing.choosing import Chooser
from curier.cli.tracing.files import Files, Saving
from curier.cli.tracing.live import Live
from curier.cli.tracing.look import Look
from curier.cli.tracing.sources import Source
from curier.cli.tracing.terminal import Terminal
from curier.trace.joining import Joiner

FRAME_SECONDS: Final = 0.1
AT_ONCE: Final = 200  # events before keys have their turn
CLOCK_SECONDS: Final = 1.0  # so often it is drawn for the time alone, where something is waited for


async def watch(source: Source, look: Look, chooser: Chooser, files: Files) -> Joiner:
    """Show a source until it is asked to stop; what is known of its flows then.

    Raises what the source, or the showing itself, has failed with, when the terminal is as it was before.
    """
    live = Live(source.name, look, chooser)
    changed = asyncio.Event()
    room = asyncio.Event()

    def on_key(key: str) -> None:
        try:
            live.key(key)
        except Exception as error:
            live.fail(error)
        room.set()

    terminal = Terminal(on_key, changed.set)
    saving = Saving(files)
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        live.wants_to_quit = True
        changed.set()

    with terminal.taken(stop):
        reading = asyncio.ensure_future(_read(source, live, saving, changed, room))
        try:
            await _draw(terminal, live, changed)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            saving.close()
    if live.failure is not None:
        raise live.failure
    return live.joiner


async def _read(
    source: Source, live: Live, saving: Saving, changed: asyncio.Event, room: asyncio.Event
) -> None:
    number = 0
    try:
        async for event in source.events:
            while not live.has_room:  # paused for long: now the source itself has to wait, or to drop
                room.clear()
                await room.wait()
            live.feed(event)
            saving.add(event)
            changed.set()
            number += 1
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        live.has_ended = "this was the end"
    except Exception as error:  # raised again when the screen is no more
        live.fail(error)
    finally:
        changed.set()


async def _draw(terminal: Terminal, live: Live, changed: asyncio.Event) -> None:
    while not live.wants_to_quit:
        changed.clear()
        columns, lines = terminal.size
        await terminal.show(live.lines(columns, lines, time.time()))
        await asyncio.sleep(FRAME_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOCK_SECONDS):
                await changed.wait()
