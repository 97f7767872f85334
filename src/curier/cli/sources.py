"""What ``curier pub`` and ``curier rr`` send: one message, or the lines of a file or of standard input.

Input is read as it comes, without blocking the event loop: a pipe whose writer is slow costs no connection.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Final, Literal

import click

from curier.cli.streams import CannotRead
from curier.errors import ConfigError
from curier.frozen import dataclass
from curier.payloads import BadPayload, Encode, Pairs, encoder, json_of
from curier.types import Message, QoS

Kind = Literal["message", "file", "lines", "stdin", "null"]

Sent = Message | tuple[str, bytes]
"""A message, or its topic and payload."""

File = str | os.PathLike[str]

READ_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Which message, or messages, the options ask for. ``file`` None is standard input.

    ``pattern`` is a message without payload: what each line becomes is a copy of it.
    """

    kind: Kind
    pattern: Message
    text: str = ""
    file: File | None = None
    encode: str | None = None
    json_lines: bool = False

    @property
    def is_many(self) -> bool:
        """Is it lines, each one a message?"""
        return self.kind == "lines"

    async def one(self) -> Message:
        """The one message. Raises ``ConfigError`` where the file or the text is not as expected."""
        return replace(self.pattern, payload=await self._payload())

    async def _payload(self) -> bytes:
        if self.kind == "null":
            return b""
        if self.kind == "message":
            data = self.text.encode(errors="surrogateescape")
        elif self.file is not None:
            data = _read_file(self.file)
        else:
            data = b"".join([chunk async for chunk in _chunks(sys.stdin.buffer)])
        if self.encode is None:
            return data
        what = {"message": "-m", "file": f"-f {self.file}"}.get(self.kind, "standard input")
        return _encoded(data, encoder(self.encode), what)

    async def many(self, share: list[float]) -> AsyncIterator[Iterable[Sent]]:
        """A message for each line, as many at a time as have come. ``share[0]`` is what part of a file has
        been read.

        Where topic and payload are all there is to say, a message is a pair of them, which is cheaper. Raises
        ``ConfigError`` that names the line which is not as expected, behind the messages before it.
        """
        number = 0
        async for lines in read_lines(self.file, share):
            yield self._messages(lines, number)
            number += len(lines)

    def _messages(self, lines: Sequence[bytes], number: int) -> Iterable[Sent]:
        """The messages of these lines; ``number`` came before them."""
        pattern = self.pattern
        if self.json_lines:
            return (message_of_json(line, pattern, f"line {at}") for at, line in enumerate(lines, number + 1))
        if self.encode is not None:
            encode = encoder(self.encode)
            return (
                replace(pattern, payload=_encoded(line, encode, f"line {at}"))
                for at, line in enumerate(lines, number + 1)
            )
        if has_properties(pattern):
            return (replace(pattern, payload=line) for line in lines)
        topic = pattern.topic
        return [(topic, line) for line in lines]


def has_properties(message: Message) -> bool:
    """Whether a message says what only 5.0 can say."""
    return message != Message(message.topic, message.payload, message.qos, message.retain)


def _encoded(data: bytes, encode: Encode, where: str) -> bytes:
    try:
        return encode(data.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: expected UTF-8 text") from None
    except BadPayload as error:
        raise ConfigError(f"{where} {error}") from None


def _read_file(path: File) -> bytes:
    try:
        with _opened(path) as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _opened(path: File) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


# -- lines --


async def read_lines(path: File | None, share: list[float]) -> AsyncIterator[list[bytes]]:
    """The lines of a file, or of standard input, without their ends, as many at a time as come at once; a
    last one without an end counts.
    """
    if path is None:
        async for lines in _lines(_chunks(sys.stdin.buffer)):
            yield lines
        return
    with _opened(path) as file:  # of this machine: reading it blocks no longer than a moment
        size = os.fstat(file.fileno()).st_size
        async for lines in _lines(_chunks(file, lambda done: share.__setitem__(0, done / max(size, 1)))):
            yield lines


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    begun: list[bytes] = []  # pieces of a line, joined once
    async for chunk in chunks:
        *lines, rest = chunk.split(b"\n")
        if lines:
            if begun:
                lines[0] = b"".join([*begun, lines[0]])
                begun.clear()
            yield lines
        if rest:
            begun.append(rest)
    if begun:
        yield [b"".join(begun)]


async def _chunks(file: BinaryIO, tell: Callable[[int], None] | None = None) -> AsyncIterator[bytes]:
    try:
        descriptor = file.fileno()
    except OSError:  # not a real one: a program has put something in its place
        while chunk := file.read(READ_BYTES):
            yield chunk
        return
    done = 0
    waits = True
    while True:
        if waits:
            waits = await _readable(descriptor)
        try:
            chunk = os.read(descriptor, READ_BYTES)
        except OSError as error:
            if file is sys.stdin.buffer:
                raise CannotRead(error.strerror) from error
            raise ConfigError(f"{file.name}: {error.strerror}") from error
        if not chunk:
            return
        done += len(chunk)
        if tell is not None:
            tell(done)
        yield chunk


async def _readable(descriptor: int) -> bool:
    """Wait until there is something to read; False at once for a file, which always can be read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except (PermissionError, NotImplementedError):
        return False
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return True


# -- JSON lines, as curier sub --json writes them --

_KNOWN: Final = ("topic", "qos", "retain", "payload", "payload-base64", "properties")
_IGNORED: Final = ("tst", "payloadlen", "mid")
_TEXTS: Final = {"content-type": "content_type", "response-topic": "response_topic"}
_PROPERTIES: Final = (
    *_TEXTS,
    "payload-format-indicator",
    "message-expiry-interval",
    "correlation-data",
    "correlation-data-base64",
    "user-properties",
)


def message_of_json(line: bytes, pattern: Message, where: str) -> Message:
    """The message that a line of JSON describes; ``pattern`` says what it leaves out.

    Raises ``ConfigError`` with ``where`` at its beginning.
    """
    import json  # which takes long, and most messages are not

    try:
        told = json.loads(line, object_pairs_hook=Pairs)
        if not isinstance(told, dict):
            raise ValueError("expected an object, as curier sub --json writes it")
        _refuse_others(told, (*_KNOWN, *_IGNORED), "key")
        topic = _kind_of(told, "topic", str, pattern.topic or None)
        if topic is None:
            raise ValueError("expected a topic: in the object, or with -t")
        qos = _kind_of(told, "qos", int, int(pattern.qos))
        if qos not in (0, 1, 2):
            raise ValueError(f"qos: expected 0, 1 or 2, got {qos!r}")
        retain = told.get("retain", pattern.retain)
        if retain not in (0, 1):
            raise ValueError("retain: expected 0 or 1")
        properties = _properties(_kind_of(told, "properties", dict, {}))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {error}") from None
    try:
        payload = _payload_of(told)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    return replace(pattern, topic=topic, qos=QoS(qos), retain=bool(retain), payload=payload, **properties)


def _refuse_others(told: Mapping[str, object], known: tuple[str, ...], what: str) -> None:
    for name in told:
        if name not in known:
            raise ValueError(f"{name}: there is no such {what}; there are: {', '.join(known)}")


def _kind_of(told: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = told.get(name, default)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        names = {str: "text", int: "a whole number", dict: "an object", list: "a list"}
        raise ValueError(f"{name}: expected {names[kind]}")
    return value


def _payload_of(told: Mapping[str, Any]) -> bytes:
    if "payload-base64" in told:
        return _from_base64(told, "payload-base64")
    payload = told.get("payload")
    if payload is None:
        return b""
    return payload.encode() if isinstance(payload, str) else json_of(payload).encode()


def _from_base64(told: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(_kind_of(told, name, str, ""), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{name}: {error}") from None


def _properties(told: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_others(told, (*_PROPERTIES, "subscription-identifier"), "property")
    found: dict[str, Any] = {}
    for name, ours in _TEXTS.items():
        if name in told:
            found[ours] = _kind_of(told, name, str, None)
    if "message-expiry-interval" in told:
        found["message_expiry"] = _kind_of(told, "message-expiry-interval", int, None)
    if "payload-format-indicator" in told:
        found["payload_is_text"] = told["payload-format-indicator"] == 1
    if "correlation-data-base64" in told:
        found["correlation_data"] = _from_base64(told, "correlation-data-base64")
    elif "correlation-data" in told:
        found["correlation_data"] = _kind_of(told, "correlation-data", str, "").encode()
    if "user-properties" in told:
        pairs = _kind_of(told, "user-properties", dict, {}).items()
        if not all(isinstance(value, str) for _, value in pairs):
            raise ValueError('user-properties: expected texts, such as {"name": "value"}')
        found["user_properties"] = tuple(pairs)
    return found


# -- time --


class Pace:
    """Lets no more than ``rate`` messages go in a second; who is late may hurry, but for a second's worth."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._interval = 1.0 / rate
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    async def wait(self) -> None:
        """Wait until the next message is due."""
        now = self._clock()
        if self._due > now:
            await self._sleep(self._due - now)
        self._due = max(self._due, now - 1.0) + self._interval


def check_sources(named: Mapping[str, bool]) -> str | None:
    """Which one of -m, -f, -l, -s and -n is there; -l takes a file along. Raises ``click.UsageError``."""
    given = [name for name, there in named.items() if there]
    if given == ["-f", "-l"]:
        return "-l"
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} cannot both be: one of them says what to send")
    return given[0] if given else None
