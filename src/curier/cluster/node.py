"""One node: bytes of clients are somebody else's, this says what becomes of their sessions and messages.

What comes in are calls with the time; what goes out are orders. Whatever the bus answers may be late, old,
lost or doubled: each part says beside the line why that does no harm.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from curier.cluster.claim import Claim
from curier.cluster.ground import Ground
from curier.cluster.life import DEAD, LASTS, RENEWED, Life
from curier.cluster.orders import LEASES, AnswerRelease, Close, Connack, Follow, Order
from curier.cluster.records import (
    Boot,
    Frame,
    Lease,
    Message,
    Place,
    SessionRecord,
    Value,
    Will,
)
from curier.cluster.session import TAKEN_OVER, Session
from curier.cluster.writer import Sealer, Writer
from curier.topics.filters import matches

SERVER_UNAVAILABLE: Final = 0x88
RELEASED_FOR: Final = 10.0  # seconds until a session that nobody took is taken back

Entry = tuple[int, Value]


class _Feed:
    """A stream as it comes by. Numbers without a gap, or it is asked for anew from where it was read to."""

    __slots__ = ("applied", "generation", "number")

    def __init__(self) -> None:
        self.applied = 0
        self.generation = 0
        self.number = 0


class _Wish:
    """A CONNECT that waits for its session."""

    __slots__ = ("connection", "is_clean", "lasts", "will")

    def __init__(self, connection: int, is_clean: bool, lasts: float, will: Will | None) -> None:
        self.connection = connection
        self.is_clean = is_clean
        self.lasts = lasts
        self.will = will


class Node:
    """``random`` gives numbers from 0 to 1; nothing but waiting depends on them."""

    def __init__(self, name: str, partitions: int, random: Callable[[], float]) -> None:
        self.ground = Ground(name, partitions, random)
        self.is_open = False
        self.sessions: dict[str, Session] = {}
        self._life = Life(self.ground, self._joined, self._has_ended)
        self._feeds = {stream: _Feed() for stream in (LEASES, *range(partitions))}
        self._writers = [Writer(self.ground, one, self.ground.die) for one in range(partitions)]
        self._sealer = Sealer(self.ground)
        self._retained: dict[bytes, tuple[int, Place, Message]] = {}
        self._claims: dict[str, Claim] = {}
        self._wishes: dict[str, _Wish] = {}
        self._names: dict[int, str] = {}
        self._to_read: dict[int, int] = {}
        self._has_joined = False
        self._is_draining = False

    # -- driving

    def take_orders(self) -> list[Order]:
        """What is to be done, in order."""
        taken, self.ground.orders = self.ground.orders, []
        return taken

    @property
    def deadline(self) -> float | None:
        """When ``passed`` is to be called, if nothing else comes before."""
        return self.ground.deadline

    def begin(self, now: float, wall: float) -> None:
        self.ground.set_time(now, wall)
        for stream, feed in self._feeds.items():
            self._follow(stream, feed)
        self._life.begin()

    def passed(self, now: float, wall: float) -> None:
        """Time has."""
        self.ground.set_time(now, wall)
        self._life.check()
        self.ground.run_timers()

    def answer(self, now: float, wall: float, token: int, *answer: object) -> None:
        """To any question that has a token."""
        self.passed(now, wall)
        self.ground.answer(token, *answer)

    def feed(
        self, now: float, wall: float, stream: int, generation: int, number: int, entries: Sequence[Entry]
    ) -> None:
        """What comes by in a stream."""
        self.passed(now, wall)
        feed = self._feeds[stream]
        if self.ground.is_dead or generation != feed.generation:
            return
        feed.number += 1
        if number != feed.number:  # something between was lost
            self._follow(stream, feed)
            return
        for sequence, value in entries:
            if sequence > feed.applied:
                feed.applied = sequence
                if isinstance(value, Lease):
                    self._life.came_by(sequence, value)
                elif stream != LEASES:
                    self._apply(stream, sequence, value)

    def asked(self, now: float, wall: float, token: int, asker: str, session: str) -> None:
        """Another node wants a session."""
        self.passed(now, wall)
        owned = self.sessions.get(session)
        if owned is not None:
            self._release(session, owned, lambda: self.ground.orders.append(AnswerRelease(token, asker)))
        elif session not in self._claims:
            self.ground.orders.append(AnswerRelease(token, asker))

    def drain(self, now: float, wall: float) -> None:
        """Give everything up, and end."""
        self.passed(now, wall)
        self.is_open, self._is_draining = False, True
        for connection in [wish.connection for wish in self._wishes.values()]:
            self.ground.tell(Close(connection, SERVER_UNAVAILABLE))
        self._wishes.clear()
        for session in [*self.sessions.values()]:
            session.leave(self._has_drained)
        self._has_drained()

    # -- clients

    def connect(
        self,
        now: float,
        wall: float,
        connection: int,
        session: str,
        is_clean: bool,
        lasts: float,
        will: Will | None = None,
    ) -> None:
        """``session`` is the Client Identifier, ``lasts`` the Session Expiry Interval in seconds."""
        self.passed(now, wall)
        if not self.is_open or not self.ground.is_trusted:
            self.ground.orders.append(Connack(connection, False, SERVER_UNAVAILABLE))
            return
        former = self._wishes.get(session)
        if former is not None:
            self.ground.tell(Close(former.connection, TAKEN_OVER))
        self._names[connection] = session
        self._wishes[session] = _Wish(connection, is_clean, lasts, will)
        self._grant(session)

    def closed(self, now: float, wall: float, connection: int, keeps_will: bool) -> None:
        """The connection has ended; ``keeps_will`` but for a DISCONNECT without Will Message."""
        self.passed(now, wall)
        name = self._names.pop(connection, "")
        wish, session = self._wishes.get(name), self.sessions.get(name)
        if wish is not None and wish.connection == connection:
            del self._wishes[name]
            claim = self._claims.get(name)
            if claim is not None:
                claim.is_wanted = False
        if session is not None:
            session.closed(connection, keeps_will)

    def session_of(self, now: float, wall: float, connection: int) -> Session | None:
        """The session that is connected by that; its methods are what a client may do then."""
        self.passed(now, wall)
        session = self.sessions.get(self._names.get(connection, ""))
        if session is None or session.connection != connection or self.ground.is_dead:
            return None
        return session

    # -- what sessions need

    def partition_of(self, topic: bytes) -> int:
        return zlib.crc32(topic) % self.ground.partitions

    def append(self, partition: int, message: Message, then: Callable[[], None]) -> None:
        self._writers[partition].append(message, then)

    def seal(self, writer: Boot, partition: int, then: Callable[[int], None]) -> None:
        self._sealer.seal(writer, partition, then)

    def retained(self, topic_filter: bytes) -> list[tuple[int, Place, Message]]:
        return [one for topic, one in self._retained.items() if matches(topic_filter, topic)]

    def forget(self, session: Session, is_lost: bool) -> None:
        """It is not ours any more: given up, or ``is_lost`` to who took us for dead."""
        if self.sessions.get(session.name) is session:
            del self.sessions[session.name]
        if session.name in self._wishes:
            self._grant(session.name)
        elif not is_lost and not self._is_draining:
            self.ground.later(RELEASED_FOR, lambda: self._adopt(session.name))

    # -- within

    def _follow(self, stream: int, feed: _Feed) -> None:
        feed.generation += 1
        feed.number = 0
        self.ground.orders.append(Follow(stream, feed.applied, feed.generation))

    def _joined(self) -> None:
        """With a lease; what is retained has to be known too before clients come."""
        self._has_joined = True
        for partition in range(self.ground.partitions):
            self.ground.ask_last(partition, partial(self._read_to, partition))
        self._look_for_orphans()

    def _read_to(self, partition: int, last: int) -> None:
        self._to_read[partition] = last
        self._may_open()

    def _may_open(self) -> None:
        if len(self._to_read) == self.ground.partitions and not self._is_draining and not self.is_open:
            self.is_open = all(self.ground.applied[one] >= last for one, last in self._to_read.items())

    def _apply(self, partition: int, sequence: int, value: Value) -> None:
        self.ground.applied[partition] = sequence
        messages = value.messages if isinstance(value, Frame) else ()
        for index, message in enumerate(messages):
            if message.retain and message.payload:
                self._retained[message.topic] = (partition, (sequence, index), message)
            elif message.retain:
                self._retained.pop(message.topic, None)
        for session in [*self.sessions.values()]:
            session.applied(partition, sequence, messages)
        self._may_open()

    def _grant(self, name: str) -> None:
        """Give a session to who waits for it, when it is ours."""
        if name not in self._wishes:
            return
        session = self.sessions.get(name)
        if session is not None and not session.is_leaving:
            session.when_ready(lambda: self._attach(name, session))
        elif session is None:
            self._claim(name, is_wanted=True)

    def _attach(self, name: str, session: Session) -> None:
        wish = self._wishes.get(name)
        if wish is not None and self.sessions.get(name) is session and not session.is_leaving:
            del self._wishes[name]
            session.connect(wish.connection, wish.is_clean, wish.lasts, wish.will)

    def _claim(self, name: str, is_wanted: bool) -> None:
        claim = self._claims.get(name)
        if claim is not None:
            claim.is_wanted = claim.is_wanted or is_wanted
            return

        def won(record: SessionRecord, sequence: int) -> None:
            del self._claims[name]
            session = self.sessions[name] = Session(self.ground, self, name, record, sequence)
            self._grant(name)
            session.begin()

        def given_up() -> None:
            del self._claims[name]
            self._grant(name)

        claim = self._claims[name] = Claim(self.ground, self._life, name, won, given_up)
        claim.is_wanted = is_wanted
        claim.begin()

    def _adopt(self, name: str) -> None:
        if name not in self.sessions and not self._is_draining:
            self._claim(name, is_wanted=False)

    def _release(self, name: str, session: Session, then: Callable[[], None]) -> None:
        wish = self._wishes.pop(name, None)
        if wish is not None:  # the other asks later than this client came: it is the newer one
            self.ground.tell(Close(wish.connection, TAKEN_OVER))
        session.leave(then)

    def _has_ended(self, boot: Boot) -> None:
        self.ground.later(RENEWED * self.ground.random(), self._look_once)

    def _look_for_orphans(self) -> None:
        self._look_once()
        self.ground.later(LASTS, self._look_for_orphans)

    def _look_once(self) -> None:
        """Sessions whose owners are dead. Who comes too late for one finds that another has it."""
        if self._has_joined:
            self.ground.ask_owners(self._told_owners)

    def _told_owners(self, owners: Sequence[Boot]) -> None:
        for owner in owners:
            if self._life.standing(owner) == DEAD:
                self.ground.ask_sessions(owner, self._told_sessions)

    def _told_sessions(self, names: Sequence[str]) -> None:
        for name in names:
            self._adopt(name)

    def _has_drained(self) -> None:
        if self._is_draining and not self.sessions and not self._claims:
            self._life.leave()
