"""Has the log say of which Shared Subscriptions this node's sessions are members.

A record says so first, and then the log: so whoever the log calls a member has a record that names the group,
and that record has an owner, or an heir. What the log has for a session that is no member any more its owner
hands on to the group, until the log says so too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from curier.broker.model import LogMessage
from curier.cluster.ground import Ground
from curier.cluster.groups import Groups
from curier.cluster.house import House
from curier.cluster.inheriting import Stray
from curier.cluster.messages import as_read, as_sent
from curier.cluster.orders import Hand
from curier.cluster.owned import Owned
from curier.cluster.records import AWAY, HERE, OUT, Frame, Message, Share
from curier.cluster.writer import partition_of


class Line(Protocol):
    """The log, as it is written."""

    def append_share(self, partition: int, share: Share, then: Callable[[], None]) -> None: ...


class Sharing:
    """``owned`` are the sessions of this node, by Client Identifier.

    A former owner may have said more than this node has read yet. So that somebody has left a group, and that
    somebody has joined it who waits to hear so, is known only when this owner's own word has come by.
    """

    def __init__(
        self, ground: Ground, house: House, line: Line, owned: dict[str, Owned], groups: Groups
    ) -> None:
        self._ground = ground
        self._house = house
        self._line = line
        self._owned = owned
        self._groups = groups
        self._numbers = 0
        self._turn = 0  # of messages of QoS 0
        self._waiting: dict[str, list[Callable[[], None]]] = {}

    def settle(self, name: str, then: Callable[[], None]) -> None:
        """``then`` is called when the log says of that session what its record does."""
        self._waiting.setdefault(name, []).append(then)
        self.look(name)

    def came_by(self, partition: int, sequence: int, frame: Frame) -> set[str]:
        """What a frame says; returns whom of the sessions here it concerns, to ``look`` at."""
        for group, is_there in self._groups.apply(partition, sequence, frame.shares):
            self._house.shared.know(group, is_there)
        concerned: set[str] = set()
        for one in frame.shares:
            owned = self._owned.get(one.member)
            if owned is None:
                continue
            concerned.add(one.member)
            place = (one.group, partition)
            if frame.writer == self._ground.boot and owned.flying.get(place) == one.number:
                del owned.flying[place]
                owned.said.add(place)
        return concerned

    def forget(self, partition: int, upto: int) -> None:
        """The log is cut up to there."""
        for group, is_there in self._groups.forget(partition, upto):
            self._house.shared.know(group, is_there)

    def look(self, name: str) -> None:
        """Write what is missing."""
        owned = self._owned.get(name)
        if owned is not None and not owned.keeper.is_lost and (owned.is_ghost or not owned.is_leaving):
            self._write(name, owned)
            if owned.flying:
                return
            if owned.is_ghost and not owned.has_strays:
                if all(self.is_out(owned, group) for group, _ in owned.keeper.record.groups):
                    owned.has_left_groups()
        for then in self._waiting.pop(name, []):
            then()

    def _write(self, name: str, owned: Owned) -> None:
        has_session = self._house.has_session(name)
        for group, is_member in owned.keeper.stored.groups:
            if is_member and not has_session:
                continue  # it has just ended, and a record will say so
            state = OUT
            if is_member:
                state = HERE if self._house.shared.is_taking(name) else AWAY
            has_to_know = not is_member or name in self._waiting
            for partition in range(self._ground.partitions):
                place = (group, partition)
                is_said = place in owned.said or not has_to_know
                if place in owned.flying:
                    continue
                if not is_said or self._groups.state(partition, group, name) != state:
                    self._say(owned, place, state)

    def _say(self, owned: Owned, place: tuple[bytes, int], state: int) -> None:
        group, partition = place
        self._numbers += 1
        owned.flying[place] = self._numbers
        owned.begins_message()
        share = Share(group, owned.name, state, self._numbers)
        self._line.append_share(partition, share, partial(owned.ends_message, None))

    def is_out(self, owned: Owned, group: bytes) -> bool:
        """Is it no member, by its record, and by all of the log?"""
        return (group, False) in owned.keeper.stored.groups and all(
            (group, one) in owned.said
            and (group, one) not in owned.flying
            and self._groups.state(one, group, owned.name) == OUT
            for one in range(self._ground.partitions)
        )

    # -- messages

    def choose(
        self, partition: int, sequence: int, frame: Frame, messages: Sequence[LogMessage]
    ) -> list[tuple[Owned, Stray]]:
        """Messages of a frame that comes by go to members that are here, where it is they whose turn it is.
        Returns those whose member has left the group meanwhile.
        """
        strays: list[tuple[Owned, Stray]] = []
        for index, one in enumerate(frame.messages if self._groups else ()):
            for member, group in self._groups.chosen(partition, sequence, index, one):
                owned = self._owned.get(member)
                if owned is None or not (owned.is_here or owned.is_ghost):
                    pass  # whoever has it, or will, reads that
                elif owned.is_here and self._house.shared.is_member(member, group):
                    messages[index].shares = [*messages[index].shares, (member, group)]
                else:
                    strays.append((owned, (one, group, partition)))
        return strays

    def share(self, messages: Sequence[LogMessage]) -> None:
        """See ``Node.share``."""
        here: list[LogMessage] = []
        told: list[Message] = []
        members: list[str] = []
        for one in messages:
            _, group = one.shares[0]
            self._turn += 1
            partition = partition_of(one.message.topic, self._ground.partitions)
            member = self._groups.any_of(group, partition, self._turn)
            if self._house.shared.is_member(member, group):
                one.shares = [(member, group)]
                here.append(one)
            elif member:
                sent = as_sent(self._ground.next_origin(), one.client_id, one.message, self._ground.wall)
                told.append(replace(sent, group=group))
                members.append(member)
        if here:
            self._house.shared.give(here, self._ground.wall)
        if told:
            hand = Hand(self._ground.boot, tuple(told), tuple(members), self._ground.format)
            self._ground.orders.append(hand)

    def handed(self, messages: Sequence[Message], members: Sequence[str]) -> None:
        """See ``Node.handed``."""
        found = as_read(messages)
        for at, one in enumerate(found):
            one.shares = [(members[at], messages[at].group)]
        self._house.shared.give(found, self._ground.wall)
