"""Session State that both roles hold (5.0 section 4.1): a Client Identifier and the two flows.

The server's session adds subscriptions, will and expiry (``broker.model``); the client's is this one.
"""

from __future__ import annotations

from curier.session.incoming import IncomingFlow
from curier.session.journal import Journal
from curier.session.outgoing import OutgoingFlow


class Session:
    """What survives a Network Connection. ``journal`` is None for a session that need not survive a crash."""

    def __init__(self, client_id: str, number: int = 0, journal: Journal | None = None) -> None:
        self.client_id: str = client_id
        self.number: int = number
        self.journal: Journal | None = journal
        self.outgoing: OutgoingFlow = OutgoingFlow(number, journal)
        self.incoming: IncomingFlow = IncomingFlow(number, journal)

    def clear(self) -> None:
        """Discard the Session State, as Clean Start or a lost session demands [MQTT-3.1.2-4]
        [MQTT-3.2.2-5].
        """
        self.outgoing = OutgoingFlow(self.number, self.journal)
        self.incoming = IncomingFlow(self.number, self.journal)
