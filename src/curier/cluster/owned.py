"""A session that this node owns: from its claim until it is given up.

claimed ── Inheritance ──▶ here, in the broker's core ── leave, or it ends ──▶ out ──▶ released

One that has ended as a member of Shared Subscriptions is a *ghost* until the log says that it has left them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from curier.cluster.floors import lowest, needs
from curier.cluster.ground import Ground
from curier.cluster.groups import Groups
from curier.cluster.house import House
from curier.cluster.inheriting import Inheritance, Log, Stray
from curier.cluster.keeper import Keeper
from curier.cluster.records import Intent, Origin, SessionRecord
from curier.cluster.states import Placed, Places
from curier.errors import StoreError
from curier.session.records import Record, SessionSaved, decode


class Shares(Protocol):
    """What the log says of its Shared Subscriptions."""

    def look(self, name: str) -> None:
        """Write what it does not say yet of that session."""

    def is_out(self, owned: Owned, group: bytes) -> bool:
        """Is it no member, by its record, and by all of the log?"""


LAZY: Final = 1.0  # seconds until what may come again after a crash is stored


class Owned:
    """``record`` is stored at ``sequence``, with this node as its owner; ``begin`` puts the session in place.

    ``came`` is called when it is there, ``gone`` when it is not this node's any more. In ``due`` it puts its
    name when it is to be written down with the next batch, whether that changes it or not.
    """

    def __init__(
        self,
        ground: Ground,
        house: House,
        log: Log,
        due: set[str],
        places: Places,
        groups: Groups,
        name: str,
        record: SessionRecord,
        sequence: int,
        shares: Shares,
        came: Callable[[], None],
        gone: Callable[[bool], None],
    ) -> None:
        self.name = name
        self.keeper = Keeper(ground, name, record, sequence, self._is_lost)
        self.is_here = False  # in the broker's core
        self.is_leaving = False
        self.is_ghost = False
        self.is_unreadable = False
        self._ground = ground
        self._house = house
        self._due = due
        self._places = places
        self._came = came
        self._gone = gone
        self._log = log
        self._shares = shares
        self._inheritance = Inheritance(name, ground, self.keeper, log, groups, self._has_inherited)
        self.flying: dict[tuple[bytes, int], int] = {}  # what the log is to say, by group and partition
        self.said: set[tuple[bytes, int]] = set()  # what it has said because this owner wanted it
        self._strays: list[Intent] = []  # to be handed on, and not in the record yet
        self._handing: list[Intent] = []  # those that the next write has in it
        self._is_releasing = False  # nothing else will be written
        self._leavers: list[Callable[[], None]] = []
        self._under_way = 0  # messages on their way to the log
        self._written: set[Origin] = set()  # those of intents that are there
        self._is_to_change = False  # lazily
        self._has_said = False  # what it is, since it came here
        ground.touched.add(name)

    def begin(self) -> None:
        self._inheritance.begin()

    def _has_inherited(self, missed: list[Placed]) -> None:
        """Also where it is to leave again: what was read of the log since is in the record then, or a session
        that nobody keeps for as long as that takes would be read for anew at each node.
        """
        has_state = bool(self.keeper.record.state)
        if has_state or not self.is_leaving:
            try:
                if has_state:
                    self._install(missed)
                self.is_here = True
                self._take_strays(self._inheritance.strays)
                self._inheritance.strays = []
            except StoreError as error:  # it is not ours to overwrite: who can read it may have it
                self._house.cannot_read(self.name, error)
                self.is_leaving = self.is_unreadable = True
        if self.is_leaving and self.is_here:
            self._give_up()
        elif self.is_leaving:
            self._release()
        self._came()
        self._hand_on_soon()

    def _install(self, missed: list[Placed]) -> None:
        saved, freed = self._inheritance.saved, self._inheritance.freed
        records = [*[one for one, _ in saved], *decode(self.keeper.record.state)]
        self._house.install(records, freed, [one for one, _ in missed], self._ground.wall)
        for one, place in missed:
            self._places.note(one.message, place)
        for record, at in saved:
            self._places.note_saved(record, (at.partition, at.sequence, at.index))
        self._inheritance.saved = []

    # -- what its record says

    def take_state(self, is_brief: bool | None, intents: list[Intent]) -> None:
        """Have the record say what the session is now, which is as of what was read of the log."""
        self._drop_written()
        records = self._house.export(self.name)
        state, in_log = self._places.pack(records) if records is not None else (b"", ())
        record = self.keeper.record
        kept = [one for one in record.intents if one.writer == self._ground.boot]
        groups = self._groups(records is not None)
        self._handing += self._strays
        intents = [*intents, *self._strays]
        self._strays = []
        self.keeper.record = replace(
            record,
            is_brief=(record.is_brief if is_brief is None else is_brief) and not groups,
            user=_user_of(records),
            places=tuple(self._ground.applied),
            state=state,
            in_log=in_log,
            intents=(*kept, *intents),
            groups=groups,
        )
        self._has_said = True
        self._ground.touched.add(self.name)
        self._due.discard(self.name)
        if self.is_leaving or records is None:  # nothing may happen to it here any more
            self._house.drop_session(self.name, self._ground.wall)
            self.is_ghost = self.is_ghost or (not self.is_leaving and bool(groups))
            self.is_here, self.is_leaving = False, True

    def _groups(self, has_session: bool) -> tuple[tuple[bytes, bool], ...]:
        """Those that it is a member of, and those where the log does not know yet that it is none."""
        own = self._house.shared.groups_of(self.name) if has_session else []
        left = [
            one
            for one, _ in self.keeper.record.groups
            if one not in own and not self._shares.is_out(self, one)
        ]
        return (*[(one, True) for one in own], *[(one, False) for one in left])

    def write(self, then: Callable[[bool], None]) -> None:
        """Have all of that stored; in the same write it is released, where nothing is open."""
        handing, self._handing = self._handing, []
        releases = self._may_release()

        def stored(is_stored: bool) -> None:
            then(is_stored)
            if is_stored:
                self._log.append([(one.message, partial(self.ends_message, one)) for one in handing])
            else:
                for intent in handing:
                    self.ends_message(intent)
            if releases:
                self._is_released(is_stored)

        self.keeper.write(stored)

    # -- messages of groups

    def hand_on(self, strays: Sequence[Stray]) -> None:
        """The log has these for a group that it is no member of any more: they go there again, as intents."""
        self._take_strays(strays)
        self._hand_on_soon()

    def _take_strays(self, strays: Sequence[Stray]) -> None:
        for message, group, partition in strays:
            if not message.qos:  # it may have come to where it was to
                continue
            again = replace(message, origin=self._ground.next_origin(), group=group)
            after = self._ground.applied[partition]
            self._strays.append(Intent(0, again, partition, after, self._ground.boot))
            self.begins_message()

    def _hand_on_soon(self) -> None:
        if self._strays:
            self._due.add(self.name)
            self._write_soon()

    @property
    def has_strays(self) -> bool:
        """Is anything still to be handed on?"""
        return bool(self._strays or self._under_way)

    def has_left_groups(self) -> None:
        """All of the log says so."""
        self.is_ghost = False
        self.keeper.record = replace(self.keeper.record, groups=())
        self._release()

    def begins_message(self) -> None:
        """One of its messages is on its way to the log."""
        self._under_way += 1

    def ends_message(self, intent: Intent | None) -> None:
        """... and is there, or will not be; ``intent``: the record need not say it any more."""
        self._under_way -= 1
        if intent is not None:
            self._written.add(intent.message.origin)
            self._change_lazily()  # of a brief one, too: it holds the log until then
        if self.is_ghost and not self._under_way:
            self._shares.look(self.name)
        self._release()

    def _drop_written(self) -> None:
        """All at once: a session that ends may leave thousands."""
        if self._written:
            record, written = self.keeper.record, self._written
            left = tuple([one for one in record.intents if one.message.origin not in written])
            self.keeper.record = replace(record, intents=left)
            self._written = set()

    def needs(self) -> tuple[int, ...]:
        """What an heir would need of the log, in each partition: all behind that; (): nothing."""
        keeper, partitions = self.keeper, self._ground.partitions
        says_all = self._has_said and not (self._is_to_change or self.name in self._due or keeper.is_writing)
        found = [needs(one, partitions, not says_all) for one in keeper.all_said()]
        return lowest(found, partitions) if any(found) else ()

    # -- what may come again after a crash

    def changes_lazily(self) -> None:
        """What the record says is not all. A session that ends with its connection needs not say it."""
        if not self.keeper.record.is_brief:
            self._change_lazily()

    def _change_lazily(self) -> None:
        if not self._is_to_change and self.is_here:
            self._is_to_change = True
            self._ground.touched.add(self.name)
            self._ground.later(LAZY, self._is_time)

    def _is_time(self) -> None:
        self._is_to_change = False
        if self.is_here:
            self._due.add(self.name)
            self._write_soon()
            if self.keeper.record.groups:  # its client may be far behind by now, or no more
                self._shares.look(self.name)

    def _write_soon(self) -> None:
        """With the next batch; or now, where there is nothing for one."""
        if self.name in self._due and (self.is_here or self.is_ghost):
            if self._house.is_settled():
                self.take_state(None, [])
                self.write(_nobody_waits)
            else:
                self._ground.soon(self._write_soon)

    # -- the end

    def leave(self, then: Callable[[], None]) -> None:
        """Give it up: ``then`` is called when the record says that whoever wants it may take it."""
        self._leavers.append(then)
        if self.is_ghost:
            self._release()
        elif not self.is_leaving:
            self.is_leaving = True
            if self.is_here:
                self._give_up()

    def _give_up(self) -> None:
        self._house.yield_session(self.name, self._ground.wall)
        self._due.add(self.name)
        self._write_soon()

    def end(self) -> None:
        """There was no session, and none has come of it."""
        self.is_here, self.is_leaving = False, True
        self.is_ghost = bool(self.keeper.record.groups)
        self._release()

    def _may_release(self) -> bool:
        """Nothing of it may be under way: the next owner would have to end this node's writing. Where this is
        True, the record says that it is released, and no other is written behind that.
        """
        if not self.is_leaving or self.is_here or self._is_releasing or self.keeper.is_lost:
            return False
        if self._under_way or (self.is_ghost and not self._leavers):
            return False
        self._drop_written()
        record = self.keeper.record
        if any(one.writer == self._ground.boot for one in record.intents):
            return False
        self._is_releasing, self.is_ghost = True, False
        self._due.discard(self.name)
        self.keeper.record = replace(record, is_released=True)
        return True

    def _release(self) -> None:
        if self._may_release():
            self.keeper.write(self._is_released)

    def _is_released(self, is_stored: bool) -> None:
        if is_stored:
            self._go(is_lost=False)

    def _is_lost(self) -> None:
        """Another owns it, and this node was taken for dead."""
        self.is_ghost = False
        if self.is_here:
            self.is_here = False
            self._house.drop_session(self.name, self._ground.wall)
        self._due.discard(self.name)
        self.is_leaving = True
        self._go(is_lost=True)

    def _go(self, is_lost: bool) -> None:
        self._gone(is_lost)
        leavers, self._leavers = self._leavers, []
        for then in leavers:
            then()


def _nobody_waits(is_stored: bool) -> None:
    pass


def _user_of(records: list[Record] | None) -> str:
    """Whose session these records make."""
    return next((one.user for one in records or () if isinstance(one, SessionSaved)), "")
