"""Between a claim and the session itself: what its former owner left, and what the log has had since.

A former owner that died may have messages of the session on their way to the log. Its writing is ended first,
so that none of them comes behind what is written here; then it shows which of them it had written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from curier.broker.model import LogMessage
from curier.cluster.ground import Ground
from curier.cluster.groups import Groups
from curier.cluster.keeper import Keeper
from curier.cluster.messages import messages_of
from curier.cluster.records import Boot, Frame, InLog, Intent, Message, Value
from curier.cluster.states import Placed, placed, readings
from curier.session.records import MessageSaved

Sealed = Callable[[int], None]

Stray = tuple[Message, bytes, int]
"""A message, the group that it is to be handed on to, the partition of both."""


class Log(Protocol):
    """The log, as it is written."""

    def append(self, messages: Iterable[tuple[Message, Callable[[], None]]]) -> None: ...
    def seal(self, writer: Boot, partition: int, then: Sealed) -> None: ...


class Inheritance:
    """``done`` is called once, with all of the log up to where this node has read it.

    ``saved`` are then the messages that the session's state does not have in it, and ``freed`` the Packet
    Identifiers of QoS 2 messages that are not in the log: such a PUBLISH has no PUBREC either, and the client
    sends it again. ``strays`` are messages for Shared Subscriptions that the log has for it, and that it is
    no member of any more.
    """

    def __init__(
        self,
        name: str,
        ground: Ground,
        keeper: Keeper,
        log: Log,
        groups: Groups,
        done: Callable[[list[Placed]], None],
    ) -> None:
        self.saved: list[tuple[MessageSaved, InLog]] = []
        self.freed: list[int] = []
        self.strays: list[Stray] = []
        self._name = name
        self._groups = groups
        self._ground = ground
        self._keeper = keeper
        self._log = log
        self._done = done
        self._open = 1  # questions without answer
        self._behind = [*keeper.record.places]
        self._missed: list[Placed] = []
        self._unwritten: set[Intent] = set()  # Will Messages that are not in the log

    def begin(self) -> None:
        for writer in self._keeper.record.unsealed:
            self._end_writing_of(writer)
        intents: dict[tuple[Boot, int], list[Intent]] = {}
        for intent in self._keeper.record.intents:
            intents.setdefault((intent.writer, intent.partition), []).append(intent)
        for (writer, partition), some in intents.items():
            self._resolve(writer, partition, some)
        in_log = self._keeper.record.in_log
        for partition, after, upto in readings(in_log):
            self._find(in_log, partition, after, upto)
        self._answered()

    def _answered(self) -> None:
        self._open -= 1
        if not self._open:
            self._write_wills()

    # -- what a former owner was about to write

    def _end_writing_of(self, writer: Boot) -> None:
        partitions = range(self._ground.partitions)
        missing = set(partitions)
        self._open += 1

        def sealed(partition: int, sequence: int) -> None:
            missing.discard(partition)
            if not missing:
                record = self._keeper.record
                left = tuple([one for one in record.unsealed if one != writer])
                self._keeper.record = replace(record, unsealed=left)
                self._answered()

        for partition in partitions:
            self._log.seal(writer, partition, partial(sealed, partition))

    def _resolve(self, writer: Boot, partition: int, intents: Sequence[Intent]) -> None:
        """Did the former owner write them? Its writing is ended, so the answer stays true. They are read for
        at once: a session that has ended may have left thousands to its groups.
        """
        self._open += 1

        def sealed(sequence: int) -> None:
            self._ground.fetch(partition, min([one.after for one in intents]), sequence, fetched)

        def fetched(entries: Sequence[tuple[int, Value]]) -> None:
            frames = [value for _, value in entries if isinstance(value, Frame)]
            written = {one.origin for frame in frames for one in frame.messages}
            for intent in intents:
                if intent.message.origin in written:
                    continue
                if intent.packet_id:
                    self.freed.append(intent.packet_id)  # the intent stays until the state is another, too
                else:
                    self._unwritten.add(intent)
            self._drop([one for one in intents if one.message.origin in written])
            self._answered()

        self._log.seal(writer, partition, sealed)

    def _write_wills(self) -> None:
        """Will Messages that nobody has written yet, in order. They stand in the record as this node's before
        they are.
        """
        record, applied = self._keeper.record, self._ground.applied
        intents = [
            replace(one, after=applied[one.partition], writer=self._ground.boot)
            if one in self._unwritten
            else one
            for one in record.intents
        ]
        own = [one for one in intents if one.writer == self._ground.boot]
        if not own:
            self._catch_up()
            return
        self._keeper.record = replace(record, intents=tuple(intents))
        left = {*own}

        def written(intent: Intent) -> None:
            left.discard(intent)
            if not left:
                self._drop(own)
                self._catch_up()

        def stored(is_stored: bool) -> None:
            if is_stored:
                self._log.append([(intent.message, partial(written, intent)) for intent in own])

        self._keeper.write(stored)

    def _drop(self, intents: Sequence[Intent]) -> None:
        record, dropped = self._keeper.record, {*intents}
        left = tuple([one for one in record.intents if one not in dropped])
        self._keeper.record = replace(record, intents=left)

    # -- what waits in the log

    def _find(self, in_log: Sequence[InLog], partition: int, after: int, upto: int) -> None:
        self._open += 1

        def fetched(entries: Sequence[tuple[int, Value]]) -> None:
            frames = dict(entries)
            for one in in_log:
                if one.partition == partition and after < one.sequence <= upto and one.sequence in frames:
                    message = messages_of(frames[one.sequence])[one.index].message
                    self.saved.append((MessageSaved(one.number, message), one))
            self._answered()

        self._ground.fetch(partition, after, upto, fetched)

    # -- what came since

    def _catch_up(self) -> None:
        """Read on from the session's places, until it stands where this node does. What is cut off in front
        of the log was not for it: its former owner said so.

        It may have come from a node that was further: what this one reads before it is there as well, is not
        for that session again.
        """
        record, applied = self._keeper.record, self._ground.applied
        if (record.state or record.groups) and not record.is_brief:
            for partition, after in enumerate(self._behind):
                if after < applied[partition]:
                    self._read(partition, after, applied[partition])
                    return
                if after > applied[partition]:
                    self._ground.when_read(self._catch_up)
                    return
        if not self._keeper.is_lost:
            self._done(self._missed)

    def _choose(self, partition: int, sequence: int, frame: Frame, messages: Sequence[LogMessage]) -> None:
        """What is for this session, as a member of groups; as the dead owner has chosen, or would have."""
        for index, one in enumerate(frame.messages):
            for group, is_member in self._keeper.record.groups:
                if not self._groups.is_chosen(self._name, group, partition, sequence, index, one):
                    continue
                if is_member:
                    messages[index].shares = [*messages[index].shares, (self._name, group)]
                else:
                    self.strays.append((one, group, partition))

    def _read(self, partition: int, after: int, upto: int) -> None:
        def fetched(entries: Sequence[tuple[int, Value]]) -> None:
            for sequence, value in entries:
                messages = messages_of(value)
                if isinstance(value, Frame) and self._keeper.record.groups:
                    self._choose(partition, sequence, value, messages)
                self._missed += placed(partition, sequence, messages)
            self._behind[partition] = upto
            self._catch_up()

        self._ground.fetch(partition, after, upto, fetched)
