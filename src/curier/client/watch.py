"""Finds out that a stream which nobody reads holds up the whole client, and tells it once.

Acknowledgements leave in the order of receiving [MQTT-4.6.0-2], so a message that is not taken holds back
those behind it, and from a number on the server sends no more. And a full buffer has the network not read at
all. Both are as they should be while readers are busy; a second without any progress is worth a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from curier.client.buffers import Intake
from curier.client.events import HeldUp
from curier.client.received import Receiver
from curier.client.router import Router
from curier.codec.constants import MQTT_50
from curier.protocol.client_messages import PendingAck

PATIENCE: Final = 1.0
"""Seconds without progress."""

FEW: Final = 10
"""Unacknowledged messages from which on a server of 3.1 or 3.1.1 may have stopped: it does not say how many
it sends, and this is the fewest of those in use."""


class Watch:
    """Watches one client; has a timer only while something waits."""

    def __init__(self, intake: Intake, router: Router, tell: Callable[[HeldUp], None]) -> None:
        self._intake = intake
        self._router = router
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._first: PendingAck | None = None  # what was to be acknowledged next when the timer was set
        self._was_held = False  # was the network not read then?
        self._is_told = False

    def look(self) -> None:
        """A turn is over, behind the readers."""
        if self._timer is None and (self._intake.is_held or self._intake.link.connection.acks_in_order):
            self._set_timer()

    def stop(self) -> None:
        """The client is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        link = self._intake.link
        waiting = link.connection.acks_in_order
        self._first = waiting[0] if waiting else None
        self._was_held = self._intake.is_held
        self._timer = link.loop.call_later(PATIENCE, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        event = self._unread() or self._unacknowledged()
        if event is not None and not self._is_told:
            self._tell(event)
        self._is_told = event is not None
        self.look()

    def _unread(self) -> HeldUp | None:
        """Is the network not read, and was it not a second ago?"""
        intake = self._intake
        if not (intake.is_held and self._was_held):
            return None
        fullest = intake.fullest()
        why = (
            f"{intake.bytes} bytes of messages wait to be read, so nothing more is taken from the network: "
            "no message for other streams, no answer to a publish or subscribe (buffer_bytes, buffer)"
        )
        return HeldUp(fullest.topic_filters, len(fullest), why) if fullest is not None else None

    def _unacknowledged(self) -> HeldUp | None:
        """Is the same message the next to be acknowledged as a second ago, and does that stop the others?"""
        connection = self._intake.link.connection
        waiting = connection.acks_in_order
        if not waiting or waiting[0] is not self._first:
            return None
        if connection.version == MQTT_50:
            has_stopped = connection.receive_quota <= 0
        else:
            has_stopped = len(waiting) >= FEW
        if not has_stopped and all(pending.data is None for pending in waiting):
            return None
        receivers = self._router.holders(waiting[0].packet_id)
        first: Receiver | None = receivers[0] if receivers else None
        why = (
            f"{len(waiting)} messages are not acknowledged, since the first of them is not; the server sends "
            "no more when they are as many as it has agreed to (receive_maximum)"
        )
        if first is None:
            return HeldUp((), len(self._router.unclaimed), why)
        return HeldUp(first.topic_filters, len(first), why)
