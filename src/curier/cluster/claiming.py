"""How a session comes to this node: the record is read, and written with this node as its owner.

The write is conditioned on the record that was read, so it may have been read from anywhere: had it been an
old one, the write would fail. A session whose owner lives is asked for, never taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from curier.cluster.floors import needs
from curier.cluster.ground import Ground
from curier.cluster.life import ALIVE, NOT_KNOWN, Life
from curier.cluster.orders import SESSIONS, STORED, UNKNOWN
from curier.cluster.records import Boot, SessionRecord, Value

ASKED_AGAIN: Final = 1.0  # seconds until an owner that said nothing is asked again

Won = Callable[[SessionRecord, int], None]


class Claiming:
    """``won`` or ``given_up`` is called, once. A living owner is asked only if a client wants the session
    that may have it: ``is_wanting`` is told whose user's it is.
    """

    def __init__(
        self,
        ground: Ground,
        life: Life,
        session: str,
        is_wanting: Callable[[str], bool],
        won: Won,
        given_up: Callable[[], None],
    ) -> None:
        self._is_wanting = is_wanting
        self._ground = ground
        self._life = life
        self._session = session
        self._won = won
        self._given_up = given_up
        self._claim: SessionRecord | None = None
        self._expected = 0
        self._round = 0

    def needs(self) -> tuple[int, ...]:
        """What it needs of the log if it is won, from when it is sent."""
        return needs(self._claim, self._ground.partitions) if self._claim is not None else ()

    def begin(self) -> None:
        """Look who has it. Whatever was asked before does not count any more."""
        self._round += 1
        asked = self._round

        def looked(sequence: int, value: Value | None) -> None:
            if asked == self._round:
                self._decide(sequence, value)

        self._ground.look(SESSIONS, self._session, looked)

    def _decide(self, sequence: int, value: Value | None) -> None:
        if not isinstance(value, SessionRecord):
            if self._is_wanting(""):
                self._take(sequence, self._new())
            else:
                self._given_up()
            return
        standing = self._life.standing(value.owner)
        if value.is_released or (standing != ALIVE and standing != NOT_KNOWN):
            if self._is_wanting(value.user) or not (value.is_over and value.is_released):
                self._take(sequence, self._claimed(value))
            else:
                self._given_up()
        elif (
            value.owner == self._ground.boot or standing == NOT_KNOWN
        ):  # an old answer, or of one not met yet
            self._ground.soon(self.begin)
        elif self._is_wanting(value.user):
            self._ask(value.owner)
        else:
            self._given_up()

    def _ask(self, owner: Boot) -> None:
        asked = self._round

        def look_again() -> None:
            if asked == self._round:
                self.begin()

        self._ground.ask_release(owner, self._session, look_again)
        self._ground.later(ASKED_AGAIN, look_again)

    def _new(self) -> SessionRecord:
        return SessionRecord(self._ground.boot, 1, 0, places=tuple(self._ground.applied))

    def _claimed(self, record: SessionRecord) -> SessionRecord:
        unsealed = record.unsealed if record.is_released else (*record.unsealed, record.owner)
        return replace(
            record,
            owner=self._ground.boot,
            epoch=record.epoch + 1,
            write=0,
            is_released=False,
            places=record.places if record.state or record.groups else tuple(self._ground.applied),
            unsealed=unsealed,
        )

    def _take(self, expected: int, claim: SessionRecord) -> None:
        self._expected, self._claim = expected, claim
        self._write()

    def _write(self) -> None:
        if self._claim is not None:
            self._ground.write(SESSIONS, self._session, self._claim, self._expected, self._written)

    def _written(self, outcome: str, sequence: int) -> None:
        if outcome == STORED:
            self._has_won(sequence)
        elif outcome == UNKNOWN:
            self._ground.soon(self._write)
        else:
            self._ground.look(SESSIONS, self._session, self._read_back)

    def _read_back(self, sequence: int, value: Value | None) -> None:
        if self._claim is not None and self._claim.is_same_as(value):
            self._has_won(sequence)
        elif sequence <= self._expected:  # an old answer
            self._ground.soon(self._write)
        else:
            self._claim = None
            self._decide(sequence, value)

    def _has_won(self, sequence: int) -> None:
        claim = self._claim
        assert claim is not None
        self._claim = None
        self._won(claim, sequence)
