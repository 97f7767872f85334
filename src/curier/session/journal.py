"""The journal: durable state changes as small records, in the order they happened.

The core adds a record wherever state changes that must survive a crash. What is said to a peer because of
such a change (an acknowledgement is a promise) is held until the batch with that record is durable:

    number = journal.number        # the batch that is being filled
    ... change state, records are added ...
    connection.send_after(number, puback)

Whoever drives the core takes the batch when the turn ends, makes it durable, and tells the core
(``BrokerCore.committed``). A broker that keeps nothing has no journal at all, and waits for nothing.
"""

from __future__ import annotations

from typing import Final, final

from curier.session.message import ApplicationMessage
from curier.session.records import Batch, Logged, MessageRemoved, MessageSaved, Record

MAX_PENDING_BYTES: Final = 64 * 1024 * 1024  # of messages that may wait for the disk; then QoS 0 need not


@final
class Journal:
    """Collects records into batches.

    ``number`` is that of the batch being filled; batches are numbered from 1 without gaps. ``length`` grows
    with every record ever added: whoever compares it before and after an action knows whether the action
    has to wait for the disk. ``is_urgent`` is whether there are records that matter before others come.
    ``durable`` is for whoever has to know it later than in ``release``: a client's
    next connection.
    """

    def __init__(self) -> None:
        self.number: int = 1
        self.durable: int = 0  # number of the newest batch that is known to be durable
        self.length: int = 0
        self.pending_bytes: int = 0  # of messages in the batch being filled
        self.is_urgent: bool = False
        self._records: list[Record] = []
        self._last: int = 0  # of sessions, messages and deliveries

    def continue_after(self, number: int) -> None:
        """Numbers up to ``number`` are taken: by the journal of an earlier life."""
        self._last = max(self._last, number)

    def next_number(self) -> int:
        """A fresh number for a session, message or delivery."""
        self._last += 1
        return self._last

    def newest(self) -> int:
        """Number of the batch with the last record there is; 0 where there was none."""
        return self.number if self._records else self.number - 1

    def add(self, record: Record) -> None:
        self._records.append(record)
        self.length += 1
        self.is_urgent = True

    def add_later(self, record: Record) -> None:
        """One more, which nobody waits for by itself: a crash that takes it along does what the loss of an
        acknowledgement on the network does.
        """
        self._records.append(record)
        self.length += 1

    def count(self) -> int:
        """How many records there are since the last batch."""
        return len(self._records)

    def add_message(self, message: ApplicationMessage) -> int:
        """Name a message in one more record; its number. Adds a record of its own the first time only."""
        if not message.number:
            message.number = self.next_number()
            self.add(MessageSaved(message.number, message))
            self.pending_bytes += message.size()
        message.references += 1
        return message.number

    def add_logged(self, record: Logged) -> None:
        """One more, whose message counts among those that wait."""
        self.add(record)
        self.pending_bytes += record.message.size()

    def drop_message(self, message: ApplicationMessage) -> None:
        """Undo one ``add_message``; with the last one the message itself goes."""
        message.references -= 1
        if message.references == 0 and message.number:
            self.add_later(MessageRemoved(message.number))
            message.number = 0

    def take(self) -> Batch | None:
        """The records since the last batch, or None when there are none."""
        if not self._records:
            return None
        batch = Batch(self.number, self._records)
        self._records = []
        self.is_urgent = False
        self.pending_bytes = 0
        self.number += 1
        return batch

    def forget(self, batch: Batch) -> None:
        """``batch`` was taken just now and is kept nowhere: its number goes to the next."""
        self.number = batch.number
