"""A session that this node owns: what its client does, and what is kept of that on the bus.

Every write is the whole record, conditioned on the one before, so whoever is not the owner any more is
refused, whatever it wanted to write. One write is under way, and what comes meanwhile goes with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from curier.cluster.ground import Ground
from curier.cluster.orders import (
    SESSIONS,
    STORED,
    UNKNOWN,
    Acknowledge,
    Close,
    Connack,
    Deliver,
)
from curier.cluster.records import (
    NEVER,
    PUBLISH_SENT,
    PUBREL_SENT,
    Boot,
    Intent,
    Item,
    Message,
    Out,
    Place,
    SessionRecord,
    Subscription,
    Value,
    Will,
)
from curier.topics.filters import matches

LAZY: Final = 1.0  # seconds until what may come again after a crash is stored
IN_FLIGHT: Final = 10  # messages to a client without acknowledgement
KEPT_IN_THE_LOG: Final = 8  # messages that wait before they are written to the record

TAKEN_OVER: Final = 0x8E
NOT_FOUND: Final = 0x92


class House(Protocol):
    """What a session needs of its node."""

    def partition_of(self, topic: bytes) -> int: ...
    def append(self, partition: int, message: Message, then: Callable[[], None]) -> None: ...
    def seal(self, writer: Boot, partition: int, then: Callable[[int], None]) -> None: ...
    def retained(self, topic_filter: bytes) -> list[tuple[int, Place, Message]]: ...
    def forget(self, session: Session, is_lost: bool) -> None: ...


class _Sent:
    """An outgoing message. ``needs`` is what has to be stored before it leaves; QoS 1 needs nothing."""

    __slots__ = ("is_again", "is_sent", "item", "needs", "state")

    def __init__(self, item: Item, needs: int, state: str = PUBLISH_SENT, is_again: bool = False) -> None:
        self.item = item
        self.needs = needs
        self.state = state
        self.is_sent = False
        self.is_again = is_again


class Session:
    """``record`` is stored at ``sequence``, with this node as its owner. ``begin`` makes it ready."""

    def __init__(self, ground: Ground, house: House, name: str, record: SessionRecord, sequence: int) -> None:
        self.name = name
        self.connection: int | None = None
        self._accepted: int | None = None  # the connection that has its CONNACK: nothing is sent before
        self._ground = ground
        self._house = house
        self._sequence = sequence
        self._epoch = record.epoch
        self._load(record)
        self._count = 0  # publications of this epoch
        self._changes = 0  # what the record has to say
        self._wanted = 0  # ... must say at once
        self._stored = 0  # ... says
        self._write = record.write
        self._writing: tuple[int, SessionRecord] | None = None
        self._releases: list[tuple[int, Callable[[], None]]] = []
        self._under_way = 0  # messages on their way into the log
        self._questions = 0  # about messages of former owners
        self._behind = set(range(ground.partitions))
        self._ready: list[Callable[[], None]] = []
        self._answer_to: dict[int, int | None] = {}  # QoS 2 messages on their way, and who waits for PUBREC
        self._leavers: list[Callable[[], None]] = []
        self._is_releasing = False  # nothing is taken any more, and nothing else will be written
        self._is_gone = False
        self._lazy_at: float | None = None
        self._waiting_subscribes: list[tuple[list[int], Callable[[], None]]] = []

    def _load(self, record: SessionRecord) -> None:
        self._is_ended = record.is_ended
        self._lasts = record.lasts
        self._away_since = record.away_since
        self._subscriptions = {one.topic_filter: one for one in record.subscriptions}
        self._next = list(record.places)
        self._out = {one.packet_id: _Sent(one.item, 0, one.state, True) for one in record.out}
        self._queue = [(item, True) for item in record.waiting]  # and whether the record has it
        self._received = {one.packet_id: one for one in record.received}
        self._will = record.will
        self._firing = list(record.firing)
        self._unsealed = list(record.unsealed)

    # -- to be ready: what a former owner left, and what came since

    def begin(self) -> None:
        """Find out what went on before this owner."""
        self._ready.append(self._look_at_the_clock)
        if self._away_since is None:
            self._went_away()
        for partition in range(self._ground.partitions):
            self._catch_up(partition)
        for writer in [*self._unsealed]:
            self._end_writing_of(writer)
        for intent in [*self._received.values(), *self._firing]:
            if not intent.is_done and intent.writer != self._ground.boot:
                self._resolve(intent)
        self._is_it_ready()

    def when_ready(self, then: Callable[[], None]) -> None:
        """Call that as soon as all that went on before this owner is known."""
        self._ready.insert(max(len(self._ready) - 1, 0), then)
        self._is_it_ready()

    def _catch_up(self, partition: int) -> None:
        upto = self._ground.applied[partition]
        after = self._next[partition][0] - 1
        if after >= upto:
            self._behind.discard(partition)
            return

        def fetched(entries: Sequence[tuple[int, Value]]) -> None:
            for sequence, value in entries:
                self._take(partition, sequence, getattr(value, "messages", ()))
            self._next[partition] = max(self._next[partition], (upto + 1, 0))
            self._catch_up(partition)
            self._is_it_ready()
            self._pump()

        self._ground.fetch(partition, after, upto, fetched)

    def _end_writing_of(self, writer: Boot) -> None:
        """What a dead owner was about to write for this session must not come behind what is written now."""
        missing = set(range(self._ground.partitions))
        self._questions += 1

        def sealed(partition: int, sequence: int) -> None:
            missing.discard(partition)
            if not missing:
                self._unsealed.remove(writer)
                self._touch_lazily()
                self._questions -= 1
                self._is_it_ready()

        for partition in range(self._ground.partitions):
            self._house.seal(writer, partition, partial(sealed, partition))

    def _resolve(self, intent: Intent) -> None:
        """Did the former owner write it? Its writing is ended first, so the answer stays true."""
        self._questions += 1

        def sealed(sequence: int) -> None:
            self._ground.fetch(intent.partition, intent.after, sequence, fetched)

        def fetched(entries: Sequence[tuple[int, Value]]) -> None:
            origins = {one.origin for _, value in entries for one in getattr(value, "messages", ())}
            self._settle(intent, intent.message.origin in origins)
            self._questions -= 1
            self._is_it_ready()

        self._house.seal(intent.writer, intent.partition, sealed)

    def _settle(self, intent: Intent, is_written: bool) -> None:
        if (
            intent.packet_id
        ):  # a PUBLISH that is not in the log has no PUBREC either: the client sends it again
            if is_written:
                self._received[intent.packet_id] = replace(intent, is_done=True)
            else:
                del self._received[intent.packet_id]
        else:
            self._firing.remove(intent)
            if not is_written:
                self._fire_message(intent.message)
        self._touch()

    def _is_it_ready(self) -> None:
        if self._behind:
            return
        subscribes, self._waiting_subscribes = self._waiting_subscribes, []
        for lasts, do in subscribes:
            if all(self._ground.applied[p] >= last for p, last in enumerate(lasts)):
                do()
            else:
                self._waiting_subscribes.append((lasts, do))
        if not self._questions:
            ready, self._ready = self._ready, []
            for then in ready:
                then()
        self._may_leave()

    # -- the client

    def connect(self, connection: int, is_clean: bool, lasts: float, will: Will | None) -> None:
        """A client, once this is ready. The CONNACK goes out when the record says so."""
        if self.connection is not None:
            self._ground.tell(Close(self.connection, TAKEN_OVER))
            self.connection = None
            self._went_away()
        assert self._away_since is not None
        is_over = self._is_ended or self._away_since + self._lasts <= self._ground.wall
        is_present = not is_clean and not is_over
        former, self._will = self._will, will
        if former is not None and (not is_present or former.delay <= 0 or former.due <= self._ground.wall):
            self._fire(former)  # else: back before the Will Delay Interval has passed [MQTT-3.1.3-9]
        if not is_present:
            self._forget_all()
        self._is_ended, self._lasts, self._away_since = False, lasts, None
        self.connection = connection
        for one in self._out.values():
            one.is_again = one.is_sent or one.is_again
            one.is_sent = False

        def stored() -> None:
            if self.connection == connection:
                self._accepted = connection
                self._ground.tell(Connack(connection, is_present))
                self._send()
                self._pump()

        self._touch(stored)

    def closed(self, connection: int, keeps_will: bool) -> None:
        """The connection has ended; by DISCONNECT without the Will Message unless ``keeps_will``."""
        if connection == self.connection:
            self.connection = None
            if not keeps_will:
                self._will = None
            self._went_away()

    def publish(self, packet_id: int, qos: int, topic: bytes, payload: bytes, retain: bool) -> None:
        connection = self.connection
        partition = self._house.partition_of(topic)
        if qos == 2 and packet_id in self._received:
            if self._received[packet_id].is_done:
                self._acknowledge(connection, "PUBREC", packet_id)
            else:
                self._answer_to[packet_id] = connection
            return
        self._count += 1
        message = Message((self.name, self._epoch, self._count), topic, payload, qos, retain)
        if qos == 1:
            self._append(partition, message, lambda: self._acknowledge(connection, "PUBACK", packet_id))
            return
        after = self._ground.applied[partition]
        intent = Intent(packet_id, message, partition, after, self._ground.boot)
        self._received[packet_id] = intent
        self._answer_to[packet_id] = connection

        def written() -> None:
            if self._received.get(packet_id) is intent:  # else the session began anew
                self._received[packet_id] = replace(intent, is_done=True)
                self._touch_lazily()
                self._acknowledge(self._answer_to.pop(packet_id), "PUBREC", packet_id)

        self._touch(lambda: self._append(partition, message, written))

    def pubrel(self, packet_id: int) -> None:
        connection = self.connection
        self._received.pop(packet_id, None)
        self._touch(lambda: self._acknowledge(connection, "PUBCOMP", packet_id))

    def puback(self, packet_id: int) -> None:
        one = self._out.get(packet_id)
        if one is not None and one.item.qos == 1 and one.is_sent:
            self._is_acknowledged(packet_id)

    def pubrec(self, packet_id: int) -> None:
        one = self._out.get(packet_id)
        if one is not None and one.item.qos == 2 and one.is_sent:
            one.state, one.is_sent, one.needs = PUBREL_SENT, False, self._changes + 1
            self._touch(self._send)

    def pubcomp(self, packet_id: int) -> None:
        one = self._out.get(packet_id)
        if one is not None and one.state == PUBREL_SENT and one.is_sent:
            self._is_acknowledged(packet_id)

    def subscribe(self, packet_id: int, topic_filter: bytes, qos: int, no_local: bool) -> None:
        """SUBACK goes out when all that was in the log at the SUBSCRIBE is read, and the record stored.

        The first, so that retained messages are known that were acknowledged before; the second, so that what
        is published behind the SUBACK is met by whoever owns the session then.
        """
        connection = self.connection
        lasts: dict[int, int] = {}

        def told(partition: int, last: int) -> None:
            lasts[partition] = last
            if len(lasts) == self._ground.partitions:
                self._waiting_subscribes.append(([lasts[p] for p in range(len(lasts))], begin))
                self._is_it_ready()

        def begin() -> None:
            if self.connection != connection:
                return
            starts = tuple(self._ground.applied)
            self._subscriptions[topic_filter] = Subscription(topic_filter, qos, no_local, starts)
            for partition, place, message in self._house.retained(topic_filter):
                granted = min(qos, message.qos)
                self._queue.append((Item(partition, place, granted, message, is_retained=True), True))
            self._touch(lambda: self._acknowledge(connection, "SUBACK", packet_id))
            self._pump()

        for partition in range(self._ground.partitions):
            self._ground.ask_last(partition, partial(told, partition))

    def unsubscribe(self, packet_id: int, topic_filter: bytes) -> None:
        connection = self.connection
        self._subscriptions.pop(topic_filter, None)
        self._touch(lambda: self._acknowledge(connection, "UNSUBACK", packet_id))

    # -- messages

    def applied(self, partition: int, sequence: int, messages: Sequence[Message]) -> None:
        """The node has read a frame."""
        if self._is_releasing:
            return
        if partition not in self._behind:
            self._take(partition, sequence, messages)
        self._is_it_ready()
        self._pump()

    def _take(self, partition: int, sequence: int, messages: Sequence[Message]) -> None:
        for index, message in enumerate(messages):
            if (sequence, index) >= self._next[partition]:
                qos = self._granted(partition, sequence, message)
                if qos > 0:
                    self._queue.append((Item(partition, (sequence, index), qos, message), False))
        self._next[partition] = max(self._next[partition], (sequence + 1, 0))
        if sum(not is_kept for _, is_kept in self._queue) > KEPT_IN_THE_LOG:
            self._queue = [(item, True) for item, _ in self._queue]
            self._touch()

    def _granted(self, partition: int, sequence: int, message: Message) -> int:
        """The highest QoS of its subscriptions for a message; 0: none."""
        return max(
            [
                min(one.qos, message.qos)
                for one in self._subscriptions.values()
                if one.starts[partition] < sequence
                and not (one.no_local and message.origin[0] == self.name)
                and matches(one.topic_filter, message.topic)
            ],
            default=0,
        )

    def _pump(self) -> None:
        if self.connection is None or self.connection != self._accepted or self._is_gone:
            return
        taken, self._queue = self._split(IN_FLIGHT - len(self._out))
        for item, _ in taken:
            self._out[self._free_id()] = _Sent(item, self._changes + 1 if item.qos == 2 else 0)
        if any(item.qos == 2 for item, _ in taken):
            self._touch(self._send)
        elif taken:
            self._touch_lazily()
        self._send()

    def _split(self, count: int) -> tuple[list[tuple[Item, bool]], list[tuple[Item, bool]]]:
        return self._queue[:count], self._queue[count:]

    def _free_id(self) -> int:
        packet_id = 1
        while packet_id in self._out:
            packet_id += 1
        return packet_id

    def _send(self) -> None:
        """What may leave, in order."""
        if self.connection is None or self.connection != self._accepted:
            return
        for packet_id, one in self._out.items():
            if one.is_sent:
                continue
            if one.needs > self._stored:
                if one.state == PUBREL_SENT:
                    continue
                break
            one.is_sent = True
            if one.state == PUBREL_SENT:
                self._acknowledge(self.connection, "PUBREL", packet_id)
            else:
                self._ground.tell(Deliver(self.connection, packet_id, one.item, one.is_again))

    def _is_acknowledged(self, packet_id: int) -> None:
        del self._out[packet_id]
        self._touch_lazily()
        self._pump()

    def _append(self, partition: int, message: Message, then: Callable[[], None]) -> None:
        self._under_way += 1

        def stored() -> None:
            self._under_way -= 1
            then()
            self._may_leave()

        self._house.append(partition, message, stored)

    def _acknowledge(self, connection: int | None, packet: str, packet_id: int) -> None:
        if connection is not None and connection == self.connection:
            self._ground.tell(Acknowledge(connection, packet, packet_id))

    # -- wills, and the end

    def _went_away(self) -> None:
        self._away_since = self._ground.wall
        if self._will is not None and self._will.due == NEVER:
            self._will = replace(self._will, due=self._ground.wall + min(self._will.delay, self._lasts))
        self._touch_lazily()
        self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        """Is the will due, or the session over?"""
        if self._away_since is None or self._is_gone or self._leavers or self._ready:
            return
        wall, ends = self._ground.wall, self._away_since + self._lasts
        if self._will is not None and min(self._will.due, ends) <= wall:
            will, self._will = self._will, None
            self._fire(will)
        if ends <= wall:
            self._forget_all()
            self._is_ended = True
            self._touch()
            self.leave(_nothing)
            return
        due = min(ends, self._will.due if self._will is not None else NEVER)
        if due != NEVER:
            self._ground.later(max(due - wall, 0.01), self._look_at_the_clock)

    def _fire(self, will: Will) -> None:
        self._count += 1
        origin = (self.name, self._epoch, self._count)
        self._fire_message(Message(origin, will.topic, will.payload, will.qos, will.retain))

    def _fire_message(self, message: Message) -> None:
        """A Will Message goes into the log once: its record first."""
        partition = self._house.partition_of(message.topic)
        intent = Intent(0, message, partition, self._ground.applied[partition], self._ground.boot)
        self._firing.append(intent)

        def written() -> None:
            self._firing.remove(intent)
            self._touch_lazily()

        self._touch(lambda: self._append(partition, message, written))

    def _forget_all(self) -> None:
        self._subscriptions, self._out, self._queue, self._received = {}, {}, [], {}

    @property
    def is_leaving(self) -> bool:
        return bool(self._leavers)

    def leave(self, then: Callable[[], None]) -> None:
        """Give the session up: ``then`` is called when the record says that whoever wants it may take it."""
        if self.connection is not None:
            self._ground.tell(Close(self.connection, TAKEN_OVER))
            self.connection = None
            self._went_away()
        self._leavers.append(then)
        self._may_leave()

    def _may_leave(self) -> None:
        is_busy = self._under_way or self._firing or self._behind or self._ready or self._releases
        if self._leavers and not is_busy and self._writing is None and not self._is_gone:
            self._is_releasing = True
            self._touch(self._has_left)

    def _has_left(self) -> None:
        self._is_gone = True
        self._house.forget(self, is_lost=False)
        for then in self._leavers:
            then()

    # -- the record

    def _record(self) -> SessionRecord:
        places = list(self._next)
        for item, is_kept in reversed(self._queue):
            if not is_kept:
                places[item.partition] = min(places[item.partition], item.place)
        return SessionRecord(
            owner=self._ground.boot,
            epoch=self._epoch,
            write=self._write,
            is_released=self._is_releasing,
            is_ended=self._is_ended,
            lasts=self._lasts,
            away_since=self._away_since,
            subscriptions=tuple(self._subscriptions.values()),
            places=tuple(places),
            out=tuple([Out(packet_id, one.item, one.state) for packet_id, one in self._out.items()]),
            waiting=tuple([item for item, is_kept in self._queue if is_kept]),
            received=tuple(self._received.values()),
            will=self._will,
            firing=tuple(self._firing),
            unsealed=tuple(self._unsealed),
        )

    def _touch(self, then: Callable[[], None] | None = None) -> None:
        """The record has something new to say, at once; ``then`` when it does."""
        self._changes += 1
        self._wanted = self._changes
        if then is not None:
            self._releases.append((self._changes, then))
        self._write_it()

    def _touch_lazily(self) -> None:
        self._changes += 1
        if self._lazy_at is None:
            self._lazy_at = self._ground.now + LAZY
            self._ground.at(self._lazy_at, self._is_time)

    def _is_time(self) -> None:
        self._lazy_at = None
        if not self._is_gone and self._stored < self._changes:
            self._wanted = self._changes
            self._write_it()

    def _write_it(self) -> None:
        if self._writing is None and not self._is_gone and self._stored < self._wanted:
            self._write += 1
            self._writing = (self._changes, self._record())
            self._write_again()

    def _write_again(self) -> None:
        if self._writing is not None and not self._is_gone:
            self._ground.write(SESSIONS, self.name, self._writing[1], self._sequence, self._written)

    def _written(self, outcome: str, sequence: int) -> None:
        if outcome == STORED:
            self._is_stored(sequence)
        elif outcome == UNKNOWN:
            self._ground.soon(self._write_again)
        else:
            self._ground.look(SESSIONS, self.name, self._read_back)

    def _read_back(self, sequence: int, value: Value | None) -> None:
        assert self._writing is not None
        if value == self._writing[1]:
            self._is_stored(sequence)
        elif sequence <= self._sequence:  # an old answer
            self._ground.soon(self._write_again)
        else:  # another is the owner, and this node was taken for dead
            self._is_gone = True
            if self.connection is not None:
                self._ground.tell(Close(self.connection, TAKEN_OVER))
                self.connection = None
            self._house.forget(self, is_lost=True)

    def _is_stored(self, sequence: int) -> None:
        assert self._writing is not None
        self._stored, self._sequence, self._writing = self._writing[0], sequence, None
        due = [then for change, then in self._releases if change <= self._stored]
        self._releases = [one for one in self._releases if one[0] > self._stored]
        for then in due:
            then()
        self._write_it()
        self._may_leave()


def _nothing() -> None:
    pass
