"""Other rates and lanes, for clients that are there: some at a time; there may be a hundred thousand."""

from __future__ import annotations

from typing import Final, final

from curier.broker.connection import ServedConnection
from curier.broker.deadlines import Deadline
from curier.broker.lanes import set_lanes
from curier.broker.model import BrokerConnection
from curier.broker.state import BrokerState

AT_ONCE: Final = 500  # connections, before others have their turn: about a millisecond
STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now


@final
class Repacing(Deadline):
    """Goes through all connections, from the last to the first; later ones have the new rates and lanes from
    the beginning. Until all have their lanes nobody takes the fast one, so that what has changed holds for
    all at once.
    """

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self._left: list[BrokerConnection] = []
        self._has_rates: bool = False

    def begin(self, now: float) -> None:
        """The rates are others now."""
        self._has_rates = True
        self._begin(now)

    def begin_lanes(self) -> None:
        """What decides lanes is different now."""
        self.broker.lanes_change = True
        if self.is_scheduled():  # it goes on with all, when it is its turn
            self._left = list(self.broker.connections.values())
        else:
            self._begin(0.0)

    def _begin(self, now: float) -> None:
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
                if self._has_rates:
                    connection.change_pace(now)  # and its lanes
                else:
                    set_lanes(self.broker, connection)
            except Exception as error:
                self.broker.faults.met("changing rates and lanes", error, connection)
        if self._left:
            return now + STEP_PAUSE
        self._has_rates = False
        self.broker.lanes_change = False
        return 0.0

    def failed(self, error: Exception, now: float) -> float:
        return now + STEP_PAUSE
