"""What a record says of a session, and messages that it leaves in the log.

A session that is away may have much waiting. Its record is one message of the bus, which has a largest size,
so what it would have in it is named by where it stands in the log instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from curier.broker.model import LogMessage
from curier.cluster.records import InLog
from curier.session.message import ApplicationMessage
from curier.session.records import MessageSaved, Record, encode

WHOLE: Final = 16 * 1024  # bytes of messages that a record has in it
NEAR: Final = 32  # frames between two that are wanted, and it is all one reading

Place = tuple[int, int, int]
"""Where a message stands in the log: partition, sequence of its frame, index in that."""

Placed = tuple[LogMessage, Place]


def placed(partition: int, sequence: int, messages: Sequence[LogMessage]) -> list[Placed]:
    """Those of a frame, each with its place."""
    return [(one, (partition, sequence, index)) for index, one in enumerate(messages)]


class Places:
    """Where those messages stand in the log that sessions here have; ``whole``: see ``WHOLE``.

    ``given_up`` is what this node has said to need nothing of: what stands there may be gone.
    """

    def __init__(self, whole: int = WHOLE) -> None:
        self._whole = whole
        self.given_up: tuple[int, ...] = ()
        self._places: dict[int, Place] = {}  # by number in the journal

    def __len__(self) -> int:
        return len(self._places)

    def note_all(self, messages: Sequence[LogMessage], partition: int, sequence: int) -> None:
        """The same of all those of a frame."""
        for index, one in enumerate(messages):
            number = one.message.number
            if number:
                self._places[number] = (partition, sequence, index)

    def note(self, message: ApplicationMessage, place: Place) -> None:
        """A message of the log was given to the sessions here. Does one of them have it still?"""
        if message.number:
            self._places[message.number] = place

    def note_saved(self, record: MessageSaved, place: Place) -> None:
        """The same of one that came with its session."""
        self._places[record.number] = place

    def forget(self, number: int) -> None:
        """No session here has it any more."""
        self._places.pop(number, None)

    def pack(self, records: list[Record]) -> tuple[bytes, tuple[InLog, ...]]:
        """A session as bytes, and the messages that are not among them. One that was whole in a record stays
        so where its place was given up meanwhile.
        """
        messages = [one for one in records if isinstance(one, MessageSaved)]
        if sum([one.message.size() for one in messages]) <= self._whole:
            return encode(records), ()
        found = [(one.number, self._places.get(one.number)) for one in messages]
        left = {number: place for number, place in found if place is not None and self._is_there(place)}
        kept = [one for one in records if not (isinstance(one, MessageSaved) and one.number in left)]
        return encode(kept), tuple([InLog(number, *place) for number, place in left.items()])

    def _is_there(self, place: Place) -> bool:
        return not self.given_up or place[1] > self.given_up[place[0]]


def readings(wanted: Iterable[InLog]) -> list[tuple[int, int, int]]:
    """What to read of the log for those: a partition, behind which sequence, up to which."""
    found: list[tuple[int, int, int]] = []
    for partition, sequence in sorted({(one.partition, one.sequence) for one in wanted}):
        if found and found[-1][0] == partition and sequence - found[-1][2] <= NEAR:
            found[-1] = (partition, found[-1][1], sequence)
        else:
            found.append((partition, sequence - 1, sequence))
    return found
