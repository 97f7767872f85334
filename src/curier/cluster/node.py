"""One node: what becomes of its broker's sessions and messages among all the others.

What comes in are calls with the time; what goes out are orders to the bus, and calls of the broker's core
(``House``). Whatever the bus answers may be late, old, lost or doubled: each part says beside the line why
that does no harm.

Who drives a node reads nothing from its clients and sends nothing to them while it is not ``is_trusted``.
What the core has to say goes in this order: ``commit`` first, before anything else happens to the core; then
``claim`` and ``catch_up``, and ``send``; then the orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from curier.broker.effects import Answer, CatchUp, Claim, Packets
from curier.broker.model import LogMessage
from curier.cluster.claiming import Claiming
from curier.cluster.committing import Committer
from curier.cluster.cutting import THRIFT, Cutter, Thrift
from curier.cluster.floors import lowest, needs
from curier.cluster.formats import NEWEST
from curier.cluster.ground import Ground
from curier.cluster.groups import GroupPieces, Groups
from curier.cluster.house import House
from curier.cluster.life import DEAD, LASTS, RENEWED, Life
from curier.cluster.messages import as_packets, as_passed, messages_of
from curier.cluster.orders import LEASES, AnswerRelease, Follow, Order, Tell
from curier.cluster.owned import Owned
from curier.cluster.records import Boot, Frame, Lease, Message, Passed, SessionRecord, Share, Snapshot, Value
from curier.cluster.sharing import Sharing
from curier.cluster.snapshots import Carried, Loading
from curier.cluster.states import WHOLE, Places
from curier.cluster.writer import Sealer, Writer, partition_of
from curier.protocol.connection import CLOSED
from curier.session.records import Batch

NOT_AUTHORIZED: Final = 0x87
SERVER_UNAVAILABLE: Final = 0x88
WAITS: Final = 8.0  # seconds that a CONNECT waits for its session
RELEASED_FOR: Final = 10.0  # seconds until a session that nobody took is taken back
ADOPTED_AT_ONCE: Final = 256
"""Sessions of the dead that are on their way to this node at one time. There may be a hundred thousand, and
whoever connects meanwhile is not to wait behind them.
"""

Entry = tuple[int, Value]


class _Feed:
    """A stream as it comes by. Numbers without a gap, or it is asked for anew from where it was read to."""

    __slots__ = ("applied", "generation", "number")

    def __init__(self) -> None:
        self.applied = 0
        self.generation = 0
        self.number = 0


class Node:
    """``house`` is its broker; ``random`` gives numbers from 0 to 1: nothing but waiting depends on them.
    ``whole`` is how many bytes of messages a session's record has in it, ``newest`` the newest format that
    can be read here; ``carried`` what a snapshot of the log has in it, and ``thrift`` when the log is cut.
    """

    def __init__(
        self,
        name: str,
        partitions: int,
        random: Callable[[], float],
        house: House,
        whole: int = WHOLE,
        newest: int = NEWEST,
        carried: Sequence[Carried] = (),
        thrift: Thrift = THRIFT,
    ) -> None:
        self.ground = Ground(name, partitions, random)
        self.is_open = False
        self.holes: list[tuple[int, int, int]] = []  # of a partition, from and to: what was removed by hand
        self.sessions: dict[str, Owned] = {}
        self._house = house
        self._life = Life(self.ground, newest, self._joined, self._has_ended, self._floors)
        self._feeds = {stream: _Feed() for stream in (LEASES, *range(partitions))}
        self._writers = [Writer(self.ground, one, self.ground.die) for one in range(partitions)]
        self._sealer = Sealer(self.ground)
        self._due: set[str] = set()
        self.places = Places(whole)
        self.groups = Groups(partitions)
        self._sharing = Sharing(self.ground, house, self, self.sessions, self.groups)
        self._committer = Committer(
            self.ground, house, self, self.sessions, self._due, self.places, self._sharing
        )
        self._claims: dict[str, Claiming] = {}
        self._adopted: set[str] = set()  # those among them, or not yet here, that no client asked for
        self._orphans: dict[str, None] = {}  # in line for that
        self._wishes: dict[str, list[Claim]] = {}
        self._to_read: dict[int, int] = {}
        self._upto: dict[int, int] | None = (
            None  # what the snapshot asks to be read; None: it is not here yet
        )
        self._settled = [0] * partitions  # how far was read when the last batch was taken
        self._left: list[tuple[int, ...]] = []  # what sessions need that have gone since the last renewal
        self._thrift = thrift
        carried = [*carried, GroupPieces(self.ground, self.groups, house.shared.know)]
        self._loading = Loading(self.ground, carried, self._loaded)
        self.cutter = Cutter(self.ground, self._life, carried, thrift, self._may_cut, self._sharing.forget)
        self._is_looking_for_orphans = False
        self._is_draining = False

    # -- driving

    def take_orders(self) -> list[Order]:
        """What is to be done, in order."""
        taken, self.ground.orders = self.ground.orders, []
        return taken

    @property
    def is_trusted(self) -> bool:
        """May it speak for the cluster to its clients?"""
        return self.ground.is_trusted

    @property
    def trusted_until(self) -> float:
        """How long it may, by ``now``, if it hears nothing more."""
        return 0.0 if self.ground.is_dead else self._life.trusted_until

    @property
    def read_before_it_opens(self) -> float:
        """How much of the log it has read that was there when it joined, from 0 to 1."""
        whole = sum(self._to_read.values())
        read = sum([min(last, self.ground.applied[one]) for one, last in self._to_read.items()])
        return read / whole if whole else 0.0

    @property
    def is_draining(self) -> bool:
        """Does it give its sessions up, to leave?"""
        return self._is_draining

    @property
    def is_name_taken(self) -> bool:
        """Does another process live that is called as this one?"""
        return self._life.is_name_taken

    @property
    def claims(self) -> int:
        """Sessions that are on their way to it."""
        return len(self._claims)

    def leases(self, now: float) -> list[tuple[Lease, float]]:
        """The last of each node that is known, and how many seconds ago it came by."""
        return self._life.leases(now)

    @property
    def deadline(self) -> float | None:
        """When ``passed`` is to be called, if nothing else comes before."""
        return self.ground.deadline

    def begin(self, now: float, wall: float) -> None:
        self.ground.set_time(now, wall)
        self._follow(LEASES, self._feeds[LEASES])
        self._loading.begin()
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
                if stream != LEASES and sequence > feed.applied + 1:
                    self._is_cut_off(stream, sequence)
                    return
                feed.applied = sequence
                if isinstance(value, Lease):
                    self._life.came_by(sequence, value)
                    self.cutter.heard(sequence, value)
                elif stream != LEASES:
                    self._apply(stream, sequence, value)

    def saw(self, format: int) -> None:
        """Something of that format stands on the bus; to be told before the thing itself. So nothing is ever
        written anew in an older format than it was read in, which has less in it.
        """
        self.ground.saw(format)

    def asked(self, now: float, wall: float, token: int, asker: str, session: str) -> None:
        """Another node wants a session."""
        self.passed(now, wall)
        if self.ground.is_dead:
            return
        owned = self.sessions.get(session)
        if owned is not None:
            self._refuse(session)  # the other asks later than these came: it has the newer one
            owned.leave(lambda: self.ground.orders.append(AnswerRelease(token, asker)))
        elif session not in self._claims:
            self.ground.orders.append(AnswerRelease(token, asker))

    def drain(self, now: float, wall: float, names: Sequence[str] | None = None) -> None:
        """Give everything up, or these sessions of it, and end when nothing is left."""
        self.passed(now, wall)
        self.is_open, self._is_draining = False, True
        for name in [*self._wishes]:
            self._refuse(name)
        for name in [*self.sessions] if names is None else names:
            if name in self.sessions:
                self.sessions[name].leave(_nothing)
        self._may_end()

    # -- what the core has to say

    def commit(self, now: float, wall: float, batch: Batch) -> None:
        """Have a batch of the journal stored. It was taken just now, and nothing else has happened since."""
        self.ground.set_time(now, wall)
        if not self.ground.is_dead:
            self._settled = [*self.ground.applied]
            self._committer.commit(batch)

    def claim(self, now: float, wall: float, claim: Claim) -> None:
        """A client has come, and its session is to be here."""
        self.passed(now, wall)
        if self.ground.is_dead:
            return
        if not self.is_open or not self.ground.is_trusted:
            self._house.resume(
                claim, Answer(SERVER_UNAVAILABLE, "this node has no part in the cluster now"), wall
            )
            return
        self._wishes.setdefault(claim.client_id, []).append(claim)
        self.ground.later(WAITS, partial(self._has_waited, claim))
        self._grant(claim.client_id)

    def catch_up(self, now: float, wall: float, question: CatchUp) -> None:
        """A SUBSCRIBE waits until all is read that is in the log now."""
        self.passed(now, wall)
        lasts: dict[int, int] = {}

        def look() -> None:
            if self._has_read(lasts):
                self._house.resume(question, Answer(0), self.ground.wall)
            else:
                self.ground.when_read(look)

        def told(partition: int, last: int) -> None:
            lasts[partition] = last
            if len(lasts) == self.ground.partitions:
                look()

        for partition in range(self.ground.partitions):
            self.ground.ask_last(partition, partial(told, partition))

    def send(self, now: float, wall: float, packets: Sequence[Packets]) -> None:
        """Messages of QoS 0 were published here: receivers at other nodes get them at most once."""
        self.ground.set_time(now, wall)
        told = tuple([as_passed(one, wall) for one in packets])
        self.ground.orders.append(Tell(self.ground.boot, told, self.ground.format))

    def share(self, now: float, wall: float, messages: Sequence[LogMessage]) -> None:
        """Messages of QoS 0 were published here for Shared Subscriptions: a member of each gets them,
        wherever it is, at most once.
        """
        self.ground.set_time(now, wall)
        self._sharing.share(messages)

    def handed(self, now: float, wall: float, messages: Sequence[Message], members: Sequence[str]) -> None:
        """Another node has published messages of QoS 0, each for a member of a Shared Subscription."""
        self.passed(now, wall)
        if not self.ground.is_dead:
            self._sharing.handed(messages, members)

    def heard(self, now: float, wall: float, passed: Sequence[Passed]) -> None:
        """Another node has published messages of QoS 0."""
        self.passed(now, wall)
        if not self.ground.is_dead:
            self._house.read_direct([as_packets(one) for one in passed], wall)

    def _has_read(self, lasts: dict[int, int]) -> bool:
        return all(self.ground.applied[one] >= last for one, last in lasts.items())

    # -- the log, for its parts

    def append(self, messages: Iterable[tuple[Message, Callable[[], None]]]) -> None:
        """Have messages written; what stands beside each is called when it is stored."""
        found: dict[int, list[tuple[Message | Share, Callable[[], None]]]] = {}
        for one in messages:
            found.setdefault(partition_of(one[0].topic, self.ground.partitions), []).append(one)
        for partition, some in found.items():
            self._writers[partition].append(some)

    def append_share(self, partition: int, share: Share, then: Callable[[], None]) -> None:
        """Have the log say that of a Shared Subscription."""
        self._writers[partition].append([(share, then)])

    def seal(self, writer: Boot, partition: int, then: Callable[[int], None]) -> None:
        """End the writing of a node that is dead."""
        self._sealer.seal(writer, partition, then)

    # -- within

    def _follow(self, stream: int, feed: _Feed) -> None:
        feed.generation += 1
        feed.number = 0
        self.ground.orders.append(Follow(stream, feed.applied, feed.generation))

    def _joined(self) -> None:
        """With a lease; what is retained has to be known too before clients come: all that stood in the log
        before this node's own writing begins, behind which nothing is cut that it has not read.
        """
        for partition, writer in enumerate(self._writers):
            writer.open(partial(self._read_to, partition))

    def _read_to(self, partition: int, first: int) -> None:
        self._to_read[partition] = first
        self._may_open()

    def _may_open(self) -> None:
        if self.is_open or self._upto is None or len(self._to_read) < self.ground.partitions:
            return
        if self._has_read(self._to_read) and self._has_read(self._upto):
            self.is_open = not self._is_draining
            if not self._is_looking_for_orphans:
                self._is_looking_for_orphans = True
                self._look_for_orphans()
                self.cutter.begin()
        else:
            self.ground.when_read(self._may_open)

    # -- what is left of the log

    def _loaded(self, snapshot: Snapshot | None) -> None:
        """What the log had come to is here: the rest of it is to be read."""
        places = snapshot.places if snapshot is not None else (0,) * self.ground.partitions
        self._upto = dict(enumerate(snapshot.upto)) if snapshot is not None else {}
        for partition, place in enumerate(places):
            self.ground.applied[partition] = self._feeds[partition].applied = place
            self._follow(partition, self._feeds[partition])
        self._may_open()

    def _is_cut_off(self, partition: int, sequence: int) -> None:
        """The log goes on at ``sequence``: what was before that is gone."""
        feed = self._feeds[partition]
        feed.generation += 1  # nothing more of it, for now
        if self._is_looking_for_orphans:
            self.ground.ask_size(partition, partial(self._why_cut_off, partition, sequence))
            return
        for one in range(self.ground.partitions):
            self._feeds[one].generation += 1
        self._upto = None
        self._loading.begin(
            lambda snapshot: snapshot is not None and snapshot.places[partition] >= sequence - 1
        )

    def _why_cut_off(self, partition: int, sequence: int, first: int, last: int, size: int) -> None:
        """Sessions here were not given something: the others have taken this node for dead, or somebody has
        removed entries by hand, which leaves a hole.
        """
        feed = self._feeds[partition]
        if first > feed.applied + 1:
            self.ground.die()
        else:
            self.holes.append((partition, feed.applied + 1, sequence - 1))
            feed.applied = sequence - 1
            self._follow(partition, feed)

    def _may_cut(self) -> bool:
        return self.is_open and self.is_trusted

    def _floors(self) -> tuple[tuple[int, ...], str]:
        """What this node and its sessions need nothing of any more, and which of them holds most."""
        ground, writers = self.ground, self._writers
        if self._upto is None or not self._has_read(self._upto):
            return (), "it reads what is retained"
        read = ground.applied if self._house.is_settled() else self._settled
        own = tuple([min(place, writer.floor) for place, writer in zip(read, writers, strict=True)])
        floors, holder = lowest([own, *self._left], ground.partitions), ""
        self._left = []
        for name in [*ground.touched]:
            owned = self.sessions.get(name)
            behind = owned.needs() if owned is not None else ()
            if not behind:
                ground.touched.discard(name)
            floors, holder = _lower(floors, holder, behind, name)
        for name, claiming in self._claims.items():
            floors, holder = _lower(floors, holder, claiming.needs(), name)
        self.places.given_up = tuple(map(max, self.places.given_up or floors, floors))
        for writer in writers:
            writer.step(self._thrift.stride)
        return floors, holder and f"the session {holder[:64]!r}"

    def _apply(self, partition: int, sequence: int, value: Value) -> None:
        self.ground.applied[partition] = sequence
        concerned: set[str] = set()
        if isinstance(value, Frame):
            if value.shares:
                concerned = self._sharing.came_by(partition, sequence, value)
            messages = messages_of(value)
            if messages:
                strays = self._sharing.choose(partition, sequence, value, messages)
                self._house.read_log(messages, self.ground.wall)
                self.places.note_all(messages, partition, sequence)
                for owned, stray in strays:
                    owned.hand_on([stray])
        self.ground.tell_readers()
        for name in sorted(concerned):
            self._sharing.look(name)

    # -- sessions that come

    def _grant(self, name: str) -> None:
        """Give a session to who waits for it, when it is ours."""
        owned = self.sessions.get(name)
        if not self._is_wanted(name) or (owned is not None and (owned.is_leaving or not owned.is_here)):
            return
        if owned is None:
            self._claim(name)
            return
        for claim in self._wishes.pop(name):  # each takes over from the one before
            self._house.resume(claim, Answer(0), self.ground.wall)

    def _refuse(self, name: str) -> None:
        for claim in self._wishes.pop(name, []):
            answer = Answer(SERVER_UNAVAILABLE, "its session goes to another node")
            self._house.resume(claim, answer, self.ground.wall)

    def _has_waited(self, claim: Claim) -> None:
        """Say so before it is closed without a word for having come to no login."""
        wishes = self._wishes.get(claim.client_id, [])
        if claim in wishes:
            wishes.remove(claim)
            answer = Answer(SERVER_UNAVAILABLE, "its session is at a node that does not give it up yet")
            self._house.resume(claim, answer, self.ground.wall)

    def _is_wanted(self, name: str, user: str = "") -> bool:
        """Does a client wait for it that is still there, and may have a session of that user?"""
        wishes: list[Claim] = []
        for one in self._wishes.pop(name, []):
            why = self._house.why_not_whose(one.connection, user)
            if why:
                self._house.resume(one, Answer(NOT_AUTHORIZED, why), self.ground.wall)
            elif one.connection.state != CLOSED:
                wishes.append(one)
        if wishes:
            self._wishes[name] = wishes
        return bool(wishes)

    def _claim(self, name: str) -> None:
        if name in self._claims:
            return

        def won(record: SessionRecord, sequence: int) -> None:
            del self._claims[name]
            self._own(name, record, sequence)

        def given_up() -> None:
            del self._claims[name]
            self._adopt_more(name)
            self._grant(name)
            self._may_end()

        wanted = partial(self._is_wanted, name)
        claiming = self._claims[name] = Claiming(self.ground, self._life, name, wanted, won, given_up)
        claiming.begin()

    def _own(self, name: str, record: SessionRecord, sequence: int) -> None:
        owned = self.sessions[name] = Owned(
            self.ground,
            self._house,
            self,
            self._due,
            self.places,
            self.groups,
            name,
            record,
            sequence,
            self._sharing,
            partial(self._has_come, name, not record.state),
            partial(self._has_gone, name),
        )
        if self._is_draining:
            owned.leave(_nothing)
        owned.begin()

    def _has_come(self, name: str, is_new: bool) -> None:
        owned = self.sessions[name]
        self._adopt_more(name)
        if owned.is_unreadable:
            self._refuse(name)
        self._grant(name)
        if is_new and owned.is_here and not self._house.has_session(name):
            owned.end()
        self._sharing.look(name)

    def _has_gone(self, name: str, is_lost: bool) -> None:
        """Given up, or lost to who took us for dead."""
        owned = self.sessions.pop(name)
        self._adopt_more(name)
        self._committer.forget(name)
        if not is_lost:
            self._left.append(needs(owned.keeper.stored, self.ground.partitions))
        self._sharing.look(name)  # nobody waits for it any more
        if self._is_wanted(name):
            self._grant(name)
        elif not (is_lost or owned.is_unreadable or owned.keeper.record.is_over or self._is_draining):
            self.ground.later(RELEASED_FOR, partial(self._adopt, name))
        self._may_end()

    # -- sessions of the dead

    def _adopt(self, name: str) -> None:
        if name in self.sessions or name in self._claims or self._is_draining:
            return
        if len(self._adopted) < ADOPTED_AT_ONCE:
            self._adopted.add(name)
            self._claim(name)
        else:
            self._orphans[name] = None

    def _adopt_more(self, name: str) -> None:
        """That session is here, or is another's: the next one, if it was one of these."""
        self._adopted.discard(name)
        while self._orphans and len(self._adopted) < ADOPTED_AT_ONCE:
            following = next(iter(self._orphans))
            del self._orphans[following]
            self._adopt(following)

    def _has_ended(self, boot: Boot) -> None:
        self.ground.later(RENEWED * self.ground.random(), self._look_once)

    def _look_for_orphans(self) -> None:
        self._look_once()
        self.ground.later(LASTS, self._look_for_orphans)

    def _look_once(self) -> None:
        """Sessions whose owners are dead. Who comes too late for one finds that another has it."""
        if self._is_looking_for_orphans:
            self.ground.ask_owners(self._told_owners)

    def _told_owners(self, owners: Sequence[Boot]) -> None:
        for owner in owners:
            if self._life.standing(owner) == DEAD:
                self.ground.ask_sessions(owner, self._told_sessions)

    def _told_sessions(self, names: Sequence[str]) -> None:
        for name in names:
            self._adopt(name)

    def _may_end(self) -> None:
        if self._is_draining and not self.sessions and not self._claims:
            self._life.leave()


def _lower(
    floors: tuple[int, ...], holder: str, behind: tuple[int, ...], name: str
) -> tuple[tuple[int, ...], str]:
    """With what a session needs. It is the holder if it holds more than all before it."""
    if not behind:
        return floors, holder
    lower = tuple(map(min, floors, behind))
    return lower, holder if sum(lower) == sum(floors) else name


def _nothing() -> None:
    pass
