"""The last messages that did not arrive, and requests that were refused: kept while nobody looks on.

A hook of events that are seldom, so what goes well costs nothing, and stays on the fast lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from curier.broker.hooks import Hook
from curier.broker.model import BrokerConnection
from curier.codec.constants import NOT_AUTHORIZED
from curier.frozen import dataclass
from curier.session.message import ApplicationMessage
from curier.trace.events import DENIED, DROPPED, EXPIRED, REFUSED, Happening
from curier.trace.recorder import wire_of

MOST_MISHAPS: Final = 4096
MOST_CHARACTERS: Final = 1000
"""Of a topic, or a reason: strangers choose them."""

HEAD_BYTES: Final = 256
"""Of a payload, by which the message is known again."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happened, and the message that it was about: with ``packet_id``, or with ``size`` bytes of payload
    that begin with ``head``.
    """

    event: Happening
    topic: bytes = b""  # whole
    packet_id: int = 0
    size: int = 0
    head: bytes = b""


class Mishaps(Hook):
    """``clock`` is seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.all: deque[Mishap] = deque(maxlen=MOST_MISHAPS)
        self._clock = clock

    def on_drop(self, client_id: str, message: ApplicationMessage, why: str) -> None:
        now = self._clock()
        kind = EXPIRED if message.expires_at and message.is_expired(now) else DROPPED
        topic, payload = message.topic[:MOST_CHARACTERS], message.payload
        event = Happening(now, kind, client_id, why, message.publication, topic.decode(errors="replace"))
        self.all.append(Mishap(event, topic, 0, len(payload), payload[:HEAD_BYTES]))

    def on_refuse(self, connection: BrokerConnection, reason_code: int, why: str) -> None:
        kind = DENIED if reason_code == NOT_AUTHORIZED else REFUSED
        wire = wire_of(connection)
        event = Happening(self._clock(), kind, wire.client_id, why[:MOST_CHARACTERS], 0, "", wire)
        self.all.append(Mishap(event))

    def on_refuse_publish(
        self, connection: BrokerConnection, topic: bytes, packet_id: int, reason_code: int, why: str
    ) -> None:
        known = self.all[-1].event  # of ``on_refuse``, which was told just before
        topic = topic[:MOST_CHARACTERS]
        event = replace(known, topic=topic.decode(errors="replace"))
        self.all[-1] = Mishap(event, topic, packet_id)
