"""All that is retained, taken out in pieces and put in again: for a snapshot of a cluster's log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, final

from curier.broker import retaining
from curier.broker.model import LogMessage
from curier.broker.state import BrokerState
from curier.session.message import ApplicationMessage
from curier.topics.reserved import is_told_by_server

STEP: Final = 500  # messages that are looked at in one turn


@final
class RetainedSet:
    """What clients have had retained, without what the broker tells of itself."""

    def __init__(self, broker: BrokerState) -> None:
        self._broker = broker

    def walk(self) -> Iterator[list[LogMessage]]:
        """All of it, some in a turn. What changes meanwhile may be met or not."""
        for topic_filter in self._filters():
            walk = self._broker.retained.walk(topic_filter)
            while not walk.done:
                yield [
                    LogMessage(retaining.writer_of(one), one)
                    for one in walk.next(STEP)
                    if not is_told_by_server(one.topic)
                ]

    def load(self, messages: Sequence[LogMessage]) -> None:
        """Have these retained too."""
        for one in messages:
            retaining.put(self._broker, one.message, one.client_id)

    def clear(self) -> None:
        """Have none of it retained."""
        for some in [*self.walk()]:
            for one in some:
                retaining.put(self._broker, ApplicationMessage(one.message.topic, b"", 0, True), "")

    def _filters(self) -> list[bytes]:
        """All topics: those that begin with $ are in no filter that begins with a wildcard (4.7.2)."""
        filters, after = [b"#"], 0
        while True:
            branches, after = self._broker.retained.level(None, after, STEP)
            filters += [one.level + b"/#" for one in branches if one.level.startswith(b"$")]
            if not after:
                return filters
