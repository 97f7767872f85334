"""The orders of ``curier.cluster.orders``, carried out by NATS JetStream.

A write has one answer: that of the server, or UNKNOWN, soon or after ``WRITE_SECONDS``. A question is put
again until it has one. Leases and what nodes say to each other go over a second connection, so that no frame
stands before them.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol

from nats.aio.msg import Msg

from curier.cluster.formats import FIRST, NEWEST
from curier.cluster.orders import (
    LEASES,
    REFUSED,
    SESSIONS,
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
    Sweep,
    Tell,
    ToBus,
    Write,
)
from curier.cluster.records import Boot, Frame, Message, Passed, SessionRecord, Value
from curier.jetstream import parts
from curier.jetstream.access import Access
from curier.jetstream.consumer import Consumer
from curier.jetstream.line import PERMIT, Line, log
from curier.jetstream.names import Names
from curier.jetstream.owners import SESSION, Owners, headers_of
from curier.jetstream.wire import Direct, Handed, Parted, WireError, Wish, decode, encode

WRITE_SECONDS: Final = 5.0
READ_SECONDS: Final = 3.0
AGAIN_SECONDS: Final = 0.1  # the first pause before a question is put again; it doubles
LONGEST_PAUSE: Final = 2.0
FETCHED: Final = 256  # entries of one answer, and
FETCHED_BYTES: Final = 4 << 20
SLACK: Final = 2048  # bytes of headers
OWN: Final = 2  # frames of this node in each partition that are known when they come by: on their way

EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
WRONG_LAST: Final = 10071
IN_FLIGHT: Final = 10164  # another write to the subject is: the same question may be answered otherwise then
NO_ROOM: Final = (10023, 10047)

Entry = tuple[int, Value]


class Hearer(Protocol):
    """Who gets the answers: whoever drives a ``Node``."""

    def answer(self, token: int, *answer: object) -> None: ...
    def feed(self, stream: int, generation: int, number: int, entries: Sequence[Entry]) -> None: ...
    def asked(self, node: Boot, token: int, asker: str, session: str) -> None: ...
    def direct(self, passed: Sequence[Passed]) -> None: ...
    def saw(self, format: int) -> None:
        """Something of a format that is newer than all before stands on the bus. Told before the thing."""

    def handed(self, messages: Sequence[Message], members: Sequence[str]) -> None: ...
    def broken(self, error: WireError) -> None:
        """Something on the bus cannot be read: nothing more comes by in its stream."""


class Bus:
    """``open`` it, ``obey`` each order of a node, ``close`` it. All in one event loop."""

    def __init__(self, access: Access, names: Names, node: str, hearer: Hearer) -> None:
        self.names = names
        self.unhappy = ""  # why writes fail at the moment, or ""
        self.data = Line(access, f"curier {node}", self._came)
        self.control = Line(access, f"curier {node} (leases)", self._came)
        self._node = node
        self._hearer = hearer
        self._loop = asyncio.get_running_loop()
        self._feeds: dict[int, _Feed] = {}
        self._is_closed = False
        self._asks_last: dict[int, tuple[list[int], list[int]]] = {}  # by partition: asked for, and to be
        self._owners = Owners(self.data, names, self.again)
        self._seen = FIRST  # the newest format
        self._own: dict[int, deque[tuple[bytes, Frame]]] = {}  # what it wrote last, by partition
        self._parted: set[str] = set()  # sessions whose records had parts when last seen
        self.control.listen(names.asked(node), self._was_asked)
        self.data.listen(names.direct, self._heard_direct)
        self._commands: dict[type, Callable[[Any], None]] = {
            Write: self._write,
            Look: self._look,
            AskLast: self._ask_last,
            Fetch: lambda order: _Fetching(self, order).ask(),
            AskOwners: lambda order: self._owners.ask(partial(self._answer, order.token)),
            AskNeeds: lambda order: self._owners.needs(order.since, partial(self._answer, order.token)),
            AskSize: self._ask_size,
            Cut: lambda order: self._remove(order.partition, order.upto + 1),
            Sweep: lambda order: self._remove(SNAPSHOTS, order.before),
            AskSessions: lambda order: self._owners.sessions(order.owner, partial(self._answer, order.token)),
            Follow: self._follow,
            AskRelease: self._ask_release,
            AnswerRelease: self._answer_release,
            Tell: self._tell,
            Hand: self._hand,
        }

    def open(self) -> None:
        """Begin to connect; it goes on for ever."""
        self.data.open()
        self.control.open()

    async def close(self) -> None:
        self._is_closed = True
        for feed in self._feeds.values():
            feed.end()
        await asyncio.gather(self.data.close(), self.control.close())

    def obey(self, order: ToBus) -> None:
        """Returns at once; what comes of it is told to the hearer, in a later turn."""
        self._commands[type(order)](order)

    @property
    def why(self) -> str:
        """Why nothing is stored at the moment; ""."""
        if self.unhappy or not self.data.is_up:
            return self.unhappy or f"there is no connection to NATS ({self.data.why})"
        denied = self.data.denied or self.control.denied
        return f"NATS says {denied}: {PERMIT}" if denied else ""

    @property
    def most(self) -> int:
        """Bytes of the largest value that can be written now; 0 before there was a connection."""
        return max(0, min(self.data.most, self.control.most) - SLACK)

    def _tell(self, order: Tell) -> None:
        weights = [len(one.packets) + 32 * len(one.publishers) + 64 for one in order.passed]
        for some in spans(weights, self.data.most // 2):
            self._send_direct(Direct(order.writer, order.passed[some]), order.format)

    def _hand(self, order: Hand) -> None:
        """Of messages that are for one member each."""
        weights = [len(one.payload) + len(one.topic) + len(one.group) + 1024 for one in order.messages]
        for some in spans(weights, self.data.most // 2):
            handed = Handed(order.writer, order.messages[some], order.members[some])
            self._send_direct(handed, order.format)

    def _send_direct(self, what: Direct | Handed, form: int) -> None:
        """To all other nodes, now or never."""
        self.data.send(self.names.direct, encode(what, "", form))

    # -- writing

    def _line(self, stream: int) -> Line:
        return self.control if stream == LEASES else self.data

    def _write(self, order: Write) -> None:
        value, line = order.value, self._line(order.stream)
        headers = {EXPECTED: str(order.expected)}
        if isinstance(value, SessionRecord):
            headers |= headers_of(order.subject, value, self.names.partitions)
            data = encode(value, order.subject, order.format)
        else:
            data = encode(value, "", order.format)
            if isinstance(value, Frame) and order.format == NEWEST:  # of an older one less would be read
                self._own.setdefault(order.stream, deque(maxlen=OWN)).append((data, value))
        subject = self.names.subject(order.stream, order.subject)
        most = line.most - SLACK - len(headers.get(SESSION, ""))
        if len(data) <= most or not line.is_up:
            line.ask(subject, data, partial(self._written, order, None, 0), WRITE_SECONDS, headers)
        elif order.stream == SESSIONS:

            def are_stored(parted: Parted | None, first: int) -> None:
                if parted is None:
                    self._answer(order.token, UNKNOWN, 0)
                else:
                    heard = partial(self._written, order, parted, first)
                    named = encode(parted, order.subject, order.format)
                    line.ask(subject, named, heard, WRITE_SECONDS, headers)

            parts.store(line, partial(self.names.part, order.subject), data, most, WRITE_SECONDS, are_stored)
        else:
            self._is_unhappy(
                f"{len(data)} bytes are to be written at once, and NATS takes {most}: raise its max_payload"
            )
            self._loop.call_later(LONGEST_PAUSE, self._answer, order.token, UNKNOWN, 0)

    def _written(self, order: Write, parted: Parted | None, first: int, message: Msg | None) -> bool:
        """``parted`` if the value has parts; ``first`` is where they begin."""
        outcome, sequence = UNKNOWN, 0
        answer = _json(message)
        code = answer.get("error", {}).get("err_code", 0)
        if code == WRONG_LAST:
            outcome = REFUSED
            if parted is not None:  # nobody names them
                self._forget_parts(self.names.parts_of(order.subject, parted.nonce))
        elif answer.get("stream") == self.names.stream(order.stream) and answer.get("seq", 0) > 0:
            outcome, sequence = STORED, answer["seq"]
            self.unhappy = ""
            if order.stream == SESSIONS:
                self._has_parts(order.subject, parted, first or sequence)
        elif code and code != IN_FLIGHT:
            hint = ": it has no room, by its max_file or its disk" if code in NO_ROOM else ""
            self._is_unhappy(f"NATS did not store: {answer['error'].get('description', code)}{hint}")
        self._answer(order.token, outcome, sequence)
        return True

    def _has_parts(self, session: str, parted: Parted | None, before: int) -> None:
        """Those of records that stood before are of no use any more."""
        if parted is not None or session in self._parted:
            self._forget_parts(self.names.parts_of(session), before)
        if parted is not None:
            self._parted.add(session)
        else:
            self._parted.discard(session)

    def _forget_parts(self, which: str, before: int = 0) -> None:
        parts.forget(self.data, self.names.stream(SESSIONS), which, before)

    def _is_unhappy(self, why: str) -> None:
        if why != self.unhappy:
            self.unhappy = why
            log.warning("the cluster's bus: %s", why)

    def _answer(self, token: int, *answer: object) -> None:
        if not self._is_closed:
            self._hearer.answer(token, *answer)

    # -- reading

    def again(self, attempt: int, do: Callable[[int], None]) -> None:
        """In a while, as the next attempt."""
        if not self._is_closed:
            pause = min(LONGEST_PAUSE, AGAIN_SECONDS * 2 ** min(attempt, 10))
            self._loop.call_later(pause, do, attempt + 1)

    def _look(self, order: Look, attempt: int = 0) -> None:
        stream = self.names.stream(order.stream)
        subject = self.names.subject(order.stream, order.subject)

        def heard(message: Msg | None) -> bool:
            status = _status(message)
            if message is None or status not in ("", "404"):
                self.again(attempt, partial(self._look, order))
            elif status:
                self._answer(order.token, 0, None)
            else:
                self._found(order, attempt, int((message.headers or {})["Nats-Sequence"]), message.data)
            return True

        # Any replica may answer, and one that is behind gives an old answer, as may be.
        self._line(order.stream).ask(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", heard, READ_SECONDS)

    def _found(self, order: Look, attempt: int, sequence: int, data: bytes) -> None:
        value = self.read(data)
        if isinstance(value, Parted):

            def gathered(whole: bytes | None) -> None:
                if whole is None:  # an old record, most likely
                    self.again(attempt, partial(self._look, order))
                else:
                    self._found(order, attempt, sequence, whole)

            self._parted.add(order.subject)
            subjects = [self.names.part(order.subject, value.nonce, at) for at in range(value.count)]
            parts.gather(self.data, self.names.stream(SESSIONS), subjects, READ_SECONDS, gathered)
        elif value is not None:
            self._answer(order.token, sequence, value)

    def read(self, data: bytes) -> Value | Parted | None:
        """None: it cannot be read, which the hearer was told."""
        try:
            value = decode(data)[1]
        except WireError as error:
            if not self._is_closed:
                self._hearer.broken(error)
            return None
        if data[0] > self._seen:
            self._seen = data[0]
            self._hearer.saw(self._seen)
        return value  # type: ignore[return-value]

    def read_fed(self, stream: int, data: bytes) -> Value | Parted | None:
        """The same of what comes by in a stream. Much of it this node has just written: that need not be made
        anew.
        """
        for written, value in self._own.get(stream, ()):
            if written == data:
                return value
        return self.read(data)

    def _remove(self, stream: int, before: int) -> None:
        """All before that sequence, if that can be now."""
        request = json.dumps({"seq": before}).encode()
        self.data.send(f"$JS.API.STREAM.PURGE.{self.names.stream(stream)}", request)

    def _ask_last(self, order: AskLast) -> None:
        """Of the leader, whose answer is new; those that come meanwhile have the next."""
        asked = self._asks_last.setdefault(order.partition, ([], []))
        asked[1].append(order.token)
        if not asked[0]:
            self._ask_info(order.partition, 0)

    def _ask_info(self, partition: int, attempt: int) -> None:
        tokens, waiting = self._asks_last[partition]
        tokens += waiting
        waiting.clear()

        def heard(message: Msg | None) -> bool:
            answer = _json(message)
            if "state" not in answer:
                self.again(attempt, partial(self._ask_info, partition))
                return True
            told = [*tokens]
            tokens.clear()
            for token in told:
                self._answer(token, answer["state"]["last_seq"])
            if waiting:
                self._ask_info(partition, 0)
            return True

        self.data.ask(f"$JS.API.STREAM.INFO.{self.names.stream(partition)}", b"", heard, READ_SECONDS)

    def _ask_size(self, order: AskSize, attempt: int = 0) -> None:
        def heard(message: Msg | None) -> bool:
            state = _json(message).get("state")
            if state is None:
                self.again(attempt, partial(self._ask_size, order))
            else:
                self._answer(order.token, state["first_seq"], state["last_seq"], state["bytes"])
            return True

        stream = self.names.stream(order.partition)
        self.data.ask(f"$JS.API.STREAM.INFO.{stream}", b"", heard, READ_SECONDS)

    def _follow(self, order: Follow) -> None:
        former = self._feeds.pop(order.stream, None)
        if former is not None:
            former.end()
        self._feeds[order.stream] = _Feed(self, order, self._line(order.stream), self._hearer)

    def _came(self) -> None:
        for feed in self._feeds.values():
            feed.begin()

    # -- between nodes

    def _ask_release(self, order: AskRelease) -> None:
        if not self.control.is_up:
            return

        def heard(message: Msg | None) -> bool:
            if message is not None and not _status(message):
                self._answer(order.token)
            return True

        inbox = self.control.inbox(heard)
        self._loop.call_later(60.0, self.control.forget, inbox)
        wish = Wish(order.token, inbox, order.session)
        self.control.send(self.names.asking(order.node), encode(wish, "", order.format))

    def _was_asked(self, message: Msg) -> None:
        try:
            _, wish = decode(message.data)
        except WireError as error:
            log.warning("another node says what cannot be read: %s", error)
            return
        number = message.subject.rpartition(".")[2]
        if isinstance(wish, Wish) and number.isdigit() and not self._is_closed:
            self._hearer.asked(Boot(self._node, int(number)), wish.token, wish.asker, wish.session)

    def _answer_release(self, order: AnswerRelease) -> None:
        self.control.send(order.node, b"")

    def _heard_direct(self, message: Msg) -> None:
        try:
            _, direct = decode(message.data)
        except WireError as error:
            log.warning("messages of QoS 0 of another node cannot be read, and are lost: %s", error)
            return
        if isinstance(direct, Direct) and not self._is_closed:
            self._hearer.direct(direct.passed)
        elif isinstance(direct, Handed) and not self._is_closed:
            self._hearer.handed(direct.messages, direct.members)


class _Feed:
    """``Follow``: repaired by itself, and numbered without a gap, since nothing of it is ever left out."""

    def __init__(self, bus: Bus, order: Follow, line: Line, hearer: Hearer) -> None:
        self._bus = bus
        self._order = order
        self._line = line
        self._hearer = hearer
        self._last = order.after
        self._number = 0
        self._is_over = False
        self._consumer: Consumer | None = None
        self.begin()

    def begin(self, attempt: int = 0) -> None:
        if self._is_over or self._consumer is not None or not self._line.is_up:
            return  # ``Bus`` begins it when the line comes
        where = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._last + 1}
        stream = self._bus.names.stream(self._order.stream)
        self._consumer = Consumer(self._line, stream, where, self._heard, partial(self._broken, attempt))

    def end(self) -> None:
        self._is_over = True
        if self._consumer is not None:
            self._consumer.end()

    def _broken(self, attempt: int, why: str) -> None:
        self._consumer = None
        self._bus.again(attempt, self.begin)

    def _heard(self, sequence: int, pending: int, message: Msg) -> None:
        if sequence <= self._last:
            return
        value = self._bus.read_fed(self._order.stream, message.data)
        if value is None or isinstance(value, Parted):
            self.end()
            return
        self._last = sequence
        self._number += 1
        order = self._order
        self._hearer.feed(order.stream, order.generation, self._number, [(sequence, value)])


class _Fetching:
    """``Fetch``: in pieces, whole or not at all. A replica that is behind is asked again."""

    def __init__(self, bus: Bus, order: Fetch) -> None:
        self._bus = bus
        self._order = order
        self._found: list[Entry] = []
        self._last = order.after

    def ask(self, attempt: int = 0) -> None:
        order, before = self._order, self._last
        if before >= order.upto:
            asyncio.get_running_loop().call_soon(self._finish)
            return
        batch = min(FETCHED, order.upto - before)
        request = json.dumps({"seq": before + 1, "batch": batch, "max_bytes": FETCHED_BYTES}).encode()
        stream = self._bus.names.stream(order.partition)

        def heard(message: Msg | None) -> bool:
            if message is None or _status(message):
                self._next(attempt if self._last == before else -1)
                return True
            sequence = int((message.headers or {})["Nats-Sequence"])
            if sequence <= order.upto:
                value = self._bus.read(message.data)
                if value is None or isinstance(value, Parted):
                    return True
                self._found.append((sequence, value))
            self._last = max(self._last, sequence)
            if self._last < order.upto:
                return False
            self._finish()
            return True

        self._bus.data.ask(f"$JS.API.DIRECT.GET.{stream}", request, heard, READ_SECONDS)

    def _next(self, attempt: int) -> None:
        if attempt < 0:
            self.ask()
        else:
            self._bus.again(attempt, self.ask)

    def _finish(self) -> None:
        self._bus._answer(self._order.token, self._found)


def spans(weights: Sequence[int], most: int) -> Iterator[slice]:
    """Where to part what weighs that much, in order, so that no part weighs more than ``most``; what does by
    itself is a part alone.
    """
    begin = size = 0
    for at, weight in enumerate(weights):
        if at > begin and size + weight > most:
            yield slice(begin, at)
            begin, size = at, 0
        size += weight
    if begin < len(weights):
        yield slice(begin, len(weights))


def _status(message: Msg | None) -> str:
    """What a server says in the place of an answer: 404 nothing found, 503 nobody there; "" else."""
    return (message.headers or {}).get("Status", "") if message is not None else ""


def _json(message: Msg | None) -> dict[str, Any]:
    if message is None or not message.data:
        return {}
    try:
        answer = json.loads(message.data)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
