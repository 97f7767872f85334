"""Why connections ended, or were refused: the last of all clients, kept in memory for whoever asks about one.

They are kept from the first request to the window on. That costs a connection some microseconds at its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.web.session_forms import Ending

KEPT: Final = 5000
LONGEST: Final = 1024
"""Characters of a Client Identifier, and of a reason: 25 MiB at the very most, and 1 MiB as a rule."""

DISCONNECTED: Final = "disconnected"
REFUSED: Final = "refused"


class Endings(Hook):
    """Notes each. ``now`` is the broker's clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.since = now()
        self._kept: deque[tuple[str, Ending]] = deque(maxlen=KEPT)

    def on_disconnect(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        self._note(DISCONNECTED, connection, reason_code, why)

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        if connection.server_session is None:  # or it is one of its packets that was refused
            self._note(REFUSED, connection, reason_code, why)

    def _note(self, what: str, connection: BrokerConnection, reason_code: int, why: str) -> None:
        now = self._now()
        lasted = now - connection.attached_at if what == DISCONNECTED else 0.0
        address, listener = connection.address, connection.listener_name
        ending = Ending(now, what, address, listener, lasted, reason_code, why[:LONGEST])
        self._kept.append((connection.client_id[:LONGEST], ending))

    def of(self, client_id: str, limit: int) -> list[Ending]:
        """Those of a client, the last first."""
        found: list[Ending] = []
        for name, ending in reversed(self._kept):
            if len(found) == limit:
                break
            if name == client_id[:LONGEST]:
                found.append(ending)
        return found
