"""The record of a session that this node owns, as it lies on the bus.

Every write is the whole record, conditioned on the one before, so whoever is not the owner any more is
refused, whatever it wanted to write. One write is under way, and what comes meanwhile goes with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from curier.cluster.ground import Ground
from curier.cluster.orders import SESSIONS, STORED, UNKNOWN
from curier.cluster.records import Intent, SessionRecord, Value

Stored = Callable[[bool], None]
"""Called with True once what was to be written is stored; with False where another owns the session."""


class Keeper:
    """``record`` is what is to be said of the session, and was stored at ``sequence``; ``stored`` is what was
    stored last.
    """

    def __init__(
        self, ground: Ground, name: str, record: SessionRecord, sequence: int, lost: Callable[[], None]
    ) -> None:
        self.record = record
        self.stored = record
        self.is_lost = False  # to another owner, who took this node for dead
        self._ground = ground
        self._name = name
        self._sequence = sequence
        self._lost = lost
        self._wanted = 0  # how often a write was asked for
        self._stored = 0  # ... and how many of these are answered for
        self._writing: tuple[int, SessionRecord] | None = None
        self._waiting: list[tuple[int, Stored]] = []
        self._holds = 0  # how often it is held

    def write(self, then: Stored) -> None:
        """Have the record stored as it is now, or as it is later."""
        if self.is_lost:
            then(False)
            return
        self._wanted += 1
        self._waiting.append((self._wanted, then))
        self._begin()

    def hold(self) -> None:
        """Write nothing that is not under way already: the record does not say all yet."""
        self._holds += 1

    def go_on(self, intents: Sequence[Intent]) -> None:
        """It does, with these."""
        self._holds -= 1
        self.record = replace(self.record, intents=(*self.record.intents, *intents))
        self._begin()

    @property
    def is_writing(self) -> bool:
        """Is something of it not stored yet?"""
        return self._stored < self._wanted

    def all_said(self) -> list[SessionRecord]:
        """The records that an heir may find, now or later."""
        said = [self.stored]
        if self._writing is not None:
            said.append(self._writing[1])
        if self.record is not said[-1]:
            said.append(self.record)
        return said

    def _begin(self) -> None:
        if self._holds or self.is_lost:
            return
        if self._writing is None and self._stored < self._wanted:
            self.record = replace(self.record, write=self.record.write + 1)
            self._writing = (self._wanted, self.record)
            self._write()

    def _write(self) -> None:
        if self._writing is not None:
            self._ground.write(SESSIONS, self._name, self._writing[1], self._sequence, self._written)

    def _written(self, outcome: str, sequence: int) -> None:
        if outcome == STORED:
            self._is_stored(sequence)
        elif outcome == UNKNOWN:
            self._ground.soon(self._write)
        else:
            self._ground.look(SESSIONS, self._name, self._read_back)

    def _read_back(self, sequence: int, value: Value | None) -> None:
        assert self._writing is not None
        if self._writing[1].is_same_as(value):
            self._is_stored(sequence)
        elif sequence <= self._sequence:  # an old answer
            self._ground.soon(self._write)
        else:
            self._is_refused()

    def _is_stored(self, sequence: int) -> None:
        assert self._writing is not None
        self._stored, self.stored = self._writing
        self._sequence, self._writing = sequence, None
        due = [then for wanted, then in self._waiting if wanted <= self._stored]
        self._waiting = [one for one in self._waiting if one[0] > self._stored]
        for then in due:
            then(True)
        self._begin()

    def _is_refused(self) -> None:
        self.is_lost, self._writing = True, None
        waiting, self._waiting = self._waiting, []
        self._lost()
        for _, then in waiting:
            then(False)
