"""The last messages that did not arrive, and requests that were refused: kept while nobody looks on.

A hook of events that are seldom, so what goes well costs nothing, and stays on the fast lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec.constants import NOT_AUTHORIZED
from curier.session.message import ApplicationMessage
from curier.trace.events import DENIED, DROPPED, EXPIRED, REFUSED, Happening
from curier.trace.recorder import wire_of

MOST_MISHAPS: Final = 4096
MOST_CHARACTERS: Final = 1000
"""Of a topic, or a reason: strangers choose them."""


class Mishaps(Hook):
    """``clock`` is seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.all: deque[Happening] = deque(maxlen=MOST_MISHAPS)
        self._clock = clock

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        kind = EXPIRED if message.expires_at and message.is_expired(self._clock()) else DROPPED
        topic = message.topic[:MOST_CHARACTERS].decode(errors="replace")
        self.all.append(Happening(self._clock(), kind, client_id, why, message.publication, topic))

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        kind = DENIED if reason_code == NOT_AUTHORIZED else REFUSED
        wire = wire_of(connection)
        self.all.append(Happening(self._clock(), kind, wire.client_id, why[:MOST_CHARACTERS], 0, "", wire))
