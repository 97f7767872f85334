"""Where a client's Session State lives. Stand-in until branch disk is merged."""

from __future__ import annotations

import os
from collections.abc import Callable

from curier.session.outgoing import Outgoing
from curier.session.session import Session as SessionState


class Session:
    """Session State of one client at a time: ``Session.memory()`` or ``Session.disk(path)``."""

    on_committed: Callable[[int], None]
    on_trouble: Callable[[str], None]
    server = ""
    trouble = ""

    @staticmethod
    def memory() -> Session:
        """Session State that ends with the program."""
        return Session()

    @staticmethod
    def disk(path: str | os.PathLike[str]) -> Session:
        """Session State in a directory."""
        raise NotImplementedError

    async def open(self, client_id: str) -> SessionState:
        """The state as it was left."""
        return SessionState(client_id)

    def met(self, server: str) -> None:
        """``server`` has accepted a connection."""
        self.server = server

    def keep(self, entry: Outgoing) -> None:
        """Keep one message to be published."""

    def write(self) -> int:
        """Keep all that has changed; returns the number of the newest batch that is durable."""
        return 0

    async def close(self) -> None:
        """Finish."""
