"""A session that this node owns: from its claim until it is given up.

claimed ── Inheritance ──▶ here, in the broker's core ── leave, or it ends ──▶ out ──▶ released
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from curier.cluster.floors import lowest, needs
from curier.cluster.ground import Ground
from curier.cluster.house import House
from curier.cluster.inheriting import Inheritance, Log
from curier.cluster.keeper import Keeper
from curier.cluster.records import Intent, SessionRecord
from curier.cluster.states import Placed, Places
from curier.errors import StoreError
from curier.session.records import Record, SessionSaved, decode

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
        name: str,
        record: SessionRecord,
        sequence: int,
        came: Callable[[], None],
        gone: Callable[[bool], None],
    ) -> None:
        self.name = name
        self.keeper = Keeper(ground, name, record, sequence, self._is_lost)
        self.is_here = False  # in the broker's core
        self.is_leaving = False
        self.is_unreadable = False
        self._ground = ground
        self._house = house
        self._due = due
        self._places = places
        self._came = came
        self._gone = gone
        self._inheritance = Inheritance(ground, self.keeper, log, self._has_inherited)
        self._is_releasing = False  # nothing else will be written
        self._leavers: list[Callable[[], None]] = []
        self._under_way = 0  # messages on their way to the log
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
            except StoreError as error:  # it is not ours to overwrite: who can read it may have it
                self._house.cannot_read(self.name, error)
                self.is_leaving = self.is_unreadable = True
        if self.is_leaving and self.is_here:
            self._give_up()
        elif self.is_leaving:
            self._release()
        self._came()

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
        records = self._house.export(self.name)
        state, in_log = self._places.pack(records) if records is not None else (b"", ())
        record = self.keeper.record
        kept = [one for one in record.intents if one.writer == self._ground.boot]
        self.keeper.record = replace(
            record,
            is_brief=record.is_brief if is_brief is None else is_brief,
            user=_user_of(records),
            places=tuple(self._ground.applied),
            state=state,
            in_log=in_log,
            intents=(*kept, *intents),
        )
        self._has_said = True
        self._ground.touched.add(self.name)
        self._due.discard(self.name)
        if self.is_leaving or records is None:  # nothing may happen to it here any more
            self._house.drop_session(self.name, self._ground.wall)
            self.is_here, self.is_leaving = False, True

    def write(self, then: Callable[[bool], None]) -> None:
        """Have all of that stored; in the same write it is released, where nothing is open."""
        if not self._may_release():
            self.keeper.write(then)
            return

        def stored(is_stored: bool) -> None:
            then(is_stored)
            self._is_released(is_stored)

        self.keeper.write(stored)

    def begins_message(self) -> None:
        """One of its messages is on its way to the log."""
        self._under_way += 1

    def ends_message(self, intent: Intent | None) -> None:
        """... and is there, or will not be; ``intent``: the record need not say it any more."""
        self._under_way -= 1
        if intent is not None:
            record = self.keeper.record
            left = tuple([one for one in record.intents if one != intent])
            self.keeper.record = replace(record, intents=left)
            self._change_lazily()  # of a brief one, too: it holds the log until then
        self._release()

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

    def _write_soon(self) -> None:
        """With the next batch; or now, where there is nothing for one."""
        if self.name in self._due and self.is_here:
            if self._house.is_settled():
                self.take_state(None, [])
                self.write(_nobody_waits)
            else:
                self._ground.soon(self._write_soon)

    # -- the end

    def leave(self, then: Callable[[], None]) -> None:
        """Give it up: ``then`` is called when the record says that whoever wants it may take it."""
        self._leavers.append(then)
        if not self.is_leaving:
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
        self._release()

    def _may_release(self) -> bool:
        """Nothing of it may be under way: the next owner would have to end this node's writing. Where this is
        True, the record says that it is released, and no other is written behind that.
        """
        if not self.is_leaving or self.is_here or self._is_releasing or self.keeper.is_lost:
            return False
        record = self.keeper.record
        own = any(one.writer == self._ground.boot for one in record.intents)
        if own or self._under_way:
            return False
        self._is_releasing = True
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
