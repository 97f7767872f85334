"""The log, written by one node: one frame at a time in each partition, conditioned on the one before.

So a frame that had no answer is written again without danger: it cannot be stored twice. And who takes over
from a dead node ends its writing with a ``Seal``, conditioned on the same: nothing can come behind that.

The log is cut in front, and of a subject that has nothing left the last sequence is 0 again. So a writer
begins with a frame that says nothing, and takes no message before that is known to be stored: whatever has a
message in it is conditioned on a sequence that was used, and there is never another of that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from curier.cluster.ground import Ground
from curier.cluster.orders import STORED, UNKNOWN
from curier.cluster.records import Boot, Frame, Message, Seal, Share, Value

MOST: Final = 256  # messages of a frame, which
MOST_BYTES: Final = 256 * 1024  # has no more of them, but for one that is larger alone

Then = Callable[[], None]


def subject_of(writer: Boot) -> str:
    """The subject of a writer's frames, and of its seal, in each partition."""
    return f"{writer.name}.{writer.number}"


def partition_of(topic: bytes, partitions: int) -> int:
    """Where messages of that topic stand in the log."""
    return zlib.crc32(topic) % partitions


def fitting(messages: Sequence[Message | Share]) -> int:
    """How many of them, from the first, make a frame; one at least."""
    size = 0
    for at, message in enumerate(messages):
        if isinstance(message, Share):
            size += len(message.group) + 4 * len(message.member)
        else:
            size += len(message.payload) + len(message.topic) + len(message.properties)
        if size > MOST_BYTES and at:
            return at
    return len(messages)


class Writer:
    """This node's frames in one partition."""

    def __init__(self, ground: Ground, partition: int, sealed: Callable[[], None]) -> None:
        self._ground = ground
        self._partition = partition
        self._sealed = sealed  # called when others have ended this node's writing
        self._last = 0
        self._began_at = 0  # what was read when it began
        self._number = 0
        self._pending: list[tuple[Message | Share, Then]] = []
        self._frame: Frame | None = None
        self._thens: list[Then] = []

    def open(self, then: Callable[[int], None]) -> None:
        """Begin; ``then`` is told where. Nothing is written before."""
        self._began_at = self._ground.applied[self._partition]
        self._thens = [lambda: then(self._last)]
        self._frame = Frame(self._ground.boot, 0, ())
        self._write()

    @property
    def floor(self) -> int:
        """Up to there all may be cut; its last frame, on which the next one is conditioned, may not."""
        return self._last - 1 if self._last else self._began_at

    def step(self, stride: int) -> None:
        """Have its last frame near the end of the log, or one that is idle would hold all of it."""
        if self._frame is None and self._ground.applied[self._partition] - self._last >= stride:
            self._number += 1
            self._frame = Frame(self._ground.boot, self._number, ())
            self._write()

    def append(self, messages: Iterable[tuple[Message | Share, Then]]) -> None:
        """Each ``Then`` is called when its message is stored, and never if it is not. Where nothing is under
        way they are one frame, if they fit: so what belongs together is given together.
        """
        self._pending += messages
        self._begin()

    def _begin(self) -> None:
        if self._frame is not None or not self._pending or not self._last:
            return
        count = fitting([message for message, _ in self._pending[:MOST]])
        taken, self._pending = self._pending[:count], self._pending[count:]
        self._number += 1
        self._thens = [then for _, then in taken]
        messages = tuple([one for one, _ in taken if isinstance(one, Message)])
        shares = tuple([one for one, _ in taken if isinstance(one, Share)])
        self._frame = Frame(self._ground.boot, self._number, messages, shares)
        self._write()

    def _write(self) -> None:
        if self._frame is not None:
            subject = subject_of(self._ground.boot)
            self._ground.write(self._partition, subject, self._frame, self._last, self._written)

    def _written(self, outcome: str, sequence: int) -> None:
        if outcome == STORED:
            self._is_stored(sequence)
        elif outcome == UNKNOWN:
            self._ground.soon(self._write)
        else:
            self._ground.look(self._partition, subject_of(self._ground.boot), self._read_back)

    def _read_back(self, sequence: int, value: Value | None) -> None:
        if isinstance(value, Seal):
            self._sealed()
        elif self._frame is not None and self._frame.is_same_as(value):
            self._is_stored(sequence)
        else:  # an old answer
            self._ground.soon(self._write)

    def _is_stored(self, sequence: int) -> None:
        thens, self._thens = self._thens, []
        self._frame, self._last = None, sequence
        for then in thens:
            then()
        self._begin()


class Sealer:
    """Ends the writing of nodes that are dead."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._sealed: dict[tuple[Boot, int], int] = {}
        self._waiting: dict[tuple[Boot, int], list[Callable[[int], None]]] = {}

    def seal(self, writer: Boot, partition: int, then: Callable[[int], None]) -> None:
        """``then`` is given the sequence behind which nothing of ``writer`` stands, or will."""
        what = (writer, partition)
        if what in self._sealed:
            then(self._sealed[what])
        elif what in self._waiting:
            self._waiting[what].append(then)
        else:
            self._waiting[what] = [then]
            self._look(writer, partition)

    def _look(self, writer: Boot, partition: int) -> None:
        def looked(sequence: int, value: Value | None) -> None:
            if isinstance(value, Seal):
                self._is_sealed(writer, partition, sequence)
            else:
                self._ground.write(partition, subject_of(writer), Seal(writer), sequence, written)

        def written(outcome: str, sequence: int) -> None:
            if outcome == STORED:
                self._is_sealed(writer, partition, sequence)
            else:
                self._ground.soon(lambda: self._look(writer, partition))

        self._ground.look(partition, subject_of(writer), looked)

    def _is_sealed(self, writer: Boot, partition: int, sequence: int) -> None:
        self._sealed[writer, partition] = sequence
        for then in self._waiting.pop((writer, partition), []):
            then(sequence)
