"""What a worker and the engine say to each other: a length of four bytes, and MessagePack.

Values (frames of the log, leases, records) are bytes here, as ``curier.jetstream.wire`` makes them: the
engine does not look into them, but for a lease that it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

try:
    from msgspec import MsgspecError, Struct, msgpack
except ImportError as missing:
    raise ImportError("workers need msgspec: pip install 'curier[cluster]'", name="msgspec") from missing

HEAD: Final = 4
MOST: Final = 512 << 20  # bytes of one frame: more is no frame
HIGH_WATER: Final = 1 << 20  # bytes that wait for the other side, from which on feeds wait

Entry = tuple[int, bytes]
"""A sequence and a value. No bytes: the value that this worker wrote there itself."""


class _Said(Struct, array_like=True):
    """One frame."""


# -- by a worker; ``token`` comes back with the answer


class Store(_Said, tag=1):
    """``owner`` is that of a record. ``is_over``: it needs not be kept, since it says nothing."""

    token: int
    stream: int
    subject: str
    expected: int
    value: bytes
    owner: tuple[str, int] | None = None
    is_over: bool = False
    behind: tuple[int, ...] | None = None  # of one that was given up: what it needs of the log


class Find(_Said, tag=2):
    """``Look``."""

    token: int
    stream: int
    subject: str


class CountTo(_Said, tag=3):
    """The last sequence of a partition."""

    token: int
    partition: int


class Read(_Said, tag=4):
    """``Fetch``."""

    token: int
    partition: int
    after: int
    upto: int


class ListOwners(_Said, tag=5):
    """``AskOwners``."""

    token: int


class ListOwned(_Said, tag=6):
    """``AskSessions``."""

    token: int
    owner: tuple[str, int]


class Feed(_Said, tag=7):
    """``Follow``."""

    stream: int
    after: int
    generation: int


class Want(_Said, tag=8):
    """``AskRelease`` of the node ``node`` in its life ``number``."""

    token: int
    node: str
    number: int
    session: str


class Release(_Said, tag=9):
    """The answer to ``Wanted``."""

    token: int
    asker: str


class Spread(_Said, tag=10):
    """For all other workers, now or never."""

    value: bytes


class CountAll(_Said, tag=11):
    """What the engine keeps."""

    token: int


class ListNeeds(_Said, tag=12):
    """``AskNeeds``."""

    token: int


class Measure(_Said, tag=13):
    """``AskSize``."""

    token: int
    partition: int


class Remove(_Said, tag=14):
    """``Cut`` and ``Sweep``: all of a stream before that sequence."""

    stream: int
    before: int


# -- by the engine


class Stored(_Said, tag=20):
    """The answer to ``Store``."""

    token: int
    sequence: int


class Refused(_Said, tag=21):
    """Another write to the subject came before."""

    token: int


class Full(_Said, tag=22):
    """Nothing was stored."""

    token: int


class Found(_Said, tag=23):
    """``sequence`` without value: there is none, and a write has to expect that."""

    token: int
    sequence: int
    value: bytes | None


class Counted(_Said, tag=24):
    """The answer to ``CountTo``."""

    token: int
    last: int


class Reading(_Said, tag=25):
    """A part of what was asked for by ``Read``."""

    token: int
    entries: list[Entry]
    is_last: bool


class Owners(_Said, tag=26):
    """The answer to ``ListOwners``."""

    token: int
    owners: list[tuple[str, int]]


class Owned(_Said, tag=27):
    """The answer to ``ListOwned``."""

    token: int
    sessions: list[str]


class Fed(_Said, tag=28):
    """What came by in a stream."""

    stream: int
    generation: int
    entries: list[Entry]


class Wanted(_Said, tag=29):
    """Another worker wants a session of the life ``number``."""

    token: int
    asker: str
    number: int
    session: str


class Released(_Said, tag=30):
    """The node that had the session has given it up, or does not have it."""

    token: int


class Heard(_Said, tag=31):
    """What another worker has spread."""

    value: bytes


class CountedAll(_Said, tag=32):
    """Of each stream its name, its last sequence, how many entries are left, and their bytes; and how often
    something that was spread was left out, for one worker.
    """

    token: int
    streams: list[tuple[str, int, int, int]]
    left_out: int


class Needs(_Said, tag=33):
    """Of each owner, or of each session that was given up: name, owner, whether it was, and what it needs."""

    token: int
    needs: list[tuple[str, tuple[str, int], bool, tuple[int, ...]]]


class Measured(_Said, tag=34):
    """The first sequence that is left, the last, and the bytes."""

    token: int
    first: int
    last: int
    size: int


Asked = (
    Store
    | Find
    | CountTo
    | Read
    | ListOwners
    | ListOwned
    | Feed
    | Want
    | Release
    | Spread
    | CountAll
    | ListNeeds
    | Measure
    | Remove
)
Told = (
    Stored
    | Refused
    | Full
    | Found
    | Counted
    | Reading
    | Owners
    | Owned
    | Fed
    | Wanted
    | Released
    | Heard
    | CountedAll
    | Needs
    | Measured
)

_encode: Final = msgpack.Encoder().encode
asked: Final = msgpack.Decoder(Asked).decode
told: Final = msgpack.Decoder(Told).decode


class Wire(asyncio.Protocol):
    """One end. What is said in one turn of the loop leaves as one. ``heard`` gets each frame; ``can_write``
    is called when the other side has taken what waited for it, ``ended`` once, with words, when it is gone.
    """

    def __init__(
        self,
        decode: Callable[[memoryview], Any],
        heard: Callable[[Any], None],
        can_write: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        self.is_full = False  # more waits for the other side than is good
        self._decode = decode
        self._heard = heard
        self._can_write = can_write
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._read = bytearray()
        self._needed = HEAD
        self._is_over = False
        self._why = "the process at the other end is gone"

    @property
    def waiting(self) -> int:
        """Bytes that wait for the other side, but for those of this turn."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def say(self, said: Asked | Told) -> None:
        """To who is gone, nothing."""
        if self._is_over:
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        data = _encode(said)
        self._unsent += (len(data).to_bytes(HEAD, "big"), data)

    def close(self) -> None:
        """Say what is to be said yet, as far as the other side takes it."""
        self._is_over = True
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is not None:  # else ``connection_made`` comes yet
            unsent, self._unsent = self._unsent, []
            if unsent and not self._transport.is_closing():
                self._transport.writelines(unsent)

    # -- by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(HIGH_WATER)
        self._transport = transport
        self._flush()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._can_write()

    def data_received(self, data: bytes) -> None:
        read = self._read
        read += data
        if len(read) < self._needed:
            return
        at, size = 0, len(read)
        frames: list[Any] = []
        with memoryview(read) as view:
            while size - at >= HEAD:
                length = int.from_bytes(view[at : at + HEAD], "big")
                if length > MOST:
                    self._cannot_be(f"a frame of {length} bytes")
                    return
                end = at + HEAD + length
                if end > size:
                    break
                try:
                    frames.append(self._decode(view[at + HEAD : end]))
                except MsgspecError as error:
                    self._cannot_be(str(error))
                    return
                at = end
        del read[:at]
        self._needed = HEAD
        if len(read) >= HEAD:
            self._needed += int.from_bytes(read[:HEAD], "big")
        for one in frames:
            self._heard(one)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self._is_over = None, True
        self._unsent.clear()
        self._ended(self._why)

    def _cannot_be(self, what: str) -> None:
        self._why = f"the process at the other end speaks another language ({what})"
        if self._transport is not None:
            self._transport.abort()
