"""What a batch of the broker's journal means to the cluster, and when it is stored.

Sessions that it changes are written down as they are now; messages go to the log. Some changes are not waited
for: a message on its way at QoS 1 stands in the log, behind the place that the record says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from curier.cluster.ground import Ground
from curier.cluster.house import House
from curier.cluster.inheriting import Log
from curier.cluster.messages import as_sent
from curier.cluster.owned import Owned
from curier.cluster.records import Intent, Message
from curier.cluster.sharing import Sharing
from curier.cluster.states import Places
from curier.cluster.writer import partition_of
from curier.session.records import (
    Batch,
    Delivered,
    HandedOn,
    IdentifierFreed,
    IdentifierTaken,
    Logged,
    MessageRemoved,
    MessageSaved,
    Queued,
    Received,
    Sent,
    SessionEnded,
    SessionSaved,
    Subscribed,
    Unsubscribed,
    WillRemoved,
    WillSaved,
)
from curier.topics.filters import is_shared

OfSession = (
    SessionSaved
    | SessionEnded
    | WillSaved
    | WillRemoved
    | Subscribed
    | Unsubscribed
    | IdentifierTaken
    | IdentifierFreed
    | Queued
    | Sent
    | Received
    | Delivered
)
ALWAYS_URGENT = (SessionSaved, SessionEnded, WillSaved, WillRemoved)
AT_ONCE: Final = 256
"""Messages of a session that has ended which are handed on before others have their turn."""

OFTEN = (Queued, Sent, Delivered)  # three for each message that goes to a client at QoS 1


class _Open:
    """The batch that is open, and how much of it is not stored yet."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._waits = 1

    def wait(self, count: int = 1) -> None:
        self._waits += count

    def stored(self) -> None:
        self._waits -= 1
        if not self._waits:
            self._done()


class _Change:
    """What a batch changes of one session."""

    def __init__(self) -> None:
        self.is_urgent = False
        self.is_brief: bool | None = None  # if it says so
        self.is_shared = False  # its Shared Subscriptions are others
        self.intents: list[Intent] = []
        self.handed: list[HandedOn] = []


class Committer:
    """``owned`` are the sessions of this node, by Client Identifier; ``due`` the names of those that are to
    be written down with the next batch.
    """

    def __init__(
        self,
        ground: Ground,
        house: House,
        log: Log,
        owned: dict[str, Owned],
        due: set[str],
        places: Places,
        sharing: Sharing,
    ) -> None:
        self._ground = ground
        self._house = house
        self._log = log
        self._owned = owned
        self._due = due
        self._places = places
        self._sharing = sharing
        self._names: dict[int, str] = {}  # of sessions, by the numbers of the journal
        self._numbers: dict[str, int] = {}
        self._at_qos_1: set[int] = set()  # deliveries

    def commit(self, batch: Batch) -> None:
        """Have it stored. All sessions are now as they are behind it."""
        changes: dict[str, _Change] = {}
        messages: list[tuple[Owned | None, Message]] = []
        lazy: set[int] = set()
        for record in batch.records:  # those that most are of come first
            if isinstance(record, OFTEN) and self._may_wait(record):
                lazy.add(record.session)
            elif isinstance(record, MessageRemoved):
                self._places.forget(record.message)
            elif isinstance(record, MessageSaved):
                continue  # it stands in the log, and in records of who has it
            elif isinstance(record, Logged):
                self._log_message(record, changes, messages)
            elif isinstance(record, HandedOn):
                self._note_handed(record, changes)
            elif isinstance(record, OfSession):
                name = self._name(record)
                if name:
                    self._note(name, record, _change_of(name, changes))
        for number in lazy:
            name = self._names.get(number, "")
            if name and self._has_to_say(name):
                _change_of(name, changes)
        for name in self._due:
            changes.setdefault(name, _Change())
        opened = _Open(partial(self._is_done, batch.number))
        if messages:
            self._begin_logging(messages, opened)
        for name, change in changes.items():
            self._write(name, change, opened)
        opened.stored()

    def _is_done(self, number: int) -> None:
        self._house.committed(number, self._ground.wall)

    # -- what a record says

    def forget(self, name: str) -> None:
        """That session is not here any more."""
        self._names.pop(self._numbers.pop(name, 0), None)

    def _name(self, record: OfSession) -> str:
        """Whose session it is about, "": of one that is gone, and has messages left to forget."""
        number = record.session
        if isinstance(record, SessionSaved) and record.client_id:
            self._names[number] = record.client_id
            self._numbers[record.client_id] = number
        if isinstance(record, SessionEnded):
            return self._names.pop(number, "")
        return self._names.get(number, "")

    def _may_wait(self, record: Queued | Sent | Delivered) -> bool:
        """Is it about a message at QoS 1, or one that is not sent yet? It stands in the log."""
        if isinstance(record, Sent):
            return record.delivery in self._at_qos_1
        if isinstance(record, Delivered):
            self._at_qos_1.discard(record.delivery)
        elif record.qos == 1:
            self._at_qos_1.add(record.delivery)
        return True

    def _has_to_say(self, name: str) -> bool:
        """Does an heir have to know what came to that session? One that ends with its connection has none."""
        owned = self._owned.get(name)
        return owned is None or not owned.is_here or not owned.keeper.record.is_brief

    def _note(self, name: str, record: OfSession, change: _Change) -> None:
        if isinstance(record, SessionSaved):
            change.is_brief = not record.expiry_interval
        if isinstance(record, (Subscribed, Unsubscribed)) and is_shared(record.topic_filter):
            change.is_shared = change.is_urgent = True
        if isinstance(record, ALWAYS_URGENT) or not self._is_brief(name, change):
            change.is_urgent = True

    def _is_brief(self, name: str, change: _Change) -> bool:
        """Does the session end with its connection? Then it has no need of what would be told to an heir; but
        in Shared Subscriptions its messages go to others then.
        """
        owned = self._owned.get(name)
        if change.is_shared or (owned is not None and owned.keeper.record.groups):
            return False
        if change.is_brief is not None:
            return change.is_brief
        return owned is not None and owned.keeper.record.is_brief

    def _log_message(
        self, record: Logged, changes: dict[str, _Change], messages: list[tuple[Owned | None, Message]]
    ) -> None:
        name = self._names.get(record.session, "")
        owned = self._owned.get(name)
        if record.session and (owned is None or not owned.is_here):
            return  # it is lost, and with it who waits for this
        message = self._message(name, record)
        if owned is None:
            messages.append((None, message))
            return
        change = _change_of(name, changes)
        if record.is_will or (record.packet_id and not self._is_brief(name, change)):
            self._intend(change, record.packet_id, message)
        else:
            messages.append((owned, message))

    def _note_handed(self, record: HandedOn, changes: dict[str, _Change]) -> None:
        name = self._names.get(record.session, "")
        owned = self._owned.get(name)
        if owned is not None and owned.is_here:
            change = _change_of(name, changes)
            change.is_urgent = True
            change.handed.append(record)

    def _intend(self, change: _Change, packet_id: int, message: Message) -> None:
        partition = self._partition(message.topic)
        after = self._ground.applied[partition]
        change.is_urgent = True
        change.intents.append(Intent(packet_id, message, partition, after, self._ground.boot))

    def _message(self, publisher: str, record: Logged | HandedOn) -> Message:
        return as_sent(self._ground.next_origin(), publisher, record.message, self._ground.wall)

    # -- writing

    def _write(self, name: str, change: _Change, opened: _Open) -> None:
        owned = self._owned.get(name)
        if owned is None or not (
            owned.is_here or owned.is_ghost
        ):  # it is another's, whatever has come of it here
            self._house.drop_session(name, self._ground.wall)
            return
        if not change.is_urgent and name not in self._due:
            owned.changes_lazily()
            return
        owned.take_state(change.is_brief, change.intents)
        for _ in range(len(change.intents) + len(change.handed)):
            owned.begins_message()
        if not change.is_urgent:
            owned.write(_nobody_waits)
            return

        def stored(is_stored: bool) -> None:
            if change.is_shared:  # first, or the log would give it what it hands on
                opened.wait()
                self._sharing.settle(name, opened.stored)
            elif owned.keeper.stored.groups:
                self._sharing.look(name)
            if is_stored:
                opened.wait()
                self._append_some(owned, change.intents, opened, 0)
            else:
                for intent in change.intents:
                    owned.ends_message(intent)
            opened.stored()

        opened.wait()
        if change.handed:
            owned.keeper.hold()
            self._hand_on_some(owned, change, len(change.intents), 0)
        owned.write(stored)

    # -- a session that ends may leave a million messages to its groups

    def _hand_on_some(self, owned: Owned, change: _Change, own: int, at: int) -> None:
        """The record is not written before it says all of them: until then the session has not ended, for an
        heir. ``own`` intents of the change are in it already.
        """
        upto = at + AT_ONCE
        for record in change.handed[at:upto]:
            self._intend(change, 0, replace(self._message("", record), group=record.group))
        if upto < len(change.handed):
            self._ground.next_turn(partial(self._hand_on_some, owned, change, own, upto))
        else:
            owned.keeper.go_on(change.intents[own:])

    def _append_some(self, owned: Owned, intents: list[Intent], opened: _Open, at: int) -> None:
        """The record says them, so they may be written, whenever that is."""
        upto = at + AT_ONCE
        some, logged = intents[at:upto], partial(self._is_logged, owned)
        opened.wait(len(some))
        self._log.append([(one.message, partial(logged, one, opened)) for one in some])
        if upto < len(intents):
            self._ground.next_turn(partial(self._append_some, owned, intents, opened, upto))
        else:
            opened.stored()

    def _begin_logging(self, messages: list[tuple[Owned | None, Message]], opened: _Open) -> None:
        opened.wait(len(messages))
        thens: dict[Owned | None, Callable[[], None]] = {}  # one for each publisher
        for owned, _ in messages:
            if owned not in thens:
                thens[owned] = partial(self._is_logged, owned, None, opened)
            if owned is not None:
                owned.begins_message()
        self._log.append([(message, thens[owned]) for owned, message in messages])

    def _is_logged(self, owned: Owned | None, intent: Intent | None, opened: _Open) -> None:
        if owned is not None:
            owned.ends_message(intent)
        opened.stored()

    def _partition(self, topic: bytes) -> int:
        return partition_of(topic, self._ground.partitions)


def _change_of(name: str, changes: dict[str, _Change]) -> _Change:
    """That of a session, which there is from now on."""
    found = changes.get(name)
    if found is None:
        found = changes[name] = _Change()
    return found


def _nobody_waits(is_stored: bool) -> None:
    pass
