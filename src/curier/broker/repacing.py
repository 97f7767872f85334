"""Other rates, for clients that are there: some at a time, since there may be a hundred thousand."""

from __future__ import annotations

from typing import Final, final

from curier.broker.connection import ServedConnection
from curier.broker.deadlines import Deadline
from curier.broker.model import BrokerConnection
from curier.broker.state import BrokerState

AT_ONCE: Final = 500  # connections, before others have their turn: about a millisecond
STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now


@final
class Repacing(Deadline):
    """Goes through all connections, from the last to the first; later ones have the new rates from the
    beginning.
    """

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self._left: list[BrokerConnection] = []

    def begin(self, now: float) -> None:
        """The rates are others now."""
        self._left = list(self.broker.connections.values())
        again = self._step(now)
        if again and not self.is_scheduled():
            self.broker.deadlines.add(self, again)

    def fire(self, now: float) -> float:
        return self._step(now)

    def _step(self, now: float) -> float:
        for _ in range(min(AT_ONCE, len(self._left))):
            connection = self._left.pop()
            if not isinstance(connection, ServedConnection) or connection.is_closed():
                continue
            try:
                connection.change_pace(now)
            except Exception as error:
                self.broker.faults.met("changing rates", error, connection)
        return now + STEP_PAUSE if self._left else 0.0

    def failed(self, error: Exception, now: float) -> float:
        return now + STEP_PAUSE
