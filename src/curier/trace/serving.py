"""Traces of a broker for other programs on this machine, by a Unix socket: who may open its file may read.

A reader sends one line, a JSON object with what it chooses, by the names ``Broker.trace`` has, and is sent
``{}`` and lines of events (``lines``) until it closes. What cannot be chosen is answered with one line,
``{"error": "..."}``.
A reader that takes nothing costs what its ring holds, and the broker goes on.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from curier.trace.lines import to_line
from curier.trace.reading import Trace

MOST_READERS: Final = 16
LONGEST_REQUEST: Final = 64 * 1024  # bytes
REQUEST_SECONDS: Final = 5.0
MOST_PAYLOAD: Final = 64 * 1024
"""Bytes of each payload; of more, the rest is cut: one event must not keep the broker's loop."""

AT_ONCE: Final = 100  # events, or as many bytes as one of the largest, before others have their turn
BYTES_AT_ONCE: Final = 256 * 1024

_TEXTS: Final = ("client_id", "user", "address", "listener", "topic")
_NUMBERS: Final = ("payload", "most_events", "most_bytes")
_ALL: Final = (*_TEXTS, *_NUMBERS, "past")
_MOST: Final = {"payload": MOST_PAYLOAD, "most_events": 100_000, "most_bytes": 64 * 2**20}


class Serving:
    """Serves ``trace``, which is ``Broker.trace``, on a Unix socket that is bound and listens."""

    def __init__(self, trace: Callable[..., Trace]) -> None:
        self._trace = trace
        self._server: asyncio.Server | None = None
        self._readers: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket) -> None:
        """Serve until ``stop``; ``sock`` is this one's from now on."""
        self._server = await asyncio.start_unix_server(self._came, sock=sock, limit=LONGEST_REQUEST)

    async def stop(self) -> None:
        """Let go of all readers."""
        if self._server is not None:
            self._server.close()
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._readers.add(task)
        try:
            if len(self._readers) > MOST_READERS:
                writer.write(_error(f"{MOST_READERS} others read already: that is as many as may"))
                await writer.drain()
            else:
                await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
            pass  # it is gone, or the broker stops
        finally:
            self._readers.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await reader.readuntil(b"\n")
            trace = self._trace(**chosen(line))
        except (ValueError, asyncio.LimitOverrunError) as error:
            writer.write(_error(str(error)))
            await writer.drain()
            return
        writer.write(b"{}\n")
        with trace:
            sending = asyncio.ensure_future(_send(trace, writer))
            gone = asyncio.ensure_future(reader.read(1))  # nothing more is expected but its end
            try:
                await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for part in (sending, gone):
                    part.cancel()
                await asyncio.gather(sending, gone, return_exceptions=True)


async def _send(trace: Trace, writer: asyncio.StreamWriter) -> None:
    events = 0
    pieces: list[bytes] = []
    size = 0
    async for event in trace:
        piece = to_line(event).encode() + b"\n"
        pieces.append(piece)
        size += len(piece)
        events += 1
        if not trace.ready() or events >= AT_ONCE or size >= BYTES_AT_ONCE:
            writer.write(b"".join(pieces))
            pieces.clear()
            events = size = 0
            await writer.drain()
            await asyncio.sleep(0)


def chosen(line: bytes) -> dict[str, Any]:
    """The arguments of ``Broker.trace`` that a reader asks for. Raises ``ValueError``, which says what of it
    cannot be.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("a reader begins with one line, a JSON object that says what it chooses") from None
    if not isinstance(request, dict):
        raise ValueError("a reader begins with a JSON object")
    for name, value in request.items():
        if name in _TEXTS:
            words = value if isinstance(value, list) else [value]
            if not all(isinstance(word, str) for word in words):
                raise ValueError(f"{name} is a text, or a list of them")
        elif name == "past":
            if not isinstance(value, bool):
                raise ValueError("past is true or false")
        elif name in _NUMBERS:
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"{name} is a whole number")
        else:
            raise ValueError(
                f"nothing can be chosen by {name[:80]!r}, but by {', '.join(_TEXTS + _NUMBERS)}, past"
            )
    for name in _NUMBERS:
        if name in request or name == "payload":
            request[name] = min(request.get(name, _MOST[name]), _MOST[name])
    return request


def _error(why: str) -> bytes:
    return json.dumps({"error": why}).encode() + b"\n"
