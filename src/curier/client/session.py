"""Where a client's Session State lives: in memory, or in a directory that outlives the program (4.1).

    async with curier.connect("mqtt://localhost", session=curier.Session.disk("outbox")) as client: ...

On disk, a publish of QoS 1 or 2 that was accepted survives ``kill -9``, and QoS 2 is exactly once over
restarts of either side, in both directions, as long as the server keeps its half of the session.

What has to be durable before what leaves is decided by the core, which holds such packets until their batch
is durable. This module adds that a message is in the log before it is accepted (``keep``), and everything
before anything is sent (``write``).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, get_args

from curier.errors import ConfigError, StoreError
from curier.session.journal import Journal
from curier.session.outgoing import Outgoing
from curier.session.records import Batch, ServerMet, SessionSaved
from curier.session.restoring import SESSION_NUMBER, SessionRestorer, records_of
from curier.session.session import Session as SessionState

if TYPE_CHECKING:
    from curier.store.base import Durability, SessionStore

_NEVER_EXPIRES: Final = 0xFFFFFFFF


class Session(ABC):
    """Session State of one client at a time: ``Session.memory()`` or ``Session.disk(path)``.

    Give it to ``connect(session=...)``; what else is here is for the client, not for its users. Calls come
    from one event loop.
    """

    on_committed: Callable[[int], None]
    """Called with the number of a batch that has become durable outside of ``write``."""
    on_trouble: Callable[[str], None]
    """Called with plain words when nothing can be kept now, and with "" when that is over."""

    def __init__(self) -> None:
        self.on_committed = _ignore_number
        self.on_trouble = _ignore_text

    @staticmethod
    def memory() -> Session:
        """Session State that ends with the program."""
        return MemorySession()

    @staticmethod
    def disk(
        path: str | os.PathLike[str], durability: Durability = "fsync", *, accept_loss: bool = False
    ) -> Session:
        """Session State in the directory ``path``, which is made where there is none.

        It belongs to one Client Identifier; with ``client_id=""`` one is chosen, and kept. One program at a
        time can have it open. ``durability``: ``"fsync"`` survives a loss of power as well; ``"os"`` only the
        death of the program, and is faster. ``accept_loss=True``, for one start, goes on with what is there
        where something that was accepted is missing; otherwise that is a ``StoreError``.

        Connecting raises ``StoreError`` where the directory cannot be used; publishing does where the disk
        takes nothing, and then the message is not accepted. Raises ``ConfigError`` for another durability.
        """
        from pathlib import Path

        from curier.store import base, log  # which most clients have no use for

        if durability not in get_args(base.Durability):
            raise ConfigError(f"durability is {durability!r}; it can be 'fsync' or 'os'")
        return StoredSession(log.LogStore(Path(path), durability, accept_loss=accept_loss))

    @property
    @abstractmethod
    def server(self) -> str:
        """The server that has the other half of the state; "" where none does."""

    @property
    @abstractmethod
    def trouble(self) -> str:
        """Why nothing can be kept now, in plain words, or ""."""

    @abstractmethod
    async def open(self, client_id: str) -> SessionState:
        """The state as it was left, with its Client Identifier. Raises ``StoreError``."""

    @abstractmethod
    def met(self, server: str) -> None:
        """``server`` has accepted a connection: from now on the state is shared with it and no other."""

    @abstractmethod
    def keep(self, entry: Outgoing) -> None:
        """Keep one message to be published; ``submit`` it right after.

        Raises ``StoreError`` where that cannot be, and nothing has happened then.
        """

    @abstractmethod
    def note(self, entry: Outgoing) -> None:
        """Like ``keep``, but with the next ``write``: for one of many messages without receipts."""

    @abstractmethod
    def took(self, packet_id: int) -> None:
        """The application has taken a QoS 2 message whose connection ended before, but whose session did not.

        When the server sends it again, it is answered and not delivered.
        """

    @abstractmethod
    def write(self) -> int:
        """Keep all that has changed; returns the number of the newest batch that is durable.

        To be called before anything is sent. Raises nothing: what cannot be written now waits, in order, and
        so does every packet that depends on it.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish, and let go of everything; ``open`` begins anew. Does no harm where it is not open."""


class MemorySession(Session):
    """Nothing survives the program. Opened again, by the same Client Identifier, it is as it was left."""

    server = ""
    trouble = ""

    def __init__(self) -> None:
        super().__init__()
        self._state: SessionState | None = None
        self._is_open = False

    async def open(self, client_id: str) -> SessionState:
        """The state as it was left. Raises ``StoreError`` where another client has it."""
        if self._is_open:
            raise StoreError("this Session is in use by another client of this program; make one for each")
        if self._state is None:
            self._state = SessionState(client_id)
        elif client_id:
            _check_owner("this Session", self._state.client_id, client_id)
        self._is_open = True
        return self._state

    def met(self, server: str) -> None:
        """Remember ``server``."""
        self.server = server

    def keep(self, entry: Outgoing) -> None:
        """Nothing to do."""

    def note(self, entry: Outgoing) -> None:
        """Nothing to do."""

    def took(self, packet_id: int) -> None:
        """Remember ``packet_id``."""
        if self._state is not None:
            self._state.incoming.take(packet_id)

    def write(self) -> int:
        """Nothing to do."""
        return 0

    async def close(self) -> None:
        """Let the next client have it."""
        self._is_open = False


class StoredSession(Session):
    """Session State that a store keeps: what the journal of the core's session collects goes there."""

    def __init__(self, store: SessionStore) -> None:
        super().__init__()
        self._store = store
        self._journal: Journal | None = None  # while it is open
        self._state: SessionState
        self._server = ""
        self._durable = 0
        self._is_writing = False

    @property
    def server(self) -> str:
        """The server that has the other half of the state; "" where none does."""
        return self._server

    @property
    def trouble(self) -> str:
        """Why nothing can be kept now, in plain words, or ""."""
        return self._store.trouble

    async def open(self, client_id: str) -> SessionState:
        """Take what the store has kept. Raises ``StoreError``, and is closed then."""
        if self._journal is not None:
            raise StoreError("this Session is in use by another client of this program; make one for each")
        store = self._store
        try:
            journal = Journal()
            restorer = SessionRestorer(journal)
            try:
                for records in store.load():
                    restorer.replay(records)
            except StoreError as error:
                raise StoreError(_placed(str(error), store.where)) from None
            state = restorer.finish()
            if state.client_id and client_id:
                _check_owner(store.where, state.client_id, client_id)
            store.on_committed = self._committed
            store.on_trouble = self._troubled
            store.snapshot = self._snapshot
            await store.open()
        except BaseException:
            await store.close()
            raise
        self._journal = journal
        self._state = state
        self._server = restorer.server
        self._durable = 0
        if not state.client_id:
            # 23 characters of these are what every server has to take [MQTT-3.1.3-5].
            state.client_id = client_id or f"curier{os.urandom(8).hex()}"
            journal.add(SessionSaved(SESSION_NUMBER, state.client_id, 5, _NEVER_EXPIRES, 0.0))
            self.write()
        return state

    def met(self, server: str) -> None:
        """Note ``server`` in the journal, if it is another one."""
        if server != self._server and self._journal is not None:
            self._server = server
            self._journal.add(ServerMet(SESSION_NUMBER, server))

    def keep(self, entry: Outgoing) -> None:
        """Write the message at once, behind what came before. Raises ``StoreError``."""
        journal = self._opened()
        before = journal.take()
        self._state.outgoing.record(entry)
        batch = journal.take()
        assert batch is not None
        try:
            self._store.append(
                batch if before is None else Batch(batch.number, before.records + batch.records)
            )
        except StoreError:
            journal.forget(batch)
            message = entry.message
            entry.delivery = 0
            message.references -= 1
            if not message.references:
                message.number = 0
            if before is not None:
                self._store.commit(before)
            raise

    def note(self, entry: Outgoing) -> None:
        """Note the message in the journal. Raises ``StoreError`` while nothing can be written."""
        if self._store.trouble:
            raise StoreError(self._store.trouble)
        self._state.outgoing.record(entry)

    def took(self, packet_id: int) -> None:
        """Note it in the journal, and write it."""
        self._opened()
        self._state.incoming.take(packet_id)
        self.write()

    def write(self) -> int:
        """Write the journal's batch, and see to it that it is synced."""
        batch = self._opened().take()
        self._is_writing = True
        try:
            if batch is not None:
                self._store.commit(batch)
            else:
                self._store.sync()
        finally:
            self._is_writing = False
        return self._durable

    async def close(self) -> None:
        """Write and sync what can be, and close the store."""
        if self._journal is not None:
            self.write()
            self._journal = None
        await self._store.close()

    def _opened(self) -> Journal:
        if self._journal is None:
            raise StoreError(f"{self._store.where}: the Session is not open")
        return self._journal

    # ---- what the store says ----

    def _committed(self, number: int) -> None:
        self._durable = number
        if self._journal is not None:
            self._journal.durable = number
        if not self._is_writing:
            self.on_committed(number)

    def _troubled(self, message: str) -> None:
        self.on_trouble(message)

    def _snapshot(self) -> Batch:
        journal = self._opened()
        journal.take()  # whatever is in there is in the state as well
        return Batch(journal.number - 1, records_of(self._state, self._server))


def _placed(message: str, where: str) -> str:
    return message if where in message else f"{where}: {message}"


def _check_owner(where: str, owner: str, client_id: str) -> None:
    if owner != client_id:
        raise StoreError(
            f"{where} holds the session of client {owner!r}, not of {client_id!r}; connect with "
            f"client_id={owner!r}, or choose another path"
        )


def _ignore_number(number: int) -> None:
    pass


def _ignore_text(text: str) -> None:
    pass
