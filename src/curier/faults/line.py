"""Rules at work: ``Faults`` has them, a ``Line`` is one connection whose packets pass under them.

Whoever drives a line gives it each packet and the time, then takes its orders and events, and calls
``deadline_reached`` when ``next_deadline`` says so; the clock is theirs. Without a rule every packet is an
order to send it, at once.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from curier.codec.constants import CONNACK, CONNECT
from curier.faults.answers import answer
from curier.faults.facts import Facts, Knowledge
from curier.faults.rules import (
    ANSWER,
    ANY,
    CUT_AFTER,
    CUT_BEFORE,
    DELAY,
    DOUBLE,
    FLIP,
    FOREVER,
    LOSE,
    REORDER,
    SECONDS_APART,
    STOP_READING,
    TO_CLIENT,
    TO_SERVER,
    Rule,
)
from curier.faults.words import parse_rule
from curier.frozen import dataclass
from curier.topics.filters import matches
from curier.trace.events import FAULT, Event, Happening, Packet, Wire
from curier.trace.framing import MORE, PACKET, Piece
from curier.trace.secrets import without_secrets

SEND: Final = "send"  # ``data`` to the end that ``to_server`` says
END: Final = "end"  # nothing more comes in this direction
CUT: Final = "cut"  # the connection breaks, both ways and without further words

_MORE: Final = -1  # in the place of ``left``: bytes of a long packet
_RAW: Final = -2  # and those of none

MOST_FIRED: Final = 1000  # Happenings that ``Faults.fired`` keeps


@dataclass(frozen=True, slots=True)
class Order:
    """What the driver of a line has to do next."""

    kind: str
    to_server: bool
    data: bytes = b""


class Kept:
    """A rule, since when it is there, and how often it was asked and acted. ``number`` is its own, from 1."""

    def __init__(self, rule: Rule, added: float, number: int) -> None:
        self.rule = rule
        self.number = number
        self.added = added
        self.seen = 0
        self.fired = 0
        self.lines: WeakKeyDictionary[Line, int] = (
            WeakKeyDictionary()
        )  # ``seen``, where it is of each connection


class Faults:
    """Rules for any number of connections; more can be added, for those that are open as well.

    ``rules`` are ``Rule``s or their words (``words``), tried in this order: the first that wants a packet
    has it, and ``cut after`` and ``stop reading`` may act besides. Chances and bits are drawn from ``seed``.
    ``fired`` are the last thousand faults, as they are in a recording. Raises ``ConfigError`` for a rule that
    is wrong; then none of those given with it is there.
    """

    def __init__(self, *rules: str | Rule, seed: int = 0) -> None:
        self.random = Random(seed)
        self.fired: deque[Happening] = deque(maxlen=MOST_FIRED)
        self.clock: Callable[[], float] | None = None  # of whoever drives the lines: when a rule was added
        self.kept: list[Kept] = []
        self.lines: WeakSet[Line] = WeakSet()
        self._number = 0
        self.add(*rules)

    @property
    def rules(self) -> list[Rule]:
        """The rules there are."""
        return [kept.rule for kept in self.kept]

    def add(self, *rules: str | Rule) -> None:
        """Have these as well, from now on; they count from here."""
        made = [parse_rule(rule) if isinstance(rule, str) else rule for rule in rules]
        now = self.clock() if self.clock is not None else 0.0
        for rule in made:
            self._number += 1
            self.kept.append(Kept(rule, now, self._number))
        self._changed()

    def remove(self, *gone: Kept) -> None:
        """Have these rules no more; what rules have stopped from being read is read again."""
        self.kept = [kept for kept in self.kept if kept not in gone]
        if any(kept.rule.action == STOP_READING for kept in gone):
            self._go_on()
        self._changed()

    def clear(self) -> None:
        """Have no rules any more; what a rule has stopped from being read is read again."""
        self.kept.clear()
        self._go_on()
        self._changed()

    def _go_on(self) -> None:
        now = self.clock() if self.clock is not None else 0.0
        for line in list(self.lines):
            line.go_on(now)

    def _changed(self) -> None:
        for line in list(self.lines):
            line.on_change()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Something on its way through a line: bytes, or END, or CUT. It goes on at ``due``, not before."""

    due: float
    kind: str
    data: bytes = b""


class _Way:
    """One direction of a line."""

    def __init__(self) -> None:
        self.queue: deque[_Waiting] = deque()
        self.behind: _Waiting | None = None  # what goes behind the next packet
        self.stalled_until: float = 0.0
        self.unread: deque[tuple[bytes, int]] = deque()  # what came while nobody read: bytes, and ``left``
        self.end_unread: bool = False
        self.is_lost: bool = False  # the long packet that comes in pieces
        self.size: int = 0  # bytes in ``queue`` and ``unread``

    def put(self, one: _Waiting) -> None:
        """Behind all others."""
        self.queue.append(one)
        self.size += len(one.data)

    def put_unread(self, data: bytes, left: int) -> None:
        """It has come, and nobody has looked at it."""
        self.unread.append((data, left))
        self.size += len(data)

    def clear(self) -> None:
        """Forget all that waits."""
        self.queue.clear()
        self.unread.clear()
        self.behind = None
        self.size = 0

    def let_behind_go(self, now: float) -> None:
        """What was held back goes on behind all that is on its way."""
        if self.behind is not None:
            self.put(_Waiting(now, SEND, self.behind.data))
            self.behind = None


class Line:
    """One Network Connection whose packets pass under the rules of ``faults``.

    ``on_change`` is called when rules have come or gone, since ``next_deadline`` may be another one then.
    """

    def __init__(self, faults: Faults, wire: Wire, now: float) -> None:
        self.faults = faults
        self.wire = wire
        self.began = now
        self.is_cut = False
        self.on_change: Callable[[], None] = _nothing
        self._knowledge = Knowledge(wire.version, wire.client_id)
        self._ways = (_Way(), _Way())  # to the client, to the server
        self._orders: list[Order] = []
        self._events: list[Event] = []
        self._replies: list[Packet] = []  # those of them that a rule gave to the client
        self._clocked: set[Kept] = set()  # rules without a packet that have acted here
        faults.lines.add(self)

    def close(self) -> None:
        """The connection is over."""
        self.faults.lines.discard(self)
        for kept in self.faults.kept:
            kept.lines.pop(self, None)

    # ---- what comes ----

    def pieces(self, to_server: bool, pieces: list[Piece], now: float) -> None:
        """What a ``Framer`` has cut off, each as what it is."""
        for piece in pieces:
            if piece.kind == PACKET:
                self.packet(to_server, piece.data, now, piece.left)
            elif piece.kind == MORE:
                self.more(to_server, piece.data, now)
            else:
                self.raw(to_server, piece.data, now)

    def packet(self, to_server: bool, data: bytes, now: float, left: int = 0) -> None:
        """A whole packet, or the beginning of a long one, with ``left`` bytes to come by ``more``."""
        way = self._ways[to_server]
        if self.is_cut:
            return
        if way.stalled_until > now:
            way.put_unread(data, left)
        else:
            self._pass(way, to_server, data, left, now)
            self._release(now)

    def more(self, to_server: bool, data: bytes, now: float) -> None:
        """The next bytes of a long packet, which share what becomes of its beginning."""
        self._unseen(to_server, data, now, _MORE)

    def raw(self, to_server: bool, data: bytes, now: float) -> None:
        """Bytes that are no packet: they go on in their order."""
        self._unseen(to_server, data, now, _RAW)

    def _unseen(self, to_server: bool, data: bytes, now: float, kind: int) -> None:
        way = self._ways[to_server]
        if self.is_cut:
            return
        if way.stalled_until > now:
            way.put_unread(data, kind)
        elif kind == _RAW or not way.is_lost:
            way.put(_Waiting(now, SEND, data))
            self._release(now)

    def end(self, to_server: bool, now: float) -> None:
        """Its sender has ended this direction."""
        way = self._ways[to_server]
        if way.stalled_until > now:
            way.end_unread = True
        else:
            self._end(way, now)
            self._release(now)

    # ---- what goes ----

    def take_orders(self) -> list[Order]:
        """What is to be done, in order."""
        orders, self._orders = self._orders, []
        return orders

    def take_events(self) -> list[Event]:
        """What has happened, in order."""
        events, self._events = self._events, []
        self._replies.clear()
        return events

    def take_news(self) -> tuple[list[Event], list[Happening | Packet]]:
        """The same; and of it what a broker behind the line cannot see: faults, what was lost, and what a
        rule has answered to the client in its place.
        """
        replies = [*self._replies]
        events = self.take_events()
        news: list[Happening | Packet] = []
        for event in events:
            if isinstance(event, Happening):
                news.append(event)
            elif isinstance(event, Packet) and (event.lost or any(event is reply for reply in replies)):
                news.append(event)
        return events, news

    def is_stalled(self, to_server: bool, now: float) -> bool:
        """Whether nothing is to be read from whoever sends in this direction."""
        return self._ways[to_server].stalled_until > now

    def rest(self, to_server: bool) -> bytes:
        """What waits in this direction, taken out of it, where nobody can wait for its time."""
        way = self._ways[to_server]
        way.let_behind_go(0.0)
        rest = b"".join(one.data for one in way.queue)
        way.clear()
        return rest

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, in either direction."""
        return not any(way.queue or way.unread or way.behind or way.stalled_until for way in self._ways)

    def waiting(self, to_server: bool) -> int:
        """Bytes that wait in this direction."""
        way = self._ways[to_server]
        behind = len(way.behind.data) if way.behind is not None else 0
        return behind + way.size

    # ---- time ----

    def next_deadline(self) -> float:
        """When ``deadline_reached`` is due; infinity: never."""
        if self.is_cut:
            return FOREVER
        times = [FOREVER]
        for way in self._ways:
            if way.queue:
                times.append(way.queue[0].due)
            if way.behind is not None:
                times.append(way.behind.due)
            if way.stalled_until:
                times.append(way.stalled_until)
        for kept in self.faults.kept:
            if kept.rule.by_clock and kept not in self._clocked and self._is_of(kept.rule):
                times.append(self._base(kept) + kept.rule.after)
        return min(times)

    def deadline_reached(self, now: float) -> None:
        """Do what is due."""
        for kept in list(self.faults.kept):
            rule = kept.rule
            if rule.by_clock and kept not in self._clocked and self._is_of(rule):
                if self._base(kept) + rule.after <= now and not self.is_cut:
                    self._clocked.add(kept)
                    self._act_by_clock(kept, now)
        for to_server, way in enumerate(self._ways):
            if way.behind is not None and way.behind.due <= now:
                way.let_behind_go(now)
            if way.stalled_until and way.stalled_until <= now:
                self._read_again(way, bool(to_server), now)
        self._release(now)

    def go_on(self, now: float) -> None:
        """Read again, whatever a rule has said."""
        for to_server, way in enumerate(self._ways):
            if way.stalled_until:
                self._read_again(way, bool(to_server), now)
        self._release(now)

    def _base(self, kept: Kept) -> float:
        """When the time of a rule begins here."""
        return max(self.began, kept.added)

    def _act_by_clock(self, kept: Kept, now: float) -> None:
        rule = kept.rule
        if rule.times and kept.fired >= rule.times:
            return
        kept.fired += 1
        if rule.action == CUT_AFTER:
            self._tell(rule, f"cut after {rule.after:g} s", None, now)
            self._cut()
            return
        for to_server in (True, False):
            if rule.direction in ("", TO_SERVER if to_server else TO_CLIENT):
                self._stall(rule, to_server, None, now)

    # ---- one packet ----

    def _pass(self, way: _Way, to_server: bool, data: bytes, left: int, now: float) -> None:
        """See a packet, and have the rules decide."""
        facts = self._knowledge.read(to_server, data)
        if facts.packet in (CONNECT, CONNACK):
            known = self._knowledge
            self.wire = dataclasses.replace(
                self.wire, client_id=known.client_id, version=known.version, user=known.user
            )
        first, besides = self._wanted(facts, to_server, now)
        is_lost = first is not None and first.action in (LOSE, ANSWER, CUT_BEFORE)
        reply = b""
        why_not = ""
        if first is not None and left and first.action in (DOUBLE, REORDER, ANSWER):
            why_not = "the packet is too long for that"
        elif first is not None and first.action == ANSWER:
            reply, why_not = answer(data, self._knowledge.version, first.reason_code)
        if why_not:
            is_lost = False
        recorded = without_secrets(data, self._knowledge.version)
        self._events.append(Packet(now, self.wire, to_server, recorded, cut=left, lost=is_lost))
        if first is None:
            way.put(_Waiting(now, SEND, data))
        elif why_not:
            self._tell(first, f"could not act: {why_not}", facts, now)
            way.put(_Waiting(now, SEND, data))
        else:
            self._act(first, way, to_server, data, facts, reply, now)
        way.is_lost = is_lost
        if not is_lost and not (first is not None and first.action == REORDER):
            way.let_behind_go(now)
        for rule in besides:
            if rule.action == CUT_AFTER:
                self._tell(rule, "cut after", facts, now)
                way.put(_Waiting(now, CUT))
            else:
                self._stall(rule, to_server, facts, now)

    def _act(
        self, rule: Rule, way: _Way, to_server: bool, data: bytes, facts: Facts, reply: bytes, now: float
    ) -> None:
        action = rule.action
        if action == LOSE:
            self._tell(rule, "lost", facts, now)
        elif action == DELAY:
            self._tell(rule, f"delayed by {rule.seconds:g} s", facts, now)
            way.put(_Waiting(now + rule.seconds, SEND, data))
        elif action == DOUBLE:
            self._tell(rule, "doubled", facts, now)
            self._events.append(
                Packet(now, self.wire, to_server, without_secrets(data, self._knowledge.version))
            )
            way.put(_Waiting(now, SEND, data + data))
        elif action == REORDER:
            way.let_behind_go(now)
            self._tell(rule, "held back behind the next", facts, now)
            way.behind = _Waiting(now + (rule.seconds or SECONDS_APART), SEND, data)
        elif action == FLIP:
            way.put(_Waiting(now, SEND, self._flipped(rule, data, facts, now)))
        elif action == CUT_BEFORE:
            self._tell(rule, "cut before", facts, now)
            way.put(_Waiting(now, CUT))
        else:
            assert action == ANSWER
            self._tell(rule, f"answered with 0x{rule.reason_code:02X} in the receiver's place", facts, now)
            answered = Packet(now, self.wire, not to_server, reply)
            self._events.append(answered)
            if to_server:
                self._replies.append(answered)
            back = self._ways[not to_server]
            back.put(_Waiting(now, SEND, reply))
            if facts.packet == CONNECT and rule.reason_code:  # [MQTT-3.2.2-7]
                back.put(_Waiting(now, END))
                way.put(_Waiting(now, END))

    def _flipped(self, rule: Rule, data: bytes, facts: Facts, now: float) -> bytes:
        bits = len(data) * 8
        bit = rule.bit if rule.bit >= 0 else self.faults.random.randrange(bits)
        if bit >= bits:
            self._tell(
                rule, f"could not act: there are {bits} bits, and none has the number {bit}", facts, now
            )
            return data
        changed = bytearray(data)
        changed[bit // 8] ^= 0x80 >> bit % 8
        self._tell(rule, f"bit {bit} flipped, in byte {bit // 8}", facts, now)
        return bytes(changed)

    def _stall(self, rule: Rule, to_server: bool, facts: Facts | None, now: float) -> None:
        who = "the client" if to_server else "the broker"
        how_long = f" for {rule.seconds:g} s" if rule.seconds else ""
        self._tell(rule, f"{who} is not read from any more{how_long}", facts, now)
        self._ways[to_server].stalled_until = now + rule.seconds if rule.seconds else FOREVER

    # ---- which rule ----

    def _wanted(self, facts: Facts, to_server: bool, now: float) -> tuple[Rule | None, list[Rule]]:
        """The rule that has this packet, and those that act besides. All that mean it count it."""
        first: Rule | None = None
        besides: list[Rule] = []
        for kept in self.faults.kept:
            rule = kept.rule
            if rule.by_clock or not self._means(kept, facts, to_server, now) or not self._turn(kept):
                continue
            if rule.action in (CUT_AFTER, STOP_READING):
                besides.append(rule)
            elif first is None:
                first = rule
            else:
                continue
            kept.fired += 1
        return first, besides

    def _is_of(self, rule: Rule) -> bool:
        return not rule.client_id or rule.client_id == self._knowledge.client_id

    def _means(self, kept: Kept, facts: Facts, to_server: bool, now: float) -> bool:
        rule = kept.rule
        if rule.packet not in (ANY, facts.packet) or not self._is_of(rule):
            return False
        if rule.direction and (rule.direction == TO_SERVER) != to_server:
            return False
        if rule.identifier and rule.identifier != facts.identifier:
            return False
        if rule.qos >= 0 and rule.qos != facts.qos:
            return False
        if rule.topic and not (facts.topic and matches(rule.topic.encode(), facts.topic)):
            return False
        return rule.after <= now - self._base(kept) < rule.until

    def _turn(self, kept: Kept) -> bool:
        """Is it the turn of this packet, which the rule means?"""
        rule = kept.rule
        if rule.per_connection:
            seen = kept.lines[self] = kept.lines.get(self, 0) + 1
        else:
            kept.seen += 1
            seen = kept.seen
        if (rule.nth and seen != rule.nth) or (rule.every and seen % rule.every):
            return False
        if rule.times and kept.fired >= rule.times:
            return False
        return rule.chance >= 1 or self.faults.random.random() < rule.chance

    def _tell(self, rule: Rule, what: str, facts: Facts | None, now: float) -> None:
        """Every fault is an event of the recording."""
        subject = f"{facts}: " if facts is not None else ""
        topic = facts.topic.decode(errors="replace") if facts is not None else ""
        why = f"{subject}{what}, by the rule {str(rule)!r}"
        happening = Happening(now, FAULT, self._knowledge.client_id, why, 0, topic, self.wire)
        self.faults.fired.append(happening)
        self._events.append(happening)

    # ---- what waits ----

    def _release(self, now: float) -> None:
        """Give orders for all that is due, each direction in its order."""
        for to_server, way in enumerate(self._ways):
            while way.queue and way.queue[0].due <= now and not self.is_cut:
                one = way.queue.popleft()
                way.size -= len(one.data)
                if one.kind == CUT:
                    self._cut()
                else:
                    self._orders.append(Order(one.kind, bool(to_server), one.data))

    def _cut(self) -> None:
        self.is_cut = True
        self._orders.append(Order(CUT, False))
        for way in self._ways:
            way.clear()

    def _end(self, way: _Way, now: float) -> None:
        way.let_behind_go(now)
        way.put(_Waiting(now, END))

    def _read_again(self, way: _Way, to_server: bool, now: float) -> None:
        way.stalled_until = 0.0
        while way.unread and not way.stalled_until:
            data, left = way.unread.popleft()
            way.size -= len(data)
            if left >= 0:
                self._pass(way, to_server, data, left, now)
            elif left == _RAW or not way.is_lost:
                way.put(_Waiting(now, SEND, data))
        if way.end_unread and not way.stalled_until:
            way.end_unread = False
            self._end(way, now)


def _nothing() -> None:
    """Whoever drives the line has no need to know."""
