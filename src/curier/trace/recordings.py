"""Recordings in files: a header, and events as lines (``lines``). Their names end in ``.curier``.

The header is a line of JSON too, ``{"recording":1}``, with the version of this format. Lines without a
header, as they come from a running broker, are read as well; so are captures, by their first bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO, Final

from curier.errors import MqttError
from curier.trace.captures.frames import MAGICS, NotACapture
from curier.trace.captures.reading import read_capture
from curier.trace.captures.writing import CaptureWriter
from curier.trace.events import Event
from curier.trace.lines import NotALine, from_line, to_line

FORMAT: Final = 1
LONGEST_LINE: Final = 64 * 1024 * 1024
"""Bytes; a stranger's file could be one line without end."""

_HEADER: Final = b'{"recording":'


class NotARecording(MqttError):
    """The bytes are no recording and no capture; the message says in which line, and what is wrong."""


class RecordingWriter:
    """Writes events to ``file`` as they come. Raises ``OSError`` as ``file`` does."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.write(_HEADER + b"%d}\n" % FORMAT)

    def write(self, event: Event) -> None:
        """One event."""
        self._file.write(to_line(event).encode() + b"\n")


def writer(file: BinaryIO, name: str, server_port: int = 0) -> RecordingWriter | CaptureWriter:
    """Who writes events to a file of this name: ``.pcapng`` as a capture, all else as a recording."""
    return CaptureWriter(file, server_port) if name.endswith(".pcapng") else RecordingWriter(file)


def read_events(file: BinaryIO) -> Iterator[Event]:
    """The events of a recording or a capture, each as soon as it is read; ``file`` may be a pipe.

    Raises ``NotARecording`` at the first line that is no event, or where the bytes are something else.
    """
    first = file.read(4)
    if first in MAGICS:
        try:
            yield from read_capture(file, first)
        except NotACapture as error:
            raise NotARecording(str(error)) from None
        return
    yield from _read_lines(file, first)


def _read_lines(file: BinaryIO, first: bytes) -> Iterator[Event]:
    number = 0
    pending = first
    while True:
        line = pending if pending.endswith(b"\n") else pending + file.readline(LONGEST_LINE)
        pending = b""
        if not line:
            return
        if len(line) >= LONGEST_LINE:
            raise NotARecording(f"line {number + 1} is longer than {LONGEST_LINE} bytes")
        for part in line.removesuffix(b"\n").split(b"\n"):  # the first four bytes may be more than one
            number += 1
            if part.startswith(_HEADER):
                _check_header(part, number)
            elif part.strip():
                yield _event(part, number, whole=line.endswith(b"\n"))


def _event(line: bytes, number: int, whole: bool) -> Event:
    try:
        return from_line(line)
    except NotALine as error:
        why = str(error) if whole else f"the recording ends within it ({error})"
        raise NotARecording(f"line {number}: {why}") from None


def _check_header(line: bytes, number: int) -> None:
    try:
        version = json.loads(line)["recording"]
    except (ValueError, RecursionError):
        raise NotARecording(f"line {number}: its header is broken") from None
    if not isinstance(version, int) or version > FORMAT:
        raise NotARecording(f"the recording has format {version!r:.20}; this curier reads {FORMAT} at most")
