"""The seam between a core and what keeps its durable state.

A store gets batches of records in order and says when each is durable; it gives all it has kept back as
records when the next life begins. ``curier.testing.stores`` holds the tests that every store passes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from curier.session.records import Batch, MessageSaved, Record, SessionSaved, Subscribed

Durability = Literal["fsync", "os"]
"""``fsync``: survives a loss of power. ``os``: survives the death of every process, not of the system."""


CLOSE_SECONDS: Final = 8.0


class Store(ABC):
    """Keeps durable state. One batch is open at a time; calls come from one event loop.

    ``on_committed`` is called with the number of a batch once it is durable, ``on_trouble`` with plain words
    when it cannot be made so now (the store keeps trying until it can, or is closed), and with "" when that
    is over while no batch is open.
    """

    where: str
    """What people call the place where it keeps things, for messages."""
    on_committed: Callable[[int], None]
    on_trouble: Callable[[str], None]
    unwritten: Sequence[Record] = ()
    """What ``close`` could not write."""

    @abstractmethod
    def load(self) -> Iterator[list[Record]]:
        """Everything kept, as records, in pieces; before ``open``. Raises ``StoreError``."""

    @abstractmethod
    async def open(self) -> None:
        """Be ready for batches. Raises ``StoreError``. Cancellation leaves the store closed."""

    @abstractmethod
    def commit(self, batch: Batch) -> None:
        """Make ``batch`` durable; returns at once."""

    @abstractmethod
    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Finish what is open, if it can be, and let go of everything, within about so many ``seconds``."""


class SessionStore(Store):
    """A store that can also keep a batch at once: that of a client's session.

    Any number of batches may be open. ``snapshot``, where it is set, gives a batch that says everything up to
    and including its number; the store may begin anew with it. ``trouble`` is the words of ``on_trouble``, or
    "". ``on_committed`` may be called before ``commit`` or ``sync`` return.
    """

    snapshot: Callable[[], Batch] | None
    trouble: str

    @abstractmethod
    def append(self, batch: Batch) -> None:
        """Write ``batch`` so that it outlives this program; ``sync`` then makes it durable.

        Raises ``StoreError`` where that cannot be now; nothing of it is kept then, nor will be.
        """

    @abstractmethod
    def sync(self) -> None:
        """Make all that was written durable, soon."""


def described(records: Sequence[Record]) -> str:
    """How many changes of which kind these are, in plain words."""
    kinds = ((MessageSaved, "message"), (SessionSaved, "session"), (Subscribed, "subscription"))
    counts = [(sum(isinstance(record, kind) for record in records), name) for kind, name in kinds]
    counts.append((len(records) - sum(count for count, _ in counts), "other change"))
    return ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts if count)
