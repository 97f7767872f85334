"""The orders of ``curier.cluster.orders``, carried out by the engine of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from curier.cluster.floors import needs
from curier.cluster.formats import FIRST
from curier.cluster.node import Entry
from curier.cluster.orders import (
    REFUSED,
    SNAPSHOTS,
    STORED,
    UNKNOWN,
    AnswerRelease,
    AskLast,
    AskNeeds,
    AskOwners,
    AskRelease,
    AskSessions,
    AskSize,
    Cut,
    Fetch,
    Follow,
    Hand,
    Look,
    Need,
    Sweep,
    Tell,
    ToBus,
    Write,
)
from curier.cluster.records import Boot, Message, Passed, SessionRecord, Value
from curier.jetstream.wire import Direct, Handed, WireError, decode, encode
from curier.local import frames
from curier.local.frames import Wire
from curier.loglines import logger

log = logger("curier.workers")

DIRECT: Final = 32 << 20  # bytes that wait for the engine, from which on no message of QoS 0 joins them
FULL: Final = "the log in memory is full, so nothing more is taken until workers have read it"


class Hearer(Protocol):
    """Who gets the answers: whoever drives a ``Node``."""

    def answer(self, token: int, *answer: object) -> None: ...
    def feed(self, stream: int, generation: int, number: int, entries: Sequence[Entry]) -> None: ...
    def asked(self, node: Boot, token: int, asker: str, session: str) -> None: ...
    def direct(self, passed: Sequence[Passed]) -> None: ...
    def saw(self, format: int) -> None: ...
    def handed(self, messages: Sequence[Message], members: Sequence[str]) -> None: ...
    def broken(self, error: WireError) -> None: ...
    def ended(self, why: str) -> None:
        """There is no bus any more."""


class Bus:
    """``open`` it, ``obey`` each order of a node, ``close`` it. All in one event loop."""

    most = frames.MOST // 4

    def __init__(self, node: str, hearer: Hearer) -> None:
        self.why = ""
        self.left_out = 0  # pieces of messages of QoS 0 that the engine was too slow for
        self._node = node
        self._hearer = hearer
        self._is_closed = False
        self._seen = FIRST  # the newest format
        self._wire = Wire(frames.told, self._hear, _nothing, self._has_ended)
        self._writes: dict[int, Write] = {}
        self._own: dict[tuple[int, int], Value] = {}  # what was stored here and has not come by yet
        self._numbers: dict[int, tuple[int, int]] = {}  # of each feed: its generation, and how often it came
        self._readings: dict[int, list[Entry]] = {}
        self.counted: frames.CountedAll | None = None  # as the engine told last
        self._commands: dict[type, Callable[[Any], None]] = {
            Write: self._write,
            Look: lambda order: self._say(frames.Find(order.token, order.stream, order.subject)),
            AskLast: lambda order: self._say(frames.CountTo(order.token, order.partition)),
            Fetch: self._fetch,
            AskOwners: lambda order: self._say(frames.ListOwners(order.token)),
            AskSessions: lambda order: self._say(frames.ListOwned(order.token, _plain(order.owner))),
            AskNeeds: lambda order: self._say(frames.ListNeeds(order.token)),
            AskSize: lambda order: self._say(frames.Measure(order.token, order.partition)),
            Cut: lambda order: self._say(frames.Remove(order.partition, order.upto + 1)),
            Sweep: lambda order: self._say(frames.Remove(SNAPSHOTS, order.before)),
            Follow: self._follow,
            AskRelease: self._ask_release,
            AnswerRelease: lambda order: self._say(frames.Release(order.token, order.node)),
            Tell: self._tell,
            Hand: self._hand,
        }
        self._told: dict[type, Callable[[Any], None]] = {
            frames.Stored: self._stored,
            frames.Refused: self._refused,
            frames.Full: self._full,
            frames.Found: self._found,
            frames.Counted: lambda told: self._answer(told.token, told.last),
            frames.Reading: self._read,
            frames.Owners: lambda told: self._answer(told.token, [Boot(*one) for one in told.owners]),
            frames.Owned: lambda told: self._answer(told.token, told.sessions),
            frames.Needs: self._tell_needs,
            frames.Measured: lambda told: self._answer(told.token, told.first, told.last, told.size),
            frames.Fed: self._fed,
            frames.Wanted: self._wanted,
            frames.Released: lambda told: self._answer(told.token),
            frames.Heard: self._heard_direct,
            frames.CountedAll: self._counted_all,
        }

    async def open(self, sock: socket.socket) -> None:
        """The engine is at the other end of the socket."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self._wire, sock=sock)

    async def close(self) -> None:
        self._is_closed = True
        self._wire.close()

    def obey(self, order: ToBus) -> None:
        """Returns at once; what comes of it is told to the hearer, in a later turn."""
        self._commands[type(order)](order)

    def count(self) -> None:
        """Have ``counted`` be new in a moment."""
        self._say(frames.CountAll(0))

    def _counted_all(self, told: frames.CountedAll) -> None:
        self.counted = told

    def _say(self, said: frames.Asked) -> None:
        self._wire.say(said)

    def _hear(self, told: frames.Told) -> None:
        if not self._is_closed:
            try:
                self._told[type(told)](told)
            except WireError as error:
                self._hearer.broken(error)

    def _answer(self, token: int, *answer: object) -> None:
        self._hearer.answer(token, *answer)

    def _has_ended(self, why: str) -> None:
        if not self._is_closed:
            self.why = why
            self._hearer.ended(why)

    # -- writing

    def _write(self, order: Write) -> None:
        value = order.value
        self._writes[order.token] = order
        owner, is_over, name = None, False, ""
        behind: tuple[int, ...] | None = None
        if isinstance(value, SessionRecord):
            name, owner = order.subject, _plain(value.owner)
            is_over = value.is_released and value.is_over and not value.unsealed
            if value.is_released:
                behind = needs(value, len(value.places))
        self._say(
            frames.Store(
                order.token,
                order.stream,
                order.subject,
                order.expected,
                encode(value, name, order.format),
                owner,
                is_over,
                behind,
            )
        )

    def _stored(self, told: frames.Stored) -> None:
        order = self._writes.pop(told.token)
        if order.stream in self._numbers and order.stream >= 0:
            self._own[order.stream, told.sequence] = order.value
        self.why = ""
        self._answer(told.token, STORED, told.sequence)

    def _refused(self, told: frames.Refused) -> None:
        del self._writes[told.token]
        self._answer(told.token, REFUSED, 0)

    def _full(self, told: frames.Full) -> None:
        del self._writes[told.token]
        self.why = FULL
        self._answer(told.token, UNKNOWN, 0)

    # -- reading

    def _found(self, told: frames.Found) -> None:
        self._answer(told.token, told.sequence, self._value(told.value) if told.value is not None else None)

    def _tell_needs(self, told: frames.Needs) -> None:
        found = [Need(name, Boot(*owner), given_up, behind) for name, owner, given_up, behind in told.needs]
        self._answer(told.token, found)

    def _fetch(self, order: Fetch) -> None:
        self._readings[order.token] = []
        self._say(frames.Read(order.token, order.partition, order.after, order.upto))

    def _read(self, told: frames.Reading) -> None:
        found = self._readings[told.token]
        found += [(sequence, self._value(data)) for sequence, data in told.entries]
        if told.is_last:
            self._answer(told.token, self._readings.pop(told.token))

    def _follow(self, order: Follow) -> None:
        self._numbers[order.stream] = (order.generation, 0)
        self._say(frames.Feed(order.stream, order.after, order.generation))

    def _fed(self, told: frames.Fed) -> None:
        generation, number = self._numbers[told.stream]
        entries: list[Entry] = []
        for sequence, data in told.entries:
            own = self._own.pop((told.stream, sequence), None)
            entries.append((sequence, self._value(data) if data or own is None else own))
        if told.generation == generation:
            self._numbers[told.stream] = (generation, number + 1)
            self._hearer.feed(told.stream, generation, number + 1, entries)

    def _value(self, data: bytes) -> Value:
        value = decode(data)[1]
        if data[0] > self._seen:
            self._seen = data[0]
            self._hearer.saw(self._seen)
        return value  # type: ignore[return-value]

    # -- between workers

    def _ask_release(self, order: AskRelease) -> None:
        self._say(frames.Want(order.token, order.node.name, order.node.number, order.session))

    def _wanted(self, told: frames.Wanted) -> None:
        self._hearer.asked(Boot(self._node, told.number), told.token, told.asker, told.session)

    def _tell(self, order: Tell) -> None:
        self._spread(Direct(order.writer, order.passed), len(order.passed), order.format)

    def _hand(self, order: Hand) -> None:
        """What is for one member each."""
        handed = Handed(order.writer, order.messages, order.members)
        self._spread(handed, len(order.messages), order.format)

    def _spread(self, what: Direct | Handed, count: int, form: int) -> None:
        """To all other workers, now or never."""
        if self._wire.waiting > DIRECT:
            self.left_out += count
        else:
            self._say(frames.Spread(encode(what, "", form)))

    def _heard_direct(self, told: frames.Heard) -> None:
        _, direct = decode(told.value)
        if isinstance(direct, Direct):
            self._hearer.direct(direct.passed)
        elif isinstance(direct, Handed):
            self._hearer.handed(direct.messages, direct.members)


def _plain(boot: Boot) -> tuple[str, int]:
    return boot.name, boot.number


def _nothing() -> None:
    """Nothing waits here for the engine to take more."""
