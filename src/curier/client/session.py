"""Where a client keeps its Session State (5.0 section 4.1). Stand-in: ``disk`` comes with its own branch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from curier.session.journal import Journal
from curier.session.records import Batch
from curier.session.session import Session as SessionState


class Session:
    """The Session State of one client, for one life of the program or for many. One client uses it at a time.

    The client calls ``open`` before its first connection and ``close`` when it ends. In between, at the end of
    each loop turn, it gives what ``state.journal`` has collected to ``commit``, one batch at a time, and sends
    what waited for it when ``on_committed`` is called.
    """

    is_durable: bool = False
    on_committed: Callable[[int], None]
    """Set by the client: batches up to this number are durable. Called in the event loop."""
    on_trouble: Callable[[str], None]
    """Set by the client: the disk takes nothing, for this reason; "" : it does again."""

    @staticmethod
    def memory() -> Session:
        """State that ends with the program."""
        return Session()

    @staticmethod
    def disk(path: str | Path) -> Session:
        """State in a directory."""
        raise NotImplementedError

    async def open(self, client_id: str) -> SessionState:
        """The state, as the last life left it; ``client_id`` "" where the server is to assign one.

        Raises ``StoreError`` where it cannot be read or belongs to another Client Identifier.
        """
        return SessionState(client_id)

    @property
    def has_history(self) -> bool:
        """Was there anything of an earlier life?"""
        return False

    @property
    def journal(self) -> Journal | None:
        """That of the state."""
        return None

    def save_client_id(self, client_id: str) -> None:
        """The server has assigned this Client Identifier."""

    def commit(self, batch: Batch) -> None:
        """Make a batch durable; ``on_committed`` tells when it is."""
        raise NotImplementedError

    async def close(self) -> None:
        """Make all durable, and let others use the place. No error where it is closed already."""
