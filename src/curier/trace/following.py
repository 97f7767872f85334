"""Reads the traces of a broker that runs on this machine, by the socket it serves them on (``serving``)."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from curier.errors import MqttError
from curier.trace.events import Event
from curier.trace.lines import NotALine, from_line

SOCKET: Final = "trace.sock"
"""The name of the file, in the directory of a broker's data."""

LONGEST_LINE: Final = 16 * 2**20  # bytes; a broker cuts payloads, and takes no other packet so large


class CannotFollow(MqttError):
    """There is no broker to be followed there, or it refuses; the message names the socket, and says why."""


def without_data() -> Path | None:
    """Where the socket of a broker without a directory is: in the user's own for what runs; None: nowhere."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, f"curier-{SOCKET}") if runtime else None


def is_served(path: Path) -> bool:
    """Does a broker serve traces there now? One that was killed has left its socket."""
    if not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(os.fspath(path))
        except OSError:
            return False
    return True


async def follow(
    path: str | Path,
    *,
    client_id: str | Sequence[str] = (),
    user: str | Sequence[str] = (),
    address: str | Sequence[str] = (),
    listener: str | Sequence[str] = (),
    topic: str | Sequence[str] = (),
    payload: int | None = None,
    past: bool = False,
    most_events: int | None = None,
    most_bytes: int | None = None,
) -> AsyncIterator[Event]:
    """The events of a broker from now on, until it stops; what is chosen, as for ``curier.Broker.trace``.

    ``path`` is its socket. Raises ``CannotFollow`` where nobody serves there or what is chosen cannot be.
    Ends without an error when the broker stops. Closing the iterator, or cancelling, closes the connection.
    """
    request: dict[str, object] = {
        name: [words] if isinstance(words, str) else list(words)
        for name, words in (
            ("client_id", client_id),
            ("user", user),
            ("address", address),
            ("listener", listener),
            ("topic", topic),
        )
    }
    if past:
        request["past"] = True
    for name, number in (("payload", payload), ("most_events", most_events), ("most_bytes", most_bytes)):
        if number is not None:
            request[name] = number
    try:
        reader, writer = await asyncio.open_unix_connection(os.fspath(path), limit=LONGEST_LINE)
    except (FileNotFoundError, ConnectionRefusedError):
        raise CannotFollow(
            f"{path}: no broker serves traces there; is it running, and is no_trace not set?"
        ) from None
    except PermissionError:
        raise CannotFollow(
            f"{path}: only the user who runs the broker may read its traces (or root)"
        ) from None
    except OSError as error:
        raise CannotFollow(f"{path}: {error.strerror or error}") from None
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        _check(path, await _line(path, reader))
        while line := await _line(path, reader):
            try:
                yield from_line(line)
            except NotALine as error:
                raise CannotFollow(f"{path}: {error}") from None
    finally:
        writer.close()


async def _line(path: str | Path, reader: asyncio.StreamReader) -> bytes:
    """The next line; b"": there is none any more."""
    try:
        return await reader.readuntil(b"\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""  # the broker has stopped, perhaps in the middle of a line
    except asyncio.LimitOverrunError:
        raise CannotFollow(
            f"{path}: a line of more than {LONGEST_LINE} bytes, which no broker sends"
        ) from None


def _check(path: str | Path, line: bytes) -> None:
    """The first line says whether the choice can be."""
    try:
        answer = json.loads(line) if line else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise CannotFollow(f"{path}: who listens there is no broker that serves traces")
    if "error" in answer:
        raise CannotFollow(f"{path}: {answer['error']}")
