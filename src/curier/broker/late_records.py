"""Records that nobody waits for: that a message was delivered. They ride along with the next batch.

Where there is none for a moment, they are a batch of their own. A crash before that does what the loss of a
client's PUBACK or PUBCOMP on the network does: PUBLISH or PUBREL is sent once more [MQTT-4.4.0-1]. A batch
for each of them would cost a sync for every message, and one that matters would wait for it.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.deadlines import Deadline
from curier.broker.state import BrokerState
from curier.session.journal import Journal

SECONDS: Final = 0.05
MOST: Final = 500


@final
class LateRecords(Deadline):
    """``most`` of them wait, until the deadline that this is."""

    def __init__(self, journal: Journal | None) -> None:
        super().__init__()
        self.most: int = MOST
        self._journal: Journal | None = journal

    def may_wait(self, broker: BrokerState, now: float) -> bool:
        """Are there only such records in the journal, and may they wait? Then it will be said when not."""
        journal = self._journal
        if journal is None or journal.is_urgent or broker.holding or broker.arrivals:
            return False
        count = journal.count()
        if not 0 < count <= self.most:
            return False
        if not self.is_scheduled():
            broker.deadlines.add(self, now + SECONDS)
        return True

    def fire(self, now: float) -> float:
        if self._journal is not None and self._journal.count():
            self._journal.is_urgent = True
        return 0.0

    def failed(self, error: Exception, now: float) -> float:
        return now + SECONDS
